"""Affine maps of image pixels: what crops, resizes and borders do to images, points, boxes and cameras.

Conventions as in camera.py: pixel centres lie at integers, an image spans -0.5 to width - 0.5.
"""

from typing import NamedTuple

import cv2
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.geometry.boxes import boxes_from_points, square_boxes
from handpose.geometry.camera import apply_affine, transform_intrinsics

_MIN_SIDE = 1.0  # pixels of a square that is cropped


class ImageWarp(NamedTuple):
    """How an image was warped; everything that is known in the source image can follow it.

    Attributes:
        affine: (..., 2, 3), from pixels of the source image to pixels of the warped one.
        size: (width, height) of the warped image, pixels.
    """

    affine: Tensor
    size: tuple[int, int]

    def image(self, image: NDArray) -> NDArray:
        """Warps an image; pixels from outside of it are black.

        Args:
            image: (h, w, 3), the source image of an affine (2, 3).

        Returns:
            (height, width, 3).
        """
        return warp_image(image, self.affine.numpy(), self.size)

    def points(self, points: Tensor) -> Tensor:
        """Maps points of the source image.

        Args:
            points: (..., N, 2) pixels.

        Returns:
            (..., N, 2) pixels of the warped image.
        """
        return apply_affine(points, self.affine)

    def source_points(self, points: Tensor) -> Tensor:
        """Maps points of the warped image back; the inverse of `points`.

        Args:
            points: (..., N, 2) pixels of the warped image.

        Returns:
            (..., N, 2) pixels of the source image.
        """
        return apply_affine(points, invert_affine(self.affine))

    def boxes(self, boxes: Tensor) -> Tensor:
        """Maps boxes of the source image, see `transform_boxes`.

        Args:
            boxes: (..., N, 4).

        Returns:
            (..., N, 4) boxes in the warped image.
        """
        return transform_boxes(boxes, self.affine[..., None, :, :])

    def intrinsics(self, intrinsics: Tensor) -> Tensor:
        """Computes the camera of the warped image, for 3D points that stay as they are.

        A rotation of the image is in the upper left block then; `crop_camera` separates it.

        Args:
            intrinsics: (..., 3, 3) of the source image.

        Returns:
            (..., 3, 3).
        """
        return transform_intrinsics(intrinsics, self.affine)


def invert_affine(affine: Tensor) -> Tensor:
    """Inverts affine maps of the plane.

    Args:
        affine: (..., 2, 3).

    Returns:
        (..., 2, 3).
    """
    linear = torch.linalg.inv(affine[..., :2])
    return torch.cat([linear, -linear @ affine[..., 2:]], -1)


def transform_boxes(boxes: Tensor, affine: Tensor) -> Tensor:
    """Computes the upright boxes around boxes that were mapped.

    Args:
        boxes: (..., 4).
        affine: (..., 2, 3).

    Returns:
        (..., 4).
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    corners = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], -1).unflatten(-1, (4, 2))
    return boxes_from_points(apply_affine(corners, affine))


def crop_squares(boxes: Tensor) -> Tensor:
    """Computes the squares to crop around boxes: as wide as their longer sides, and at least a pixel.

    A box of less than a pixel is a hand that is far away or seen end-on.

    Args:
        boxes: (..., 4).

    Returns:
        (..., 4).
    """
    centre, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    half = half.clamp_min(_MIN_SIDE / 2)
    return square_boxes(torch.cat([centre - half, centre + half], -1))


def warp_image(image: NDArray, affine: NDArray, size: tuple[int, int], out: NDArray | None = None) -> NDArray:
    """Warps an image with linear interpolation; pixels from outside of it are black.

    Args:
        image: (h, w, 3).
        affine: (2, 3), from pixels of the image to pixels of the result.
        size: (width, height) of the result.
        out: (height, width, 3), the array to write to.

    Returns:
        (height, width, 3).
    """
    return cv2.warpAffine(image, affine, size, dst=out, flags=cv2.INTER_LINEAR)


def resize_image(image: NDArray, size: tuple[int, int], out: NDArray | None = None) -> NDArray:
    """Resizes an image, by averaging areas where it gets smaller; `resize_affine` is the map of its pixels.

    Args:
        image: (h, w, 3).
        size: (width, height) of the result.
        out: (height, width, 3), the array to write to.

    Returns:
        (height, width, 3).
    """
    smaller = size[0] < image.shape[1] or size[1] < image.shape[0]
    return cv2.resize(image, size, dst=out, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
