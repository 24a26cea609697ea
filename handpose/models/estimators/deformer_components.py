"""What Deformer needs of its components; whatever satisfies these protocols fits.

Legend: N images, B clips, T frames, C channels, J = 21 joints, D numbers of a pose.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from handpose.models.heads import FusedPoses
from handpose.models.necks import SpatialFeatures, TemporalFeatures


class DeformerOutput(NamedTuple):
    """What one forward pass gives. Poses are D = 96 numbers in the head's rotation space."""

    pose: Tensor  # (B, T, D), fused: the result
    frame_pose: Tensor  # (B, T, D), of each frame before fusion
    forward_motion: Tensor  # (B, T, D), from t to t + 1
    backward_motion: Tensor  # (B, T, D), from t to t - 1
    votes: Tensor  # (B, T, T), [:, i, j] the weight of frame i in the result of frame j
    shape: Tensor  # (B, 10), one for the clip
    joints_2d: Tensor  # (B, T, J, 2), in [0, 1] of the box
    monocular_pose: Tensor | None  # (B, T, D), from the frame alone; None without a monocular head
    monocular_shape: Tensor | None  # (B, T, 10), from the frame alone


class FeatureMapBackbone(Protocol):
    """What Deformer needs of a backbone: one map at stride 4 per image."""

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, h, w) -> (N, C, h/4, w/4)."""

    def init_weights(self) -> None:
        """Starts from pretrained weights, if any are configured."""


class FrameTransformer(Protocol):
    """What Deformer needs of its spatial transformer."""

    def __call__(self, features: Tensor) -> SpatialFeatures:
        """(N, C, roi, roi) -> feature (N, C) and 2D joints (N, J, 2) in [0, 1] of the box."""


class ClipTransformer(Protocol):
    """What Deformer needs of its temporal transformer."""

    def __call__(self, features: Tensor, frame_valid: Tensor | None = None) -> TemporalFeatures:
        """(B, T, C), (B, T) bool -> features (B, T, C) and a shape feature (B, C)."""


class FusionHead(Protocol):
    """What Deformer needs of its head.

    Attributes:
        rotation_space: of poses and motions, see `handpose.models.layers.pose_fusion`.
        mode: 'occlusion' for fusion weighted by the visible share of the hand.
    """

    rotation_space: str
    mode: str

    def __call__(self, features: Tensor, frame_valid: Tensor | None, visibility: Tensor | None) -> FusedPoses:
        """(B, T, C), (B, T) bool, (B, T) -> poses, motions and votes."""

    def fused_frames(self, num_frames: int, device: torch.device) -> Tensor:
        """(T,) bool, the frames whose fused pose the head answers for."""


class ParameterHead(Protocol):
    """What Deformer needs of its monocular head."""

    def __call__(self, features: Tensor) -> 'ParameterOutput':
        """(B, T, C) -> pose (B, T, D) and shape (B, T, 10)."""


class ParameterOutput(Protocol):
    """What a monocular head gives."""

    @property
    def pose(self) -> Tensor:
        """(B, T, D)."""

    @property
    def shape(self) -> Tensor | None:
        """(B, T, 10), or None."""
