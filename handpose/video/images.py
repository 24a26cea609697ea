"""`ImageReader`: image files as the frames of a video."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.files.reading import read_bytes
from handpose.video.containers import MAX_PIXELS, VideoError
from handpose.video.reader import VideoFrame

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


class ImageReader:
    """Reads image files in the given order, with the interface of `VideoReader`.

    Grey images, images with alpha (which is dropped) and with 16 bits become RGB with 8 bits; images are rotated as
    their EXIF orientation requests.

    Args:
        paths: the files, at least one.
        fps: images per second; one image alone needs none.

    Attributes:
        backend: 'OpenCV'.
        fps: images per second, or None.
        duration: seconds, or None.
        notes: what was unusual, always empty.

    Raises:
        VideoError: no file, several without `fps`; while iterating: a file is no image, or of another size.
    """

    backend = 'OpenCV'

    def __init__(self, paths: Sequence[str | Path], fps: float | None = None) -> None:
        self.paths = [Path(path) for path in paths]
        if not self.paths:
            raise VideoError('there is no image to read')
        if len(self.paths) > 1 and not (fps and fps > 0):
            raise VideoError(
                f'{self.paths[0].parent}: {len(self.paths)} images have no times; give the images per second (--fps)'
            )
        self.fps = fps
        self.duration = None if fps is None else len(self.paths) / fps
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[VideoFrame]:
        shape: tuple[int, ...] | None = None
        for index, path in enumerate(self.paths):
            image = read_image(path)
            shape = shape or image.shape
            if image.shape != shape:
                raise VideoError(
                    f'{path} is {image.shape[1]}x{image.shape[0]} pixels and the images before it are '
                    f'{shape[1]}x{shape[0]}; the images of one folder must be those of one video'
                )
            yield VideoFrame(index, index / self.fps if self.fps else 0.0, image)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Reads an image file.

    Args:
        path: the file.

    Returns:
        (h, w, 3) uint8 RGB, rotated as its EXIF orientation requests.

    Raises:
        VideoError: the file does not exist or is no image.
    """
    advice = f'give an image file ({", ".join(SUFFIXES)})'
    encoded = np.frombuffer(read_bytes(path, error=VideoError, advice=advice), np.uint8)
    try:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    except cv2.error:  # larger than OpenCV's own limit
        image = None
    if image is None or image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise VideoError(f'{path} cannot be read as an image: it is damaged, too large or of another kind; {advice}')
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
