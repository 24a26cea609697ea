"""`Side`: left or right, the only enumeration of hand sides."""

from enum import IntEnum

from torch import Tensor


class Side(IntEnum):
    """The side of a hand; its number is what `hand_side` holds, and the index of the hand in data of two hands.

    Compare tensors with `is_left` and `is_right`, numbers with the members.
    """

    LEFT = 0
    RIGHT = 1


SIDE_LABELS = tuple(side.name.lower() for side in Side)
"""The names of the sides in files, tables and messages, in the order of their numbers: 'left', 'right'."""

# Plain integers: torch.compile takes the comparison of a tensor with an enumeration for False.
_LEFT, _RIGHT = int(Side.LEFT), int(Side.RIGHT)


def is_left(hand_side: Tensor) -> Tensor:
    """Tells which hands are left.

    Args:
        hand_side: (...) integers.

    Returns:
        (...) bool.
    """
    return hand_side == _LEFT


def is_right(hand_side: Tensor) -> Tensor:
    """Tells which hands are right.

    Args:
        hand_side: (...) integers.

    Returns:
        (...) bool.
    """
    return hand_side == _RIGHT
