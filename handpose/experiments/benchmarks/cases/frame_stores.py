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

import os
import tempfile
from collections.abc import Callable, Sequence
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

Clip = dict[str, bytes]  # {path: bytes of the image}
Reader = Callable[[Sequence[str]], Clip]
LONGEST_MAP = 2**34  # bytes of LMDB's address space; its file is as long as its content
COMMIT = 1000  # images of one transaction
SINGLE_FROM_TAR = 8  # images of one call: each needs half a tar file


def _name(path: str) -> str:
    return '/'.join(Path(path).parts[-2:])


def _made_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """Makes `folder` by `write`, if it is not in the cache yet."""
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            write(Path(made) / 'all')
            os.sync()
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


def reading(settings: Settings, size: tuple[int, int], access: str, cold: bool, kind: str, single: int) -> Work:
    """Work: the bytes of clips, or of `single` frames, other ones in every call."""
    folder, count = image_files(settings, size)
    if kind in WRITE:
        name, write = WRITE[kind]
        _made_once(folder / name, lambda made: write(made, [image_path(f'{folder}/data', i) for i in range(count)]))
    files = list(folder.glob(FILES[kind]))
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
        for path in files:
            with open(path, 'rb') as file:
                while file.read(2**22):
                    pass
    before()
    return Work(run, sum(map(len, chosen)), notes, before)


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


for other in WRITE:
    for size in SIZES:
        for access in ('clips', 'single'):
            for cold in (True, False):
                register(size, access, cold, other)
