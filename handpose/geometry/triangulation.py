"""Triangulation of points seen by several pinhole cameras: linear, and robust to wrong observations.

Batched over leading dims `...` (they broadcast). V views, N points. Pixels are those of pinhole images: take the
distortion out first (`undistort_points`). The equations are solved in float64, in any unit of length.
"""

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from handpose.geometry.rotations import small_matmul

# Determinant of the scaled normal matrix. It falls with the square of the angle between the rays: below this value the
# rays are parallel within the precision of float32 pixels.
_LEAST_DETERMINANT = 1e-13
_NEAREST_DEPTH = 1e-9
_CONSENSUS_FITS = 2  # fits to all views that agree, each followed by a new choice of these views


class TriangulatedPoints(NamedTuple):
    """Triangulated points and what supports them.

    Args:
        points: (..., N, 3) in the frame that the projections map from, in its unit; 0 where not valid.
        residuals: (..., V, N) pixels from each observation to the projected point, whether the view was used or not;
            0 where the view did not observe the point or the point is not valid.
        num_views: (..., N) int64, how many views were used.
        valid: (..., N) bool: at least two views, their rays not parallel, the point in front of all these cameras.
        used: (..., V, N) bool: the observations that the point was computed from.
    """

    points: Tensor
    residuals: Tensor
    num_views: Tensor
    valid: Tensor
    used: Tensor


def projection_matrices(intrinsics: Tensor, extrinsics: Tensor) -> Tensor:
    """Computes the 3x4 matrices that take homogeneous points to homogeneous pixels; the third row gives the depth.

    Args:
        intrinsics: (..., 3, 3) pixels.
        extrinsics: (..., 4, 4) to the camera frame.

    Returns:
        (..., 3, 4).
    """
    return small_matmul(intrinsics, extrinsics[..., :3, :])


def triangulate(
    points_2d: Tensor, projections: Tensor, weights: Tensor | None = None, *, num_reweightings: int = 0
) -> TriangulatedPoints:
    """Triangulates points from the views that observe them, by linear least squares.

    The direct linear transform (Hartley and Zisserman, Multiple View Geometry, section 12.2) with the last
    homogeneous coordinate fixed to 1, which makes the result independent of the world frame and its gradient finite.
    Each equation is in pixels times depth, so distant views count for more than close ones; `num_reweightings` divides
    by the depth found before, which approaches the least reprojection error (Hartley and Sturm, Triangulation, CVIU
    1997, Iterative-LS).

    Args:
        points_2d: (..., V, N, 2) pixels; values that are not finite are missing observations.
        projections: (..., V, 3, 4) from `projection_matrices`.
        weights: (..., V, N) not negative, or a bool mask; multiplies the equations of an observation. Observations of
            weight 0 are left out and may hold anything. None weighs all finite observations the same.
        num_reweightings: further fits with the equations divided by the depth.

    Returns:
        The points, in the dtype of `points_2d`; differentiable in all three tensors. NaN-free.

    Raises:
        ValueError: shapes that do not fit each other, a number of views below two, or negative weights.
    """
    uv, projections, weights = _prepare(points_2d, projections, weights)
    points, valid = _solve(uv, projections, weights, num_reweightings)
    return _report(points, valid, uv, projections, weights, points_2d)


def triangulate_robust(
    points_2d: Tensor,
    projections: Tensor,
    weights: Tensor | None = None,
    *,
    threshold: float,
    min_views: int = 2,
    num_reweightings: int = 1,
) -> TriangulatedPoints:
    """Triangulates points from the largest set of views that agree, each point with its own set.

    Every pair of views proposes a point. The pair whose point has the least sum of squared residuals over all views,
    each cut at `threshold`, wins (Torr and Zisserman, MLESAC, CVIU 2000, the truncated cost); the point is then fitted
    to all views within the threshold. All pairs are tried, so the result is deterministic. Memory does not grow with
    the number of pairs.

    Args:
        points_2d: (..., V, N, 2) pixels; values that are not finite are missing observations.
        projections: (..., V, 3, 4) from `projection_matrices`.
        weights: (..., V, N) not negative, or a bool mask; as for `triangulate`.
        threshold: pixels; an observation further from the projected point is left out.
        min_views: the least number of views that must agree, at least 2.
        num_reweightings: as for `triangulate`, in the fits to all agreeing views.

    Returns:
        The points with the views that were `used`; a point without `min_views` agreeing views is not valid.

    Raises:
        ValueError: as for `triangulate`; a threshold that is not positive; `min_views` below 2.
    """
    if not threshold > 0:
        raise ValueError(f'threshold must be a positive number of pixels, got {threshold}')
    if min_views < 2:
        raise ValueError(f'min_views must be at least 2 (one view gives no depth), got {min_views}')
    uv, projections, weights = _prepare(points_2d, projections, weights)
    agreeing = _consensus(uv, projections, weights, threshold)
    with torch.no_grad():
        for _ in range(_CONSENSUS_FITS):
            points, valid = _solve(uv, projections, weights * agreeing, num_reweightings)
            within = _within(points, uv, projections, weights, threshold)
            keep = valid & (within.sum(-2) >= 2)
            agreeing = torch.where(keep.unsqueeze(-2), within, agreeing)
    enough = agreeing.sum(-2, keepdim=True) >= min_views
    weights = weights * (agreeing & enough)
    points, valid = _solve(uv, projections, weights, num_reweightings)
    return _report(points, valid, uv, projections, weights, points_2d)


def _prepare(points_2d: Tensor, projections: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Float64 tensors; weights 0 and pixels NaN mark missing observations, and weights have the shape (..., V, N)."""
    if points_2d.ndim < 3 or points_2d.shape[-1] != 2:
        raise ValueError(f'points_2d must have the shape (..., V, N, 2), got {tuple(points_2d.shape)}')
    views = points_2d.shape[-3]
    if projections.ndim < 3 or tuple(projections.shape[-3:]) != (views, 3, 4):
        raise ValueError(
            f'projections must have the shape (..., {views}, 3, 4), one for each of the {views} views of points_2d, '
            f'got {tuple(projections.shape)}'
        )
    if views < 2:
        raise ValueError('triangulation needs at least two views, got one')
    observed = points_2d.isfinite().all(-1)
    if weights is None:
        weights = points_2d.new_ones(points_2d.shape[:-1], dtype=torch.float64)
    elif tuple(weights.shape[-2:]) != tuple(points_2d.shape[-3:-1]):
        raise ValueError(
            f'weights must have the shape (..., {views}, {points_2d.shape[-2]}), got {tuple(weights.shape)}'
        )
    elif not (weights >= 0).all():
        raise ValueError('weights must not be negative or NaN; use 0 for observations to leave out')
    leading = torch.broadcast_shapes(points_2d.shape[:-3], projections.shape[:-3], weights.shape[:-2])
    shape = (*leading, *points_2d.shape[-3:-1])
    uv = points_2d.double().masked_fill(~observed.unsqueeze(-1), torch.nan).expand(*shape, 2)
    return uv, projections.double(), (weights.double() * observed).expand(shape)


def _solve(uv: Tensor, projections: Tensor, weights: Tensor, num_reweightings: int = 0) -> tuple[Tensor, Tensor]:
    """Points (..., N, 3), 0 where not valid, and valid (..., N)."""
    used = weights > 0
    pixels = torch.where(used.unsqueeze(-1), uv, 0.0).unsqueeze(-1)
    # (..., V, N, 2, 4): u P_3 - P_1 and v P_3 - P_2
    equations = pixels * projections[..., None, 2:, :] - projections[..., None, :2, :]
    scales = weights
    points, solvable = _least_squares(equations, scales, used)
    for _ in range(num_reweightings):
        depth = _homogeneous(points, projections)[..., 2]
        scales = weights / torch.where(solvable.unsqueeze(-2) & (depth > _NEAREST_DEPTH), depth, 1.0)
        points, solvable = _least_squares(equations, scales, used)
    in_front = (_homogeneous(points, projections)[..., 2] > 0) | ~used
    valid = solvable & in_front.all(-2)
    return torch.where(valid.unsqueeze(-1), points, 0.0), valid


def _least_squares(equations: Tensor, scales: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    rows = equations * scales[..., None, None]
    rows = rows.movedim(-4, -3).flatten(-3, -2)  # (..., N, 2V, 4)
    left, right = rows[..., :3], -rows[..., 3:]
    normal, moments = left.mT @ left, left.mT @ right
    size = normal.diagonal(dim1=-2, dim2=-1).mean(-1)
    size = torch.where(size > 0, size, 1.0)[..., None, None]
    normal, moments = normal / size, moments / size
    solvable = (used.sum(-2) >= 2) & (torch.linalg.det(normal.detach()) > _LEAST_DETERMINANT)
    mask = solvable[..., None, None]
    identity = torch.eye(3, dtype=normal.dtype, device=normal.device)
    points = torch.linalg.solve(torch.where(mask, normal, identity), torch.where(mask, moments, 0.0))
    return points.squeeze(-1), solvable


def _homogeneous(points: Tensor, projections: Tensor) -> Tensor:
    """Pixels times depth, and depth: (..., V, N, 3)."""
    turned = small_matmul(points.unsqueeze(-3), projections[..., :3].mT)
    return turned + projections[..., None, :, 3]


def _residuals(points: Tensor, uv: Tensor, projections: Tensor) -> tuple[Tensor, Tensor]:
    """Distances in pixels, 0 where there is no observation, and depths: both (..., V, N)."""
    homogeneous = _homogeneous(points, projections)
    depth = homogeneous[..., 2]
    divisor = torch.where(depth.abs() < _NEAREST_DEPTH, _NEAREST_DEPTH, depth).unsqueeze(-1)
    observed = uv.isfinite().all(-1, keepdim=True)
    difference = torch.where(observed, homogeneous[..., :2] / divisor - torch.where(observed, uv, 0.0), 0.0)
    return torch.linalg.vector_norm(difference, dim=-1), depth


def _within(points: Tensor, uv: Tensor, projections: Tensor, weights: Tensor, threshold: float) -> Tensor:
    residuals, depth = _residuals(points, uv, projections)
    return (residuals <= threshold) & (depth > 0) & (weights > 0)


@torch.no_grad()
def _consensus(uv: Tensor, projections: Tensor, weights: Tensor, threshold: float) -> Tensor:
    """The views (..., V, N) bool that agree with the best pair of views; none where no pair agrees with itself."""
    best = torch.full_like(weights[..., 0, :], torch.inf)
    agreeing = torch.zeros_like(weights, dtype=torch.bool)
    for views in combinations(range(weights.shape[-2]), 2):
        pair = list(views)
        points, valid = _solve(uv[..., pair, :, :], projections[..., pair, :, :], weights[..., pair, :])
        residuals, depth = _residuals(points, uv, projections)
        within = (residuals <= threshold) & (depth > 0) & (weights > 0)
        cost = (weights * torch.where(within, residuals, threshold)).square().sum(-2)
        better = valid & within[..., pair, :].all(-2) & (cost < best)
        best = torch.where(better, cost, best)
        agreeing = torch.where(better.unsqueeze(-2), within, agreeing)
    return agreeing


def _report(
    points: Tensor, valid: Tensor, uv: Tensor, projections: Tensor, weights: Tensor, points_2d: Tensor
) -> TriangulatedPoints:
    residuals, _ = _residuals(points, uv, projections)
    residuals = torch.where(valid.unsqueeze(-2), residuals, 0.0)
    used = weights > 0
    dtype = torch.promote_types(points_2d.dtype, torch.float32)
    return TriangulatedPoints(points.to(dtype), residuals.to(dtype), used.sum(-2), valid, used)
