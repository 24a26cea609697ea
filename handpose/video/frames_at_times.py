"""The frames of a video that belong to given times."""

from pathlib import Path

import numpy as np

from handpose.video.containers import VideoError
from handpose.video.reader import DURATION_ERROR, VideoFrame, VideoReader
from handpose.video.timing import frame_period

_UNKNOWN_PERIOD = 1 / 30  # seconds, of a single timestamp


class VideoFrames:
    """Finds the frame of a video for each of some growing times, in one pass over the file.

    A time's frame is the nearest one, where that lies within half a frame period; in a longer pause of the video it is
    the frame that is on display then.

    Args:
        path: the video.
        timestamps: (T,) seconds from the first frame of the video, growing.
        backend: see `VideoReader`.

    Attributes:
        reader: the `VideoReader`.

    Raises:
        VideoError: the file cannot be read, or a time lies outside of the video.
    """

    def __init__(self, path: str | Path, timestamps: np.ndarray, backend: str | None = None):
        self.reader = VideoReader(path, backend)
        self.times = np.asarray(timestamps, np.float64)
        self._tolerance = (frame_period(self.times) or _UNKNOWN_PERIOD) / 2
        duration = self.reader.duration
        if self.times[0] < -self._tolerance or (duration and self.times[-1] > duration + DURATION_ERROR):
            lasts = f'{path}: ' if duration is None else f'{path} lasts {duration:.2f} s, and '
            raise VideoError(
                f'{lasts}the timestamps go from {self.times[0]:.2f} to {self.times[-1]:.2f} s; they must count '
                f'from the first frame of the video'
            )
        self._frames = iter(self.reader)
        self._shown: VideoFrame = next(self._frames)  # the frame on display
        self._next: VideoFrame | None = next(self._frames, None)
        self._largest_offset, self._held = 0.0, 0

    def read(self, t: int) -> np.ndarray:
        """The frame at timestamp number t, (h, w, 3) uint8 RGB; numbers must be asked for in growing order.

        Raises:
            VideoError: the video has ended before this time.
        """
        time = self.times[t]
        while self._next is not None and self._next.time <= time:
            self._shown, self._next = self._next, next(self._frames, None)
        frame = self._shown
        if self._next is not None and self._next.time - time < abs(time - frame.time):
            frame = self._next
        offset = abs(time - frame.time)
        if offset <= self._tolerance:
            self._largest_offset = max(self._largest_offset, offset)
            return frame.image
        if self._next is None and offset > 2 * self._tolerance:  # the last frame is shown for a frame period
            raise VideoError(
                f'{self.reader.path} ends with its frame at {self._shown.time:.2f} s, and a timestamp is {time:.2f} s; '
                f'are the predictions of this video, and do their timestamps count from its first frame?'
            )
        self._held += 1
        return self._shown.image

    @property
    def notes(self) -> list[str]:
        """Messages about times that do not agree with those of the frames, so far."""
        notes = []
        if self._held:
            notes.append(
                f'the video has no frame at {self._held} of the {len(self.times)} timestamps: the frame on display '
                f'then was taken; predictions of this video should have the times of its frames'
            )
        if self._largest_offset > self._tolerance / 2:
            notes.append(
                f'timestamps differ from the times of the frames by up to {1000 * self._largest_offset:.0f} ms'
            )
        return notes
