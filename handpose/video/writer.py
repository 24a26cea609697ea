"""`VideoWriter`: writes a video atomically, each frame at its time."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.video.containers import VideoError
from handpose.video.decoders import INSTALL, import_pyav
from handpose.video.encoders import Encoder, OpenCVEncoder, PyAVEncoder

# The codecs of each file extension; the first that opens is used.
PYAV_CODECS = {'.webm': ('libvpx-vp9', 'libvpx'), '.mp4': ('libx264', 'libopenh264')}
OPENCV_CODECS = {'.webm': ('VP80', 'VP90'), '.avi': ('MJPG',)}
SUFFIXES = ('.mp4', '.webm', '.avi')
_MAX_FPS = 1000  # WebM stores milliseconds


class VideoWriter:
    """Writes RGB frames to a video; the file appears under its name when the `with` block ends without an error.

    With PyAV (`handpose[video]`) `.mp4` is H.264 and `.webm` VP9; both play in browsers, and each frame keeps its time.
    With OpenCV `.webm` is VP8, which plays in browsers too, and the frame rate is constant: a frame is repeated until
    the time of the next one, and skipped if the next one follows sooner than half a frame period. OpenCV's packages
    have no H.264 encoder, so `.mp4` takes PyAV. `.avi` is motion JPEG by OpenCV, which browsers do not play. Frames
    with an odd width or height get one more column or row, which the codecs require.

    Args:
        path: file to write; its extension determines the codec.
        fps: frames per second: of frames without a time, and of files with a constant frame rate.
        backend: 'pyav' or 'opencv'. The default is PyAV if it is installed, otherwise OpenCV.

    Raises:
        VideoError: an extension without a codec, or one whose codec is not installed; later a frame of a different
            shape, times that do not increase, a file that cannot be written (such as a full disk), or no frame at all.
    """

    def __init__(self, path: str | Path, fps: float, backend: str | None = None) -> None:
        self.path = Path(path)
        if not 0 < fps <= _MAX_FPS:
            raise VideoError(f'{self.path}: fps must be above 0 and at most {_MAX_FPS}, got {fps}')
        self._encoder_type, self._codecs = _choose_codecs(self.path, backend)
        self.fps = float(fps)
        self._unfinished = self.path.with_name(f'.unfinished_{self.path.name}')
        self._encoder: Encoder | None = None
        self._shape: tuple[int, ...] | None = None
        self._start, self._time = 0.0, -np.inf

    def __enter__(self) -> 'VideoWriter':
        return self

    def write(self, frame: NDArray, time: float | None = None) -> None:
        """Adds a frame.

        Args:
            frame: (h, w, 3) uint8 RGB; all must have the size of the first.
            time: seconds; that of the first frame is the beginning of the video. The default is one frame period after
                the last.
        """
        if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
            raise VideoError(f'{self.path}: a frame must be (h, w, 3) uint8 RGB, got {frame.shape} {frame.dtype}')
        if self._shape not in (None, frame.shape):
            raise VideoError(f'{self.path}: all frames must be {self._shape} as the first one, got {frame.shape}')
        if time is None:
            time = 0.0 if self._encoder is None else self._time + 1 / self.fps
        if not np.isfinite(time) or time <= self._time:
            raise VideoError(f'{self.path}: the times of frames must increase, got {time} s after {self._time} s')
        if self._encoder is None:
            self._encoder = self._open(frame.shape)
            self._shape, self._start = frame.shape, time
        height, width = frame.shape[:2]
        even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        self._encoder.write(even, time - self._start)
        self._time = time

    def _open(self, shape: tuple[int, ...]) -> Encoder:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        size = (shape[1] + shape[1] % 2, shape[0] + shape[0] % 2)
        for codec in self._codecs:
            try:
                return self._encoder_type(self._unfinished, codec, size, self.fps, self.path)
            except VideoError:
                self._unfinished.unlink(missing_ok=True)
        raise VideoError(
            f'{self.path}: no codec for it opens here ({", ".join(self._codecs)}, {size[0]}x{size[1]} pixels); try '
            f'another extension ({", ".join(SUFFIXES)}), or check that the folder is writable'
        )

    def __exit__(self, error: type[BaseException] | None, value: object, traceback: object) -> None:
        if self._encoder is None:
            if error is None:
                raise VideoError(f'{self.path}: no frame was written')
            return
        try:
            self._encoder.close(finish=error is None)
            if error is None:
                self._unfinished.replace(self.path)
        finally:
            self._unfinished.unlink(missing_ok=True)


def preferred_suffix() -> str:
    """Returns the suffix of videos that play anywhere: '.mp4' where PyAV can write it, otherwise '.webm'."""
    av = import_pyav()
    playable = av is not None and any(codec in av.codecs_available for codec in PYAV_CODECS['.mp4'])
    return '.mp4' if playable else '.webm'


def _choose_codecs(path: Path, backend: str | None) -> tuple[type[PyAVEncoder] | type[OpenCVEncoder], tuple[str, ...]]:
    """The encoder of a file's extension, and the codecs that it may try."""
    if path.suffix not in SUFFIXES:
        raise VideoError(f'{path}: the name of a video must end in one of {", ".join(SUFFIXES)}')
    if backend not in (None, 'pyav', 'opencv'):
        raise VideoError(f'backend must be pyav or opencv, got {backend!r}')
    av = None if backend == 'opencv' else import_pyav()
    if backend == 'pyav' and av is None:
        raise VideoError(f'{path}: PyAV is not installed: {INSTALL}')
    if av is None and path.suffix == '.mp4':
        raise VideoError(f'{path}: an MP4 that browsers play (H.264) is written by PyAV: {INSTALL}; or write .webm')
    if av is None or path.suffix not in PYAV_CODECS:
        return OpenCVEncoder, OPENCV_CODECS[path.suffix]
    codecs = tuple(codec for codec in PYAV_CODECS[path.suffix] if codec in av.codecs_available)
    if not codecs:
        needed = ' or '.join(PYAV_CODECS[path.suffix])
        others = ' or '.join(suffix for suffix in SUFFIXES if suffix != path.suffix)
        raise VideoError(f'{path}: PyAV {av.__version__} was built without {needed}; write {others} instead')
    return PyAVEncoder, codecs


def save_clip_video(path: str | Path, frames: Iterable[NDArray], fps: float) -> None:
    """Writes frames to a video of constant frame rate.

    Args:
        path: see `VideoWriter`.
        frames: (h, w, 3) uint8 RGB, all of one size.
        fps: frames per second.

    Raises:
        VideoError: see `VideoWriter`.
    """
    with VideoWriter(path, fps) as writer:
        for frame in frames:
            writer.write(frame)
