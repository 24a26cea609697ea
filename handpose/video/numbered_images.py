"""`NumberedImages`: the images of a video, or of a folder, by their number and in any order."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.files.reading import visible_paths
from handpose.video.containers import VideoError, check_video_file
from handpose.video.decoders import PyAVDecoder, import_pyav
from handpose.video.images import SUFFIXES, read_image
from handpose.video.reader import VideoFrame, VideoReader
from handpose.video.seeking import SeekableVideo


class NumberedImages:
    """Reads single images of a camera; one image at a time is in memory.

    Numbers are those of `VideoReader`: 0 is the first image. With PyAV the times of the images are read without
    decoding, and an image is found by seeking. Without it, a video is decoded from its beginning up to the image.

    Args:
        path: a video file, or a folder of images in the order of their names.

    Raises:
        VideoError: the path does not exist, is no video, or is a folder without images.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._paths: list[Path] = []
        self._video: SeekableVideo | None = None
        self._times = np.zeros(0)
        self._decoded: Iterator[VideoFrame] = iter(())
        self._last: VideoFrame | None = None
        if self.path.is_dir():
            self._paths = [p for p in visible_paths(self.path) if p.suffix.lower() in SUFFIXES]
            if not self._paths:
                raise VideoError(f'{self.path} contains no images ({", ".join(SUFFIXES)})')
        elif import_pyav() is None:
            self._reader = VideoReader(self.path)
        else:
            self._times = _packet_times(self.path)
            self._video = SeekableVideo(self.path)

    def read(self, number: int) -> NDArray[np.uint8]:
        """Reads an image.

        Args:
            number: from 0.

        Returns:
            (h, w, 3) uint8 RGB.

        Raises:
            VideoError: there is no such image, or it cannot be read.
        """
        if number < 0:
            raise VideoError(f'{self.path}: images are numbered from 0, and {number} was asked for')
        if self._video is None and not self._paths:
            return self._decode_up_to(number)
        known = len(self._paths) or len(self._times)
        if number >= known:
            raise VideoError(f'{self.path} has {known} images, and number {number} (from 0) was asked for')
        if self._video is None:
            return read_image(self._paths[number])
        # Half-way to the next image, so that neither rounding nor irregular times lead to another one.
        until = self._times[number + 1] if number + 1 < known else self._times[number] + 1
        return self._video.read(float(self._times[number] + until) / 2, tolerance=0.0)

    def _decode_up_to(self, number: int) -> NDArray[np.uint8]:
        if self._last is None or number < self._last.index:
            self._decoded = iter(self._reader)
            self._last = next(self._decoded)
        while self._last.index < number:
            following = next(self._decoded, None)
            if following is None:
                raise VideoError(
                    f'{self.path} has {self._last.index + 1} images, and number {number} (from 0) was asked for'
                )
            self._last = following
        return self._last.image


def _packet_times(path: Path) -> NDArray[np.float64]:
    """(T,) seconds from the first image, of the images in the order of display."""
    import av

    container_name = check_video_file(path)
    PyAVDecoder(path, container_name).close()  # its error messages for what is no video
    try:
        with av.open(str(path.absolute()), metadata_errors='replace') as container:
            stream = container.streams.video[0]
            stamps = [
                float(stamp * packet.time_base)
                for packet in container.demux(stream)
                if packet.size and not packet.is_discard and packet.time_base is not None
                if (stamp := packet.dts if container_name == 'avi' else packet.pts) is not None
            ]
    except av.error.FFmpegError as error:
        raise VideoError(f'{path} cannot be read to its end: {error.strerror}') from error
    if not stamps:
        raise VideoError(f'{path} contains no image with a time')
    times = np.sort(np.array(stamps))
    return times - times[0]
