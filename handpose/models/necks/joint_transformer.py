"""A transformer on the joint sequences of hands: HTT's blocks P and A (Wen et al., CVPR 2023) on poses alone.

Legend: B sequences, T frames, H hands, J joints, C channels.
"""

import torch
from torch import Tensor, nn

from handpose.hands.joints import joint_order as joints_of
from handpose.models.heads.action_head import ActionHead
from handpose.models.layers.checks import check_features, check_mask
from handpose.models.necks.windowed_transformer import WindowedTransformer
from handpose.registry import MODELS


@MODELS.register_module()
class JointTransformer(nn.Module):
    """Encodes joint sequences of hands to one feature, with all joints of a frame as one token: in place of `MSG3D`.

    `WindowedTransformer` mixes neighbouring frames, and the learned token of `ActionHead`, whose last linear layer
    gives the feature, gathers all of them.

    Args:
        channels: C, even and a multiple of num_heads.
        num_hands: H.
        num_coordinates: of a joint.
        joint_order: a key of `handpose.hands.JOINT_ORDERS`, the order of the joints.
        num_layers: of each of the two blocks.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        window: frames of a window, see `WindowedTransformer`.
        dropout: of attention weights, residuals and the feed-forward layers.

    Raises:
        ValueError: options that do not fit.
    """

    def __init__(
        self,
        channels: int = 256,
        num_hands: int = 2,
        num_coordinates: int = 3,
        joint_order: str = 'common',
        num_layers: int = 2,
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        window: int | None = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.joint_order, self.out_channels = joint_order, channels
        self.shape = (num_hands, len(joints_of(joint_order)), num_coordinates)
        size = num_hands * len(joints_of(joint_order)) * num_coordinates
        self.input_norm = nn.BatchNorm1d(size)
        self.embed = nn.Linear(size, channels)
        self.block = WindowedTransformer(channels, num_layers, num_heads, feedforward_channels, window, dropout)
        self.head = ActionHead(channels, channels, num_layers, num_heads, feedforward_channels, dropout)

    def forward(self, points: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Encodes sequences.

        Args:
            points: (B, T, H, J, coordinates), zeros where missing.
            frame_valid: (B, T) bool, False in padding, which is not attended to; None means all.

        Returns:
            (B, C).

        Raises:
            TypeError: the mask is not bool.
            ValueError: a shape that does not fit.
        """
        check_features('points', points, 'B T H J coordinates')
        check_mask('frame_valid', frame_valid, points.shape[:2], 'B T')
        if points.shape[2:] != torch.Size(self.shape):
            raise ValueError(f'points must be (B, T, {", ".join(map(str, self.shape))}), got {tuple(points.shape)}')
        tokens = self.input_norm(points.flatten(0, 1).flatten(1)).view(*points.shape[:2], -1)
        tokens = self.block(self.embed(tokens), frame_valid).features  # (B, T, C)
        return self.head(tokens, frame_valid).logits
