"""Reading .pth files that may be damaged or hostile.

`torch.load(weights_only=True)` runs no code from a file, but it believes what the file says about sizes. Everything
that the file declares is therefore compared with the file's own size first: nothing is compressed, a storage is as long
as its bytes, a tensor lies inside its storage, and no function is called that could allocate more.
"""

import io
import math
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from handpose.files.reading import FileError, check_regular, message, reason

# The unpickler of the standard library in Python, whose methods type stubs do not list.
_Unpickler: Any = pickle._Unpickler
MOST_REPEATED = 2**20  # elements of a tensor that is larger than its storage (an expanded one)
ITEM_SIZES = {
    'DoubleStorage': 8,
    'FloatStorage': 4,
    'HalfStorage': 2,
    'BFloat16Storage': 2,
    'LongStorage': 8,
    'IntStorage': 4,
    'ShortStorage': 2,
    'CharStorage': 1,
    'ByteStorage': 1,
    'BoolStorage': 1,
    'ComplexFloatStorage': 8,
    'ComplexDoubleStorage': 16,
}
_MAPPINGS = {('collections', 'OrderedDict'), ('collections', 'Counter')}
_VALUES = {('torch', 'Size'), ('torch', 'device'), ('builtins', 'set'), ('__builtin__', 'set'), ('_codecs', 'encode')}
_TENSOR, _PARAMETER = ('torch._utils', '_rebuild_tensor_v2'), ('torch._utils', '_rebuild_parameter')
_PLAIN = (str, bytes, int, float, type(None))
_DAMAGED = (
    pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, struct.error,
    RecursionError,
)  # fmt: skip
# What the pickler of protocol 2 writes, as far as torch reads it.
_OPERATIONS = b'\x80.()NK}]JMI\x88\x89\x8aGXUQqrhjtsuea\x85\x86\x87cRb'


class _Name(NamedTuple):
    """Stands for a function, class or dtype that the file names; it cannot be called."""

    module: str
    name: str


class _Storage(NamedTuple):
    """A declared storage; `length` counts elements."""

    length: int


def read_pth(
    path: str | Path,
    *,
    map_location: str | torch.device = 'cpu',
    mmap: bool = False,
    allow_old: bool = False,
    error: type[Exception] = FileError,
    advice: str = '',
) -> Any:
    """Reads a .pth file of tensors, numbers, text, lists and dicts.

    Args:
        path: the file.
        map_location: as for `torch.load`.
        mmap: read tensors only when they are used.
        allow_old: also read the format that PyTorch wrote before version 1.6, whose sizes cannot be checked. Only for
            a file whose checksum the user gave.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        What the file holds.

    Raises:
        error: the file cannot be read, is damaged or in the old format, holds anything but plain data, or would take
            more memory than its size explains.
    """
    try:
        check_regular(path)
        if not allow_old or zipfile.is_zipfile(path):
            _check(path)
        else:
            mmap = False
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except (FileError, OSError, MemoryError) as problem:
        raise error(message(path, f'cannot be read as a checkpoint: it {reason(problem)}', advice)) from problem
    except Exception as problem:  # torch raises many kinds; after the checks above each means damage
        what = 'cannot be read as a checkpoint: it is damaged, or holds more than plain data'
        raise error(message(path, what, advice)) from problem


def _check(path: str | Path) -> None:
    """Raises FileError unless everything that the file declares fits its own size."""
    size = os.path.getsize(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            pickles = [entry for entry in entries if entry.filename.endswith('/data.pkl')]
            if len({entry.filename for entry in entries}) < len(entries) or len(pickles) != 1:
                raise FileError('is no archive that torch.save wrote')
            _check_entries(entries, size)
            root = pickles[0].filename.removesuffix('data.pkl')
            sizes = {entry.filename.removeprefix(f'{root}data/'): entry.file_size for entry in entries}
            data = archive.read(pickles[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error, EOFError, ValueError) as problem:
        if isinstance(problem, FileError):
            raise
        with open(path, 'rb') as file:
            start = file.read(16)
        old = start[:1] == b'\x80' and b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19' in start
        raise FileError(
            'has the format of PyTorch before version 1.6, whose sizes cannot be checked; where you trust it, load it '
            'with torch.load and save it again with torch.save'
            if old
            else 'is damaged, cut off, or not written by torch.save'
        ) from problem
    try:
        _Checker(data, sizes).load()
    except FileError:
        raise
    except _DAMAGED as problem:
        raise FileError('is damaged: its list of contents cannot be read') from problem


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise FileError(f'has the compressed entry {entry.filename[:80]!r}; torch.save compresses nothing')
    if sum(entry.file_size for entry in entries) > size:
        raise FileError(f'says that its {size:,} bytes hold more than that')


class _Checker(_Unpickler):
    """Goes through a checkpoint's pickle without making a tensor or calling what it names, and checks every size.

    The unpickler in C is not used: it allocates what a file asks for.

    Args:
        data: the pickle.
        sizes: bytes of every storage, by its key.
    """

    dispatch = {code: call for code, call in _Unpickler.dispatch.items() if code in _OPERATIONS}

    def __init__(self, data: bytes, sizes: dict[str, int]) -> None:
        super().__init__(io.BytesIO(data), encoding='utf-8')
        self.sizes = sizes

    def find_class(self, module: str, name: str) -> _Name:
        """A record of the name, where plain data needs it."""
        found = (module, name)
        needed = found in _MAPPINGS | _VALUES | {_TENSOR, _PARAMETER}
        if module == 'torch' and not needed:
            needed = name in ITEM_SIZES or isinstance(getattr(torch, name, None), torch.dtype)
        if not needed:
            raise FileError(f'holds more than plain data: it names {module[:80]}.{name[:80]}. Nothing was run')
        return _Name(*found)

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage whose declared length is that of its bytes."""
        kind, storage, key, _, length = pid
        item = ITEM_SIZES.get(storage.name) if isinstance(storage, _Name) else None
        if kind != 'storage' or item is None or not isinstance(key, str) or not _is_count(length):
            raise FileError('is damaged: a storage is not described as torch.save does')
        if self.sizes.get(key) != length * item:
            raise FileError(
                f'is damaged: storage {key[:80]!r} should have {length * item:,} bytes, and has '
                f'{self.sizes.get(key, 0):,}'
            )
        return _Storage(length)

    def load_reduce(self) -> None:
        """What a call gives, as far as checking needs it; nothing is called."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, _Name) or type(arguments) is not tuple:
            raise FileError('is damaged: it calls something that is no function')
        found: Any = None
        if name == _TENSOR:
            _check_tensor(*arguments[:4])
        elif name in _MAPPINGS:
            if arguments not in ((), ({},)) and not (len(arguments) == 1 and type(arguments[0]) is dict):
                raise FileError('is damaged: a mapping is not described as torch.save does')
            found = {}
        elif name in _VALUES:
            _check_plain(arguments)
            found = b'' if name.name == 'encode' else None
        elif name != _PARAMETER:
            raise FileError(f'is damaged: it calls {name.module}.{name.name}')
        self.append(found)

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_build(self) -> None:
        """Drops a state, such as the `_metadata` of a state dict: its contents are checked already."""
        self.stack.pop()

    dispatch[pickle.BUILD[0]] = load_build

    def load_setitem(self) -> None:
        """Adds one entry to a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        """Adds entries to a dict."""
        self._set(self.pop_mark())

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def _set(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or not all(isinstance(key, _PLAIN) for key in items[::2]):
            raise FileError('is damaged: a dict has keys that are neither text nor numbers')


def _check_tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> None:
    """Raises FileError for a tensor that does not lie in its storage, or repeats it without end."""
    counts = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(map(_is_count, counts)) or len(shape) != len(strides):
        raise FileError('is damaged: a tensor is not described as torch.save does')
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if all(shape) else -1
    if last >= storage.length or math.prod(shape) > max(storage.length, MOST_REPEATED):
        raise FileError(
            f'is damaged: a tensor of shape {tuple(shape)[:8]} does not lie in its storage of {storage.length:,} '
            f'elements'
        )


def _check_plain(value: Any) -> None:
    """Raises FileError for arguments that are more than numbers and text, or lists of them."""
    values = [value]
    for _ in range(3):
        values = [inner for item in values for inner in (item if isinstance(item, (tuple, list)) else [item])]
        if len(values) > MOST_REPEATED:
            break
    if not all(isinstance(item, _PLAIN) for item in values):
        raise FileError('is damaged: a set, shape or device is not made of numbers or text')


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48
