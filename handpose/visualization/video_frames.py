"""Reading a video: opening it, and its frames at given times."""

from pathlib import Path

import cv2
import numpy as np


def open_video(path):
    """OpenCV's capture of a video file, its frames per second, and how many frames it says it has, 0 unknown.

    Raises:
        ValueError: the file is not there, or cannot be read as a video.
    """
    if not Path(path).is_file():
        raise ValueError(f'there is no video {path}')
    capture = cv2.VideoCapture(str(path))
    fps, count = (capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
    if not capture.isOpened() or not fps > 0:
        raise ValueError(f'{path} cannot be read as a video')
    return capture, fps, max(round(count), 0)


class VideoFrames:
    """The frames of a video that were shown at growing times, read one after the other.

    Args:
        path: the video. timestamps: (T,) seconds from the beginning of the video, growing.

    Raises:
        ValueError: the file cannot be read, or a time lies outside of the video.
    """

    def __init__(self, path, timestamps):
        self.path = Path(path)
        self._capture, fps, count = open_video(path)
        self.numbers = np.rint(np.asarray(timestamps, np.float64) * fps).astype(np.int64)
        if self.numbers[0] < 0 or (count > 0 and self.numbers[-1] > count):
            raise ValueError(
                f'{path} lasts {count / fps:.2f} s, and the timestamps go from {timestamps[0]:.2f} to '
                f'{timestamps[-1]:.2f} s: they must count from the beginning of the video'
            )
        self._next, self._image = 0, None

    def read(self, t):
        """The frame at timestamp number t, (h, w, 3) uint8 RGB; numbers are asked for in growing order."""
        while self._next <= self.numbers[t]:
            there, image = self._capture.read()
            self._next += 1
            if there:
                self._image = image
            elif self._image is None or self._next < self.numbers[t]:  # containers often count a frame too many
                raise ValueError(f'{self.path} ends before its frame {self.numbers[t]}')
        return cv2.cvtColor(self._image, cv2.COLOR_BGR2RGB)
