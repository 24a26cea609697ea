"""`ProceduralHand`: the library's own hand, with MANO's tree and parameters and no licence to sign."""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.hands.joints import FINGERS
from handpose.hands.model import HandModel, linear_blend_skinning
from handpose.hands.procedural_anatomy import (
    CHAINS,
    DIGITS,
    SHAPE,
    hand_distance,
    rest_joints,
    shape_directions,
    skin_weights,
)
from handpose.hands.procedural_mesh import mesh_edges, mesh_from_distance
from handpose.hands.sides import is_right

SHAPE_MEANINGS = tuple(meaning for meaning, _ in SHAPE)
REST_WRIST = (0.09, 0.0, 0.0)
PAD_VERTICES = 6
PALM, BACK, FINGER, PAD, NAIL = range(5)


class Template(NamedTuple):
    """The hand as built: a right hand at rest, metres.

    Attributes:
        vertices: (V, 3).
        faces: (F, 3) int64.
        joints: (16, 3).
        weights: (V, 16) skinning weights.
        shape_directions: (V, 3, 10) per standard deviation.
        joint_directions: (16, 3, 10) per standard deviation.
        fingertips: (5,) vertex ids, thumb to little.
        pads: (5, PAD_VERTICES) vertex ids, thumb to little.
        regions: (V,) PALM, BACK, FINGER, PAD or NAIL.
    """

    vertices: NDArray
    faces: NDArray
    joints: NDArray
    weights: NDArray
    shape_directions: NDArray
    joint_directions: NDArray
    fingertips: NDArray
    pads: NDArray
    regions: NDArray


@cache
def build_template() -> Template:
    """Builds the resting hand, once per process (about 0.3 s); the same on every machine."""
    tips = np.stack([CHAINS[name].points[3] for name in FINGERS])
    vertices, faces = mesh_from_distance(hand_distance, _grid(), pins=tips)
    weights = skin_weights(vertices, mesh_edges(faces))
    joints = rest_joints()
    origin = -1000.0 * np.array(REST_WRIST)
    digits = np.repeat(np.arange(6), (1, 3, 3, 3, 3, 3))
    membership = np.stack([weights[:, digits == digit].sum(1) for digit in range(6)], 1)
    normals = _vertex_normals(vertices, faces)
    fingertips, pads = _contacts(vertices, normals, weights)
    return Template(
        (vertices - origin) / 1000.0,
        faces,
        (joints - origin) / 1000.0,
        weights,
        shape_directions(vertices, membership, origin) / 1000.0,
        shape_directions(joints, np.eye(6)[digits], origin) / 1000.0,
        fingertips,
        pads,
        _regions(vertices, normals, weights),
    )


def _grid() -> list[NDArray]:
    """Grid of the resting hand, mm: fine across the fingers, coarse along the palm. It decides the vertex count."""
    along = np.concatenate([np.arange(-206.0, -48.0, 7.0), np.arange(-48.0, 45.0, 12.0)])
    return [along, np.arange(-70.0, 44.0, 7.0), np.arange(-76.0, 112.0, 5.0)]


def _vertex_normals(vertices: NDArray, faces: NDArray) -> NDArray:
    cross = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], cross)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _last_joint(name: str) -> int:
    return 3 + 3 * tuple(CHAINS).index(name)


def _contacts(vertices: NDArray, normals: NDArray, weights: NDArray) -> tuple[NDArray, NDArray]:
    """Vertex ids of the five tips and of the pads, thumb to little."""
    tips, pads = [], []
    for name in FINGERS:
        chain, own = CHAINS[name], weights[:, _last_joint(name)] > 0.5
        outward, dorsal = -chain.frames[2][:, 0], chain.frames[2][:, 1]
        pad = chain.points[3] - chain.radii[3] * (1.3 * outward + dorsal)
        palmar = own & (normals @ dorsal < -0.3)
        tips.append(np.linalg.norm(vertices - chain.points[3], axis=1).argmin())
        nearest = np.argsort(np.where(palmar, np.linalg.norm(vertices - pad, axis=1), np.inf), kind='stable')
        pads.append(np.sort(nearest[:PAD_VERTICES]))
    return np.array(tips), np.array(pads)


def _regions(vertices: NDArray, normals: NDArray, weights: NDArray) -> NDArray:
    """PALM, BACK, FINGER, PAD or NAIL for every vertex, for shading."""
    regions = np.where(weights[:, 0] > 0.5, np.where(normals[:, 1] < 0, PALM, BACK), FINGER)
    for name, chain in CHAINS.items():
        own, frame = weights[:, _last_joint(name)] > 0.5, chain.frames[2]
        from_tip = (vertices - chain.points[3]) @ frame[:, 0]
        facing = normals @ frame[:, 1]
        regions[own & (facing < -0.4)] = PAD
        regions[own & (facing > 0.55) & (from_tip < 2.2 * chain.radii[3])] = NAIL
    return regions


class ProceduralHand(HandModel):
    """A hand of our own: MANO's 16 joints and parameters, linear like MANO, a closed skinned mesh, joint limits.

    Rest pose (zero `hand_pose`): an open hand, fingers slightly spread and straight, in MANO's axes. A right hand's
    fingers point along -x, the back of the hand faces +y, the thumb lies on the +z side; the wrist is at `REST_WRIST`
    for the mean shape, so, as with MANO, the translation is not the wrist. The left hand is the mirror image in x, and
    its rotvecs follow MANO's left convention: (x, -y, -z) of the right hand's.

    Shape parameters are in standard deviations; `SHAPE_MEANINGS` names them. The pose mean is zero, the basis identity.

    Attributes:
        joint_axes: (15, 3, 3) of a right hand; columns are unit axes of (twist, abduction, flexion) for the joints
            1..15, so rotvec = joint_axes @ (twist, abduction, flexion). Positive flexion rotates the segment towards
            its pad, positive abduction towards the thumb's side (the thumb itself: out of the palm), positive twist
            about the direction back to the palm.
        joint_limits: (15, 3, 2) radians, lower and upper bound of (twist, abduction, flexion).
        fingertip_pads: (5, 6) vertex ids on the palmar side of the last segments, thumb to little.
        skin_regions: (V,) 0 palm, 1 back of the hand, 2 finger, 3 finger pad, 4 nail.
        weights: (V, 16) skinning weights.

    Source of all measures: see `handpose.hands.procedural_anatomy`.
    """

    joint_axes: Tensor
    joint_limits: Tensor
    fingertip_pads: Tensor
    skin_regions: Tensor
    weights: Tensor
    template_vertices: Tensor
    template_joints: Tensor
    shape_directions: Tensor
    joint_directions: Tensor

    def __init__(self) -> None:
        template = build_template()
        super().__init__(
            name='procedural-1',
            faces=torch.from_numpy(template.faces),
            pose_mean=torch.zeros(45),
            pose_basis=torch.eye(45),
            tips_by_side=torch.from_numpy(template.fingertips).expand(2, 5).clone(),
            num_vertices=len(template.vertices),
        )
        limits = np.deg2rad([limits for finger in DIGITS.values() for limits in finger.limits])
        axes = np.concatenate([chain.frames for chain in CHAINS.values()])
        for key, value in {
            'template_vertices': template.vertices,
            'template_joints': template.joints,
            'weights': template.weights,
            'shape_directions': template.shape_directions.reshape(-1, 10).T.copy(),
            'joint_directions': template.joint_directions.reshape(-1, 10).T.copy(),
            'joint_axes': axes,
            'joint_limits': limits,
        }.items():
            self.register_buffer(key, torch.from_numpy(value).float(), persistent=False)
        self.register_buffer('fingertip_pads', torch.from_numpy(template.pads), persistent=False)
        self.register_buffer('skin_regions', torch.from_numpy(template.regions), persistent=False)

    def pose_template(self, rotmats: Tensor, hand_shape: Tensor, hand_side: Tensor) -> tuple[Tensor, Tensor]:
        """See `HandModel.pose_template`. A left hand is the mirrored template with its own rotations."""
        rest = self.template_vertices + (hand_shape @ self.shape_directions).unflatten(-1, (-1, 3))
        rest = rest * self._mirror(hand_side, rest)
        return linear_blend_skinning(rest, self.rest_joints(hand_shape, hand_side), rotmats, self.weights)

    def rest_joints(self, hand_shape: Tensor, hand_side: Tensor) -> Tensor:
        """See `HandModel.rest_joints`."""
        joints = self.template_joints + (hand_shape @ self.joint_directions).unflatten(-1, (-1, 3))
        return joints * self._mirror(hand_side, joints)

    @staticmethod
    def _mirror(hand_side: Tensor, like: Tensor) -> Tensor:
        """(B, 1, 3): (-1, 1, 1) for left hands, ones for right hands."""
        mirror = like.new_ones(hand_side.shape[0], 1, 3)
        mirror[:, 0, 0] = torch.where(is_right(hand_side), 1.0, -1.0).to(like)
        return mirror
