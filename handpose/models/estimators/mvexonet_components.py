"""What MVExoNet reads from its components. Any module that satisfies a protocol fits its slot.

Legend: N hands or crops, C channels, J = 21 joints, s side of a crop, D voxels along an edge of a cube.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class PyramidBackbone(Protocol):
    """An image backbone that gives maps at several strides, finest first.

    Attributes:
        channels: of each map.
    """

    channels: Sequence[int]

    def init_weights(self) -> None:
        """Starts from pretrained weights, if its config names any."""

    def __call__(self, images: Tensor) -> list[Tensor]:
        """(N, 3, s, s), normalised -> maps (N, channels[i], h_i, w_i)."""


class VolumeNetwork(Protocol):
    """A network from a volume of features to a volume of logits for each joint.

    Attributes:
        in_channels: C.
        divisor: D must be a multiple of it.
    """

    in_channels: int
    divisor: int

    def __call__(self, volume: Tensor) -> Tensor:
        """(N, C, D, D, D) -> (N, J, D, D, D)."""
