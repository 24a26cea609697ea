"""Packs the images of a dataset into a few large files (docs/data/packed_frames.md).

handpose pack-frames deformer/dexycb -o data/dexycb_packed
handpose pack-frames -o data/dexycb_packed --check
handpose pack-frames -o data/dexycb_packed --rebuild
"""

import argparse
from collections.abc import Iterable
from typing import TypeVar

from rich.progress import track

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError, UserError
from handpose.datasets.io.packing import SHARD_BYTES, check_store, pack_frames
from handpose.datasets.io.recoding import ENCODINGS, Recoding
from handpose.engine import load_config
from handpose.registry import DATASETS

SPLITS = ('train', 'val', 'test')
Item = TypeVar('Item')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('config', nargs='?', help='pack every image that the datasets of this config read')
    parser.add_argument('-o', '--out', required=True, metavar='FOLDER', help='the store: new, or to be completed')
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=SPLITS, help='of the config (default all)')
    shared.add_cfg_options(parser)
    parser.add_argument('--data-root', help='without a config: where the originals are now')
    parser.add_argument('--check', action='store_true', help='write nothing: read everything and report problems')
    parser.add_argument('--rebuild', action='store_true', help='read everything, and pack what is damaged again')
    parser.add_argument('--prune', action='store_true', help='leave out frames that the config does not read')
    parser.add_argument('--resize', nargs=2, type=int, metavar=('W', 'H'), help='LOSSY: pack smaller images')
    parser.add_argument('--encoding', choices=ENCODINGS, help='LOSSY: encode again (with --resize default jpg)')
    parser.add_argument('--quality', type=int, help='LOSSY: of JPEG, 1 to 100 (default 95)')
    parser.add_argument(
        '--shard-mb', type=float, default=SHARD_BYTES / 2**20, help='MB of a file (default %(default)g)'
    )
    parser.add_argument('--workers', type=int, default=4, help='threads (default 4)')


def _check_usage(arguments: argparse.Namespace) -> None:
    if arguments.config and arguments.data_root:
        raise UsageError('the config says where the images are; change it with --cfg-options data_root=...')
    if arguments.prune and not arguments.config:
        raise UsageError('--prune keeps the frames of a config; name one')
    if arguments.check and arguments.rebuild:
        raise UsageError('--check writes nothing, --rebuild does; choose one')
    if arguments.workers < 1 or arguments.shard_mb <= 0:
        raise UsageError('--workers must be at least 1 and --shard-mb above 0')


def run(arguments: argparse.Namespace) -> None:
    """Packs the images, or checks a store.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UserError: the store has problems, or the config reads no images.
        KeyboardInterrupt: says how to continue.
    """
    _check_usage(arguments)
    root, paths = find_images(arguments)
    if arguments.check:
        problems = check_store(arguments.out, root, paths, _progress)
        for problem in problems:
            print(problem)
        if problems:
            raise UserError(f'{arguments.out}: {len(problems)} problems')
        print(f'{arguments.out}: no problems')
        return
    try:
        done = pack_frames(
            arguments.out,
            root,
            paths,
            _recoding(arguments),
            verify=arguments.rebuild,
            prune=arguments.prune,
            shard_bytes=int(arguments.shard_mb * 2**20),
            workers=arguments.workers,
            watch=_progress,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt('the same command continues with what is not packed yet') from None
    for names, words in (
        (done.damaged, 'damaged or lost, and packed again'),
        (done.unreadable, 'no images, and packed as they are'),
        (done.missing, 'without a file; reading them says so'),
    ):
        if names:
            print(f'{len(names)} frames {words}: {names[0]}' + (' ...' if len(names) > 1 else ''))
    print(f'{arguments.out}: {done.frames} frames ({done.new} packed now), {done.bytes / 2**20:.0f} MB')
    print(f'read it: --cfg-options packed={arguments.out}')


def find_images(arguments: argparse.Namespace) -> tuple[str | None, list[str]]:
    """Lists the images of a config.

    Args:
        arguments: those of `add_arguments`.

    Returns:
        The root of the images, and the paths that the config's datasets read.

    Raises:
        UserError: the datasets read no images, or images below several roots.
    """
    if not arguments.config:
        return arguments.data_root, []
    config = load_config(arguments.config, arguments.cfg_options)
    roots: set[str] = set()
    paths: dict[str, None] = {}
    for split in arguments.splits:
        if config.get(f'{split}_dataloader') is None:
            continue
        options = config[f'{split}_dataloader']['dataset'].to_dict()
        plain = {key: value for key, value in options.items() if key not in ('packed', 'pipeline')}
        dataset = DATASETS.build(plain)
        found = dataset.image_paths()
        print(f'{split}: {len(found)} images')
        paths.update(dict.fromkeys(found))
        roots.add(str(dataset.root))
    if not paths:
        raise UserError(f'the datasets of {arguments.config} read no images')
    if len(roots) > 1:
        raise UserError(f'images of {" and ".join(sorted(roots))} need a store each; name splits by --splits')
    return roots.pop(), list(paths)


def _recoding(arguments: argparse.Namespace) -> Recoding | None:
    """How images are to be changed, or None."""
    if not (arguments.resize or arguments.encoding or arguments.quality):
        return None
    chosen = {'size': arguments.resize, 'encoding': arguments.encoding, 'quality': arguments.quality}
    return Recoding(**{name: value for name, value in chosen.items() if value is not None})


def _progress(items: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """Shows the progress of a loop."""
    return track(items, description=description, total=total) if total else items
