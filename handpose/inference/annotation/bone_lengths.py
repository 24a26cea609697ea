"""Moves triangulated joints such that the bones of a hand keep their lengths: `adjust_bone_lengths`.

Legend: T frames, K cameras, H hands, J = 21 joints of the common order, B = 20 bones.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.geometry.rotations import small_matmul
from handpose.hands.joints import BONES
from handpose.inference.annotation.pair_costs import ViewRays

_PARENTS, _CHILDREN = (list(ends) for ends in zip(*BONES, strict=True))
_INNER, _OUTER = torch.tensor(_PARENTS), torch.tensor(_CHILDREN)
_BLOCK = 1000  # hands that are adjusted at once: each has a matrix of 63 x 63
_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-3, 1e-7, 1e4  # of the mean of the matrix's diagonal
_SHORTEST = 1e-9
_LOOSE = 4.0  # lengths may vary this many times more in each round than in the next


@dataclass(frozen=True)
class BoneFit:
    """How `adjust_bone_lengths` weighs detections against bones.

    Args:
        detection_error: of a joint, relative to the size of the hand in the image.
        length_error: of a bone, relative to its length: how much it may vary.
        robust: errors beyond this many times `detection_error` count linearly (Huber's loss).
        rounds: at least 1; the lengths are estimated anew from the adjusted joints before each round. They may vary
            more in the first rounds, in which they are not known well.
        steps: of Levenberg and Marquardt's method in each round.
    """

    detection_error: float = 0.012
    length_error: float = 0.03
    robust: float = 1.0
    rounds: int = 3
    steps: int = 10


def bone_vectors(joints: NDArray) -> NDArray:
    """Computes the bones of hands.

    Args:
        joints: (..., J, 3).

    Returns:
        (..., B, 3) from the inner to the outer joint of each of `handpose.hands.joints.BONES`.
    """
    return joints[..., _CHILDREN, :] - joints[..., _PARENTS, :]


def adjust_bone_lengths(
    joints: NDArray[np.float64], rays: ViewRays, weights: NDArray, projections: Tensor, fit: BoneFit
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Finds joints that fit the detections and whose bones have the same lengths in all frames.

    The most likely joints if detections and lengths have independent errors: the distances from the detections, with
    Huber's loss, and from the hand's lengths, squared, each over its error, are minimized in each frame (Levenberg
    and Marquardt). The lengths are medians over all frames.

    Args:
        joints: (T, H, J, 3) triangulated joints, NaN where there is none; the start.
        rays: (T, K, H, J, 2) detections.
        weights: (T, K, H, J) of the detections; 0 leaves one out.
        projections: (K, 3, 4) of undistorted points.
        fit: options.

    Returns:
        The joints, NaN where they were, and the lengths (H, B).
    """
    frames, hands = joints.shape[:2]
    points = torch.from_numpy(joints.reshape(frames * hands, *joints.shape[2:]))
    valid = points.isfinite().all(-1)
    points = torch.where(valid[..., None], points, 0.0)
    observed = torch.from_numpy(rays.points_2d.swapaxes(1, 2)).flatten(0, 1)  # (T H, K, J, 2)
    scale = torch.from_numpy(rays.sizes.swapaxes(1, 2)).flatten(0, 1) * fit.detection_error  # (T H, K)
    used = torch.from_numpy(np.asarray(weights, np.float64).swapaxes(1, 2)).flatten(0, 1)
    used = torch.where(valid[:, None], used, 0.0).sqrt() / scale[..., None]
    observed = torch.where((used > 0)[..., None], observed, 0.0)
    active = valid.any(-1).nonzero()[:, 0]
    for number in range(fit.rounds):
        lengths = _lengths(points, valid, hands)
        error = fit.length_error * _LOOSE ** (fit.rounds - 1 - number)
        for block in active.split(_BLOCK):
            energy = _Energy(valid[block], observed[block], used[block], lengths[block % hands], projections, error)
            points[block] = _minimized(points[block], energy, fit)
    result = torch.where(valid[..., None], points, torch.nan).reshape(joints.shape)
    return result.numpy(), _lengths(points, valid, hands).numpy()


def _lengths(points: Tensor, valid: Tensor, hands: int) -> Tensor:
    bones = (points[:, _CHILDREN] - points[:, _PARENTS]).norm(dim=-1)
    known = valid[:, _CHILDREN] & valid[:, _PARENTS]
    by_hand = torch.where(known, bones, torch.nan).reshape(-1, hands, len(BONES))
    return by_hand.nanquantile(0.5, dim=0)


class _Energy(NamedTuple):
    """What is minimized: N hands at once.

    Args:
        valid: (N, J).
        observed: (N, K, J, 2) undistorted pixels.
        used: (N, K, J) one over the error of a detection, pixels; 0 for those that are left out.
        lengths: (N, B).
        projections: (K, 3, 4).
        length_error: relative.
    """

    valid: Tensor
    observed: Tensor
    used: Tensor
    lengths: Tensor
    projections: Tensor
    length_error: float


def _minimized(points: Tensor, energy: _Energy, fit: BoneFit) -> Tensor:
    """Each hand has its own damping, and keeps its joints where a step would make it worse."""
    damping = points.new_full((len(points),), _DAMPING)
    value, gradient, matrix = _derivatives(points, energy, fit.robust)
    for _ in range(fit.steps):
        level = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)
        # Joints that are not valid have no equations: with 1 on the diagonal they stay.
        extra = torch.where(energy.valid.repeat_interleave(3, -1), (damping * level)[:, None], 1.0)
        step = -torch.linalg.solve(matrix + torch.diag_embed(extra), gradient)
        moved = points + step.reshape(points.shape)
        found = _derivatives(moved, energy, fit.robust)
        better = found[0] < value
        points = torch.where(better[:, None, None], moved, points)
        value = torch.where(better, found[0], value)
        gradient = torch.where(better[:, None], found[1], gradient)
        matrix = torch.where(better[:, None, None], found[2], matrix)
        damping = torch.where(better, damping / 5, damping * 10).clamp(_LEAST_DAMPING, _MOST_DAMPING)
    return points


def _derivatives(points: Tensor, energy: _Energy, robust: float) -> tuple[Tensor, Tensor, Tensor]:
    """The energy (N,), its gradient (N, 3 J) and a positive matrix near its Hessian (N, 3 J, 3 J)."""
    count, joints = points.shape[:2]
    homogeneous = small_matmul(points[:, None], energy.projections[..., :3].mT) + energy.projections[..., None, :, 3]
    depth = torch.where(energy.used > 0, homogeneous[..., 2], 1.0)[..., None]
    pixels = homogeneous[..., :2] / depth
    size = ((pixels - energy.observed) * energy.used[..., None]).norm(dim=-1)
    # Huber's loss by weights, whose square roots multiply residuals and Jacobians.
    root = (robust / size.clamp_min(robust)).sqrt() * energy.used
    value = torch.where(size > robust, robust * (size - robust / 2), size**2 / 2).sum((-1, -2))
    residuals = (pixels - energy.observed) * root[..., None]
    # d(pixel)/d(point) = (P_xy - pixel P_z) / depth: (N, K, J, 2, 3)
    slopes = energy.projections[:, None, :2, :3] - pixels[..., None] * energy.projections[:, None, 2:, :3]
    slopes = slopes / depth[..., None] * root[..., None, None]
    blocks = torch.einsum('nkjxa,nkjxb->njab', slopes, slopes)
    gradient = torch.einsum('nkjxa,nkjx->nja', slopes, residuals)

    bones = points[:, _CHILDREN] - points[:, _PARENTS]
    length = bones.norm(dim=-1).clamp_min(_SHORTEST)
    known = energy.valid[:, _CHILDREN] & energy.valid[:, _PARENTS] & energy.lengths.isfinite()
    weight = torch.where(known, (energy.length_error * energy.lengths.clamp_min(_SHORTEST)) ** -2, 0.0)
    off = torch.where(known, length - energy.lengths, 0.0)
    value = value + (weight * off**2).sum(-1) / 2
    direction = bones / length[..., None]
    pull = direction * (weight * off)[..., None]
    gradient = gradient.index_add(1, _OUTER, pull).index_add(1, _INNER, -pull)
    # Along the bone, and across it what its tension adds: without that, steps across stretched bones are far too long.
    along = direction[..., :, None] * direction[..., None, :]
    across = (off / length).clamp_min(0)[..., None, None] * (torch.eye(3, dtype=points.dtype) - along)
    outer = weight[..., None, None] * (along + across)  # (N, B, 3, 3)

    matrix = points.new_zeros(count, joints, joints, 3, 3)
    diagonal = torch.arange(joints)
    matrix[:, diagonal, diagonal] = blocks.index_add(1, _OUTER, outer).index_add(1, _INNER, outer)
    matrix[:, _PARENTS, _CHILDREN] = -outer
    matrix[:, _CHILDREN, _PARENTS] = -outer
    return value, gradient.flatten(1), matrix.permute(0, 1, 3, 2, 4).reshape(count, 3 * joints, 3 * joints)
