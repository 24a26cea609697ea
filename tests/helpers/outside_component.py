"""A component of another project: a convolutional image encoder."""

from torch import Tensor, nn

from handpose.registry import MODELS


@MODELS.register_module()
class TinyEncoder(nn.Module):
    """Encodes images.

    Args:
        channels: C of the features.
    """

    def __init__(self, channels: int = 8):
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, 5, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, h, w) in [0, 1] to features (N, C)."""
        return self.convolution(images).relu().mean((2, 3))
