"""Deformer's dynamic fusion module: poses, motions and confidences of all frames, fused (section 3.1, Eq. 1 to 3).

Legend: B clips, T frames, C channels, D numbers of a pose.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.heads.hand_regression_head import linear_from
from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.mlp import MLP
from handpose.models.layers.pose_fusion import average_poses, deform_poses, fusion_weights, identity_pose
from handpose.registry import MODELS

MODES = ('dynamic', 'average', 'occlusion', 'centre')
TARGETS = ('all', 'centre')


class FusedPoses(NamedTuple):
    """Output of `DynamicFusionHead`.

    pose, forward_motion, backward_motion (B, T, D): predictions of the single frames; confidence (B, T): before the
    softmax; weights (B, T, T): `[:, i, j]` the weight of frame i in frame j; fused_pose (B, T, D).
    """

    pose: Tensor
    forward_motion: Tensor
    backward_motion: Tensor
    confidence: Tensor
    weights: Tensor
    fused_pose: Tensor


@MODELS.register_module()
class DynamicFusionHead(nn.Module):
    """Predicts each frame's pose, its motion to both neighbours and its confidence, and fuses over the clip.

    Args:
        in_channels: C; 256, or 298 when 2D joints are appended to the feature (the published code).
        hidden_channels: sizes of the trunk's layers (leaky ReLU after each).
        rotation_space: how a motion is represented, see `handpose.models.layers.pose_fusion`.
        mode: how frames are weighted (the rows of the paper's fusion ablation): 'dynamic' by learned confidence,
            'average' equally, 'occlusion' by the visible fraction of the hand that `forward` is given, 'centre' each
            frame by itself, which is no fusion.
        targets: 'all' fuses every frame (the paper); 'centre' only frame T // 2 and leaves the others their own
            prediction (the published code).
        distance_discount: learns how much to reduce confidence per frame of distance; ours, not in the paper.

    Raises:
        ValueError: an unknown mode, targets or rotation space.
    """

    def __init__(
        self,
        in_channels: int = 256,
        hidden_channels: Sequence[int] = (1024, 512),
        rotation_space: str = 'rot6d_add',
        mode: str = 'dynamic',
        targets: str = 'all',
        distance_discount: bool = False,
    ) -> None:
        super().__init__()
        check_option('mode', mode, MODES)
        check_option('targets', targets, TARGETS)
        initial_pose = identity_pose(rotation_space)
        no_motion = initial_pose if rotation_space == 'so3_compose' else torch.zeros_like(initial_pose)
        hidden = hidden_channels[-1]
        self.in_channels = in_channels
        self.rotation_space = rotation_space
        self.mode = mode
        self.targets = targets
        self.trunk = MLP(in_channels, hidden_channels, 'leaky_relu', activate_last=True)
        self.pose = linear_from(hidden, initial_pose)
        self.forward_motion = linear_from(hidden, no_motion)
        self.backward_motion = linear_from(hidden, no_motion)
        # No bias: the softmax over frames would ignore it.
        self.confidence = nn.Linear(hidden, 1, bias=False) if mode == 'dynamic' else None
        self.discount = nn.Parameter(torch.tensor(-2.0)) if distance_discount else None

    def forward(
        self, features: Tensor, frame_valid: Tensor | None = None, visibility: Tensor | None = None
    ) -> FusedPoses:
        """Predicts and fuses.

        Args:
            features: (B, T, C).
            frame_valid: (B, T) bool; padding has weight 0. None means all.
            visibility: (B, T), visible fraction of the hand from 0 to 1, read in mode 'occlusion' only, where weights
                are proportional to it; an unknown value (NaN) is replaced by the mean of the clip's known ones.

        Returns:
            `FusedPoses`, float32 at least.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit, or mode 'occlusion' without visibility.
        """
        check_features('features', features, 'B T C', self.in_channels)
        check_mask('frame_valid', frame_valid, features.shape[:2], 'B T')
        hidden = self.trunk(features)
        pose, forward, backward = (
            layer(hidden).float() for layer in (self.pose, self.forward_motion, self.backward_motion)
        )
        confidence = self._confidence(hidden, visibility, frame_valid)
        discount = None if self.discount is None else F.softplus(self.discount)
        weights = self._restrict_to_targets(fusion_weights(confidence, frame_valid, discount))
        deformed = deform_poses(pose, forward, backward, self.rotation_space)
        fused = average_poses(deformed, weights, self.rotation_space)
        return FusedPoses(pose, forward, backward, confidence, weights, fused)

    def fused_frames(self, num_frames: int, device: torch.device | str | None = None) -> Tensor:
        """The frames whose `fused_pose` is fused; the others keep their own pose.

        Args:
            num_frames: T.
            device: of the result.

        Returns:
            (T,) bool.
        """
        if self.targets == 'all':
            return torch.ones(num_frames, dtype=torch.bool, device=device)
        return torch.arange(num_frames, device=device) == num_frames // 2

    def _confidence(self, hidden: Tensor, visibility: Tensor | None, frame_valid: Tensor | None) -> Tensor:
        if self.confidence is not None:
            return self.confidence(hidden).squeeze(-1).float()
        if self.mode == 'occlusion':
            if visibility is None:
                raise ValueError(
                    "mode 'occlusion' needs the visible fraction of the hand in each frame: visibility (B, T)"
                )
            return _fill_unknown(visibility.float(), frame_valid).clamp(1e-3, 1).log()
        return hidden.new_zeros(hidden.shape[:2], dtype=torch.float32)

    def _restrict_to_targets(self, weights: Tensor) -> Tensor:
        """Gives the frames that are not fused a weight of 1 in themselves."""
        num_frames = weights.shape[1]
        own = torch.eye(num_frames, dtype=weights.dtype, device=weights.device)
        if self.mode == 'centre':
            return own.expand_as(weights)
        if self.targets == 'centre':
            return torch.where(self.fused_frames(num_frames, weights.device), weights, own)
        return weights


def _fill_unknown(visibility: Tensor, frame_valid: Tensor | None) -> Tensor:
    """Visibility (B, T) with NaN replaced by the mean of a clip's known valid frames; 1 where none is known."""
    unknown = visibility.isnan()
    known = ~unknown if frame_valid is None else ~unknown & frame_valid
    total = torch.where(known, visibility, 0.0).sum(1, keepdim=True)
    count = known.sum(1, keepdim=True)
    mean = torch.where(count > 0, total / count.clamp_min(1), torch.ones_like(total))
    return torch.where(unknown, mean, visibility)
