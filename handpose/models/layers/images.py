"""From image bytes to the input of a backbone.

Legend: h and w height and width of an image; leading axes are written `...`.
"""

import torch
from torch import Tensor, nn

from handpose.registry import MODELS


@MODELS.register_module()
class ImageNormalizer(nn.Module):
    """Turns RGB images in [0, 255] into normalised floats; mean and std are saved with the weights.

    The defaults are ImageNet's. `mean=(0, 0, 0), std=(255, 255, 255)` only divides by 255.

    Args:
        mean: three numbers in [0, 255]: red, green, blue.
        std: three positive numbers, in the same order and on the same scale.

    Raises:
        ValueError: a mean or std without three numbers, or a std that is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: tuple[float, float, float] = (123.675, 116.28, 103.53),
        std: tuple[float, float, float] = (58.395, 57.12, 57.375),
    ) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f'mean and std need three numbers each (std above 0), got {mean} and {std}')
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32)[:, None, None])
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Normalises images.

        Args:
            images: (..., 3, h, w), uint8 or float in [0, 255], RGB.

        Returns:
            (..., 3, h, w), without unit, in the dtype of the buffers.
        """
        return (images.to(self.mean.dtype) - self.mean) / self.std
