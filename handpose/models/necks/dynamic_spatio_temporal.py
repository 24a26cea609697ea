"""Dynamic spatio-temporal block: attention over joints and over time in branches of different order.

MotionBERT's dual-stream block (Zhu et al., ICCV 2023) with PDTM's dynamic temporal convolution (section 3.2.1, Fig. 3)
and memory injection (section 3.3). Legend: N hands, T frames, J joints, M memory tokens, C channels.
"""

import torch
from torch import nn

from handpose.models.layers.fused_attention import BranchFusion, FeedForward, FusedSelfAttention
from handpose.models.layers.missing_frames import mean_over_frames
from handpose.models.necks.dynamic_tcn import DynamicTemporalConv
from handpose.registry import MODELS
from handpose.text import did_you_mean

# What each branch does, in order: S attention over joints, T over time, D dynamic convolution, M perceptron.
BRANCHES = {
    'none': ('SMTM', 'TMSM'),
    'head': ('DSMTM', 'DTMSM'),
    'tail': ('SMTDM', 'TMSDM'),
    'replace': ('SMDM', 'DMSM'),
    'fusion': ('SMTM', 'TMSM'),
    'post_temporal': ('SMTDM', 'TDMSM'),
    'tri_branch': ('SMTDM', 'TDMSM', 'DSM'),
}


@MODELS.register_module()
class DynamicSpatioTemporalBlock(nn.Module):
    """One block on joint features.

    Args:
        channels, num_heads: C and the number of heads. mlp_ratio: hidden channels of the perceptrons by C.
        insertion: where the dynamic convolution goes (Table 1): 'post_temporal' is the paper's choice, directly after
            attention over time in both branches; 'none' is MotionBERT's block; 'head', 'tail', 'replace', 'fusion' and
            'tri_branch' are Fig. 3 a, b, c, d and e.
        convolution_level: 'joint', or 'hand' (Fig. 4 a).
        groups, kernel_size, padding, initial_modulation: of the dynamic convolution.
        updates_memory: memory tokens take part in attention like a ViT's class token and are changed by it (the row VS
            of Table 3); otherwise they are only looked at.

    Raises:
        ValueError: an unknown insertion.
    """

    recomputable = True  # under activation checkpointing

    def __init__(
        self,
        channels: int,
        num_heads: int,
        mlp_ratio: float = 2.0,
        insertion: str = 'post_temporal',
        convolution_level: str = 'joint',
        groups: int = 16,
        kernel_size: int = 8,
        padding: str = 'zeros',
        initial_modulation: float = 0.0,
        updates_memory: bool = False,
    ):
        super().__init__()
        if insertion not in BRANCHES:
            raise ValueError(
                f'insertion must be one of {tuple(BRANCHES)}, got {insertion!r}.{did_you_mean(insertion, BRANCHES)}'
            )

        def convolution():
            return DynamicTemporalConv(
                channels,
                convolution_level,
                groups,
                kernel_size,
                padding=padding,
                initial_modulation=initial_modulation,
            )

        make = {
            'S': lambda: FusedSelfAttention(channels, num_heads),
            'T': lambda: FusedSelfAttention(channels, num_heads),
            'D': convolution,
            'M': lambda: FeedForward(channels, mlp_ratio),
        }
        self.orders = BRANCHES[insertion]
        self.branches = nn.ModuleList(nn.ModuleList(make[step]() for step in order) for order in self.orders)
        self.fusion = BranchFusion(channels, len(self.orders))
        self.fused_convolution = convolution() if insertion == 'fusion' else None
        self.updates_memory = updates_memory

    def forward(
        self,
        x: torch.Tensor,
        memory: torch.Tensor | None = None,
        frame_valid: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Joint features (N, T, J, C), memory (N, M, C), (N, T) bool -> the same two, new."""
        results = [
            self._branch(*branch, x, memory, frame_valid) for branch in zip(self.orders, self.branches, strict=True)
        ]
        features, memories = zip(*results, strict=True)
        x = self.fusion(list(features))
        if self.fused_convolution is not None:
            x = x + self.fused_convolution(x, frame_valid)
        return x, sum(memories) / len(memories) if self.updates_memory else memory

    def _branch(self, order, layers, x, memory, frame_valid):
        for step, layer in zip(order, layers, strict=True):
            if step in 'ST':
                x, memory = self._attend(layer, x, memory, frame_valid, over_time=step == 'T')
            else:
                x = x + (layer(x, frame_valid) if step == 'D' else layer(x))
        return x, memory

    def _attend(self, attention, x, memory, frame_valid, over_time):
        """Attention among the frames of a joint, or among the joints of a frame, memory tokens beside them."""
        key_valid = frame_valid if over_time else None
        if memory is None or not self.updates_memory:
            return x + attention(x, memory, key_valid, over_time), memory
        if over_time:
            copies = memory[:, :, None].expand(-1, -1, x.shape[2], -1)
            seen = None if key_valid is None else nn.functional.pad(key_valid, (0, memory.shape[1]), value=True)
            answer, told = attention(torch.cat([x, copies], 1), None, seen).split([x.shape[1], memory.shape[1]], 1)
            # Each joint, and below each frame, answers the tokens by itself; the memory is of all of them.
            return x + answer, memory + told.mean(2)
        copies = memory[:, None].expand(-1, x.shape[1], -1, -1)
        answer = attention(torch.cat([x, copies], 2), over_time=False)
        answer, told = answer.split([x.shape[2], memory.shape[1]], 2)
        return x + answer, memory + mean_over_frames(told, frame_valid)
