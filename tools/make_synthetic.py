"""Makes the built-in data: python tools/make_synthetic.py --root data/synthetic_dexycb --subjects 10"""

import argparse
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from handpose.datasets.synthetic import SyntheticOptions, contact_sheet, options_from_dict, write_dexycb
from handpose.engine import OptionsAction, load_config
from handpose.engine.errors import sentences

DEFAULTS = SyntheticOptions('data/synthetic_dexycb')
MEANINGS = {
    'subjects': 'subject folders',
    'sequences': 'sequences per subject, a multiple of 5',
    'frames': 'frames per sequence',
    'cameras': 'cameras per sequence, up to 8',
    'size': 'width and height of the images, pixels',
    'seed': 'decides everything',
    'workers': 'processes; 0: one per CPU core',
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', help="take the options from this config's synthetic_data; those below win over it")
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='overrides of the config')
    parser.add_argument('--root', help=f'folder to write (default {DEFAULTS.root})')
    for name, meaning in MEANINGS.items():
        parser.add_argument(f'--{name}', type=int, help=f'{meaning} (default {getattr(DEFAULTS, name)})')
    parser.add_argument('--sheet', metavar='FILE.png', help='also write a contact sheet of the data')
    return parser.parse_args()


def read_options(arguments):
    """The options of the config file, overridden by the command line's; None when the config asks for no data."""
    values = {'root': DEFAULTS.root}
    if arguments.config:
        config = load_config(arguments.config, arguments.cfg_options)
        if config.get('synthetic_data') is None:
            return None
        values = dict(config.synthetic_data)
    given = {name: getattr(arguments, name) for name in ('root', *MEANINGS)}
    return options_from_dict({**values, **{name: value for name, value in given.items() if value is not None}})


def main():
    arguments = parse_arguments()
    options = read_options(arguments)
    if options is None:
        print(f'{arguments.config} has no synthetic_data: nothing to make')
        return
    columns = [TextColumn('sequences'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns) as bar:
        task = bar.add_task('sequences', total=options.subjects * options.sequences)
        try:
            summary = write_dexycb(options, lambda done, total: bar.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            sys.exit('interrupted; the same command goes on from here')
    if arguments.sheet:
        contact_sheet(options.root, arguments.sheet)
    print(
        f'{options.root}: of {summary.holding_frames} holding frames, {summary.touching_share:.1%} have every engaged '
        f'fingertip within 3 mm of the object, {summary.clear_share:.1%} have the hand less than 2 mm inside it'
    )
    if summary.frames:
        rate, alone = (summary.frames / seconds for seconds in (summary.seconds, summary.render_seconds))
        print(f'wrote {summary.frames} frames, {rate:.0f} per second and core ({alone:.0f} without planning grasps)')
    else:
        print('everything was there already')


if __name__ == '__main__':
    with sentences():
        main()
