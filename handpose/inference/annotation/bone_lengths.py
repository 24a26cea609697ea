"""Moves triangulated joints such that the bones of a hand keep their lengths: `adjust_bone_lengths`.

Legend: T frames, K cameras, H hands, J = 21 joints of the common order, B = 20 bones.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.geometry.rotations import small_matmul
from handpose.hands.joints import BONES
from handpose.inference.annotation.pair_costs import ViewRays

_PARENTS, _CHILDREN = (list(ends) for ends in zip(*BONES, strict=True))
_BLOCK = 1000  # hands that are adjusted at once: each has a matrix of 63 x 63
_DAMPING = 1e-6  # of the mean of the diagonal
_SHORTEST = 1e-9


@dataclass(frozen=True)
class BoneFit:
    """How `adjust_bone_lengths` weighs detections against bones.

    Args:
        detection_error: of a joint, relative to the size of the hand in the image.
        length_error: of a bone, relative to its length: how much it may vary.
        robust: errors beyond this many times `detection_error` count linearly (Huber's loss).
        steps: of Gauss-Newton.
        rounds: the lengths are estimated anew from the adjusted joints before each round.
    """

    detection_error: float = 0.012
    length_error: float = 0.03
    robust: float = 2.0
    steps: int = 5
    rounds: int = 2


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

    The most likely joints if detections and lengths have independent, normal errors: the sum of the squared distances
    from the detections and from the hand's lengths, each over its error, is minimized in each frame by Gauss-Newton
    with reweighting. The lengths are medians over all frames.

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
    lengths = torch.zeros(hands, len(BONES), dtype=torch.float64)
    active = valid.any(-1).nonzero()[:, 0]
    for _ in range(fit.rounds):
        lengths = _lengths(points, valid, hands)
        for block in active.split(_BLOCK):
            target = lengths[block % hands]
            part = points[block]
            for _ in range(fit.steps):
                part = part + _step(part, valid[block], observed[block], used[block], target, projections, fit)
            points[block] = torch.where(valid[block][..., None], part, points[block])
    result = torch.where(valid[..., None], points, torch.nan).reshape(joints.shape)
    return result.numpy(), _lengths(points, valid, hands).numpy()


def _lengths(points: Tensor, valid: Tensor, hands: int) -> Tensor:
    bones = (points[:, _CHILDREN] - points[:, _PARENTS]).norm(dim=-1)
    known = valid[:, _CHILDREN] & valid[:, _PARENTS]
    by_hand = torch.where(known, bones, torch.nan).reshape(-1, hands, len(BONES))
    return by_hand.nanquantile(0.5, dim=0)


def _step(
    points: Tensor, valid: Tensor, observed: Tensor, used: Tensor, lengths: Tensor, projections: Tensor, fit: BoneFit
) -> Tensor:
    """One step of Gauss-Newton (N, J, 3); zero for joints that are not valid."""
    count, joints = points.shape[:2]
    homogeneous = small_matmul(points[:, None], projections[..., :3].mT) + projections[..., None, :, 3]
    depth = torch.where(used > 0, homogeneous[..., 2], 1.0)[..., None]
    pixels = homogeneous[..., :2] / depth
    residuals = (pixels - observed) * used[..., None]
    # Huber's loss by weights: the square root of them multiplies residuals and Jacobians.
    robust = (fit.robust / residuals.norm(dim=-1).clamp_min(fit.robust)).sqrt() * used
    residuals = (pixels - observed) * robust[..., None]
    # d(pixel)/d(point) = (P_xy - pixel P_z) / depth: (N, K, J, 2, 3)
    slopes = projections[:, None, :2, :3] - pixels[..., None] * projections[:, None, 2:, :3]
    slopes = slopes / depth[..., None] * robust[..., None, None]
    blocks = torch.einsum('nkjxa,nkjxb->njab', slopes, slopes)
    gradient = torch.einsum('nkjxa,nkjx->nja', slopes, residuals)

    bones = points[:, _CHILDREN] - points[:, _PARENTS]
    length = bones.norm(dim=-1).clamp_min(_SHORTEST)
    known = valid[:, _CHILDREN] & valid[:, _PARENTS] & lengths.isfinite()
    weight = torch.where(known, 1 / (fit.length_error * lengths.clamp_min(_SHORTEST)), 0.0)
    off = torch.where(known, (length - lengths) * weight, 0.0)
    direction = bones / length[..., None] * weight[..., None]
    pull = direction * off[..., None]
    gradient = gradient.index_add(1, torch.tensor(_CHILDREN), pull).index_add(1, torch.tensor(_PARENTS), -pull)
    outer = direction[..., :, None] * direction[..., None, :]  # (N, B, 3, 3)

    normal = points.new_zeros(count, joints, joints, 3, 3)
    diagonal = torch.arange(joints)
    normal[:, diagonal, diagonal] = blocks
    for bone, (parent, child) in enumerate(BONES):
        normal[:, parent, parent] += outer[:, bone]
        normal[:, child, child] += outer[:, bone]
        normal[:, parent, child] -= outer[:, bone]
        normal[:, child, parent] -= outer[:, bone]
    matrix = normal.permute(0, 1, 3, 2, 4).reshape(count, 3 * joints, 3 * joints)
    fixed = (~valid).repeat_interleave(3, -1)
    level = matrix.diagonal(dim1=-2, dim2=-1).sum(-1) / (~fixed).sum(-1)
    matrix = matrix + torch.diag_embed(torch.where(fixed, level[:, None], _DAMPING * level[:, None]))
    return -torch.linalg.solve(matrix, gradient.reshape(count, -1)).reshape(points.shape)
