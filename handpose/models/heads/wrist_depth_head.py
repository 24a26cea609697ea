"""How far the wrists of a crop are from the camera. Legend: N crops, C channels, H hands."""

from torch import Tensor, nn

from handpose.models.layers.mlp import MLP
from handpose.models.layers.precision import without_autocast
from handpose.registry import MODELS


@MODELS.register_module()
class WristDepthHead(nn.Module):
    """Two linear layers, from the feature of a crop to the depth of each hand's wrist.

    What is as large as its crop is at a depth in proportion to the focal length in sizes of the crop, so the network
    only estimates the factor, as in RootNet (Moon et al., ICCV 2019): depth = focal * reference * exp(output).

    Args:
        in_channels: C.
        hidden_channels: of the layer between.
        num_hands: H.
        reference: metres that a crop is wide at the depth of the hand, about.
    """

    def __init__(
        self, in_channels: int = 2048, hidden_channels: int = 512, num_hands: int = 2, reference: float = 0.25
    ) -> None:
        super().__init__()
        self.reference = reference
        self.layers = MLP(in_channels, (hidden_channels, num_hands))

    def forward(self, features: Tensor, focal: Tensor) -> Tensor:
        """Estimates depths, in float32 under autocast too.

        Args:
            features: (N, C).
            focal: (N,) focal lengths of the crops, in widths of the crop.

        Returns:
            (N, H), metres.
        """
        with without_autocast(features):
            factor = self.layers(features.to(next(self.parameters()).dtype))
            return focal[:, None] * self.reference * factor.clamp(-5, 5).exp()
