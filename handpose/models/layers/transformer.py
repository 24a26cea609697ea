"""Post-norm transformer layers in the manner of DETR: the position encoding joins queries and keys at every layer.

Legend: B batch, L queries, S tokens, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.precision import without_autocast
from handpose.registry import MODELS

QUERY_ROLES = ('input', 'code')


@MODELS.register_module()
class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with separate query, key and value.

    Args:
        channels: C, a multiple of num_heads.
        num_heads: number of heads.
        dropout: dropout of the attention weights in training.

    Raises:
        ValueError: channels is not a multiple of num_heads.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'channels must be a multiple of num_heads, got {channels} and {num_heads}')
        self.channels = channels
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(channels, channels)
        # Softmax ignores a constant added to every key's score, so a key bias would never get a gradient.
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_valid: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Attends.

        Args:
            query: (B, L, C).
            key: (B, S, C).
            value: (B, S, C).
            key_valid: (B, S) bool; keys where it is False are not attended to. A row without any valid key attends to
                all of them, so that its output is finite; the caller ignores it.
            causal: query i attends to keys 0 to i alone; takes no key_valid, since padding at the end is out of sight.

        Returns:
            (B, L, C).

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit, or causal attention with key_valid.
        """
        check_features('value', value, 'B S C', self.channels)
        if causal and key_valid is not None:
            raise ValueError('causal attention takes no key_valid: put padding at the end, and ignore its output')
        mask = self._attention_mask(query, key, key_valid)
        q, k, v = (
            self._split_heads(layer, x) for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        out = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0, is_causal=causal)
        return self.out(out.transpose(1, 2).flatten(2))

    def weights(self, query: Tensor, key: Tensor, key_valid: Tensor | None = None) -> Tensor:
        """The attention weights of `forward`, whose kernel does not return them.

        Args:
            query: (B, L, C).
            key: (B, S, C).
            key_valid: (B, S) bool, as in `forward`.

        Returns:
            (B, heads, L, S), float32 at least.
        """
        mask = self._attention_mask(query, key, key_valid)
        q, k = self._split_heads(self.query, query), self._split_heads(self.key, key)
        dtype = torch.promote_types(q.dtype, torch.float32)
        with without_autocast(q):
            scores = q.to(dtype) @ k.to(dtype).transpose(-1, -2) / q.shape[-1] ** 0.5
        return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)

    def _split_heads(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """(B, L, C) -> (B, heads, L, C / heads)."""
        return layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _attention_mask(self, query: Tensor, key: Tensor, key_valid: Tensor | None) -> Tensor | None:
        """The keys to attend to, (B, 1, 1, S): all of them in a row that has no valid one."""
        check_features('query', query, 'B L C', self.channels)
        check_features('key', key, 'B S C', self.channels)
        check_mask('key_valid', key_valid, key.shape[:2], 'B S')
        if key_valid is None:
            return None
        return (key_valid | ~key_valid.any(dim=1, keepdim=True))[:, None, None, :]


class _FeedForward(nn.Module):
    """The residual two-layer MLP at the end of a transformer layer."""

    def __init__(self, channels: int, hidden_channels: int, dropout: float) -> None:
        super().__init__()
        first, second = nn.Linear(channels, hidden_channels), nn.Linear(hidden_channels, channels)
        self.layers = nn.Sequential(first, nn.ReLU(), nn.Dropout(dropout), second)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)
        for layer in (first, second):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, C) -> (B, S, C)."""
        return self.norm(x + self.dropout(self.layers(x)))


class _EncoderLayer(nn.Module):
    recomputable = ('forward',)  # under activation checkpointing

    def __init__(self, channels: int, num_heads: int, feedforward_channels: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(channels, num_heads, dropout)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)
        self.feedforward = _FeedForward(channels, feedforward_channels, dropout)

    def forward(self, x: Tensor, position: Tensor | None, key_valid: Tensor | None) -> Tensor:
        """(B, S, C), (S, C) or (B, S, C), (B, S) bool -> (B, S, C)."""
        positioned = _add_position(x, position)
        x = self.norm(x + self.dropout(self.attention(positioned, positioned, x, key_valid)))
        return self.feedforward(x)


class _DecoderLayer(nn.Module):
    recomputable = ('forward',)  # under activation checkpointing

    def __init__(
        self, channels: int, num_heads: int, feedforward_channels: int, dropout: float, self_attention: bool
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(channels, num_heads, dropout) if self_attention else None
        self.self_norm = nn.LayerNorm(channels) if self_attention else None
        self.cross_attention = MultiHeadAttention(channels, num_heads, dropout)
        self.cross_norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.feedforward = _FeedForward(channels, feedforward_channels, dropout)

    def forward(
        self,
        x: Tensor,
        query_code: Tensor | None,
        memory: Tensor,
        positioned_memory: Tensor,
        key_valid: Tensor | None,
    ) -> Tensor:
        """(B, L, C), (B, L, C), (B, S, C) without and with positions, (B, S) bool -> (B, L, C)."""
        if self.self_attention is not None and self.self_norm is not None:
            query = _add_position(x, query_code)
            x = self.self_norm(x + self.dropout(self.self_attention(query, query, x)))
        query = _add_position(x, query_code)
        x = self.cross_norm(x + self.dropout(self.cross_attention(query, positioned_memory, memory, key_valid)))
        return self.feedforward(x)


def _add_position(x: Tensor, position: Tensor | None) -> Tensor:
    return x if position is None else x + position


@MODELS.register_module()
class TransformerEncoder(nn.Module):
    """Self-attention layers over tokens; without any layer it returns its input.

    Args:
        channels: C.
        num_layers: number of layers.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: dropout of attention weights, residuals and the feed-forward layer.
    """

    def __init__(
        self, channels: int, num_layers: int, num_heads: int, feedforward_channels: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.ModuleList(
            _EncoderLayer(channels, num_heads, feedforward_channels, dropout) for _ in range(num_layers)
        )

    def forward(self, tokens: Tensor, position: Tensor | None = None, key_valid: Tensor | None = None) -> Tensor:
        """Runs the layers.

        Args:
            tokens: (B, S, C).
            position: position encoding, (S, C) or (B, S, C), added to queries and keys.
            key_valid: (B, S) bool; tokens where it is False are not attended to.

        Returns:
            (B, S, C).

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('tokens', tokens, 'B S C', self.channels)
        check_mask('key_valid', key_valid, tokens.shape[:2], 'B S')
        for layer in self.layers:
            tokens = layer(tokens, position, key_valid)
        return tokens


@MODELS.register_module()
class QueryDecoder(nn.Module):
    """Learned queries that gather what they need from a memory by cross-attention, with a final norm.

    Args:
        channels: C.
        num_layers: number of layers.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: as in `TransformerEncoder`.
        num_queries: L.
        self_attention: whether queries also attend to each other. With one query that is only a linear layer
            whose query and key weights never learn, so it is off unless a published layout asks for it.
        query_role: what the learned query is: 'input', the input of the first layer, which all layers change
            (Deformer's paper); or 'code', a position encoding that every layer adds to its queries, while the input of
            the first layer is zero (DETR, and Deformer's published code).

    Raises:
        ValueError: an unknown query_role.
    """

    def __init__(
        self,
        channels: int,
        num_layers: int,
        num_heads: int,
        feedforward_channels: int,
        dropout: float = 0.1,
        num_queries: int = 1,
        self_attention: bool = False,
        query_role: str = 'input',
    ) -> None:
        super().__init__()
        check_option('query_role', query_role, QUERY_ROLES)
        self.channels = channels
        self.query_role = query_role
        self.query = nn.Parameter(torch.randn(num_queries, channels))
        self.layers = nn.ModuleList(
            _DecoderLayer(channels, num_heads, feedforward_channels, dropout, self_attention) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, memory: Tensor, position: Tensor | None = None, key_valid: Tensor | None = None) -> Tensor:
        """Decodes the queries.

        Args:
            memory: (B, S, C).
            position: position encoding of the memory, (S, C) or (B, S, C), added to keys.
            key_valid: (B, S) bool; tokens where it is False are not attended to.

        Returns:
            (B, L, C).

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('memory', memory, 'B S C', self.channels)
        check_mask('key_valid', key_valid, memory.shape[:2], 'B S')
        positioned_memory = _add_position(memory, position)
        query = self.query.expand(memory.shape[0], -1, -1)
        x, code = (query, None) if self.query_role == 'input' else (torch.zeros_like(query), query)
        for layer in self.layers:
            x = layer(x, code, memory, positioned_memory, key_valid)
        return self.norm(x)
