"""Pre-norm self-attention and feed-forward layers of motion transformers (MotionBERT; PDTM section 3.1, Eq. 1).

Legend: N hands, T frames, J joints, M memory tokens, C channels; L = T over time, J over joints.
"""

import torch
from torch import nn
from torch.nn import functional as F


class FusedSelfAttention(nn.Module):
    """Multi-head self-attention among the frames of each joint or among the joints of each frame, by torch's kernel.

    Memory tokens join the keys and values (PDTM section 3.3). What attention would answer for them is not used, so it
    is not computed, and they are projected once for all joints or frames. Over time joints are as good as heads: both
    directions work on the features as they lie in memory.

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
        self.projection = nn.Linear(channels, 3 * channels)  # query, key, value
        self.out = nn.Linear(channels, channels)

    def forward(
        self,
        x: torch.Tensor,
        memory: torch.Tensor | None = None,
        key_valid: torch.Tensor | None = None,
        over_time: bool = True,
    ) -> torch.Tensor:
        """Features (N, T, J, C), memory (N, M, C), key_valid (N, L) bool -> (N, T, J, C), without the residual.

        Keys that are not valid are not seen, memory always is. A hand without any valid key or memory sees all its
        keys, so that its output is finite.
        """
        query, key, value = self._projected(x, (0, 1, 2))
        axis = 1 if over_time else 2
        if memory is not None:
            remembered = [part.unsqueeze(3 - axis) for part in self._projected(memory, (1, 2))]
            shape = (-1, -1, x.shape[2], -1) if over_time else (-1, x.shape[1], -1, -1)
            key, value = (
                torch.cat([own, extra.expand(shape)], axis) for own, extra in zip((key, value), remembered, strict=True)
            )
            key_valid = None if key_valid is None else F.pad(key_valid, (0, memory.shape[1]), value=True)
        mask = None
        if key_valid is not None:
            mask = (key_valid | ~key_valid.any(1, keepdim=True))[:, None, None]
            mask = mask if over_time else mask.repeat_interleave(x.shape[1], 0)
        query, key, value = (self._heads(part, over_time) for part in (query, key, value))
        out = F.scaled_dot_product_attention(query, key, value, mask)
        return self.out(out.transpose(1, 2).reshape(x.shape))

    def _projected(self, tokens, parts):
        """Query (0), key (1), value (2) of tokens (..., C), each in a tensor of its own."""
        normed = self.norm(tokens)
        weights, biases = self.projection.weight.chunk(3), self.projection.bias.chunk(3)
        return [F.linear(normed, weights[part], biases[part]) for part in parts]

    def _heads(self, part, over_time):
        """(N, T, J, C) -> (N, J * heads, T, C / heads) or (N * T, heads, J, C / heads), without a copy."""
        part = part.unflatten(-1, (self.num_heads, -1))
        return (part.flatten(2, 3) if over_time else part.flatten(0, 1)).transpose(1, 2)


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
        # The linear layer branch by branch, so that nothing is put together first.
        parts = zip(branches, self.weighting.weight.chunk(len(branches), 1), strict=True)
        weights = (sum(F.linear(*part) for part in parts) + self.weighting.bias).softmax(-1)
        return sum(branch * weights[..., i : i + 1] for i, branch in enumerate(branches))
