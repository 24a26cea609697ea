"""Preparing images for an exported network with NumPy and OpenCV: crops of a hand, and whole images of a fixed size.

Pixel centres are whole numbers: an image spans -0.5 to width - 0.5. It does what the transforms and estimators do with
torch, and is tested against them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handpose.runtime.errors import RuntimeFileError
from handpose.runtime.exported_model import ExportedModel

LEFT = 0
_LEAST_SIDE = 1.0  # pixels of a box that is cropped
HAND_CROP_DEFAULTS = {'size': 256, 'scale': 1.5}  # those of `HandCrop`, which needs torch; a test compares them
_LARGEST_CROP, _LARGEST_SCALE = 2048, 10.0


class PreparedImage(NamedTuple):
    """An image as a network sees it; what is known in the original can follow it.

    Attributes:
        pixels: (3, height, width) RGB, 0 to 255, in the dtype that the network takes.
        affine: (2, 3), from pixels of the original to those of the prepared image.
    """

    pixels: NDArray[Any]
    affine: NDArray[np.float32]

    def box(self, box: ArrayLike) -> NDArray[np.float32]:
        """Maps a box (4,) x1 y1 x2 y2 of the original to the prepared image."""
        corners = np.asarray(box, np.float32).reshape(2, 2) @ self.affine[:, :2].T + self.affine[:, 2]
        return np.concatenate([corners.min(0), corners.max(0)])

    def intrinsics(self, intrinsics: ArrayLike) -> NDArray[np.float32]:
        """The camera matrix (3, 3) of the prepared image, from that of the original."""
        last = np.array([[0, 0, 1]], np.float32)
        return np.concatenate([self.affine, last]) @ np.asarray(intrinsics, np.float32)

    def source_points(self, points: ArrayLike) -> NDArray[np.float32]:
        """Maps points (..., 2) of the prepared image back to the original."""
        inverse = np.linalg.inv(self.affine[:, :2])
        return (np.asarray(points, np.float32) - self.affine[:, 2]) @ inverse.T


def prepare_image(
    model: ExportedModel, image: NDArray[np.uint8], box: ArrayLike | None = None, hand_side: int | None = None
) -> PreparedImage:
    """Prepares an image as the metadata of a network ask for.

    Whole images (HTT, FrameHandObject) are scaled to `image_size` between black borders. For a network of one hand the
    square around the box is cropped: by `HandCrop` of the `test_pipeline` (Deformer), or by `crop_size`, `box_scale`
    and `min_box` (SVEgoNet). Colours are normalized in the network.

    Args:
        model: an exported network of images.
        image: (h, w, 3) RGB.
        box: (4,) x1 y1 x2 y2 around the joints of the hand, pixels; for networks of one hand.
        hand_side: 0 left, 1 right; for SVEgoNet, which may see left hands in a mirror.

    Returns:
        The prepared image.

    Raises:
        ValueError: a network that takes no images, or several views of a hand; an image, box or side that is missing
            or has another shape.
        RuntimeFileError: the file does not say how images are prepared.
    """
    described = model.metadata
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'an image must be (height, width, 3) uint8 RGB, got {image.shape} {image.dtype}')
    if described['image_size'] is not None:
        return _letterbox(image, _size(model, described['image_size']))
    if described['part'] == 'decode' or 'num_rounds' in described or described['image_mean'] is None:
        raise ValueError(
            f'{model.path} holds {described["estimator"]} ({described["part"]}), for which no single image is prepared'
        )
    corners = None if box is None else np.asarray(box, np.float32)
    if corners is None or corners.shape != (4,) or not np.isfinite(corners).all():
        raise ValueError(
            f'{described["estimator"]} sees one hand: give its box (4,) x1 y1 x2 y2, pixels; got '
            f'{"none" if corners is None else corners}'
        )
    if 'crop_size' not in described:
        step = {**HAND_CROP_DEFAULTS, **_hand_crop(model)}
        size, scale = _crop_options(model, step['size'], step['scale'])
        affine = _crop_affine(_scaled(corners, scale), size)
        return PreparedImage(_warped(image, affine, size).transpose(2, 0, 1), affine)
    if described['mirror_left_hands'] and hand_side not in (0, 1):
        raise ValueError(f'{described["estimator"]} sees left hands in a mirror: give hand_side, 0 left or 1 right')
    size, scale = _crop_options(model, described['crop_size'], described.get('box_scale'))
    least = described.get('min_box')
    if not isinstance(least, int | float):
        raise RuntimeFileError(f'{model.path} says that boxes have at least {least!r} pixels; export the model again')
    side = float((corners[2:] - corners[:2]).max()) * scale
    enlarged = _scaled(_scaled(corners, max(1.0, least / max(side, 1e-6))), scale)
    affine = _crop_affine(enlarged, size)
    if described['mirror_left_hands'] and hand_side == LEFT:
        affine[0] = np.array([0, 0, size - 1], np.float32) - affine[0]
    return PreparedImage(_averaged_crop(image, affine, size), affine)


def letterbox_borders(source: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Computes the borders that give an image the aspect ratio of another size.

    Args:
        source: (width, height) of the image.
        size: (width, height) of the other one.

    Returns:
        Pixels of the image at the left, right, top and bottom; none where it differs by a pixel, which is a rounding.
    """
    across = max(0, round(source[1] * size[0] / size[1]) - source[0])
    down = max(0, round(source[0] * size[1] / size[0]) - source[1])
    if across <= 1 and down <= 1:
        return 0, 0, 0, 0
    return across // 2, across - across // 2, down // 2, down - down // 2


def _letterbox(image: NDArray[np.uint8], size: tuple[int, int]) -> PreparedImage:
    import cv2  # loaded here: a network of joints needs no OpenCV

    height, width = image.shape[:2]
    left, right, top, bottom = letterbox_borders((width, height), size)
    whole = np.array([-left, -top, width + right, height + bottom], np.float32) - np.float32(0.5)
    affine = _box_affine(whole, size)
    padded = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    smaller = size[0] < padded.shape[1] or size[1] < padded.shape[0]
    if padded.shape[1::-1] != size:
        padded = cv2.resize(padded, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return PreparedImage(np.ascontiguousarray(padded.transpose(2, 0, 1)), affine)


def _warped(image: NDArray[Any], affine: NDArray[np.float32], size: int) -> NDArray[Any]:
    import cv2  # see `_letterbox`

    return cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR)


def _averaged_crop(image: NDArray[np.uint8], affine: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The mean of two by two samples for each pixel (3, size, size), as in `sample_crops` of SVEgoNet."""
    finer = 2 * affine + np.array([0, 0, 0.5], np.float32)
    samples = _warped(image.astype(np.float32), finer, 2 * size)
    return samples.reshape(size, 2, size, 2, 3).mean((1, 3)).transpose(2, 0, 1)


def _scaled(box: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * np.float32(factor) / 2
    return np.concatenate([centre - half, centre + half])


def _crop_affine(box: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The map (2, 3) from pixels of the image to those of the crop of the square around a box."""
    side = np.maximum((box[2:] - box[:2]).max(), np.float32(_LEAST_SIDE))
    centre = (box[:2] + box[2:]) / 2
    return _box_affine(np.concatenate([centre - side / 2, centre + side / 2]), (size, size))


def _box_affine(box: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """The map (2, 3) that takes the edges of a box to the edges of an image of a size (width, height)."""
    extent = np.array(size, np.float32)
    scale = extent / (box[2:] - box[:2])
    offset = (extent - 1) / 2 - scale * (box[:2] + box[2:]) / 2
    return np.concatenate([np.diag(scale), offset[:, None]], 1)


def _size(model: ExportedModel, value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(type(x) is int and 0 < x <= 1 << 14 for x in value):
        raise RuntimeFileError(f'{model.path} says that images have the size {value!r}; export the model again')
    return value[0], value[1]


def _hand_crop(model: ExportedModel) -> Mapping[str, Any]:
    """The options of `HandCrop` in the test pipeline."""
    pipeline = model.metadata['test_pipeline']
    steps = [step for step in pipeline if isinstance(step, dict)] if isinstance(pipeline, list) else []
    found = [step for step in steps if str(step.get('type')).removeprefix('handpose.') == 'HandCrop']
    if not found:
        raise RuntimeFileError(
            f'{model.path} does not say how hands are cropped (a HandCrop in its test_pipeline): export published '
            f'weights, or crop the image in the way of training'
        )
    return found[0]


def _crop_options(model: ExportedModel, size: Any, scale: Any) -> tuple[int, float]:
    is_size = type(size) is int and 1 <= size <= _LARGEST_CROP
    if not is_size or type(scale) not in (int, float) or not 0 < scale < _LARGEST_SCALE:
        raise RuntimeFileError(
            f'{model.path}: a crop must have a size from 1 to {_LARGEST_CROP} pixels and a scale below '
            f'{_LARGEST_SCALE:g}, got {size!r} and {scale!r}; export the model again'
        )
    return size, float(scale)
