"""Reads the official MANO files without chumpy and without running any code that a file may hold.

Besides arrays (`pickles.py`), a file may name the classes that the official files were written with, chumpy's `Ch` and
`Select` and scipy's sparse matrices, for which inert objects stand.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.files.pickles import ARRAY_NAMES, Contents, InertObject, OrderedMapping, PickleError, load_pickle, refuse

REQUIRED = {
    'v_template': (778, 3),
    'shapedirs': (778, 3, 10),
    'posedirs': (778, 3, 135),
    'J_regressor': (16, 778),
    'weights': (778, 16),
    'kintree_table': (2, 16),
    'hands_components': (45, 45),
    'hands_mean': (45,),
}
MOST_ROWS = 10_000  # of a sparse matrix, and columns


class MANOFileError(ValueError):
    """A MANO file that is missing, not a MANO file, or holds what this reader refuses."""


class _Chumpy(InertObject):
    """chumpy.ch.Ch: an array in `x`."""

    def rebuild(self, contents: Contents) -> NDArray:
        """The array."""
        return _array_of(contents, self.state, 'x')


class _Selection(InertObject):
    """chumpy.reordering.Select: entries `idxs` of `a`, in the shape `preferred_shape`."""

    def rebuild(self, contents: Contents) -> NDArray:
        """The selected entries."""
        source, index = (_array_of(contents, self.state, key) for key in ('a', 'idxs'))
        shape = self.state.get('preferred_shape')
        shape = index.shape if shape is None else contents.value(shape)
        if index.dtype.kind not in 'iu' or (index.size and not 0 <= int(index.min()) <= int(index.max()) < source.size):
            refuse('it selects entries that an array does not have')
        lengths = shape if isinstance(shape, tuple) else ()
        whole = all(isinstance(n, int | np.integer) and n >= 0 for n in lengths)
        if not lengths or not whole or math.prod(map(int, lengths)) != index.size:
            refuse('it selects entries in a shape that they do not fill')
        return source.ravel()[index.ravel().astype(np.int64)].reshape(shape)


class _Sparse(InertObject):
    """A compressed sparse matrix of scipy; `major` is the axis that `indptr` counts along."""

    major = 0

    def rebuild(self, contents: Contents) -> NDArray:
        """The matrix as a dense array."""
        data, minor, starts = (_array_of(contents, self.state, key) for key in ('data', 'indices', 'indptr'))
        shape = contents.value(self.state.get('_shape', self.state.get('shape')))
        whole = isinstance(shape, tuple) and len(shape) == 2 and all(isinstance(n, int | np.integer) for n in shape)
        if not whole or not all(0 < n <= MOST_ROWS for n in shape):
            refuse(f'it holds a sparse matrix of shape {shape}')
        rows, columns = shape[self.major], shape[1 - self.major]
        indexed = all(a.ndim == 1 and a.dtype.kind in 'iu' for a in (minor, starts)) and data.shape == minor.shape
        if not indexed or data.dtype.kind not in 'biuf' or len(starts) != rows + 1:
            refuse('it holds a sparse matrix whose arrays do not fit each other')
        starts = starts.astype(np.int64)
        minor, counts = minor.astype(np.int64), starts[1:] - starts[:-1]
        if starts[0] != 0 or starts[-1] != len(data) or counts.min() < 0:
            refuse('it holds a sparse matrix whose arrays do not fit each other')
        if len(minor) and not 0 <= minor.min() <= minor.max() < columns:
            refuse('it holds a sparse matrix with entries outside its shape')
        dense = np.zeros((rows, columns), data.dtype)
        np.add.at(dense, (np.repeat(np.arange(rows), counts), minor), data)
        return dense if self.major == 0 else dense.T


class _SparseRows(_Sparse):
    """scipy.sparse.csr_matrix."""


class _SparseColumns(_Sparse):
    """scipy.sparse.csc_matrix."""

    major = 1


class _Object(InertObject):
    """The base class of plain objects: only named."""


class _Reconstructor(InertObject):
    """copyreg._reconstructor, by which protocols 0 and 1 make plain objects."""

    def __new__(cls, *arguments: Any) -> Any:
        """An object of the stand-in that the file names."""
        names = [name for name in arguments if isinstance(name, type) and issubclass(name, InertObject)]
        if len(arguments) != 3 or len(names) != 2 or names[1] is not _Object or names[0] not in _OBJECTS:
            refuse('it rebuilds an object that no MANO file holds')
        return names[0]()


_OBJECTS = (_Chumpy, _Selection, _SparseRows, _SparseColumns)


def _array_of(contents: Contents, state: Any, key: str) -> NDArray:
    """The array that the state of a stand-in has under `key`."""
    found = contents.value(state[key]) if isinstance(state, dict) and key in state else None
    if not isinstance(found, np.ndarray):
        refuse(f'an object that should hold an array in {key!r} has none')
    return found


def _allowed_names() -> dict[tuple[str, str], type[InertObject]]:
    """The full table of names that a MANO pickle may mention."""
    table = {**ARRAY_NAMES, ('collections', 'OrderedDict'): OrderedMapping}
    for module in ('copyreg', 'copy_reg'):
        table[module, '_reconstructor'] = _Reconstructor
    for module in ('builtins', '__builtin__'):
        table[module, 'object'] = _Object
        table[module, 'set'] = InertObject
    table['chumpy.ch', 'Ch'] = _Chumpy
    table['chumpy.reordering', 'Select'] = _Selection
    for layout, stand_in in (('csc', _SparseColumns), ('csr', _SparseRows)):
        for module in (f'scipy.sparse.{layout}', f'scipy.sparse._{layout}', 'scipy.sparse'):
            table[module, f'{layout}_matrix'] = stand_in
    return table


def load_mano_file(path: str | Path) -> dict[str, NDArray]:
    """Reads an official MANO_RIGHT.pkl or MANO_LEFT.pkl.

    Args:
        path: the file.

    Returns:
        Arrays: v_template (778, 3), shapedirs (778, 3, 10), posedirs (778, 3, 135), J_regressor (16, 778) dense,
        weights (778, 16), kintree_table (2, 16), f (faces), hands_components (45, 45), hands_mean (45,), and whatever
        else the file has.

    Raises:
        MANOFileError: the file is missing, is not a MANO file, or names something outside the fixed table.
    """
    path = Path(path)
    if not path.is_file():
        raise MANOFileError(
            f'{path} does not exist. MANO is licensed by its authors: register at https://mano.is.tue.mpg.de, '
            f"download mano_v1_2.zip and put models/{path.name} there. type='ProceduralHand' is the hand model that "
            'needs no licence.'
        )
    try:
        model = load_pickle(path, 'a MANO file', _allowed_names())
    except PickleError as error:
        raise MANOFileError(f'{path} {error}. Download it again.') from None
    if not isinstance(model, dict):
        raise MANOFileError(f'{path} is not a MANO file: it holds a {type(model).__name__}, not a dict.')
    _check(path, model)
    return model


def _check(path: Path, model: dict[str, Any]) -> None:
    for key, shape in REQUIRED.items():
        if key not in model:
            known = ', '.join(sorted(map(str, model)))
            raise MANOFileError(f'{path} is not a MANO hand: it lacks {key!r} (it has {known}).')
        got = np.shape(model[key])
        if got != shape:
            raise MANOFileError(f'{path}: {key!r} must have shape {shape}, got {got}.')
    faces: tuple[int, ...] = np.shape(model.get('f', ()))
    if len(faces) != 2 or faces[1] != 3:
        raise MANOFileError(f"{path}: 'f' must be the (F, 3) triangles, got shape {faces}.")
