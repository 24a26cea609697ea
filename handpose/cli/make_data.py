"""Makes the built-in data, or renders recorded motion.

python tools/make_synthetic.py --root data/synthetic_dexycb --subjects 10
python tools/make_synthetic.py --layout h2o --width 160 --height 90
python tools/make_synthetic.py --root data/recorded --motion motion.npz --cameras 2
"""

import argparse
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from handpose.engine import OptionsAction, load_config
from handpose.engine.errors import exit_on_user_error
from handpose.registry import did_you_mean
from handpose.synthesis import (
    EgocentricOptions,
    RecordedOptions,
    SyntheticOptions,
    contact_sheet,
    egocentric_options_from_dict,
    options_from_dict,
    recorded_options_from_dict,
    write_egocentric,
    write_recorded,
    write_synthetic,
)
from handpose.synthesis.egocentric.options import LAYOUTS as VIDEO_LAYOUTS
from handpose.synthesis.options import LAYOUTS, WITHOUT_PICTURES

ROOTS = {layout: f'data/synthetic_{layout}' for layout in (*LAYOUTS, *VIDEO_LAYOUTS)}
RECORDED_ROOT = 'data/recorded'
DEFAULTS = SyntheticOptions(ROOTS['dexycb'])
MEANINGS = {
    'subjects': f'subject folders (default {DEFAULTS.subjects}; h2o 8, fpha 6)',
    'sequences': f'sequences per subject, a multiple of 5 (default {DEFAULTS.sequences})',
    'frames': f'frames per sequence (default {DEFAULTS.frames}); h2o and fpha: of the shortest action (default 48)',
    'cameras': f'cameras per sequence, up to 8 (default {DEFAULTS.cameras})',
    'size': f'width (and, but for --motion, height) of the images, pixels (default {DEFAULTS.size})',
    'seed': f'decides everything (default {DEFAULTS.seed})',
    'workers': 'processes (default 0: one per CPU core)',
    'ho3d_version': f"of HO3D's layout: 2 or 3 (default {DEFAULTS.ho3d_version})",
    'interhand_fps': f"of InterHand2.6M's: 5 or 30 labelled frames a second (default {DEFAULTS.interhand_fps})",
    'videos': 'h2o, fpha: per action and person in the training part (default 3)',
    'test_videos': 'h2o, fpha: per action and person in the test part (default 7 or 3)',
    'max_frames': 'h2o, fpha: of the longest action (default 80)',
    'width': 'h2o, fpha: of the images, pixels (default 160)',
    'height': 'h2o, fpha: of the images, pixels (default 90)',
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', help="take the options from this config's synthetic_data; those below win over it")
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='overrides of the config')
    parser.add_argument('--root', help=f'folder to write (default data/synthetic_LAYOUT or {RECORDED_ROOT})')
    for name, meaning in MEANINGS.items():
        flag = f'--{name.replace("_", "-")}'
        parser.add_argument(flag, type=int, help=meaning)
    parser.add_argument('--layout', help=f'whose folder structure: {", ".join(ROOTS)} (default {DEFAULTS.layout})')
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
    if 'motion' in values:
        return recorded_options_from_dict(values)
    layout = values.get('layout', DEFAULTS.layout)
    if layout not in ROOTS:
        known = ', '.join(ROOTS)
        sys.exit(f'layout must be one of {known}, got {layout!r}.{did_you_mean(layout, list(ROOTS))}')
    return (egocentric_options_from_dict if layout in VIDEO_LAYOUTS else options_from_dict)(values)


def main():
    arguments = parse_arguments()
    options = read_options(arguments)
    if options is None:
        print(f'{arguments.config} has no synthetic_data: nothing to make')
        return
    if arguments.sheet and isinstance(options, SyntheticOptions) and options.layout in WITHOUT_PICTURES:
        sys.exit(f'the layout {options.layout!r} has no pictures, so there can be no contact sheet: leave --sheet out')
    write, report = FAMILIES[type(options)]
    columns = [TextColumn('sequences'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns) as bar:
        task = bar.add_task('sequences', total=None)
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


def report_egocentric(options, summary):
    if summary.frames:
        rate = summary.frames / summary.seconds
        print(f'{options.root}: wrote {summary.videos} videos, {summary.frames} frames, {rate:.0f} per second and core')


FAMILIES = {
    SyntheticOptions: (write_synthetic, report_synthetic),
    RecordedOptions: (write_recorded, report_recorded),
    EgocentricOptions: (write_egocentric, report_egocentric),
}


if __name__ == '__main__':
    with exit_on_user_error():
        main()
