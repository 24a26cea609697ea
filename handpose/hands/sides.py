"""`Side`: left or right, the only enumeration of hand sides."""

from enum import IntEnum


class Side(IntEnum):
    """The side of a hand; its number is what `hand_side` holds, and the index of the hand in data of two hands."""

    LEFT = 0
    RIGHT = 1


SIDE_LABELS = tuple(side.name.lower() for side in Side)
"""The names of the sides in files, tables and messages, in the order of their numbers: 'left', 'right'."""
