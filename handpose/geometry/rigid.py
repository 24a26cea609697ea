"""Rigid transforms as 4x4 matrices: p' = R p + t. Batched over leading dims `...`, differentiable, metres."""

import torch
from torch import Tensor

from handpose.geometry.rotations import rot6d_to_rotmat, rotmat_to_rot6d, small_matmul

MOTION_FRAMES = ('world', 'local')


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


def rigid_to_9d(rigid: Tensor) -> Tensor:
    """Writes rigid transforms as nine numbers.

    Args:
        rigid: (..., 4, 4).

    Returns:
        (..., 9): 6D rotation, then translation.
    """
    return torch.cat([rotmat_to_rot6d(rigid[..., :3, :3]), rigid[..., :3, 3]], -1)


def rigid_from_9d(numbers: Tensor) -> Tensor:
    """Reads rigid transforms from nine numbers, of which the rotation need not be orthonormal.

    Args:
        numbers: (..., 9): 6D rotation, then translation.

    Returns:
        (..., 4, 4).
    """
    return make_rigid(rot6d_to_rotmat(numbers[..., :6]), numbers[..., 6:])


def relative_motions(poses: Tensor, frame: str = 'world') -> Tensor:
    """The motion of a rigid body from each frame to the next.

    Args:
        poses: (..., T, 4, 4), X_i: from the body to the world.
        frame: where a motion is expressed: 'world', V_i = X_i X_(i-1)^-1, or 'local', V_i = X_(i-1)^-1 X_i.

    Returns:
        (..., T - 1, 4, 4), V_2 to V_T.

    Raises:
        ValueError: an unknown frame.
    """
    _check_frame(frame)
    before, after = poses[..., :-1, :, :], poses[..., 1:, :, :]
    if frame == 'world':
        return compose_rigid(after, invert_rigid(before))
    return compose_rigid(invert_rigid(before), after)


def accumulate_motions(motions: Tensor, frame: str = 'world') -> Tensor:
    """Composes successive motions: S_i = V_i ... V_2 V_1 in the world's frame, V_1 V_2 ... V_i in the local one.

    Inverts `relative_motions`: X_i = S_i X_0 in the world's frame, X_0 S_i in the local one. Products are in float32 at
    least, so that rounding does not add up.

    Args:
        motions: (..., T, 4, 4).
        frame: as in `relative_motions`.

    Returns:
        (..., T, 4, 4), S_1 to S_T.

    Raises:
        ValueError: an unknown frame.
    """
    _check_frame(frame)
    steps = motions.to(torch.promote_types(motions.dtype, torch.float32)).unbind(-3)
    total = [steps[0]]
    for step in steps[1:]:
        total.append(compose_rigid(step, total[-1]) if frame == 'world' else compose_rigid(total[-1], step))
    return torch.stack(total, -3)


def apply_motions(motions: Tensor, start: Tensor, frame: str = 'world') -> Tensor:
    """Moves a start pose by accumulated motions.

    Args:
        motions: (..., T, 4, 4), S_i as `accumulate_motions` gives.
        start: (..., 4, 4), X_0.
        frame: as in `relative_motions`.

    Returns:
        (..., T, 4, 4), X_1 to X_T.

    Raises:
        ValueError: an unknown frame.
    """
    _check_frame(frame)
    start = start.unsqueeze(-3)
    return compose_rigid(motions, start) if frame == 'world' else compose_rigid(start, motions)


def _check_frame(frame: str) -> None:
    if frame not in MOTION_FRAMES:
        raise ValueError(f"frame of a motion must be 'world' or 'local', got {frame!r}")
