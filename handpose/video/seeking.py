"""`SeekableVideo`: the frame of a video at any time, in any order."""

from collections.abc import Iterator
from pathlib import Path

from numpy.typing import NDArray

from handpose.video.containers import VideoError, check_video_file
from handpose.video.decoders import Decoder, OpenCVDecoder, PyAVDecoder, import_pyav
from handpose.video.reader import DURATION_ERROR

_DEFAULT_PERIOD = 1 / 30  # seconds, of a video without a stated frame rate
_FORWARD = 2.0  # seconds up to which decoding on is preferred to seeking
_MARGIN = 0.5  # seconds before the wanted time, so that a keyframe before it is found although its time is inexact


class SeekableVideo:
    """Reads single frames of a video file; one frame at a time is in memory.

    With PyAV a time is found by seeking to the keyframe before it. With OpenCV, which seeks inexactly, an earlier time
    is found by decoding the file again from its beginning.

    Args:
        path: the video file.
        backend: see `VideoReader`.

    Attributes:
        duration: seconds that the container states, or None.

    Raises:
        VideoError: the file cannot be read as a video, or it contains no frame.
    """

    def __init__(self, path: str | Path, backend: str | None = None) -> None:
        self.path = Path(path)
        with_pyav = backend != 'opencv' and import_pyav() is not None
        self._decoder_type: type[PyAVDecoder] | type[OpenCVDecoder] = PyAVDecoder if with_pyav else OpenCVDecoder
        self._decoder = self._open()
        self.duration, self._period = self._decoder.duration, 1 / (self._decoder.fps or 1 / _DEFAULT_PERIOD)
        self._start = 0.0  # time of the first frame in the file
        self._frames: Iterator[tuple[float | None, NDArray]] = iter(())
        self._current: tuple[float, NDArray] | None = None  # the frame on display
        self._next: tuple[float, NDArray] | None = None
        self._restart()

    def read(self, time: float, tolerance: float | None = None) -> NDArray:
        """Reads the frame that is on display at a time.

        Args:
            time: seconds from the first frame; after the last frame it is the last one.
            tolerance: seconds by which a frame may start later and still counts, so that rounded times find their
                frame. The default is half a frame period.

        Returns:
            (h, w, 3) uint8 RGB.
        """
        wanted = time + (self._period / 2 if tolerance is None else tolerance)
        if self._current is None or not self._current[0] <= wanted <= self._current[0] + _FORWARD:
            self._seek(wanted)
        while self._next is not None and self._next[0] <= wanted:
            self._current, self._next = self._next, self._following(self._next[0])
        assert self._current is not None  # _restart has found a frame
        return self._current[1]

    def check_times(self, last: float) -> None:
        """Refuses timestamps of another video, if the length of this one is known: OpenCV only estimates it.

        Args:
            last: seconds, the last one.

        Raises:
            VideoError: it is later than the end of the video.
        """
        known = isinstance(self._decoder, PyAVDecoder) and self.duration
        if known and last > known + DURATION_ERROR:
            raise VideoError(
                f'{self.path} lasts {known:.2f} s, and the last timestamp is {last:.2f} s; are the predictions '
                f'for this video, with timestamps relative to its first frame?'
            )

    def close(self) -> None:
        """Closes the file."""
        self._decoder.close()

    def _open(self) -> Decoder:
        return self._decoder_type(self.path, check_video_file(self.path))

    def _restart(self) -> None:
        """Goes to the first frame."""
        self._decoder.close()
        self._decoder = self._open()
        self._frames = self._decoder.frames()
        first = next(self._frames, None)
        if first is None:
            raise VideoError(f'{self.path} contains no frame that {self._decoder.name} can decode')
        self._start = first[0] or 0.0
        self._current, self._next = (0.0, first[1]), self._following(0.0)

    def _seek(self, time: float) -> None:
        """Goes to a frame at or before a time."""
        ahead = self._current is not None and time > self._current[0]
        if isinstance(self._decoder, PyAVDecoder) and self._decoder.seek(self._start + max(time - _MARGIN, 0.0)):
            self._frames = self._decoder.frames()
            found = self._following(time)
            if found is not None and found[0] <= time:
                self._current, self._next = found, self._following(found[0])
                return
        elif ahead:  # decoding on
            return
        self._restart()

    def _following(self, last: float) -> tuple[float, NDArray] | None:
        """The next frame, a frame period after `last` if the file has no time of it."""
        frame = next(self._frames, None)
        if frame is None:
            return None
        return (last + self._period if frame[0] is None else frame[0] - self._start), frame[1]
