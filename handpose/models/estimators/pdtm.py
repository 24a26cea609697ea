"""Prior-aware Dynamic Temporal Modeling of hand motion (Ren et al., ICCV 2025).

Repairs the joints that any per-frame estimator gives: dynamic temporal convolution beside attention, for each joint and
for the hand as a whole, and a memory of the hand's shape. There is no public code; docs/systems/pdtm.md lists what the
paper leaves open and what is done here. Legend: N hands, T frames, J = 21 joints, M memory tokens, C channels.
"""

import torch
from torch import Tensor, nn

from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.models.layers.checks import check_option
from handpose.models.layers.hand_motion import rest_hand
from handpose.models.layers.missing_frames import mean_over_frames
from handpose.models.necks.motion_encoders import PDTMEncoder, run_block
from handpose.registry import HAND_MODELS, MODELS

SHAPE_SUPERVISION = ('final', 'every_block')


@MODELS.register_module()
class PDTM(MotionRefiner):
    """The whole system (paper Fig. 2). Every row of the paper's Tables 1 to 3 is a set of options.

    Args:
        frame_rate: frames per second of the motion it is trained on; it must be stated.
        num_frames: T of a window.
        stride: see `MotionRefiner`.
        mirror_left_hands: see `MotionRefiner`.
        channels: C (paper: 512).
        depth: number of blocks (paper: 5).
        num_heads: of each attention (paper: 8).
        mlp_ratio: hidden channels of a feed-forward layer, in channels (MotionBERT's).
        groups: of the dynamic convolutions.
        kernel_size: of the dynamic convolutions (paper: 8).
        padding: of the dynamic convolutions, 'zeros' or 'replicate'.
        insertion: where the joint-level convolution goes, Table 1: see `DynamicSpatioTemporalBlock`.
        global_attention: the path GA of Table 2.
        global_convolution: the path DC of Table 2; with both off there is no global block.
        global_mode: 'serial' (SS), after the spatio-temporal block; 'parallel' (PS), beside it; 'replace', no global
            block, but the convolution in the spatio-temporal block is the hand-level one (the row with DC alone).
        memory_tokens: M, Table 3; 0 means no memory, and the shape is read from the mean of all features.
        memory_update: 'cross_attention', from the global features after every block; 'vit_token', by taking part in
            attention (VS).
        shape_supervision: 'final' memory alone (FS), or that of 'every_block'.
        partial_skeletons: it is trained with, and takes, hands that lack joints; these become tokens of their joint
            and frame alone.
        residual: adds the predicted joints to the input; the paper does not say.
        head: config of `MotionRefinementHead`.
        hand_model: config of the hand model of the predicted pose and shape; None means joints alone, without memory.
        loss: config of `RefinementLoss`; None for inference alone.

    Raises:
        ValueError: an unknown option, or options that exclude each other.
    """

    def __init__(
        self,
        hand_model: dict | None = None,
        frame_rate: float | None = None,
        num_frames: int = 27,
        stride: int = 9,
        mirror_left_hands: bool = True,
        channels: int = 512,
        depth: int = 5,
        num_heads: int = 8,
        mlp_ratio: float = 2.0,
        groups: int = 16,
        kernel_size: int = 8,
        padding: str = 'zeros',
        insertion: str = 'post_temporal',
        global_attention: bool = True,
        global_convolution: bool = True,
        global_mode: str = 'serial',
        memory_tokens: int = 8,
        memory_update: str = 'cross_attention',
        shape_supervision: str = 'final',
        partial_skeletons: bool = False,
        residual: bool = True,
        head: dict | None = None,
        loss: dict | None = None,
    ) -> None:
        super().__init__(num_frames, stride, mirror_left_hands, frame_rate)
        _check_memory(memory_tokens, shape_supervision, hand_model is not None)
        encoder = PDTMEncoder(
            channels,
            depth,
            num_heads,
            mlp_ratio,
            max_frames=num_frames,
            groups=groups,
            kernel_size=kernel_size,
            padding=padding,
            insertion=insertion,
            global_attention=global_attention,
            global_convolution=global_convolution,
            global_mode=global_mode,
            memory_tokens=memory_tokens,
            memory_update=memory_update,
        )
        self.embedding, self.blocks = encoder.embedding, encoder.blocks
        self.global_blocks, self.memory = encoder.global_blocks, encoder.memory
        self.global_mode, self.residual, self.shape_supervision = global_mode, residual, shape_supervision
        self.hand_model = None if hand_model is None else HAND_MODELS.build(hand_model)
        head = {'type': 'MotionRefinementHead', **(head or {}), 'channels': channels}
        self.head = MODELS.build({**head, 'with_pose': hand_model is not None})
        if self.hand_model is not None:
            self.head.start_at_rest(rest_hand(self.hand_model))
        self.predicts_pose = hand_model is not None
        self.shape = None if hand_model is None else nn.Linear(max(memory_tokens, 1) * channels, 10)
        self.partial_skeletons = partial_skeletons
        self.loss_function = None if loss is None else MODELS.build(loss)

    def forward(
        self, motion: Tensor, frame_valid: Tensor | None = None, joints_valid: Tensor | None = None
    ) -> RefinedMotion:
        """Refines the motion of right hands.

        Args:
            motion: (N, T, J, 3) metres.
            frame_valid: (N, T) bool, False where a frame is padding; None means all are valid.
            joints_valid: (N, T, J) bool, False for joints that the input lacks; None means all are given.

        Returns:
            `RefinedMotion` of the N hands: joints (N, T, J, 3), and with a hand model pose (N, T, 16, 6) and shape
            (N, 10).
        """
        x = self.embedding(motion, joints_valid)  # (N, T, J, C)
        memory = None if self.memory is None else self.memory.start(x.shape[0])  # (N, M, C)
        shapes = []
        for number in range(len(self.blocks)):
            x, memory = run_block(self, number, x, memory, frame_valid)
            if memory is not None and self.shape is not None and self.shape_supervision == 'every_block':
                shapes.append(self.shape(memory.flatten(1)))
        update = self.head(x, motion, frame_valid)  # joints (N, T, J, 3), pose (N, T, 16, 6)
        joints = motion + update.joints if self.residual else update.joints
        pooled = mean_over_frames(x.mean(2), frame_valid) if memory is None else memory.flatten(1)
        shape = None if self.shape is None else self.shape(pooled)
        return RefinedMotion(joints, update.pose, shape, torch.stack(shapes, 1) if shapes else None)


def _check_memory(memory_tokens: int, shape_supervision: str, has_shape: bool) -> None:
    """Refuses options of the memory that exclude each other."""
    check_option('shape_supervision', shape_supervision, SHAPE_SUPERVISION)
    if shape_supervision == 'every_block' and not memory_tokens:
        raise ValueError("shape_supervision='every_block' reads the memory after every block: give memory_tokens")
    if memory_tokens and not has_shape:
        raise ValueError('the shape of the hand is read from the memory: without hand_model give memory_tokens=0')
