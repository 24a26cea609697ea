"""Bundle adjustment: camera poses and points that agree best with the observed pixels; intrinsics are kept.

V views, N points. A recording's points of all frames are one list: `(T, V, J, 2)` observations become `(V, T J, 2)`.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.sparse import coo_matrix
from scipy.spatial.transform import Rotation
from torch import Tensor

from handpose.geometry.rigid import invert_rigid
from handpose.geometry.triangulation import projection_matrices, triangulate

LOSSES = ('linear', 'soft_l1', 'cauchy')

_NEAREST_DEPTH = 1e-6
_START_SCALE = 2.0  # times the median error
_SCALE_STEP = 4.0
_LEAST_OBSERVATIONS = 6  # pixels of points that another view sees too; a camera's pose has six unknowns


class AdjustedBundle(NamedTuple):
    """The result of a bundle adjustment, in float64.

    Args:
        extrinsics: (V, 4, 4) world to camera; that of the reference camera is unchanged.
        points: (N, 3) world; 0 where not valid.
        residuals: (V, N) pixels from each observation to the projected point, 0 where it was not used.
        used: (V, N) bool: the observations that were fitted.
        valid: (N,) bool: the points that at least two views observe.
        converged: False if the number of evaluations ran out first.
    """

    extrinsics: Tensor
    points: Tensor
    residuals: Tensor
    used: Tensor
    valid: Tensor
    converged: bool


def adjust_bundle(
    points_2d: Tensor,
    intrinsics: Tensor,
    extrinsics: Tensor,
    points: Tensor | None = None,
    weights: Tensor | None = None,
    *,
    reference: int = 0,
    loss: str = 'soft_l1',
    loss_scale: float = 2.0,
    max_evaluations: int = 100,
) -> AdjustedBundle:
    """Adjusts camera poses and points to the observed pixels by sparse nonlinear least squares.

    Pixels do not determine where the world lies nor how large it is: the reference camera stays where it is, and the
    distance from it to the camera that was furthest away is kept. Triggs et al., Bundle adjustment: a modern
    synthesis, 2000; scipy's trust-region solver with the sparsity of the Jacobian.

    Args:
        points_2d: (V, N, 2) pixels of pinhole images (`undistort_points` first); not finite where not observed.
        intrinsics: (V, 3, 3), kept.
        extrinsics: (V, 4, 4) world to camera, the start.
        points: (N, 3) world, the start; None to triangulate them with the given cameras.
        weights: (V, N) not negative, or a bool mask; multiplies residuals. 0 leaves an observation out.
        reference: index of the camera that stays fixed.
        loss: `'linear'`, or `'soft_l1'` or `'cauchy'`, which limit the pull of wrong observations.
        loss_scale: pixels from which on a robust loss takes an observation for wrong. Where the start is worse, larger
            scales come first: a robust loss would not move cameras whose observations all look wrong.
        max_evaluations: of all residuals, for each scale; those for the derivatives not counted.

    Returns:
        The adjusted cameras and points.

    Raises:
        ValueError: shapes that do not fit each other, an unknown loss, a reference that does not exist, or a camera
            that shares too few points with the others.
    """
    start = _checked(points_2d, intrinsics, extrinsics, points, weights, reference, loss, loss_scale)
    uv, weights, points, used, valid = start
    problem = _Problem(uv, intrinsics.double().numpy(), extrinsics.double().numpy(), weights, used, reference)
    columns = np.flatnonzero(valid)
    unknowns, converged = _solve(problem, problem.start(points[columns]), loss, loss_scale, max_evaluations)
    cameras, found = problem.unpack(unknowns)
    cameras, found = _keep_scale(cameras, found, extrinsics.double(), reference)
    distances = torch.zeros(used.shape, dtype=torch.float64)
    distances[torch.from_numpy(used)] = torch.from_numpy(np.linalg.norm(problem.errors(unknowns), axis=-1))
    points = torch.zeros(len(valid), 3, dtype=torch.float64)
    points[columns] = found
    tensors = (cameras, points, distances, torch.from_numpy(used), torch.from_numpy(valid))
    return AdjustedBundle(*tensors, converged=converged)


def _solve(
    problem: '_Problem', unknowns: np.ndarray, loss: str, loss_scale: float, max_evaluations: int
) -> tuple[np.ndarray, bool]:
    """The solution, and whether it converged at the given scale."""
    sparsity = problem.sparsity()
    start = float(np.median(np.abs(problem.errors(unknowns))))
    scale = loss_scale if loss == 'linear' else max(loss_scale, _START_SCALE * start)
    while True:
        solution = least_squares(
            problem.residuals,
            unknowns,
            jac_sparsity=sparsity,
            x_scale='jac',
            loss=loss,
            f_scale=scale,
            max_nfev=max_evaluations,
        )
        if scale == loss_scale:
            return solution.x, bool(solution.status > 0)
        unknowns, scale = solution.x, max(loss_scale, scale / _SCALE_STEP)


def _checked(
    points_2d: Tensor,
    intrinsics: Tensor,
    extrinsics: Tensor,
    points: Tensor | None,
    weights: Tensor | None,
    reference: int,
    loss: str,
    loss_scale: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, weights, starting points, used observations and valid points."""
    views, count = points_2d.shape[:2]
    shapes = [(points_2d, (views, count, 2)), (intrinsics, (views, 3, 3)), (extrinsics, (views, 4, 4))]
    shapes += [(points, (count, 3))] * (points is not None) + [(weights, (views, count))] * (weights is not None)
    if any(tuple(tensor.shape) != shape for tensor, shape in shapes):
        raise ValueError(
            'adjust_bundle expects points_2d (V, N, 2), intrinsics (V, 3, 3), extrinsics (V, 4, 4), and, where given, '
            f'points (N, 3) and weights (V, N); got {", ".join(str(tuple(tensor.shape)) for tensor, _ in shapes)}'
        )
    if loss not in LOSSES or not loss_scale > 0:
        raise ValueError(
            f'loss must be one of {", ".join(LOSSES)} and its scale positive, got {loss!r} and {loss_scale}'
        )
    if not 0 <= reference < views:
        raise ValueError(f'reference must be the index of one of the {views} cameras, got {reference}')
    start = triangulate(points_2d, projection_matrices(intrinsics, extrinsics), weights, num_reweightings=1)
    used, valid = start.used, start.valid
    if points is None:
        points = start.points
    else:
        valid = (start.num_views >= 2) & points.isfinite().all(-1)
    used = used & valid
    for view, number in enumerate(used.sum(-1).tolist()):
        if number < _LEAST_OBSERVATIONS:
            raise ValueError(
                f'camera {view} shares {number} points with the other cameras, at least {_LEAST_OBSERVATIONS} are '
                'needed: give more frames, or leave the camera out'
            )
    weights = torch.ones(views, count) if weights is None else weights
    arrays = (points_2d.double(), weights.double(), points.double(), used, valid)
    uv, weight, start_points, used_array, valid_array = (tensor.cpu().numpy() for tensor in arrays)
    return uv, weight, start_points, used_array, valid_array


class _Problem:
    """The unknowns as one vector: rotation vectors and translations of all cameras but the reference, and points.

    Rotations are relative to the start, so that their vectors stay far from half turns.
    """

    def __init__(
        self,
        uv: np.ndarray,
        intrinsics: np.ndarray,
        extrinsics: np.ndarray,
        weights: np.ndarray,
        used: np.ndarray,
        reference: int,
    ) -> None:
        self.extrinsics = extrinsics
        self.free = np.array([view for view in range(len(extrinsics)) if view != reference])
        self.view, column = np.nonzero(used)
        _, self.point = np.unique(column, return_inverse=True)
        self.uv, self.weight = uv[used], weights[used][:, None]
        self.linear, self.offset = intrinsics[self.view, :2, :2], intrinsics[self.view, :2, 2]

    def start(self, points: np.ndarray) -> np.ndarray:
        motions = np.concatenate([np.zeros((len(self.free), 3)), self.extrinsics[self.free, :3, 3]], 1)
        return np.concatenate([motions.ravel(), points.ravel()])

    def unpack(self, unknowns: np.ndarray) -> tuple[Tensor, Tensor]:
        """Extrinsics (V, 4, 4) and points."""
        motions = unknowns[: 6 * len(self.free)].reshape(-1, 6)
        extrinsics = self.extrinsics.copy()
        extrinsics[self.free, :3, :3] = Rotation.from_rotvec(motions[:, :3]).as_matrix() @ extrinsics[self.free, :3, :3]
        extrinsics[self.free, :3, 3] = motions[:, 3:]
        return torch.from_numpy(extrinsics), torch.from_numpy(unknowns[motions.size :].reshape(-1, 3))

    def errors(self, unknowns: np.ndarray) -> np.ndarray:
        """Pixels from each used observation to the projected point: (M, 2)."""
        extrinsics, points = (tensor.numpy() for tensor in self.unpack(unknowns))
        cameras = extrinsics[self.view]
        local = (cameras[:, :3, :3] @ points[self.point, :, None])[..., 0] + cameras[:, :3, 3]
        xy = local[:, :2] / np.maximum(local[:, 2:], _NEAREST_DEPTH)
        return (self.linear @ xy[..., None])[..., 0] + self.offset - self.uv

    def residuals(self, unknowns: np.ndarray) -> np.ndarray:
        return (self.errors(unknowns) * self.weight).ravel()

    def sparsity(self) -> coo_matrix:
        """Which unknowns a residual depends on: its camera's six, unless that is the reference, and its point's three.

        Returns:
            (2 M, unknowns), 1 where it depends.
        """
        slot = np.full(len(self.extrinsics), -1)
        slot[self.free] = np.arange(len(self.free))
        camera = slot[self.view]
        columns = np.concatenate(
            [
                6 * camera[:, None] + np.arange(6),
                6 * len(self.free) + 3 * self.point[:, None] + np.arange(3),
            ],
            1,
        )
        columns = np.repeat(columns, 2, axis=0)
        rows = np.broadcast_to(np.arange(len(columns))[:, None], columns.shape)
        depends = np.ones(columns.shape, dtype=bool)
        depends[:, :6] = np.repeat(camera >= 0, 2)[:, None]
        shape = (len(columns), 6 * len(self.free) + 3 * (self.point.max() + 1))
        return coo_matrix((np.ones(depends.sum()), (rows[depends], columns[depends])), shape=shape)


def _keep_scale(extrinsics: Tensor, points: Tensor, start: Tensor, reference: int) -> tuple[Tensor, Tensor]:
    """Scales the world about the reference camera; pixels do not change."""
    before, after = (invert_rigid(cameras)[:, :3, 3] for cameras in (start, extrinsics))
    origin = before[reference]
    distances = torch.linalg.vector_norm(before - origin, dim=-1)
    furthest = distances.argmax()
    scale = distances[furthest] / torch.linalg.vector_norm(after[furthest] - origin)
    centres = origin + scale * (after - origin)
    scaled = extrinsics.clone()
    scaled[:, :3, 3] = -(extrinsics[:, :3, :3] @ centres.unsqueeze(-1)).squeeze(-1)
    scaled[reference] = start[reference]
    return scaled, origin + scale * (points - origin)
