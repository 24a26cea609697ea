"""Boxes (..., 4) as x1, y1, x2, y2 in pixels. Pixel centres lie at integers: an image spans -0.5 to width - 0.5."""

import torch
from torch import Tensor


def boxes_from_points(points: Tensor, valid: Tensor | None = None) -> Tensor:
    """Computes the tightest boxes around sets of points.

    Args:
        points: (..., N, 2) pixels.
        valid: (..., N) bool, the points that count; None means all.

    Returns:
        (..., 4) boxes; all zeros where no point is valid.
    """
    if valid is None:
        return torch.cat([points.amin(-2), points.amax(-2)], -1)
    keep = valid.unsqueeze(-1)
    low = torch.where(keep, points, torch.inf).amin(-2)
    high = torch.where(keep, points, -torch.inf).amax(-2)
    boxes = torch.cat([low, high], -1)
    return torch.where(keep.any(-2), boxes, torch.zeros_like(boxes))


def scale_boxes(boxes: Tensor, factor: float | Tensor) -> Tensor:
    """Scales boxes about their centres.

    Args:
        boxes: (..., 4).
        factor: a number or a tensor (...).

    Returns:
        (..., 4) boxes.
    """
    factor = torch.as_tensor(factor, dtype=boxes.dtype, device=boxes.device).unsqueeze(-1)
    return _from_centre_and_size((boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) * factor)


def square_boxes(boxes: Tensor) -> Tensor:
    """Enlarges boxes about their centres to squares whose side is the longer side of the box.

    Args:
        boxes: (..., 4).

    Returns:
        (..., 4) boxes.
    """
    side = (boxes[..., 2:] - boxes[..., :2]).amax(-1, keepdim=True)
    return _from_centre_and_size((boxes[..., :2] + boxes[..., 2:]) / 2, side)


def clip_boxes(boxes: Tensor, width: float, height: float) -> Tensor:
    """Clips boxes at the borders of an image, -0.5 and width - 0.5 (height - 0.5).

    Args:
        boxes: (..., 4).
        width: of the image, pixels.
        height: of the image, pixels.

    Returns:
        (..., 4) boxes.
    """
    upper = boxes.new_tensor([width, height, width, height]) - 0.5
    return torch.minimum(boxes.clamp_min(-0.5), upper)


def union_boxes(a: Tensor, b: Tensor) -> Tensor:
    """Computes the smallest boxes that contain both of a pair.

    Args:
        a: (..., 4).
        b: (..., 4).

    Returns:
        (..., 4) boxes.
    """
    return torch.cat([torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])], -1)


def boxes_intersect(a: Tensor, b: Tensor) -> Tensor:
    """Tells which pairs of boxes share an area; touching edges do not count.

    Args:
        a: (..., 4).
        b: (..., 4).

    Returns:
        (...) bool.
    """
    return (_overlap(a, b) > 0).all(-1)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Computes the intersection over union of pairs of boxes.

    Args:
        a: (..., 4).
        b: (..., 4).

    Returns:
        (...), 0 where both boxes are empty.
    """
    shared = _overlap(a, b).clamp_min(0).prod(-1)
    union = _area(a) + _area(b) - shared
    return torch.where(union > 0, shared / torch.where(union > 0, union, torch.ones_like(union)), 0.0)


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    return torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def _from_centre_and_size(centre: Tensor, size: Tensor) -> Tensor:
    return torch.cat([centre - size / 2, centre + size / 2], -1)
