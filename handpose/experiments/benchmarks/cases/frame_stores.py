"""The packed store against LMDB and WebDataset: the same JPEGs, the same clips, the bytes of the images only.

LMDB holds one value per image, its keys in the order of the frames, and is read by lookups
in one transaction per clip, with the read-ahead of the kernel for clips and without it for single images: either is the
faster choice from a cold cache. WebDataset holds one tar
file per video: it reads from the beginning of a file, so a clip needs all images up to its last one. Neither checks
checksums; the packed store checks those of every image.

Cold means that the pages of the files are dropped (`packed_frames.forget`) before every call, with the store closed and
then opened again: `posix_fadvise` leaves pages that a process has mapped. Opening is not timed, but what a store does
when it is read for the first time is. Warm means that all is in memory and the store stays open.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from handpose.datasets.io.packed_frames import PackedFrames
from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.experiments.benchmarks.cases.packed_frames import (
    CLIPS,
    SINGLE,
    SIZES,
    VIDEO,
    draw_paths,
    forget,
    image_files,
    image_path,
)
from handpose.system import check_posix, flush_disks

Clip = dict[str, bytes]  # {path: bytes of the image}
Reader = Callable[[Sequence[str]], Clip]
LONGEST_MAP = 2**34  # bytes of LMDB's address space; its file is as long as its content
WORKERS = 2
COMMIT = 1000  # images of one transaction
SINGLE_FROM_TAR = 8  # images of one call: each needs half a tar file


def _name(path: str) -> str:
    return '/'.join(Path(path).parts[-2:])


def _made_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """Makes `folder` by `write`, if it is not in the cache yet."""
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            write(Path(made) / 'all')
            flush_disks()
            os.replace(Path(made) / 'all', folder)
    return folder


def write_lmdb(folder: Path, paths: Sequence[str]) -> None:
    """Writes image files into an LMDB database."""
    import lmdb

    with lmdb.open(str(folder), map_size=LONGEST_MAP) as database:
        for start in range(0, len(paths), COMMIT):
            with database.begin(write=True) as transaction:
                for path in paths[start : start + COMMIT]:
                    transaction.put(_name(path).encode(), Path(path).read_bytes(), append=True)


def write_tars(folder: Path, paths: Sequence[str]) -> None:
    """Writes image files into tar files of WebDataset, one for each video."""
    import webdataset

    folder.mkdir()
    for start in range(0, len(paths), VIDEO):
        with webdataset.TarWriter(str(folder / f'{start // VIDEO:04d}.tar')) as tar:
            for path in paths[start : start + VIDEO]:
                tar.write({'__key__': str(Path(path).with_suffix('').name), 'jpg': Path(path).read_bytes()})


def open_store(folder: Path, access: str) -> Reader:
    """Opens the packed store."""
    store = PackedFrames(folder / 'store', folder / 'data', check=False)
    return lambda paths: {path: bytes(data) for path, data, _ in store.read(paths) if data is not None}


def open_lmdb(folder: Path, access: str) -> Reader:
    """Opens the LMDB database."""
    import lmdb

    ahead = access == 'clips'
    database = lmdb.open(str(folder / 'lmdb'), map_size=LONGEST_MAP, readonly=True, lock=False, readahead=ahead)

    def read(paths: Sequence[str]) -> Clip:
        with database.begin() as transaction:
            found: Any = {path: transaction.get(_name(path).encode()) for path in paths}
            return found

    return read


def open_tars(folder: Path, access: str) -> Reader:
    """Opens nothing: every clip opens the tar file of its video."""
    import webdataset

    def read(paths: Sequence[str]) -> Clip:
        left = {Path(path).with_suffix('').name: path for path in paths}
        clip = {}
        tar = folder / 'tars' / f'{Path(paths[0]).parent.name}.tar'
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False):
            if sample['__key__'] in left:
                clip[left.pop(sample['__key__'])] = sample['jpg']
            if not left:
                break
        return clip

    return read


OPEN = {'store': open_store, 'lmdb': open_lmdb, 'webdataset': open_tars}
WRITE = {'lmdb': ('lmdb', write_lmdb), 'webdataset': ('tars', write_tars)}
FILES = {'store': 'store/frames-*', 'lmdb': 'lmdb/data.mdb', 'webdataset': 'tars/*.tar'}


class _Workers:
    """Forked processes that read clips and keep them, as data loader workers do; each opens the store itself.

    Args:
        open_reader: opens the store.
    """

    def __init__(self, open_reader: Callable[[], Reader]) -> None:
        check_posix('sharing an open store with forked processes')
        context = multiprocessing.get_context('fork')
        self.pipes, self.processes = [], []
        for _ in range(WORKERS):
            ours, theirs = context.Pipe()
            process = context.Process(  # type: ignore[attr-defined,unused-ignore]
                target=self._serve, args=(open_reader, theirs), daemon=True
            )
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)
        self.read([])

    def read(self, clips: Sequence[Sequence[str]]) -> list[list[int]]:
        """Reads clips, those of each worker one after the other; the number of bytes of each."""
        for number, pipe in enumerate(self.pipes):
            pipe.send(clips[number::WORKERS])
        return [pipe.recv() for pipe in self.pipes]

    def close(self) -> None:
        """Ends the workers."""
        for process in self.processes:
            process.kill()
            process.join()

    @staticmethod
    def _serve(open_reader: Callable[[], Reader], pipe: Connection) -> None:
        read = open_reader()
        while True:
            pipe.send([sum(map(len, read(paths).values())) for paths in pipe.recv()])


def prepared(settings: Settings, size: tuple[int, int], kind: str) -> tuple[Path, int, list[Path]]:
    """The folder of the images and their number, and the files of a store of them, written if not there yet."""
    folder, count = image_files(settings, size)
    if kind in WRITE:
        name, write = WRITE[kind]
        _made_once(folder / name, lambda made: write(made, [image_path(f'{folder}/data', i) for i in range(count)]))
    return folder, count, list(folder.glob(FILES[kind]))


def reading(settings: Settings, size: tuple[int, int], access: str, cold: bool, kind: str, single: int) -> Work:
    """Work: the bytes of clips, or of `single` frames, other ones in every call."""
    folder, count, files = prepared(settings, size, kind)
    draw = draw_paths(f'{folder}/data', count, access, single)
    chosen: list[list[str]] = []
    readers: list[Reader] = []

    def before() -> None:
        chosen[:] = draw()
        if cold:
            readers.clear()
            forget(files, False)
        if not readers:
            readers.append(OPEN[kind](folder, access))

    def run() -> list[Clip]:
        return [readers[0](clip) for clip in chosen]

    def notes() -> dict[str, Any]:
        return {f'MB of {kind}:': round(sum(path.stat().st_size for path in files) / 1e6), 'images:': count}

    if not cold:
        bring_into_memory(files)
    before()
    return Work(run, sum(map(len, chosen)), notes, before)


def reading_in_workers(settings: Settings, size: tuple[int, int], cold: bool, kind: str) -> Work:
    """Work: the same clips, in two processes; their bytes stay there."""
    folder, count, files = prepared(settings, size, kind)
    draw = draw_paths(f'{folder}/data', count, 'clips', 0)
    chosen: list[list[str]] = []
    workers: list[_Workers] = []

    def before() -> None:
        chosen[:] = draw()
        if cold and workers:
            workers.pop().close()
        if cold:
            forget(files, False)
        if not workers:
            workers.append(_Workers(lambda: OPEN[kind](folder, 'clips')))

    if not cold:
        bring_into_memory(files)
    before()
    return Work(lambda: workers[0].read(chosen), sum(map(len, chosen)), before=before)


def bring_into_memory(files: Sequence[Path]) -> None:
    """Reads files, so that the page cache has them."""
    for path in files:
        with open(path, 'rb') as file:
            while file.read(2**22):
                pass


def register(size: str, access: str, cold: bool, other: str) -> None:
    """Registers the packed store as a case, and LMDB or WebDataset as its reference."""
    single = SINGLE_FROM_TAR if other == 'webdataset' else SINGLE
    words = {'clips': f'{CLIPS} clips', 'single': f'{single} single frames at random'}[access]
    name = f'store_{access}_{size}_{"cold" if cold else "warm"}_{other}'
    about = f'The packed store, {words} of {size} JPEGs, bytes only, {"pages dropped" if cold else "all in memory"}'
    options = (SIZES[size], access, cold)
    made = case('frame', when='asked', name=name, about=about, packages=(other,))(
        lambda settings: reading(settings, *options, 'store', single)
    )

    def other_store(settings: Settings) -> Work:
        return reading(settings, *options, other, single)

    other_store.__doc__ = {'lmdb': 'LMDB.', 'webdataset': 'WebDataset, one tar file per video.'}[other]
    made.reference(other_store)


def register_workers(size: str, cold: bool, other: str) -> None:
    """Registers clips read in several processes."""
    name = f'store_workers_{size}_{"cold" if cold else "warm"}_{other}'
    about = f'{CLIPS} clips of {size} JPEGs from the packed store in {WORKERS} processes, '
    about += 'pages dropped' if cold else 'all in memory'
    made = case('frame', when='asked', name=name, about=about, packages=(other,))(
        lambda settings: reading_in_workers(settings, SIZES[size], cold, 'store')
    )

    @made.reference
    def from_lmdb(settings: Settings) -> Work:
        """LMDB, opened in every process."""
        return reading_in_workers(settings, SIZES[size], cold, other)


for size in SIZES:
    for cold in (True, False):
        register_workers(size, cold, 'lmdb')
for other in WRITE:
    for size in SIZES:
        for access in ('clips', 'single'):
            for cold in (True, False):
                register(size, access, cold, other)
