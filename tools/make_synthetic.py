"""Makes the built-in data, or renders recorded motion.

python tools/make_synthetic.py --root data/synthetic_dexycb --subjects 10
python tools/make_synthetic.py --root data/recorded --motion motion.npz --cameras 2
"""

import argparse
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from handpose.datasets.synthetic import (
    RecordedOptions,
    SyntheticOptions,
    contact_sheet,
    options_from_dict,
    recorded_options_from_dict,
    write_recorded,
    write_synthetic,
)
from handpose.datasets.synthetic.options import LAYOUTS, WITHOUT_PICTURES
from handpose.engine import OptionsAction, load_config
from handpose.engine.errors import sentences

ROOTS = {layout: f'data/synthetic_{layout}' for layout in LAYOUTS}
RECORDED_ROOT = 'data/recorded'
DEFAULTS = SyntheticOptions(ROOTS['dexycb'])
MEANINGS = {
    'subjects': 'subject folders',
    'sequences': 'sequences per subject, a multiple of 5',
    'frames': 'frames per sequence',
    'cameras': 'cameras per sequence, up to 8',
    'size': 'width (and, but for --motion, height) of the images, pixels',
    'seed': 'decides everything',
    'workers': 'processes; 0: one per CPU core',
    'ho3d_version': "of HO3D's layout: 2 or 3",
    'interhand_fps': "of InterHand2.6M's layout: 5 or 30 labelled frames a second",
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', help="take the options from this config's synthetic_data; those below win over it")
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='overrides of the config')
    parser.add_argument('--root', help=f'folder to write (default data/synthetic_LAYOUT or {RECORDED_ROOT})')
    for name, meaning in MEANINGS.items():
        flag = f'--{name.replace("_", "-")}'
        parser.add_argument(flag, type=int, help=f'{meaning} (default {getattr(DEFAULTS, name)})')
    parser.add_argument('--layout', help=f'whose folder structure: {", ".join(LAYOUTS)} (default {DEFAULTS.layout})')
    parser.add_argument('--motion', metavar='FILE.npz', help='render these recordings instead (docs/motion_file.md)')
    parser.add_argument('--serials', nargs='+', help='which of its cameras, instead of those that see most')
    parser.add_argument('--sheet', metavar='FILE.png', help='also write a contact sheet of the data')
    return parser.parse_args()


def read_options(arguments):
    """The options of the config file, overridden by the command line's; None when the config asks for no data."""
    values = {'root': ROOTS.get(arguments.layout, DEFAULTS.root)}
    if arguments.config:
        config = load_config(arguments.config, arguments.cfg_options)
        if config.get('synthetic_data') is None:
            return None
        values = dict(config.synthetic_data)
    given = {name: getattr(arguments, name) for name in ('root', 'layout', 'motion', 'serials', *MEANINGS)}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.motion:
        # A config's other options are about hands that nobody recorded.
        values = {'root': values['root'] if arguments.config else RECORDED_ROOT}
    values |= given
    return recorded_options_from_dict(values) if 'motion' in values else options_from_dict(values)


def main():
    arguments = parse_arguments()
    options = read_options(arguments)
    if options is None:
        print(f'{arguments.config} has no synthetic_data: nothing to make')
        return
    recorded = isinstance(options, RecordedOptions)
    if arguments.sheet and not recorded and options.layout in WITHOUT_PICTURES:
        sys.exit(f'the layout {options.layout!r} has no pictures, so there can be no contact sheet: leave --sheet out')
    write, report = (write_recorded, report_recorded) if recorded else (write_synthetic, report_synthetic)
    columns = [TextColumn('sequences'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns) as bar:
        total = None if recorded else options.subjects * options.sequences
        task = bar.add_task('sequences', total=total)
        try:
            summary = write(options, lambda done, total: bar.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            sys.exit('interrupted; the same command goes on from here')
    if arguments.sheet:
        contact_sheet(options.root, arguments.sheet)
    report(options, summary)
    if not summary.frames:
        print('everything was there already')


def report_synthetic(options, summary):
    if not summary.holding_frames:  # a layout without pictures
        if summary.frames:
            rate = summary.frames / options.cameras / summary.seconds
            print(f'{options.root}: wrote {summary.frames} labelled views, {rate:.0f} frames per second and core')
        return
    print(
        f'{options.root}: of {summary.holding_frames} holding frames, {summary.touching_share:.1%} have every engaged '
        f'fingertip within 3 mm of the object, {summary.clear_share:.1%} have the hand less than 2 mm inside it'
    )
    if summary.frames:
        rate, alone = (summary.frames / seconds for seconds in (summary.seconds, summary.render_seconds))
        print(f'wrote {summary.frames} frames, {rate:.0f} per second and core ({alone:.0f} without planning grasps)')


def report_recorded(options, summary):
    print(
        f"{options.root}: from the recorded joints to the rendered hand's, over {summary.hand_frames} frames: median "
        f'{1000 * summary.fit_median:.2f} mm, 95 % below {1000 * summary.fit_95:.2f} mm'
    )
    if summary.frames:
        print(f'wrote {summary.frames} frames, {summary.frames / summary.seconds:.0f} per second and core')


if __name__ == '__main__':
    with sentences():
        main()
