"""Pre-norm transformer encoder (HTT, section 3.4): what flows from layer to layer is never normalised, until the end.

Legend: B batch, S tokens, C channels.
"""

from typing import NamedTuple

import torch
from torch import nn

from handpose.models.layers.position import sine_position_1d
from handpose.models.layers.transformer import MultiHeadAttention

POSITIONS = ('per_layer', 'input')


class AttendedTokens(NamedTuple):
    """What attention made of tokens, and the attention weights of the last layer: None unless they were asked for."""

    features: torch.Tensor
    attention: torch.Tensor | None = None


class PreNormEncoder(nn.Module):
    """Self-attention layers over tokens, with a sine code of their places.

    Args:
        channels: C, a multiple of num_heads, even. num_layers, num_heads, feedforward_channels: sizes.
        dropout: dropout of attention weights, residuals and the feed-forward layer.
        position: 'per_layer' adds the code to queries and keys at every layer, never to values (the published code);
            'input' adds it once to the tokens (the original transformer).
        final_norm: normalises what comes out.

    Raises:
        ValueError: an unknown position, or channels that are odd or no multiple of num_heads.
    """

    def __init__(
        self,
        channels: int,
        num_layers: int,
        num_heads: int,
        feedforward_channels: int,
        dropout: float = 0.0,
        position: str = 'per_layer',
        final_norm: bool = True,
    ):
        super().__init__()
        if position not in POSITIONS:
            raise ValueError(f'position must be one of {POSITIONS}, got {position!r}')
        if channels % 2:
            raise ValueError(f'a sine code of places needs an even number of channels, got {channels}')
        self.position = position
        self.layers = nn.ModuleList(
            _PreNormLayer(channels, num_heads, feedforward_channels, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(channels) if final_norm else nn.Identity()

    def forward(
        self, tokens: torch.Tensor, valid: torch.Tensor | None = None, return_attention: bool = False
    ) -> AttendedTokens:
        """Tokens (B, S, C), which of them are seen (B, S) bool -> (B, S, C), and if asked for (B, heads, S, S).

        Where nothing is valid, what comes out is finite and means nothing.
        """
        # In the weights' precision, which under autocast is more than the tokens come in.
        tokens = tokens.to(next((p.dtype for p in self.parameters()), tokens.dtype))
        code = sine_position_1d(tokens.shape[1], tokens.shape[2], tokens.device).to(tokens.dtype)
        if self.position == 'input':
            tokens, code = tokens + code, None
        attention = None
        for i, layer in enumerate(self.layers):
            if return_attention and i == len(self.layers) - 1:
                attention = layer.attention_weights(tokens, code, valid)
            tokens = layer(tokens, code, valid)
        return AttendedTokens(self.norm(tokens), attention)


class _PreNormLayer(nn.Module):
    recomputable = ('forward',)  # under activation checkpointing

    def __init__(self, channels, num_heads, feedforward_channels, dropout):
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = MultiHeadAttention(channels, num_heads, dropout)
        self.dropout = nn.Dropout(dropout)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, feedforward_channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward_channels, channels),
            nn.Dropout(dropout),
        )
        for layer in (self.feedforward[1], self.feedforward[4]):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, tokens, code, valid):
        normed = self.attention_norm(tokens)
        placed = normed if code is None else normed + code
        tokens = tokens + self.dropout(self.attention(placed, placed, normed, valid))
        return tokens + self.feedforward(tokens)

    def attention_weights(self, tokens, code, valid):
        normed = self.attention_norm(tokens)
        placed = normed if code is None else normed + code
        return self.attention.weights(placed, placed, valid)
