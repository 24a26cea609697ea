"""Writing videos and sheets of frames with OpenCV, whole or not at all."""

from pathlib import Path

import cv2
import numpy as np

from handpose.files import write_whole
from handpose.visualization.draw import contact_sheet

CODECS = {'.webm': 'VP80', '.mp4': 'mp4v', '.avi': 'MJPG'}  # those that the OpenCV of PyPI can write


class VideoWriter:
    """Writes RGB frames to a video; the file appears under its name when the `with` block ends without an error.

    `.webm` (VP8) plays in browsers; `.mp4` (MPEG-4 part 2) does not in most; `.avi` is motion JPEG. Frames with an odd
    side get one more row or column, which the codecs need.

    Args:
        path: file to write; its ending picks the codec. fps: frames per second.

    Raises:
        ValueError: an ending without a codec, or frames of different sizes.
        RuntimeError: OpenCV cannot write such a file here; or no frame was written.
    """

    def __init__(self, path, fps):
        self.path = Path(path)
        if self.path.suffix not in CODECS:
            raise ValueError(f'{self.path}: a video must end in one of {", ".join(CODECS)}')
        if not fps > 0:
            raise ValueError(f'{self.path}: fps must be above 0, got {fps}')
        self.fps = float(fps)
        self._unfinished = self.path.with_name(f'.unfinished_{self.path.name}')
        self._writer = None
        self._shape = None

    def __enter__(self):
        return self

    def write(self, frame):
        """Adds one frame (h, w, 3) uint8 RGB; all must have the size of the first."""
        if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
            raise ValueError(f'{self.path}: a frame must be (h, w, 3) uint8 RGB, got {frame.shape} {frame.dtype}')
        if self._writer is None:
            self._open(frame.shape)
        if frame.shape != self._shape:
            raise ValueError(f'{self.path}: all frames must be {self._shape} as the first one, got {frame.shape}')
        height, width = frame.shape[:2]
        even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))

    def _open(self, shape):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        codec = CODECS[self.path.suffix]
        size = (shape[1] + shape[1] % 2, shape[0] + shape[0] % 2)
        writer = cv2.VideoWriter(str(self._unfinished), cv2.VideoWriter.fourcc(*codec), self.fps, size)
        if not writer.isOpened():
            raise RuntimeError(
                f'{self.path}: OpenCV {cv2.__version__} cannot write {codec} video of {size[0]}x{size[1]} here; '
                f'try another ending: {", ".join(CODECS)}'
            )
        self._writer, self._shape = writer, shape

    def __exit__(self, error, value, traceback):
        if self._writer is not None:
            self._writer.release()
        if error is not None:
            self._unfinished.unlink(missing_ok=True)
        elif self._writer is None:
            raise RuntimeError(f'{self.path}: no frame was written')
        else:
            self._unfinished.replace(self.path)


def save_clip_video(path, frames, fps):
    """Writes RGB frames, all of one size, to a video; see `VideoWriter` for the endings."""
    with VideoWriter(path, fps) as writer:
        for frame in frames:
            writer.write(frame)


def save_contact_sheet(path, frames, columns):
    """Writes RGB frames as one picture (.png or .jpg), `columns` in a row."""
    save_image(path, contact_sheet(frames, columns))


def save_image(path, image):
    """Writes an RGB image to .png or .jpg, whole or not at all."""
    path = Path(path)
    if path.suffix not in ('.png', '.jpg'):
        raise ValueError(f'{path}: a picture must end in .png or .jpg')
    _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    write_whole(path, encoded.tobytes())
