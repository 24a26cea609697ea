"""Deformer's spatial transformer: from a hand region to one vector, with 2D joints on the way (section 3.1).

Legend: N regions, C channels, J joints, h w the region's size in cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_option
from handpose.models.layers.mlp import MLP
from handpose.models.layers.position import POSITIONS_2D, sine_position_2d
from handpose.models.layers.soft_argmax import soft_argmax_2d
from handpose.models.layers.transformer import QueryDecoder, TransformerEncoder
from handpose.registry import MODELS


class SpatialFeatures(NamedTuple):
    """Output of `SpatialTransformer`.

    feature (N, C); joints_2d (N, J, 2) in [0, 1] of the region, x first, cell centres at +0.5;
    heatmaps (N, J, h, w), each summing to 1.
    """

    feature: Tensor
    joints_2d: Tensor
    heatmaps: Tensor


@MODELS.register_module()
class SpatialTransformer(nn.Module):
    """Encodes a region's cells as tokens, reads joint heatmaps from them, and pools them with one learned query.

    Args:
        channels: C of the region's features.
        num_layers: layers of the encoder and of the decoder.
        num_heads: attention heads.
        feedforward_channels: hidden size of the transformer layers.
        dropout: dropout in the transformer layers.
        num_joints: J.
        heatmap_to_decoder: appends the heatmaps to the decoder's input tokens (the paper). The published code does
            not; it appends the 2D joints to the temporal feature instead.
        query_self_attention: gives the decoder a self-attention over its single query (the published code).
        query_role: 'input' (the paper) or 'code' (the published code), see `QueryDecoder`.
        position: 'cell_centre' or 'cumulative' (the published code), see `sine_position_2d`.
        initial_sharpness: initial value of the learned factor of each joint's heatmap logits before the softmax over
            cells. The published code starts from 1.

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
        num_joints: int = 21,
        heatmap_to_decoder: bool = True,
        query_self_attention: bool = False,
        query_role: str = 'input',
        position: str = 'cell_centre',
        initial_sharpness: float = 10.0,
    ) -> None:
        super().__init__()
        check_option('position', position, POSITIONS_2D)
        self.channels = channels
        self.position = position
        self.encoder = TransformerEncoder(channels, num_layers, num_heads, feedforward_channels, dropout)
        self.heatmap = MLP(channels, (channels, channels, num_joints))
        # Starting sharp: from a flat heatmap, the mean over all cells, hardly any gradient reaches the tokens.
        self.sharpness = nn.Parameter(torch.full((num_joints,), float(initial_sharpness)))
        self.join = nn.Linear(channels + num_joints, channels) if heatmap_to_decoder else None
        self.decoder = QueryDecoder(
            channels,
            num_layers,
            num_heads,
            feedforward_channels,
            dropout,
            self_attention=query_self_attention,
            query_role=query_role,
        )

    def forward(self, region: Tensor) -> SpatialFeatures:
        """Encodes regions.

        Args:
            region: (N, C, h, w).

        Returns:
            feature (N, C), joints_2d (N, J, 2), heatmaps (N, J, h, w).

        Raises:
            ValueError: a shape that does not fit.
        """
        if region.ndim != 4 or region.shape[1] != self.channels:
            raise ValueError(f'region must have the shape (N, {self.channels}, h, w), got {tuple(region.shape)}')
        channels, height, width = region.shape[1:]
        position = sine_position_2d(height, width, channels, region.device, self.position).to(region.dtype)
        tokens = self.encoder(region.flatten(2).transpose(1, 2), position)  # (N, hw, C)
        heatmaps = (self.heatmap(tokens).float() * self.sharpness).softmax(dim=1)  # (N, hw, J)
        memory = tokens
        if self.join is not None:
            memory = self.join(torch.cat([tokens, heatmaps.to(tokens.dtype)], dim=-1))
        feature = self.decoder(memory, position).squeeze(1)
        heatmaps = heatmaps.transpose(1, 2).unflatten(2, (height, width))
        return SpatialFeatures(feature, soft_argmax_2d(heatmaps), heatmaps)
