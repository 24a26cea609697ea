"""Pre-norm self-attention and feed-forward layers of motion transformers (MotionBERT; PDTM section 3.1, Eq. 1).

Legend: N hands, T frames, J joints, M memory tokens, C channels; L = T over time, J over joints.
"""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.layers.checks import check_features, check_mask
from handpose.registry import MODELS


@MODELS.register_module()
class FusedSelfAttention(nn.Module):
    """Multi-head self-attention among the frames of each joint or among the joints of each frame, by torch's kernel.

    Memory tokens join the keys and values (PDTM section 3.3). The attention output of the memory tokens themselves is
    not used, so it is not computed, and they are projected once for all joints or frames. Over time, joints are treated
    like heads, so both directions work on the features as they lie in memory.

    Args:
        channels: C, a multiple of num_heads.
        num_heads: number of heads.

    Raises:
        ValueError: channels is not a multiple of num_heads.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'channels must be a multiple of num_heads, got {channels} and {num_heads}')
        self.channels, self.num_heads = channels, num_heads
        self.norm = nn.LayerNorm(channels)
        self.projection = nn.Linear(channels, 3 * channels)  # query, key, value
        self.out = nn.Linear(channels, channels)
        self.linear: Callable[..., Tensor] = F.linear  # see `LinearUser`

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        key_valid: Tensor | None = None,
        over_time: bool = True,
    ) -> Tensor:
        """Attends, without the residual connection.

        Args:
            x: (N, T, J, C).
            memory: (N, M, C), always attended to.
            key_valid: (N, L) bool; keys where it is False are not attended to. A hand without any valid key and without
                memory attends to all its keys, so that its output is finite.
            over_time: among the frames of each joint, L = T; if False, among the joints of each frame, L = J.

        Returns:
            (N, T, J, C).

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        axis = 1 if over_time else 2
        check_features('x', x, 'N T J C', self.channels)
        check_mask('key_valid', key_valid, (x.shape[0], x.shape[axis]), 'N T' if over_time else 'N J')
        query, key, value = self._project(x, (0, 1, 2))
        if memory is not None:
            check_features('memory', memory, 'N M C', self.channels)
            memory_parts = [part.unsqueeze(3 - axis) for part in self._project(memory, (1, 2))]
            shape = (-1, -1, x.shape[2], -1) if over_time else (-1, x.shape[1], -1, -1)
            key, value = (
                torch.cat([part, extra.expand(shape)], axis)
                for part, extra in zip((key, value), memory_parts, strict=True)
            )
            key_valid = None if key_valid is None else F.pad(key_valid, (0, memory.shape[1]), value=True)
        mask = None
        if key_valid is not None:
            mask = (key_valid | ~key_valid.any(1, keepdim=True))[:, None, None]
            mask = mask if over_time else mask.repeat_interleave(x.shape[1], 0)
        query, key, value = (self._split_heads(part, over_time) for part in (query, key, value))
        out = F.scaled_dot_product_attention(query, key, value, mask)
        return self.out(out.transpose(1, 2).reshape(x.shape))

    def _project(self, tokens: Tensor, parts: Sequence[int]) -> list[Tensor]:
        """Query (0), key (1) or value (2) of tokens (..., C), each in a tensor of its own."""
        normed = self.norm(tokens)
        weights, biases = self.projection.weight.chunk(3), self.projection.bias.chunk(3)
        return [self.linear(normed, weights[part], biases[part]) for part in parts]

    def _split_heads(self, part: Tensor, over_time: bool) -> Tensor:
        """(N, T, J, C) -> (N, J * heads, T, C / heads) or (N * T, heads, J, C / heads), without a copy."""
        part = part.unflatten(-1, (self.num_heads, -1))
        return (part.flatten(2, 3) if over_time else part.flatten(0, 1)).transpose(1, 2)


@MODELS.register_module()
class FeedForward(nn.Module):
    """Pre-norm two-layer perceptron with GELU.

    Args:
        channels: C.
        ratio: hidden channels divided by C.
    """

    def __init__(self, channels: int, ratio: float = 2.0) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.layers = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Runs the perceptron, without the residual connection.

        Args:
            x: (N, T, J, C), or with other leading axes.

        Returns:
            The shape of `x`.
        """
        return self.layers(x)


@MODELS.register_module()
class BranchFusion(nn.Module):
    """Weighted sum of branches; every token predicts the weights, which are equal at the start (MotionBERT).

    Args:
        channels: C.
        num_branches: how many.
    """

    def __init__(self, channels: int, num_branches: int = 2) -> None:
        super().__init__()
        self.num_branches = num_branches
        self.weighting = nn.Linear(num_branches * channels, num_branches)
        nn.init.zeros_(self.weighting.weight)
        nn.init.constant_(self.weighting.bias, 0.5)

    def forward(self, branches: Sequence[Tensor]) -> Tensor:
        """Fuses the branches.

        Args:
            branches: `num_branches` tensors (N, T, J, C), or all with the same other leading axes.

        Returns:
            The shape of one branch.

        Raises:
            ValueError: another number of branches.
        """
        if len(branches) != self.num_branches:
            raise ValueError(f'expected {self.num_branches} branches (num_branches), got {len(branches)}')
        # The linear layer branch by branch, so that the branches are never concatenated.
        parts = zip(branches, self.weighting.weight.chunk(len(branches), 1), strict=True)
        weights = (reduce(torch.add, [F.linear(*part) for part in parts]) + self.weighting.bias).softmax(-1)
        return reduce(torch.add, [branch * weights[..., i : i + 1] for i, branch in enumerate(branches)])
