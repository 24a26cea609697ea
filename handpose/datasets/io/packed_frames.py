"""A packed store: the many small image files of a dataset in few large ones, read by any number of workers.

docs/data/packed_frames.md describes the files; `handpose.datasets.io.packing` makes them.
"""

import functools
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.packed_format import (
    INDEX_FILE,
    MISSING,
    RETIRED,
    SHARD_FILES,
    FrameRow,
    FrameTable,
    map_table,
    open_own,
)
from handpose.system import ask_ahead, read_at

MERGE_GAP = 16 * 1024  # bytes between two wanted frames that are cheaper read than skipped
MOST_AT_ONCE = 4 * 2**20  # bytes of one read
HINT = 256 * 1024  # bytes of one request to read ahead; the kernel cuts larger ones off
AHEAD = 32 * 2**20  # bytes asked for before they are read
SAMPLED_SOURCES = 256  # originals that are looked at when a store is opened
SAME_TIME = 10**9  # ns: copies to other file systems round times
TOOL = 'handpose pack-frames'


class _Run(NamedTuple):
    """One read: bytes `start` to `stop` of shard `shard`, and which of the wanted frames it brings."""

    shard: int
    start: int
    stop: int
    frames: list[int]


class PackedFrames:
    """Reads frames from a packed store, by the paths of the files that they were.

    Reading moves no position that others use, and the index is mapped: data loader workers, forked or spawned, share an
    open store or open their own. Every frame is checked against its checksum.

    Args:
        folder: the store.
        root: the folder of the original files; None means where they were when the store was made.
        check: look at the sizes of the store's files, and at some originals, if they are there, for changes since then.

    Raises:
        DatasetError: no store, one that is damaged or of another version, or originals that have changed.
    """

    def __init__(self, folder: str | Path, root: str | Path | None = None, check: bool = True) -> None:
        self.folder = Path(folder)
        self.table = _open_index(self.folder)
        self.root = os.path.abspath(self.table.header['root'] if root is None else root)
        self._files: dict[int, FileIO] = {}
        if check:
            for message in self.shard_errors():
                raise DatasetError(message)
            self.check_sources()

    def __getstate__(self) -> dict[str, Any]:
        return {'folder': self.folder, 'root': self.root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        PackedFrames.__init__(self, state['folder'], state['root'], check=False)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def image_changes(self) -> dict[str, Any] | None:
        """How the images were changed: {'size', 'source_size' (w, h), 'encoding', 'quality'}; None: they were not."""
        return self.table.header['image_changes']

    def name(self, path: str) -> str:
        """The name in the store of the file `path`: its path from the root, with slashes.

        Raises:
            DatasetError: it lies elsewhere.
        """
        return name_under(self.root, path)

    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, memoryview | None, DatasetError | None]]:
        """Gives (path, data, error) for each of the files `paths`, in the order of their places in the store.

        `data` are the bytes; or None, and `error` is a DatasetError that says what is wrong with that frame.

        Raises:
            DatasetError: the store lacks a frame.
        """
        paths = list(paths)
        places = self.table.find([self.name(path) for path in paths])
        for path, place in zip(paths, places, strict=True):
            if place < 0:
                raise DatasetError(
                    f'{self.folder} has no frame {self.name(path)!r}: the list of images has changed since it was '
                    f'packed; add what is missing: {TOOL} CONFIG --out {self.folder}'
                )
        rows = [self.table.row(place) for place in places]
        runs = list(_runs(rows))
        hinted = ahead = 0
        for run in runs:
            while 1 < len(runs) > hinted and ahead < AHEAD:
                ahead += self._hint(runs[hinted])
                hinted += 1
            ahead -= run.stop - run.start
            data = self._pread(run)
            for i in run.frames:
                yield paths[i], *self._frame(places[i], rows[i], data, run.start)

    def read_place(self, place: int) -> tuple[memoryview | None, DatasetError | None]:
        """Reads row `place` of the index: (data, error) as in `read`."""
        row = self.table.row(place)
        (run,) = _runs([row])
        return self._frame(place, row, self._pread(run), run.start)

    def source_error(self, place: int) -> str | None:
        """A message when the original of row `place` has changed since the store was made, else None."""
        path = f'{self.root}/{self.table.name(place)}'
        wrong = source_change(self.table.row(place), path)
        return None if wrong is None else f'{path} {wrong} since {self.folder} was packed'

    def shard_errors(self) -> Iterator[str]:
        """Messages about files of the store that are missing, or longer or shorter than they should be."""
        for number, shard in enumerate(self.table.header['shards']):
            path = self.shard_name(number)
            if path.is_symlink() or (path.exists() and not path.is_file()):
                yield f'{path} is a link or no regular file; the files of a packed store must be plain files'
                continue
            size = path.stat().st_size if path.exists() else None
            if size != shard['size']:
                found = 'is missing' if size is None else f'has {size} bytes instead of {shard["size"]}'
                yield f'{path} {found}; {rebuild_hint(self.folder)}'

    def shard_name(self, number: int) -> Path:
        """The file of shard `number` of the index; under its other name where an update has retired it since."""
        path = self.folder / self.table.header['shards'][number]['file']
        retired = retired_path(path)
        return retired if not path.exists() and retired.exists() else path

    def check_sources(self) -> None:
        """Looks at some originals, if they are there: first, last and between.

        Raises:
            DatasetError: some have changed since the store was made.
        """
        places = np.unique(np.linspace(0, len(self) - 1, min(len(self), SAMPLED_SOURCES)).astype(int))
        found = [message for place in places.tolist() if (message := self.source_error(place))]
        if found:
            more = f' ({len(found)} of {len(places)} originals that were looked at)' if len(found) > 1 else ''
            raise DatasetError(
                f'{found[0]}{more}; pack what has changed: {TOOL} --out {self.folder}'
                + ('' if self.root == self.table.header['root'] else f' --data-root {self.root}')
            )

    def _hint(self, run: _Run) -> int:
        """Asks the kernel to read a run while others are decoded; returns its bytes."""
        with suppress(OSError):  # reading will say it
            for start in range(run.start, run.stop, HINT):
                ask_ahead(self._file(run.shard), min(HINT, run.stop - start), start)
        return run.stop - run.start

    def _file(self, number: int) -> int:
        if number not in self._files:
            self._files[number] = self._open_shard(number)
        return self._files[number].fileno()

    def _open_shard(self, number: int) -> FileIO:
        path = self.folder / self.table.header['shards'][number]['file']
        try:
            return open_own(path)
        except FileNotFoundError as error:
            # An update that was made since this store was opened keeps its shards, renamed, until the update after it.
            try:
                return open_own(retired_path(path))
            except FileNotFoundError:
                raise error from None

    def _pread(self, run: _Run) -> bytes | OSError:
        """The bytes of a run, fewer where the file ends; or the OSError that came instead."""
        parts, start = [], run.start
        try:
            while start < run.stop and (part := read_at(self._file(run.shard), run.stop - start, start)):
                parts.append(part)
                start += len(part)
        except OSError as error:
            return error
        return parts[0] if len(parts) == 1 else b''.join(parts)

    def _frame(
        self, place: int, row: FrameRow, read: bytes | OSError, start: int
    ) -> tuple[memoryview | None, DatasetError | None]:
        """(data, error) of row `place`; `read` is what `_pread` gave from byte `start` of its shard."""
        if row.state == MISSING:
            path = f'{self.root}/{self.table.name(place)}'
            return None, DatasetError(
                f'image {path} was missing when {self.folder} was packed; unpack the dataset again, then pack it: '
                f'{TOOL} --out {self.folder}'
            )
        if isinstance(read, OSError):
            wrong = f'cannot be read ({read.strerror})'
        else:
            data = memoryview(read)[row.offset - start : row.offset - start + row.size]
            if len(data) == row.size and zlib.crc32(data) == row.checksum:
                return data, None
            wrong = 'is damaged: its checksum does not fit' if len(data) == row.size else 'is cut off'
        where = f'frame {self.table.name(place)!r} (from byte {row.offset} of {self.shard_name(row.shard)})'
        return None, DatasetError(f'{where} {wrong}; {rebuild_hint(self.folder)}')


def _runs(rows: list[FrameRow]) -> Iterator[_Run]:
    """Gives the reads that bring the frames of `rows`, in the order of the files."""
    run: _Run | None = None
    for shard, start, size, i in sorted((row.shard, row.offset, row.size, i) for i, row in enumerate(rows)):
        if (
            run is not None
            and (shard == run.shard and start - run.stop <= MERGE_GAP)
            and start + size - run.start <= MOST_AT_ONCE
        ):
            run.frames.append(i)
            run = run._replace(stop=max(run.stop, start + size))
            continue
        if run is not None:
            yield run
        run = _Run(shard, start, start + size, [i])
    if run is not None:
        yield run


def open_packed(folder: str | Path, root: str | Path | None = None) -> PackedFrames:
    """Opens a store once in a process, and again when it has been made anew; see `PackedFrames`."""
    try:
        found = os.stat(f'{folder}/{INDEX_FILE}')
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
    except OSError:
        version = None  # opening says what is wrong
    return _open(str(folder), None if root is None else str(root), version)


@functools.lru_cache(maxsize=8)
def _open(folder: str, root: str | None, version: object) -> PackedFrames:
    return PackedFrames(folder, root)


def retired_path(path: Path) -> Path:
    """The name of a shard that the newest index no longer lists."""
    return path.with_name(path.name.replace(*RETIRED, 1))


def name_under(root: str, path: str) -> str:
    """The path of a file from an absolute `root`, with slashes.

    Raises:
        DatasetError: it lies elsewhere.
    """
    if os.sep != '/':
        root, path = root.replace(os.sep, '/'), path.replace(os.sep, '/')
    root = f'{root.rstrip("/")}/'
    if not path.startswith(root) or '/.' in path or '//' in path:  # else it is plain: no need to look closer
        path = os.path.abspath(path).replace(os.sep, '/')
    if not path.startswith(root):
        raise DatasetError(f'image {path} does not lie in {root}, the root of its dataset, by which it is called')
    return path[len(root) :]


def source_change(row: FrameRow, path: str) -> str | None:
    """What has happened to the original of a frame ('... since then'), or None.

    One that is no longer there has not changed: the store may be all that was kept.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    if row.state == MISSING:
        return 'was missing, and has come'
    if found.st_size != row.source_size:
        return f'has changed from {row.source_size} to {found.st_size} bytes'
    if abs(found.st_mtime_ns - row.source_time) >= SAME_TIME:
        return 'has been written again'
    return None


def _open_index(folder: Path) -> FrameTable:
    path = folder / INDEX_FILE
    if not path.exists():
        if any(folder.glob(SHARD_FILES)):
            raise DatasetError(f'{folder} was not packed to its end; run the same {TOOL} again, it goes on from there')
        raise DatasetError(
            f'{folder} is no packed store (it has no {INDEX_FILE}); make it: {TOOL} CONFIG --out {folder}'
        )
    try:
        return map_table(path)
    except DatasetError as error:
        raise DatasetError(f'{error}; {rebuild_hint(folder)}') from error


def rebuild_hint(folder: str | Path) -> str:
    """The end of a message about damage."""
    return f'rebuild it: {TOOL} --out {folder} --rebuild'
