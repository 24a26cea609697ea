"""Crops around a box, for estimators that process one hand."""

from collections.abc import Sequence

import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.geometry.boxes import scale_boxes
from handpose.geometry.camera import crop_affine
from handpose.geometry.warp import ImageWarp, crop_squares


def crop_square(
    image: NDArray, box: Sequence[float] | Tensor, size: int, scale: float = 1.5, angle: float = 0.0
) -> tuple[NDArray, ImageWarp]:
    """Crops the square around an enlarged box and resizes it, as `HandCrop` does in training.

    Args:
        image: (h, w, 3) uint8 RGB.
        box: (4,) xyxy pixels.
        size: side of the crop, pixels.
        scale: enlarges the box about its centre.
        angle: radians; the square is rotated about its centre from x towards y.

    Returns:
        The crop (size, size, 3), black outside of the image, and how it was warped: `ImageWarp` maps points, boxes and
        intrinsics of the image to the crop, and points of the crop back.
    """
    square = crop_squares(scale_boxes(torch.as_tensor(box, dtype=torch.float32), scale))
    warp = ImageWarp(crop_affine(square, (size, size), angle), (size, size))
    return warp.image(image), warp
