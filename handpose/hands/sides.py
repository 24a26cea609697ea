"""`Side`: left or right, the only enumeration of hand sides."""

from enum import IntEnum


class Side(IntEnum):
    """The side of a hand; its number is what `hand_side` holds, and the index of the hand in data of two hands."""

    LEFT = 0
    RIGHT = 1

    @property
    def label(self) -> str:
        """The name in files, tables and messages: 'left' or 'right'. `Side.from_label` reads it back."""
        return self.name.lower()

    @classmethod
    def from_label(cls, label: str) -> 'Side':
        """Returns the side of a name.

        Args:
            label: 'left' or 'right'.

        Returns:
            The side.

        Raises:
            ValueError: any other name.
        """
        for side in cls:
            if side.label == label:
                return side
        raise ValueError(f"a hand side must be 'left' or 'right', got {label!r}")
