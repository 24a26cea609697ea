"""Image backbones: pixels to features."""

from handpose.models.backbones.resnet import PooledResNet, PretrainableResNet
from handpose.models.backbones.resnet_fpn import ResNetFPN

__all__ = ['PooledResNet', 'PretrainableResNet', 'ResNetFPN']
