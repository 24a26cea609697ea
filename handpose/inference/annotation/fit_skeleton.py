"""The skeleton that is fitted to the views of a hand: that of `ProceduralHand`, or of any other `HandModel`.

Everything is in the frame of a right hand: left hands are mirrored in x, with their cameras.
Legend: N frames, 21 joints in the common order, 5 fingers with 3 joints and a tip, S parameters shared by all frames.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from handpose.geometry.rotations import rotmat_to_rotvec
from handpose.hands.fit import BEND_JOINTS, Skeleton, SkeletonPose
from handpose.hands.fit_start import finger_bones
from handpose.hands.model import HandModel
from handpose.hands.procedural import ProceduralHand
from handpose.hands.sides import Side

NUM_SHAPES = 10


class FitSkeleton(Skeleton):
    """The 21 joints of one side of a hand model, and how they move with pose, shape, and joints of the person's own.

    `ProceduralHand` is exact. Of another model, the joints of the mesh (the fingertips) move with the last bone, plus
    `corrections`, which `corrected` updates from the whole model; axes and limits are those of `ProceduralHand`, which
    has MANO's joints.

    The shared parameters are the ten of the shape, and, with `own_joints`, 60 more: displacements of 20 joints of the
    resting hand, in metres. They stand for the person's proportions and for what a detector takes for each joint, as
    far as the ten cannot.

    Args:
        model: the hand model; it is not changed.
        side: a `Side`.
        own_joints: whether the joints of the resting hand may be displaced.
    """

    def __init__(self, model: HandModel, side: int, own_joints: bool) -> None:
        reference = model if isinstance(model, ProceduralHand) else ProceduralHand()
        super().__init__(reference)
        self.model, self.side = model, side
        self.mirror = self.mean.new_tensor([1.0 if side == Side.RIGHT else -1.0, 1.0, 1.0])
        self.rest_angles = torch.zeros(5, 3, 3, dtype=torch.float64)
        if reference is not model:
            self._read(model)
        if own_joints:
            displaced = torch.zeros(20, 3, 21, 3, dtype=torch.float64)
            joint, axis = torch.arange(20)[:, None], torch.arange(3)
            displaced[joint, axis, joint + 1, axis] = 1.0
            self.directions = torch.cat([self.directions, displaced.flatten(0, 1)])
        self.corrections: Tensor | None = None

    def _read(self, model: HandModel) -> None:
        """Mean joints and shape directions of another model: its joints are linear in the shape."""
        shapes = torch.cat([torch.zeros(1, NUM_SHAPES), torch.eye(NUM_SHAPES)]).to(model.pose_mean)
        zeros = shapes.new_zeros(len(shapes), 16, 3)
        with torch.no_grad():
            joints = model(zeros, shapes, zeros[:, 0], torch.tensor(int(self.side))).joints.double() * self.mirror
        self.mean, self.directions = joints[0], joints[1:] - joints[0]
        mean = (model.pose_mean_of(self.side).double().unflatten(0, (15, 3)) * self._flip())[BEND_JOINTS - 1]
        self.rest_angles = (self.axes.transpose(-1, -2) @ mean.unflatten(0, (5, 3))[..., None])[..., 0]

    def _flip(self) -> Tensor:
        """(3,) signs of a rotation vector that is mirrored in x."""
        return self.mirror[0] * self.mirror

    @property
    def num_shared(self) -> int:
        """S."""
        return len(self.directions)

    def pose(self, state: SkeletonPose) -> tuple[Tensor, Tensor]:
        """See `Skeleton.pose`."""
        joints, rotations = super().pose(state)
        if self.corrections is not None:
            moved = (rotations @ self.corrections[..., None])[..., 0].flatten(1, 2)
            joints = torch.cat([joints[:, :1], joints[:, 1:] + moved], 1)
        return joints, rotations

    def corrected(self, state: SkeletonPose) -> None:
        """Updates `corrections` so that the joints are those of the whole model, with the displacements added.

        Args:
            state: the pose near which they are to hold.
        """
        if isinstance(self.model, ProceduralHand):
            return
        self.corrections = None
        own = state._replace(shape=torch.where(torch.arange(self.num_shared) < NUM_SHAPES, state.shape, 0.0))
        joints, rotations = self.pose(own)
        difference = (self.model_joints(state) - joints)[:, 1:].unflatten(1, (5, 4))
        self.corrections = (rotations.transpose(-1, -2) @ difference[..., None])[..., 0]

    def with_corrections(self, corrections: Tensor) -> 'FitSkeleton':
        """Returns the skeleton for other frames.

        Args:
            corrections: (N, 5, 4, 3) metres.
        """
        other = copy.copy(self)
        other.corrections = corrections
        return other

    def model_joints(self, state: SkeletonPose) -> Tensor:
        """Computes the joints of the whole model, without displacements of the person's own.

        Args:
            state: pose of N frames.

        Returns:
            (N, 21, 3) metres.
        """
        pose, transl = self.parameters(state)
        like = self.model.pose_mean
        side = torch.tensor(int(self.side), device=like.device)
        values = [value.to(like) for value in (pose, state.shape[:NUM_SHAPES], transl)]
        with torch.no_grad():
            joints = [self.model(part, values[1], moved, side).joints for part, moved in _parts(values[0], values[2])]
        return torch.cat(joints).to(pose) * self.mirror

    def parameters(self, state: SkeletonPose) -> tuple[Tensor, Tensor]:
        """Converts to the parameters of the hand model.

        Args:
            state: pose of N frames.

        Returns:
            hand_pose (N, 16, 3) and hand_transl (N, 3), no longer mirrored.
        """
        pose = torch.zeros(len(state.rotation), 16, 3, dtype=torch.float64)
        pose[:, 0] = rotmat_to_rotvec(state.rotation)
        pose[:, BEND_JOINTS] = (self.axes @ state.angles[..., None])[..., 0].flatten(1, 2)
        rest_wrist = self.mean[0] + torch.einsum('s,sc->c', state.shape, self.directions[:, 0])
        return pose * self._flip(), (state.position - rest_wrist) * self.mirror

    def angles(self, hand_pose: Tensor) -> Tensor:
        """Reads the finger angles of a model's pose.

        Args:
            hand_pose: (N, 16, 3) rotation vectors.

        Returns:
            (N, 5, 3, 3), each (twist, abduction, flexion), radians.
        """
        bends = (hand_pose.double() * self._flip())[:, BEND_JOINTS].unflatten(1, (5, 3))
        return (self.axes.transpose(-1, -2) @ bends[..., None])[..., 0]

    def bone_lengths(self, shared: Tensor) -> Tensor:
        """Computes the lengths of the bones, which no pose changes.

        Args:
            shared: (S,).

        Returns:
            (5, 4) metres.
        """
        return finger_bones(self.rest(shared)).norm(dim=-1)


def _parts(pose: Tensor, transl: Tensor, size: int = 256) -> Iterable[tuple[Tensor, Tensor]]:
    """Frames of a few at a time: the mesh of a model takes memory."""
    return zip(pose.split(size), transl.split(size), strict=True)
