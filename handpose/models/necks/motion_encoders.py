"""The trunks of DSTformer and PDTM on their own: from joint sequences to features of every joint and frame.

The refiners of the same names are built from these encoders, and their parameters have the same names here: what a
refiner has learned can be loaded into its encoder.
Legend: N sequences, T frames, J joints, D coordinates, M memory tokens, C channels.
"""

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.motion_embedding import MOTION_UNIT, MotionEmbedding
from handpose.models.necks.dynamic_spatio_temporal import DynamicSpatioTemporalBlock
from handpose.models.necks.global_temporal import GlobalTemporalBlock
from handpose.models.necks.hand_prior_memory import HandPriorMemory
from handpose.registry import MODELS

GLOBAL_MODES = ('serial', 'parallel', 'replace')
MEMORY_UPDATES = ('cross_attention', 'vit_token')


class MotionFeatures(NamedTuple):
    """Output of a motion encoder: features (N, T, J, C), and memory (N, M, C) or None without a memory."""

    features: Tensor
    memory: Tensor | None = None


@MODELS.register_module()
class DSTformerEncoder(nn.Module):
    """The dual-stream spatio-temporal transformer of MotionBERT (Zhu et al., ICCV 2023).

    Args:
        channels: C, a multiple of num_heads.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: hidden channels of the perceptrons divided by C.
        max_frames: the longest sequence.
        num_joints: J.
        num_coordinates: D, 3, or 2 for positions in an image.
        with_confidence: also embeds a confidence of each joint.
        unit: the length that the network sees as 1, in the unit of the coordinates (metres by default).
    """

    def __init__(
        self,
        channels: int = 512,
        depth: int = 5,
        num_heads: int = 8,
        mlp_ratio: float = 2.0,
        max_frames: int = 27,
        num_joints: int = 21,
        num_coordinates: int = 3,
        with_confidence: bool = False,
        unit: float = MOTION_UNIT,
    ) -> None:
        super().__init__()
        self.embedding = MotionEmbedding(channels, max_frames, num_joints, num_coordinates, with_confidence, unit)
        self.blocks = nn.ModuleList(
            DynamicSpatioTemporalBlock(channels, num_heads, mlp_ratio, insertion='none') for _ in range(depth)
        )

    def forward(
        self,
        joints: Tensor,
        frame_valid: Tensor | None = None,
        joints_valid: Tensor | None = None,
        confidence: Tensor | None = None,
    ) -> MotionFeatures:
        """Encodes joint sequences.

        Args:
            joints: (N, T, J, D).
            frame_valid: (N, T) bool, False where a frame is padding: it may hold anything, NaN included, is not
                attended to, and its features are finite and meaningless. None means all.
            joints_valid: (N, T, J) bool; missing joints may hold anything and become tokens of their position in
                skeleton and time alone. None means all.
            confidence: (N, T, J), from 0 to 1, if the encoder was built `with_confidence`.

        Returns:
            features (N, T, J, C); memory is None.

        Raises:
            TypeError: a mask is not bool.
            ValueError: shapes that do not fit.
        """
        x = _embed(self.embedding, joints, frame_valid, joints_valid, confidence)  # (N, T, J, C)
        for block in self.blocks:
            x, _ = block(x, None, frame_valid)
        return MotionFeatures(x)


@MODELS.register_module()
class PDTMEncoder(nn.Module):
    """Prior-aware Dynamic Temporal Modeling (Ren et al., ICCV 2025), without its head.

    Args:
        channels: C, a multiple of num_heads and of groups (paper: 512).
        depth: number of blocks (paper: 5).
        num_heads: attention heads (paper: 8).
        mlp_ratio: hidden channels of the perceptrons divided by C (MotionBERT's).
        max_frames: the longest sequence.
        num_joints: J.
        num_coordinates: D, 3, or 2 for positions in an image.
        with_confidence: also embeds a confidence of each joint.
        unit: the length that the network sees as 1, in the unit of the coordinates (metres by default).
        groups: of the dynamic convolutions.
        kernel_size: of the dynamic convolutions (paper: 8).
        padding: of the dynamic convolutions.
        insertion: where the joint-level convolution goes, Table 1: see `DynamicSpatioTemporalBlock`.
        global_attention: the path GA of Table 2; without both paths there is no global block.
        global_convolution: the path DC of Table 2.
        global_mode: 'serial' (SS), after the spatio-temporal block; 'parallel' (PS), beside it; 'replace', no global
            block, but the convolution in the spatio-temporal block is the hand-level one (the row with DC alone).
        memory_tokens: M, Table 3; 0 means no memory.
        memory_update: 'cross_attention', from the global features after every block; 'vit_token', by taking part in
            attention (VS).

    Raises:
        ValueError: an unknown option, or options that exclude each other.
    """

    def __init__(
        self,
        channels: int = 512,
        depth: int = 5,
        num_heads: int = 8,
        mlp_ratio: float = 2.0,
        max_frames: int = 27,
        num_joints: int = 21,
        num_coordinates: int = 3,
        with_confidence: bool = False,
        unit: float = MOTION_UNIT,
        groups: int = 16,
        kernel_size: int = 8,
        padding: str = 'zeros',
        insertion: str = 'post_temporal',
        global_attention: bool = True,
        global_convolution: bool = True,
        global_mode: str = 'serial',
        memory_tokens: int = 8,
        memory_update: str = 'cross_attention',
    ) -> None:
        super().__init__()
        check_option('global_mode', global_mode, GLOBAL_MODES)
        check_option('memory_update', memory_update, MEMORY_UPDATES)
        has_global = (global_attention or global_convolution) and global_mode != 'replace'
        by_attention = memory_tokens > 0 and memory_update == 'vit_token'
        if memory_tokens and not (has_global or by_attention):
            raise ValueError(
                'memory is updated from the global temporal block: give global_attention or global_convolution with a '
                "global_mode of 'serial' or 'parallel', or memory_update='vit_token', or memory_tokens=0"
            )
        self.global_mode = global_mode
        self.embedding = MotionEmbedding(channels, max_frames, num_joints, num_coordinates, with_confidence, unit)
        level = 'hand' if global_mode == 'replace' else 'joint'
        convolution = (groups, kernel_size, padding)
        self.blocks = nn.ModuleList(
            DynamicSpatioTemporalBlock(
                channels, num_heads, mlp_ratio, insertion, level, *convolution, updates_memory=by_attention
            )
            for _ in range(depth)
        )
        self.global_blocks = nn.ModuleList(
            GlobalTemporalBlock(channels, num_heads, global_attention, global_convolution, *convolution)
            for _ in range(depth if has_global else 0)
        )
        num_updates = 0 if by_attention else depth
        self.memory = HandPriorMemory(channels, num_heads, memory_tokens, num_updates) if memory_tokens else None

    def forward(
        self,
        joints: Tensor,
        frame_valid: Tensor | None = None,
        joints_valid: Tensor | None = None,
        confidence: Tensor | None = None,
    ) -> MotionFeatures:
        """Encodes joint sequences.

        Args:
            joints: (N, T, J, D).
            frame_valid: (N, T) bool, False where a frame is padding: it may hold anything, NaN included, is neither
                attended to nor sampled, and its features are finite and meaningless. None means all.
            joints_valid: (N, T, J) bool; missing joints may hold anything and become tokens of their position in
                skeleton and time alone. None means all.
            confidence: (N, T, J), from 0 to 1, if the encoder was built `with_confidence`.

        Returns:
            features (N, T, J, C), and memory (N, M, C), which describes the sequence as a whole, or None.

        Raises:
            TypeError: a mask is not bool.
            ValueError: shapes that do not fit.
        """
        x = _embed(self.embedding, joints, frame_valid, joints_valid, confidence)  # (N, T, J, C)
        memory = None if self.memory is None else self.memory.start(x.shape[0])  # (N, M, C)
        for number in range(len(self.blocks)):
            x, memory = run_block(self, number, x, memory, frame_valid)
        return MotionFeatures(x, memory)


class PDTMTrunk(Protocol):
    """What `run_block` reads: the encoder, or the refiner that has taken over its modules.

    Attributes:
        blocks: `DynamicSpatioTemporalBlock` each.
        global_blocks: a `GlobalTemporalBlock` for each of them, or none at all.
        memory: None without a memory.
        global_mode: 'serial', 'parallel' or 'replace'.
    """

    blocks: nn.ModuleList
    global_blocks: nn.ModuleList
    memory: HandPriorMemory | None
    global_mode: str


def run_block(
    trunk: PDTMTrunk, number: int, x: Tensor, memory: Tensor | None, frame_valid: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Runs one block of PDTM, its global block and the update of the memory (paper Fig. 2).

    Args:
        trunk: the modules.
        number: of the block.
        x: (N, T, J, C).
        memory: (N, M, C), or None without a memory.
        frame_valid: (N, T) bool; None means all.

    Returns:
        The new features (N, T, J, C) and memory (N, M, C).
    """
    block_input = x
    x, memory = trunk.blocks[number](x, memory, frame_valid)
    if trunk.global_blocks:
        global_input = block_input if trunk.global_mode == 'parallel' else x
        added = trunk.global_blocks[number](global_input, frame_valid)  # (N, T, C)
        if trunk.memory is not None and len(trunk.memory.attentions):
            memory = trunk.memory(x.mean(2) + added, memory, number, frame_valid)
        x = x + added[:, :, None]
    return x, memory


def _embed(
    embedding: MotionEmbedding,
    joints: Tensor,
    frame_valid: Tensor | None,
    joints_valid: Tensor | None,
    confidence: Tensor | None,
) -> Tensor:
    """Tokens (N, T, J, C), in which padding counts as missing joints."""
    check_features('joints', joints, 'N T J D', embedding.num_coordinates)
    check_mask('frame_valid', frame_valid, joints.shape[:2], 'N T')
    check_mask('joints_valid', joints_valid, joints.shape[:3], 'N T J')
    if frame_valid is not None:
        frames = frame_valid[..., None].expand(joints.shape[:3])
        joints_valid = frames if joints_valid is None else joints_valid & frames
    return embedding(joints, joints_valid, confidence)
