"""From files to images."""

from pathlib import Path

import cv2
import numpy as np

from handpose.datasets.base import BrokenFrames, DatasetError
from handpose.datasets.transforms.images import to_images
from handpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImages:
    """Reads the images that `meta['paths']` names: one path a frame, or a list of K paths a frame.

    Gives `images` (T, K, 3, h, w) uint8 RGB.

    Raises (at a call):
        BrokenFrames: files that are missing, truncated, not images, or not of `meta['image_size']` (w, h).
        DatasetError: images of one clip differ in size and `meta` names none.
    """

    def __call__(self, sample, rng):
        """Returns the sample with `images`; `rng` is not used."""
        paths = [[p] if isinstance(p, str) else list(p) for p in sample.meta['paths']]
        size = sample.meta.get('image_size')
        loaded, wrong = {}, {}  # frames repeated at the ends of a track are decoded once
        for position, row in enumerate(paths):
            for path in row:
                try:
                    if path not in loaded:
                        loaded[path] = read_image(path, size)
                except DatasetError as error:
                    wrong[position] = error
        if wrong:
            more = f' (and {len(wrong) - 1} more frames of the clip)' if len(wrong) > 1 else ''
            raise BrokenFrames(f'{next(iter(wrong.values()))}{more}', wrong)
        if len({image.shape for image in loaded.values()}) > 1:
            raise DatasetError(f'images of one clip must have one size, but those beside {paths[0][0]} differ')
        return sample.replace(images=to_images(np.stack([[loaded[p] for p in row] for row in paths])))


def read_image(path, size=None):
    """Reads an RGB image (h, w, 3) uint8.

    Raises:
        DatasetError: the file is missing, truncated, not an image, or not of `size` (width, height).
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f'image {path} cannot be read ({error.strerror}); unpack the data set again') from error
    # OpenCV fills the missing rows of a truncated JPEG with grey and says nothing, so look for the end marker.
    whole = data[:2] != b'\xff\xd8' or b'\xff\xd9' in data[-64:]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data and whole else None
    if image is None:
        raise DatasetError(f'image {path} is truncated or not an image ({len(data)} bytes); unpack the data set again')
    if size is not None and image.shape[1::-1] != tuple(size):
        raise DatasetError(
            f'image {path} is {image.shape[1]}x{image.shape[0]}, but its camera is calibrated for {size[0]}x{size[1]}'
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
