"""Rigid transforms as 4x4 matrices: p' = R p + t. Batched over leading dims `...`, differentiable, metres."""

import torch
from torch import Tensor

from handpose.geometry.rotations import small_matmul


def make_rigid(rotmat: Tensor, transl: Tensor) -> Tensor:
    """Builds rigid transforms; leading dims broadcast.

    Args:
        rotmat: (..., 3, 3) rotations.
        transl: (..., 3) translations.

    Returns:
        (..., 4, 4).
    """
    leading = torch.broadcast_shapes(rotmat.shape[:-2], transl.shape[:-1])
    upper = torch.cat([rotmat.expand(*leading, 3, 3), transl.unsqueeze(-1).expand(*leading, 3, 1)], -1)
    last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*leading, 1, 4)
    return torch.cat([upper, last], -2)


def invert_rigid(rigid: Tensor) -> Tensor:
    """Inverts rigid transforms, exactly for rotations (no general inverse).

    Args:
        rigid: (..., 4, 4).

    Returns:
        (..., 4, 4).
    """
    inverse = rigid[..., :3, :3].transpose(-1, -2)
    return make_rigid(inverse, -small_matmul(inverse, rigid[..., :3, 3:]).squeeze(-1))


def compose_rigid(second: Tensor, first: Tensor) -> Tensor:
    """Composes rigid transforms: second @ first.

    Args:
        second: (..., 4, 4), applied last.
        first: (..., 4, 4), applied first.

    Returns:
        (..., 4, 4).
    """
    return small_matmul(second, first)


def transform_points(points: Tensor, rigid: Tensor) -> Tensor:
    """Applies rigid transforms to points; leading dims broadcast.

    Args:
        points: (..., N, 3).
        rigid: (..., 4, 4).

    Returns:
        (..., N, 3).
    """
    return small_matmul(points, rigid[..., :3, :3].transpose(-1, -2)) + rigid[..., None, :3, 3]
