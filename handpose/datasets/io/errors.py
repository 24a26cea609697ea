"""What datasets raise."""

from collections.abc import Collection, Iterable
from typing import Any

from handpose.text import did_you_mean

UNPACK = 'unpack this part of the dataset again'  # advice about a damaged file


class DatasetError(ValueError):
    """Files or options of a dataset that are not as they should be; the message says which and what to do."""


class BrokenFrames(DatasetError):
    """Some frames of a sample cannot be read.

    Attributes:
        positions: their positions in the sample.
    """

    def __init__(self, message: str, positions: Iterable[int] = ()) -> None:
        super().__init__(message, positions)
        self.positions = list(positions)

    def __str__(self) -> str:
        return self.args[0]


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raises a `DatasetError` that names the nearest choice when `value` is not one of `choices`."""
    if value not in choices:
        allowed = ', '.join(repr(c) for c in choices)
        raise DatasetError(f'{name} must be one of {allowed}, got {value!r}.{did_you_mean(value, choices)}')
