"""From joint features to refined motion and hand-model parameters (PDTM, section 3.4).

Legend: N hands, T frames, J joints, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.geometry import rot6d_to_rotmat
from handpose.models.heads.temporal_kernel import TemporalKernel
from handpose.models.layers.checks import check_features, check_option
from handpose.models.layers.motion_embedding import MOTION_UNIT
from handpose.models.layers.precision import at_least_float32, without_autocast
from handpose.registry import MODELS

REGRESSIONS = ('pooled', 'per_joint', 'kernel')
POSE_REGRESSIONS = ('pooled', 'flattened')
ORIENTATIONS = ('palm', 'camera')
NUM_ROTATIONS = 16


class MotionUpdate(NamedTuple):
    """Joints (N, T, J, 3), metres, a motion or a change of one, and pose (N, T, 16, 6), 6D rotations, or None."""

    joints: Tensor
    pose: Tensor | None


@MODELS.register_module()
class MotionRefinementHead(nn.Module):
    """A final norm, MotionBERT's tanh layer, and linear regressions.

    Args:
        channels: C.
        joint_regression: 'pooled', all 3J coordinates of a frame from the mean over its joints, as in the paper;
            'per_joint', each joint's from its own features, as in MotionBERT; 'kernel', none: the joints become means
            of the input in the window's frames, see `TemporalKernel`.
        with_pose: also regresses the hand's pose. The paper's 45 numbers leave the orientation of the hand open; here
            the wrist's rotation is one of 16.
        pose_regression: 'pooled', from the mean over joints, as in the paper; 'flattened', from the concatenated
            features of all joints, as in MotionBERT for meshes, which small networks need.
        orientation: what the wrist's rotation is relative to: 'palm', the palm's axes in the input motion, so that only
            a change of them is regressed; 'camera', the camera's axes.
        representation: MotionBERT's linear layer with tanh before the regressions.
        num_joints: J; orientation 'palm' needs the common 21.

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
    ) -> None:
        super().__init__()
        check_option('joint_regression', joint_regression, REGRESSIONS)
        check_option('pose_regression', pose_regression, POSE_REGRESSIONS)
        check_option('orientation', orientation, ORIENTATIONS)
        self.channels = channels
        self.joint_regression, self.pose_regression = joint_regression, pose_regression
        self.orientation, self.num_joints = orientation, num_joints
        self.norm = nn.LayerNorm(channels)
        self.representation = nn.Sequential(nn.Linear(channels, channels), nn.Tanh()) if representation else None
        self.joints = self._joint_layer(3 if joint_regression == 'per_joint' else 3 * num_joints)
        pose_channels = channels * (num_joints if pose_regression == 'flattened' else 1)
        self.pose = nn.Linear(pose_channels, NUM_ROTATIONS * 6) if with_pose else None
        if self.pose is not None:
            nn.init.normal_(self.pose.weight, std=0.1 * pose_channels**-0.5)
            identity = torch.tensor([1.0, 0, 0, 0, 1, 0])
            self.pose.bias = nn.Parameter(identity.repeat(NUM_ROTATIONS))

    def _joint_layer(self, outputs: int) -> nn.Module:
        if self.joint_regression == 'kernel':
            return TemporalKernel(self.channels)
        layer = nn.Linear(self.channels, outputs)
        # A refiner that adds to its input starts near it.
        nn.init.normal_(layer.weight, std=1e-3)
        nn.init.zeros_(layer.bias)
        return layer

    @torch.no_grad()
    def start_at_rest(self, rest_joints: Tensor) -> None:
        """Makes an untrained head answer the orientation in which the hand model's palm is aligned with the motion's.

        It does nothing without a pose or with orientation 'camera'.

        Args:
            rest_joints: (J, 3), metres: of the hand model's right hand without rotations.
        """
        # The rows of the palm's axes are the columns of their inverse, which undoes the palm's own rotation at rest.
        if self.orientation == 'palm' and self.pose is not None:
            relative = (rest_joints - rest_joints[:1]).to(self.pose.bias)
            self.pose.bias[:6] = palm_axes(relative)[:2].flatten()

    def forward(self, features: Tensor, motion: Tensor, frame_valid: Tensor | None = None) -> MotionUpdate:
        """Regresses joints and pose.

        Args:
            features: (N, T, J, C).
            motion: (N, T, J, 3), metres, the input motion.
            frame_valid: (N, T) bool, which frames kernels use; None means all.

        Returns:
            joints (N, T, J, 3), metres, and pose (N, T, 16, 6) or None.

        Raises:
            ValueError: shapes that do not fit.
        """
        check_features('features', features, 'N T J C', self.channels)
        features = self.norm(features)
        if self.representation is not None:
            features = self.representation(features)
        pooled = features.mean(2)
        if self.joint_regression == 'kernel':
            joints = (self.joints(features, motion, frame_valid) - motion) / MOTION_UNIT
        elif self.joint_regression == 'per_joint':
            joints = self.joints(features)
        else:
            joints = self.joints(pooled).unflatten(-1, (self.num_joints, 3))
        source = features.flatten(2) if self.pose_regression == 'flattened' else pooled
        pose = None if self.pose is None else self.pose(source).unflatten(-1, (NUM_ROTATIONS, 6))
        if pose is not None and self.orientation == 'palm':
            pose = torch.cat([_rotate(palm_axes(motion), pose[..., :1, :]), pose[..., 1:, :]], dim=-2)
        return MotionUpdate(MOTION_UNIT * joints, pose)


def palm_axes(motion: Tensor) -> Tensor:
    """The palm's axes: from the wrist to between the index and little knuckles, from one to the other, and the normal.

    Args:
        motion: (..., J, 3), joints relative to the wrist.

    Returns:
        (..., 3, 3), the axes in columns; float32 at least.
    """
    with without_autocast(motion):
        motion = at_least_float32(motion)
        index, little = motion[..., 5, :], motion[..., 17, :]  # relative to the wrist
        return rot6d_to_rotmat(torch.cat([index + little, index - little], dim=-1))


def _rotate(axes: Tensor, rot6d: Tensor) -> Tensor:
    """Multiplies both columns of 6D rotations (N, T, 1, 6) by axes (N, T, 3, 3) from the left."""
    with without_autocast(axes):
        columns = rot6d.to(axes.dtype).unflatten(-1, (2, 3)).transpose(-1, -2)  # (N, T, 1, 3, 2)
        return (axes[..., None, :, :] @ columns).transpose(-1, -2).flatten(-2)
