"""Procrustes alignment of point sets, batched and differentiable."""

import torch
from torch import Tensor

from handpose.geometry.rotations import small_matmul

# Added to the Frobenius norms, as the FreiHAND, HO3D and DexYCB evaluators do; also what keeps equal points finite.
_NORM_GUARD = 1e-8


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
