"""Reads the official MANO files without chumpy and without running any code that a file may hold.

Besides arrays (`pickles.py`), a file may name inert stand-ins for the classes the official files were written with:
chumpy's `Ch` and `Select`, and scipy's sparse matrices.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np

from handpose.hands.pickles import PickleRefused, array_names, load_pickle

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


class MANOFileError(ValueError):
    """A MANO file that is missing, not a MANO file, or holds what this reader refuses."""


class _StandIn:
    """Takes the place of a pickled object and only keeps its state."""

    state = None

    def __init__(self, *arguments):
        self.arguments = arguments

    def __setstate__(self, state):
        self.state = state


class _Array(_StandIn):
    """chumpy.ch.Ch: an array in `x`."""


class _Selection(_StandIn):
    """chumpy.reordering.Select: entries `idxs` of `a`."""


class _Columns(_StandIn):
    """A compressed sparse column matrix."""


class _Rows(_StandIn):
    """A compressed sparse row matrix."""


def _reconstruct(stand_in, base, state):
    """copyreg._reconstructor for stand-ins only: how protocols 0 and 1 make plain objects."""
    if not (isinstance(stand_in, type) and issubclass(stand_in, _StandIn)) or base is not object:
        raise PickleRefused(f'it rebuilds an object of {stand_in!r}')
    return stand_in()


def _allowed_names():
    """The full table of names that a MANO pickle may mention."""
    table = array_names()
    table['collections', 'OrderedDict'] = OrderedDict
    for module in ('copyreg', 'copy_reg'):
        table[module, '_reconstructor'] = _reconstruct
    for module in ('builtins', '__builtin__'):
        table[module, 'object'] = object
        table[module, 'set'] = set
    table['chumpy.ch', 'Ch'] = _Array
    table['chumpy.reordering', 'Select'] = _Selection
    for layout, stand_in in (('csc', _Columns), ('csr', _Rows)):
        for module in (f'scipy.sparse.{layout}', f'scipy.sparse._{layout}', 'scipy.sparse'):
            table[module, f'{layout}_matrix'] = stand_in
    return table


def load_mano_file(path):
    """Reads an official MANO_RIGHT.pkl or MANO_LEFT.pkl.

    Args:
        path: the file.

    Returns:
        dict of numpy arrays: v_template (778, 3), shapedirs (778, 3, 10), posedirs (778, 3, 135), J_regressor
        (16, 778) dense, weights (778, 16), kintree_table (2, 16), f (faces), hands_components (45, 45),
        hands_mean (45,), and whatever else the file has.

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
        content = load_pickle(path, _allowed_names(), 'a MANO file')
        model = {key: _plain(value) for key, value in content.items()} if isinstance(content, dict) else None
    except PickleRefused as error:
        raise MANOFileError(f'{path} was refused: {error}.') from None
    except Exception as error:  # a broken pickle may raise anything
        raise MANOFileError(
            f'{path} cannot be read as a pickled MANO hand ({type(error).__name__}: {error}); download it again.'
        ) from error
    if model is None:
        raise MANOFileError(f'{path} is not a MANO file: it holds a {type(content).__name__}, not a dict.')
    _check(path, model)
    return model


def _plain(value):
    """Turns stand-ins into numpy arrays."""
    if isinstance(value, _Array):
        return np.array(_plain(value.state['x']))
    if isinstance(value, _Selection):
        chosen = _plain(value.state['a']).ravel()[np.asarray(_plain(value.state['idxs']), np.int64)]
        return chosen.reshape(value.state.get('preferred_shape', chosen.shape))
    if isinstance(value, _Columns | _Rows):
        return _dense(value)
    return value


def _dense(matrix):
    """A sparse stand-in as a dense array, without scipy."""
    state = matrix.state
    shape = state.get('_shape', state.get('shape'))
    dense = np.zeros(shape, state['data'].dtype)
    major = np.repeat(np.arange(len(state['indptr']) - 1), np.diff(state['indptr']))
    minor = state['indices']
    index = (minor, major) if isinstance(matrix, _Columns) else (major, minor)
    np.add.at(dense, index, state['data'])
    return dense


def _check(path, model):
    for key, shape in REQUIRED.items():
        if key not in model:
            known = ', '.join(sorted(map(str, model)))
            raise MANOFileError(f'{path} is not a MANO hand: it lacks {key!r} (it has {known}).')
        got = np.shape(model[key])
        if got != shape:
            raise MANOFileError(f'{path}: {key!r} must have shape {shape}, got {got}.')
    if 'f' not in model or np.ndim(model['f']) != 2 or np.shape(model['f'])[1] != 3:
        raise MANOFileError(f"{path}: 'f' must be the (F, 3) triangles, got shape {np.shape(model.get('f'))}.")
