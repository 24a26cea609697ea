"""Fits `ProceduralHand` to 21 joints in motion: one hand shape for all frames, a pose and a translation for each.

Levenberg-Marquardt with the Jacobian written out. A frame's unknowns touch no other frame's, so the normal equations
have arrow form: 51 unknowns a frame, and the ten of the shape, for which they are solved first (Schur complement).
Legend: T frames, 21 joints in the common order, 5 fingers with 3 joints and a tip. Metres, radians, float64.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from handpose.geometry.alignment import procrustes_align
from handpose.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from handpose.hands.joints import FINGERS, MANO_JOINTS, finger_joints
from handpose.hands.model import TO_COMMON, HandModel
from handpose.hands.procedural import ProceduralHand
from handpose.hands.sides import Side

MAX_STEPS = 60
OUTLIER = 0.01  # metres: a joint further off than this has no more influence than at this distance (Huber)
REST_WEIGHT = 2e-4  # metres per radian towards the straight hand: decides what the joints leave open, such as twist
LIMIT_WEIGHT = 0.03  # metres per radian beyond a joint limit
SHAPE_WEIGHT = 2e-4  # metres per standard deviation towards the mean hand
SHAPE_LIMIT, SHAPE_LIMIT_WEIGHT = 2.5, 4e-3  # standard deviations, and metres per standard deviation beyond
_PALM = (0, 1, 5, 9, 13, 17)
_BEND = torch.tensor([MANO_JOINTS.index(name) for finger in FINGERS for name in finger_joints(finger)[:3]])


class HandFit(NamedTuple):
    """A hand fitted to T frames, in the coordinate frame of the given joints; zeros in frames without a hand.

    Attributes:
        hand_pose: (T, 16, 3) rotation vectors.
        hand_shape: (10,).
        hand_transl: (T, 3) metres.
        joints: (T, 21, 3) metres, those of the hand model with these parameters.
        error: (T, 21) metres, each joint's distance to the given one, NaN in frames without a hand.
    """

    hand_pose: Tensor
    hand_shape: Tensor
    hand_transl: Tensor
    joints: Tensor
    error: Tensor


class _State(NamedTuple):
    """The unknowns of the fit.

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
    *,
    joints_valid: Tensor | None = None,
    hand_shape: Tensor | None = None,
) -> HandFit:
    """Fits `ProceduralHand` to recorded joints.

    The fit is least squares with a Huber loss per joint, soft limits on joint angles and shape parameters, and a weak
    regularization towards the straight hand and the mean shape. It starts from the palm's rigid alignment (Kabsch) and
    the bones' shortest rotations. A second of video takes well under a second on one core.

    Args:
        model: a `ProceduralHand`.
        joints: (T, 21, 3) metres, common order, any fixed frame; frames without a hand may hold anything.
        valid: (T,) bool, the frames with a hand.
        side: a `Side`.
        max_steps: number of Levenberg-Marquardt steps at most.
        joints_valid: (T, 21) bool, the joints that are known, at least three in each frame with a hand; the others may
            hold anything. Default all.
        hand_shape: (10,) shape of the hand where it is known already; default it is fitted too.

    Returns:
        HandFit, float64.

    Raises:
        ValueError: another hand model, wrong shapes, no frame with a hand, or a NaN in one.
    """
    joints, valid = torch.as_tensor(joints, dtype=torch.float64), torch.as_tensor(valid)
    if not isinstance(model, ProceduralHand):
        raise ValueError(f'fit_hand knows the bones and limits of ProceduralHand, got a {type(model).__name__}')
    all_known = torch.ones(joints.shape[:2], dtype=torch.bool)
    joints_valid = all_known if joints_valid is None else torch.as_tensor(joints_valid)
    _check(joints, valid, side, joints_valid)
    mirror = joints.new_tensor([1.0 if side == Side.RIGHT else -1.0, 1.0, 1.0])
    skeleton = Skeleton(model)
    known = joints_valid[valid].to(joints)
    target = _fill_unknown(skeleton.mean, joints[valid] * mirror, known)  # a left hand is a mirrored right one
    state = _initial_state(skeleton, target)
    if hand_shape is not None:
        state = state._replace(shape=torch.as_tensor(hand_shape).to(joints))
    state = _minimize(skeleton, state, target, known, hand_shape is None, max_steps)
    fitted = skeleton.pose(state)[0] * mirror
    rest_wrist = skeleton.rest(state.shape)[0]
    flip = mirror[0] * joints.new_tensor([mirror[0], 1.0, 1.0])  # (1, 1, 1), or (1, -1, -1): rotvecs mirrored in x
    pose = torch.zeros(len(target), 16, 3, dtype=torch.float64)
    pose[:, 0] = rotmat_to_rotvec(state.rotation)
    pose[:, _BEND] = (skeleton.axes @ state.angles[..., None])[..., 0].flatten(1, 2)
    found = (pose * flip, (state.position - rest_wrist) * mirror, fitted, (fitted - joints[valid]).norm(dim=-1))
    pose, transl, fitted, error = (_scatter(values, valid) for values in found)
    return HandFit(pose, state.shape, transl, fitted, error.masked_fill(~(valid[:, None] & joints_valid), torch.nan))


def _check(joints: Tensor, valid: Tensor, side: int, joints_valid: Tensor) -> None:
    if side not in tuple(Side):
        raise ValueError(f'side must be 0 (left) or 1 (right), got {side!r}')
    if joints.ndim != 3 or joints.shape[1:] != (21, 3) or valid.shape != joints.shape[:1] or valid.dtype != torch.bool:
        raise ValueError(
            f'fit_hand takes joints (T, 21, 3) and valid (T,) bool, got {tuple(joints.shape)} and '
            f'{tuple(valid.shape)} {valid.dtype}'
        )
    if joints_valid.shape != joints.shape[:2] or joints_valid.dtype != torch.bool:
        raise ValueError(f'joints_valid must be (T, 21) bool, got {tuple(joints_valid.shape)} {joints_valid.dtype}')
    if not valid.any():
        raise ValueError('fit_hand got no frame with a hand')
    if (joints_valid[valid].sum(1) < 3).any():
        raise ValueError('fit_hand needs three known joints in a frame with a hand: mark other frames as not valid')
    if not torch.isfinite(joints[valid][joints_valid[valid]]).all():
        raise ValueError('fit_hand got a NaN or an infinity in a frame with a hand: mark such frames as not valid')


def _fill_unknown(rest: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Puts the joints of the resting hand, moved to the known joints of each frame, in place of unknown ones."""
    if known.all():
        return target
    placed = procrustes_align(rest.expand_as(target), target, scale=False, weights=known)
    return torch.where(known[..., None] > 0, target, placed)


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
        self.axes = model.joint_axes[_BEND - 1].double().unflatten(0, (5, 3))
        self.limits = model.joint_limits[_BEND - 1].double().unflatten(0, (5, 3))

    def rest(self, shape: Tensor) -> Tensor:
        """Computes the joints at zero pose.

        Args:
            shape: (10,).

        Returns:
            (21, 3) metres.
        """
        return self.mean + torch.einsum('s,sjc->jc', shape, self.directions)

    def pose(self, state: _State) -> tuple[Tensor, Tensor]:
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
        bones = (rotations @ _bones(self.rest(state.shape))[..., None])[..., 0]
        fingers = state.position[:, None, None] + bones.cumsum(2)
        return torch.cat([state.position[:, None], fingers.flatten(1, 2)], 1), rotations

    def derivatives(self, state: _State, joints: Tensor, rotations: Tensor) -> Tensor:
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
        by_shape = torch.einsum('tfnij,sfnj->tfnis', rotations, _bones(self.directions)).cumsum(2).flatten(1, 2)
        by_shape = torch.cat([torch.zeros_like(by_shape[:, :1]), by_shape], 1)
        return torch.cat([by_rotation, by_translation, by_angles.flatten(3), by_shape], -1).flatten(1, 2)


def _bones(points: Tensor) -> Tensor:
    """From 21 joints (..., 21, 3) to each finger's bones (..., 5, 4, 3): wrist to first joint, ..., last to tip."""
    fingers = points[..., 1:, :].unflatten(-2, (5, 4))
    wrist = points[..., None, :1, :].expand(*fingers.shape[:-2], 1, 3)
    return fingers - torch.cat([wrist, fingers[..., :-1, :]], -2)


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


def _initial_state(skeleton: Skeleton, target: Tensor) -> _State:
    """The mean hand with its palm aligned to the recorded one and its bones rotated the shortest way, within limits."""
    rest, palm = skeleton.mean, list(_PALM)
    rotation, position = _align(rest[palm], target[:, palm])
    position = position + (rotation @ rest[0])
    bone_rotation = rotation[:, None].expand(-1, 5, 3, 3)
    bones, wanted = _bones(rest), _bones(target)
    low, high = skeleton.limits.unbind(-1)
    angles = []
    for joint in range(3):
        axes = skeleton.axes[:, joint]
        local = (bone_rotation.transpose(-1, -2) @ wanted[:, :, joint + 1, :, None])[..., 0]
        swing = (axes.transpose(-1, -2) @ _shortest_rotation(bones[:, joint + 1], local)[..., None])[..., 0]
        angles.append(swing.clamp(low[:, joint], high[:, joint]))
        bone_rotation = bone_rotation @ axes @ rotvec_to_rotmat(angles[-1]) @ axes.transpose(-1, -2)
    return _State(rotation, position, torch.stack(angles, 2), torch.zeros(10, dtype=target.dtype))


def _align(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (T, 3, 3) and translations (T, 3) that bring source (N, 3) nearest to target (T, N, 3) (Kabsch)."""
    centre, centres = source.mean(0), target.mean(1)
    u, _, vh = torch.linalg.svd((target - centres[:, None]).transpose(1, 2) @ (source - centre))
    sign = torch.ones(len(target), 3, dtype=target.dtype)
    sign[:, 2] = torch.linalg.det(u @ vh)
    rotation = (u * sign[:, None]) @ vh
    return rotation, centres - rotation @ centre


def _shortest_rotation(source: Tensor, target: Tensor) -> Tensor:
    """Rotation vectors (T, 5, 3) that take directions source (5, 3) to target (T, 5, 3) along the great circle."""
    axis = torch.linalg.cross(source.expand_as(target), target)
    sine, cosine = axis.norm(dim=-1, keepdim=True), (source * target).sum(-1, keepdim=True)
    return axis / sine.clamp_min(1e-12) * torch.atan2(sine, cosine)


def _minimize(
    skeleton: Skeleton, state: _State, target: Tensor, known: Tensor, fit_shape: bool, max_steps: int
) -> _State:
    """Levenberg-Marquardt: a step that lowers the cost is taken and the damping falls, else it rises."""
    damping = 1e-3
    joints, rotations = skeleton.pose(state)
    cost = _cost(skeleton, state, joints, target, known)
    system = _normal_equations(skeleton, state, joints, rotations, target, known)
    for _ in range(max_steps):
        new = _add_step(state, *_solve(system, damping, fit_shape))
        joints, rotations = skeleton.pose(new)
        new_cost = _cost(skeleton, new, joints, target, known)
        if new_cost < cost:
            converged = cost - new_cost < 1e-6 * cost
            state, cost, damping = new, new_cost, damping / 4
            if converged:
                break
            system = _normal_equations(skeleton, state, joints, rotations, target, known)
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


def _cost(skeleton: Skeleton, state: _State, joints: Tensor, target: Tensor, known: Tensor) -> float:
    distance = (joints - target).norm(dim=-1)
    huber = torch.where(distance < OUTLIER, distance**2, 2 * OUTLIER * distance - OUTLIER**2)
    penalties = ((REST_WEIGHT, state.angles), (LIMIT_WEIGHT, _limit_excess(skeleton, state.angles)))
    shape_penalties = ((SHAPE_WEIGHT, state.shape), (SHAPE_LIMIT_WEIGHT, _shape_excess(state.shape)))
    return float((huber * known).sum() + _sum_squares(penalties) + len(target) * _sum_squares(shape_penalties))


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
    skeleton: Skeleton, state: _State, joints: Tensor, rotations: Tensor, target: Tensor, known: Tensor
) -> _NormalEquations:
    """The normal equations at `state` for (T, 21, 3) recorded joints `target`; `known` (T, 21) is 0 or 1."""
    residual = target - joints
    weight = (known * (OUTLIER / residual.norm(dim=-1).clamp_min(OUTLIER))).repeat_interleave(3, 1)
    jacobian = skeleton.derivatives(state, joints, rotations)
    matrix = jacobian.transpose(1, 2) @ (weight[..., None] * jacobian)
    rhs = (jacobian.transpose(1, 2) @ (weight * residual.flatten(1))[..., None])[..., 0]
    excess = _limit_excess(skeleton, state.angles)
    stiffness = REST_WEIGHT**2 + LIMIT_WEIGHT**2 * (excess != 0)
    matrix[:, 6:51, 6:51] += torch.diag_embed(stiffness.flatten(1))
    rhs[:, 6:51] -= (REST_WEIGHT**2 * state.angles + LIMIT_WEIGHT**2 * excess).flatten(1)
    own, coupling, shared = matrix[:, :51, :51], matrix[:, :51, 51:], matrix[:, 51:, 51:].sum(0)
    shape_excess = _shape_excess(state.shape)
    shape_stiffness = SHAPE_WEIGHT**2 + SHAPE_LIMIT_WEIGHT**2 * (shape_excess != 0)
    shape_rhs = -(SHAPE_WEIGHT**2 * state.shape + SHAPE_LIMIT_WEIGHT**2 * shape_excess)
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


def _add_step(state: _State, frame_step: Tensor, shape_step: Tensor) -> _State:
    return _State(
        rotvec_to_rotmat(frame_step[:, :3]) @ state.rotation,
        state.position + frame_step[:, 3:6],
        state.angles + frame_step[:, 6:].unflatten(1, (5, 3, 3)),
        state.shape + shape_step,
    )
