"""Deformer's dynamic fusion module: poses, motions and confidences of all frames, fused (section 3.1, Eq. 1 to 3)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from handpose.models.heads.hand_regression_head import linear_from
from handpose.models.layers.mlp import MLP
from handpose.models.layers.pose_fusion import average_poses, deform_poses, fusion_weights, identity_pose
from handpose.registry import MODELS

MODES = ('dynamic', 'average', 'occlusion', 'centre')


class FusedPoses(NamedTuple):
    """What `DynamicFusionHead` returns.

    pose, forward_motion, backward_motion (B, T, D): predictions of the single frames; confidence (B, T): their
    votes before the softmax; weights (B, T, T): `[:, i, j]` the vote of frame i in frame j; fused_pose (B, T, D).
    """

    pose: torch.Tensor
    forward_motion: torch.Tensor
    backward_motion: torch.Tensor
    confidence: torch.Tensor
    weights: torch.Tensor
    fused_pose: torch.Tensor


@MODELS.register_module()
class DynamicFusionHead(nn.Module):
    """Predicts each frame's pose, its motion to both neighbours and its confidence, and fuses over the clip.

    Args:
        in_channels: C; 256, or 298 when 2D joints are appended to the feature (the published code).
        hidden_channels: sizes of the trunk's layers (leaky ReLU after each).
        rotation_space: what a motion is, see `handpose.models.layers.pose_fusion`.
        mode: who votes how (the rows of the paper's fusion ablation): 'dynamic' by learned confidence,
            'average' all alike, 'occlusion' by the visible share that `forward` is given, 'centre' each frame
            for itself alone, which is no fusion.
        targets: 'all' fuses every frame (the paper); 'centre' only frame T // 2 and leaves the others their own
            prediction (the published code).
        distance_discount: learns to take confidence off per frame of distance; ours, not in the paper.

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
    ):
        super().__init__()
        if mode not in MODES:
            raise ValueError(f'mode must be one of {", ".join(MODES)}, got {mode!r}')
        if targets not in ('all', 'centre'):
            raise ValueError(f"targets must be 'all' or 'centre', got {targets!r}")
        start = identity_pose(rotation_space)
        still = start if rotation_space == 'so3_compose' else torch.zeros_like(start)
        hidden = hidden_channels[-1]
        self.rotation_space = rotation_space
        self.mode = mode
        self.targets = targets
        self.trunk = MLP(in_channels, hidden_channels, 'leaky_relu', activate_last=True)
        self.pose = linear_from(hidden, start)
        self.forward_motion = linear_from(hidden, still)
        self.backward_motion = linear_from(hidden, still)
        # No bias: the softmax over frames would not see it.
        self.confidence = nn.Linear(hidden, 1, bias=False) if mode == 'dynamic' else None
        self.discount = nn.Parameter(torch.tensor(-2.0)) if distance_discount else None

    def forward(
        self,
        features: torch.Tensor,
        frame_valid: torch.Tensor | None = None,
        visibility: torch.Tensor | None = None,
    ) -> FusedPoses:
        """Predicts and fuses.

        Args:
            features: (B, T, C).
            frame_valid: (B, T) bool; padding has no vote.
            visibility: (B, T), visible share of the hand from 0 to 1, read in mode 'occlusion' alone, where votes
                are proportional to it; an unknown share (NaN) counts as the mean of the clip's known ones.

        Raises:
            ValueError: mode 'occlusion' without visibility.
        """
        hidden = self.trunk(features)
        pose, forward, backward = (
            layer(hidden).float() for layer in (self.pose, self.forward_motion, self.backward_motion)
        )
        confidence = self._confidence(hidden, visibility, frame_valid)
        discount = None if self.discount is None else F.softplus(self.discount)
        weights = self._own_votes(fusion_weights(confidence, frame_valid, discount))
        deformed = deform_poses(pose, forward, backward, self.rotation_space)
        fused = average_poses(deformed, weights, self.rotation_space)
        return FusedPoses(pose, forward, backward, confidence, weights, fused)

    def fused_frames(self, num_frames: int, device: torch.device | str | None = None) -> torch.Tensor:
        """(T,) bool: the frames whose `fused_pose` the head answers for; the others keep their own pose."""
        if self.targets == 'all':
            return torch.ones(num_frames, dtype=torch.bool, device=device)
        return torch.arange(num_frames, device=device) == num_frames // 2

    def _confidence(self, hidden, visibility, frame_valid):
        if self.mode == 'dynamic':
            return self.confidence(hidden).squeeze(-1).float()
        if self.mode == 'occlusion':
            if visibility is None:
                raise ValueError(
                    "mode 'occlusion' needs the visible share of the hand in each frame: visibility (B, T)"
                )
            return _fill_unknown(visibility.float(), frame_valid).clamp(1e-3, 1).log()
        return hidden.new_zeros(hidden.shape[:2], dtype=torch.float32)

    def _own_votes(self, weights):
        """Gives the targets that are not fused to their own frame."""
        num_frames = weights.shape[1]
        own = torch.eye(num_frames, dtype=weights.dtype, device=weights.device)
        if self.mode == 'centre':
            return own.expand_as(weights)
        if self.targets == 'centre':
            return torch.where(self.fused_frames(num_frames, weights.device), weights, own)
        return weights


def _fill_unknown(visibility, frame_valid):
    """Visibility (B, T) with the mean of a clip's known valid frames in place of NaN; 1 where none is known."""
    unknown = visibility.isnan()
    known = ~unknown if frame_valid is None else ~unknown & frame_valid
    total = torch.where(known, visibility, 0.0).sum(1, keepdim=True)
    count = known.sum(1, keepdim=True)
    mean = torch.where(count > 0, total / count.clamp_min(1), torch.ones_like(total))
    return torch.where(unknown, mean, visibility)
