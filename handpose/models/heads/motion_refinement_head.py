"""From joint features to refined motion and hand-model parameters (PDTM, section 3.4).

Legend: N hands, T frames, J = 21 joints, M memory tokens, C channels.
"""

from typing import NamedTuple

import torch
from torch import nn

from handpose.geometry import rot6d_to_rotmat
from handpose.models.layers.motion_tokens import MOTION_UNIT
from handpose.models.layers.precision import without_autocast
from handpose.registry import MODELS


class MotionUpdate(NamedTuple):
    """Joints (N, T, J, 3), metres, a motion or a change of one, and pose (N, T, 16, 6), 6D rotations, or None."""

    joints: torch.Tensor
    pose: torch.Tensor | None


@MODELS.register_module()
class MotionRefinementHead(nn.Module):
    """A final norm, MotionBERT's tanh layer, and linear regressions.

    Args:
        channels: C.
        joint_regression: 'pooled', all 3J coordinates of a frame from the mean over its joints, as the paper has it;
            'per_joint', each joint's from its own features, as MotionBERT does.
        with_pose: also regresses the hand's pose from the mean over joints. The paper's 45 numbers leave the
            orientation of the hand open; here the wrist's rotation is one of 16.
        orientation: what the wrist's rotation starts from: 'palm', the palm's own axes in the motion that comes in, so
            that only a change of them is regressed; 'camera', the camera's axes.
        representation: MotionBERT's linear layer with tanh before the regressions.
        num_joints: J.

    Raises:
        ValueError: an unknown joint_regression or orientation.
    """

    def __init__(
        self,
        channels: int,
        joint_regression: str = 'pooled',
        with_pose: bool = True,
        orientation: str = 'palm',
        representation: bool = True,
        num_joints: int = 21,
    ):
        super().__init__()
        if joint_regression not in ('pooled', 'per_joint'):
            raise ValueError(f"joint_regression must be 'pooled' or 'per_joint', got {joint_regression!r}")
        if orientation not in ('palm', 'camera'):
            raise ValueError(f"orientation must be 'palm' or 'camera', got {orientation!r}")
        self.joint_regression, self.orientation, self.num_joints = joint_regression, orientation, num_joints
        self.norm = nn.LayerNorm(channels)
        self.representation = nn.Sequential(nn.Linear(channels, channels), nn.Tanh()) if representation else None
        self.joints = nn.Linear(channels, 3 if joint_regression == 'per_joint' else 3 * num_joints)
        # A refiner that adds to its input starts near it.
        nn.init.normal_(self.joints.weight, std=1e-3)
        nn.init.zeros_(self.joints.bias)
        self.pose = nn.Linear(channels, 16 * 6) if with_pose else None
        if with_pose:
            nn.init.normal_(self.pose.weight, std=0.01)
            self.pose.bias = nn.Parameter(torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(16))  # the identity

    def forward(self, features: torch.Tensor, motion: torch.Tensor) -> MotionUpdate:
        """(N, T, J, C), and the motion that came in (N, T, J, 3) -> `MotionUpdate`."""
        features = self.norm(features)
        if self.representation is not None:
            features = self.representation(features)
        pooled = features.mean(2)
        if self.joint_regression == 'per_joint':
            joints = self.joints(features)
        else:
            joints = self.joints(pooled).unflatten(-1, (self.num_joints, 3))
        pose = None if self.pose is None else self.pose(pooled).unflatten(-1, (16, 6))
        if pose is not None and self.orientation == 'palm':
            pose = torch.cat([_turned(palm_axes(motion), pose[..., :1, :]), pose[..., 1:, :]], dim=-2)
        return MotionUpdate(MOTION_UNIT * joints, pose)


def palm_axes(motion: torch.Tensor) -> torch.Tensor:
    """The palm's axes (N, T, 3, 3), columns, of motions (N, T, J, 3): from the wrist to the middle of the index and the
    little knuckle, from the one to the other, and out of the palm."""  # fmt: skip
    with without_autocast(motion):
        index, little = motion[..., 5, :].float(), motion[..., 17, :].float()  # relative to the wrist
        return rot6d_to_rotmat(torch.cat([index + little, index - little], dim=-1))


def _turned(axes, rot6d):
    """6D rotations (N, T, 1, 6) carried along by axes (N, T, 3, 3): both of their columns are turned."""
    with without_autocast(axes):
        columns = rot6d.float().unflatten(-1, (2, 3)).transpose(-1, -2)  # (N, T, 1, 3, 2)
        return (axes[..., None, :, :] @ columns).transpose(-1, -2).flatten(-2)
