"""Image backbones: pixels to features."""

from handpose.models.backbones.efficientnet import EfficientNet
from handpose.models.backbones.resnet import PooledResNet, ResNetStages
from handpose.models.backbones.resnet_fpn import ResNetFPN
from handpose.models.backbones.resnet_map import ResNetMap

__all__ = ['EfficientNet', 'PooledResNet', 'ResNetFPN', 'ResNetMap', 'ResNetStages']
