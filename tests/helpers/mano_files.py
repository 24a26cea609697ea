"""Writes files shaped and pickled like the official MANO ones, with random values."""

import pickle
import struct
import sys
import types

import numpy as np
import scipy.sparse

KINTREE = np.array([[4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], range(16)], np.int64)


def random_hand(seed):
    rng = np.random.default_rng(seed)
    regressor = rng.random((16, 778)) * (rng.random((16, 778)) < 0.02)
    regressor[:, :16] += np.eye(16)
    weights = rng.random((778, 16)) ** 4
    return {
        'v_template': rng.normal(0, 0.05, (778, 3)),
        'shapedirs': rng.normal(0, 0.003, (778, 3, 10)),
        'posedirs': rng.normal(0, 0.001, (778, 3, 135)),
        'J_regressor': regressor / regressor.sum(1, keepdims=True),
        'weights': weights / weights.sum(1, keepdims=True),
        'kintree_table': KINTREE,
        'f': rng.integers(0, 778, (1538, 3)).astype(np.uint32),
        'hands_components': np.linalg.qr(rng.normal(size=(45, 45)))[0],
        'hands_mean': rng.normal(0, 0.3, 45),
        'bs_type': 'lrotmin',
        'bs_style': 'lbs',
    }


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its strings, and numpy 1's module names."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_python2_string(self, value):
        data = value if isinstance(value, bytes) else value.encode('latin1')
        self.write(pickle.BINSTRING + struct.pack('<i', len(data)) + data)
        self.memoize(value)

    def save_global(self, obj, name=None):
        if getattr(obj, '__module__', '').startswith('numpy._core'):
            self.write(pickle.GLOBAL + f'numpy.core.multiarray\n{obj.__name__}\n'.encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    dispatch[str] = dispatch[bytes] = save_python2_string
    dispatch[types.FunctionType] = dispatch[types.BuiltinFunctionType] = save_global


def write_official_like(path, hand, monkeypatch, python2):
    """The official layout: shapedirs inside chumpy objects, a sparse J_regressor, protocol 2."""
    modules = {name: types.ModuleType(name) for name in ('chumpy', 'chumpy.ch', 'chumpy.reordering')}
    modules['scipy.sparse.csc'] = types.ModuleType('scipy.sparse.csc')
    ch_class = type('Ch', (), {'__module__': 'chumpy.ch'})
    select_class = type('Select', (), {'__module__': 'chumpy.reordering'})
    sparse_class = type('csc_matrix', (), {'__module__': 'scipy.sparse.csc'})
    modules['chumpy.ch'].Ch, modules['chumpy.reordering'].Select = ch_class, select_class
    modules['scipy.sparse.csc'].csc_matrix = sparse_class
    shapes, chosen, regressor = ch_class(), select_class(), sparse_class()
    padded = np.concatenate([hand['shapedirs'], np.ones((778, 3, 2))], -1)
    shapes.__dict__ = {'x': padded, '_dirty_vars': set()}
    index = np.arange(padded.size).reshape(padded.shape)[..., :10].ravel()
    chosen.__dict__ = {'a': shapes, 'idxs': index, 'preferred_shape': (778, 3, 10)}
    sparse = scipy.sparse.csc_matrix(hand['J_regressor'])
    regressor.__dict__ = {'_shape': (16, 778), 'data': sparse.data, 'indices': sparse.indices, 'indptr': sparse.indptr}
    content = {**hand, 'shapedirs': chosen, 'J_regressor': regressor}
    with monkeypatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        with open(path, 'wb') as file:
            (Python2Pickler if python2 else pickle._Pickler)(file, protocol=2).dump(content)


def write_plain(folder):
    """Both sides as plain arrays; returns them as (left, right)."""
    hands = [random_hand(0), random_hand(1)]
    for hand, side in zip(hands, ('LEFT', 'RIGHT'), strict=True):
        with open(folder / f'MANO_{side}.pkl', 'wb') as file:
            pickle.dump(hand, file, protocol=2)
    return hands
