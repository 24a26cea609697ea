"""`VideoFrames`: the frames of a video at given times."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.video.containers import VideoError
from handpose.video.reader import DURATION_ERROR, VideoFrame, VideoReader
from handpose.video.timing import frame_period

_UNKNOWN_PERIOD = 1 / 30  # seconds, of a single timestamp


class VideoFrames:
    """Finds the frame of a video for each of several increasing times, in one pass over the file.

    The frame of a time is the nearest one, if it is within half a frame period; in a longer pause of the video it is
    the frame that is on display then.

    Args:
        path: the video.
        timestamps: (T,) seconds from the first frame of the video, increasing.
        backend: see `VideoReader`.

    Attributes:
        reader: the `VideoReader`.

    Raises:
        VideoError: the file cannot be read, or a time is outside of the video.
    """

    def __init__(self, path: str | Path, timestamps: NDArray[np.floating], backend: str | None = None) -> None:
        self.reader = VideoReader(path, backend)
        self.times = np.asarray(timestamps, np.float64)
        self._tolerance = (frame_period(self.times) or _UNKNOWN_PERIOD) / 2
        duration = self.reader.duration
        if self.times[0] < -self._tolerance or (duration and self.times[-1] > duration + DURATION_ERROR):
            lasts = f'{path}: ' if duration is None else f'{path} lasts {duration:.2f} s, and '
            raise VideoError(
                f'{lasts}the timestamps range from {self.times[0]:.2f} to {self.times[-1]:.2f} s; they must be '
                f'relative to the first frame of the video'
            )
        self._frames = iter(self.reader)
        self._current: VideoFrame = next(self._frames)  # the frame on display
        self._next: VideoFrame | None = next(self._frames, None)
        self._max_offset, self._num_pauses = 0.0, 0

    def read(self, t: int) -> NDArray:
        """Reads the frame of one timestamp; timestamps must be read in order.

        Args:
            t: index of the timestamp.

        Returns:
            (h, w, 3) uint8 RGB.

        Raises:
            VideoError: the video has ended before this time.
        """
        time = self.times[t]
        while self._next is not None and self._next.time <= time:
            self._current, self._next = self._next, next(self._frames, None)
        frame = self._current
        if self._next is not None and self._next.time - time < abs(time - frame.time):
            frame = self._next
        offset = abs(time - frame.time)
        if offset <= self._tolerance:
            self._max_offset = max(self._max_offset, offset)
            return frame.image
        if self._next is None and offset > 2 * self._tolerance:  # the last frame is shown for a frame period
            raise VideoError(
                f'{self.reader.path} ends with its frame at {self._current.time:.2f} s, but a timestamp '
                f'is {time:.2f} s; are the predictions for this video, with timestamps relative to its first frame?'
            )
        self._num_pauses += 1
        return self._current.image

    @property
    def notes(self) -> list[str]:
        """Messages about times that differ from those of the frames, so far."""
        notes: list[str] = []
        if self._num_pauses:
            notes.append(
                f'the video has no frame at {self._num_pauses} of the {len(self.times)} timestamps: the frame on '
                f'display then was used; predictions for this video should have the times of its frames'
            )
        if self._max_offset > self._tolerance / 2:
            notes.append(f'timestamps differ from the times of the frames by up to {1000 * self._max_offset:.0f} ms')
        return notes
