"""Grasp types, and the batched search that brings finger pads onto surfaces.

A right hand in the object's frame (z up, standing on z = 0), metres and radians. Finger angles as in `posing`.
Legend: B candidates, V hand vertices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from handpose.geometry import rotvec_to_rotmat
from handpose.hands import ProceduralHand, linear_blend_skinning
from handpose.hands.procedural import PAD_VERTICES, PALM
from handpose.synthesis.motion.posing import angles_to_rotvecs
from handpose.synthesis.objects.shapes import ObjectBatch, SceneObject

MAX_GAP = 0.003  # metres: an engaged pad is at most this far from the surface
MAX_PENETRATION = 0.002  # metres: no hand vertex is deeper in the object than this
_SAFETY = 0.8  # a grasp is accepted at this share of both limits
_STEPS, _RATE = 110, 0.03
_COARSE_SHARE = 0.7  # of the steps, a third of the vertices is enough
FINGERS = ('index', 'middle', 'little', 'ring', 'thumb')  # MANO's order
PADS = ('thumb', 'index', 'middle', 'ring', 'little')  # the order of fingertip_pads
_SELF_RADIUS = 0.0145  # metres between the axes of different fingers


@dataclass(frozen=True)
class GraspType:
    """A way of holding.

    Attributes:
        name: of the type.
        kinds: of objects it suits.
        fingers: whose pads touch.
        flexion: degrees at (MCP, PIP, DIP) of the fingers at the start.
        thumb: degrees (CMC abduction, CMC flexion, MCP, IP) at the start.
        palm: whether the palm touches.
        tilt: range in degrees by which the hand comes from above (90 = straight down).
    """

    name: str
    kinds: tuple[str, ...]
    fingers: tuple[str, ...]
    flexion: tuple[float, float, float]
    thumb: tuple[float, float, float, float]
    palm: bool
    tilt: tuple[float, float]


GRASP_TYPES = (
    GraspType('power_cylinder', ('cylinder', 'bottle'), PADS, (45, 45, 25), (25, 10, 10, 10), True, (0, 25)),
    GraspType('tool_handle', ('tool',), PADS, (65, 65, 35), (20, 25, 20, 20), True, (0, 25)),
    GraspType('power_sphere', ('ball',), PADS, (40, 40, 25), (30, 10, 10, 15), True, (85, 120)),
    GraspType('disc_top', ('disc', 'cylinder'), PADS, (45, 30, 15), (30, 10, 5, 15), False, (60, 90)),
    GraspType('pinch', ('small box', 'pen', 'cube'), ('thumb', 'index'), (48, 38, 18), (25, 18, 10, 15), False,
              (30, 80)),
    GraspType('tripod', ('ball', 'pen', 'cube'), ('thumb', 'index', 'middle'), (50, 38, 18), (28, 18, 10, 15), False,
              (35, 85)),
    GraspType('prismatic', ('small box', 'cube', 'box'), PADS, (55, 25, 12), (28, 12, 8, 12), False, (25, 75)),
    GraspType('palmar', ('box',), PADS, (55, 30, 15), (35, 5, 5, 10), False, (0, 30)),
)  # fmt: skip


class Grasp(NamedTuple):
    """A solved grasp.

    Attributes:
        type: the `GraspType`.
        wrist: (4, 4) to the object frame.
        angles: (15, 3) of the closed fingers.
        open_angles: (15, 3) before and after the grasp.
        approach: (3,) unit vector in which the open hand comes.
        gap: the widest distance of an engaged pad to the surface, metres.
        penetration: of the deepest hand vertex, metres.
    """

    type: GraspType
    wrist: NDArray
    angles: NDArray
    open_angles: NDArray
    approach: NDArray
    gap: float
    penetration: float

    @property
    def sound(self) -> bool:
        """Whether pads touch and nothing sinks in, with some margin."""
        return self.gap <= _SAFETY * MAX_GAP and self.penetration <= _SAFETY * MAX_PENETRATION


class Candidate(NamedTuple):
    """What the search starts from: a grasp type, the object, the hand's shape (10,), and the draw's generator."""

    type: GraspType
    target: SceneObject
    shape: NDArray
    rng: Generator


def types_for(kind: str) -> list[GraspType]:
    """The grasp types that suit a kind of object."""
    return [g for g in GRASP_TYPES if kind in g.kinds]


def start_angles(grasp_type: GraspType) -> NDArray:
    """The angles (15, 3) radians that a grasp type starts from."""
    angles = np.zeros((15, 3))
    for finger in range(4):
        angles[3 * finger : 3 * finger + 3, 2] = grasp_type.flexion
        if FINGERS[finger] not in grasp_type.fingers:
            angles[3 * finger : 3 * finger + 3, 2] = (60, 70, 35) if FINGERS[finger] != 'middle' else (50, 60, 30)
    abduction, *flexion = grasp_type.thumb
    angles[12, 1] = abduction
    angles[12:, 2] = flexion
    return np.deg2rad(angles)


class _Poser:
    """Poses right hands of given shapes (B, 10) from wrist placements and finger angles: chosen vertices only.

    The shapes stay fixed during a search, so the shaped resting hands are made once.
    """

    def __init__(self, model: ProceduralHand, shapes: NDArray, chosen: Tensor) -> None:
        betas = torch.as_tensor(shapes, dtype=torch.float32)
        side = torch.ones(len(betas), dtype=torch.int64)
        rest = model(betas.new_zeros(16, 3), betas, betas.new_zeros(3), side)
        self.model, self.weights = model, model.weights[chosen]
        self.is_palm = model.skin_regions[chosen] == PALM
        self.vertices, self.joints = rest.vertices[:, chosen], model.rest_joints(betas, side)

    def __call__(self, wrist_rotation: Tensor, wrist_position: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices (B, V', 3) and the 16 joints (B, 16, 3) for wrists (B, 3, 3), (B, 3) and angles (B, 15, 3)."""
        rotmats = torch.cat([wrist_rotation[:, None], rotvec_to_rotmat(angles_to_rotvecs(self.model, angles))], 1)
        vertices, joints = linear_blend_skinning(self.vertices, self.joints, rotmats, self.weights)
        shift = (wrist_position - self.joints[:, 0])[:, None]
        return vertices + shift, joints + shift


def search_grasps(model: ProceduralHand, candidates: Sequence[Candidate], steps: int = _STEPS) -> list[Grasp]:
    """Searches all candidates' grasps at once by gradient descent on contact, penetration, table and posture.

    The search first looks at every third vertex and at the pads, then at all vertices, as the verdict does.

    Args:
        model: the hand model.
        candidates: whose objects are of one kind.
        steps: of gradient descent; 0 leaves the hand where the search would start.

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


def _jittered_start(candidate: Candidate) -> NDArray:
    angles = start_angles(candidate.type)
    return angles + candidate.rng.normal(0, 0.06, angles.shape) * (np.abs(angles) > 0)


def _place(poser: _Poser, start: Tensor, candidates: Sequence[Candidate]) -> tuple[Tensor, Tensor]:
    """First wrist rotations (B, 3, 3) and positions (B, 3): the palm on the surface, or the pads around the object."""
    eye = torch.eye(3).expand(len(candidates), 3, 3)
    with torch.no_grad():
        vertices, _ = poser(eye, torch.zeros(len(candidates), 3), start)
    pads = _split_pads(vertices).mean(2).double().numpy()
    placed = [_place_palm(c) if c.type.palm else _place_pads(c, pads[i]) for i, c in enumerate(candidates)]
    rotations, positions = (torch.tensor(np.stack(p), dtype=torch.float32) for p in zip(*placed, strict=True))
    return rotations, positions


def _split_pads(values: Tensor) -> Tensor:
    """The five fingers' pads (B, 5, P, ...) of per-vertex values (B, V', ...): they come first."""
    return values[:, : 5 * PAD_VERTICES].unflatten(1, (5, PAD_VERTICES))


def _place_palm(candidate: Candidate) -> tuple[NDArray, NDArray]:
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


def _place_pads(candidate: Candidate, pads: NDArray) -> tuple[NDArray, NDArray]:
    """Thumb pad and finger pads on opposite faces along x, the wrist behind or above."""
    tilt = np.deg2rad(candidate.rng.uniform(*candidate.type.tilt))
    across, middle = pad_axis(candidate.type, pads)
    have = axes_from(across, middle)
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


def pad_axis(grasp_type: GraspType, pads: NDArray) -> tuple[NDArray, NDArray]:
    """From the thumb's pad to the middle of the other engaged pads (3,), and the point halfway (3,); pads (5, 3)."""
    fingers = [i for i in range(1, 5) if PADS[i] in grasp_type.fingers]
    thumb, others = pads[0], pads[fingers].mean(0)
    return others - thumb, (thumb + others) / 2


def axes_from(first: NDArray, second: NDArray) -> NDArray:
    """The rotation (3, 3) whose first column is along `first` and whose second lies in the plane of both (3,)."""
    first = first / np.linalg.norm(first)
    second = second - first * (first @ second)
    second = second / np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], 1)


class _Objective:
    """What is wrong with posed hands (lengths in millimetres), summed over candidates."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.targets = ObjectBatch([c.target for c in candidates])
        self.touching = torch.tensor([[finger in c.type.fingers for finger in PADS] for c in candidates])
        self.uses_palm = torch.tensor([c.type.palm for c in candidates])
        fingers = self.touching[:, 1:].float()
        self.finger_shares = fingers / fingers.sum(1, keepdim=True)
        self.core = torch.tensor([0.6 * min(c.target.grip[1:]) for c in candidates])

    def __call__(self, vertices: Tensor, joints: Tensor, is_palm: Tensor, progress: float) -> Tensor:
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


def _crowding(joints: Tensor) -> Tensor:
    """(B,) mm^2: how far different fingers' segments are nearer than `_SELF_RADIUS` (16 joints, MANO's order)."""
    chains = joints[:, 1:].unflatten(1, (5, 3))
    beyond = 2 * chains[:, :, 2] - chains[:, :, 1]  # about the tip
    dense = torch.cat([chains[:, :, 1:], (chains[:, :, 1:] + chains[:, :, :-1]) / 2, beyond[:, :, None]], 2)
    apart = torch.cdist(dense.flatten(1, 2), dense.flatten(1, 2), compute_mode='donot_use_mm_for_euclid_dist')
    finger = torch.arange(5).repeat_interleave(dense.shape[2])
    different = finger[:, None] != finger[None]
    return ((_SELF_RADIUS - apart).clamp(min=0) * 1000).square().mul(different).sum((1, 2)) / 2


def _result(
    model: ProceduralHand,
    candidate: Candidate,
    vertices: Tensor,
    rotation: Tensor,
    position: Tensor,
    solved_angles: Tensor,
    touching: Tensor,
) -> Grasp:
    distance = candidate.target.distance(vertices.double())  # pads first, then every vertex
    gap = distance[: 5 * PAD_VERTICES].unflatten(0, (5, PAD_VERTICES)).amin(-1)[touching].clamp(min=0).max().item()
    wrist = np.eye(4)
    wrist[:3, :3], wrist[:3, 3] = rotation.double().numpy(), position.double().numpy()
    # float32 leaves the rotation a little off; the motion multiplies it many times.
    wrist[:3, :3] = Rotation.from_matrix(wrist[:3, :3]).as_matrix()
    angles = solved_angles.double().numpy()
    return Grasp(
        candidate.type,
        wrist,
        angles,
        _opened(model, angles),
        _approach(candidate.type, wrist),
        gap,
        max(0.0, -distance.min().item()),
    )


def _opened(model: ProceduralHand, angles: NDArray) -> NDArray:
    """The grasp's angles with straighter fingers and the thumb away from the palm."""
    opened = angles.copy()
    opened[:12, 2] *= 0.3
    opened[12:, 2] *= 0.2
    opened[12, 2] -= np.deg2rad(10)
    limits = model.joint_limits.double().numpy()
    return opened.clip(limits[..., 0], limits[..., 1])


def _approach(grasp_type: GraspType, wrist: NDArray) -> NDArray:
    """The direction (3,) in which the open hand comes: palm first, or finger tips first."""
    normal, forward = -wrist[:3, 1], -wrist[:3, 0]
    direction = normal + 0.35 * forward if grasp_type.palm else forward + 0.35 * normal
    return direction / np.linalg.norm(direction)


def measure_contact(
    model: ProceduralHand, grasp_type: GraspType, target: SceneObject, object_pose: NDArray, vertices: NDArray
) -> tuple[NDArray, NDArray]:
    """Measures how a rendered hand touches the object that it holds.

    Args:
        model: the hand model.
        grasp_type: whose fingers are engaged.
        target: the object.
        object_pose: (F, 4, 4) to the table frame.
        vertices: (F, V, 3) of the hand, table frame.

    Returns:
        (F,) widest gap of an engaged pad to the surface and (F,) deepest hand vertex, metres.
    """
    fingers = [PADS.index(f) for f in grasp_type.fingers]
    local = (vertices - object_pose[:, None, :3, 3]) @ object_pose[:, :3, :3]
    distance = target.distance(torch.from_numpy(local))
    gap = distance[:, model.fingertip_pads[fingers]].amin(-1).clamp(min=0).amax(-1)
    return gap.numpy(), (-distance.amin(-1)).clamp(min=0).numpy()
