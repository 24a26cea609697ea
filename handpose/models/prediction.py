"""Making an estimator that is not trained any further predict faster, with the same results to rounding."""

from itertools import pairwise
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from handpose.models.layers.onednn import use_onednn

AnyModule = TypeVar('AnyModule', bound=nn.Module)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@runtime_checkable
class Foldable(Protocol):
    """A module with batch normalization that follows directly on a convolution. `nn.Sequential` needs no such note.

    Attributes:
        foldable: pairs of names, each of a convolution and of the normalization that alone reads its output.
    """

    foldable: tuple[tuple[str, str], ...]


@runtime_checkable
class ChannelsLast(Protocol):
    """A module of 2D convolutions that is faster on a CPU with the channels last in memory.

    Attributes:
        channels_last: True.
    """

    channels_last: bool


class FoldedNorm(nn.Identity):
    """What is left of a batch normalization that was folded into the convolution before it."""

    def train(self, mode: bool = True) -> 'FoldedNorm':
        """Refuses training, in which the batch would have to be normalized by its own statistics.

        Raises:
            ValueError: `mode` is True.
        """
        if mode:
            raise ValueError(
                'this estimator was prepared for prediction, with its batch normalization folded into the '
                'convolutions, and cannot be trained: build it again and load its weights'
            )
        super().train(False)
        return self

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        raise ValueError(
            f'the weights of {prefix.rstrip(".")!r} were folded into a convolution when the estimator was prepared for '
            'prediction, and no other estimator could load them: save the estimator before'
        )


def prepare_for_prediction(module: AnyModule, fold: bool = True) -> AnyModule:
    """Prepares a module for prediction where it is, in place.

    Folds batch normalization into convolutions; on the CPU it also computes image backbones channels-last and uses
    oneDNN where that is faster (`use_onednn`). docs/project/benchmark.md has the measurements.

    Args:
        module: with its final weights and on its final device.
        fold: False leaves batch normalization alone: for a module that may be trained or whose weights may be saved.

    Returns:
        The module, in evaluation mode. With `fold` and any batch normalization folded, `train()` and `state_dict()`
        raise ValueError.
    """
    module.eval()
    if fold:
        fold_batch_norm(module)
    put_channels_last(module)
    use_onednn(module)
    return module


def put_channels_last(module: nn.Module) -> None:
    """Puts the convolution weights of `ChannelsLast` modules that are on the CPU channels-last, in place.

    How a convolution runs follows the layout of its weights; their values and their shape do not change.
    """
    for part in module.modules():
        if isinstance(part, ChannelsLast) and part.channels_last:
            for parameter in part.parameters():
                if parameter.ndim == 4 and parameter.device.type == 'cpu':
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def fold_batch_norm(module: nn.Module) -> int:
    """Folds batch normalization into the convolution before it, in place.

    Args:
        module: in evaluation mode.

    Returns:
        How many were folded.

    Raises:
        ValueError: a normalization is in training mode.
    """
    count = 0
    for parent in list(module.modules()):
        for convolution, norm in _pairs(parent):
            count += _fold(parent, convolution, norm)
    return count


def _pairs(parent: nn.Module) -> list[tuple[str, str]]:
    if isinstance(parent, nn.Sequential):
        names = [name for name, _ in parent.named_children()]
        return list(pairwise(names))
    return list(parent.foldable) if isinstance(parent, Foldable) else []


def _fold(parent: nn.Module, convolution: str, norm: str) -> bool:
    first, second = parent.get_submodule(convolution), parent.get_submodule(norm)
    if not isinstance(first, _CONVOLUTIONS) or not isinstance(second, _NORMS) or second.running_mean is None:
        return False
    if second.training:
        raise ValueError(f'{norm!r} of {type(parent).__name__} is in training mode: call eval() before folding')
    fused = fuse_conv_bn_eval(first.eval(), second, transpose=isinstance(first, _TRANSPOSED))
    setattr(parent, convolution, fused)
    setattr(parent, norm, FoldedNorm().eval())
    return True
