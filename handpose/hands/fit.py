"""Fits `ProceduralHand` to 21 joints in motion: one hand shape for all frames, a pose and a translation for each.

Levenberg-Marquardt with the Jacobian written out. A frame's unknowns touch no other frame's, so the normal equations
have arrow form: 51 unknowns a frame, and the ten of the shape, for which they are solved first (Schur complement).
Legend: T frames, 21 joints in the common order, 5 fingers with 3 joints and a tip. Metres, radians, float64.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from handpose.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from handpose.hands.fit_start import align, fill_missing, finger_bones, shortest_rotation
from handpose.hands.joints import FINGERS, MANO_JOINTS, finger_joints
from handpose.hands.model import TO_COMMON, HandModel
from handpose.hands.procedural import ProceduralHand
from handpose.hands.sides import Side

MAX_STEPS = 60
MIN_JOINTS = 4  # in a frame, so that its rotation and translation are determined
OUTLIER = 0.01  # metres: a joint further off than this has no more influence than at this distance (Huber)
REST_WEIGHT = 2e-4  # metres per radian towards the straight hand: decides what the joints leave open, such as twist
LIMIT_WEIGHT = 0.03  # metres per radian beyond a joint limit
SHAPE_WEIGHT = 2e-4  # metres per standard deviation towards the mean hand
SHAPE_WEIGHT_PARTIAL = 3e-3  # the same where joints are missing: the others determine a shape less well
SHAPE_LIMIT, SHAPE_LIMIT_WEIGHT = 2.5, 4e-3  # standard deviations, and metres per standard deviation beyond
_PALM = (0, 1, 5, 9, 13, 17)
BEND_JOINTS = torch.tensor([MANO_JOINTS.index(name) for finger in FINGERS for name in finger_joints(finger)[:3]])
"""(15,) where `hand_pose` has the joints of the thumb, index, middle, ring and little finger, each from its base."""


class HandFit(NamedTuple):
    """A hand fitted to T frames, in the coordinate frame of the given joints; zeros in frames without a hand.

    Attributes:
        hand_pose: (T, 16, 3) rotation vectors.
        hand_shape: (10,).
        hand_transl: (T, 3) metres.
        joints: (T, 21, 3) metres, those of the hand model with these parameters.
        error: (T, 21) metres, each joint's distance to the given one, NaN where none is given.
    """

    hand_pose: Tensor
    hand_shape: Tensor
    hand_transl: Tensor
    joints: Tensor
    error: Tensor


class SkeletonPose(NamedTuple):
    """A posed `Skeleton`: the unknowns of the fit.

    Attributes:
        rotation: (T, 3, 3) of the wrist.
        position: (T, 3) of the wrist, metres.
        angles: (T, 5, 3, 3) of the finger joints, each (twist, abduction, flexion), radians.
        shape: (10,).
    """

    rotation: Tensor
    position: Tensor
    angles: Tensor
    shape: Tensor


def fit_hand(
    model: HandModel,
    joints: Tensor,
    valid: Tensor,
    side: int,
    max_steps: int = MAX_STEPS,
    hand_shape: Tensor | None = None,
    start_pose: Tensor | None = None,
) -> HandFit:
    """Fits `ProceduralHand` to recorded joints.

    The fit is least squares with a Huber loss per joint, soft limits on joint angles and shape parameters, and a weak
    regularization towards the straight hand and the mean shape. It starts from the palm's rigid alignment (Kabsch) and
    the bones' shortest rotations. A second of video takes well under a second on one core.

    Args:
        model: a `ProceduralHand`.
        joints: (T, 21, 3) metres, common order, any fixed frame; what is not valid may hold anything.
        valid: (T,) bool, the frames with a hand; or (T, 21) bool, the joints that are given, at least four of them in
            every frame that has any. What they leave open is decided by the regularization.
        side: a `Side`.
        max_steps: number of Levenberg-Marquardt steps at most.
        hand_shape: (10,) shape of the hand where it is known already; default it is fitted too.
        start_pose: (T, 16, 3) rotation vectors from which the fingers start; default the bones' shortest rotations.

    Returns:
        HandFit, float64.

    Raises:
        ValueError: another hand model, wrong shapes, no frame with a hand, a NaN or too few joints in one.
    """
    joints, valid = torch.as_tensor(joints, dtype=torch.float64), torch.as_tensor(valid)
    if not isinstance(model, ProceduralHand):
        raise ValueError(f'fit_hand knows the bones and limits of ProceduralHand, got a {type(model).__name__}')
    _check(joints, valid, side)
    given = valid if valid.ndim == 2 else valid[:, None].expand(-1, 21)
    valid = given.any(1)
    given = given[valid]
    mirror = joints.new_tensor([1.0 if side == Side.RIGHT else -1.0, 1.0, 1.0])
    # A left hand is the mirror image of a right one.
    target = torch.where(given[..., None], joints[valid] * mirror, 0)
    skeleton = Skeleton(model)
    state = _initial_state(skeleton, target, given)
    flip = mirror[0] * joints.new_tensor([mirror[0], 1.0, 1.0])  # (1, 1, 1), or (1, -1, -1): rotvecs mirrored in x
    if start_pose is not None:
        bends = (start_pose.to(target)[valid] * flip)[:, BEND_JOINTS].unflatten(1, (5, 3))
        state = state._replace(angles=(skeleton.axes.transpose(-1, -2) @ bends[..., None])[..., 0])
    if hand_shape is not None:
        state = state._replace(shape=hand_shape.to(target))
    state = _minimize(skeleton, state, target, given, hand_shape is None, max_steps)
    fitted = skeleton.pose(state)[0] * mirror
    rest_wrist = skeleton.rest(state.shape)[0]
    pose = torch.zeros(len(target), 16, 3, dtype=torch.float64)
    pose[:, 0] = rotmat_to_rotvec(state.rotation)
    pose[:, BEND_JOINTS] = (skeleton.axes @ state.angles[..., None])[..., 0].flatten(1, 2)
    error = (fitted - target * mirror).norm(dim=-1).masked_fill(~given, torch.nan)
    found = (pose * flip, (state.position - rest_wrist) * mirror, fitted, error)
    pose, transl, fitted, error = (_scatter(values, valid) for values in found)
    return HandFit(pose, state.shape, transl, fitted, error.masked_fill(~valid[:, None], torch.nan))


def _check(joints: Tensor, valid: Tensor, side: int) -> None:
    if side not in tuple(Side):
        raise ValueError(f'side must be 0 (left) or 1 (right), got {side!r}')
    shapes = (joints.shape[:1], joints.shape[:2])
    if joints.ndim != 3 or joints.shape[1:] != (21, 3) or valid.shape not in shapes or valid.dtype != torch.bool:
        raise ValueError(
            f'fit_hand takes joints (T, 21, 3) and valid (T,) or (T, 21) bool, got {tuple(joints.shape)} and '
            f'{tuple(valid.shape)} {valid.dtype}'
        )
    if not valid.any():
        raise ValueError('fit_hand got no frame with a hand')
    few = (valid.sum(1) < MIN_JOINTS) & valid.any(1) if valid.ndim == 2 else valid & False
    if few.any():
        raise ValueError(
            f'fit_hand needs {MIN_JOINTS} joints in each frame, and frame {int(few.nonzero()[0])} has fewer'
        )
    if not torch.isfinite(joints[valid]).all():
        raise ValueError('fit_hand got a NaN or an infinity in a frame with a hand: mark such frames as not valid')


def _scatter(values: Tensor, valid: Tensor) -> Tensor:
    """Puts the rows of the valid frames in their positions among all frames."""
    return values.new_zeros(len(valid), *values.shape[1:]).index_copy(0, valid.nonzero()[:, 0], values)


class Skeleton:
    """The 21 joints of a right `ProceduralHand` without its skin, and how they move with every unknown.

    Its fingertips are carried by the last joint alone, so this is exact.
    """

    def __init__(self, model: ProceduralHand) -> None:
        tips = model.fingertip_vertices
        order = list(TO_COMMON)
        vertex_directions = model.shape_directions.unflatten(1, (-1, 3))[:, tips]
        joint_directions = model.joint_directions.unflatten(1, (-1, 3))
        self.mean = torch.cat([model.template_joints, model.template_vertices[tips]])[order].double()
        self.directions = torch.cat([joint_directions, vertex_directions], 1)[:, order].double()
        self.axes = model.joint_axes[BEND_JOINTS - 1].double().unflatten(0, (5, 3))
        self.limits = model.joint_limits[BEND_JOINTS - 1].double().unflatten(0, (5, 3))

    def rest(self, shape: Tensor) -> Tensor:
        """Computes the joints at zero pose.

        Args:
            shape: (10,).

        Returns:
            (21, 3) metres.
        """
        return self.mean + torch.einsum('s,sjc->jc', shape, self.directions)

    def pose(self, state: SkeletonPose) -> tuple[Tensor, Tensor]:
        """Poses the skeleton.

        Args:
            state: the unknowns.

        Returns:
            Joints (T, 21, 3), and the rotations (T, 5, 4, 3, 3) of each finger's bones, the palm's first.
        """
        local = self.axes @ rotvec_to_rotmat(state.angles) @ self.axes.transpose(-1, -2)
        chain = [state.rotation[:, None].expand(-1, 5, 3, 3)]
        for joint in range(3):
            chain.append(chain[-1] @ local[:, :, joint])
        rotations = torch.stack(chain, 2)
        bones = (rotations @ finger_bones(self.rest(state.shape))[..., None])[..., 0]
        fingers = state.position[:, None, None] + bones.cumsum(2)
        return torch.cat([state.position[:, None], fingers.flatten(1, 2)], 1), rotations

    def derivatives(self, state: SkeletonPose, joints: Tensor, rotations: Tensor) -> Tensor:
        """Computes the Jacobian of the joints.

        Args:
            state: the unknowns.
            joints: (T, 21, 3) from `pose`.
            rotations: (T, 5, 4, 3, 3) from `pose`.

        Returns:
            (T, 63, 51 + 10): by the wrist's rotation and translation, the finger angles, and the shape.
        """
        num_frames = len(joints)
        fingers = joints[:, 1:].unflatten(1, (5, 4))
        by_rotation = -cross_matrix(joints - state.position[:, None])
        by_translation = torch.eye(3, dtype=joints.dtype).expand(num_frames, 21, 3, 3)
        by_angles = joints.new_zeros(num_frames, 21, 3, 5, 3, 3)
        axes = rotations[:, :, :3] @ self.axes @ _left_jacobian(state.angles)
        for joint in range(3):
            arms = fingers[:, :, joint + 1 :] - fingers[:, :, joint : joint + 1]
            moves = -cross_matrix(arms) @ axes[:, :, joint, None]
            for finger in range(5):
                by_angles[:, 4 * finger + joint + 2 : 4 * finger + 5, :, finger, joint] = moves[:, finger]
        by_shape = torch.einsum('tfnij,sfnj->tfnis', rotations, finger_bones(self.directions)).cumsum(2).flatten(1, 2)
        by_shape = torch.cat([torch.zeros_like(by_shape[:, :1]), by_shape], 1)
        return torch.cat([by_rotation, by_translation, by_angles.flatten(3), by_shape], -1).flatten(1, 2)


def cross_matrix(vectors: Tensor) -> Tensor:
    """Builds the matrices of the cross product with each vector, from the left.

    Args:
        vectors: (..., 3).

    Returns:
        (..., 3, 3).
    """
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _left_jacobian(rotvec: Tensor) -> Tensor:
    """(..., 3) -> (..., 3, 3): the rotation, seen from outside, per change of a rotation vector (SO(3))."""
    angle = rotvec.norm(dim=-1, keepdim=True)[..., None]
    small = angle < 1e-3
    safe = torch.where(small, torch.ones_like(angle), angle)
    first = torch.where(small, 0.5 - angle**2 / 24, (1 - safe.cos()) / safe**2)
    second = torch.where(small, 1 / 6 - angle**2 / 120, (safe - safe.sin()) / safe**3)
    cross = cross_matrix(rotvec)
    return torch.eye(3, dtype=rotvec.dtype) + first * cross + second * cross @ cross


def _initial_state(skeleton: Skeleton, target: Tensor, given: Tensor) -> SkeletonPose:
    """The mean hand with its palm aligned to the recorded one and its bones rotated the shortest way, within limits.

    Where a joint of the palm is not given, all given joints are aligned.
    """
    rest, palm = skeleton.mean, list(_PALM)
    rotation, position = align(rest[palm], target[:, palm])
    for t in (~given[:, palm].all(1)).nonzero()[:, 0].tolist():
        rotation[t : t + 1], position[t : t + 1] = align(rest[given[t]], target[t : t + 1, given[t]])
    position = position + (rotation @ rest[0])
    if not given.all():
        aligned = position[:, None] + (rest - rest[0]) @ rotation.transpose(-1, -2)
        target = fill_missing(rest, target, given, aligned)
    bone_rotation = rotation[:, None].expand(-1, 5, 3, 3)
    bones, wanted = finger_bones(rest), finger_bones(target)
    low, high = skeleton.limits.unbind(-1)
    angles = []
    for joint in range(3):
        axes = skeleton.axes[:, joint]
        local = (bone_rotation.transpose(-1, -2) @ wanted[:, :, joint + 1, :, None])[..., 0]
        swing = (axes.transpose(-1, -2) @ shortest_rotation(bones[:, joint + 1], local)[..., None])[..., 0]
        angles.append(swing.clamp(low[:, joint], high[:, joint]))
        bone_rotation = bone_rotation @ axes @ rotvec_to_rotmat(angles[-1]) @ axes.transpose(-1, -2)
    return SkeletonPose(rotation, position, torch.stack(angles, 2), torch.zeros(10, dtype=target.dtype))


def _minimize(
    skeleton: Skeleton, state: SkeletonPose, target: Tensor, given: Tensor, fit_shape: bool, max_steps: int
) -> SkeletonPose:
    """Levenberg-Marquardt: a step that lowers the cost is taken and the damping falls, else it rises."""
    damping = 1e-3
    joints, rotations = skeleton.pose(state)
    cost = _cost(skeleton, state, joints, target, given)
    system = _normal_equations(skeleton, state, joints, rotations, target, given)
    for _ in range(max_steps):
        new = _add_step(state, *_solve(system, damping, fit_shape))
        joints, rotations = skeleton.pose(new)
        new_cost = _cost(skeleton, new, joints, target, given)
        if new_cost < cost:
            converged = cost - new_cost < 1e-6 * cost
            state, cost, damping = new, new_cost, damping / 4
            if converged:
                break
            system = _normal_equations(skeleton, state, joints, rotations, target, given)
        else:
            damping *= 8
            if damping > 1e8:
                break
    return state


def _limit_excess(skeleton: Skeleton, angles: Tensor) -> Tensor:
    """How far (T, 5, 3, 3) angles are beyond the limits, signed."""
    return angles - angles.clamp(*skeleton.limits.unbind(-1))


def _shape_excess(shape: Tensor) -> Tensor:
    """How far shape parameters (10,) are beyond `SHAPE_LIMIT`, signed."""
    return shape - shape.clamp(-SHAPE_LIMIT, SHAPE_LIMIT)


def _shape_weight(given: Tensor) -> float:
    return SHAPE_WEIGHT if given.all() else SHAPE_WEIGHT_PARTIAL


def _cost(skeleton: Skeleton, state: SkeletonPose, joints: Tensor, target: Tensor, given: Tensor) -> float:
    distance = (joints - target).norm(dim=-1)
    huber = torch.where(distance < OUTLIER, distance**2, 2 * OUTLIER * distance - OUTLIER**2)
    penalties = ((REST_WEIGHT, state.angles), (LIMIT_WEIGHT, _limit_excess(skeleton, state.angles)))
    shape_penalties = ((_shape_weight(given), state.shape), (SHAPE_LIMIT_WEIGHT, _shape_excess(state.shape)))
    return float((huber * given).sum() + _sum_squares(penalties) + len(target) * _sum_squares(shape_penalties))


def _sum_squares(terms: tuple[tuple[float, Tensor], ...]) -> Tensor:
    return torch.stack([(weight * value).square().sum() for weight, value in terms]).sum()


class _NormalEquations(NamedTuple):
    """The normal equations in arrow form.

    Attributes:
        own: (T, 51, 51) matrices of the frames.
        own_rhs: (T, 51) their right-hand sides.
        coupling: (T, 51, 10) of frames and shape.
        shared: (10, 10) matrix of the shape.
        shared_rhs: (10,) its right-hand side.
    """

    own: Tensor
    own_rhs: Tensor
    coupling: Tensor
    shared: Tensor
    shared_rhs: Tensor


def _normal_equations(
    skeleton: Skeleton, state: SkeletonPose, joints: Tensor, rotations: Tensor, target: Tensor, given: Tensor
) -> _NormalEquations:
    """The normal equations at `state` for (T, 21, 3) recorded joints `target`, of which (T, 21) are given."""
    residual = target - joints
    weight = (given * (OUTLIER / residual.norm(dim=-1).clamp_min(OUTLIER))).repeat_interleave(3, 1)
    jacobian = skeleton.derivatives(state, joints, rotations)
    matrix = jacobian.transpose(1, 2) @ (weight[..., None] * jacobian)
    rhs = (jacobian.transpose(1, 2) @ (weight * residual.flatten(1))[..., None])[..., 0]
    excess = _limit_excess(skeleton, state.angles)
    stiffness = REST_WEIGHT**2 + LIMIT_WEIGHT**2 * (excess != 0)
    matrix[:, 6:51, 6:51] += torch.diag_embed(stiffness.flatten(1))
    rhs[:, 6:51] -= (REST_WEIGHT**2 * state.angles + LIMIT_WEIGHT**2 * excess).flatten(1)
    own, coupling, shared = matrix[:, :51, :51], matrix[:, :51, 51:], matrix[:, 51:, 51:].sum(0)
    shape_excess = _shape_excess(state.shape)
    shape_weight = _shape_weight(given)
    shape_stiffness = shape_weight**2 + SHAPE_LIMIT_WEIGHT**2 * (shape_excess != 0)
    shape_rhs = -(shape_weight**2 * state.shape + SHAPE_LIMIT_WEIGHT**2 * shape_excess)
    shared = shared + len(target) * shape_stiffness.diag()
    return _NormalEquations(own, rhs[:, :51], coupling, shared, rhs[:, 51:].sum(0) + len(target) * shape_rhs)


def _solve(system: _NormalEquations, damping: float, fit_shape: bool) -> tuple[Tensor, Tensor]:
    """Solves the normal equations: steps (T, 51) of the frames and (10,) of the shape (Schur complement)."""
    own = system.own + damping * torch.diag_embed(system.own.diagonal(dim1=1, dim2=2))
    shared = system.shared + damping * system.shared.diagonal().diag()
    factor = torch.linalg.cholesky(own)
    solved = torch.cholesky_solve(torch.cat([system.own_rhs[..., None], system.coupling], -1), factor)
    own_part, coupled_part = solved[..., 0], solved[..., 1:]
    if not fit_shape:
        return own_part, torch.zeros_like(system.shared_rhs)
    shape_step = torch.linalg.solve(
        shared - torch.einsum('tis,tiu->su', system.coupling, coupled_part),
        system.shared_rhs - torch.einsum('tis,ti->s', system.coupling, own_part),
    )
    return own_part - coupled_part @ shape_step, shape_step


def _add_step(state: SkeletonPose, frame_step: Tensor, shape_step: Tensor) -> SkeletonPose:
    return SkeletonPose(
        rotvec_to_rotmat(frame_step[:, :3]) @ state.rotation,
        state.position + frame_step[:, 3:6],
        state.angles + frame_step[:, 6:].unflatten(1, (5, 3, 3)),
        state.shape + shape_step,
    )
