"""What SVEgoNet reads from its components. Any module that satisfies a protocol fits its slot.

Legend: N crops, C channels, s side of a crop, h' w' size of a map, H = 2 hands (left, right), J = 21 joints.
"""

from typing import Protocol

from torch import Tensor

from handpose.models.heads import Joints25D


class MapBackbone(Protocol):
    """An image backbone that gives one map, of any stride."""

    def init_weights(self) -> None:
        """Starts from pretrained weights, if its config names any."""

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, s, s), normalised -> (N, C, h', w')."""


class JointHead(Protocol):
    """A head of 2.5D joints.

    Attributes:
        differentiable: whether the positions have a gradient.
    """

    differentiable: bool

    def __call__(self, maps: Tensor) -> Joints25D:
        """(N, C, h', w') -> positions (N, H, J, 3) in [0, 1], and the maps that they are read from."""


class IdentityHead(Protocol):
    """A head of the hands that a crop shows."""

    def __call__(self, features: Tensor) -> Tensor:
        """(N, C) -> logits (N, 3) of left, right and both, or (N, 2) of left and right."""


class DepthHead(Protocol):
    """A head of the depths of the wrists."""

    def __call__(self, features: Tensor, focal: Tensor) -> Tensor:
        """(N, C), focal lengths (N,) in widths of the crop -> (N, H) metres."""


class Joint25DLoss(Protocol):
    """A loss of the maps of a `JointHead`."""

    def __call__(self, maps: tuple[Tensor, ...], positions: Tensor, valid: Tensor) -> Tensor:
        """Maps, true positions (N, H, J, 3) and (N, H, J, 3) bool -> a scalar."""
