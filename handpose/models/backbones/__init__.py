"""Image backbones: pixels to features."""

from handpose.models.backbones.resnet import PooledResNet, ResNetStages
from handpose.models.backbones.resnet_fpn import ResNetFPN

__all__ = ['PooledResNet', 'ResNetFPN', 'ResNetStages']
