"""Smaller images for a packed store: lossy, and only on request."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.packed_format import ENCODINGS, LONGEST_SIDE
from handpose.datasets.transforms.load import decode_image


@dataclass(frozen=True)
class Recoding:
    """How packed images are changed: lossy, so a clip read from such a store is not the one of the files.

    `size` (w, h) resizes them, all of which must be of one size; `encoding` 'jpg' with `quality`, or 'png'.
    """

    size: tuple[int, int] | None = None
    encoding: str = 'jpg'
    quality: int = 95

    def __post_init__(self) -> None:
        if (
            self.encoding not in ENCODINGS
            or not 1 <= self.quality <= 100
            or not all(1 <= n <= LONGEST_SIDE for n in self.size or ())
        ):
            raise DatasetError(f"images are packed as 'jpg' of quality 1 to 100 or as 'png', not as {self}")

    def apply(self, data: bytes, path: str, source_size: Sequence[int] | None) -> bytes:
        """The bytes of an image, decoded, resized if wanted, and encoded.

        Raises:
            DatasetError: its size is not `source_size` (w, h), where that is given.
        """
        image = decode_image(data, path)
        if source_size is not None and image.shape[1::-1] != tuple(source_size):
            raise WrongSizeError(
                f'image {path} is {image.shape[1]}x{image.shape[0]}, but others are {source_size[0]}x{source_size[1]}; '
                'images of one size alone can be resized in a store'
            )
        if self.size is not None:
            smaller = self.size[0] < image.shape[1] or self.size[1] < image.shape[0]
            method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            image = cv2.resize(image, tuple(self.size), interpolation=method)
        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality] if self.encoding == 'jpg' else []
        return cv2.imencode(f'.{self.encoding}', image, options)[1].tobytes()


class WrongSizeError(DatasetError):
    """An image of another size than the others."""
