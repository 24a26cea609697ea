"""Global temporal block: how the hand as a whole moves (PDTM, section 3.2.2).

Legend: N hands, T frames, J joints, C channels.
"""

import torch
from torch import nn

from handpose.models.layers.fused_attention import BranchFusion, FusedSelfAttention
from handpose.models.necks.dynamic_tcn import DynamicTemporalConv
from handpose.registry import MODELS


@MODELS.register_module()
class GlobalTemporalBlock(nn.Module):
    """Temporal attention and hand-level dynamic convolution side by side on the mean over the joints.

    Args:
        channels, num_heads: C and the number of heads.
        attention: the path GA of the paper's Table 2. convolution: its path DC.
        groups, kernel_size, padding, initial_modulation: of the convolution.

    Raises:
        ValueError: neither path is wanted.
    """

    recomputable = ('forward',)  # under activation checkpointing

    def __init__(
        self,
        channels: int,
        num_heads: int,
        attention: bool = True,
        convolution: bool = True,
        groups: int = 16,
        kernel_size: int = 8,
        padding: str = 'zeros',
        initial_modulation: float = 0.0,
    ):
        super().__init__()
        if not (attention or convolution):
            raise ValueError('a global temporal block needs attention, convolution or both')
        self.attention = FusedSelfAttention(channels, num_heads) if attention else None
        self.convolution = (
            DynamicTemporalConv(
                channels, 'hand', groups, kernel_size, padding=padding, initial_modulation=initial_modulation
            )
            if convolution
            else None
        )
        self.fusion = BranchFusion(channels) if attention and convolution else None

    def forward(self, x: torch.Tensor, frame_valid: torch.Tensor | None = None) -> torch.Tensor:
        """Joint features (N, T, J, C), (N, T) bool -> what is to be added to every joint, (N, T, C)."""
        hand = x.mean(2, keepdim=True)  # (N, T, 1, C)
        paths = []
        if self.attention is not None:
            paths.append(self.attention(hand, key_valid=frame_valid))
        if self.convolution is not None:
            paths.append(self.convolution(hand, frame_valid))
        return (self.fusion(paths) if self.fusion is not None else paths[0])[:, :, 0]
