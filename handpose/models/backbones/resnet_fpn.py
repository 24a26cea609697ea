"""ResNet with a feature pyramid reduced to its finest level (Deformer, section 3.1).

Legend: N images, h w their size, C channels.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.backbones.resnet import _PretrainableResNet
from handpose.registry import MODELS


@MODELS.register_module()
class ResNetFPN(_PretrainableResNet):
    """ResNet whose coarser levels are added, bilinearly enlarged, to the stride-4 level, which is the output.

    Args:
        depth: 18, 34, 50, 101 or 152.
        out_channels: C.
        base_channels: channels of the stem; 64 in every published ResNet.
        norm_eval: keeps batch norm at its stored statistics in training; its factors and offsets still learn. Only
            with pretrained weights: from scratch, such a network learns nothing.
        frozen_stages: -1 trains everything, 0 freezes the stem, k also the first k stages.
        activation: 'relu', or 'leaky_relu' (slope 0.01, in place of every ReLU: Deformer's published code).
        pretrained: what `init_weights` reads: a path, `dict(path=..., sha256=...)` or `dict(url=..., sha256=...)`.

    Raises:
        ImportError: mmcv is not installed.
        ValueError: an unknown depth or activation; norm_eval or frozen_stages without pretrained weights.
    """

    channels_last = True  # faster on a CPU

    def __init__(
        self,
        depth: int = 50,
        out_channels: int = 256,
        base_channels: int = 64,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        activation: str = 'leaky_relu',
        pretrained: str | dict[str, str] | None = None,
    ) -> None:
        super().__init__(depth, base_channels, norm_eval, frozen_stages, activation, pretrained)
        self.lateral = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in self.resnet.channels)
        self.smooth = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Computes the feature map.

        Args:
            images: (N, 3, h, w), normalised.

        Returns:
            (N, C, ceil(h / 4), ceil(w / 4)).
        """
        levels = self.resnet(images)
        x = self.lateral[3](levels[3])
        for lateral, level in zip(self.lateral[2::-1], levels[2::-1], strict=True):
            x = F.interpolate(x, level.shape[-2:], mode='bilinear', align_corners=False) + lateral(level)
        return self.smooth(x)
