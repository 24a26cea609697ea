"""The multi-layer perceptron of every head."""

from collections.abc import Sequence

import torch
from torch import nn


class MLP(nn.Sequential):
    """Linear layers with an activation after each but the last.

    Args:
        in_channels: size of the last axis that comes in.
        channels: output size of each linear layer, in order.
        activation: 'relu' or 'leaky_relu' (slope 0.01).
        activate_last: puts an activation after the last layer too, for a trunk that other layers follow.

    Raises:
        ValueError: the activation is unknown.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        activation: str = 'relu',
        activate_last: bool = False,
    ):
        layers = []
        for size in channels:
            layers += [nn.Linear(in_channels, size), make_activation(activation)]
            in_channels = size
        super().__init__(*(layers if activate_last else layers[:-1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_channels) -> (..., channels[-1])."""
        return super().forward(x)


def make_activation(name: str, inplace: bool = False) -> nn.Module:
    """The activation called `name`: 'relu' or 'leaky_relu' (slope 0.01).

    Raises:
        ValueError: the name is unknown.
    """
    if name == 'relu':
        return nn.ReLU(inplace)
    if name == 'leaky_relu':
        return nn.LeakyReLU(0.01, inplace)
    raise ValueError(f"activation must be 'relu' or 'leaky_relu', got {name!r}")
