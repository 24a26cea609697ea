"""The bytes of a packed store: shards of encoded images, and tables that say which frame lies where.

docs/packed_frames.md describes the layout. Every number is little-endian. A table is the whole of `index.bin`, and the
end of every shard, which holds the rows of its own frames: an index can be made again from shards alone.
"""

import hashlib
import json
import mmap
import os
import re
import struct
import zlib
from collections import namedtuple
from dataclasses import dataclass

import numpy as np

from handpose.datasets.errors import DatasetError

VERSION = 1
INDEX_FILE = 'index.bin'
SHARD_FILES = 'frames-*.bin'
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


Row = namedtuple('Row', RECORD.names)


@dataclass(frozen=True)
class Table:
    """Rows of N frames: `header` (JSON), `records` (N,) of `RECORD`, `names` (bytes, one after the other).

    `hashes` (N,) sorted, of the names; `places` (N,) the row of each.
    """

    header: dict
    records: np.ndarray
    hashes: np.ndarray
    places: np.ndarray
    names: object

    def __len__(self):
        return len(self.records)

    def row(self, place):
        """Row `place` in Python's numbers, as `Row`."""
        return Row._make(self.records[place].item())

    def name(self, place):
        """The name of row `place`."""
        return bytes(self._name(self.row(place))).decode('utf-8')

    def all_names(self):
        """The names of all rows, in order."""
        names, starts, sizes = bytes(self.names), self.records['name_start'], self.records['name_size']
        pairs = zip(starts.tolist(), sizes.tolist(), strict=True)
        return [names[start : start + size].decode('utf-8') for start, size in pairs]

    def find(self, names):
        """Returns the rows of the frames that are called so: M places, -1 for those that the table lacks."""
        encoded = [name.encode('utf-8') for name in names]
        wanted = [name_hash(name) for name in encoded]
        first = self.hashes.searchsorted(np.array(wanted, '<u8')).tolist()
        return [self._place(*query) for query in zip(encoded, wanted, first, strict=True)]

    def _place(self, name, wanted, at):
        while at < len(self.hashes) and self.hashes.item(at) == wanted:
            place = self.places.item(at)
            if self._name(self.row(place)) == name:
                return place
            at += 1
        return -1

    def _name(self, row):
        return self.names[row.name_start : row.name_start + row.name_size]


def name_hash(name):
    """64 bits of a name (bytes)."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), 'little')


def natural_order(name):
    """A key that sorts 'a/9.jpg' before 'a/10.jpg': the frames of a video one after the other."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r'(\d+)', name))]


def table_bytes(header, records, names):
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


def parse_table(data, where):
    """Reads a table from `data`, bytes or a memory map, without copying its sections.

    Raises:
        DatasetError: it is damaged, or of another version; `where` names it.
    """
    if len(data) < HEAD.size:
        raise DatasetError(f'{where} is damaged: {len(data)} bytes are less than its head')
    magic, version, text_size, size, checksum, _ = HEAD.unpack(data[: HEAD.size])
    if magic != TABLE_MAGIC:
        raise DatasetError(f'{where} is no table of packed frames, or damaged: it does not begin with {TABLE_MAGIC}')
    if version != VERSION:
        raise DatasetError(f'{where} has version {version} of the format, and this library reads version {VERSION}')
    body = memoryview(data)[HEAD.size : HEAD.size + size]
    if len(body) != size or zlib.crc32(body) != checksum:
        raise DatasetError(f'{where} is damaged: its checksum does not fit its {len(body)} of {size} bytes')
    header = json.loads(bytes(body[:text_size]))
    count, start, found = header['num_frames'], text_size, []
    for kind in (RECORD, np.dtype('<u8'), np.dtype('<u4')):
        found.append(np.frombuffer(body, kind, count, start))
        start += -(-count * kind.itemsize // ALIGNMENT) * ALIGNMENT
    return Table(header, *found, body[start : start + header['names_size']])


def map_table(path):
    """Opens `index.bin`: its pages are shared by all processes that read it."""
    with open(path, 'rb') as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise DatasetError(f'{path} is empty')
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return parse_table(mapped, path)


def read_shard_table(path):
    """Reads the table at the end of a shard.

    Raises:
        DatasetError: the shard is cut off or its table damaged.
    """
    with open(path, 'rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TRAILER.size))
        end = file.read()
        start, magic = TRAILER.unpack(end) if len(end) == TRAILER.size else (0, b'')
        if magic != SHARD_MAGIC or not 0 < start < size:
            raise DatasetError(f'{path} is cut off or damaged: it does not end as a shard does')
        file.seek(start)
        return parse_table(file.read(size - TRAILER.size - start), f'the table of {path}')
