"""The multi-layer perceptron of the heads. Legend: leading axes are written `...`."""

from collections.abc import Sequence

from torch import Tensor, nn

from handpose.registry import MODELS


@MODELS.register_module()
class MLP(nn.Sequential):
    """Linear layers with an activation after each but the last.

    Args:
        in_channels: size of the input's last axis.
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
    ) -> None:
        layers: list[nn.Module] = []
        for size in channels:
            layers += [nn.Linear(in_channels, size), make_activation(activation)]
            in_channels = size
        super().__init__(*(layers if activate_last else layers[:-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Runs the layers.

        Args:
            x: (..., in_channels).

        Returns:
            (..., channels[-1]).
        """
        return super().forward(x)


def make_activation(name: str, inplace: bool = False) -> nn.Module:
    """The activation called `name`: 'relu' or 'leaky_relu' (slope 0.01).

    Args:
        name: of the activation.
        inplace: overwrites its input.

    Raises:
        ValueError: the name is unknown.
    """
    if name == 'relu':
        return nn.ReLU(inplace)
    if name == 'leaky_relu':
        return nn.LeakyReLU(0.01, inplace)
    raise ValueError(f"activation must be 'relu' or 'leaky_relu', got {name!r}")
