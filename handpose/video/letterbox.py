"""Images of any shape for a model that expects another one: scaled to fit, with black borders."""

import cv2
import torch
from numpy.typing import NDArray

from handpose.geometry.camera import resize_affine
from handpose.geometry.warp import ImageWarp, resize_image
from handpose.runtime.images import letterbox_borders


def letterbox(image: NDArray, size: tuple[int, int]) -> tuple[NDArray, ImageWarp]:
    """Scales an image to fit into another size and centres it between black borders.

    Borders are whole pixels of the image. A shape that differs by no more than a pixel of the image is stretched.

    Args:
        image: (h, w, 3) uint8 RGB.
        size: (width, height) of the result, pixels.

    Returns:
        The image (height, width, 3), and how it was warped: `ImageWarp` maps points, boxes and intrinsics of the image
        to the result, and points of the result back.
    """
    height, width = image.shape[:2]
    left, right, top, bottom = letterbox_borders((width, height), size)
    affine = resize_affine((width + left + right, height + top + bottom), size)
    affine[:, 2] += affine[:, :2] @ torch.tensor([left, top], dtype=affine.dtype)
    if left + right or top + bottom:
        image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return image if image.shape[1::-1] == size else resize_image(image, size), ImageWarp(affine, size)
