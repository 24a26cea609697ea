"""Dynamic spatio-temporal block: attention over joints and over time in branches of different order.

MotionBERT's dual-stream block (Zhu et al., ICCV 2023) with PDTM's dynamic temporal convolution (section 3.2.1, Fig. 3)
and memory injection (section 3.3). Legend: N hands, T frames, J joints, M memory tokens, C channels.
"""

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.fused_attention import BranchFusion, FeedForward, FusedSelfAttention
from handpose.models.layers.missing_frames import mean_over_frames
from handpose.models.necks.dynamic_tcn import DynamicTemporalConv
from handpose.registry import MODELS

# The steps of each branch, in order: S attention over joints, T over time, D dynamic convolution, M perceptron.
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
        channels: C, a multiple of num_heads and of groups.
        num_heads: attention heads.
        mlp_ratio: hidden channels of the perceptrons divided by C.
        insertion: where the dynamic convolution goes (Table 1): 'post_temporal' is the paper's choice, directly after
            attention over time in both branches; 'none' is MotionBERT's block; 'head', 'tail', 'replace', 'fusion' and
            'tri_branch' are Fig. 3 a, b, c, d and e.
        convolution_level: 'joint', or 'hand' (Fig. 4 a).
        groups: of the dynamic convolution.
        kernel_size: of the dynamic convolution.
        padding: of the dynamic convolution.
        initial_modulation: of the dynamic convolution.
        updates_memory: memory tokens take part in attention like a ViT's class token and are changed by it (the row VS
            of Table 3); otherwise they are only attended to.

    Raises:
        ValueError: an unknown insertion, convolution_level or padding, or channels that do not fit.
    """

    recomputable = ('forward',)  # under activation checkpointing

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
    ) -> None:
        super().__init__()
        check_option('insertion', insertion, tuple(BRANCHES))

        def make_convolution() -> DynamicTemporalConv:
            return DynamicTemporalConv(
                channels,
                convolution_level,
                groups,
                kernel_size,
                padding=padding,
                initial_modulation=initial_modulation,
            )

        def make_step(step: str) -> nn.Module:
            if step == 'D':
                return make_convolution()
            return FeedForward(channels, mlp_ratio) if step == 'M' else FusedSelfAttention(channels, num_heads)

        self.channels = channels
        self.orders = BRANCHES[insertion]
        self.branches = nn.ModuleList(nn.ModuleList(make_step(step) for step in order) for order in self.orders)
        self.fusion = BranchFusion(channels, len(self.orders))
        self.fused_convolution = make_convolution() if insertion == 'fusion' else None
        self.updates_memory = updates_memory

    def forward(
        self, x: Tensor, memory: Tensor | None = None, frame_valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Runs the block.

        Args:
            x: (N, T, J, C).
            memory: (N, M, C), or None for a block without memory.
            frame_valid: (N, T) bool; frames where it is False are neither attended to nor sampled. None means all.

        Returns:
            The new features (N, T, J, C), and the memory (N, M, C), changed if the block `updates_memory`.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit, or a missing memory.
        """
        check_features('x', x, 'N T J C', self.channels)
        check_mask('frame_valid', frame_valid, x.shape[:2], 'N T')
        if memory is not None:
            check_features('memory', memory, 'N M C', self.channels)
        elif self.updates_memory:
            raise ValueError('a block with updates_memory=True needs memory tokens: memory (N, M, C)')
        outputs: list[Tensor] = []
        memories: list[Tensor] = []
        for order, layers in zip(self.orders, self.branches, strict=True):
            branch_x, branch_memory = self._run_branch(order, layers, x, memory, frame_valid)
            outputs.append(branch_x)
            if branch_memory is not None:
                memories.append(branch_memory)
        x = self.fusion(outputs)
        if self.fused_convolution is not None:
            x = x + self.fused_convolution(x, frame_valid)
        if self.updates_memory:
            memory = reduce(torch.add, memories) / len(memories)
        return x, memory

    def _run_branch(
        self, order: str, layers: nn.Module, x: Tensor, memory: Tensor | None, frame_valid: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        for step, layer in zip(order, layers.children(), strict=True):
            if step in 'ST':
                x, memory = self._attend(layer, x, memory, frame_valid, over_time=step == 'T')
            else:
                x = x + (layer(x, frame_valid) if step == 'D' else layer(x))
        return x, memory

    def _attend(
        self, attention: nn.Module, x: Tensor, memory: Tensor | None, frame_valid: Tensor | None, over_time: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attention among the frames of a joint, or among the joints of a frame, with memory tokens beside them."""
        key_valid = frame_valid if over_time else None
        if memory is None or not self.updates_memory:
            return x + attention(x, memory, key_valid, over_time), memory
        num_tokens = memory.shape[1]
        if over_time:
            copies = memory[:, :, None].expand(-1, -1, x.shape[2], -1)
            valid = None if key_valid is None else F.pad(key_valid, (0, num_tokens), value=True)
            attended = attention(torch.cat([x, copies], 1), None, valid)
            change, memory_change = attended.split([x.shape[1], num_tokens], 1)
            # The tokens attend to each joint, and below to each frame, separately; the memory is shared by all.
            return x + change, memory + memory_change.mean(2)
        copies = memory[:, None].expand(-1, x.shape[1], -1, -1)
        attended = attention(torch.cat([x, copies], 2), over_time=False)
        change, memory_change = attended.split([x.shape[2], num_tokens], 2)
        return x + change, memory + mean_over_frames(memory_change, frame_valid)
