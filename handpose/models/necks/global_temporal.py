"""Global temporal block: how the hand as a whole moves (PDTM, section 3.2.2).

Legend: N hands, T frames, J joints, C channels.
"""

from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.fused_attention import BranchFusion, FusedSelfAttention
from handpose.models.necks.dynamic_tcn import DynamicTemporalConv
from handpose.registry import MODELS


@MODELS.register_module()
class GlobalTemporalBlock(nn.Module):
    """Temporal attention and hand-level dynamic convolution side by side on the mean over the joints.

    Args:
        channels: C, a multiple of num_heads and of groups.
        num_heads: attention heads.
        attention: the path GA of the paper's Table 2.
        convolution: the path DC of the paper's Table 2.
        groups: of the convolution.
        kernel_size: of the convolution.
        padding: of the convolution.
        initial_modulation: of the convolution.

    Raises:
        ValueError: both paths are off, an unknown padding, or channels that do not fit.
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
    ) -> None:
        super().__init__()
        if not (attention or convolution):
            raise ValueError('a global temporal block needs attention, convolution or both')
        self.channels = channels
        self.attention = FusedSelfAttention(channels, num_heads) if attention else None
        self.convolution = (
            DynamicTemporalConv(
                channels, 'hand', groups, kernel_size, padding=padding, initial_modulation=initial_modulation
            )
            if convolution
            else None
        )
        self.fusion = BranchFusion(channels) if attention and convolution else None

    def forward(self, x: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Runs the block, without the residual connection.

        Args:
            x: (N, T, J, C).
            frame_valid: (N, T) bool; frames where it is False are neither attended to nor sampled. None means all.

        Returns:
            What is to be added to every joint: (N, T, C).

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('x', x, 'N T J C', self.channels)
        check_mask('frame_valid', frame_valid, x.shape[:2], 'N T')
        hand = x.mean(2, keepdim=True)  # (N, T, 1, C)
        paths = []
        if self.attention is not None:
            paths.append(self.attention(hand, key_valid=frame_valid))
        if self.convolution is not None:
            paths.append(self.convolution(hand, frame_valid))
        return (self.fusion(paths) if self.fusion is not None else paths[0])[:, :, 0]
