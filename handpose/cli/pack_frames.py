"""Packs the images of a data set into a few large files (docs/packed_frames.md).

python tools/convert/pack_frames.py configs/deformer/dexycb.py -o data/dexycb_packed
python tools/convert/pack_frames.py -o data/dexycb_packed --check
python tools/convert/pack_frames.py -o data/dexycb_packed --rebuild
"""

import argparse
import sys

from rich.progress import track

from handpose.datasets.io.packing import SHARD_BYTES, check_store, pack_frames
from handpose.datasets.io.recoding import ENCODINGS, Recoding
from handpose.engine import OptionsAction, load_config
from handpose.engine.errors import exit_on_user_error
from handpose.registry import DATASETS

SPLITS = ('train', 'val', 'test')


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='pack every image that the datasets of this config read')
    parser.add_argument('-o', '--out', required=True, metavar='FOLDER', help='the store: new, or to be completed')
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=SPLITS, help='of the config (default all)')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='overrides, e.g. data_root=...')
    parser.add_argument('--data-root', help='without a config: where the originals are now')
    parser.add_argument('--check', action='store_true', help='write nothing: read everything and say what is wrong')
    parser.add_argument('--rebuild', action='store_true', help='read everything, and pack what is damaged again')
    parser.add_argument('--prune', action='store_true', help='leave out frames that the config does not read')
    parser.add_argument('--resize', nargs=2, type=int, metavar=('W', 'H'), help='LOSSY: pack smaller images')
    parser.add_argument('--encoding', choices=ENCODINGS, help='LOSSY: encode again (with --resize default jpg)')
    parser.add_argument('--quality', type=int, help='LOSSY: of JPEG, 1 to 100 (default 95)')
    parser.add_argument(
        '--shard-mb', type=float, default=SHARD_BYTES / 2**20, help='MB of a file (default %(default)g)'
    )
    parser.add_argument('--workers', type=int, default=4, help='threads (default 4)')
    arguments = parser.parse_args(words)
    if arguments.config and arguments.data_root:
        parser.error('the config says where the images are; change it with --cfg-options data_root=...')
    if arguments.prune and not arguments.config:
        parser.error('--prune keeps the frames of a config; name one')
    if arguments.check and arguments.rebuild:
        parser.error('--check writes nothing, --rebuild does; choose one')
    if arguments.workers < 1 or arguments.shard_mb <= 0:
        parser.error('--workers must be at least 1 and --shard-mb above 0')
    return arguments


def main(words=None):
    arguments = parse_arguments(words)
    root, paths = find_images(arguments)
    if arguments.check:
        found = check_store(arguments.out, root, paths, watch)
        for sentence in found:
            print(sentence)
        if found:
            sys.exit(f'error: {arguments.out}: {len(found)} things are wrong')
        print(f'{arguments.out}: all is well')
        return
    done = pack_frames(
        arguments.out,
        root,
        paths,
        recoding(arguments),
        verify=arguments.rebuild,
        prune=arguments.prune,
        shard_bytes=int(arguments.shard_mb * 2**20),
        workers=arguments.workers,
        watch=watch,
    )
    for names, words in (
        (done.damaged, 'damaged or lost, and packed again'),
        (done.unreadable, 'no images, and packed as they are'),
        (done.missing, 'without a file; reading them says so'),
    ):
        if names:
            print(f'{len(names)} frames {words}: {names[0]}' + (' ...' if len(names) > 1 else ''))
    print(f'{arguments.out}: {done.frames} frames ({done.new} packed now), {done.bytes / 2**20:.0f} MB')
    print(f'read it: --cfg-options packed={arguments.out}')


def find_images(arguments):
    """The root of the images, and the paths that the config's datasets read."""
    if not arguments.config:
        return arguments.data_root, []
    config = load_config(arguments.config, arguments.cfg_options)
    roots, paths = set(), {}
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
        sys.exit(f'error: the datasets of {arguments.config} read no images')
    if len(roots) > 1:
        sys.exit(f'error: images of {" and ".join(sorted(roots))} need a store each; name splits by --splits')
    return roots.pop(), list(paths)


def recoding(arguments):
    """How images are to be changed, or None."""
    if not (arguments.resize or arguments.encoding or arguments.quality):
        return None
    chosen = {'size': arguments.resize, 'encoding': arguments.encoding, 'quality': arguments.quality}
    return Recoding(**{name: value for name, value in chosen.items() if value is not None})


def watch(items, words, total):
    """Shows how far a loop is."""
    return track(items, description=words, total=total) if total else items


if __name__ == '__main__':
    try:
        with exit_on_user_error():
            main()
    except KeyboardInterrupt:
        sys.exit('interrupted; the same command goes on with what is not packed yet')
