"""Deformer's temporal transformer: frame features in context, and one feature of the hand's shape (section 3.1).

Legend: B clips, T frames, C channels.
"""

from typing import NamedTuple

from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.position import POSITIONS_1D, sine_position_1d
from handpose.models.layers.transformer import QueryDecoder, TransformerEncoder
from handpose.registry import MODELS


class TemporalFeatures(NamedTuple):
    """Output of `TemporalTransformer`: features (B, T, C) and shape_feature (B, C)."""

    features: Tensor
    shape_feature: Tensor


@MODELS.register_module()
class TemporalTransformer(nn.Module):
    """Self-attention over the frames of a clip, and a learned query that gathers the hand's shape from all of them.

    Clips may have any length.

    Args:
        channels: C.
        num_layers: layers of the encoder and of the decoder.
        num_heads: attention heads.
        feedforward_channels: hidden size of the transformer layers.
        dropout: dropout in the transformer layers.
        query_self_attention: gives the decoder a self-attention over its single query (the published code).
        query_role: 'input' (the paper) or 'code' (the published code), see `QueryDecoder`.
        position: 'index' or 'cumulative' (the published code), see `sine_position_1d`.

    Raises:
        ValueError: an unknown query_role or position.
    """

    def __init__(
        self,
        channels: int = 256,
        num_layers: int = 3,
        num_heads: int = 8,
        feedforward_channels: int = 256,
        dropout: float = 0.1,
        query_self_attention: bool = False,
        query_role: str = 'input',
        position: str = 'index',
    ) -> None:
        super().__init__()
        check_option('position', position, POSITIONS_1D)
        self.channels = channels
        self.position = position
        self.encoder = TransformerEncoder(channels, num_layers, num_heads, feedforward_channels, dropout)
        self.decoder = QueryDecoder(
            channels,
            num_layers,
            num_heads,
            feedforward_channels,
            dropout,
            self_attention=query_self_attention,
            query_role=query_role,
        )

    def forward(self, features: Tensor, frame_valid: Tensor | None = None) -> TemporalFeatures:
        """Attends over time.

        Args:
            features: (B, T, C).
            frame_valid: (B, T) bool; padding, where it is False, is not attended to, and its output is finite and
                meaningless. None means all.

        Returns:
            features (B, T, C), shape_feature (B, C).

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('features', features, 'B T C', self.channels)
        check_mask('frame_valid', frame_valid, features.shape[:2], 'B T')
        position = sine_position_1d(features.shape[1], features.shape[2], features.device, self.position)
        position = position.to(features.dtype)
        features = self.encoder(features, position, frame_valid)
        shape_feature = self.decoder(features, position, frame_valid).squeeze(1)
        return TemporalFeatures(features, shape_feature)
