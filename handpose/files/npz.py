"""Reading .npz and .npy files that may be damaged or hostile.

What a file says about itself (names, data types, shapes, sizes) is checked before anything is allocated; numbers,
booleans and text are read, and Python objects never are. Zip members carry a CRC-32, so an .npz with changed bytes is
refused; an .npy carries none.
"""

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from handpose.files.reading import FileError, check_regular, message, reason

SMALLEST_LIMIT = 256 * 2**20  # bytes that any file may expand to
LARGEST_RATIO = 100  # of the arrays' size to the file's
_Result = TypeVar('_Result')
_CHUNK = 2**20  # bytes read in one step
_LONGEST_HEADER = 10_000  # bytes, as in numpy
_MAGIC = b'\x93NUMPY'
_DTYPE = re.compile(r'[<>|=](?:b1|[iu][1248]|f[248]|S\d{1,9}|U\d{1,9})')
_ENTRY = r"""\s*['"](descr|fortran_order|shape)['"]\s*:\s*('[^'\\]*'|"[^"\\]*"|True|False|\([\d\sL,]*\))\s*"""
_HEADER = re.compile(rf'\s*\{{{_ENTRY},{_ENTRY},{_ENTRY},?\s*\}}\s*')
_OBJECTS = re.compile(r"""['"]descr['"]\s*:\s*['"][<>|=]?O""")


def read_npz(
    path: str | Path,
    names: Iterable[str] | None = None,
    *,
    error: type[Exception] = FileError,
    advice: str = '',
) -> dict[str, NDArray]:
    """Reads arrays from an .npz file.

    Args:
        path: the file, compressed or not.
        names: the arrays to read; those that the file lacks are left out of the result. None means all arrays.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        {name: array} in the order of the file, in the machine's byte order and writable.

    Raises:
        error: the file cannot be read, is not an .npz or is damaged; an array is there twice, holds Python objects, or
            is not as large as it says; or all arrays together exceed 256 MiB and 100 times the file's size.
    """

    def read(archive: zipfile.ZipFile, size: int) -> dict[str, NDArray]:
        members = _members(archive, None if names is None else set(names))
        _check_total(sum(member.file_size for member in members.values()), size)
        return {name: _read_member(archive, member, name) for name, member in members.items()}

    return _with_zip(path, read, error, advice)


def read_zip_member(path: str | Path, name: str, *, error: type[Exception] = FileError, advice: str = '') -> bytes:
    """Reads one file in a zip archive.

    Args:
        path: the archive.
        name: the name of the file in it.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        The bytes of the file.

    Raises:
        error: the archive cannot be read or is damaged, has no such file or two, or the file says that it is larger
            than 256 MiB and 100 times the archive's size.
    """

    def read(archive: zipfile.ZipFile, size: int) -> bytes:
        entries = [entry for entry in archive.infolist() if entry.filename == name]
        if len(entries) != 1:
            raise FileError(f'must hold {name!r} once, but holds it {len(entries)} times')
        _check_total(entries[0].file_size, size)
        return archive.read(entries[0])

    return _with_zip(path, read, error, advice)


def _check_total(total: int, size: int) -> None:
    if total > max(SMALLEST_LIMIT, LARGEST_RATIO * size):
        raise FileError(f'says that its {size:,} bytes expand to {total:,}, which no file of arrays does')


def _with_zip(
    path: str | Path, read: Callable[[zipfile.ZipFile, int], _Result], error: type[Exception], advice: str
) -> _Result:
    """Returns `read(archive, size of the file)`; everything that may go wrong becomes an `error`."""
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            return read(archive, os.path.getsize(path))
    except FileError as problem:
        raise error(message(path, str(problem), advice)) from problem
    except (OSError, MemoryError) as problem:
        raise error(message(path, reason(problem), advice)) from problem
    # What zipfile raises for a damaged file; ValueError also for a path that no file system allows.
    except (zipfile.BadZipFile, EOFError, zlib.error, struct.error, RuntimeError, ValueError, OverflowError) as problem:
        raise error(message(path, 'is damaged, or is not a zip file (as .npz files are)', advice)) from problem


def read_npy(path: str | Path, *, error: type[Exception] = FileError, advice: str = '') -> NDArray:
    """Reads the array of an .npy file.

    Args:
        path: the file.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        The array, in the machine's byte order and writable.

    Raises:
        error: the file cannot be read or is not an .npy file, holds Python objects, or is not as large as it says.
    """
    try:
        check_regular(path)
        with open(path, 'rb') as file:
            return _read_array(file, os.fstat(file.fileno()).st_size, '')
    except FileError as problem:
        raise error(message(path, str(problem), advice)) from problem
    except (OSError, ValueError, MemoryError) as problem:
        raise error(message(path, reason(problem), advice)) from problem


def _members(archive: zipfile.ZipFile, requested: set[str] | None) -> dict[str, zipfile.ZipInfo]:
    """Returns {array name: zip entry}; the entries' own claims are checked."""
    members = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix('.npy')
        if requested is not None and name not in requested:
            continue
        if name == entry.filename or not _is_array_name(name):
            raise FileError(f'has a member {entry.filename!r}, which cannot be the name of an array')
        if name in members:
            raise FileError(f'has the array {name!r} twice')
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 0x1:
            raise FileError(f'has an array {name!r} that is encrypted or compressed in a way that numpy does not write')
        members[name] = entry
    return members


def _is_array_name(name: str) -> bool:
    """Whether a name could also be a path below a folder; slashes are common ('<metric>/joints')."""
    parts = name.split('/')
    return name.isprintable() and '\\' not in name and not any(part == '' or part.startswith('.') for part in parts)


def _read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> NDArray:
    with archive.open(entry) as file:
        array = _read_array(file, entry.file_size, f'the array {name!r} ')
        if file.read(1):  # also makes zipfile compare the checksum of an empty array
            raise FileError(f'is damaged: the array {name!r} is longer than it says')
        return array


def _read_array(file: Any, size: int, what: str) -> NDArray:
    """Reads one array of `size` bytes, header included; `what` names it in messages."""
    dtype, shape, fortran, header = _read_header(file, what)
    count = prod(shape)
    if header + count * dtype.itemsize != size:
        raise FileError(
            f'is damaged: {what or "it "}says shape {_short(shape)} and type {dtype}, which is '
            f'{count * dtype.itemsize:,} bytes, but has {size - header:,}'
        )
    array = np.empty(count, dtype)
    buffer, position = array.view(np.uint8).data if count else memoryview(b''), 0
    while position < len(buffer):
        got = file.readinto(buffer[position : position + _CHUNK])
        if not got:
            raise FileError(f'is cut off: {what or "it "}ends early')
        position += got
    _check_values(array, what)
    array = array.astype(dtype.newbyteorder('='), copy=False)
    return array.reshape(shape, order='F' if fortran else 'C')


def _read_header(file: IO[bytes], what: str) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """Returns the data type, the shape, whether the array is in Fortran order, and the header's length in bytes."""
    start = file.read(10)
    if start[:6] != _MAGIC or len(start) < 10 or start[6] not in (1, 2, 3):
        raise FileError(f'is damaged: {what or "it "}does not begin as an array does')
    extra = file.read(2) if start[6] > 1 else b''
    length = int.from_bytes(start[8:] + extra, 'little')
    if length > _LONGEST_HEADER:
        raise FileError(f'is damaged: {what or "it "}has a header of {length:,} bytes')
    data = file.read(length)
    text = data.decode('latin-1')
    match = _HEADER.fullmatch(text)
    entries = dict(zip(match.groups()[::2], match.groups()[1::2], strict=True)) if match and len(data) == length else {}
    descr, order, shape = (entries.get(key, '') for key in ('descr', 'fortran_order', 'shape'))
    if _OBJECTS.search(text):
        raise FileError(f'holds Python objects{what and f" in {what.strip()}"}, which are never loaded; save numbers')
    if order not in ('True', 'False') or shape[:1] != '(' or not _DTYPE.fullmatch(descr[1:-1]):
        kinds = 'whole and real numbers up to 64 bits, booleans and text'
        raise FileError(f'has {what or "data "}of a kind that is not read: only {kinds} are')
    return np.dtype(descr[1:-1]), _shape(shape, np.dtype(descr[1:-1]), what), order == 'True', 10 + len(extra) + length


def _shape(text: str, dtype: np.dtype, what: str) -> tuple[int, ...]:
    """The shape that a header gives; refused where even numpy could not make an array of it."""
    lengths = [length.strip().rstrip('L') for length in text[1:-1].split(',')]
    if lengths[-1] == '':
        lengths.pop()
    plausible = len(lengths) <= 32 and all(length.isdigit() and len(length) < 16 for length in lengths)
    shape: tuple[int, ...] = tuple(map(int, lengths)) if plausible else ()
    # Axes of length zero, and elements of no size, hide how long the others are.
    if (
        not plausible
        or prod(max(n, 1) for n in shape) * max(dtype.itemsize, 1) >= 2**48
        or (not dtype.itemsize and all(shape))
    ):
        raise FileError(f'is damaged: {what or "it "}has the impossible shape {text[:60]} of type {dtype}')
    return shape


def _check_values(array: NDArray, what: str) -> None:
    """Refuses bytes that are no value of the array's type: numpy would pass them on."""
    if array.dtype.kind == 'b' and (array.view(np.uint8) > 1).any():
        raise FileError(f'is damaged: {what or "it "}holds booleans that are neither true nor false')
    if array.dtype.kind == 'U' and array.size:
        points = array.view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():
            raise FileError(f'is damaged: {what or "it "}holds text with impossible characters')


def _short(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) < 8 else f'of {len(shape)} axes'
