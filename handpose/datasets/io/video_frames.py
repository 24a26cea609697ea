"""Frames of videos in the place of image files: `<video>.mp4#<frame>` names a frame, counted from 0.

Legend: h w size of a frame.
"""

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import UNPACK, DatasetError

SEPARATOR = '#'
JPEG_QUALITY = 95  # of packed frames
_FRAME_PATH = re.compile(r'\.(mp4|m4v|mov|mkv|avi|webm)#[0-9]{1,9}$', re.IGNORECASE)
_OPEN = 24  # videos that a process keeps open
_DECODE_AHEAD = 48  # frames: so far it is as quick to decode the frames between as to seek

Decoded = tuple[str, NDArray | None, DatasetError | None]


class VideoFacts(NamedTuple):
    """What a video says about itself."""

    size: tuple[int, int]  # (width, height), pixels
    num_frames: int


def frame_path(video: str | Path, frame: int) -> str:
    """The path of a frame of a video, as `meta['paths']` and stores of packed frames have it."""
    return f'{video}{SEPARATOR}{frame}'


def is_frame_path(path: str) -> bool:
    """Whether a path names a frame of a video, not an image file."""
    return _FRAME_PATH.search(path) is not None


def split_frame_path(path: str) -> tuple[str, int]:
    """The video and the number of the frame that a path names."""
    video, _, frame = path.rpartition(SEPARATOR)
    return video, int(frame)


def read_facts(path: str | Path) -> VideoFacts:
    """Reads the size and the number of frames of a video.

    Raises:
        DatasetError: it does not exist or is no video.
    """
    video = _Video(str(path))
    width, height, count = (
        int(video.capture.get(key))
        for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT)
    )
    video.capture.release()
    if min(width, height, count) < 1:
        raise DatasetError(f'{path} is no video with frames ({width}x{height} pixels, {count} frames); {UNPACK}')
    return VideoFacts((width, height), count)


def read_original(path: str) -> tuple[bytes, os.stat_result]:
    """An image file, or a frame of a video as a JPEG file, for packing.

    Args:
        path: of the file, or `<video>#<frame>`.

    Returns:
        The bytes, and what the system says about the file.

    Raises:
        OSError: the file cannot be read.
        DatasetError: the frame cannot be decoded.
    """
    if not is_frame_path(path):
        with open(path, 'rb', buffering=0) as file:
            return file.readall(), os.fstat(file.fileno())
    found = os.stat(split_frame_path(path)[0])
    ((_, image, error),) = read_video_frames([path])
    if image is None:
        raise error or DatasetError(f'image {path} cannot be read')
    done, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise DatasetError(f'image {path} cannot be written as JPEG by OpenCV')
    return data.tobytes(), found


def read_video_frames(paths: Iterable[str]) -> Iterator[Decoded]:
    """Decodes frames of videos; those of one video in the order of time.

    Args:
        paths: `<video>#<frame>`.

    Yields:
        (path, (h, w, 3) uint8 RGB, None), or (path, None, error).
    """
    for path in sorted(paths, key=split_frame_path):
        name, frame = split_frame_path(path)
        try:
            with _LOCK:
                image = _video(name).read(frame)
        except DatasetError as error:
            yield path, None, error
        else:
            yield path, image, None


class _Video:
    """An open video and the frame that it would decode next."""

    def __init__(self, path: str) -> None:
        if not os.path.isfile(path):
            raise DatasetError(f'video {path} does not exist; unpack the dataset again')
        self.path, self.next = path, 0
        self.capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not self.capture.isOpened():
            raise DatasetError(f'video {path} is damaged or not a video; unpack the dataset again')

    def read(self, frame: int) -> NDArray:
        """Decodes frame number `frame`: (h, w, 3) RGB."""
        if not 0 <= frame - self.next <= _DECODE_AHEAD:
            self.capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
            self.next = frame
        while self.next < frame and self.capture.grab():
            self.next += 1
        done, image = self.capture.read()
        self.next += 1
        if not done or image is None:
            self.next = -1  # nobody knows where it stands: seek
            raise DatasetError(
                f'frame {frame} of the video {self.path} cannot be decoded (it has '
                f'{int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))}); unpack the dataset again'
            )
        return np.ascontiguousarray(image[..., ::-1])


_LOCK = threading.Lock()  # threads share the open videos
_open_videos: OrderedDict[tuple[int, str], _Video] = OrderedDict()


def _video(path: str) -> _Video:
    """The open video; one that was opened before a fork is not used, since its position is shared."""
    key = (os.getpid(), path)
    if key not in _open_videos:
        while len(_open_videos) >= _OPEN:
            _open_videos.popitem(last=False)[1].capture.release()
        _open_videos[key] = _Video(path)
    _open_videos.move_to_end(key)
    return _open_videos[key]
