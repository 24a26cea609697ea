"""Pre-norm transformer encoder (HTT, section 3.4): the residual stream is only normalised at its end.

Legend: B batch, S tokens, C channels.
"""

from typing import NamedTuple

from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.position import sine_position_1d
from handpose.models.layers.transformer import MultiHeadAttention
from handpose.registry import MODELS

POSITIONS = ('per_layer', 'input', 'none')


class AttendedTokens(NamedTuple):
    """Tokens after attention, and the attention weights of the last layer: None unless they were asked for."""

    features: Tensor
    attention: Tensor | None = None


@MODELS.register_module()
class PreNormEncoder(nn.Module):
    """Self-attention layers over tokens, with a sine encoding of their positions.

    Args:
        channels: C, even and a multiple of num_heads.
        num_layers: number of layers.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: dropout of attention weights, residuals and the feed-forward layer.
        position: 'per_layer' adds the encoding to queries and keys at every layer, never to values (the published
            code); 'input' adds it once to the tokens (the original transformer); 'none' adds nothing, for tokens that
            hold their positions already.
        final_norm: normalises the output.
        causal: a token attends to itself and those before it alone.

    Raises:
        ValueError: an unknown position, or channels that are odd or not a multiple of num_heads.
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
        causal: bool = False,
    ) -> None:
        super().__init__()
        check_option('position', position, POSITIONS)
        if channels % 2:
            raise ValueError(f'a sine position encoding needs an even number of channels, got {channels}')
        self.channels = channels
        self.position = position
        self.causal = causal
        self.layers = nn.ModuleList(
            _PreNormLayer(channels, num_heads, feedforward_channels, dropout, causal) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(channels) if final_norm else nn.Identity()

    def forward(self, tokens: Tensor, valid: Tensor | None = None, return_attention: bool = False) -> AttendedTokens:
        """Runs the layers.

        Args:
            tokens: (B, S, C).
            valid: (B, S) bool; tokens where it is False are not attended to. Their own output, and that of a row
                without any valid token, is finite and meaningless. A causal encoder takes None.
            return_attention: also returns the attention weights of the last layer, for which its scores are computed
                a second time. A causal encoder has none to return.

        Returns:
            features (B, S, C), and attention (B, heads, S, S) or None.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit, or a mask or attention weights asked of a causal encoder.
        """
        if self.causal and (valid is not None or return_attention):
            raise ValueError('a causal encoder takes no mask (put padding at the end) and returns no attention weights')
        check_features('tokens', tokens, 'B S C', self.channels)
        check_mask('valid', valid, tokens.shape[:2], 'B S')
        # In the precision of the weights, which under autocast is higher than that of the incoming tokens.
        tokens = tokens.to(next((p.dtype for p in self.parameters()), tokens.dtype))
        encoding = sine_position_1d(tokens.shape[1], tokens.shape[2], tokens.device).to(tokens.dtype)
        if self.position == 'input':
            tokens = tokens + encoding
        layer_encoding = encoding if self.position == 'per_layer' else None
        attention = None
        for i, layer in enumerate(self.layers):
            with_weights = return_attention and i == len(self.layers) - 1
            tokens, attention = layer(tokens, layer_encoding, valid, with_weights)
        return AttendedTokens(self.norm(tokens), attention)


class _PreNormLayer(nn.Module):
    recomputable = ('forward',)  # under activation checkpointing

    def __init__(
        self, channels: int, num_heads: int, feedforward_channels: int, dropout: float, causal: bool = False
    ) -> None:
        super().__init__()
        self.causal = causal
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = MultiHeadAttention(channels, num_heads, dropout)
        self.dropout = nn.Dropout(dropout)
        first, second = nn.Linear(channels, feedforward_channels), nn.Linear(feedforward_channels, channels)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(channels), first, nn.ReLU(), nn.Dropout(dropout), second, nn.Dropout(dropout)
        )
        for layer in (first, second):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self, tokens: Tensor, encoding: Tensor | None, valid: Tensor | None, with_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """(B, S, C), (S, C), (B, S) bool -> (B, S, C), and if asked for the weights (B, heads, S, S)."""
        normed = self.attention_norm(tokens)
        positioned = normed if encoding is None else normed + encoding
        weights = self.attention.weights(positioned, positioned, valid) if with_weights else None
        tokens = tokens + self.dropout(self.attention(positioned, positioned, normed, valid, self.causal))
        return tokens + self.feedforward(tokens), weights
