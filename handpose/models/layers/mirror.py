"""Mirrored images, boxes and points."""

import torch
from torch import Tensor


def mirror_images(images: Tensor, boxes: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
    """Flips clips left to right.

    Args:
        images: (B, T, 3, h, w).
        boxes: (B, T, 4), xyxy, pixels.
        mirrored: (B,) bool, which clips to flip.

    Returns:
        Images and boxes of the same shapes.
    """
    flipped = torch.where(mirrored[:, None, None, None, None], images.flip(-1), images)
    # Pixel centres lie at integers, so x becomes w - 1 - x; the left edge of a box becomes its right edge.
    x1, y1, x2, y2 = boxes.unbind(-1)
    last = images.shape[-1] - 1
    mirror = torch.stack([last - x2, y1, last - x1, y2], dim=-1)
    return flipped, torch.where(mirrored[:, None, None], mirror, boxes)


def mirror_points(points: Tensor) -> Tensor:
    """Flips points left to right.

    Args:
        points: (..., 2), in [0, 1] of a box.

    Returns:
        (..., 2).
    """
    return torch.cat([1 - points[..., :1], points[..., 1:]], dim=-1)
