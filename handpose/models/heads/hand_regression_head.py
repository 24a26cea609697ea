"""Hand-model parameters of one frame from one feature vector.

Legend: C channels, D numbers of a pose (96 as 6D vectors, 48 as rotation vectors); leading axes are written `...`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.models.layers.mlp import MLP
from handpose.models.layers.pose_fusion import identity_pose
from handpose.registry import MODELS

NUM_SHAPE = 10


class RegressedHand(NamedTuple):
    """Output of `HandRegressionHead`: pose (..., D), and shape (..., 10) or None without a shape."""

    pose: Tensor
    shape: Tensor | None


@MODELS.register_module()
class HandRegressionHead(nn.Module):
    """A shared trunk, then linear layers for pose and shape; Deformer's monocular prediction (section 3.2).

    Training starts from a neutral hand: pose at the identity rotations, shape at zero.

    Args:
        in_channels: C.
        hidden_channels: sizes of the trunk's layers (leaky ReLU after each).
        rotation_space: how the pose is represented, see `handpose.models.layers.pose_fusion`.
        predict_shape: also predicts the shape.

    Raises:
        ValueError: an unknown rotation space.
    """

    def __init__(
        self,
        in_channels: int = 256,
        hidden_channels: Sequence[int] = (1024, 512),
        rotation_space: str = 'rot6d_add',
        predict_shape: bool = True,
    ) -> None:
        super().__init__()
        self.trunk = MLP(in_channels, hidden_channels, 'leaky_relu', activate_last=True)
        self.pose = linear_from(hidden_channels[-1], identity_pose(rotation_space))
        self.shape = linear_from(hidden_channels[-1], torch.zeros(NUM_SHAPE)) if predict_shape else None

    def forward(self, features: Tensor) -> RegressedHand:
        """Regresses the parameters.

        Args:
            features: (..., C).

        Returns:
            pose (..., D), 6D vectors or rotation vectors (radians) as `rotation_space` says, and shape coefficients
            (..., 10), without unit, or None without `predict_shape`.
        """
        hidden = self.trunk(features)
        return RegressedHand(self.pose(hidden), self.shape(hidden) if self.shape is not None else None)


def linear_from(in_channels: int, initial_output: Tensor) -> nn.Linear:
    """A linear layer with a given initial output: its weights are small enough to stay close to it at first.

    Args:
        in_channels: C.
        initial_output: (D,).

    Returns:
        The layer, C to D numbers.
    """
    layer = nn.Linear(in_channels, len(initial_output))
    nn.init.xavier_uniform_(layer.weight, gain=0.01)
    with torch.no_grad():
        layer.bias.copy_(initial_output)
    return layer
