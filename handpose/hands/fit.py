"""Fits `ProceduralHand` to 21 joints in motion: one hand shape for all frames, a pose and a place for each.

Levenberg-Marquardt with the Jacobian written out. A frame's unknowns touch no other frame's, so the normal equations
are an arrow: 51 unknowns a frame, and the ten of the shape, for which they are solved first (Schur complement).
Legend: T frames, 21 joints in the common order, 5 fingers with 3 turning joints and a tip. Metres, radians, float64.
"""

from typing import NamedTuple

import torch

from handpose.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from handpose.hands.joints import FINGERS, MANO_JOINTS, finger_joints
from handpose.hands.model import LEFT, RIGHT, TO_COMMON
from handpose.hands.procedural import ProceduralHand

ROUNDS = 60
OUTLIER = 0.01  # metres: a joint further off than this pulls no harder than at this distance (Huber)
REST_PULL = 2e-4  # metres per radian towards the straight hand: decides what the joints leave open, such as twist
LIMIT_PULL = 0.03  # metres per radian beyond a joint limit
SHAPE_PULL = 2e-4  # metres per standard deviation towards the mean hand
SHAPE_LIMIT, SHAPE_LIMIT_PULL = 2.5, 4e-3  # standard deviations, and metres per standard deviation beyond
_PALM = (0, 1, 5, 9, 13, 17)
_BEND = torch.tensor([MANO_JOINTS.index(name) for finger in FINGERS for name in finger_joints(finger)[:3]])


class HandFit(NamedTuple):
    """A hand fitted to T frames, metres and radians, in the frame of the given joints; zeros in frames without a hand.

    `hand_pose` (T, 16, 3), `hand_shape` (10,), `hand_transl` (T, 3) are the model's; `joints` (T, 21, 3) are what it
    makes of them; `error` (T, 21) is each joint's distance to the given one, NaN in frames without a hand.
    """

    hand_pose: torch.Tensor
    hand_shape: torch.Tensor
    hand_transl: torch.Tensor
    joints: torch.Tensor
    error: torch.Tensor


class _State(NamedTuple):
    """Wrist rotation (T, 3, 3) and place (T, 3), finger angles (T, 5, 3, 3), each (twist, abduction, flexion),
    shape (10,)."""

    rotation: torch.Tensor
    place: torch.Tensor
    angles: torch.Tensor
    shape: torch.Tensor


def fit_hand(model, joints, valid, side, rounds=ROUNDS):
    """Fits `ProceduralHand` to recorded joints.

    The fit is least squares with a Huber loss per joint, soft limits on joint angles and shape numbers, and a weak pull
    towards the straight hand and the mean shape. It starts from the palm's rigid alignment (Kabsch) and the bones'
    shortest turns. A second of video takes well under a second on one core.

    Args:
        model: ProceduralHand.
        joints: (T, 21, 3) metres, common order, any fixed frame; frames without a hand may hold anything.
        valid: (T,) bool, the frames with a hand.
        side: 0 left, 1 right.
        rounds: steps at most.

    Returns:
        HandFit, float64.

    Raises:
        ValueError: another hand model, wrong shapes, no frame with a hand, or a NaN in one.
    """
    joints, valid = torch.as_tensor(joints, dtype=torch.float64), torch.as_tensor(valid)
    _check(model, joints, valid, side)
    mirror = joints.new_tensor([1.0 if side == RIGHT else -1.0, 1.0, 1.0])
    target = joints[valid] * mirror  # a left hand is the mirror image of a right one
    skeleton = Skeleton(model)
    state = _minimise(skeleton, _start(skeleton, target), target, rounds)
    fitted = skeleton.pose(state)[0] * mirror
    rest_wrist = skeleton.rest(state.shape)[0]
    flip = mirror[0] * joints.new_tensor([mirror[0], 1.0, 1.0])  # (1, 1, 1), or (1, -1, -1): rotvecs mirrored in x
    pose = torch.zeros(len(target), 16, 3, dtype=torch.float64)
    pose[:, 0] = rotmat_to_rotvec(state.rotation)
    pose[:, _BEND] = (skeleton.axes @ state.angles[..., None])[..., 0].flatten(1, 2)
    found = (pose * flip, (state.place - rest_wrist) * mirror, fitted, (fitted - joints[valid]).norm(dim=-1))
    pose, transl, fitted, error = (_spread(values, valid) for values in found)
    return HandFit(pose, state.shape, transl, fitted, error.masked_fill(~valid[:, None], torch.nan))


def _check(model, joints, valid, side):
    if not isinstance(model, ProceduralHand):
        raise ValueError(f'fit_hand knows the bones and limits of ProceduralHand, got a {type(model).__name__}')
    if side not in (LEFT, RIGHT):
        raise ValueError(f'side must be 0 (left) or 1 (right), got {side!r}')
    if joints.ndim != 3 or joints.shape[1:] != (21, 3) or valid.shape != joints.shape[:1] or valid.dtype != torch.bool:
        raise ValueError(
            f'fit_hand takes joints (T, 21, 3) and valid (T,) bool, got {tuple(joints.shape)} and '
            f'{tuple(valid.shape)} {valid.dtype}'
        )
    if not valid.any():
        raise ValueError('fit_hand got no frame with a hand')
    if not torch.isfinite(joints[valid]).all():
        raise ValueError('fit_hand got a NaN or an infinity in a frame with a hand: mark such frames as not valid')


def _spread(values, valid):
    """Puts the rows of the valid frames in their places among all frames."""
    return values.new_zeros(len(valid), *values.shape[1:]).index_copy(0, valid.nonzero()[:, 0], values)


class Skeleton:
    """The 21 joints of a right `ProceduralHand` without its skin, and how they move with every unknown.

    Its fingertips are carried by the last joint alone, so this is exact.
    """

    def __init__(self, model):
        tips = model.fingertip_vertices
        order = list(TO_COMMON)
        vertex_directions = model.shape_directions.unflatten(1, (-1, 3))[:, tips]
        joint_directions = model.joint_directions.unflatten(1, (-1, 3))
        self.mean = torch.cat([model.template_joints, model.template_vertices[tips]])[order].double()
        self.directions = torch.cat([joint_directions, vertex_directions], 1)[:, order].double()
        self.axes = model.joint_axes[_BEND - 1].double().unflatten(0, (5, 3))
        self.limits = model.joint_limits[_BEND - 1].double().unflatten(0, (5, 3))

    def rest(self, shape):
        """The resting joints (21, 3) of a hand of `shape` (10,)."""
        return self.mean + torch.einsum('s,sjc->jc', shape, self.directions)

    def pose(self, state):
        """Joints (T, 21, 3) and the rotations (T, 5, 4, 3, 3) that carry each finger's bones, the palm's first."""
        turns = self.axes @ rotvec_to_rotmat(state.angles) @ self.axes.transpose(-1, -2)
        carriers = [state.rotation[:, None].expand(-1, 5, 3, 3)]
        for joint in range(3):
            carriers.append(carriers[-1] @ turns[:, :, joint])
        carriers = torch.stack(carriers, 2)
        steps = (carriers @ _bones(self.rest(state.shape))[..., None])[..., 0]
        fingers = state.place[:, None, None] + steps.cumsum(2)
        return torch.cat([state.place[:, None], fingers.flatten(1, 2)], 1), carriers

    def derivatives(self, state, joints, carriers):
        """How the joints move (T, 63, 51 + 10): with a turn and a shift of the wrist, the angles, and the shape."""
        frames = len(joints)
        fingers = joints[:, 1:].unflatten(1, (5, 4))
        turn = -cross_matrix(joints - state.place[:, None])
        shift = torch.eye(3, dtype=joints.dtype).expand(frames, 21, 3, 3)
        bend = joints.new_zeros(frames, 21, 3, 5, 3, 3)
        axes = carriers[:, :, :3] @ self.axes @ _turn_of_angles(state.angles)
        for joint in range(3):
            arms = fingers[:, :, joint + 1 :] - fingers[:, :, joint : joint + 1]
            moved = -cross_matrix(arms) @ axes[:, :, joint, None]
            for finger in range(5):
                bend[:, 4 * finger + joint + 2 : 4 * finger + 5, :, finger, joint] = moved[:, finger]
        grow = torch.einsum('tfnij,sfnj->tfnis', carriers, _bones(self.directions)).cumsum(2).flatten(1, 2)
        grow = torch.cat([torch.zeros_like(grow[:, :1]), grow], 1)
        return torch.cat([turn, shift, bend.flatten(3), grow], -1).flatten(1, 2)


def _bones(points):
    """From 21 joints (..., 21, 3) to each finger's steps (..., 5, 4, 3): wrist to first joint, ..., last to tip."""
    fingers = points[..., 1:, :].unflatten(-2, (5, 4))
    wrist = points[..., None, :1, :].expand(*fingers.shape[:-2], 1, 3)
    return fingers - torch.cat([wrist, fingers[..., :-1, :]], -2)


def cross_matrix(vectors):
    """(..., 3) -> (..., 3, 3): the matrix of the cross product with each vector, from the left."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _turn_of_angles(rotvec):
    """(..., 3) -> (..., 3, 3): the turn, seen from outside, per change of a rotvec (the left Jacobian of SO(3))."""
    angle = rotvec.norm(dim=-1, keepdim=True)[..., None]
    small = angle < 1e-3
    safe = torch.where(small, torch.ones_like(angle), angle)
    first = torch.where(small, 0.5 - angle**2 / 24, (1 - safe.cos()) / safe**2)
    second = torch.where(small, 1 / 6 - angle**2 / 120, (safe - safe.sin()) / safe**3)
    cross = cross_matrix(rotvec)
    return torch.eye(3, dtype=rotvec.dtype) + first * cross + second * cross @ cross


def _start(skeleton, target):
    """The mean hand with its palm laid on the recorded palm and its bones turned the shortest way, within limits."""
    rest, palm = skeleton.mean, list(_PALM)
    rotation, place = _align(rest[palm], target[:, palm])
    place = place + (rotation @ rest[0])
    carrier = rotation[:, None].expand(-1, 5, 3, 3)
    bones, wanted = _bones(rest), _bones(target)
    low, high = skeleton.limits.unbind(-1)
    angles = []
    for joint in range(3):
        axes = skeleton.axes[:, joint]
        local = (carrier.transpose(-1, -2) @ wanted[:, :, joint + 1, :, None])[..., 0]
        swing = (axes.transpose(-1, -2) @ _shortest_turn(bones[:, joint + 1], local)[..., None])[..., 0]
        angles.append(swing.clamp(low[:, joint], high[:, joint]))
        carrier = carrier @ axes @ rotvec_to_rotmat(angles[-1]) @ axes.transpose(-1, -2)
    return _State(rotation, place, torch.stack(angles, 2), torch.zeros(10, dtype=target.dtype))


def _align(source, target):
    """Rotations (T, 3, 3) and shifts (T, 3) that bring source (N, 3) nearest to target (T, N, 3) (Kabsch)."""
    centre, centres = source.mean(0), target.mean(1)
    u, _, vh = torch.linalg.svd((target - centres[:, None]).transpose(1, 2) @ (source - centre))
    sign = torch.ones(len(target), 3, dtype=target.dtype)
    sign[:, 2] = torch.linalg.det(u @ vh)
    rotation = (u * sign[:, None]) @ vh
    return rotation, centres - rotation @ centre


def _shortest_turn(source, target):
    """Rotvecs (T, 5, 3) that turn directions source (5, 3) into target (T, 5, 3) along the great circle."""
    axis = torch.linalg.cross(source.expand_as(target), target)
    sine, cosine = axis.norm(dim=-1, keepdim=True), (source * target).sum(-1, keepdim=True)
    return axis / sine.clamp_min(1e-12) * torch.atan2(sine, cosine)


def _minimise(skeleton, state, target, rounds):
    """Levenberg-Marquardt: a step that lowers the cost is taken and the damping falls, else it rises."""
    damping, cost = 1e-3, None
    for _ in range(rounds):
        if cost is None:
            joints, carriers = skeleton.pose(state)
            cost = _cost(skeleton, state, joints, target)
            system = _system(skeleton, state, joints, carriers, target)
        new = _moved(state, *_solve(*system, damping))
        new_joints, new_carriers = skeleton.pose(new)
        new_cost = _cost(skeleton, new, new_joints, target)
        if new_cost < cost:
            done = cost - new_cost < 1e-6 * cost
            state, joints, carriers, cost, damping = new, new_joints, new_carriers, new_cost, damping / 4
            system = _system(skeleton, state, joints, carriers, target)
            if done:
                break
        else:
            damping *= 8
            if damping > 1e8:
                break
    return state


def _beyond(skeleton, angles):
    """How far (T, 5, 3, 3) angles are beyond the limits, signed."""
    return angles - angles.clamp(*skeleton.limits.unbind(-1))


def _too_unusual(shape):
    """How far shape numbers (10,) are beyond `SHAPE_LIMIT`, signed."""
    return shape - shape.clamp(-SHAPE_LIMIT, SHAPE_LIMIT)


def _cost(skeleton, state, joints, target):
    distance = (joints - target).norm(dim=-1)
    huber = torch.where(distance < OUTLIER, distance**2, 2 * OUTLIER * distance - OUTLIER**2)
    pulls = ((REST_PULL, state.angles), (LIMIT_PULL, _beyond(skeleton, state.angles)))
    shape_pulls = ((SHAPE_PULL, state.shape), (SHAPE_LIMIT_PULL, _too_unusual(state.shape)))
    return float(huber.sum() + _squares(pulls) + len(target) * _squares(shape_pulls))


def _squares(pulls):
    return sum((pull * value).square().sum() for pull, value in pulls)


def _system(skeleton, state, joints, carriers, target):
    """The normal equations: frames' own (T, 51, 51) and (T, 51), coupling (T, 51, 10), the shape's (10, 10), (10,)."""
    off = target - joints
    weight = (OUTLIER / off.norm(dim=-1).clamp_min(OUTLIER)).repeat_interleave(3, 1)
    moves = skeleton.derivatives(state, joints, carriers)
    matrix = moves.transpose(1, 2) @ (weight[..., None] * moves)
    right = (moves.transpose(1, 2) @ (weight * off.flatten(1))[..., None])[..., 0]
    beyond = _beyond(skeleton, state.angles)
    stiffness = REST_PULL**2 + LIMIT_PULL**2 * (beyond != 0)
    matrix[:, 6:51, 6:51] += torch.diag_embed(stiffness.flatten(1))
    right[:, 6:51] -= (REST_PULL**2 * state.angles + LIMIT_PULL**2 * beyond).flatten(1)
    own, coupling, shared = matrix[:, :51, :51], matrix[:, :51, 51:], matrix[:, 51:, 51:].sum(0)
    unusual = _too_unusual(state.shape)
    shape_stiffness = SHAPE_PULL**2 + SHAPE_LIMIT_PULL**2 * (unusual != 0)
    shape_right = -(SHAPE_PULL**2 * state.shape + SHAPE_LIMIT_PULL**2 * unusual)
    shared = shared + len(target) * shape_stiffness.diag()
    return own, right[:, :51], coupling, shared, right[:, 51:].sum(0) + len(target) * shape_right


def _solve(own, own_right, coupling, shared, shared_right, damping):
    """Solves the arrow: steps (T, 51) of the frames and (10,) of the shape."""
    own = own + damping * torch.diag_embed(own.diagonal(dim1=1, dim2=2))
    shared = shared + damping * shared.diagonal().diag()
    factor = torch.linalg.cholesky(own)
    solved = torch.cholesky_solve(torch.cat([own_right[..., None], coupling], -1), factor)
    ours, theirs = solved[..., 0], solved[..., 1:]
    shape = torch.linalg.solve(
        shared - torch.einsum('tis,tiu->su', coupling, theirs), shared_right - torch.einsum('tis,ti->s', coupling, ours)
    )
    return ours - theirs @ shape, shape


def _moved(state, own, shape):
    return _State(
        rotvec_to_rotmat(own[:, :3]) @ state.rotation,
        state.place + own[:, 3:6],
        state.angles + own[:, 6:].unflatten(1, (5, 3, 3)),
        state.shape + shape,
    )
