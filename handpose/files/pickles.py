"""Reads pickles of arrays and plain values, Python 2's too, and runs nothing that a file may hold.

A pickle is a program that names functions and classes and calls them. Here each name refers to an `InertObject`, which
only records its arguments: no function, class or array of NumPy can be reached from a file. Arrays are made afterwards
from the recorded bytes, and hold only numbers, booleans and text.
"""

import io
import math
import pickle
import re
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

# The standard library's unpickler in Python; type stubs lack it.
_Unpickler: Any = pickle._Unpickler
MOST_BYTES = 2**28  # of a file
MOST_VALUES = 10**6  # of a file, counted as often as they are referred to
MOST_NESTED = 16  # containers and stand-ins in one another
LONGEST_AXIS = 2**31  # of an array
SLACK = 2**16  # bytes; short strings of bytes may serve several arrays
ITEM_SIZES = {'b': (1,), 'i': (1, 2, 4, 8), 'u': (1, 2, 4, 8), 'f': (2, 4, 8)}
ARRAY_TYPE = re.compile(r'([biufSU])([1-9]\d{0,5})')
OBJECTS = 1  # the flag of an array type that holds Python objects
PLAIN_KEYS = (str, bytes, int, float, type(None))


class PickleError(ValueError):
    """A pickle that is refused or cannot be read. The message is a predicate, to be put after the file's name."""


def refuse(reason: str) -> NoReturn:
    """Refuses a pickle that asks for something that is not allowed.

    Args:
        reason: what it asks for.

    Raises:
        PickleError: always.
    """
    raise PickleError(f'was refused: {reason}; nothing was run')


class InertObject:
    """Replaces an object that a pickle makes: it keeps arguments and state. Data classes define `rebuild`."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None
        self.value: Any = None

    def rebuild(self, contents: 'Contents') -> Any:
        """Makes the value that this object stands for; the object itself where it is of no interest.

        Args:
            contents: turns the recorded arguments and state into values.

        Returns:
            The value.

        Raises:
            PickleError: the recorded arguments or state are not those of such an object.
        """
        return self


class OrderedMapping(InertObject):
    """collections.OrderedDict: pairs of keys and values. The reader makes an empty one itself, to be filled later."""

    def rebuild(self, contents: 'Contents') -> dict:
        """See `InertObject.rebuild`: a dict."""
        pairs = contents.value(self.arguments[0])
        if not isinstance(pairs, list) or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
            refuse('a mapping is not made of keys and values')
        return _mapping([item for pair in pairs for item in pair])


class _ArrayClass(InertObject):
    """numpy.ndarray: only named, never called."""


class _Encode(InertObject):
    """_codecs.encode, with which old protocols write bytes; the reader makes the bytes itself."""


class _Bytes(InertObject):
    """bytes: how old protocols write empty ones, which the reader makes itself."""


class _ArrayType(InertObject):
    """numpy.dtype."""

    def rebuild(self, contents: 'Contents') -> np.dtype:
        """A `numpy.dtype` of numbers, booleans or text."""
        name = self.arguments[0] if self.arguments else None
        match = ARRAY_TYPE.fullmatch(name) if isinstance(name, str) else None
        if not match or int(match[2]) not in ITEM_SIZES.get(match[1], (int(match[2]),)):
            refuse(f'it holds an array of type {str(name)[:40]!r}; only numbers, booleans and text are read')
        order = '='
        if self.state is not None:
            order = self._byte_order(int(match[2]) * (4 if match[1] == 'U' else 1))
        return np.dtype(f'{order}{match[0]}')

    def _byte_order(self, item_size: int) -> str:
        state = self.state
        if not isinstance(state, tuple) or len(state) not in (8, 9):
            refuse('the state of an array type is not what NumPy writes')
        _, order, *fields, size, _, flags = state[:8]
        plain = fields == [None, None, None] and type(flags) is int and not flags & OBJECTS and not any(state[8:])
        if order not in ('<', '>', '|', '=') or not plain or size not in (-1, item_size):
            refuse('an array type has fields, objects or another size than its name says')
        return order


class _Array(InertObject):
    """numpy.core.multiarray._reconstruct: an array, whose shape, type and bytes are its state."""

    def rebuild(self, contents: 'Contents') -> NDArray:
        if not self.arguments or self.arguments[0] is not _ArrayClass:
            refuse('it rebuilds something other than an array')
        if not isinstance(self.state, tuple) or len(self.state) not in (4, 5):
            refuse('the state of an array is not what NumPy writes')
        shape, kind, columns_first, data = self.state[-4:]
        return contents.array(shape, kind, 'F' if columns_first else 'C', data)


class _Buffer(InertObject):
    """numpy.core.numeric._frombuffer: an array in protocol 5."""

    def rebuild(self, contents: 'Contents') -> NDArray:
        if len(self.arguments) != 4 or self.arguments[3] not in ('C', 'F'):
            refuse('the arguments of an array are not what NumPy writes')
        data, kind, shape, order = self.arguments
        return contents.array(shape, kind, order, data)


class _Scalar(InertObject):
    """numpy.core.multiarray.scalar: one number."""

    def rebuild(self, contents: 'Contents') -> Any:
        if len(self.arguments) != 2:
            refuse('the arguments of a number are not what NumPy writes')
        return contents.array((), self.arguments[0], 'C', self.arguments[1])[()]


_EMPTY: dict[Any, type] = {OrderedMapping: dict, _Bytes: bytes}
ARRAY_NAMES: dict[tuple[str, str], type[InertObject]] = {
    ('_codecs', 'encode'): _Encode,
    ('__builtin__', 'bytes'): _Bytes,
    ('numpy', 'ndarray'): _ArrayClass,
    ('numpy', 'dtype'): _ArrayType,
}
"""The table {(module, name): InertObject} that NumPy arrays and scalars of any version need."""
for _core in ('numpy.core', 'numpy._core'):
    ARRAY_NAMES[f'{_core}.multiarray', '_reconstruct'] = _Array
    ARRAY_NAMES[f'{_core}.multiarray', 'scalar'] = _Scalar
    ARRAY_NAMES[f'{_core}.numeric', '_frombuffer'] = _Buffer


class Contents:
    """Turns what was recorded into values, within limits that the file's size sets.

    Args:
        size: bytes of the file.
    """

    def __init__(self, size: int) -> None:
        self._depth, self._values, self._bytes = 0, MOST_VALUES, 2 * size + SLACK
        self._encoded: dict[str, bytes] = {}

    def value(self, recorded: Any) -> Any:
        """Returns the plain value or array that something recorded stands for.

        Args:
            recorded: a value, a stand-in, or any nesting of them.

        Returns:
            The value.

        Raises:
            PickleError: it is too deeply nested, too large, or nothing that a file of data holds.
        """
        self._values -= 1
        self._depth += 1
        if self._depth > MOST_NESTED or self._values < 0:
            refuse('its values are nested too deeply, or refer to each other too often')
        found = recorded
        if isinstance(recorded, InertObject):
            if recorded.value is None:
                recorded.value = recorded.rebuild(self)
            found = recorded.value
        elif isinstance(recorded, dict):
            found = {key: self.value(item) for key, item in recorded.items()}
        elif isinstance(recorded, (list, tuple)):
            found = type(recorded)([self.value(item) for item in recorded])
        elif isinstance(recorded, int) and recorded.bit_length() > 64:
            refuse('it holds a whole number of more than 64 bits')
        elif isinstance(recorded, type):
            refuse('it holds a function or a class')
        self._depth -= 1
        return found

    def array(self, shape: Any, kind: Any, order: str, data: Any) -> NDArray:
        """Makes an array of recorded data.

        Args:
            shape: tuple of lengths.
            kind: a recorded `numpy.dtype`.
            order: 'C' or 'F'.
            data: bytes, or text that Python 2 wrote.

        Returns:
            The array, writable.

        Raises:
            PickleError: `kind` is no type of numbers, booleans or text, or the shape does not fit the data.
        """
        kind = self.value(kind)
        data = self.latin1(data) if isinstance(data, str) else data
        whole = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < LONGEST_AXIS for n in shape)
        if not isinstance(kind, np.dtype) or not isinstance(data, (bytes, bytearray)) or not whole or len(shape) > 32:
            refuse('an array is not described by its shape, its type and its bytes')
        expected = math.prod(shape) * kind.itemsize
        if expected != len(data):
            raise PickleError(
                f'cannot be read: an array of shape {shape} and type {kind} has {len(data)} bytes, expected {expected}'
            )
        self._bytes -= len(data)
        if self._bytes < 0:
            refuse('its arrays are larger than the file')
        flat = np.frombuffer(data, kind) if data else np.empty(0, kind)
        if kind.kind in 'bU':
            codes = flat.view(np.uint8 if kind.kind == 'b' else kind.str[0] + 'u4')
            if codes.max(initial=0) > (1 if kind.kind == 'b' else 0x10FFFF):
                raise PickleError('cannot be read: an array holds values that its type does not have')
        return flat.copy().reshape(shape, order=order)

    def latin1(self, text: str) -> bytes:
        """Encodes text; gives the same object for the same text, however often a file asks for it."""
        if text not in self._encoded:
            try:
                self._encoded[text] = text.encode('latin1')
            except UnicodeEncodeError:
                raise PickleError('cannot be read: the bytes of an array hold characters outside latin1') from None
        return self._encoded[text]


class _Reader(_Unpickler):
    """The unpickler of the standard library, in Python, with every operation that calls or changes an object replaced.

    The one in C is not used: some of its operations allocate what the file asks for before they look at the data.
    """

    dispatch = dict(_Unpickler.dispatch)

    def __init__(
        self, data: bytes, contents: Contents, names: dict[tuple[str, str], type[InertObject]], kind: str
    ) -> None:
        super().__init__(io.BytesIO(data), encoding='latin1')
        self.contents, self.names, self.kind = contents, names, kind

    def find_class(self, module: str, name: str) -> type[InertObject]:
        """The stand-in for a name."""
        if (module, name) not in self.names:
            refuse(f'it asks for {module[:80]}.{name[:80]}, which {self.kind} does not need')
        return self.names[module, name]

    def load_reduce(self) -> None:
        """Calls a stand-in; the arguments are on the stack."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if not _is_name(name) or type(arguments) is not tuple:
            refuse('it calls something that is no function')
        if name is _Encode:
            self.append(self._encode(*arguments))
        elif name in _EMPTY and not arguments:
            self.append(_EMPTY[name]())
        else:
            self.append(name(*arguments))

    def _encode(self, text: Any = '', encoding: Any = 'latin1', *others: Any) -> bytes:
        if not isinstance(text, str) or str(encoding).lower().replace('-', '') != 'latin1' or others:
            refuse(f'it encodes text as {str(encoding)[:40]!r}; only latin1 is allowed')
        return self.contents.latin1(text)

    def load_build(self) -> None:
        """Records the state of a stand-in."""
        state, made = self.stack.pop(), self.stack[-1]
        if not isinstance(made, InertObject) or made.state is not None:
            refuse(f'it changes the state of {"a name" if _is_name(made) else type(made).__name__}')
        made.state = state

    def load_bytearray8(self) -> None:
        """Bytes, without allocating more of them than there are."""
        (size,) = struct.unpack('<Q', self.read(8))
        self.append(self.read(min(size, MOST_BYTES)))

    def load_append(self) -> None:
        """Adds to a list, and to nothing else."""
        value = self.stack.pop()
        _only(list, self.stack[-1]).append(value)

    def load_appends(self) -> None:
        """Adds to a list, and to nothing else."""
        values = self.pop_mark()
        _only(list, self.stack[-1]).extend(values)

    def load_setitem(self) -> None:
        """Adds to a dict, and to nothing else."""
        value, key = self.stack.pop(), self.stack.pop()
        _only(dict, self.stack[-1]).update(_mapping([key, value]))

    def load_setitems(self) -> None:
        """Adds to a dict, and to nothing else."""
        items = self.pop_mark()
        _only(dict, self.stack[-1]).update(_mapping(items))

    def load_dict(self) -> None:
        items = self.pop_mark()  # gives the stack another `append`
        self.append(_mapping(items))

    def load_additems(self) -> None:
        """Adds to a set, and to nothing else."""
        items = self.pop_mark()
        _only(set, self.stack[-1]).update(_mapping([entry for item in items for entry in (item, None)]))

    def load_frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(_mapping([entry for item in items for entry in (item, None)])))

    def load_refused(self) -> None:
        """Refuses what no file of data needs: instances of old classes, references to other objects, registries."""
        refuse(f'it uses an operation that {self.kind} does not need')


_OWN = {
    'REDUCE': _Reader.load_reduce, 'NEWOBJ': _Reader.load_reduce, 'BUILD': _Reader.load_build,
    'BYTEARRAY8': _Reader.load_bytearray8, 'APPEND': _Reader.load_append, 'APPENDS': _Reader.load_appends,
    'SETITEM': _Reader.load_setitem, 'SETITEMS': _Reader.load_setitems, 'DICT': _Reader.load_dict,
    'ADDITEMS': _Reader.load_additems, 'FROZENSET': _Reader.load_frozenset,
}  # fmt: skip
_REFUSED = (
    'INST', 'OBJ', 'NEWOBJ_EX', 'PERSID', 'BINPERSID', 'EXT1', 'EXT2', 'EXT4', 'NEXT_BUFFER', 'READONLY_BUFFER',
)  # fmt: skip
for _name, _method in {**_OWN, **dict.fromkeys(_REFUSED, _Reader.load_refused)}.items():
    _Reader.dispatch[getattr(pickle, _name)[0]] = _method


def _is_name(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, InertObject)


def _only(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        refuse(f'it adds to a {type(value).__name__} as if it were a {kind.__name__}')
    return value


def _mapping(items: list[Any]) -> dict:
    """A dict of keys and values in turn. Keys are plain: the hash of nested ones can take for ever."""
    if len(items) % 2 or not all(isinstance(key, PLAIN_KEYS) for key in items[::2]):
        refuse('it holds a dict or a set whose keys are no text or numbers')
    return dict(zip(items[::2], items[1::2], strict=True))


def load_pickle(path: str | Path, kind: str, names: dict[tuple[str, str], type[InertObject]] = ARRAY_NAMES) -> Any:
    """Unpickles a file of plain values and arrays; text and bytes of Python 2 are read as latin1.

    Args:
        path: the file.
        kind: what the file should be, for the message, e.g. 'a MANO file'.
        names: what the file may name, {(module, name): InertObject}; `ARRAY_NAMES`, or these and more.

    Returns:
        The value, usually a dict. An object that its `InertObject` does not rebuild stays one.

    Raises:
        PickleError: the file cannot be opened, is damaged or too large, or asks for something else.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise PickleError('cannot be read: there is no such file')
        if path.stat().st_size > MOST_BYTES:
            raise PickleError(f'cannot be read: {path.stat().st_size} bytes are too many for {kind}')
        data = path.read_bytes()
    except OSError as error:
        raise PickleError(f'cannot be read ({error.strerror})') from error
    contents = Contents(len(data))
    try:
        return contents.value(_Reader(data, contents, names, kind).load())
    except PickleError:
        raise
    except Exception as error:  # each operation has its own way to fail on a damaged file
        raise PickleError('cannot be read: it is no pickle, damaged or cut short') from error
