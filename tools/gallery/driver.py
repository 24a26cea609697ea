"""`tools/make_gallery.py`: makes the images that are missing, and the page."""

import argparse
import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gallery.data_entries import DATA
from gallery.entry import Clip, Entry, Sources
from gallery.system_entries import SYSTEMS
from gallery.video_entries import VIDEO
from handpose.files.atomic import atomic_write

ROOT = Path(__file__).parents[2]
IMAGES, PAGE = ROOT / 'docs' / 'images' / 'gallery', ROOT / 'docs' / 'gallery.md'
ENTRIES: tuple[Entry, ...] = (*VIDEO, *SYSTEMS, *DATA)
MOST_BYTES = 290_000  # of an image
_INTRODUCTION = """# Gallery

<!-- Made by `python tools/make_gallery.py`; edit tools/gallery instead. -->

What the library does, one image for each capability. Everything is drawn by `tools/make_gallery.py` from
[built-in data](data/synthetic.md), which are rendered, and from weights of the [model zoo](../model_zoo.md). Nothing
shows a real person, and nothing here says how well a method works on real images; the pages behind the links do.
"""


def main(words: Sequence[str] | None = None) -> None:
    """Makes images of the gallery.

    Args:
        words: the command line.
    """
    parser = argparse.ArgumentParser(description='Makes the images of docs/gallery.md, those that are missing.')
    names = [entry.name for entry in ENTRIES]
    parser.add_argument('--only', nargs='+', choices=names, metavar='NAME', help='these entries alone')
    parser.add_argument('--force', action='store_true', help='make images again that are there')
    parser.add_argument('--quick', action='store_true', help='short videos and little data, to try the script out')
    parser.add_argument('--list', action='store_true', help='list the entries and stop')
    parser.add_argument('--out', type=Path, default=IMAGES, help='folder of the images, instead of the documentation')
    data = ROOT / 'work_dirs' / 'gallery'
    parser.add_argument('--data', type=Path, default=data, help='where built-in data are kept')
    arguments = parser.parse_args(words)
    if arguments.list:
        print('\n'.join(names))
        return
    chosen = [entry for entry in ENTRIES if not arguments.only or entry.name in arguments.only]
    sources = Sources(arguments.data, arguments.quick)
    for number, entry in enumerate(chosen, 1):
        path = arguments.out / entry.file
        if path.exists() and not arguments.force:
            print(f'{number} of {len(chosen)}: {path.name} is there already')
            continue
        print(f'{number} of {len(chosen)}: {entry.name} ...', flush=True)
        start = time.perf_counter()
        write(path, entry.make(sources))
        size = path.stat().st_size / 1000
        print(f'    {path.name}, {size:.0f} kB, {time.perf_counter() - start:.1f} s')
    if arguments.out == IMAGES:
        atomic_write(PAGE, page())


def write(path: Path, picture: NDArray[np.uint8] | Clip) -> None:
    """Writes an image or a clip, with the best quality that its size allows.

    Args:
        path: .jpg for an image, .webp for a clip.
        picture: what is written.

    Raises:
        ValueError: it is too large at any quality.
    """
    for quality in (88, 80, 70, 60, 50, 40, 30):
        encoded = io.BytesIO()
        if isinstance(picture, Clip):
            first, *others = [Image.fromarray(frame) for frame in picture.frames]
            period = round(1000 / picture.fps)
            options = dict(save_all=True, append_images=others, duration=period, loop=0, method=4)
            first.save(encoded, 'WEBP', quality=quality, **options)
        else:
            Image.fromarray(picture).save(encoded, 'JPEG', quality=quality, optimize=True)
        if encoded.tell() <= MOST_BYTES:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, encoded.getvalue())
            return
    raise ValueError(f'{path.name} has {encoded.tell()} bytes at the lowest quality, {MOST_BYTES} are allowed')


def page() -> str:
    """The text of docs/gallery.md."""
    parts, section = [_INTRODUCTION], None
    for entry in ENTRIES:
        if entry.section != section:
            section = entry.section
            parts.append(f'## {section}\n')
        image = f'![{entry.title}](images/gallery/{entry.file})'
        parts.append(f'### {entry.title}\n\n{image}\n\n{entry.text} {entry.how}\n')
    return '\n'.join(parts)
