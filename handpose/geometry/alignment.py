"""Procrustes alignment of point sets, batched and differentiable."""

import torch
from torch import Tensor

from handpose.geometry.rigid import make_rigid
from handpose.geometry.rotations import quat_to_rotmat, small_matmul

# Added to the Frobenius norms, as the FreiHAND, HO3D and DexYCB evaluators do; also what keeps equal points finite.
_NORM_GUARD = 1e-8
_EIGENVALUE_SHIFT = 1.001  # just above the size of the least eigenvalue
_SQUARINGS = 12


def procrustes_align(
    pred: Tensor,
    target: Tensor,
    allow_reflection: bool = False,
    scale: bool = True,
    weights: Tensor | None = None,
) -> Tensor:
    """Aligns `pred` to `target` in the least-squares sense with a rotation, a translation and, if `scale`, one scale.

    The gradient is that of the polar decomposition, which unlike the gradient of the SVD stays finite when singular
    values are equal. Source: Umeyama, PAMI 1991.

    Args:
        pred: (..., N, 3), any unit.
        target: (..., N, 3), the same unit.
        allow_reflection: let the rotation be improper. True is what the FreiHAND, HO3D and DexYCB evaluators do
            (scipy's orthogonal Procrustes, so a mirrored hand aligns perfectly); False is the usual PA-MPJPE.
        scale: fit one scale per set as well.
        weights: (..., N), not negative, or a bool mask; None weighs every point the same. Points of weight 0 may hold
            anything.

    Returns:
        (..., N, 3) aligned `pred`, the points of weight 0 transformed too. Finite, with finite gradients, where all
        points coincide.
    """
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    pred, target = pred.to(dtype), target.to(dtype)
    weights = pred.new_ones(pred.shape[:-1]) if weights is None else weights.to(dtype)
    weights = weights.unsqueeze(-1)
    pred_mean, pred_unit, pred_norm = _normalize(pred, weights)
    target_mean, target_unit, target_norm = _normalize(target, weights)
    covariance = small_matmul(target_unit.transpose(-1, -2), weights * pred_unit)
    rotmat, trace = _nearest_rotation(covariance, allow_reflection)
    ratio = trace[..., None, None] * target_norm / pred_norm if scale else 1
    return small_matmul(pred - pred_mean, rotmat.transpose(-1, -2)) * ratio + target_mean


@torch.no_grad()
def fit_rigid(source: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Fits the rigid transform that takes `source` to `target` in the least-squares sense, without scale or reflection.

    It has no gradient. The rotation is the quaternion of Horn (Closed-form solution of absolute orientation using unit
    quaternions, JOSA A 1987); a batch of small singular value decompositions would take a GPU many times as long.

    Args:
        source: (..., N, 3), any unit.
        target: (..., N, 3), the same unit; the leading dims of both broadcast.
        weights: (..., N), not negative, or a bool mask; None weighs every point the same. Points of weight 0 may hold
            anything.

    Returns:
        (..., 4, 4). Finite, but meaningless, where fewer than three points that are not on a line have weight.
    """
    dtype = torch.promote_types(torch.promote_types(source.dtype, target.dtype), torch.float32)
    source, target = torch.broadcast_tensors(source.to(dtype), target.to(dtype))
    weights = source.new_ones(source.shape[:-1]) if weights is None else weights.to(dtype)
    weights = weights.unsqueeze(-1)
    source_mean, source_unit, _ = _normalize(source, weights)
    target_mean, target_unit, _ = _normalize(target, weights)
    products = small_matmul((weights * source_unit).transpose(-1, -2), target_unit)
    rotmat = quat_to_rotmat(_best_quat(products.double())).to(dtype)
    moved = small_matmul(source_mean, rotmat.transpose(-1, -2))
    return make_rigid(rotmat, (target_mean - moved).squeeze(-2))


def _best_quat(products: Tensor) -> Tensor:
    """The quaternion (..., 4) whose rotation maximizes the trace with sums of products (..., 3, 3) of unit point sets.

    It is the eigenvector of the largest eigenvalue of Horn's matrix, whose eigenvalues are between -1 and 1. Squaring
    the matrix, made positive, again and again leaves that eigenvector alone.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in products.unbind(-2))
    rows = (
        (xx + yy + zz, yz - zy, zx - xz, xy - yx),
        (yz - zy, xx - yy - zz, xy + yx, zx + xz),
        (zx - xz, xy + yx, yy - xx - zz, yz + zy),
        (xy - yx, zx + xz, yz + zy, zz - xx - yy),
    )
    power = torch.stack([torch.stack(row, -1) for row in rows], -2)
    power = power + torch.eye(4, dtype=power.dtype, device=power.device) * _EIGENVALUE_SHIFT
    for _ in range(_SQUARINGS):
        power = power / power.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        power = power @ power
    best = power.diagonal(dim1=-2, dim2=-1).argmax(-1)
    return power.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)


def _normalize(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the weighted mean (..., 1, 3), the centred points over their norm, and the norm (..., 1, 1)."""
    points = torch.where(weights > 0, points, torch.zeros_like(points))  # NaN times 0 would still be NaN
    total = weights.sum(-2, keepdim=True)
    mean = (weights * points).sum(-2, keepdim=True) / torch.where(total > 0, total, torch.ones_like(total))
    centred = torch.where(weights > 0, points - mean, torch.zeros_like(points))
    squared = (weights * centred.square()).sum((-2, -1), keepdim=True)
    spread = squared > 0
    norm = torch.where(spread, squared, torch.ones_like(squared)).sqrt() * spread + _NORM_GUARD
    return mean, centred / norm, norm


def _nearest_rotation(matrix: Tensor, allow_reflection: bool) -> tuple[Tensor, Tensor]:
    """Returns the rotation R (..., 3, 3) with the largest trace of R^T matrix, and that trace (...).

    R comes from an SVD outside the graph. Its first-order change with `matrix` is R [omega]x, where omega is
    (tr(P) I - P)^-1 times the axial vector of R^T matrix, and P = R^T matrix is symmetric with the eigenvectors V of
    the SVD. That term is zero in value and carries the gradient; its denominators are sums of two singular values.
    """
    u, sigma, vh = torch.linalg.svd(matrix.detach())
    if not allow_reflection:
        sign = torch.where(_determinant(u) * _determinant(vh) < 0, -1.0, 1.0).to(matrix.dtype)
        flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
        u, sigma = u * flip.unsqueeze(-2), sigma * flip
    rotmat = small_matmul(u, vh)
    change = small_matmul(rotmat.transpose(-1, -2), matrix)
    axial = torch.stack(
        [
            change[..., 2, 1] - change[..., 1, 2],
            change[..., 0, 2] - change[..., 2, 0],
            change[..., 1, 0] - change[..., 0, 1],
        ],
        -1,
    )
    stiffness = (sigma.sum(-1, keepdim=True) - sigma).clamp_min(torch.finfo(matrix.dtype).eps)
    omega = small_matmul(vh, axial.unsqueeze(-1)) / stiffness.unsqueeze(-1)
    omega = small_matmul(vh.transpose(-1, -2), omega).squeeze(-1)
    rotated = torch.linalg.cross(omega.unsqueeze(-2).expand_as(rotmat), rotmat, dim=-1)
    return rotmat - (rotated - rotated.detach()), change.diagonal(dim1=-2, dim2=-1).sum(-1)


def _determinant(matrix: Tensor) -> Tensor:
    a, b, c = matrix.unbind(-2)
    return (a * torch.linalg.cross(b, c, dim=-1)).sum(-1)
