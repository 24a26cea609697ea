"""EfficientNet without its classifier (Tan and Le, ICML 2019): maps at several strides, for few multiplications.

Modules have the names that timm gives them, so that the weights of timm's `efficientnet_b0` to `efficientnet_b4` load
as they are; those with `tf_` in their names, which are padded on one side, do not give the same features. Legend: N
images, h w their size, C channels.
"""

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

from mmengine.logging import print_log
from torch import Tensor, nn

from handpose.models.backbones.pretrained import read_pretrained
from handpose.models.layers.checks import check_option
from handpose.registry import MODELS

VARIANTS = {'b0': (1.0, 1.0), 'b1': (1.0, 1.1), 'b2': (1.1, 1.2), 'b3': (1.2, 1.4), 'b4': (1.4, 1.8)}
"""{variant: (factor of all channels, factor of the blocks of a stage)}."""
STRIDES = (2, 4, 8, 16, 32)


class _Stage(NamedTuple):
    """One row of the paper's Table 1."""

    expansion: int
    channels: int
    blocks: int
    stride: int
    kernel: int


_STAGES = (
    _Stage(1, 16, 1, 1, 3),
    _Stage(6, 24, 2, 2, 3),
    _Stage(6, 40, 2, 2, 5),
    _Stage(6, 80, 3, 2, 3),
    _Stage(6, 112, 3, 1, 5),
    _Stage(6, 192, 4, 2, 5),
    _Stage(6, 320, 1, 1, 3),
)
_LAST_STAGE = {2: 0, 4: 1, 8: 2, 16: 4, 32: 6}  # of each stride
_STEM_CHANNELS, _SQUEEZE = 32, 4


@MODELS.register_module()
class EfficientNet(nn.Module):
    """Inverted bottlenecks with squeeze and excitation, as far as the coarsest map that is asked for.

    Args:
        variant: 'b0' to 'b4' (`VARIANTS`), or the two factors of another size: of the channels and of the blocks.
        strides: of the maps that it gives, increasing, from 2, 4, 8, 16 and 32. Stages after the last of them are
            left out.
        pretrained: what `init_weights` reads: a path, `dict(path=..., sha256=...)` or `dict(url=..., sha256=...)` of
            weights with timm's names. Those of stages that are left out, and of the classifier, are ignored.

    Attributes:
        strides: of the maps.
        channels: of the maps.
        channels_last: True, since it is faster on a CPU; see `handpose.models.prediction`.

    Raises:
        ValueError: an unknown variant, factors that are not positive, or strides that are not from this list in
            increasing order.
    """

    channels_last = True

    def __init__(
        self,
        variant: str | Sequence[float] = 'b0',
        strides: Sequence[int] = (8, 16, 32),
        pretrained: str | dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        width, depth = _factors(variant)
        if not strides or sorted(set(strides) & set(STRIDES)) != list(strides):
            raise ValueError(f'strides must be some of {STRIDES}, increasing, got {tuple(strides)}')
        self.pretrained, self.strides = pretrained, tuple(strides)
        self._taps = [_LAST_STAGE[stride] for stride in strides]
        channels = _scaled(_STEM_CHANNELS, width)
        self.foldable = (('conv_stem', 'bn1'),)  # in prediction
        self.conv_stem = nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act = nn.SiLU(inplace=True)
        self.blocks = nn.ModuleList()
        self.channels = []
        for i, stage in enumerate(_STAGES[: self._taps[-1] + 1]):
            blocks: list[nn.Module] = []
            for j in range(math.ceil(stage.blocks * depth)):
                out = _scaled(stage.channels, width)
                kind = _InvertedBottleneck if stage.expansion > 1 else _SeparableConv
                blocks.append(kind(channels, out, stage.kernel, stage.stride if j == 0 else 1, stage.expansion))
                channels = out
            self.blocks.append(nn.Sequential(*blocks))
            if i in self._taps:
                self.channels.append(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels / module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def init_weights(self) -> None:
        """Loads `pretrained`; training calls this once, loading a checkpoint does not.

        If a URL cannot be reached, a warning says so, and the weights stay random.

        Raises:
            ValueError: see `read_pretrained`; or the weights do not fit this EfficientNet.
            FileNotFoundError: see `read_pretrained`.
        """
        if self.pretrained is None:
            return
        try:
            state = read_pretrained(self.pretrained)
        except FileNotFoundError:
            raise
        except OSError as error:
            print_log(
                f'{self.pretrained} cannot be reached ({error}): {type(self).__name__} trains from scratch.',
                'current',
                logging.WARNING,
            )
            return
        kept = {name: value for name, value in state.items() if not self._is_left_out(name)}
        try:
            self.load_state_dict(kept)
        except RuntimeError as error:
            raise ValueError(
                f"{self.pretrained} does not fit this EfficientNet; expected weights of timm's efficientnet of the "
                f'same variant: {error}'
            ) from error
        print_log(f'{type(self).__name__} starts from {self.pretrained}', 'current')

    def _is_left_out(self, name: str) -> bool:
        """Whether a name of timm's state dict belongs to the classifier or to a stage after the last map."""
        first, *rest = name.split('.')
        if first == 'blocks':
            return int(rest[0]) >= len(self.blocks)
        return first in ('conv_head', 'bn2', 'classifier')

    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes maps.

        Args:
            images: (N, 3, h, w), normalised.

        Returns:
            One map (N, channels[i], ceil(h / strides[i]), ceil(w / strides[i])) for each stride, finest first.
        """
        x = self.act(self.bn1(self.conv_stem(images)))
        maps = []
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in self._taps:
                maps.append(x)
        return maps


class _SqueezeExcite(nn.Module):
    """Scales each channel by what the mean of the whole map says."""

    def __init__(self, channels: int, reduced_channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, reduced_channels, 1)
        self.act = nn.SiLU(inplace=True)
        self.conv_expand = nn.Conv2d(reduced_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same."""
        mean = x.mean((2, 3), keepdim=True)
        return x * self.conv_expand(self.act(self.conv_reduce(mean))).sigmoid()


class _SeparableConv(nn.Module):
    """The block of the first stage: depthwise convolution, squeeze and excitation, 1x1 convolution."""

    recomputable = ('forward',)  # under activation checkpointing
    foldable = (('conv_dw', 'bn1'), ('conv_pw', 'bn2'))  # in prediction

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.is_residual = stride == 1 and in_channels == out_channels
        self.conv_dw = _depthwise(in_channels, kernel, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.act = nn.SiLU(inplace=True)
        self.se = _SqueezeExcite(in_channels, in_channels // _SQUEEZE)
        self.conv_pw = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, out_channels, ceil(h / stride), ceil(w / stride))."""
        out = self.bn2(self.conv_pw(self.se(self.act(self.bn1(self.conv_dw(x))))))
        return out + x if self.is_residual else out


class _InvertedBottleneck(nn.Module):
    """The block of the other stages: 1x1 expansion, depthwise convolution, squeeze and excitation, 1x1 projection."""

    recomputable = ('forward',)  # under activation checkpointing
    foldable = (('conv_pw', 'bn1'), ('conv_dw', 'bn2'), ('conv_pwl', 'bn3'))  # in prediction

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.is_residual = stride == 1 and in_channels == out_channels
        expanded = in_channels * expansion
        self.conv_pw = nn.Conv2d(in_channels, expanded, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(expanded)
        self.act = nn.SiLU(inplace=True)
        self.conv_dw = _depthwise(expanded, kernel, stride)
        self.bn2 = nn.BatchNorm2d(expanded)
        self.se = _SqueezeExcite(expanded, in_channels // _SQUEEZE)
        self.conv_pwl = nn.Conv2d(expanded, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, out_channels, ceil(h / stride), ceil(w / stride))."""
        out = self.act(self.bn1(self.conv_pw(x)))
        out = self.bn3(self.conv_pwl(self.se(self.act(self.bn2(self.conv_dw(out))))))
        return out + x if self.is_residual else out


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)


def _scaled(channels: int, factor: float) -> int:
    """The multiple of 8 that is nearest to the product, but not more than 10 % below it."""
    wanted = channels * factor
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def _factors(variant: str | Sequence[float]) -> tuple[float, float]:
    if isinstance(variant, str):
        check_option('variant', variant, tuple(VARIANTS))
        return VARIANTS[variant]
    if len(variant) != 2 or min(variant) <= 0:
        raise ValueError(f'variant must be one of {", ".join(VARIANTS)} or two factors above 0, got {variant}')
    width, depth = variant
    return width, depth
