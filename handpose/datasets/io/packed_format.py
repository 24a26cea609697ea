"""The bytes of a packed store: shards of encoded images, and tables that say which frame lies where.

docs/data/packed_frames.md describes the layout. Every number is little-endian. A table is the whole of `index.bin`, and
the end of every shard, which holds the rows of its own frames: an index can be made again from shards alone.
"""

import hashlib
import json
import mmap
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import DatasetError
from handpose.files.reading import is_path_below

VERSION = 1
INDEX_FILE = 'index.bin'
SHARD_FILES = 'frames-*.bin'
SHARD_NAME = re.compile(r'frames-[0-9]{6,12}\.bin')
RETIRED = ('frames-', 'retired-')  # how the name of a shard changes that the newest index no longer lists
ENCODINGS = ('jpg', 'png')
LONGEST_SIDE = 2**14  # of an image that is resized while it is packed
LONGEST_SOURCE = 2**20  # of an original; OpenCV reads none that are longer
TABLE_MAGIC, SHARD_MAGIC = b'HPFRAMES', b'HPSHARD1'
HEAD = struct.Struct('<8sIIQII')  # magic, version, header size, bytes after the head, their CRC-32, 0
TRAILER = struct.Struct('<Q8s')  # where a shard's table begins, magic
ALIGNMENT = 64  # of the sections of a table, from its beginning
PRESENT, MISSING = 1, 0  # `state`: a frame with bytes, and one whose file was missing when the store was made
RECORD = np.dtype(
    [
        ('offset', '<u8'),  # of the frame's bytes in its shard
        ('size', '<u4'),
        ('checksum', '<u4'),  # CRC-32 of the bytes
        ('shard', '<u4'),  # position in the header's list; 0 in a shard's own table
        ('name_size', '<u2'),
        ('state', '<u2'),
        ('name_start', '<u8'),  # in the section of names
        ('source_size', '<u8'),  # bytes of the original file
        ('source_time', '<i8'),  # its time of modification, ns
    ]
)


class FrameRow(NamedTuple):
    """A record of `RECORD` in Python's numbers."""

    offset: int
    size: int
    checksum: int
    shard: int
    name_size: int
    state: int
    name_start: int
    source_size: int
    source_time: int


@dataclass(frozen=True)
class FrameTable:
    """Rows of N frames: `header` (JSON), `records` (N,) of `RECORD`, `names` (bytes, one after the other).

    `hashes` (N,) sorted, of the names; `places` (N,) the row of each.
    """

    header: dict[str, Any]
    records: np.ndarray
    hashes: np.ndarray
    places: np.ndarray
    names: memoryview

    def __len__(self) -> int:
        return len(self.records)

    def row(self, place: int) -> FrameRow:
        """Row `place` in Python's numbers, as `FrameRow`."""
        return FrameRow._make(self.records[place].item())

    def name(self, place: int) -> str:
        """The name of row `place`."""
        return _checked_name(bytes(self._name(self.row(place))))

    def all_names(self) -> list[str]:
        """The names of all rows, in order."""
        names, starts, sizes = bytes(self.names), self.records['name_start'], self.records['name_size']
        pairs = zip(starts.tolist(), sizes.tolist(), strict=True)
        return [_checked_name(names[start : start + size]) for start, size in pairs]

    def find(self, names: Iterable[str]) -> list[int]:
        """Returns the rows of the frames that are called so: M places, -1 for those that the table lacks."""
        encoded = [name.encode('utf-8') for name in names]
        wanted = [name_hash(name) for name in encoded]
        first = self.hashes.searchsorted(np.array(wanted, '<u8')).tolist()
        return [self._place(*query) for query in zip(encoded, wanted, first, strict=True)]

    def _place(self, name: bytes, wanted: int, at: int) -> int:
        while at < len(self.hashes) and self.hashes.item(at) == wanted:
            place = self.places.item(at)
            if self._name(self.row(place)) == name:
                return place
            at += 1
        return -1

    def _name(self, row: FrameRow) -> memoryview | bytes:
        return self.names[row.name_start : row.name_start + row.name_size]


def _checked_name(name: bytes) -> str:
    """A name (bytes) as text: a path from the root that cannot lead out of it.

    Raises:
        DatasetError: it is anything else; nothing that it names is opened.
    """
    text = name.decode('utf-8', 'replace')
    if not is_path_below(text):
        raise DatasetError(f'a packed store names {text[:80]!r}, which is no path below the root of a dataset')
    return text


def name_hash(name: bytes) -> int:
    """64 bits of a name (bytes)."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), 'little')


def natural_order(name: str) -> list[int | str]:
    """A key that sorts 'a/9.jpg' before 'a/10.jpg': the frames of a video one after the other."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r'(\d+)', name))]


def table_bytes(header: dict[str, Any], records: NDArray, names: Sequence[str]) -> bytes:
    """The bytes of a table; `names` (N) strings go with `records` (N,), whose `name_*` are filled in here."""
    encoded = [name.encode('utf-8') for name in names]
    records = records.copy()
    records['name_size'] = [len(name) for name in encoded]
    records['name_start'] = np.cumsum(records['name_size'], dtype=np.uint64) - records['name_size']
    hashes = np.array([name_hash(name) for name in encoded], '<u8')
    order = np.argsort(hashes, kind='stable')
    joined = b''.join(encoded)
    text = json.dumps({**header, 'num_frames': len(records), 'names_size': len(joined)}).encode('utf-8')
    text += b' ' * (-(HEAD.size + len(text)) % ALIGNMENT)
    sections = [records.tobytes(), hashes[order].tobytes(), order.astype('<u4').tobytes(), joined]
    body = text + b''.join(section + b'\0' * (-len(section) % ALIGNMENT) for section in sections)
    return HEAD.pack(TABLE_MAGIC, VERSION, len(text), len(body), zlib.crc32(body), 0) + body


def parse_table(data: bytes | mmap.mmap, where: object) -> FrameTable:
    """Reads a table from `data`, bytes or a memory map, without copying its sections.

    Raises:
        DatasetError: it is damaged, or of another version; `where` names it.
    """
    if len(data) < HEAD.size:
        raise DatasetError(f'{where} is damaged: {len(data)} bytes are less than its head')
    magic, version, text_size, size, checksum, _ = HEAD.unpack(data[: HEAD.size])
    if magic != TABLE_MAGIC:
        raise DatasetError(f'{where} is no table of packed frames, or damaged: it does not begin with {TABLE_MAGIC!r}')
    if version != VERSION:
        raise DatasetError(f'{where} has version {version} of the format, and this library reads version {VERSION}')
    body = memoryview(data)[HEAD.size : HEAD.size + size]
    if len(body) != size or zlib.crc32(body) != checksum:
        raise DatasetError(f'{where} is damaged: its checksum does not fit its {len(body)} of {size} bytes')
    header = _parse_header(bytes(body[:text_size]), where)
    count, start, found = header['num_frames'], text_size, []
    kinds: tuple[np.dtype, ...] = (RECORD, np.dtype('<u8'), np.dtype('<u4'))
    sections = [-(-count * kind.itemsize // ALIGNMENT) * ALIGNMENT for kind in kinds]
    if text_size + sum(sections) + header['names_size'] > size:
        raise DatasetError(f'{where} is damaged: {size} bytes do not hold the {count} frames that it announces')
    for kind, length in zip(kinds, sections, strict=True):
        found.append(np.frombuffer(body, kind, count, start))
        start += length
    records, _, places = found
    names_end = records['name_start'] + records['name_size']
    fits = (records['name_start'] <= header['names_size']) & (names_end <= header['names_size'])
    if not fits.all() or places.max(initial=0) >= max(count, 1) or not np.isin(records['state'], (0, 1)).all():
        raise DatasetError(f'{where} is damaged: its rows point outside its own sections')
    if 'shards' in header:
        _check_places(records, header['shards'], where)
    records, hashes, places = found
    return FrameTable(header, records, hashes, places, body[start : start + header['names_size']])


def _parse_header(text: bytes, where: object) -> dict[str, Any]:
    """The header of a table, with every entry of the right kind."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    sound = isinstance(header, dict) and isinstance(header.get('root'), str) and 'image_changes' in header
    sound = sound and all(_is_count(header.get(key)) for key in ('num_frames', 'names_size'))
    sound = sound and _are_image_changes(header['image_changes'])
    shards = header.get('shards', []) if sound else None
    if not isinstance(shards, list) or not all(isinstance(s, dict) and _is_count(s.get('size')) for s in shards):
        raise DatasetError(f'{where} is damaged: its header is not that of a table of packed frames')
    for shard in shards:
        if not isinstance(shard.get('file'), str) or not SHARD_NAME.fullmatch(shard['file']):
            raise DatasetError(
                f'{where} names the file {str(shard.get("file"))[:80]!r}; expected names such as frames-000000.bin, '
                f'which lie in the store itself'
            )
    return header


def _are_image_changes(value: Any) -> bool:
    """Whether `value` says how images were changed: None, or sizes, encoding and quality within their limits."""
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {'size', 'source_size', 'encoding', 'quality'}:
        return False
    size, source_size, quality = value['size'], value['source_size'], value['quality']
    sized = (size is None and source_size is None) or (
        _is_size(size, LONGEST_SIDE) and _is_size(source_size, LONGEST_SOURCE)
    )
    return sized and value['encoding'] in ENCODINGS and type(quality) is int and 1 <= quality <= 100


def _is_size(value: Any, longest: int) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(n) is int and 1 <= n <= longest for n in value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _check_places(records: NDArray, shards: list[dict[str, Any]], where: object) -> None:
    """Raises a DatasetError for rows whose bytes lie outside the shards."""
    inside = records['shard'] < len(shards)
    sizes = np.array([shard['size'] for shard in shards] or [0], np.uint64)
    end = sizes[np.where(inside, records['shard'], 0)]
    inside &= (records['offset'] <= end) & (records['offset'] + records['size'] <= end)
    if not inside.all():
        raise DatasetError(f'{where} is damaged: row {int(np.flatnonzero(~inside)[0])} lies outside the shards')


def open_own(path: str | Path) -> FileIO:
    """Opens a file of a store, unbuffered.

    Raises:
        DatasetError: it is a symbolic link, a folder, a pipe or a device: a store consists of plain files.
        OSError: it cannot be opened.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise DatasetError(f'{path} is a link or no regular file; the files of a packed store must be plain files')
    return open(path, 'rb', buffering=0)


def map_table(path: str | Path) -> FrameTable:
    """Opens `index.bin`: its pages are shared by all processes that read it."""
    with open_own(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise DatasetError(f'{path} is empty')
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return parse_table(mapped, path)


def read_shard_table(path: str | Path) -> FrameTable:
    """Reads the table at the end of a shard.

    Raises:
        DatasetError: the shard is cut off or its table damaged.
    """
    with open_own(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TRAILER.size))
        end = file.read()
        start, magic = TRAILER.unpack(end) if len(end) == TRAILER.size else (0, b'')
        if magic != SHARD_MAGIC or not 0 < start < size:
            raise DatasetError(f'{path} is cut off or damaged: it does not end as a shard does')
        file.seek(start)
        table = parse_table(file.read(size - TRAILER.size - start), f'the table of {path}')
    _check_places(table.records, [{'size': start}], f'the table of {path}')
    return table
