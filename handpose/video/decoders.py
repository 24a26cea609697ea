"""The two libraries that decode video files, PyAV and OpenCV, behind one small interface."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.video.containers import MAX_PIXELS, VideoError

INSTALL = "pip install 'handpose[video]'"  # PyAV
_BT709 = 1  # the colour matrix in FFmpeg's numbers
MIN_FPS, MAX_FPS = 0.1, 480.0  # that a header may state; containers without a frame rate state 1000


class Decoder(Protocol):
    """An open video file. Images are rotated as the file requests.

    Attributes:
        name: of the library.
        fps: nominal frames per second, or None.
        duration: seconds from the first frame to the end of the last as the container states it, or None.
        codec: name of the codec.
        damaged: packets and frames that could not be decoded so far.
    """

    name: str
    fps: float | None
    duration: float | None
    codec: str
    damaged: int

    def frames(self) -> Iterator[tuple[float | None, NDArray]]:
        """Reads the frames in the order of display.

        Yields:
            The presentation time in seconds, or None, and the image (h, w, 3) uint8 RGB.
        """

    def close(self) -> None:
        """Closes the file."""


def import_pyav() -> ModuleType | None:
    """Imports PyAV.

    Returns:
        The module `av`, or None if PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        return None
    return av


class PyAVDecoder:
    """Decodes with PyAV; times are the presentation times of the container. See `Decoder`.

    Args:
        path: the file.
        container: what `check_video_file` returned for it.

    Raises:
        VideoError: the file cannot be read, has no video stream or frames that are too large.
    """

    name = 'PyAV'

    def __init__(self, path: Path, container: str) -> None:
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
            raise VideoError(f'{path} contains no video, only {_stream_types(self._container)}')
        self._stream = streams[0]
        self._stream.thread_type = 'AUTO'
        # AVI stores no presentation times; decoding times differ from them by a constant delay.
        self._uses_dts = container == 'avi'
        context = self._stream.codec_context
        self.codec = 'unknown' if context is None else context.name
        if context is None or not context.width * context.height:
            self.close()
            raise VideoError(f'{path}: PyAV {av.__version__} has no decoder for its video stream')
        _check_size(path, context.width, context.height)
        self.fps = _plausible_fps(self._stream.average_rate)
        self.duration = self._stated_duration(av.time_base)

    def frames(self) -> Iterator[tuple[float | None, NDArray]]:
        """See `Decoder.frames`; packets that cannot be decoded are counted and skipped."""
        for frame in self._decode():
            timestamp = frame.dts if self._uses_dts else frame.pts
            time = None if timestamp is None or frame.time_base is None else float(timestamp * frame.time_base)
            self.damaged += bool(frame.is_corrupt)
            try:
                # Older versions of PyAV convert every frame as BT.601.
                matrix = _BT709 if frame.colorspace == _BT709 else None
                image = frame.to_ndarray(format='rgb24', src_colorspace=matrix)
            except self._errors:
                self.damaged += 1
                continue
            quarters = round(frame.rotation / 90) % 4
            yield time, np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image

    def seek(self, time: float) -> bool:
        """Goes to the keyframe before a time; `frames` must be called again.

        Args:
            time: presentation time of the container in seconds.

        Returns:
            Whether the container allows it.
        """
        unit = self._stream.time_base
        if unit is None:
            return False
        try:
            self._container.seek(round(time / unit), stream=self._stream)
        except self._errors:
            return False
        return True

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def _decode(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except self._errors:  # the rest of the file cannot be read
                self.damaged += 1
                packet = None
            try:
                yield from self._stream.decode(packet) if packet is not None else self._flush()
            except self._errors:
                self.damaged += 1
            if packet is None:
                return

    def _flush(self) -> list[Any]:
        """The frames that are still in the decoder; none if `demux` has reached the end and flushed it."""
        try:
            return self._stream.decode(None)
        except EOFError:
            return []

    def _stated_duration(self, units_per_second: int) -> float | None:
        stream, unit = self._stream, self._stream.time_base
        if stream.duration is not None and unit is not None:
            return float(stream.duration * unit)
        if self._container.duration is None:
            return None
        start = 0 if stream.start_time is None or unit is None else float(stream.start_time * unit)
        return max(self._container.duration / units_per_second - start, 0.0)


class OpenCVDecoder:
    """Decodes with OpenCV's FFmpeg; the time of a frame is `CAP_PROP_POS_MSEC` after it was read. See `Decoder`.

    Args:
        path: the file.
        container: what `check_video_file` returned for it.

    Raises:
        VideoError: the file cannot be read, or has frames that are too large.
    """

    name = 'OpenCV'
    damaged = 0  # OpenCV does not report it

    def __init__(self, path: Path, container: str) -> None:
        self.path = path
        # Only FFmpeg: other backends of OpenCV use the name as a pattern of images, or report different times.
        self._capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
                raise VideoError(
                    f'{path} cannot be read: this OpenCV {cv2.__version__} was built without FFmpeg; install PyAV with '
                    f'{INSTALL}'
                )
            raise VideoError(_unreadable(path, container))
        get = self._capture.get
        _check_size(path, get(cv2.CAP_PROP_FRAME_WIDTH), get(cv2.CAP_PROP_FRAME_HEIGHT))
        code = int(get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        self.codec = code.to_bytes(4, 'little').decode('ascii', 'replace').strip('\0 ') or 'unknown'
        rate, count = get(cv2.CAP_PROP_FPS), get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = _plausible_fps(rate)
        # The count of most containers is the duration times the rate, so only the quotient is meaningful.
        self.duration = count / rate if rate > 0 and 0 < count < 1e12 else None

    def frames(self) -> Iterator[tuple[float | None, NDArray]]:
        """See `Decoder.frames`."""
        while True:
            try:
                found, image = self._capture.read()
            except cv2.error as error:
                raise VideoError(f'{self.path}: OpenCV cannot decode a frame (codec {self.codec})') from error
            if not found:
                return
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield (time if math.isfinite(time) else None), cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()


def _plausible_fps(rate: float | Fraction | None) -> float | None:
    return float(rate) if rate and MIN_FPS <= rate <= MAX_FPS else None


def _check_size(path: Path, width: float, height: float) -> None:
    if width * height > MAX_PIXELS:
        raise VideoError(
            f'{path} has frames of {width:.0f}x{height:.0f} pixels; at most {MAX_PIXELS} pixels are read: scale it down'
        )


def _stream_types(container: Any) -> str:
    return ', '.join(sorted({stream.type for stream in container.streams})) or 'nothing'


def _unreadable(path: Path, container: str) -> str:
    hint = ' (an MP4 file that was not recorded or copied to its end lacks the index of its frames)'
    return f'{path} cannot be read as a video: it is damaged or incomplete{hint if container == "mp4" else ""}'
