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
        with_pose: also regresses the hand's pose. The paper's 45 numbers leave the orientation of the hand open; here
            the wrist's rotation is one of 16.
        pose_regression: 'pooled', from the mean over joints, as the paper has it; 'flattened', from the features of all
            joints side by side, as MotionBERT does for meshes, which few channels need.
        orientation: what the wrist's rotation starts from: 'palm', the palm's own axes in the motion that comes in, so
            that only a change of them is regressed; 'camera', the camera's axes.
        representation: MotionBERT's linear layer with tanh before the regressions.
        num_joints: J.

    Raises:
        ValueError: an unknown joint_regression, pose_regression or orientation.
    """

    def __init__(
        self,
        channels: int,
        joint_regression: str = 'pooled',
        with_pose: bool = True,
        pose_regression: str = 'pooled',
        orientation: str = 'palm',
        representation: bool = True,
        num_joints: int = 21,
    ):
        super().__init__()
        _check('joint_regression', joint_regression, ('pooled', 'per_joint'))
        _check('pose_regression', pose_regression, ('pooled', 'flattened'))
        _check('orientation', orientation, ('palm', 'camera'))
        self.joint_regression, self.pose_regression = joint_regression, pose_regression
        self.orientation, self.num_joints = orientation, num_joints
        self.norm = nn.LayerNorm(channels)
        self.representation = nn.Sequential(nn.Linear(channels, channels), nn.Tanh()) if representation else None
        self.joints = nn.Linear(channels, 3 if joint_regression == 'per_joint' else 3 * num_joints)
        # A refiner that adds to its input starts near it.
        nn.init.normal_(self.joints.weight, std=1e-3)
        nn.init.zeros_(self.joints.bias)
        pose_channels = channels * (num_joints if pose_regression == 'flattened' else 1)
        self.pose = nn.Linear(pose_channels, 16 * 6) if with_pose else None
        if with_pose:
            nn.init.normal_(self.pose.weight, std=0.1 * pose_channels**-0.5)
            self.pose.bias = nn.Parameter(torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(16))  # the identity

    @torch.no_grad()
    def start_at_rest(self, rest_joints: torch.Tensor):
        """Makes an untrained head answer the orientation in which a hand model's palm lies along the motion's palm.

        Args:
            rest_joints: (J, 3), metres: of the model's right hand without rotations. Only for orientation='palm'.
        """
        # The rows of the palm's axes are the columns of their inverse, which undoes the palm's own turn at rest.
        if self.orientation == 'palm' and self.pose is not None:
            relative = (rest_joints - rest_joints[:1]).to(self.pose.bias)
            self.pose.bias[:6] = palm_axes(relative)[:2].flatten()

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
        source = features.flatten(2) if self.pose_regression == 'flattened' else pooled
        pose = None if self.pose is None else self.pose(source).unflatten(-1, (16, 6))
        if pose is not None and self.orientation == 'palm':
            pose = torch.cat([_turned(palm_axes(motion), pose[..., :1, :]), pose[..., 1:, :]], dim=-2)
        return MotionUpdate(MOTION_UNIT * joints, pose)


def _check(name, value, choices):
    if value not in choices:
        raise ValueError(f'{name} must be one of {choices}, got {value!r}')


def palm_axes(motion: torch.Tensor) -> torch.Tensor:
    """The palm's axes (..., 3, 3), columns, of motions (..., J, 3): from the wrist to the middle of the index and the
    little knuckle, from the one to the other, and out of the palm."""  # fmt: skip
    with without_autocast(motion):
        motion = motion.to(torch.promote_types(motion.dtype, torch.float32))
        index, little = motion[..., 5, :], motion[..., 17, :]  # relative to the wrist
        return rot6d_to_rotmat(torch.cat([index + little, index - little], dim=-1))


def _turned(axes, rot6d):
    """6D rotations (N, T, 1, 6) carried along by axes (N, T, 3, 3): both of their columns are turned."""
    with without_autocast(axes):
        columns = rot6d.to(axes.dtype).unflatten(-1, (2, 3)).transpose(-1, -2)  # (N, T, 1, 3, 2)
        return (axes[..., None, :, :] @ columns).transpose(-1, -2).flatten(-2)
