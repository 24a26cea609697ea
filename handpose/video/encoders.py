"""The two libraries that encode videos: PyAV keeps the time of each frame, OpenCV has a constant frame rate."""

from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
from numpy.typing import NDArray

from handpose.video.containers import VideoError

_OPTIONS = {
    'libvpx-vp9': {'deadline': 'realtime', 'cpu-used': '8', 'crf': '30', 'b': '0', 'row-mt': '1'},
    'libvpx': {'deadline': 'realtime', 'cpu-used': '8', 'crf': '10', 'b': '4M'},
    # With B-frames the duration of a video of variable frame rate is too short, and players leave out its last frames.
    'libx264': {'preset': 'veryfast', 'crf': '20', 'bf': '0'},
    'libopenh264': {},
}
_TIME_BASE = {'.webm': Fraction(1, 1000), '.mp4': Fraction(1, 60000)}
# The index of the frames before the frames, so that browsers start to play before they have the whole file.
_CONTAINER_OPTIONS = {'.webm': {}, '.mp4': {'movflags': 'faststart'}}
_BT709 = 1  # of the colour matrix, the primaries and the transfer function in H.264, VP9 and FFmpeg
_LIMITED_RANGE = 1
_MATROSKA = b'\x42\x82\x88matroska'  # the element DocType as FFmpeg writes it
_WEBM = b'\x42\x82\x84webm\xec\x82\x00\x00'  # the same for WebM, and an empty element in place of the bytes saved


class Encoder(Protocol):
    """A video file that is being written."""

    def write(self, image: NDArray, time: float) -> None:
        """Adds an image.

        Args:
            image: (h, w, 3) uint8 RGB.
            time: seconds, from which on it is shown.
        """

    def close(self, finish: bool = True) -> None:
        """Closes the file.

        Args:
            finish: whether the video is to be complete; False if it is to be deleted.
        """


class PyAVEncoder:
    """Encodes with PyAV; frames keep their times. See `Encoder`.

    Args:
        path: the file, whose suffix is '.webm' or '.mp4'.
        codec: name of an FFmpeg encoder.
        size: (width, height), even.
        fps: the frame rate that the header states.
        name: the file that error messages name; `path` is renamed to it later.

    Raises:
        VideoError: the encoder does not exist, or it does not open.
    """

    def __init__(self, path: Path, codec: str, size: tuple[int, int], fps: float, name: Path) -> None:
        import av

        self._av, self._name, self._last = av, name, -1
        self._time_base = _TIME_BASE[path.suffix]
        try:
            self._container = av.open(str(path.absolute()), 'w', options=_CONTAINER_OPTIONS[path.suffix])
        except av.error.FFmpegError as error:
            raise _failed(name, error) from error
        try:
            rate = Fraction(fps).limit_denominator(1001)
            stream: Any = self._container.add_stream(codec, rate=rate, options=_OPTIONS[codec])
            self._stream = stream
            stream.width, stream.height = size
            stream.pix_fmt = 'yuv420p'
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
            stream.time_base = stream.codec_context.time_base = self._time_base
            stream.codec_context.open()
        except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
            self._container.close()
            raise _failed(name, error) from error

    def write(self, image: NDArray, time: float) -> None:
        """See `Encoder.write`."""
        rgb = self._av.VideoFrame.from_ndarray(image, format='rgb24')
        frame = rgb.reformat(format='yuv420p', dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE)
        # Two times in one tick of the container's clock: the later frame gets the next tick.
        self._last = max(round(time / self._time_base), self._last + 1)
        frame.pts, frame.time_base = self._last, self._time_base
        self._mux(frame)

    def close(self, finish: bool = True) -> None:
        """See `Encoder.close`."""
        try:
            if finish:
                self._mux(None)
        finally:
            try:
                self._container.close()
            except self._av.error.FFmpegError as error:
                if finish:
                    raise _failed(self._name, error) from error

    def _mux(self, frame: Any) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except self._av.error.FFmpegError as error:
            raise _failed(self._name, error) from error


class OpenCVEncoder:
    """Encodes with OpenCV at a constant frame rate: the image on display at each frame period. See `Encoder`.

    Args:
        path: the file.
        codec: four letters.
        size: (width, height), even.
        fps: frames per second.
        name: the file that error messages name; `path` is renamed to it later.

    Raises:
        VideoError: OpenCV cannot write such a file here.
    """

    def __init__(self, path: Path, codec: str, size: tuple[int, int], fps: float, name: Path) -> None:
        self._path, self._name, self._fps = path, name, fps
        # OpenCV warns about the four letters of WebM codecs. WebM is Matroska with a different DocType.
        self._written = path.with_suffix('.mkv') if path.suffix == '.webm' else path
        self._writer = cv2.VideoWriter(
            str(self._written.absolute()), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size
        )
        if not self._writer.isOpened():
            self._written.unlink(missing_ok=True)
            raise VideoError(f'{name}: OpenCV {cv2.__version__} cannot write it')
        self._count = 0  # frames written
        self._image: NDArray | None = None  # on display, BGR

    def write(self, image: NDArray, time: float) -> None:
        """See `Encoder.write`."""
        self._show_until(round(time * self._fps))
        self._image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)

    def close(self, finish: bool = True) -> None:
        """See `Encoder.close`."""
        try:
            if finish:
                self._show_until(self._count + 1)
            self._writer.release()
            if finish:
                self._check()
                if self._written != self._path:
                    _make_webm(self._written)
                    self._written.replace(self._path)
        finally:
            if self._written != self._path:
                self._written.unlink(missing_ok=True)

    def _show_until(self, count: int) -> None:
        while self._count < count and self._image is not None:
            self._writer.write(self._image)
            self._count += 1

    def _check(self) -> None:
        """Counts the frames of the file: OpenCV does not report a full disk."""
        count = 0
        if self._written.is_file():
            capture = cv2.VideoCapture(str(self._written.absolute()), cv2.CAP_FFMPEG)
            while capture.grab():
                count += 1
            capture.release()
        if count < self._count:
            raise VideoError(f'{self._name}: only {count} of {self._count} frames could be written; is the disk full?')


def _make_webm(path: Path) -> None:
    with open(path, 'r+b') as file:
        start = file.read(128).find(_MATROSKA)
        if start < 0:
            raise VideoError(f'{path}: OpenCV {cv2.__version__} wrote an unexpected Matroska header')
        file.seek(start)
        file.write(_WEBM)


def _failed(path: Path, error: Exception) -> VideoError:
    reason = getattr(error, 'strerror', None)
    return VideoError(f'{path}: the video could not be written' + (f': {reason}' if reason else ''))
