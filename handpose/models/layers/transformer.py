"""Post-norm transformer layers in the manner of DETR: the position code joins queries and keys at every layer.

Legend: B batch, L queries, S tokens, C channels.
"""

import torch
from torch import nn
from torch.nn import functional as F

from handpose.models.layers.precision import without_autocast

QUERY_ROLES = ('input', 'code')


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with separate query, key and value.

    Args:
        channels: C, a multiple of num_heads.
        num_heads: number of heads.
        dropout: dropout of the attention weights in training.

    Raises:
        ValueError: channels is not a multiple of num_heads.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'channels must be a multiple of num_heads, got {channels} and {num_heads}')
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(channels, channels)
        # Softmax does not see a constant added to every key's score, so a key bias would never get a gradient.
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_valid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, L, C), (B, S, C), (B, S, C), (B, S) bool -> (B, L, C).

        Keys where `key_valid` is False are not seen. A row without any valid key sees all of them, so that its
        output is finite; the caller ignores it.
        """
        q, k, v = self._heads(self.query, query), self._heads(self.key, key), self._heads(self.value, value)
        out = F.scaled_dot_product_attention(q, k, v, _visible(key_valid), self.dropout if self.training else 0.0)
        return self.out(out.transpose(1, 2).flatten(2))

    def weights(self, query: torch.Tensor, key: torch.Tensor, key_valid: torch.Tensor | None = None) -> torch.Tensor:
        """The weights (B, heads, L, S), float32 at least, that `forward` gives the keys: its kernel writes none."""
        q, k = self._heads(self.query, query), self._heads(self.key, key)
        visible, dtype = _visible(key_valid), torch.promote_types(q.dtype, torch.float32)
        with without_autocast(q):
            scores = q.to(dtype) @ k.to(dtype).transpose(-1, -2) / q.shape[-1] ** 0.5
        return (scores if visible is None else scores.masked_fill(~visible, -torch.inf)).softmax(-1)

    def _heads(self, layer, x):
        """(B, L, C) -> (B, heads, L, C / heads)."""
        return layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _visible(key_valid):
    """Which keys attention sees, (B, 1, 1, S): all of them in a row that has no valid one."""
    if key_valid is None:
        return None
    return (key_valid | ~key_valid.any(dim=1, keepdim=True))[:, None, None, :]


class _FeedForward(nn.Module):
    """The residual two-layer MLP at the end of a transformer layer."""

    def __init__(self, channels, hidden_channels, dropout):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, hidden_channels), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_channels, channels)
        )
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)
        for layer in (self.layers[0], self.layers[3]):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x):
        return self.norm(x + self.dropout(self.layers(x)))


class _EncoderLayer(nn.Module):
    recomputable = ('forward',)  # under activation checkpointing

    def __init__(self, channels, num_heads, feedforward_channels, dropout):
        super().__init__()
        self.attention = MultiHeadAttention(channels, num_heads, dropout)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)
        self.feedforward = _FeedForward(channels, feedforward_channels, dropout)

    def forward(self, x, position, key_valid):
        coded = _add_code(x, position)
        x = self.norm(x + self.dropout(self.attention(coded, coded, x, key_valid)))
        return self.feedforward(x)


class _DecoderLayer(nn.Module):
    recomputable = ('forward',)  # under activation checkpointing

    def __init__(self, channels, num_heads, feedforward_channels, dropout, self_attention):
        super().__init__()
        self.self_attention = MultiHeadAttention(channels, num_heads, dropout) if self_attention else None
        self.self_norm = nn.LayerNorm(channels) if self_attention else None
        self.cross_attention = MultiHeadAttention(channels, num_heads, dropout)
        self.cross_norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.feedforward = _FeedForward(channels, feedforward_channels, dropout)

    def forward(self, x, query_code, memory, coded_memory, key_valid):
        if self.self_attention is not None:
            query = _add_code(x, query_code)
            x = self.self_norm(x + self.dropout(self.self_attention(query, query, x)))
        query = _add_code(x, query_code)
        x = self.cross_norm(x + self.dropout(self.cross_attention(query, coded_memory, memory, key_valid)))
        return self.feedforward(x)


def _add_code(x, code):
    return x if code is None else x + code


class TransformerEncoder(nn.Module):
    """Self-attention layers over tokens; with no layers it returns its input.

    Args:
        channels, num_layers, num_heads, feedforward_channels: sizes.
        dropout: dropout of attention weights, residuals and the feed-forward layer.
    """

    def __init__(self, channels: int, num_layers: int, num_heads: int, feedforward_channels: int, dropout: float = 0.1):
        super().__init__()
        self.layers = nn.ModuleList(
            _EncoderLayer(channels, num_heads, feedforward_channels, dropout) for _ in range(num_layers)
        )

    def forward(
        self, tokens: torch.Tensor, position: torch.Tensor | None = None, key_valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, S, C), position code (S, C) or (B, S, C), (B, S) bool -> (B, S, C)."""
        for layer in self.layers:
            tokens = layer(tokens, position, key_valid)
        return tokens


class QueryDecoder(nn.Module):
    """Learned queries that gather what they need from a memory by cross-attention; a final norm ends it.

    Args:
        channels: C.
        num_layers: number of layers.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: as in `TransformerEncoder`.
        num_queries: L.
        self_attention: whether queries also attend to each other. With one query that is only a linear layer
            whose query and key weights never learn, so it is off unless a published layout asks for it.
        query_role: what the learned query is: 'input', what the first layer reads and all layers change (Deformer's
            paper); or 'code', a position code that every layer adds to its queries, while what the layers change
            starts at zero (DETR, and Deformer's published code).

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
    ):
        super().__init__()
        if query_role not in QUERY_ROLES:
            raise ValueError(f'query_role must be one of {", ".join(map(repr, QUERY_ROLES))}, got {query_role!r}')
        self.query_role = query_role
        self.query = nn.Parameter(torch.randn(num_queries, channels))
        self.layers = nn.ModuleList(
            _DecoderLayer(channels, num_heads, feedforward_channels, dropout, self_attention) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(
        self, memory: torch.Tensor, position: torch.Tensor | None = None, key_valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, S, C), position code (S, C) or (B, S, C), (B, S) bool -> (B, L, C)."""
        coded_memory = _add_code(memory, position)
        query = self.query.expand(len(memory), -1, -1)
        x, code = (query, None) if self.query_role == 'input' else (torch.zeros_like(query), query)
        for layer in self.layers:
            x = layer(x, code, memory, coded_memory, key_valid)
        return self.norm(x)
