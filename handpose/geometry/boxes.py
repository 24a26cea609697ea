"""Boxes (..., 4) as x1, y1, x2, y2 in pixels. Pixel centres lie at integers: an image spans -0.5 to width - 0.5."""

import torch


def boxes_from_points(points, valid=None):
    """Returns the tightest boxes (..., 4) around points (..., N, 2), those marked in `valid` (..., N) if given.

    Where no point is valid the box is all zeros.
    """
    if valid is None:
        return torch.cat([points.amin(-2), points.amax(-2)], -1)
    keep = valid.unsqueeze(-1)
    low = torch.where(keep, points, torch.inf).amin(-2)
    high = torch.where(keep, points, -torch.inf).amax(-2)
    boxes = torch.cat([low, high], -1)
    return torch.where(keep.any(-2), boxes, torch.zeros_like(boxes))


def scale_boxes(boxes, factor):
    """Enlarges boxes (..., 4) about their centres by a factor: a number or a tensor (...)."""
    factor = torch.as_tensor(factor, dtype=boxes.dtype, device=boxes.device).unsqueeze(-1)
    return _from_centre_and_size((boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) * factor)


def square_boxes(boxes):
    """Enlarges boxes (..., 4) about their centres to squares whose side is the longer side of the box."""
    side = (boxes[..., 2:] - boxes[..., :2]).amax(-1, keepdim=True)
    return _from_centre_and_size((boxes[..., :2] + boxes[..., 2:]) / 2, side)


def clip_boxes(boxes, width, height):
    """Cuts boxes (..., 4) at the borders of an image, -0.5 and width - 0.5 (height - 0.5)."""
    upper = boxes.new_tensor([width, height, width, height]) - 0.5
    return torch.minimum(boxes.clamp_min(-0.5), upper)


def union_boxes(a, b):
    """Returns the smallest boxes (..., 4) that hold both boxes a (..., 4) and b (..., 4)."""
    return torch.cat([torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])], -1)


def boxes_intersect(a, b):
    """Says whether boxes a (..., 4) and b (..., 4) share an area (touching edges do not): bool (...)."""
    return (_overlap(a, b) > 0).all(-1)


def box_iou(a, b):
    """Returns the intersection over union (...) of boxes a (..., 4) and b (..., 4) by pairs, 0 if both are empty."""
    shared = _overlap(a, b).clamp_min(0).prod(-1)
    union = _area(a) + _area(b) - shared
    return torch.where(union > 0, shared / torch.where(union > 0, union, torch.ones_like(union)), 0.0)


def _overlap(a, b):
    return torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])


def _area(boxes):
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def _from_centre_and_size(centre, size):
    return torch.cat([centre - size / 2, centre + size / 2], -1)
