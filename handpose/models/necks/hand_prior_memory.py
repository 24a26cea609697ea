"""Hand prior memory: learned tokens that gather what stays the same in a sequence (PDTM, section 3.3).

Legend: N hands, T frames, M memory tokens, C channels.
"""

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.transformer import MultiHeadAttention
from handpose.registry import MODELS


@MODELS.register_module()
class HandPriorMemory(nn.Module):
    """Memory tokens and, for every block, the cross-attention that updates them from the hand's features.

    Every sequence starts from the same learned tokens; nothing is carried from one window to the next.

    Args:
        channels: C, a multiple of num_heads.
        num_heads: attention heads.
        num_tokens: M (paper: 8 is best).
        depth: number of updates.

    Raises:
        ValueError: channels is not a multiple of num_heads.
    """

    def __init__(self, channels: int, num_heads: int, num_tokens: int = 8, depth: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.tokens = nn.Parameter(0.02 * torch.randn(num_tokens, channels))
        self.query_norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(depth))
        self.feature_norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(depth))
        self.attentions = nn.ModuleList(MultiHeadAttention(channels, num_heads) for _ in range(depth))

    def start(self, num_hands: int) -> Tensor:
        """The learned tokens for each hand.

        Args:
            num_hands: N.

        Returns:
            (N, M, C).
        """
        return self.tokens.expand(num_hands, -1, -1)

    def forward(
        self,
        features: Tensor,
        memory: Tensor | None = None,
        block: int = 0,
        frame_valid: Tensor | None = None,
    ) -> Tensor:
        """Updates the memory by cross-attention to the features.

        Args:
            features: (N, T, C).
            memory: (N, M, C); None starts from the learned tokens.
            block: number of the update, from 0 to depth - 1.
            frame_valid: (N, T) bool; frames where it is False are not attended to. None means all.

        Returns:
            (N, M, C).

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('features', features, 'N T C', self.channels)
        check_mask('frame_valid', frame_valid, features.shape[:2], 'N T')
        memory = self.start(features.shape[0]) if memory is None else memory
        query, keys = self.query_norms[block](memory), self.feature_norms[block](features)
        return memory + self.attentions[block](query, keys, keys, frame_valid)
