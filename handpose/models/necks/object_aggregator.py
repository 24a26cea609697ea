"""E^PO of G-HTT (Wen et al., section 3.4): one object feature of a clip from those of its frames.

Legend: B clips, T frames, C channels.
"""

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.pre_norm_transformer import PreNormEncoder
from handpose.registry import MODELS


@MODELS.register_module()
class ObjectAggregator(nn.Module):
    """A short transformer whose learned token gathers what the frames say of the object.

    The output is a correction of the mean over frames, so that an untrained aggregator is about that mean.

    Args:
        channels: C, of the features and of the text features they are compared with.
        num_layers: layers (paper: 2).
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: of attention weights, residuals and the feed-forward layers.
    """

    def __init__(
        self,
        channels: int = 512,
        num_layers: int = 2,
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.token = nn.Parameter(torch.randn(1, channels) * 0.02)
        self.encoder = PreNormEncoder(channels, num_layers, num_heads, feedforward_channels, dropout)
        self.out = nn.Linear(channels, channels)
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Aggregates.

        Args:
            features: (B, T, C), of single frames.
            frame_valid: (B, T) bool, frames that have one; None means all.

        Returns:
            (B, C); meaningless for a clip without any valid frame.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('features', features, 'B T C', self.channels)
        check_mask('frame_valid', frame_valid, features.shape[:2], 'B T')
        valid = features.new_ones(features.shape[:2], dtype=torch.bool) if frame_valid is None else frame_valid
        weights = valid[..., None].to(features.dtype)
        mean = (features * weights).sum(1) / weights.sum(1).clamp_min(1)
        tokens = torch.cat([self.token.to(features.dtype).expand(features.shape[0], -1, -1), features], 1)
        valid = torch.cat([valid.new_ones(valid.shape[0], 1), valid], 1)
        return mean + self.out(self.encoder(tokens, valid).features[:, 0])
