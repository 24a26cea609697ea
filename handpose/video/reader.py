"""`VideoReader`: the frames of a video with the times at which they are shown."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handpose.video.backends import OpenCVSource, PyAVSource, Source, import_pyav
from handpose.video.containers import VideoError, check_video_file

BACKENDS = {'pyav': PyAVSource, 'opencv': OpenCVSource}
INSTALL = "pip install 'handpose[video]'"
DURATION_ERROR = 0.5  # seconds by which the duration in a header may be wrong
_LONGEST_REPAIR = 4  # frames that wait for the next valid time; each of them is in memory


class VideoFrame(NamedTuple):
    """A frame: its index, its time in seconds after the first frame, and its (h, w, 3) uint8 RGB image."""

    index: int
    time: float
    image: np.ndarray


class VideoReader:
    """Reads a video file frame by frame; one frame at a time is in memory.

    Times are the presentation times of the container, relative to the first frame, so variable frame rates, browser
    recordings and dropped frames are right. Frames are rotated as the file asks for. It can be iterated again and
    again; each time begins with the first frame.

    Args:
        path: the video file.
        backend: 'pyav' or 'opencv'. Default: PyAV where it is installed, otherwise OpenCV. Both give the same times
            and images of the files that both can read.

    Attributes:
        backend: name of the library that reads: 'PyAV' or 'OpenCV'.
        fps: the rate that the container states, frames per second, or None. It is often wrong: do not compute times
            with it.
        duration: seconds that the container states, or None.
        notes: what was unusual, one message each. Complete after a whole iteration.

    Raises:
        VideoError: the file is missing or is no video that can be read; while iterating also: it holds no frame, its
            frames change their size, or it has no usable times.
    """

    def __init__(self, path: str | Path, backend: str | None = None):
        self.path = Path(path)
        if backend is not None and backend not in BACKENDS:
            raise VideoError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
        if backend == 'pyav' and import_pyav() is None:
            raise VideoError(f"backend 'pyav' needs PyAV, which is not installed: {INSTALL}")
        self._source_type = BACKENDS[backend or ('opencv' if import_pyav() is None else 'pyav')]
        source = self._open()
        self.backend, self.fps, self.duration = source.name, source.fps, source.duration
        self.notes: list[str] = []
        source.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        source = self._open()
        self.notes = []
        longest, last, count, shape = 0.0, 0.0, 0, None
        try:
            for count, (time, image) in enumerate(self._timed(source), 1):
                shape = shape or image.shape
                if image.shape != shape:
                    raise VideoError(
                        f'{self.path}: frame {count - 1} is {image.shape[1]}x{image.shape[0]} pixels and those before '
                        f'it {shape[1]}x{shape[0]}; convert the video to one size first'
                    )
                longest, last = max(longest, time - last), time
                yield VideoFrame(count - 1, time, image)
            self._finish(source, count, last, longest)
        finally:
            source.close()

    def _open(self) -> Source:
        return self._source_type(self.path, check_video_file(self.path))

    def _timed(self, source: Source) -> Iterator[tuple[float, np.ndarray]]:
        """Yields (time, image) with times that grow; missing and repeated ones lie evenly between their neighbours."""
        start, last, repaired = None, None, 0
        waiting: list[np.ndarray] = []
        for stamp, image in source.frames():
            if last is None:
                start, last = stamp or 0.0, 0.0
                repaired += stamp is None
                yield 0.0, image
                continue
            time = None if stamp is None else stamp - start
            if time is not None and time > last:
                step = (time - last) / (len(waiting) + 1)
                for k, earlier in enumerate(waiting, 1):
                    yield last + k * step, earlier
                waiting, last = [], time
                yield time, image
                continue
            repaired += 1
            waiting.append(image)
            if len(waiting) > _LONGEST_REPAIR:
                last += self._nominal_period(source)
                yield last, waiting.pop(0)
        for image in waiting:
            last += self._nominal_period(source)
            yield last, image
        if repaired:
            self.notes.append(
                f'frames without a valid time in the file: {repaired}; their times lie between those of their '
                f'neighbours, or follow the stated frame rate'
            )

    def _nominal_period(self, source: Source) -> float:
        if source.fps is None:
            raise VideoError(
                f'{self.path} has frames without valid times and states no frame rate (read by {source.name}); convert '
                f'it to MP4 or WebM first' + ('' if source.name == 'PyAV' else f', or install PyAV: {INSTALL}')
            )
        return 1 / source.fps

    def _finish(self, source: Source, count: int, last: float, longest: float) -> None:
        """Notes what the whole file has shown."""
        if not count:
            advice = '' if source.name == 'PyAV' else f'; PyAV reads more codecs: {INSTALL}'
            raise VideoError(f'{self.path} holds no frame that {source.name} can decode (codec {source.codec}){advice}')
        if source.damaged:
            self.notes.append(f'damaged packets or frames, left out or patched: {source.damaged}')
        if self.duration is not None and self.duration - last > max(DURATION_ERROR, 3 * longest):
            self.notes.append(
                f'the last frame that can be read is at {last:.2f} s of the {self.duration:.2f} s that the file '
                f'states: the rest may be missing or damaged'
            )


def batches(frames: Iterator[VideoFrame], size: int) -> Iterator[list[VideoFrame]]:
    """Yields lists of at most `size` frames, one after the other."""
    frames = iter(frames)
    while part := list(itertools.islice(frames, size)):
        yield part
