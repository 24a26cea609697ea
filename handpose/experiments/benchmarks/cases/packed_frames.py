"""Packed frames against the files that they were, from a cold page cache.

`posix_fadvise(DONTNEED)` drops the pages of a file from memory, if they are on the disk already (`os.sync` sees to that
when the files are made). The names of the files and their inodes (where a file lies, how large it is) stay in
memory: opening a file then costs no disk access, which favours separate files. The `_all_cold` cases
write to /proc/sys/vm/drop_caches instead, which empties names, inodes and the blocks that they lie in too, as after a
reboot. That takes a privilege and slows other programs, so they run only when asked for.

The index of the store is open, as in training; opening it is not timed.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from handpose.datasets.io.packed_frames import PackedFrames, open_packed
from handpose.datasets.io.packing import pack_frames
from handpose.datasets.transforms import LoadImages
from handpose.datasets.transforms.load import read_files
from handpose.experiments.benchmarks.case import BenchmarkError, Settings, Work, case
from handpose.structures import HandSequence
from handpose.system import flush_disks, forget_pages

VIDEO, FRAMES, SPACING = 500, 128, 2  # frames of a video; of a clip, and between them
CLIPS, SINGLE = 8, 256  # in one call
FILES, QUICK_FILES = 20_000, 1_000
SIZES = {'160x90': (160, 90), '480x270': (480, 270)}


def image_files(settings: Settings, size: tuple[int, int]) -> tuple[Path, int]:
    """A folder of JPEGs, `data/<video>/<frame>.jpg`, and beside it a store of them, made if not in the cache yet."""
    count = QUICK_FILES if settings.quick else FILES
    folder = Path(settings.cache) / f'packed_frames_{size[0]}x{size[1]}_{count}'
    if folder.exists():
        return folder, count
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        paths = [write_image(f'{made}/all/data', number, size) for number in range(count)]
        pack_frames(f'{made}/all/store', f'{made}/all/data', paths)
        flush_disks()
        os.replace(f'{made}/all', folder)
    return folder, count


def write_image(root: str, number: int, size: tuple[int, int]) -> str:
    """A smooth image that moves, with a camera's noise: about as many bytes as a photograph."""
    path = image_path(root, number)
    if number % VIDEO == 0:
        os.makedirs(os.path.dirname(path))
    draw = np.random.default_rng(number // VIDEO)
    smooth = cv2.resize(draw.integers(0, 256, (12, 16, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(number).normal(0, 2, smooth.shape)
    image = (np.roll(smooth, number % VIDEO, 1) + noise).clip(0, 255).astype(np.uint8)
    cv2.imwrite(path, image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return path


def image_path(root: str, number: int) -> str:
    return f'{root}/{number // VIDEO:04d}/{number % VIDEO:06d}.jpg'


def reading(
    settings: Settings, size: tuple[int, int], access: str, decoded: bool, all_cold: bool, packed: bool
) -> Work:
    """Work: the images of clips, or single ones, other ones in every call."""
    folder, count = image_files(settings, size)
    root = f'{folder}/data'
    draw = draw_paths(root, count, access, SINGLE)
    chosen: list[list[str]] = []
    store = open_packed(folder / 'store', root) if packed else None
    if all_cold:
        check_may_empty_caches()

    def before() -> None:
        chosen[:] = draw()
        forget((folder / 'store').glob('frames-*') if packed else [path for clip in chosen for path in clip], all_cold)

    def run() -> list[Any]:
        return [load(clip, store, decoded) for clip in chosen]

    def notes() -> dict[str, Any]:
        paths = [image_path(root, number) for number in range(0, count, 100)]
        size = np.mean([os.path.getsize(path) for path in paths])
        return {'kB of an image:': round(size / 1000, 1), 'images:': count}

    before()
    return Work(run, sum(map(len, chosen)), notes, before)


def draw_paths(root: str, count: int, access: str, single: int) -> Callable[[], list[list[str]]]:
    """Function () -> paths of other clips, or of `single` other frames, in every call; seeded."""
    random = np.random.default_rng(0)

    def draw() -> list[list[str]]:
        if access == 'clips':
            starts = random.permutation(count // VIDEO)[:CLIPS] * VIDEO + random.integers(VIDEO - FRAMES * SPACING)
            numbers = [list(range(start, start + FRAMES * SPACING, SPACING)) for start in starts.tolist()]
        else:
            numbers = [[number] for number in random.permutation(count)[:single].tolist()]
        return [[image_path(root, number) for number in clip] for clip in numbers]

    return draw


def load(paths: Sequence[str], store: PackedFrames | None, decoded: bool) -> Any:
    """The images of one clip, or their bytes."""
    if not decoded:
        source = read_files(paths) if store is None else store.read(paths)
        return {path: bytes(data) for path, data, _ in source if data is not None}
    meta: dict[str, Any] = {'paths': paths}
    if store is not None:
        meta |= {'packed': store.folder, 'data_root': store.root}
    valid = torch.ones(len(paths), dtype=torch.bool)
    return LoadImages()(HandSequence(meta=meta, frame='camera', frame_valid=valid), None).images


def forget(paths: Iterable[str | Path], all_cold: bool) -> None:
    """Drops files from memory, so that the next one to read them waits for the disk."""
    if all_cold:
        Path('/proc/sys/vm/drop_caches').write_text('3', encoding='utf-8')
    for path in () if all_cold else paths:
        forget_pages(path)


def check_may_empty_caches() -> None:
    if not os.access('/proc/sys/vm/drop_caches', os.W_OK):
        raise BenchmarkError('emptying all caches takes root and a writable /proc/sys/vm/drop_caches; see other cases')


def register(size: str, access: str, decoded: bool, all_cold: bool) -> None:
    """Registers the store as a case, and the files as its reference."""
    words = {'clips': f'clips of {FRAMES} frames, every {SPACING}nd', 'single': 'single frames at random'}[access]
    about = f'Packed {size} JPEGs, {words}, {"decoded" if decoded else "read"}, '
    about += 'all caches emptied' if all_cold else 'their pages dropped'
    about += '; wanted: at least 2x' if access == 'clips' and not decoded else ''
    name = f'packed_{access}_{size}' + '_decoded' * decoded + '_all_cold' * all_cold
    when = 'full' if (size, access, all_cold) == ('160x90', 'clips', False) else 'asked'
    options = (SIZES[size], access, decoded, all_cold)
    made = case('frame', when=when, name=name, about=about)(lambda settings: reading(settings, *options, True))

    @made.reference
    def separate_files(settings: Settings) -> Work:
        """Separate files."""
        return reading(settings, *options, False)


for all_cold in (False, True):
    for size in SIZES:
        for access in ('clips', 'single'):
            for decoded in (False, True):
                register(size, access, decoded, all_cold)
