"""Rigid motions as 4x4 matrices: p' = R p + t. Batched over leading dims `...`, differentiable, metres."""

import torch

from handpose.geometry.rotations import small_matmul


def make_rigid(rotmat, transl):
    """Builds matrices (..., 4, 4) from rotations (..., 3, 3) and translations (..., 3); leading dims broadcast."""
    leading = torch.broadcast_shapes(rotmat.shape[:-2], transl.shape[:-1])
    upper = torch.cat([rotmat.expand(*leading, 3, 3), transl.unsqueeze(-1).expand(*leading, 3, 1)], -1)
    last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*leading, 1, 4)
    return torch.cat([upper, last], -2)


def invert_rigid(rigid):
    """Returns the inverse (..., 4, 4) of rigid motions (..., 4, 4), exact for rotations (no general inverse)."""
    inverse = rigid[..., :3, :3].transpose(-1, -2)
    return make_rigid(inverse, -small_matmul(inverse, rigid[..., :3, 3:]).squeeze(-1))


def compose_rigid(second, first):
    """Returns the motion (..., 4, 4) that applies `first` (..., 4, 4), then `second` (..., 4, 4): second @ first."""
    return small_matmul(second, first)


def transform_points(points, rigid):
    """Applies motions (..., 4, 4) to points (..., N, 3); leading dims broadcast."""
    return small_matmul(points, rigid[..., :3, :3].transpose(-1, -2)) + rigid[..., None, :3, 3]
