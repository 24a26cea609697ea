"""Checks of the features and masks that a component is called with.

They look at shapes and dtypes alone, so they never wait for the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from handpose.text import did_you_mean


def check_features(name: str, features: Tensor, axes: str, channels: int | None = None) -> None:
    """Checks the number of axes and the number of channels.

    Args:
        name: the argument's name, for the error message.
        features: the argument.
        axes: what its axes are, for example 'N T J C'.
        channels: the expected size of the last axis; None accepts any.

    Raises:
        ValueError: the number of axes or of channels differs.
    """
    names = axes.split()
    if features.ndim == len(names) and channels in (None, features.shape[-1]):
        return
    expected = f'({", ".join(names)})' + ('' if channels is None else f' with {names[-1]} = {channels}')
    raise ValueError(f'{name} must have the shape {expected}, got {tuple(features.shape)}')


def check_mask(name: str, mask: Tensor | None, shape: Sequence[int], axes: str) -> None:
    """Checks the dtype and the shape of a mask.

    Args:
        name: the argument's name, for the error message.
        mask: the argument; None, which means that everything is valid, passes.
        shape: the expected shape.
        axes: what its axes are, for example 'N T'.

    Raises:
        TypeError: the mask is not a tensor of dtype bool.
        ValueError: its shape differs.
    """
    if mask is None:
        return
    check_bool(name, mask)
    if tuple(mask.shape) != tuple(shape):
        expected = f'({", ".join(axes.split())}) = {tuple(shape)}'
        raise ValueError(f'{name} must have the shape {expected}, got {tuple(mask.shape)}')


def check_bool(name: str, mask: Tensor) -> None:
    """Raises TypeError unless the mask called `name` is a tensor of dtype bool."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        found = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f'{name} must be a bool tensor, True where valid, got {found}: convert it, as in `{name} > 0`')


def check_option(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises ValueError unless `value`, given for the option `name`, is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f'{name} must be one of {", ".join(map(repr, choices))}, got {value!r}.{did_you_mean(value, choices)}'
        )
