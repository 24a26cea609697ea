"""Pre-norm self-attention and feed-forward layers of motion transformers (MotionBERT; PDTM section 3.1, Eq. 1).

Legend: G sequences of tokens, L tokens of a sequence, M memory tokens, C channels.
"""

import torch
from torch import nn
from torch.nn import functional as F


class FusedSelfAttention(nn.Module):
    """Multi-head self-attention with one projection for query, key and value, computed by torch's fused kernel.

    Memory tokens join the keys and values (PDTM section 3.3). What attention would answer for them is not used, so it
    is not computed, and their projection is shared by all sequences that see the same memory.

    Args:
        channels: C, a multiple of num_heads. num_heads: number of heads.

    Raises:
        ValueError: channels is not a multiple of num_heads.
    """

    def __init__(self, channels: int, num_heads: int):
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'channels must be a multiple of num_heads, got {channels} and {num_heads}')
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.projection = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(
        self,
        tokens: torch.Tensor,
        memory: torch.Tensor | None = None,
        key_valid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(G, L, C), memory (N, M, C) with G a multiple of N, key_valid (G, L) bool -> (G, L, C), without the residual.

        Sequences G are N runs of equal length, one for each memory. A sequence without any valid token or memory sees
        all its tokens, so that its output is finite.
        """
        query, key, value = self._heads(tokens, 3)
        if memory is not None:
            remembered = self._heads(memory, 3)[1:]
            times = len(tokens) // len(memory)
            key, value = (
                torch.cat([own, extra.repeat_interleave(times, 0)], dim=2)
                for own, extra in zip((key, value), remembered, strict=True)
            )
            key_valid = None if key_valid is None else F.pad(key_valid, (0, memory.shape[1]), value=True)
        mask = None
        if key_valid is not None:
            mask = (key_valid | ~key_valid.any(1, keepdim=True))[:, None, None]
        out = F.scaled_dot_product_attention(query, key, value, mask)
        return self.out(out.transpose(1, 2).flatten(2))

    def _heads(self, tokens, parts):
        """(G, L, C) -> `parts` tensors (G, heads, L, C / heads)."""
        projected = self.projection(self.norm(tokens)).unflatten(-1, (parts, self.num_heads, -1))
        return projected.permute(2, 0, 3, 1, 4).unbind(0)


class FeedForward(nn.Module):
    """Pre-norm two-layer perceptron with GELU.

    Args:
        channels: C. ratio: hidden channels divided by C.
    """

    def __init__(self, channels: int, ratio: float = 2.0):
        super().__init__()
        hidden = int(channels * ratio)
        self.layers = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., C) -> (..., C), without the residual."""
        return self.layers(x)


class BranchFusion(nn.Module):
    """Weighted sum of branches whose weights every token decides; equal at the start (MotionBERT).

    Args:
        channels: C. num_branches: how many.
    """

    def __init__(self, channels: int, num_branches: int = 2):
        super().__init__()
        self.weighting = nn.Linear(num_branches * channels, num_branches)
        nn.init.zeros_(self.weighting.weight)
        nn.init.constant_(self.weighting.bias, 0.5)

    def forward(self, branches: list[torch.Tensor]) -> torch.Tensor:
        """A list of (..., C) -> (..., C)."""
        weights = self.weighting(torch.cat(branches, dim=-1)).softmax(-1)
        return sum(branch * weights[..., i : i + 1] for i, branch in enumerate(branches))
