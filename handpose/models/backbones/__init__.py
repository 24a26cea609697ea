"""Image backbones: pixels to feature maps."""

from handpose.models.backbones.resnet_fpn import ResNetFPN

__all__ = ['ResNetFPN']
