"""Grasps: named ways of holding, and the batched search that brings finger pads onto surfaces.

A right hand in the object's frame (z up, standing on z = 0), metres and radians. Finger angles are (twist, abduction,
flexion) of the joints 1..15 in MANO's order, as in `ProceduralHand.joint_limits`.
Legend: B candidates, V hand vertices.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handpose.geometry import rotvec_to_rotmat
from handpose.hands import linear_blend_skinning
from handpose.hands.procedural import PAD_VERTICES, PALM
from handpose.synthesis.objects import ObjectBatch

MAX_GAP = 0.003  # metres: an engaged pad is at most this far from the surface
MAX_PENETRATION = 0.002  # metres: no hand vertex is deeper in the object than this
_SAFETY = 0.8  # a grasp is accepted at this share of both limits
_STEPS, _RATE = 110, 0.03
_COARSE_SHARE = 0.7  # of the steps, a third of the vertices is enough
_FINGERS = ('index', 'middle', 'little', 'ring', 'thumb')  # MANO's order
_PADS = ('thumb', 'index', 'middle', 'ring', 'little')  # the order of fingertip_pads
_SELF_RADIUS = 0.0145  # metres between the axes of different fingers


@dataclass(frozen=True)
class GraspType:
    """A way of holding.

    `kinds` of objects it suits; `fingers` whose pads touch; `flexion` degrees at (MCP, PIP, DIP) of the fingers at the
    start, `thumb` degrees (CMC abduction, CMC flexion, MCP, IP); `palm` whether the palm touches; `tilt` range in
    degrees by which the hand comes from above (90 = straight down).
    """

    name: str
    kinds: tuple
    fingers: tuple
    flexion: tuple
    thumb: tuple
    palm: bool
    tilt: tuple


_ALL = _PADS
GRASP_TYPES = (
    GraspType('power_cylinder', ('cylinder', 'bottle'), _ALL, (45, 45, 25), (25, 10, 10, 10), True, (0, 25)),
    GraspType('tool_handle', ('tool',), _ALL, (65, 65, 35), (20, 25, 20, 20), True, (0, 25)),
    GraspType('power_sphere', ('ball',), _ALL, (40, 40, 25), (30, 10, 10, 15), True, (85, 120)),
    GraspType('disc_top', ('disc', 'cylinder'), _ALL, (45, 30, 15), (30, 10, 5, 15), False, (60, 90)),
    GraspType('pinch', ('small box', 'pen', 'cube'), ('thumb', 'index'), (48, 38, 18), (25, 18, 10, 15), False,
              (30, 80)),
    GraspType('tripod', ('ball', 'pen', 'cube'), ('thumb', 'index', 'middle'), (50, 38, 18), (28, 18, 10, 15), False,
              (35, 85)),
    GraspType('prismatic', ('small box', 'cube', 'box'), _ALL, (55, 25, 12), (28, 12, 8, 12), False, (25, 75)),
    GraspType('palmar', ('box',), _ALL, (55, 30, 15), (35, 5, 5, 10), False, (0, 30)),
)  # fmt: skip


class Grasp(NamedTuple):
    """A solved grasp: `wrist` (4, 4) to the object frame, `angles` and `open_angles` (15, 3), unit `approach` (3,).

    `gap` is the widest distance of an engaged pad to the surface, `penetration` the deepest hand vertex, metres.
    """

    type_name: str
    wrist: np.ndarray
    angles: np.ndarray
    open_angles: np.ndarray
    approach: np.ndarray
    gap: float
    penetration: float

    @property
    def sound(self):
        """Whether pads touch and nothing sinks in, with some margin."""
        return self.gap <= _SAFETY * MAX_GAP and self.penetration <= _SAFETY * MAX_PENETRATION


class Candidate(NamedTuple):
    """What the search starts from: a grasp type, the object, the hand's shape (10,), and the draw's generator."""

    type: GraspType
    target: object
    shape: np.ndarray
    rng: np.random.Generator


def types_for(kind):
    """The grasp types that suit a kind of object."""
    return [g for g in GRASP_TYPES if kind in g.kinds]


def angles_to_pose(model, angles):
    """Finger angles (..., 15, 3) to rotvecs (..., 15, 3) of a right hand."""
    return (model.joint_axes.to(angles) @ angles.unsqueeze(-1)).squeeze(-1)


def start_angles(grasp_type):
    """The angles (15, 3) radians that a grasp type starts from."""
    angles = np.zeros((15, 3))
    for finger in range(4):
        angles[3 * finger : 3 * finger + 3, 2] = grasp_type.flexion
        if _FINGERS[finger] not in grasp_type.fingers:
            angles[3 * finger : 3 * finger + 3, 2] = (60, 70, 35) if _FINGERS[finger] != 'middle' else (50, 60, 30)
    abduction, *flexion = grasp_type.thumb
    angles[12, 1] = abduction
    angles[12:, 2] = flexion
    return np.deg2rad(angles)


class _Poser:
    """Poses right hands of given shapes (B, 10) from wrist placements and finger angles: chosen vertices only.

    The shapes stay fixed during a search, so the shaped resting hands are made once.
    """

    def __init__(self, model, shapes, chosen):
        shapes = torch.as_tensor(shapes, dtype=torch.float32)
        side = torch.ones(len(shapes), dtype=torch.int64)
        rest = model(shapes.new_zeros(16, 3), shapes, shapes.new_zeros(3), side)
        self.model, self.weights = model, model.weights[chosen]
        self.is_palm = model.skin_regions[chosen] == PALM
        self.vertices, self.joints = rest.vertices[:, chosen], model.rest_joints(shapes, side)

    def __call__(self, wrist_rotation, wrist_position, angles):
        """Vertices (B, V', 3) and the 16 joints (B, 16, 3) for wrists (B, 3, 3), (B, 3) and angles (B, 15, 3)."""
        rotmats = torch.cat([wrist_rotation[:, None], rotvec_to_rotmat(angles_to_pose(self.model, angles))], 1)
        vertices, joints = linear_blend_skinning(self.vertices, self.joints, rotmats, self.weights)
        shift = (wrist_position - self.joints[:, 0])[:, None]
        return vertices + shift, joints + shift


def solve(model, candidates, steps=_STEPS):
    """Searches all candidates' grasps at once by gradient descent on contact, penetration, table and posture.

    The search first looks at every third vertex and at the pads, then at all vertices, as the verdict does.

    Returns:
        one `Grasp` per candidate, sound or not.
    """
    start = torch.tensor(np.stack([_jittered_start(c) for c in candidates]), dtype=torch.float32)
    low, high = model.joint_limits.unbind(-1)
    start = start.clamp(low, high)
    shapes = np.stack([c.shape for c in candidates])
    pad_vertices = model.fingertip_pads.flatten()
    coarse, fine = (
        _Poser(model, shapes, torch.cat([pad_vertices, torch.arange(0, model.num_vertices, every)])) for every in (3, 1)
    )
    rotation, position = _place(coarse, start, candidates)
    objective = _Objective(candidates)
    angles = start.clone().requires_grad_()
    turn = torch.zeros(len(candidates), 3, requires_grad=True)
    move = torch.zeros(len(candidates), 3, requires_grad=True)  # decimetres, so that one rate suits all three
    optimizer = torch.optim.Adam([angles, turn, move], lr=_RATE)
    for step in range(steps):
        optimizer.param_groups[0]['lr'] = _RATE * (0.05 + 0.475 * (1 + np.cos(np.pi * step / steps)))
        poser = coarse if step < _COARSE_SHARE * steps else fine
        vertices, joints = poser(rotvec_to_rotmat(turn) @ rotation, position + 0.1 * move, angles)
        loss = objective(vertices, joints, poser.is_palm, step / steps)
        loss = loss + 0.3 * (angles - start).square().sum() + 0.5 * turn.square().sum() + 2 * move.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            angles.copy_(angles.clamp(low, high))
    with torch.no_grad():
        rotation, position = rotvec_to_rotmat(turn) @ rotation, position + 0.1 * move
        vertices, _ = fine(rotation, position, angles)
        return [
            _result(model, c, vertices[i], rotation[i], position[i], angles[i].detach(), objective.touching[i])
            for i, c in enumerate(candidates)
        ]


def _jittered_start(candidate):
    angles = start_angles(candidate.type)
    return angles + candidate.rng.normal(0, 0.06, angles.shape) * (np.abs(angles) > 0)


def _place(poser, start, candidates):
    """First wrist rotations (B, 3, 3) and positions (B, 3): the palm on the surface, or the pads around the object."""
    eye = torch.eye(3).expand(len(candidates), 3, 3)
    with torch.no_grad():
        vertices, _ = poser(eye, torch.zeros(len(candidates), 3), start)
    pads = _split_pads(vertices).mean(2).double().numpy()
    placed = [_place_palm(c) if c.type.palm else _place_pads(c, pads[i]) for i, c in enumerate(candidates)]
    return tuple(torch.tensor(np.stack(p), dtype=torch.float32) for p in zip(*placed, strict=True))


def _split_pads(values):
    """The five fingers' pads (B, 5, P, ...) of per-vertex values (B, V', ...): they come first."""
    return values[:, : 5 * PAD_VERTICES].unflatten(1, (5, PAD_VERTICES))


def _place_palm(candidate):
    """The palm against the object: from the side with the thumb up, or from above."""
    tilt = np.deg2rad(candidate.rng.uniform(*candidate.type.tilt))
    height, _, half = candidate.target.grip
    if candidate.type.tilt[1] > 60:
        normal = np.array([0, np.cos(tilt), -np.sin(tilt)])
        forward = np.array([0, np.sin(tilt), np.cos(tilt)])
    else:
        normal, forward = np.array([0, 1.0, 0]), np.array([np.cos(tilt), 0, -np.sin(tilt)])
    rotation = np.stack([-forward, -normal, np.cross(forward, normal)], 1)
    reach = 0.072 + candidate.rng.uniform(-0.008, 0.008)
    return rotation, np.array([0, 0, height]) - forward * reach - normal * (half + 0.019)


def _place_pads(candidate, pads):
    """Thumb pad and finger pads on opposite faces along x, the wrist behind or above."""
    tilt = np.deg2rad(candidate.rng.uniform(*candidate.type.tilt))
    fingers = [i for i in range(1, 5) if _PADS[i] in candidate.type.fingers]
    thumb, others = pads[0], pads[fingers].mean(0)
    middle = (thumb + others) / 2
    have = axes_from(others - thumb, middle)
    want = axes_from(np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), -np.sin(tilt)]))
    rotation = want @ have.T
    height, _, depth = candidate.target.grip
    top = candidate.target.height
    # From above the pads hold the upper part; from the side they reach to the middle.
    lift = height + (top - height) * 0.35 * np.sin(tilt)
    along = candidate.rng.uniform(-0.25, 0.25) * depth if candidate.type.name == 'pinch' else 0.0
    if candidate.type.name == 'palmar':
        along = -0.2 * depth
    return rotation, np.array([0, along, lift]) - rotation @ middle


def axes_from(first, second):
    """The rotation (3, 3) whose first column is along `first` and whose second lies in the plane of both (3,)."""
    first = first / np.linalg.norm(first)
    second = second - first * (first @ second)
    second = second / np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], 1)


class _Objective:
    """What is wrong with posed hands (lengths in millimetres), summed over candidates."""

    def __init__(self, candidates):
        self.targets = ObjectBatch([c.target for c in candidates])
        self.touching = torch.tensor([[finger in c.type.fingers for finger in _PADS] for c in candidates])
        self.uses_palm = torch.tensor([c.type.palm for c in candidates])
        fingers = self.touching[:, 1:].float()
        self.finger_shares = fingers / fingers.sum(1, keepdim=True)
        self.core = torch.tensor([0.6 * min(c.target.grip[1:]) for c in candidates])

    def __call__(self, vertices, joints, is_palm, progress):
        pad_centres = _split_pads(vertices).mean(2)
        # Halfway between thumb and fingers should be well inside the object: they hold it from opposite sides.
        middle = (pad_centres[:, :1] + torch.einsum('bf,bfc->bc', self.finger_shares, pad_centres[:, 1:])[:, None]) / 2
        distance = self.targets.distance(torch.cat([vertices, middle], 1)) * 1000
        distance, middle_distance = distance[:, :-1], distance[:, -1]
        pad_distance = _split_pads(distance)
        contact = (pad_distance.amin(-1) - 0.4).square() + 0.05 * pad_distance.mean(-1).clamp(min=0).square()
        table = (2 - vertices[..., 2] * 1000).clamp(min=0).square().sum(-1)
        palm = (distance[:, is_palm].amin(-1) - 1).square() * self.uses_palm
        terms = (
            0.5 * (contact * self.touching).sum(-1)
            + (0.06 + 0.5 * progress) * (0.2 - distance).clamp(min=0).square().sum(-1)
            + 0.06 * table
            + 0.03 * palm
            + 0.02 * _crowding(joints)
            + 0.02 * (middle_distance + self.core * 1000).clamp(min=0).square()
        )
        return terms.sum()


def _crowding(joints):
    """(B,) mm^2: how far different fingers' segments are nearer than `_SELF_RADIUS` (16 joints, MANO's order)."""
    chains = joints[:, 1:].unflatten(1, (5, 3))
    beyond = 2 * chains[:, :, 2] - chains[:, :, 1]  # about the tip
    dense = torch.cat([chains[:, :, 1:], (chains[:, :, 1:] + chains[:, :, :-1]) / 2, beyond[:, :, None]], 2)
    apart = torch.cdist(dense.flatten(1, 2), dense.flatten(1, 2), compute_mode='donot_use_mm_for_euclid_dist')
    finger = torch.arange(5).repeat_interleave(dense.shape[2])
    different = finger[:, None] != finger[None]
    return ((_SELF_RADIUS - apart).clamp(min=0) * 1000).square().mul(different).sum((1, 2)) / 2


def _result(model, candidate, vertices, rotation, position, angles, touching):
    distance = candidate.target.distance(vertices.double())  # pads first, then every vertex
    gap = distance[: 5 * PAD_VERTICES].unflatten(0, (5, PAD_VERTICES)).amin(-1)[touching].clamp(min=0).max().item()
    wrist = np.eye(4)
    wrist[:3, :3], wrist[:3, 3] = rotation.double().numpy(), position.double().numpy()
    # float32 leaves the rotation a little off; the motion multiplies it many times.
    wrist[:3, :3] = Rotation.from_matrix(wrist[:3, :3]).as_matrix()
    angles = angles.double().numpy()
    return Grasp(
        candidate.type.name,
        wrist,
        angles,
        _opened(model, angles),
        _approach(candidate.type, wrist),
        gap,
        max(0.0, -distance.min().item()),
    )


def _opened(model, angles):
    """The grasp's angles with straighter fingers and the thumb away from the palm."""
    opened = angles.copy()
    opened[:12, 2] *= 0.3
    opened[12:, 2] *= 0.2
    opened[12, 2] -= np.deg2rad(10)
    limits = model.joint_limits.double().numpy()
    return opened.clip(limits[..., 0], limits[..., 1])


def _approach(grasp_type, wrist):
    """The direction (3,) in which the open hand comes: palm first, or finger tips first."""
    normal, forward = -wrist[:3, 1], -wrist[:3, 0]
    direction = normal + 0.35 * forward if grasp_type.palm else forward + 0.35 * normal
    return direction / np.linalg.norm(direction)


def contact_of_scene(scene, model):
    """Measures a scene's holding frames on the meshes that are rendered.

    Returns:
        (H,) widest gap of an engaged pad to the surface and (H,) deepest hand vertex, metres, per holding frame.
    """
    grasp_type = next(g for g in GRASP_TYPES if g.name == scene.grasp.type_name)
    fingers = [_PADS.index(f) for f in grasp_type.fingers]
    pose = scene.object_poses[scene.holding, 0]
    vertices = (scene.vertices[scene.holding] - pose[:, None, :3, 3]) @ pose[:, :3, :3]
    distance = scene.objects[0].distance(torch.from_numpy(vertices))
    gap = distance[:, model.fingertip_pads[fingers]].amin(-1).clamp(min=0).amax(-1)
    return gap.numpy(), (-distance.amin(-1)).clamp(min=0).numpy()
