"""Training targets as tensors, and the posed hands that losses compare.

Legend: B clips, T frames, N hands of a batch, H hands of a clip, J = 21 joints, V mesh vertices.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from handpose.geometry import rotvec_to_rotmat
from handpose.hands import HandModel
from handpose.models.layers.precision import without_autocast


class HandTarget(NamedTuple):
    """One annotated hand per clip, seen by one camera. What is not valid may hold anything finite."""

    side: Tensor  # (B,) int, 0 left, 1 right
    frame_valid: Tensor  # (B, T) bool, frames that show the hand
    joints: Tensor  # (B, T, J, 3), metres, any origin
    joints_valid: Tensor  # (B, T, J) bool
    joints_2d: Tensor  # (B, T, J, 2), in [0, 1] of the hand's box
    joints_2d_valid: Tensor  # (B, T, J) bool
    pose: Tensor | None  # (B, T, 16, 3) rotvecs; None: no hand-model parameters
    shape: Tensor | None  # (B, 10)
    pose_valid: Tensor | None  # (B, T) bool, frames with hand-model parameters


class ActionTarget(NamedTuple):
    """Hands, objects and action of clips seen by one camera. Labels are -1 where unknown; None: all unknown."""

    frame_valid: Tensor  # (B, T) bool, False for padding
    intrinsics: Tensor  # (B, T, 3, 3)
    joints: Tensor | None  # (B, T, H, J, 3), metres, camera
    joints_valid: Tensor | None  # (B, T, H, J) bool
    object_label: Tensor | None  # (B, T) int
    action_label: Tensor | None  # (B,) int


class MotionTarget(NamedTuple):
    """True motion of hands as a refiner sees them (see `handpose.models.layers.hand_motion`), and their parameters."""

    frame_valid: Tensor  # (N, T) bool, False for padding
    side: Tensor  # (N,) int, 0 left, 1 right
    joints: Tensor  # (N, T, J, 3), metres, with the input's origin
    joints_valid: Tensor  # (N, T, J) bool
    pose: Tensor | None  # (N, T, 16, 3) rotvecs; None: no hand-model parameters
    shape: Tensor | None  # (N, 10)
    pose_valid: Tensor | None  # (N, T) bool


class PosedHands(NamedTuple):
    """Hands of B clips; points are metres, relative to the wrist of their own frame."""

    rotations: Tensor  # (B, T, 16, 3, 3)
    shape: Tensor  # (B, T, 10)
    vertices: Tensor  # (B, T, V, 3)
    joints: Tensor  # (B, T, J, 3)


def make_hands(hand_model: HandModel, rotations: Tensor, shape: Tensor, side: Tensor) -> PosedHands:
    """Poses hands and puts their wrists at the origin, in float32 under autocast too.

    Args:
        hand_model: makes the meshes.
        rotations: (B, T, 16, 3, 3).
        shape: (B, T, 10).
        side: (B,) int, 0 left, 1 right.

    Returns:
        The posed hands.
    """
    side = side[:, None].expand(-1, rotations.shape[1])
    with without_autocast(rotations):
        mesh = hand_model(rotations, shape, torch.zeros_like(shape[..., :3]), side)
    wrist = mesh.joints[..., :1, :]
    return PosedHands(rotations, shape, mesh.vertices - wrist, mesh.joints - wrist)


def true_hands(target: HandTarget, hand_model: HandModel) -> tuple[PosedHands, Tensor]:
    """Poses the annotated hands.

    Args:
        target: without hand-model parameters, the joints alone are true, and the rest is filling.
        hand_model: of the target's parameters.

    Returns:
        The hands, with the annotated joints, and (B, T) bool: the frames that have hand-model parameters.
    """
    joints = target.joints - target.joints[..., :1, :]
    size = joints.shape[:2]
    if target.pose is None or target.shape is None or target.pose_valid is None:
        zeros = joints.new_zeros
        rotations = torch.eye(3, device=joints.device).expand(*size, 16, 3, 3)
        vertices = zeros((*size, hand_model.num_vertices, 3))
        return PosedHands(rotations, zeros((*size, 10)), vertices, joints), zeros(size, dtype=torch.bool)
    shape = target.shape[:, None].expand(-1, size[1], -1)
    hands = make_hands(hand_model, rotvec_to_rotmat(target.pose), shape, target.side)
    return hands._replace(joints=joints), target.pose_valid
