"""Reads pickles, Python 2's too, without running any code that a file may hold.

A pickle is a program. Here it may name only what a fixed table holds: array constructors, and whatever inert stand-ins
the caller adds. Everything else is refused before it is looked up.
"""

import codecs
import pickle

import numpy as np


class PickleRefused(ValueError):
    """A pickle that names something outside the table; the sentence says what."""


def encode_latin1(text, encoding='latin1', errors='strict'):
    """`_codecs.encode` as Python 3 writes bytes in old protocols, and nothing else."""
    if encoding.lower().replace('-', '') != 'latin1':
        raise PickleRefused(f'it encodes text as {encoding!r}; only latin1 is allowed')
    return codecs.encode(text, 'latin1', errors)


def array_names():
    """The table {(module, name): object} that NumPy arrays and scalars of any version need."""
    core = np._core.multiarray if hasattr(np, '_core') else np.core.multiarray
    table = {('_codecs', 'encode'): encode_latin1}
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        table[module, '_reconstruct'] = core._reconstruct
        table[module, 'scalar'] = core.scalar
    table.update({('numpy', 'ndarray'): np.ndarray, ('numpy', 'dtype'): np.dtype})
    return table


class _RestrictedUnpickler(pickle.Unpickler):
    def __init__(self, file, names, kind):
        super().__init__(file, encoding='latin1')
        self.names, self.kind = names, kind

    def find_class(self, module, name):
        if (module, name) not in self.names:
            raise PickleRefused(f'it asks for {module}.{name}, which {self.kind} does not need; nothing was run')
        return self.names[module, name]


def load_pickle(path, names, kind):
    """Unpickles a file; text and bytes of Python 2 are read as latin1.

    Args:
        path: the file. names: table of what it may name, e.g. `array_names()`. kind: what the file should be, for the
            sentence, e.g. 'a MANO file'.

    Raises:
        PickleRefused: it names something else. Exception of any type: the file is broken or missing.
    """
    with open(path, 'rb') as file:
        return _RestrictedUnpickler(file, names, kind).load()
