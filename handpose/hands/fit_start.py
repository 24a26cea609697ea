"""The first guess of a hand fit: rigid alignment, bone directions, and a stand-in for joints that are missing.

Legend: T frames, 21 joints in the common order, 5 fingers.
"""

import torch
from torch import Tensor


def finger_bones(points: Tensor) -> Tensor:
    """From joints to the bones of each finger: from the wrist to the first joint, ..., from the last one to the tip.

    Args:
        points: (..., 21, 3).

    Returns:
        (..., 5, 4, 3).
    """
    fingers = points[..., 1:, :].unflatten(-2, (5, 4))
    wrist = points[..., None, :1, :].expand(*fingers.shape[:-2], 1, 3)
    return fingers - torch.cat([wrist, fingers[..., :-1, :]], -2)


def align(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the rigid motions that bring points nearest to others (Kabsch).

    Args:
        source: (N, 3).
        target: (T, N, 3).

    Returns:
        Rotations (T, 3, 3) and translations (T, 3).
    """
    centre, centres = source.mean(0), target.mean(1)
    u, _, vh = torch.linalg.svd((target - centres[:, None]).transpose(1, 2) @ (source - centre))
    sign = torch.ones(len(target), 3, dtype=target.dtype)
    sign[:, 2] = torch.linalg.det(u @ vh)
    rotation = (u * sign[:, None]) @ vh
    return rotation, centres - rotation @ centre


def shortest_rotation(source: Tensor, target: Tensor) -> Tensor:
    """Finds the rotations that take directions to others along the great circle.

    Args:
        source: (5, 3).
        target: (T, 5, 3).

    Returns:
        (T, 5, 3) rotation vectors.
    """
    axis = torch.linalg.cross(source.expand_as(target), target)
    sine, cosine = axis.norm(dim=-1, keepdim=True), (source * target).sum(-1, keepdim=True)
    return axis / sine.clamp_min(1e-12) * torch.atan2(sine, cosine)


def fill_missing(rest: Tensor, target: Tensor, given: Tensor, aligned: Tensor) -> Tensor:
    """Guesses missing joints: in a finger towards the next given one, or else straight on; others as in `aligned`.

    Args:
        rest: (21, 3) the resting hand.
        target: (T, 21, 3).
        given: (T, 21) bool, which of them are there.
        aligned: (T, 21, 3) the resting hand, aligned to them.

    Returns:
        (T, 21, 3).
    """
    filled = torch.where(given[..., None], target, aligned)
    lengths = finger_bones(rest).norm(dim=-1)  # (5, 4)
    for joint in [4 * finger + j for finger in range(5) for j in (2, 3, 4)]:  # beyond the first of each finger
        finger, j = (joint - 1) // 4, (joint - 1) % 4
        start = filled[:, joint - 1]
        parent = filled[:, joint - 2] if j > 1 else filled[:, 0]
        direction = torch.nn.functional.normalize(start - parent, dim=-1)
        for later in range(4 * finger + 4, joint, -1):  # the nearest given one is used last, and so decides
            ahead = torch.nn.functional.normalize(target[:, later] - start, dim=-1)
            direction = torch.where(given[:, later, None], ahead, direction)
        filled[:, joint] = torch.where(given[:, joint, None], target[:, joint], start + direction * lengths[finger, j])
    return filled
