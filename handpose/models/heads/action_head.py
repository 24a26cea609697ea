"""The action of a clip: HTT's action block A and its classifier (section 3.3, Eq. 6).

Legend: B clips, T frames, C channels, A actions.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.pre_norm_transformer import PreNormEncoder
from handpose.registry import MODELS


class ActionLogits(NamedTuple):
    """Output of `ActionHead`: logits (B, A), and attention (B, heads, T), or None unless it was asked for."""

    logits: Tensor
    attention: Tensor | None = None


@MODELS.register_module()
class ActionHead(nn.Module):
    """A learned token that gathers the action from all frames of a clip, by a pre-norm encoder, and its classifier.

    The learned token has position 0, the frames have positions 1 to T.

    Args:
        channels: C, even and a multiple of num_heads.
        num_actions: A.
        num_layers: layers of the encoder.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: dropout of attention weights, residuals and the feed-forward layer.
        position: 'per_layer' or 'input', see `PreNormEncoder`.

    Raises:
        ValueError: an unknown position, or channels that are odd or not a multiple of num_heads.
    """

    def __init__(
        self,
        channels: int = 512,
        num_actions: int = 36,
        num_layers: int = 2,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        dropout: float = 0.0,
        position: str = 'per_layer',
    ) -> None:
        super().__init__()
        self.channels, self.num_actions = channels, num_actions
        self.token = nn.Parameter(torch.randn(channels))
        self.encoder = PreNormEncoder(channels, num_layers, num_heads, feedforward_channels, dropout, position)
        self.classifier = nn.Linear(channels, num_actions)

    def forward(
        self, tokens: Tensor, frame_valid: Tensor | None = None, return_attention: bool = False
    ) -> ActionLogits:
        """Classifies clips.

        Args:
            tokens: (B, T, C).
            frame_valid: (B, T) bool; frames where it is False are not attended to. None means all.
            return_attention: also returns the attention of the learned token to the frames in the last layer; the rest
                up to 1 is its attention to itself.

        Returns:
            logits (B, A), and attention (B, heads, T) or None.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('tokens', tokens, 'B T C', self.channels)
        check_mask('frame_valid', frame_valid, tokens.shape[:2], 'B T')
        learned = self.token.to(tokens.dtype).expand(tokens.shape[0], 1, -1)
        valid = None if frame_valid is None else F.pad(frame_valid, (1, 0), value=True)
        attended, attention = self.encoder(torch.cat([learned, tokens], 1), valid, return_attention)  # (B, 1 + T, C)
        return ActionLogits(self.classifier(attended[:, 0]), None if attention is None else attention[:, :, 0, 1:])
