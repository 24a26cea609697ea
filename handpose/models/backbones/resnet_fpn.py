"""ResNet with a feature pyramid cut down to its finest level (Deformer, section 3.1)."""

import torch
from torch import nn
from torch.nn import functional as F

from handpose.models.backbones.resnet import PretrainableResNet
from handpose.registry import MODELS


@MODELS.register_module()
class ResNetFPN(PretrainableResNet):
    """ResNet whose coarser levels are added, bilinearly enlarged, to the stride-4 level; only that one comes out.

    Args:
        out_channels: C.
        depth, base_channels, norm_eval, frozen_stages, pretrained: see `PretrainableResNet`.
        activation: 'relu', or 'leaky_relu' (slope 0.01, in place of every ReLU: Deformer's published code).

    Raises: see `PretrainableResNet`.
    """

    def __init__(
        self,
        depth: int = 50,
        out_channels: int = 256,
        base_channels: int = 64,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        activation: str = 'leaky_relu',
        pretrained: str | dict | None = None,
    ):
        super().__init__(depth, base_channels, norm_eval, frozen_stages, activation, pretrained)
        self.lateral = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in self.resnet.channels)
        self.smooth = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) normalised -> (N, C, ceil(h / 4), ceil(w / 4))."""
        levels = self.resnet(images)
        x = self.lateral[3](levels[3])
        for lateral, level in zip(self.lateral[2::-1], levels[2::-1], strict=True):
            x = F.interpolate(x, level.shape[-2:], mode='bilinear', align_corners=False) + lateral(level)
        return self.smooth(x)
