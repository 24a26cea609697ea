"""Makes the built-in data: animated hands and objects in DexYCB's folder structure.

Examples:
    python tools/make_synthetic.py --root data/synthetic_dexycb --subjects 10 --sequences 10
    python tools/make_synthetic.py --config configs/deformer/synthetic.py --sheet sheet.png
"""

import argparse

from mmengine.config import Config
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from handpose.datasets.synthetic import SyntheticOptions, contact_sheet, options_from_dict, write_dexycb


def parse_arguments():
    defaults = SyntheticOptions('data/synthetic_dexycb')
    parser = argparse.ArgumentParser(description='Makes the built-in data, in the folder structure of DexYCB.')
    parser.add_argument('--config', help='take the options from its dict synthetic_data; the options below win over it')
    parser.add_argument('--root', help=f'folder to write (default {defaults.root})')
    for name, meaning in (
        ('subjects', 'subject folders'),
        ('sequences', 'sequences per subject, a multiple of 5'),
        ('frames', 'frames per sequence'),
        ('cameras', 'cameras per sequence, up to 8'),
        ('size', 'width and height of the images, pixels'),
        ('seed', 'decides everything'),
        ('workers', 'processes; 0: one per CPU core'),
    ):
        parser.add_argument(f'--{name}', type=int, help=f'{meaning} (default {getattr(defaults, name)})')
    parser.add_argument('--sheet', metavar='FILE.png', help='also write a contact sheet of what is there')
    return parser.parse_args()


def read_options(arguments):
    """The options of the config file, overridden by those of the command line; None when the config asks for no data."""
    values = {}
    if arguments.config:
        values = Config.fromfile(arguments.config).get('synthetic_data')
        if values is None:
            return None
    given = {k: v for k, v in vars(arguments).items() if k not in ('config', 'sheet') and v is not None}
    return options_from_dict({'root': 'data/synthetic_dexycb', **values, **given})


def main():
    arguments = parse_arguments()
    options = read_options(arguments)
    if options is None:
        print(f'{arguments.config} has no synthetic_data: nothing to make.')
        return
    columns = [TextColumn('sequences'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns) as bar:
        task = bar.add_task('sequences', total=options.subjects * options.sequences)
        try:
            summary = write_dexycb(options, lambda done, total: bar.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            raise SystemExit('\nInterrupted. The same command goes on from here.') from None
    if arguments.sheet:
        contact_sheet(options.root, arguments.sheet)
    print(
        f'{options.root}: of {summary.holding_frames} holding frames, {summary.touching_share:.1%} have every engaged '
        f'fingertip within 3 mm of the object and {summary.clear_share:.1%} have the hand less than 2 mm inside it.'
    )
    if summary.frames:
        print(
            f'Wrote {summary.frames} camera frames at {summary.frames / summary.seconds:.0f} per second and core '
            f'({summary.frames / summary.render_seconds:.0f} without the search for grasps).'
        )
    else:
        print('Everything was there already.')


if __name__ == '__main__':
    main()
