"""Hand prior memory: learned tokens that gather what stays the same in a sequence (PDTM, section 3.3).

Legend: N hands, T frames, M memory tokens, C channels.
"""

import torch
from torch import nn

from handpose.models.layers.transformer import MultiHeadAttention
from handpose.registry import MODELS


@MODELS.register_module()
class HandPriorMemory(nn.Module):
    """Memory tokens and, for every block, the cross-attention that updates them from the hand's features.

    Every sequence starts from the same learned tokens; nothing is carried from one window to the next.

    Args:
        channels, num_heads: C and the number of heads. num_tokens: M (paper: 8 is best). depth: number of updates.
    """

    def __init__(self, channels: int, num_heads: int, num_tokens: int = 8, depth: int = 1):
        super().__init__()
        self.tokens = nn.Parameter(0.02 * torch.randn(num_tokens, channels))
        self.query_norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(depth))
        self.feature_norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(depth))
        self.attentions = nn.ModuleList(MultiHeadAttention(channels, num_heads) for _ in range(depth))

    def start(self, num_hands: int) -> torch.Tensor:
        """The learned tokens, (num_hands, M, C)."""
        return self.tokens.expand(num_hands, -1, -1)

    def forward(
        self,
        features: torch.Tensor,
        memory: torch.Tensor | None = None,
        block: int = 0,
        frame_valid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Memory (N, M, C) after block number `block` has seen features (N, T, C), (N, T) bool -> (N, M, C).

        None starts from the learned tokens.
        """
        memory = self.start(len(features)) if memory is None else memory
        query, seen = self.query_norms[block](memory), self.feature_norms[block](features)
        return memory + self.attentions[block](query, seen, seen, frame_valid)
