"""SmoothNet: a refiner of linear layers along time (Zeng et al., ECCV 2022), one of PDTM's baselines.

Legend: N hands, T frames, J joints, C = 3 J coordinates, F hidden numbers.
"""

from torch import Tensor, nn

from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.registry import HAND_MODELS, MODELS

UNIT = 0.1  # metres: what the network sees as one


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.Dropout(dropout),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, channels),
            nn.Dropout(dropout),
            nn.LeakyReLU(0.2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Runs the layers on the hidden numbers of each coordinate, with a residual connection.

        Args:
            x: (N, C, F), without unit.

        Returns:
            (N, C, F).
        """
        return x + self.layers(x)


@MODELS.register_module()
class SmoothNet(MotionRefiner):
    """Linear layers over the frames of a window, the same for every coordinate.

    Args:
        frame_rate: frames per second of the motion it is trained on; it must be stated.
        num_frames: T of a window (published: 32; 8 to 64 are in use).
        stride: see `MotionRefiner`.
        hidden_channels: F between encoder and decoder (default as published).
        block_channels: inside a residual block.
        num_blocks: residual blocks.
        dropout: inside a residual block.
        fitted_hand: config of a hand model that `predict` fits to the joints, see `fit_meshes`; None means joints
            alone.
        loss: config of the loss, see `RefinementLoss`; None for inference alone.
    """

    def __init__(
        self,
        frame_rate: float | None = None,
        num_frames: int = 32,
        stride: int = 1,
        hidden_channels: int = 512,
        block_channels: int = 256,
        num_blocks: int = 3,
        dropout: float = 0.5,
        fitted_hand: dict | None = None,
        loss: dict | None = None,
    ) -> None:
        super().__init__(num_frames, stride, mirror_left_hands=False, frame_rate=frame_rate)
        self.partial_skeletons, self.any_length = True, False
        self.encoder = nn.Sequential(nn.Linear(num_frames, hidden_channels), nn.LeakyReLU(0.1))
        self.blocks = nn.Sequential(
            *(_ResidualBlock(hidden_channels, block_channels, dropout) for _ in range(num_blocks))
        )
        self.decoder = nn.Linear(hidden_channels, num_frames)
        self.hand_model = None if fitted_hand is None else HAND_MODELS.build(fitted_hand)
        self.loss_function = None if loss is None else MODELS.build(loss)

    def forward(
        self, motion: Tensor, frame_valid: Tensor | None = None, joints_valid: Tensor | None = None
    ) -> RefinedMotion:
        """Refines motions, each coordinate on its own. Padding, which repeats a frame, is used like other frames.

        Args:
            motion: (N, T, J, 3) metres.
            frame_valid: ignored.
            joints_valid: ignored, since each joint is refined on its own.

        Returns:
            `RefinedMotion` with joints (N, T, J, 3), metres.
        """
        rows = motion.flatten(2).transpose(1, 2) / UNIT  # (N, C, T)
        refined = self.decoder(self.blocks(self.encoder(rows)))  # (N, C, F) in between
        return RefinedMotion(UNIT * refined.transpose(1, 2).unflatten(2, motion.shape[2:]))
