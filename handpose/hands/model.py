"""`HandModel`: the common interface of parametric hands, and the linear blend skinning that they share."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.geometry.rotations import rotvec_to_rotmat
from handpose.hands.joints import COMMON_JOINTS, FINGERS, MANO_JOINTS
from handpose.hands.sides import Side, is_left, is_right

MANO_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
_WITH_TIPS = (*MANO_JOINTS, *(f'{finger}_tip' for finger in FINGERS))
TO_COMMON = tuple(_WITH_TIPS.index(name) for name in COMMON_JOINTS)


class HandMesh(NamedTuple):
    """A posed hand.

    Attributes:
        vertices: (..., V, 3) metres.
        joints: (..., 21, 3) metres in the common order.
    """

    vertices: Tensor
    joints: Tensor


class HandModel(nn.Module):
    """A parametric hand with MANO's kinematic tree and parameters; both sides in one call.

    Subclasses fill the constructor's arguments and define `pose_template` and `rest_joints`. Buffers are not saved with
    a model's weights: they belong to the hand model's own licence and files.

    Attributes:
        name: what data and checkpoints record, e.g. 'procedural-1'.
        faces: (F, 3) int64, a right hand's triangles, counter-clockwise seen from outside; see `faces_of`.
        parents: (16,) int64, MANO's tree, -1 for the wrist.
        pose_mean: (45,) mean finger pose, rotation vectors; already part of every `hand_pose` in this library.
        pose_basis: (45, 45) rows are the pose components: finger pose = pose_mean + coefficients @ pose_basis.
        tips_by_side: (2, 5) vertex ids that serve as thumb..little tips of left (0) and right (1) hands.
        num_vertices: V.
    """

    faces: Tensor
    parents: Tensor
    pose_mean: Tensor
    pose_basis: Tensor
    tips_by_side: Tensor

    def __init__(
        self,
        name: str,
        faces: Tensor,
        pose_mean: Tensor,
        pose_basis: Tensor,
        tips_by_side: Tensor,
        num_vertices: int,
    ) -> None:
        super().__init__()
        self.name = name
        self.num_vertices = num_vertices
        for key, value in {
            'faces': faces.long(),
            'parents': torch.tensor(MANO_PARENTS),
            'pose_mean': pose_mean,
            'pose_basis': pose_basis,
            'tips_by_side': tips_by_side.long(),
        }.items():
            self.register_buffer(key, value, persistent=False)

    @property
    def fingertip_vertices(self) -> Tensor:
        """(5,) vertex ids that serve as the tips of a right hand, thumb to little."""
        return self.tips_by_side[Side.RIGHT]

    def faces_of(self, side: int) -> Tensor:
        """Returns the triangles of one side.

        Args:
            side: a `Side`.

        Returns:
            (F, 3) int64, counter-clockwise seen from outside.
        """
        return self.faces if side == Side.RIGHT else self.faces[:, [0, 2, 1]]

    def pose_mean_of(self, side: int) -> Tensor:
        """Returns the mean finger pose of one side, for a hand model whose sides differ.

        Args:
            side: a `Side`.

        Returns:
            (45,) rotation vectors.
        """
        return self.pose_mean

    def pose_basis_of(self, side: int) -> Tensor:
        """Returns the pose components of one side.

        Args:
            side: a `Side`.

        Returns:
            (45, 45), one component a row.
        """
        return self.pose_basis

    def pose_template(self, rotmats: Tensor, hand_shape: Tensor, hand_side: Tensor) -> tuple[Tensor, Tensor]:
        """Poses hands without translation; a subclass defines it.

        Args:
            rotmats: (B, 16, 3, 3).
            hand_shape: (B, 10).
            hand_side: (B,) int.

        Returns:
            Vertices (B, V, 3) and 16 joints (B, 16, 3), metres.
        """
        raise NotImplementedError

    def rest_joints(self, hand_shape: Tensor, hand_side: Tensor) -> Tensor:
        """Computes the joints of the shaped template at zero pose; a subclass defines it.

        Args:
            hand_shape: (B, 10).
            hand_side: (B,) int.

        Returns:
            (B, 16, 3) metres.
        """
        raise NotImplementedError

    def forward(self, hand_pose: Tensor, hand_shape: Tensor, hand_transl: Tensor, hand_side: Tensor) -> HandMesh:
        """Poses hands. Leading dims broadcast against each other.

        Args:
            hand_pose: (..., 16, 3) rotation vectors or (..., 16, 3, 3) rotation matrices in MANO's joint order (wrist,
                index, middle, little, ring, thumb), the mean pose included; a left hand in MANO's left convention.
            hand_shape: (..., 10).
            hand_transl: (..., 3) metres, the model's translation: the wrist lies at hand_transl + rest_wrist.
            hand_side: (...) integers, 0 left and 1 right.

        Returns:
            `HandMesh` in the frame of the wrist's rotation and the translation.

        Raises:
            ValueError: a shape or a side that does not fit; the message names it.
        """
        is_matrix = hand_pose.shape[-3:] == (16, 3, 3)
        _check_shape('hand_pose', hand_pose, (16, 3, 3) if is_matrix else (16, 3))
        _check_shape('hand_shape', hand_shape, (10,))
        _check_shape('hand_transl', hand_transl, (3,))
        _check_side(hand_side)
        rotmats = hand_pose if is_matrix else rotvec_to_rotmat(hand_pose)
        leading = _common_leading(rotmats.shape[:-3], hand_shape.shape[:-1], hand_transl.shape[:-1], hand_side.shape)
        sides = hand_side.expand(leading).reshape(-1)
        vertices, joints = self.pose_template(
            rotmats.expand(*leading, 16, 3, 3).reshape(-1, 16, 3, 3),
            hand_shape.expand(*leading, 10).reshape(-1, 10),
            sides,
        )
        tips = vertices.gather(1, self.tips_by_side[sides][..., None].expand(-1, -1, 3))
        joints = torch.cat([joints, tips], 1)[:, list(TO_COMMON)]
        transl = hand_transl[..., None, :]
        return HandMesh(
            vertices.reshape(*leading, vertices.shape[-2], 3) + transl,
            joints.reshape(*leading, len(COMMON_JOINTS), 3) + transl,
        )

    def rest_wrist(self, hand_shape: Tensor, hand_side: Tensor) -> Tensor:
        """Computes the wrist of the shaped template: hand_transl = wrist - rest_wrist.

        Args:
            hand_shape: (..., 10).
            hand_side: (...) int.

        Returns:
            (..., 3) metres.
        """
        _check_shape('hand_shape', hand_shape, (10,))
        _check_side(hand_side)
        leading = _common_leading(hand_shape.shape[:-1], hand_side.shape)
        shape = hand_shape.expand(*leading, 10).reshape(-1, 10)
        joints = self.rest_joints(shape, hand_side.expand(leading).reshape(-1))
        return joints[:, 0].reshape(*leading, 3)


def linear_blend_skinning(
    rest_vertices: Tensor,
    rest_joints: Tensor,
    rotmats: Tensor,
    weights: Tensor,
    parents: Sequence[int] = MANO_PARENTS,
) -> tuple[Tensor, Tensor]:
    """Poses a skinned mesh; the root rotates about its own joint.

    Args:
        rest_vertices: (B, V, 3), any unit.
        rest_joints: (B, J, 3).
        rotmats: (B, J, 3, 3), each relative to its parent.
        weights: (V, J), rows sum to one.
        parents: J numbers, parents before children, -1 for the root.

    Returns:
        Vertices (B, V, 3) and joints (B, J, 3) in the input's unit.
    """
    rotations, positions = [rotmats[:, 0]], [rest_joints[:, 0]]
    for joint, parent in enumerate(parents[1:], start=1):
        bone = rest_joints[:, joint] - rest_joints[:, parent]
        rotations.append(rotations[parent] @ rotmats[:, joint])
        positions.append(positions[parent] + (rotations[parent] @ bone[..., None])[..., 0])
    rotation, joints = torch.stack(rotations, 1), torch.stack(positions, 1)
    shift = joints - (rotation @ rest_joints[..., None])[..., 0]
    # Coordinates before vertices from here on: long contiguous rows are several times faster than 3-vectors.
    motion = torch.cat([rotation, shift[..., None]], -1).flatten(2)
    blended = (motion.transpose(1, 2) @ weights.T).unflatten(1, (3, 4))
    rest, vertices = rest_vertices.transpose(1, 2).contiguous(), blended[:, :, 3]
    for axis in range(3):
        vertices = torch.addcmul(vertices, blended[:, :, axis], rest[:, None, axis])
    return vertices.transpose(1, 2), joints


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Computes the unit normals of a mesh, the mean of its faces' normals weighted by area.

    Args:
        vertices: (..., V, 3).
        faces: (F, 3) int64.

    Returns:
        (..., V, 3), zero where undefined.
    """
    corners = vertices[..., faces, :]
    cross = torch.linalg.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals = normals.index_add(-2, faces[:, corner], cross)
    return nn.functional.normalize(normals, dim=-1)


def _check_shape(name: str, value: Tensor, trailing: tuple[int, ...]) -> None:
    if value.shape[-len(trailing) :] != trailing:
        also = ' or (..., 16, 3, 3)' if name == 'hand_pose' else ''
        expected = ', '.join(map(str, ('...', *trailing)))
        raise ValueError(f'{name} must have shape ({expected}){also}, got {tuple(value.shape)}')


def _check_side(hand_side: Tensor) -> None:
    if hand_side.is_floating_point() or hand_side.dtype == torch.bool:
        raise ValueError(f'hand_side must be integers (0 left, 1 right), got {hand_side.dtype}')
    if torch.compiler.is_compiling() or hand_side.is_meta:
        return
    if not (is_left(hand_side) | is_right(hand_side)).all():
        wrong = sorted(set(hand_side.flatten().tolist()) - set(Side))
        raise ValueError(f'hand_side must be 0 (left) or 1 (right), got {wrong}')


def _common_leading(*shapes: torch.Size) -> torch.Size:
    try:
        return torch.broadcast_shapes(*shapes)
    except RuntimeError:
        listed = ', '.join(str(tuple(shape)) for shape in shapes)
        raise ValueError(
            f'the leading dims of pose, shape, translation and side do not fit together: {listed}'
        ) from None
