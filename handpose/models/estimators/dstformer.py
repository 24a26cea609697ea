"""DSTformer: the dual-stream spatio-temporal transformer of MotionBERT (Zhu et al., ICCV 2023), as a refiner of hands.

PDTM's main baseline and what it is built from. Attention runs through torch's fused kernel.
Legend: N hands, T frames, J = 21 joints, C channels.
"""

from torch import Tensor, nn

from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.models.layers.hand_motion import rest_hand
from handpose.models.layers.missing_frames import mean_over_frames
from handpose.models.necks.motion_encoders import DSTformerEncoder
from handpose.registry import HAND_MODELS, MODELS


@MODELS.register_module()
class DSTformer(MotionRefiner):
    """Refines windows of motion; 42 M parameters at the published size.

    Args:
        frame_rate: frames per second of the motion it is trained on; it must be stated.
        num_frames: T of a window.
        stride: see `MotionRefiner`.
        mirror_left_hands: see `MotionRefiner`.
        channels: C.
        depth: number of blocks.
        num_heads: of each attention.
        mlp_ratio: hidden channels of a feed-forward layer, in channels.
        partial_skeletons: it is trained with, and takes, hands that lack joints; these become tokens of their joint
            and frame alone.
        residual: adds the predicted joints to the input.
        head: config of `MotionRefinementHead`.
        hand_model: config of the hand model of the predicted pose and shape; None means joints alone.
        loss: config of `RefinementLoss`; None for inference alone.
    """

    def __init__(
        self,
        frame_rate: float | None = None,
        num_frames: int = 27,
        stride: int = 9,
        mirror_left_hands: bool = True,
        channels: int = 512,
        depth: int = 5,
        num_heads: int = 8,
        mlp_ratio: float = 2.0,
        partial_skeletons: bool = False,
        residual: bool = True,
        head: dict | None = None,
        hand_model: dict | None = None,
        loss: dict | None = None,
    ) -> None:
        super().__init__(num_frames, stride, mirror_left_hands, frame_rate)
        encoder = DSTformerEncoder(channels, depth, num_heads, mlp_ratio, num_frames)
        self.embedding, self.blocks = encoder.embedding, encoder.blocks
        self.hand_model = None if hand_model is None else HAND_MODELS.build(hand_model)
        head = {'type': 'MotionRefinementHead', 'joint_regression': 'per_joint', **(head or {})}
        self.head = MODELS.build({**head, 'channels': channels, 'with_pose': hand_model is not None})
        if self.hand_model is not None:
            self.head.start_at_rest(rest_hand(self.hand_model))
        self.predicts_pose = hand_model is not None
        self.shape = None if hand_model is None else nn.Linear(channels, 10)
        self.residual = residual
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
        for block in self.blocks:
            x, _ = block(x, None, frame_valid)
        update = self.head(x, motion, frame_valid)
        joints = motion + update.joints if self.residual else update.joints
        shape = None if self.shape is None else self.shape(mean_over_frames(x.mean(2), frame_valid))
        return RefinedMotion(joints, update.pose, shape)
