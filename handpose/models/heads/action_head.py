"""The action of a clip: HTT's action block A and its classifier (section 3.3, Eq. 6).

Legend: B clips, T frames, C channels, A actions.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from handpose.models.layers.pre_norm_transformer import PreNormEncoder
from handpose.registry import MODELS


class ActionLogits(NamedTuple):
    """What `ActionHead` returns: logits (B, A), and attention (B, heads, T), or None unless it was asked for."""

    logits: torch.Tensor
    attention: torch.Tensor | None = None


@MODELS.register_module()
class ActionHead(nn.Module):
    """A learned token that gathers the action from all frames of a clip, by a pre-norm encoder, and its classifier.

    Args:
        channels: C, even and a multiple of num_heads. num_actions: A.
        num_layers, num_heads, feedforward_channels, dropout, position: of the encoder, see `WindowedTransformer`. The
            learned token has place 0, the frames have places 1 to T.

    Raises:
        ValueError: an unknown position, or channels that are odd or no multiple of num_heads.
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
    ):
        super().__init__()
        self.num_actions = num_actions
        self.token = nn.Parameter(torch.randn(channels))
        self.encoder = PreNormEncoder(channels, num_layers, num_heads, feedforward_channels, dropout, position)
        self.classifier = nn.Linear(channels, num_actions)

    def forward(
        self, tokens: torch.Tensor, frame_valid: torch.Tensor | None = None, return_attention: bool = False
    ) -> ActionLogits:
        """Tokens (B, T, C), frame_valid (B, T) bool -> `ActionLogits`.

        Frames that are not valid are not seen. The attention is that of the learned token to the frames in the last
        layer; the rest up to 1 it gives to itself.
        """
        learned = self.token.to(tokens.dtype).expand(len(tokens), 1, -1)
        valid = None if frame_valid is None else F.pad(frame_valid, (1, 0), value=True)
        attended, attention = self.encoder(torch.cat([learned, tokens], 1), valid, return_attention)  # (B, 1 + T, C)
        return ActionLogits(self.classifier(attended[:, 0]), None if attention is None else attention[:, :, 0, 1:])
