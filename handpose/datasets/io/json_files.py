"""Numbers in JSON files, and an error message for everything that can be wrong with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.files import reading
from handpose.files.reading import kind_of
from handpose.text import did_you_mean

MANO_PARTS = (('pose', 48), ('shape', 10), ('trans', 3))  # NeuralAnnot's names, and how many numbers each has

LARGEST = 1e30  # fits into float32 and is no label


def read_json(path: str | Path, kind: type = dict, allow_nan: bool = False) -> Any:
    """Returns the contents of a JSON file of a dataset.

    Args:
        path (str | Path): the file.
        kind (type): what it must hold.
        allow_nan (bool): whether NaN and Infinity may be there.

    Raises:
        DatasetError: see `handpose.files.reading.read_json`.
    """
    return reading.read_json(path, kind, allow_nan=allow_nan, error=DatasetError, advice=UNPACK)


def key_of(found: Any, key: str, where: object) -> Any:
    """`found[key]`; a `DatasetError` that names the nearest key where it is missing. `where` names `found`."""
    if not isinstance(found, dict):
        raise DatasetError(f'{where} must hold keys with values, {key!r} among them, but is {kind_of(found)}')
    if key not in found:
        known = ', '.join(map(str, list(found)[:8]))
        raise DatasetError(f'{where} has no {key!r} (it has: {known}).{did_you_mean(key, list(found))}')
    return found[key]


def numbers(value: Any, shape: tuple[int, ...], where: object, flat: bool = False, missing: bool = False) -> NDArray:
    """A value as a float64 array of `shape`.

    Args:
        value: lists of numbers.
        where: names it in messages.
        flat: axes do not matter, only how many numbers there are.
        missing: NaN, infinity and null may be among them.

    Raises:
        DatasetError: another shape, no numbers, or one that is not finite.
    """
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is None or not (array.shape == shape or (flat and array.size == np.prod(shape))):
        got = kind_of(value) if array is None else array.shape
        raise DatasetError(f'{where} must have shape {shape}, got {got}')
    if not missing and not np.isfinite(array).all():
        raise DatasetError(f'{where} holds NaN or infinity')
    if (np.abs(array) > LARGEST).any():
        raise DatasetError(f'{where} holds a number beyond {LARGEST:g}')
    return array.reshape(shape)


def mano_numbers(entry: Any, where: object, parts: Sequence[tuple[str, int]] = MANO_PARTS) -> NDArray:
    """The 61 numbers of a MANO entry: pose (48, without the mean pose), shape (10), translation (3)."""
    return np.concatenate([numbers(key_of(entry, key, where), (n,), f'{where}, {key}', flat=True) for key, n in parts])
