"""Levenberg-Marquardt for a hand skeleton seen by several cameras: shared parameters, and a pose in each frame.

The unknowns are 51 in each frame and S shared ones, for which the normal equations are solved first (Schur complement).
Smoothness couples a frame with the two before it, so the frames' own equations have a band.
Legend: N frames, K cameras, 21 joints, S shared parameters. Metres, radians, float64.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

from handpose.geometry.rotations import rotvec_to_rotmat
from handpose.hands.fit import SkeletonPose
from handpose.inference.annotation.fit_skeleton import NUM_SHAPES, FitSkeleton

OWN = 51  # unknowns of a frame
REST_WEIGHT = 1e-3  # metres per radian towards the resting pose: decides what the views leave open, such as twist
LIMIT_WEIGHT = 0.03  # metres per radian beyond a joint limit
SHAPE_WEIGHT = 3e-4  # metres per standard deviation towards the mean hand
SHAPE_LIMIT, SHAPE_LIMIT_WEIGHT = 2.5, 4e-3  # standard deviations, and metres per standard deviation beyond
OWN_JOINT_WEIGHT = 0.1  # metres per metre that a joint of the resting hand is displaced
_NEAREST = 0.02  # metres; a joint that is nearer to the camera's plane, or behind it, is taken to be there
_CONVERGED = 3e-6  # relative fall of the cost


class Robust(NamedTuple):
    """A robust loss of distances.

    Attributes:
        scale: metres from which on a distance counts less.
        redescending: False for Huber's loss; True for that of Geman and McClure, to which far outliers add nothing.
    """

    scale: float
    redescending: bool

    def cost(self, distance: Tensor) -> Tensor:
        """The loss of distances, square metres."""
        square = distance.square()
        if self.redescending:
            return square * self.scale**2 / (square + self.scale**2)
        return torch.where(distance < self.scale, square, 2 * self.scale * distance - self.scale**2)

    def weight(self, distance: Tensor) -> Tensor:
        """The factors of squared distances whose least squares have the same gradient."""
        if self.redescending:
            return (self.scale**2 / (distance.square() + self.scale**2)).square()
        return self.scale / distance.clamp_min(self.scale)


class ViewedHand(NamedTuple):
    """One hand in N frames, as the cameras saw it, mirrored in x if it is a left one.

    Attributes:
        rays: (N, K, 21, 2) detected joints on the plane z = 1 of each camera, without lens distortion.
        units: (N, K, 21, 2, 2) from a difference on that plane to one of pixels, over the focal length.
        weights: (N, K, 21), 0 where a joint was not seen.
        extrinsics: (K, 4, 4) to the cameras.
        bands: three arrays (N,), (N - 1,), (N - 2,): the symmetric band matrix of which the cost of unsteady joints is
            the quadratic form; or None.
    """

    rays: Tensor
    units: Tensor
    weights: Tensor
    extrinsics: Tensor
    bands: tuple[Tensor, Tensor, Tensor] | None

    def depths(self, joints: Tensor) -> Tensor:
        """(N, K, 21) metres in front of each camera."""
        return self._local(joints)[..., 2].clamp_min(_NEAREST)

    def _local(self, joints: Tensor) -> Tensor:
        rotation, translation = self.extrinsics[:, :3, :3], self.extrinsics[:, :3, 3]
        return joints[:, None] @ rotation.transpose(-1, -2) + translation[:, None]

    def errors(self, joints: Tensor, depths: Tensor) -> tuple[Tensor, Tensor]:
        """How far joints are from the detections, times the depth over the focal length.

        Args:
            joints: (N, 21, 3) metres.
            depths: (N, K, 21) metres.

        Returns:
            (N, K, 21, 2) metres, and (N, K, 21, 3) the joints in the frames of the cameras.
        """
        local = self._local(joints)
        plane = local[..., :2] / local[..., 2:].clamp_min(_NEAREST)
        differences = (self.units @ (plane - self.rays)[..., None])[..., 0]
        return differences * depths[..., None], local

    def jacobian(self, local: Tensor, depths: Tensor) -> Tensor:
        """(N, K, 21, 2, 3): derivatives of the errors by the joints."""
        z = local[..., 2].clamp_min(_NEAREST)
        zero = torch.zeros_like(z)
        rows = ((1 / z, zero, -local[..., 0] / z**2), (zero, 1 / z, -local[..., 1] / z**2))
        plane = torch.stack([torch.stack(row, -1) for row in rows], -2)
        return depths[..., None, None] * (self.units @ plane @ self.extrinsics[:, None, :3, :3])

    def apply_bands(self, values: Tensor) -> Tensor:
        """The band matrix times values (N, ...)."""
        assert self.bands is not None
        result = torch.zeros_like(values)
        for offset, band in enumerate(self.bands):
            band = band.reshape(-1, *[1] * (values.ndim - 1))
            if not offset:
                result += band * values
            elif len(band):
                result[:-offset] += band * values[offset:]
                result[offset:] += band * values[:-offset]
        return result


class FitPart(NamedTuple):
    """A hand to be fitted: its skeleton, what was seen of it, and its pose so far."""

    skeleton: FitSkeleton
    views: ViewedHand
    state: SkeletonPose


class _Equations(NamedTuple):
    """Normal equations of one part.

    Attributes:
        own: (N, 51, 51) of the frames.
        below: two arrays (N - 1, 51, 51), (N - 2, 51, 51) of a frame (rows) and one or two frames before it.
        own_rhs: (N, 51).
        coupling: (N, 51, S) of frames and shared parameters.
        shared: (S, S).
        shared_rhs: (S,).
    """

    own: Tensor
    below: tuple[Tensor, Tensor] | None
    own_rhs: Tensor
    coupling: Tensor
    shared: Tensor
    shared_rhs: Tensor


def minimize(
    parts: Sequence[FitPart], robust: Robust, fit_shared: bool, max_steps: int
) -> tuple[list[SkeletonPose], Tensor]:
    """Fits the poses of all parts, and the parameters that they share.

    Args:
        parts: hands of one person; the shared parameters are those of the first one's state.
        robust: the loss of distances from the detections.
        fit_shared: whether the shared parameters are fitted too.
        max_steps: of Levenberg-Marquardt, at most.

    Returns:
        The poses of all parts, and (S,) the shared parameters, which they have too.
    """
    shared = parts[0].state.shape
    states = [part.state._replace(shape=shared) for part in parts]
    joints = [part.skeleton.pose(state)[0] for part, state in zip(parts, states, strict=True)]
    depths = [part.views.depths(points) for part, points in zip(parts, joints, strict=True)]
    damping, cost = 1e-3, total_cost(parts, states, depths, robust)
    systems = _systems(parts, states, depths, robust, fit_shared)
    for _ in range(max_steps):
        steps, shared_step = _solve(systems, damping, fit_shared, _prior(shared, parts))
        new_shared = shared + shared_step
        new = [_moved(state, step, new_shared) for state, step in zip(states, steps, strict=True)]
        new_cost = total_cost(parts, new, depths, robust)
        if new_cost < cost:
            converged = cost - new_cost < _CONVERGED * cost
            states, shared, cost, damping = new, new_shared, new_cost, damping / 5
            if converged:
                break
            systems = _systems(parts, states, depths, robust, fit_shared)
        else:
            damping *= 8
            if damping > 1e6:
                break
    return states, shared


def nearer_to_detections(part: FitPart, robust: Robust, skeleton_weight: float) -> Tensor:
    """Lets joints leave the skeleton: least squares of distances from the detections, and from the skeleton.

    One Gauss-Newton step, as the errors are all but linear so near; detections count as much as they did in the fit.

    Args:
        part: a fitted hand.
        robust: the loss that it was fitted with.
        skeleton_weight: of the distance from the skeleton; a confident detection has 1.

    Returns:
        (N, 21, 3) metres.
    """
    joints, _ = part.skeleton.pose(part.state)
    depths = part.views.depths(joints)
    errors, local = part.views.errors(joints, depths)
    weights = part.views.weights * robust.weight(errors.norm(dim=-1))
    curvature, gradient = _by_joint(part.views, errors, local, depths, weights)
    held = curvature + skeleton_weight**2 * torch.eye(3, dtype=joints.dtype)
    return joints - torch.linalg.solve(held, gradient[..., None])[..., 0]


def _by_joint(
    views: ViewedHand, errors: Tensor, local: Tensor, depths: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Curvature (N, 21, 3, 3) and gradient (N, 21, 3) of half the cost of the errors, by the joints."""
    by_joint = views.jacobian(local, depths)
    weighted = (weights[..., None, None] * by_joint).transpose(-1, -2)
    return (weighted @ by_joint).sum(1), (weighted @ errors[..., None])[..., 0].sum(1)


def _moved(state: SkeletonPose, step: Tensor, shared: Tensor) -> SkeletonPose:
    return SkeletonPose(
        rotvec_to_rotmat(step[:, :3]) @ state.rotation,
        state.position + step[:, 3:6],
        state.angles + step[:, 6:].unflatten(1, (5, 3, 3)),
        shared,
    )


def _prior(shared: Tensor, parts: Sequence[FitPart]) -> tuple[Tensor, Tensor]:
    """Stiffness and right-hand side (S,) of the shared parameters' regularization, once for every frame."""
    shape = shared[:NUM_SHAPES]
    excess = shape - shape.clamp(-SHAPE_LIMIT, SHAPE_LIMIT)
    stiffness = torch.full_like(shared, OWN_JOINT_WEIGHT**2)
    stiffness[:NUM_SHAPES] = SHAPE_WEIGHT**2
    rhs = -stiffness * shared
    stiffness[:NUM_SHAPES] += SHAPE_LIMIT_WEIGHT**2 * (excess != 0)
    rhs[:NUM_SHAPES] -= SHAPE_LIMIT_WEIGHT**2 * excess
    count = sum(len(part.views.rays) for part in parts)
    return count * stiffness, count * rhs


def total_cost(
    parts: Sequence[FitPart], states: Sequence[SkeletonPose], depths: Sequence[Tensor], robust: Robust
) -> float:
    """Computes what `minimize` minimizes.

    Args:
        parts: the hands, for their skeletons and what was seen of them.
        states: their poses.
        depths: (N, K, 21) metres of each, which turn angles into distances; constant during a minimization.
        robust: the loss of distances from the detections.

    Returns:
        Square metres.
    """
    cost = torch.zeros((), dtype=torch.float64)
    for part, state, depth in zip(parts, states, depths, strict=True):
        joints, _ = part.skeleton.pose(state)
        distance = part.views.errors(joints, depth)[0].norm(dim=-1)
        cost += (part.views.weights * robust.cost(distance)).sum()
        cost += (REST_WEIGHT * (state.angles - part.skeleton.rest_angles)).square().sum()
        cost += (LIMIT_WEIGHT * _excess(part.skeleton, state.angles)).square().sum()
        if part.views.bands is not None:
            cost += (joints * part.views.apply_bands(joints)).sum()
        shape = state.shape[:NUM_SHAPES]
        beyond = shape - shape.clamp(-SHAPE_LIMIT, SHAPE_LIMIT)
        penalty = (SHAPE_WEIGHT * shape).square().sum() + (SHAPE_LIMIT_WEIGHT * beyond).square().sum()
        penalty += (OWN_JOINT_WEIGHT * state.shape[NUM_SHAPES:]).square().sum()
        cost += len(joints) * penalty
    return float(cost)


def _excess(skeleton: FitSkeleton, angles: Tensor) -> Tensor:
    """How far (N, 5, 3, 3) angles are beyond the limits, signed."""
    return angles - angles.clamp(*skeleton.limits.unbind(-1))


def _systems(
    parts: Sequence[FitPart],
    states: Sequence[SkeletonPose],
    depths: Sequence[Tensor],
    robust: Robust,
    fit_shared: bool,
) -> list[_Equations]:
    return [
        _normal_equations(part, state, depth, robust, fit_shared)
        for part, state, depth in zip(parts, states, depths, strict=True)
    ]


def _normal_equations(
    part: FitPart, state: SkeletonPose, depths: Tensor, robust: Robust, fit_shared: bool
) -> _Equations:
    skeleton, views = part.skeleton, part.views
    joints, rotations = skeleton.pose(state)
    jacobian = skeleton.derivatives(state, joints, rotations)
    if not fit_shared:
        jacobian = jacobian[..., :OWN]
    errors, local = views.errors(joints, depths)
    weights = views.weights * robust.weight(errors.norm(dim=-1))
    curvature, by_joint = _by_joint(views, errors, local, depths, weights)
    gradient = by_joint.flatten(1)
    scaled = (curvature @ jacobian.unflatten(1, (21, 3))).flatten(1, 2)
    below = None
    if views.bands is not None:
        gradient = gradient + views.apply_bands(joints.flatten(1))
        scaled[..., OWN:] += views.apply_bands(jacobian[..., OWN:])
        scaled[..., :OWN] += views.bands[0][:, None, None] * jacobian[..., :OWN]
        own = jacobian[..., :OWN]
        first, second = views.bands[1][:, None, None], views.bands[2][:, None, None]
        below = (first * (own[1:].mT @ own[:-1]), second * (own[2:].mT @ own[:-2]))
    matrix = jacobian[..., :OWN].mT @ scaled
    own_rhs = -(jacobian.mT @ gradient[..., None])[..., 0]
    excess = _excess(skeleton, state.angles)
    stiffness = REST_WEIGHT**2 + LIMIT_WEIGHT**2 * (excess != 0)
    matrix[:, 6:, 6:OWN] += torch.diag_embed(stiffness.flatten(1))
    pull = REST_WEIGHT**2 * (state.angles - skeleton.rest_angles) + LIMIT_WEIGHT**2 * excess
    own_rhs[:, 6:OWN] -= pull.flatten(1)
    shared = (jacobian[..., OWN:].mT @ scaled[..., OWN:]).sum(0)
    return _Equations(matrix[..., :OWN], below, own_rhs[:, :OWN], matrix[..., OWN:], shared, own_rhs[:, OWN:].sum(0))


def _solve(
    systems: Sequence[_Equations], damping: float, fit_shared: bool, prior: tuple[Tensor, Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Steps (N, 51) of the frames of each part, and (S,) of the shared parameters."""
    stiffness, rhs = prior
    if not fit_shared:
        steps = [_solve_frames(system, damping, system.own_rhs[..., None])[..., 0] for system in systems]
        return steps, torch.zeros_like(rhs)
    matrix = stiffness.diag() + sum(system.shared for system in systems)
    matrix = matrix + damping * matrix.diagonal().diag()
    rhs = rhs + sum(system.shared_rhs for system in systems)
    solved = []
    for system in systems:
        found = _solve_frames(system, damping, torch.cat([system.own_rhs[..., None], system.coupling], -1))
        matrix = matrix - torch.einsum('nis,niu->su', system.coupling, found[..., 1:])
        rhs = rhs - torch.einsum('nis,ni->s', system.coupling, found[..., 0])
        solved.append(found)
    step = torch.linalg.solve(matrix, rhs)
    return [found[..., 0] - found[..., 1:] @ step for found in solved], step


def _solve_frames(system: _Equations, damping: float, rhs: Tensor) -> Tensor:
    """The solution (N, 51, R) of the frames' own equations."""
    own = system.own + torch.diag_embed(damping * system.own.diagonal(dim1=1, dim2=2) + 1e-12)
    if system.below is None:
        return torch.cholesky_solve(rhs, torch.linalg.cholesky(own))
    band = _band_matrix(own, system.below)
    factor = cholesky_banded(band, overwrite_ab=True, lower=True, check_finite=False)
    found = cho_solve_banded((factor, True), rhs.flatten(0, 1).numpy(), check_finite=False)
    return torch.from_numpy(found).unflatten(0, (len(own), OWN))


def _band_matrix(own: Tensor, below: tuple[Tensor, Tensor]) -> NDArray[np.float64]:
    """The block matrix in LAPACK's lower band storage: [i - j, j] holds row i, column j."""
    num_frames = len(own)
    band = np.zeros((3 * OWN, num_frames * OWN))
    row, column = np.divmod(np.arange(OWN * OWN), OWN)
    for offset, blocks in enumerate((own, *below)):
        kept = (row >= column) if not offset else np.ones(len(row), bool)
        diagonal = offset * OWN + row[kept] - column[kept]
        columns = np.arange(len(blocks))[:, None] * OWN + column[kept]
        band[diagonal, columns] = blocks.flatten(1).numpy()[:, kept]
    return band
