"""Deformer's temporal transformer: frame features that know of each other, and one feature of the hand's shape."""

from typing import NamedTuple

import torch
from torch import nn

from handpose.models.layers.position import POSITIONS_1D, sine_position_1d
from handpose.models.layers.transformer import QueryDecoder, TransformerEncoder
from handpose.registry import MODELS


class TemporalFeatures(NamedTuple):
    """What `TemporalTransformer` returns: features (B, T, C) and shape_feature (B, C)."""

    features: torch.Tensor
    shape_feature: torch.Tensor


@MODELS.register_module()
class TemporalTransformer(nn.Module):
    """Self-attention over the frames of a clip, and a learned query that gathers the hand's shape from all of them.

    Clips may have any length. Frames that are padding are never attended to; what comes out at them is finite
    and means nothing (Deformer, section 3.1).

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
    ):
        super().__init__()
        if position not in POSITIONS_1D:
            raise ValueError(f'position must be one of {", ".join(map(repr, POSITIONS_1D))}, got {position!r}')
        self.position = position
        sizes = (channels, num_layers, num_heads, feedforward_channels, dropout)
        self.encoder = TransformerEncoder(*sizes)
        self.decoder = QueryDecoder(*sizes, self_attention=query_self_attention, query_role=query_role)

    def forward(self, features: torch.Tensor, frame_valid: torch.Tensor | None = None) -> TemporalFeatures:
        """Frame features (B, T, C) and frame_valid (B, T) bool -> features (B, T, C), shape_feature (B, C)."""
        position = sine_position_1d(features.shape[1], features.shape[2], features.device, self.position)
        position = position.to(features.dtype)
        features = self.encoder(features, position, frame_valid)
        shape_feature = self.decoder(features, position, frame_valid).squeeze(1)
        return TemporalFeatures(features, shape_feature)
