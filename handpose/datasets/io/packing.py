"""Makes, completes, checks and rebuilds a packed store (docs/data/packed_frames.md).

Shards are written one after the other, each whole or not at all, with a table of its own; the index is written last. So
a conversion that was interrupted goes on with the next shard, and readers of an old index find its shards until there
is a new one.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.packed_format import (
    INDEX_FILE,
    MISSING,
    PRESENT,
    RECORD,
    RETIRED,
    SHARD_FILES,
    SHARD_MAGIC,
    TRAILER,
    FrameRow,
    FrameTable,
    map_table,
    natural_order,
    open_own,
    parse_table,
    read_shard_table,
    table_bytes,
)
from handpose.datasets.io.packed_frames import PackedFrames, name_under, rebuild_hint, retired_path, source_change
from handpose.datasets.io.recoding import Recoding, WrongSizeError
from handpose.datasets.io.video_frames import read_original
from handpose.datasets.transforms.load import decode_image
from handpose.files.atomic import atomic_file, atomic_write, remove_unfinished
from handpose.system import open_to_lock, read_at, try_lock

Shard = tuple[Path, FrameTable]
Watch = Callable[[Iterable, str, int], Iterable]  # (items, words, total) -> the items
SHARD_BYTES = 2**28
BATCH = 256  # images in memory while they are packed


class Packed(NamedTuple):
    """What a conversion did: numbers of frames in the store and newly packed, its bytes, and names of frames.

    `missing` have no file; `unreadable` are no images, and packed as they are; `damaged` were mended.
    """

    frames: int
    new: int
    bytes: int
    missing: list[str]
    unreadable: list[str]
    damaged: list[str]


def no_progress(items: Iterable, words: str, total: int) -> Iterable:
    """Gives the items without showing anything; see `pack_frames`."""
    return items


def pack_frames(
    folder: str | Path,
    root: str | Path | None = None,
    paths: Iterable[str] = (),
    recoding: Recoding | None = None,
    verify: bool = False,
    prune: bool = False,
    shard_bytes: int = SHARD_BYTES,
    workers: int = 4,
    watch: Watch = no_progress,
) -> Packed:
    """Makes a store of image files, or brings one up to date: packs what it lacks and what has changed.

    Args:
        folder: the store.
        root: the folder that `paths` lie in; frames are called by their paths from there. None means no original is
            read; those of a store are only compared, where it says that they are.
        paths: of the files to be in it, besides those that it has already.
        recoding: a `Recoding`; None means as the store is, the original bytes in a new one.
        verify: first compare every frame that is there with its checksum, and pack damaged ones again.
        prune: leave out frames that `paths` do not name.
        shard_bytes: a shard ends with the frame that reaches this size.
        workers: threads that read, and encode.
        watch: function (items, words, total) that gives the items, and may show how far they are.

    Returns:
        `Packed`.

    Raises:
        DatasetError: another process writes the store; originals must be read and `root` is not given; other settings
            than the store's; an original is damaged in the store and gone; images of several sizes are to be resized.
    """
    folder, paths = Path(folder), list(paths)
    if not paths and not folder.is_dir():
        raise DatasetError(f'there is no packed store {folder}; name a config whose images are to be packed')
    folder.mkdir(parents=True, exist_ok=True)
    with _only_writer(folder):
        remove_unfinished(folder)
        shards = _existing_shards(folder)
        header = _found_header(folder, shards)
        given, root = root, os.path.abspath(root or header.get('root', '.'))
        names = {name_under(root, path) for path in paths}
        known, lost = _listed_frames(folder, shards)
        wanted = names if prune else names | set(known)
        if not wanted:
            raise DatasetError(f'{folder} holds no packed store; name a config whose images are to be packed')
        kept, good, damaged = _sort_out(shards, wanted, root, verify, watch)
        damaged += sorted(lost & wanted, key=natural_order)
        here = {name for _, table in kept for name in table.all_names()}
        pool = sorted(wanted - here, key=natural_order)
        _check_originals(pool, good, known, root, folder, given is not None)
        image_changes = _settle(recoding, header, pool, root, folder)
        packer = _Packer(root, good, image_changes)
        made = _write_shards(folder, pool, packer, shard_bytes, workers, watch, _next_number(folder))
        frames, size, missing = _write_index(folder, root, image_changes, [*kept[::-1], *made])
    new = len(pool) - sum(name in good for name in pool)
    return Packed(frames, new, size, missing, packer.unreadable, damaged)


def check_store(
    folder: str | Path, root: str | Path | None = None, paths: Iterable[str] = (), watch: Watch = no_progress
) -> list[str]:
    """Reads a whole store and compares it with its checksums, with its originals where they are, and with a list.

    Args:
        folder: as in `PackedFrames`.
        root: as in `PackedFrames`.
        paths: files that should be in it.
        watch: as in `pack_frames`.

    Returns:
        Messages about what is wrong; none for a good store.
    """
    try:
        store = PackedFrames(folder, root, check=False)
    except DatasetError as error:
        return [str(error)]
    found = list(store.shard_errors())
    for number in range(len(store.table.header['shards'])):
        with suppress(OSError):  # said above
            found += _table_error(store.shard_name(number), folder)
    for place in watch(range(len(store)), 'checking', len(store)):
        message = store.source_error(place)
        if message is not None:
            found.append(message)
        elif store.shard_name(store.table.row(place).shard).exists():
            problem = store.read_place(place)[1]
            found += [] if problem is None else [str(problem)]
    names = [store.name(path) for path in paths]
    lacking = [name for name, place in zip(names, store.table.find(names), strict=True) if place < 0]
    return found + [f'{folder} lacks {name}' for name in lacking]


def _table_error(path: Path, folder: str | Path) -> list[str]:
    try:
        read_shard_table(path)
    except DatasetError as error:
        return [f'{error}; {rebuild_hint(folder)}']
    return []


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    handle = open_to_lock(folder)
    try:
        if not try_lock(handle):
            raise DatasetError(f'another process is packing into {folder}; wait for it, or end it')
        yield
    finally:
        os.close(handle)


def _existing_shards(folder: Path) -> list[Shard]:
    """The readable shards of a folder, the latest first: [(path, FrameTable)]."""
    found = []
    for path in sorted(folder.glob(SHARD_FILES), reverse=True):
        with suppress(DatasetError):  # its frames are packed again
            found.append((path, read_shard_table(path)))
    return found


def _found_header(folder: Path, shards: list[Shard]) -> dict[str, Any]:
    """The header of the index, or of the latest shard where there is none, or {}."""
    with suppress(DatasetError, OSError):
        return map_table(folder / INDEX_FILE).header
    return shards[0][1].header if shards else {}


def _listed_frames(folder: Path, shards: list[Shard]) -> tuple[dict[str, int], set[str]]:
    """{name: state} of all frames that are in the store or were, and the names of those that no shard has any more."""
    tables: list[tuple[Path | None, FrameTable]] = list(shards)
    with suppress(DatasetError, OSError):
        tables.append((None, map_table(folder / INDEX_FILE)))
    found: dict[str, int] = {}
    held: set[str] = set()
    for path, table in tables:
        names = table.all_names()
        found.update(zip(names, table.records['state'].tolist(), strict=True))
        held.update(names if path else ())
    return found, set(found) - held


def _sort_out(
    shards: list[Shard], wanted: set[str], root: str, verify: bool, watch: Watch
) -> tuple[list[Shard], dict[str, tuple[Path, NDArray]], list[str]]:
    """Which shards stay as they are; where good bytes of other frames lie; names of damaged ones.

    Returns:
        [(path, FrameTable)], {name: (path, record)}, [name].
    """
    kept: list[Shard] = []
    good: dict[str, tuple[Path, NDArray]] = {}
    damaged: list[str] = []
    seen: set[str] = set()
    for path, table in watch(shards, 'comparing' if not verify else 'verifying', len(shards)):
        names, fine = table.all_names(), []
        with open_own(path) as file:
            for place, name in enumerate(names):
                row = table.row(place)
                whole = not verify or zlib.crc32(_bytes_of(file, row)) == row.checksum
                if not whole and name in wanted and name not in seen:
                    damaged.append(name)
                fine.append(
                    whole and name in wanted and name not in seen and source_change(row, f'{root}/{name}') is None
                )
        if all(fine):
            kept.append((path, table))
        else:
            good |= {name: (path, record) for name, record, ok in zip(names, table.records, fine, strict=True) if ok}
        seen |= {name for name, ok in zip(names, fine, strict=True) if ok}
    return kept, good, damaged


def _bytes_of(file: BinaryIO, row: FrameRow) -> bytes:
    return read_at(file.fileno(), row.size, row.offset)


def _check_originals(
    pool: list[str], good: dict[str, tuple[Path, NDArray]], known: dict[str, int], root: str, folder: Path, named: bool
) -> None:
    """Refuses to pack frames that are no longer there, or that lie where the store alone says (not `named`)."""
    again = [name for name in pool if known.get(name) == PRESENT and name not in good]
    lost = [name for name in again if not os.path.exists(f'{root}/{name}')]
    if lost:
        more = f' (and {len(lost) - 1} more)' if len(lost) > 1 else ''
        raise DatasetError(
            f'{folder} is damaged where {lost[0]} was{more}, and {root} has no original to pack it from; unpack '
            'the dataset there again, or name where it is by --data-root'
        )
    unread = [name for name in pool if name not in good]
    if unread and not named:
        raise DatasetError(
            f'{len(unread)} originals must be read, e.g. {unread[0]}, and only {folder} itself says that they lie in '
            f'{root}; if that is your dataset, say so: --data-root {root}'
        )


def _settle(
    recoding: Recoding | None, header: dict[str, Any], pool: list[str], root: str, folder: Path
) -> dict[str, Any] | None:
    """The header's `image_changes`: what is asked for, which must be what the store has."""
    asked = None
    if recoding is not None:
        asked = {**asdict(recoding), 'size': recoding.size and list(recoding.size), 'source_size': None}
    if header:
        has = header['image_changes']
        if asked is not None and (has is None or {**has, 'source_size': None} != asked):
            held = 'the original images' if has is None else f'images changed by {has}'
            raise DatasetError(
                f'{folder} holds {held}, and another form ({recoding}) was asked for; give another folder, or delete '
                'this one'
            )
        return has
    if asked is None or asked['size'] is None:
        return asked
    for name in pool:
        with suppress(DatasetError, OSError):
            image = decode_image(read_original(f'{root}/{name}')[0], name)
            return {**asked, 'source_size': list(image.shape[1::-1])}
    raise DatasetError(f'none of the {len(pool)} images in {root} can be read; unpack the dataset again')


class _Packer:
    """Gets the bytes of a frame and its record, in any thread."""

    def __init__(self, root: str, good: dict[str, tuple[Path, NDArray]], image_changes: dict[str, Any] | None) -> None:
        self.root, self.good, self.image_changes = root, good, image_changes
        self.unreadable: list[str] = []
        self.recoding: Recoding | None = None
        if image_changes is not None:
            self.source_size = image_changes['source_size']
            self.recoding = Recoding(image_changes['size'], image_changes['encoding'], image_changes['quality'])

    def __call__(self, name: str) -> tuple[bytes, NDArray]:
        """(data, record) of a frame: from a good place in the store, else from its file."""
        if name in self.good:
            path, record = self.good[name]
            with open_own(path) as file:
                return _bytes_of(file, FrameRow._make(record.item())), record.copy()
        record, source, data = np.zeros((), RECORD), f'{self.root}/{name}', b''
        try:
            data, found = read_original(source)
            record['source_size'], record['source_time'] = len(data), found.st_mtime_ns
            record['state'] = PRESENT
        except FileNotFoundError:
            record['state'] = MISSING
        except OSError as error:
            raise DatasetError(f'image {source} cannot be read ({error.strerror}); unpack the dataset again') from error
        if record['state'] == PRESENT and self.recoding is not None:
            data = self._recoded(self.recoding, data, source, name)
        record['size'], record['checksum'] = len(data), zlib.crc32(data)
        return data, record

    def _recoded(self, recoding: Recoding, data: bytes, path: str, name: str) -> bytes:
        try:
            return recoding.apply(data, path, self.source_size)
        except WrongSizeError:
            raise
        except DatasetError:  # reading the store will say what is wrong with it, as reading the file would
            self.unreadable.append(name)
            return data


def _write_shards(
    folder: Path, pool: list[str], packer: _Packer, shard_bytes: int, workers: int, watch: Watch, number: int
) -> list[Shard]:
    """Packs the frames `pool` into new shards: [(path, FrameTable)]."""
    made, done = [], 0
    frames = iter(watch(_in_threads(packer, pool, workers), 'packing', len(pool)))
    while done < len(pool):
        path, records, offset = folder / SHARD_FILES.replace('*', f'{number:06d}'), [], len(SHARD_MAGIC)
        with atomic_file(path) as file:
            file.write(SHARD_MAGIC)
            for data, record in frames:
                record['offset'], record['shard'] = offset, 0
                records.append(record)
                file.write(data)
                offset += len(data)
                if offset >= shard_bytes:
                    break
            names = pool[done : done + len(records)]
            table = table_bytes({'root': packer.root, 'image_changes': packer.image_changes}, np.stack(records), names)
            file.write(table + TRAILER.pack(offset, SHARD_MAGIC))
        made.append((path, parse_table(table, path)))
        done, number = done + len(records), number + 1
    return made


def _in_threads(packer: _Packer, pool: list[str], workers: int) -> Iterator[tuple[bytes, NDArray]]:
    with ThreadPoolExecutor(workers) as threads:
        for start in range(0, len(pool), BATCH):
            yield from threads.map(packer, pool[start : start + BATCH])


def _next_number(folder: Path) -> int:
    files = [path for pattern in (SHARD_FILES, SHARD_FILES.replace(*RETIRED)) for path in folder.glob(pattern)]
    numbers = [int(path.stem.rpartition('-')[2]) for path in files]
    return max(numbers, default=-1) + 1


def _write_index(
    folder: Path, root: str, image_changes: dict[str, Any] | None, shards: list[Shard]
) -> tuple[int, int, list[str]]:
    """Writes the index of [(path, FrameTable)] and retires other shards: (frames, bytes, names of missing frames).

    Readers that opened the index before find the shards that it lists, renamed, until the next update deletes them.
    """
    records = np.concatenate([table.records for _, table in shards])
    records['shard'] = np.repeat(np.arange(len(shards)), [len(table) for _, table in shards])
    names = [name for _, table in shards for name in table.all_names()]
    files: list[dict[str, Any]] = [{'file': path.name, 'size': path.stat().st_size} for path, _ in shards]
    atomic_write(
        folder / INDEX_FILE,
        table_bytes({'root': root, 'image_changes': image_changes, 'shards': files}, records, names),
    )
    for path in folder.glob(SHARD_FILES.replace(*RETIRED)):
        path.unlink()
    for path in set(folder.glob(SHARD_FILES)) - {path for path, _ in shards}:
        path.rename(retired_path(path))
    missing = [names[place] for place in np.flatnonzero(records['state'] == MISSING).tolist()]
    return len(names), sum(file['size'] for file in files), missing
