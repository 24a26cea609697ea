"""ResNet: what all systems built on it share, and the variant with a single feature per image (HTT).

Legend: N images, h w their size, C channels.
"""

import logging

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from handpose.models.backbones.pretrained import read_pretrained
from handpose.models.layers.checks import check_option
from handpose.models.layers.mlp import make_activation
from handpose.models.layers.soft_argmax import soft_argmax_2d
from handpose.registry import MODELS

POOLINGS = ('mean', 'soft_argmax')


@MODELS.register_module()
class ResNetStages(nn.Module):
    """A stem and four stages under the usual names, so that published ImageNet state dicts fit.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: channels of the stem; 64 in every published ResNet.
        activation: 'relu', or 'leaky_relu' (slope 0.01).

    Attributes:
        channels: of the four levels.

    Raises:
        ImportError: mmcv is not installed.
        ValueError: an unknown depth or activation.
    """

    recomputable = ('stem',)  # under activation checkpointing, besides the blocks of the stages
    foldable = (('conv1', 'bn1'),)  # in prediction, besides those of the blocks
    channels_last = True  # faster on a CPU
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(self, depth: int = 50, base_channels: int = 64, activation: str = 'relu') -> None:
        super().__init__()
        try:
            from mmcv.cnn.resnet import ResNet, make_res_layer
        except ImportError as error:
            raise ImportError('ResNet backbones need mmcv; run: pip install "handpose[mmcv]"') from error
        if depth not in ResNet.arch_settings:
            raise ValueError(f'depth must be one of {sorted(ResNet.arch_settings)}, got {depth}')
        block, blocks_per_stage = ResNet.arch_settings[depth]
        self.conv1 = nn.Conv2d(3, base_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        self.relu = make_activation(activation, inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.channels = []
        channels = base_channels
        for i, blocks in enumerate(blocks_per_stage):
            planes = base_channels * 2**i
            stage = make_res_layer(block, channels, planes, blocks, stride=1 if i == 0 else 2)
            for residual_block in stage:
                residual_block.recomputable = ('forward',)
                residual_block.foldable = tuple((f'conv{k}', f'bn{k}') for k in (1, 2, 3)[: 2 if depth < 50 else 3])
                residual_block.relu = make_activation(activation, inplace=True)
            self.add_module(f'layer{i + 1}', stage)
            channels = planes * block.expansion
            self.channels.append(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')

    def stages(self) -> list[nn.Module]:
        """The four stages."""
        return [self.layer1, self.layer2, self.layer3, self.layer4]

    def stem(self, images: Tensor) -> Tensor:
        """Runs the layers before the first stage.

        Args:
            images: (N, 3, h, w), normalised.

        Returns:
            (N, base_channels, ceil(h / 4), ceil(w / 4)).
        """
        return self.maxpool(self.relu(self.bn1(self.conv1(images))))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes all levels.

        Args:
            images: (N, 3, h, w), normalised.

        Returns:
            Four levels (N, channels[i], ceil(h / (4 * 2^i)), ceil(w / (4 * 2^i))).
        """
        x = self.stem(images)
        levels = []
        for stage in self.stages():
            x = stage(x)
            levels.append(x)
        return levels


class _PretrainableResNet(nn.Module):
    """The base of backbones built on a ResNet: pretrained weights, and frozen parts.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: channels of the stem; 64 in every published ResNet.
        norm_eval: keeps batch norm at its stored statistics in training; its factors and offsets still learn. Only
            with pretrained weights: from scratch, such a network learns nothing.
        frozen_stages: -1 trains everything, 0 freezes the stem, k also the first k stages.
        activation: 'relu', or 'leaky_relu' (slope 0.01).
        pretrained: what `init_weights` reads: a path, `dict(path=..., sha256=...)` or `dict(url=..., sha256=...)`.

    Raises:
        ImportError: mmcv is not installed.
        ValueError: an unknown depth or activation; norm_eval or frozen_stages without pretrained weights.
    """

    def __init__(
        self,
        depth: int,
        base_channels: int,
        norm_eval: bool,
        frozen_stages: int,
        activation: str,
        pretrained: str | dict[str, str] | None,
    ) -> None:
        super().__init__()
        if pretrained is None and (norm_eval or frozen_stages >= 0):
            raise ValueError('norm_eval and frozen_stages keep random weights as they are: give pretrained weights')
        self.norm_eval = norm_eval
        self.frozen_stages = frozen_stages
        self.pretrained = pretrained
        self.resnet = ResNetStages(depth, base_channels, activation)
        self.train()

    def init_weights(self) -> None:
        """Loads `pretrained` into the ResNet; training calls this once, loading a checkpoint does not.

        If a URL cannot be reached, a warning says so; then the weights stay random, and batch norm and every stage
        train whatever the options say.

        Raises:
            ValueError: see `read_pretrained`; or the weights do not fit this ResNet.
            FileNotFoundError: see `read_pretrained`.
        """
        if self.pretrained is None:
            return
        try:
            state = read_pretrained(self.pretrained)
        except FileNotFoundError:
            raise
        except OSError as error:
            self._start_from_scratch(error)
            return
        state = {name: value for name, value in state.items() if not name.startswith('fc.')}
        try:
            self.resnet.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f'{self.pretrained} does not fit this ResNet: {error}') from error
        print_log(f'{type(self).__name__} starts from {self.pretrained}', 'current')

    def _start_from_scratch(self, error: OSError) -> None:
        url = self.pretrained['url'] if isinstance(self.pretrained, dict) else self.pretrained
        print_log(
            f'{url} cannot be reached ({error}): {type(self).__name__} trains from scratch, '
            'with batch normalisation and every stage training.',
            'current',
            logging.WARNING,
        )
        self._frozen_parts().requires_grad_(True)
        self.norm_eval, self.frozen_stages = False, -1
        self.train(self.training)

    def train(self, mode: bool = True) -> '_PretrainableResNet':
        """Sets the training mode, but keeps frozen stages and, with norm_eval, batch norm in evaluation mode.

        Args:
            mode: True for training.

        Returns:
            The module itself.
        """
        super().train(mode)
        if self.norm_eval:
            for module in self.resnet.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        self._frozen_parts().eval().requires_grad_(False)
        return self

    def _frozen_parts(self) -> nn.ModuleList:
        if self.frozen_stages < 0:
            return nn.ModuleList()
        return nn.ModuleList([self.resnet.conv1, self.resnet.bn1, *self.resnet.stages()[: self.frozen_stages]])


@MODELS.register_module()
class PooledResNet(_PretrainableResNet):
    """ResNet without its classifier: one feature per image (HTT, section 3).

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: channels of the stem; 64 in every published ResNet.
        norm_eval: keeps batch norm at its stored statistics in training; its factors and offsets still learn. Only
            with pretrained weights: from scratch, such a network learns nothing.
        frozen_stages: -1 trains everything, 0 freezes the stem, k also the first k stages.
        activation: 'relu', or 'leaky_relu' (slope 0.01).
        pretrained: what `init_weights` reads: a path, `dict(path=..., sha256=...)` or `dict(url=..., sha256=...)`.
        pooling: 'mean' of the last stage over the image, as published; or 'soft_argmax': its mean and the position in
            the image where each channel is strongest, mixed by a linear layer.

    Attributes:
        out_channels: C, 8 times base_channels (32 times from depth 50 on).

    Raises:
        ImportError: mmcv is not installed.
        ValueError: an unknown depth, activation or pooling; norm_eval or frozen_stages without pretrained weights.
    """

    def __init__(
        self,
        depth: int = 18,
        base_channels: int = 64,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        activation: str = 'relu',
        pretrained: str | dict[str, str] | None = None,
        pooling: str = 'mean',
    ) -> None:
        super().__init__(depth, base_channels, norm_eval, frozen_stages, activation, pretrained)
        check_option('pooling', pooling, POOLINGS)
        self.out_channels = self.resnet.channels[-1]
        self.mix = nn.Linear(3 * self.out_channels, self.out_channels) if pooling == 'soft_argmax' else None

    def forward(self, images: Tensor) -> Tensor:
        """Computes one feature per image.

        Args:
            images: (N, 3, h, w), normalised.

        Returns:
            (N, C).
        """
        maps = self.resnet(images)[-1]
        mean = maps.mean((2, 3))
        if self.mix is None:
            return mean
        heatmaps = maps.flatten(2).softmax(-1).unflatten(2, maps.shape[2:])
        positions = soft_argmax_2d(heatmaps).to(mean.dtype) - 0.5  # (N, C, 2), from the centre of the image
        return self.mix(torch.cat([mean, positions.flatten(1)], 1))
