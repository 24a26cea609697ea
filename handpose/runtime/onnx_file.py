"""Reading the metadata of an .onnx file without the package `onnx`.

The file is one protocol buffer, of which only the fields of the outermost message are looked at; the graph and its
weights are skipped.
"""

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from handpose.files.reading import check_regular, reason
from handpose.runtime.errors import RuntimeFileError

FORMAT = 'handpose-onnx'
FORMAT_VERSION = 1
KEY = 'handpose'  # of the entry of the metadata that holds all of it, as JSON
_METADATA_PROPS = 14  # number of the field in ModelProto; its entries have a key (1) and a value (2)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LARGEST_TEXT = 1 << 24  # bytes
_ADVICE = 'give a file that `handpose export-model` wrote'


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Reads what an exported network says about itself.

    Args:
        path: of the .onnx file.

    Returns:
        The metadata, see docs/guides/export_model.md.

    Raises:
        RuntimeFileError: the file is missing, damaged, of a newer format, or was not written by this library.
    """
    try:
        check_regular(path)
        with open(path, 'rb') as file:
            texts = _texts(file, os.path.getsize(path))
    except OSError as problem:
        raise RuntimeFileError(f'{path} {reason(problem)}; {_ADVICE}') from problem
    except (ValueError, EOFError) as problem:
        raise RuntimeFileError(f'{path} is damaged, or no .onnx file; {_ADVICE}') from problem
    if KEY not in texts:
        raise RuntimeFileError(f'{path} does not say what its inputs are (no metadata {KEY!r}); {_ADVICE}')
    try:
        metadata = json.loads(texts[KEY])
        kind, version = metadata['format'], int(metadata['format_version'])
    except (ValueError, OverflowError, TypeError, KeyError, RecursionError) as problem:
        raise RuntimeFileError(f'{path} has metadata that cannot be read; {_ADVICE}') from problem
    if kind != FORMAT or not 1 <= version <= FORMAT_VERSION:
        raise RuntimeFileError(
            f'{path} has the format {kind!r}, version {version}; this version of handpose reads {FORMAT!r} up to '
            f'version {FORMAT_VERSION}: export the model again, or update handpose'
        )
    return metadata


def _texts(file: BinaryIO, size: int) -> dict[str, str]:
    """The entries of `metadata_props`."""
    found = {}
    while file.tell() < size:
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _varint(file)
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(kind) if kind != _BYTES else _varint(file)
        if length is None or file.tell() + length > size:
            raise EOFError
        if number != _METADATA_PROPS or length > _LARGEST_TEXT:
            file.seek(length, os.SEEK_CUR)
            continue
        key, value = _entry(file, file.tell() + length)
        found[key] = value
    return found


def _entry(file: BinaryIO, end: int) -> tuple[str, str]:
    """One StringStringEntryProto, which ends at the byte `end`."""
    parts = {1: '', 2: ''}
    while file.tell() < end:
        tag = _varint(file)
        length = _varint(file)
        if tag & 7 != _BYTES or file.tell() + length > end:
            raise EOFError
        parts[tag >> 3] = file.read(length).decode('utf-8')
    return parts[1], parts[2]


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return value
    raise ValueError
