"""ResNet as a map of features: its last stage, without pooling and classifier.

Legend: N images, h w their size, C channels.
"""

from torch import Tensor

from handpose.models.backbones.resnet import _PretrainableResNet
from handpose.registry import MODELS


@MODELS.register_module()
class ResNetMap(_PretrainableResNet):
    """ResNet whose output is the map of its last stage, at stride 32.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: channels of the stem; 64 in every published ResNet.
        norm_eval: keeps batch norm at its stored statistics in training; its factors and offsets still learn. Only
            with pretrained weights: from scratch, such a network learns nothing.
        frozen_stages: -1 trains everything, 0 freezes the stem, k also the first k stages.
        activation: 'relu', or 'leaky_relu' (slope 0.01).
        pretrained: what `init_weights` reads: a path, `dict(path=..., sha256=...)` or `dict(url=..., sha256=...)`.

    Attributes:
        out_channels: C, 8 times base_channels (32 times from depth 50 on).

    Raises:
        ImportError: mmcv is not installed.
        ValueError: an unknown depth or activation; norm_eval or frozen_stages without pretrained weights.
    """

    def __init__(
        self,
        depth: int = 50,
        base_channels: int = 64,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        activation: str = 'relu',
        pretrained: str | dict[str, str] | None = None,
    ) -> None:
        super().__init__(depth, base_channels, norm_eval, frozen_stages, activation, pretrained)
        self.out_channels = self.resnet.channels[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Computes the feature map.

        Args:
            images: (N, 3, h, w), normalised.

        Returns:
            (N, C, ceil(h / 32), ceil(w / 32)).
        """
        return self.resnet(images)[-1]
