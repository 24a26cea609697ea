"""The two libraries that decode videos, behind one small interface.

A source has `name`, `fps` (nominal, or None), `duration` (seconds from the first frame to the end of the last as the
container states it, or None), `codec`, `damaged` (packets and frames that could not be decoded), `frames()`, which
yields (presentation time in seconds or None, (h, w, 3) uint8 RGB image), and `close()`. Images are rotated as the file
asks for.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from handpose.video.containers import MAX_PIXELS, VideoError

SLOWEST, FASTEST = 0.1, 480.0  # frames per second that a header may state; containers without a rate state 1000


class Source(Protocol):
    """What `VideoReader` needs of a decoder; see the module."""

    name: str
    fps: float | None
    duration: float | None
    codec: str
    damaged: int

    def frames(self) -> Iterator[tuple[float | None, np.ndarray]]:
        """Yields the presentation time and the image of each frame, in the order of display."""

    def close(self) -> None:
        """Closes the file."""


def import_pyav():
    """The module `av`, or None where PyAV is not installed."""
    try:
        import av
    except ImportError:
        return None
    return av


class PyAVSource:
    """Decodes with PyAV, which gives each frame the time that is in the container."""

    name = 'PyAV'

    def __init__(self, path: Path, container: str):
        import av

        self.path, self.damaged = path, 0
        self._errors = av.error.FFmpegError
        try:
            # An absolute path: 'concat:a|b' and 'http://...' are protocols to FFmpeg, not names.
            self._container = av.open(str(path.absolute()), metadata_errors='replace')
        except self._errors as error:
            raise VideoError(_unreadable(path, container)) from error
        streams = self._container.streams.video
        if not streams:
            self.close()
            raise VideoError(f'{path} holds no video, only {_kinds(self._container)}')
        self._stream = streams[0]
        self._stream.thread_type = 'AUTO'
        # AVI stores no presentation times; those of decoding are right but for a constant delay.
        self._uses_dts = container == 'avi'
        context = self._stream.codec_context
        self.codec = 'unknown' if context is None else context.name
        if context is None or not context.width * context.height:
            self.close()
            raise VideoError(f'{path}: PyAV {av.__version__} has no decoder for its video stream')
        _check_size(path, context.width, context.height)
        self.fps = _plausible_fps(self._stream.average_rate)
        self.duration = self._stated_duration(av.time_base)

    def frames(self) -> Iterator[tuple[float | None, np.ndarray]]:
        """Yields (time, image); packets that cannot be decoded are counted and left out."""
        for frame in self._decoded():
            stamp = frame.dts if self._uses_dts else frame.pts
            time = None if stamp is None or frame.time_base is None else float(stamp * frame.time_base)
            self.damaged += bool(frame.is_corrupt)
            try:
                image = frame.to_ndarray(format='rgb24')
            except self._errors:
                self.damaged += 1
                continue
            turns = round(frame.rotation / 90) % 4
            yield time, np.ascontiguousarray(np.rot90(image, turns)) if turns else image

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def _decoded(self):
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except self._errors:  # the rest of the file cannot be read
                self.damaged += 1
                packet = None
            try:
                yield from self._stream.decode(packet) if packet is not None else self._rest()
            except self._errors:
                self.damaged += 1
            if packet is None:
                return

    def _rest(self):
        """What the decoder still holds; nothing where `demux` has ended by itself and flushed it."""
        try:
            return self._stream.decode(None)
        except EOFError:
            return []

    def _stated_duration(self, unit: int) -> float | None:
        stream = self._stream
        if stream.duration is not None:
            return float(stream.duration * stream.time_base)
        if self._container.duration is None:
            return None
        start = 0 if stream.start_time is None else float(stream.start_time * stream.time_base)
        return max(self._container.duration / unit - start, 0.0)


class OpenCVSource:
    """Decodes with OpenCV's FFmpeg; the time of a frame is `CAP_PROP_POS_MSEC` after it was read."""

    name = 'OpenCV'
    damaged = 0  # OpenCV does not tell

    def __init__(self, path: Path, container: str):
        self.path = path
        # Only FFmpeg: other backends of OpenCV take the name for a pattern of images or give times of their own.
        self._capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
                raise VideoError(
                    f'{path} cannot be read: this OpenCV {cv2.__version__} was built without FFmpeg; install PyAV with '
                    f"pip install 'handpose[video]'"
                )
            raise VideoError(_unreadable(path, container))
        get = self._capture.get
        _check_size(path, get(cv2.CAP_PROP_FRAME_WIDTH), get(cv2.CAP_PROP_FRAME_HEIGHT))
        code = int(get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        self.codec = code.to_bytes(4, 'little').decode('ascii', 'replace').strip('\0 ') or 'unknown'
        rate, count = get(cv2.CAP_PROP_FPS), get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = _plausible_fps(rate)
        # The count of most containers is the duration times the rate, so only the quotient means something.
        self.duration = count / rate if rate > 0 and 0 < count < 1e12 else None

    def frames(self) -> Iterator[tuple[float | None, np.ndarray]]:
        """Yields (time, image)."""
        while True:
            try:
                found, image = self._capture.read()
            except cv2.error as error:
                raise VideoError(f'{self.path}: OpenCV cannot decode a frame of it (codec {self.codec})') from error
            if not found:
                return
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield (time if math.isfinite(time) else None), cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()


def _plausible_fps(rate) -> float | None:
    return float(rate) if rate and SLOWEST <= rate <= FASTEST else None


def _check_size(path: Path, width: float, height: float) -> None:
    if width * height > MAX_PIXELS:
        raise VideoError(
            f'{path} has frames of {width:.0f}x{height:.0f} pixels; at most {MAX_PIXELS} pixels are read: scale it down'
        )


def _kinds(container) -> str:
    return ', '.join(sorted({stream.type for stream in container.streams})) or 'nothing'


def _unreadable(path: Path, container: str) -> str:
    hint = ' (an MP4 file that was not recorded or copied to its end lacks the index of its frames)'
    return f'{path} cannot be read as a video: it is damaged or incomplete{hint if container == "mp4" else ""}'
