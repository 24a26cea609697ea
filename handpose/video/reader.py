"""`VideoReader`: the frames of a video with the times at which they are shown."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from handpose.video.containers import VideoError, check_video_file
from handpose.video.decoders import INSTALL, Decoder, OpenCVDecoder, PyAVDecoder, import_pyav

BACKENDS: dict[str, type[PyAVDecoder] | type[OpenCVDecoder]] = {'pyav': PyAVDecoder, 'opencv': OpenCVDecoder}
DURATION_ERROR = 0.5  # seconds by which the duration in a header may be wrong
_MAX_PENDING = 4  # frames without a valid time that are kept in memory until the next valid one


@dataclass(frozen=True, eq=False, slots=True)
class VideoFrame:
    """A frame of a video or a camera.

    Attributes:
        index: 0 for the first frame.
        time: seconds after the first frame.
        image: (h, w, 3) uint8 RGB.
    """

    index: int
    time: float
    image: NDArray


class VideoReader:
    """Reads a video file frame by frame; one frame at a time is in memory.

    Times are the presentation times of the container, relative to the first frame, and therefore correct for variable
    frame rates, browser recordings and dropped frames. Frames are rotated as the file requests. A reader can be
    iterated several times; each iteration begins with the first frame.

    Args:
        path: the video file.
        backend: 'pyav' or 'opencv'. The default is PyAV if it is installed, otherwise OpenCV. Both return the same
            times and images for files that both can read.

    Attributes:
        backend: name of the library that reads: 'PyAV' or 'OpenCV'.
        fps: the frame rate that the container states, or None. It is often incorrect: do not compute times with it.
        duration: seconds that the container states, or None.
        notes: what was unusual, one message each. Complete after a whole iteration.

    Raises:
        VideoError: the file does not exist or is not a readable video; while iterating also: it contains no frame, its
            frames change their size, or it has no valid times.
    """

    def __init__(self, path: str | Path, backend: str | None = None) -> None:
        self.path = Path(path)
        if backend is not None and backend not in BACKENDS:
            raise VideoError(f'backend must be one of {", ".join(BACKENDS)}, got {backend!r}')
        if backend == 'pyav' and import_pyav() is None:
            raise VideoError(f"backend 'pyav' needs PyAV, which is not installed: {INSTALL}")
        self._decoder_type = BACKENDS[backend or ('opencv' if import_pyav() is None else 'pyav')]
        decoder = self._open()
        self.backend, self.fps, self.duration = decoder.name, decoder.fps, decoder.duration
        self.notes: list[str] = []
        decoder.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        decoder = self._open()
        self.notes = []
        longest, last, count = 0.0, 0.0, 0
        shape: tuple[int, ...] | None = None
        try:
            for count, (time, image) in enumerate(self._timed_frames(decoder), 1):
                shape = shape or image.shape
                if image.shape != shape:
                    raise VideoError(
                        f'{self.path}: frame {count - 1} is {image.shape[1]}x{image.shape[0]} pixels and those before '
                        f'it {shape[1]}x{shape[0]}; convert the video to one size first'
                    )
                longest, last = max(longest, time - last), time
                yield VideoFrame(count - 1, time, image)
            self._check_and_note(decoder, count, last, longest)
        finally:
            decoder.close()

    def _open(self) -> Decoder:
        return self._decoder_type(self.path, check_video_file(self.path))

    def _timed_frames(self, decoder: Decoder) -> Iterator[tuple[float, NDArray]]:
        """Yields (time, image) with increasing times; missing and repeated ones are interpolated linearly."""
        start: float | None = None
        last, repaired = 0.0, 0
        pending: list[NDArray] = []
        for timestamp, image in decoder.frames():
            if start is None:
                start = timestamp or 0.0
                repaired += timestamp is None
                yield 0.0, image
                continue
            time = None if timestamp is None else timestamp - start
            if time is not None and time > last:
                step = (time - last) / (len(pending) + 1)
                for k, earlier in enumerate(pending, 1):
                    yield last + k * step, earlier
                pending, last = [], time
                yield time, image
                continue
            repaired += 1
            pending.append(image)
            if len(pending) > _MAX_PENDING:
                last += self._nominal_period(decoder)
                yield last, pending.pop(0)
        for image in pending:
            last += self._nominal_period(decoder)
            yield last, image
        if repaired:
            self.notes.append(
                f'frames without a valid time in the file: {repaired}; their times are interpolated between those of '
                f'their neighbours, or follow the stated frame rate'
            )

    def _nominal_period(self, decoder: Decoder) -> float:
        if decoder.fps is None:
            raise VideoError(
                f'{self.path} has frames without valid times and states no frame rate (read by {decoder.name}); '
                f'convert it to MP4 or WebM first' + ('' if decoder.name == 'PyAV' else f', or install PyAV: {INSTALL}')
            )
        return 1 / decoder.fps

    def _check_and_note(self, decoder: Decoder, count: int, last: float, longest: float) -> None:
        """Adds the notes that need the whole file; refuses one without frames.

        `count` frames, the last of them at `last` seconds; `longest` seconds from one frame to the next.
        """
        if not count:
            advice = '' if decoder.name == 'PyAV' else f'; PyAV reads more codecs: {INSTALL}'
            raise VideoError(
                f'{self.path} contains no frame that {decoder.name} can decode (codec {decoder.codec}){advice}'
            )
        if decoder.damaged:
            self.notes.append(f'damaged packets or frames, skipped or concealed: {decoder.damaged}')
        if self.duration is not None and self.duration - last > max(DURATION_ERROR, 3 * longest):
            self.notes.append(
                f'the last frame that can be read is at {last:.2f} s of the {self.duration:.2f} s that the file '
                f'states: the rest may be missing or damaged'
            )


def batches(frames: Iterable[VideoFrame], size: int) -> Iterator[list[VideoFrame]]:
    """Groups frames.

    Args:
        frames: any number.
        size: frames per group.

    Yields:
        Lists of `size` frames; the last one may be shorter.
    """
    frames = iter(frames)
    while batch := list(itertools.islice(frames, size)):
        yield batch
