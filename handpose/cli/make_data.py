"""Makes the built-in data, or renders recorded motion.

handpose make-data --config deformer/synthetic
handpose make-data --root data/synthetic_dexycb --subjects 10
handpose make-data --layout h2o --width 160 --height 90
handpose make-data --root data/recorded --motion motion.npz --cameras 2
"""

import argparse
from collections.abc import Callable
from typing import Any

from mmengine.config import Config
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError
from handpose.engine import load_config
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
Options = SyntheticOptions | RecordedOptions | EgocentricOptions
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('--config', help='take the options from synthetic_data of this config; those below override it')
    shared.add_cfg_options(parser)
    parser.add_argument('--root', help=f'folder to write (default data/synthetic_LAYOUT or {RECORDED_ROOT})')
    for name, meaning in MEANINGS.items():
        flag = f'--{name.replace("_", "-")}'
        parser.add_argument(flag, type=int, help=meaning)
    parser.add_argument('--layout', help=f'whose folder structure: {", ".join(ROOTS)} (default {DEFAULTS.layout})')
    parser.add_argument('--motion', metavar='FILE.npz', help='render these recordings instead (docs/motion_file.md)')
    parser.add_argument('--serials', nargs='+', help='which of its cameras, instead of those that see most')
    parser.add_argument('--sheet', metavar='FILE.png', help='also write a contact sheet of the data')


def run(arguments: argparse.Namespace) -> None:
    """Makes the data.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UsageError: arguments that do not go together.
        KeyboardInterrupt: says how to continue.
    """
    options = _read_options(arguments)
    if options is None:
        print(f'{arguments.config} has no synthetic_data: nothing to make')
        return
    if arguments.sheet and isinstance(options, SyntheticOptions) and options.layout in WITHOUT_PICTURES:
        raise UsageError(f'the layout {options.layout!r} has no images, so there can be no contact sheet: omit --sheet')
    _make(options)
    if arguments.sheet:
        contact_sheet(options.root, arguments.sheet)


def make_from_config(config: Config) -> None:
    """Makes the built-in data of a config, as its `synthetic_data` describes them.

    Args:
        config: a loaded config that has `synthetic_data`.
    """
    _make(_options_from_dict(dict(config.synthetic_data)))


def _read_options(arguments: argparse.Namespace) -> Options | None:
    """The options of the config, overridden by the command line's; None when the config asks for no data."""
    values: dict[str, Any] = {'root': ROOTS.get(arguments.layout, DEFAULTS.root)}
    if arguments.config:
        config = load_config(arguments.config, arguments.cfg_options)
        if config.get('synthetic_data') is None:
            return None
        values = dict(config.synthetic_data)
    if arguments.motion:
        # A config's other options are about hands that nobody recorded.
        values = {'root': values['root'] if arguments.config else RECORDED_ROOT}
    given = {name: getattr(arguments, name) for name in ('root', 'layout', 'motion', 'serials', *MEANINGS)}
    return _options_from_dict(values | {name: value for name, value in given.items() if value is not None})


def _options_from_dict(values: dict[str, Any]) -> Options:
    if 'motion' in values:
        return recorded_options_from_dict(values)
    layout = values.get('layout', DEFAULTS.layout)
    if layout not in ROOTS:
        raise UsageError(f'layout must be one of {", ".join(ROOTS)}, got {layout!r}.{did_you_mean(layout, ROOTS)}')
    return (egocentric_options_from_dict if layout in VIDEO_LAYOUTS else options_from_dict)(values)


def _make(options: Options) -> None:
    """Writes the data, with a progress bar, and prints what was written."""
    write, report = FAMILIES[type(options)]
    columns = [TextColumn('sequences'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns) as bar:
        task = bar.add_task('sequences', total=None)
        try:
            summary = write(options, lambda done, total: bar.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            raise KeyboardInterrupt('the same command continues from here') from None
    report(options, summary)
    if not summary.frames:
        print('everything was there already')


def _report_synthetic(options: SyntheticOptions, summary: Any) -> None:
    if not summary.holding_frames:  # a layout without images
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


def _report_recorded(options: RecordedOptions, summary: Any) -> None:
    print(
        f"{options.root}: from the recorded joints to the rendered hand's, over {summary.hand_frames} frames: median "
        f'{1000 * summary.fit_median:.2f} mm, 95 % below {1000 * summary.fit_95:.2f} mm'
    )
    if summary.frames:
        print(f'wrote {summary.frames} frames, {summary.frames / summary.seconds:.0f} per second and core')


def _report_egocentric(options: EgocentricOptions, summary: Any) -> None:
    if summary.frames:
        rate = summary.frames / summary.seconds
        print(f'{options.root}: wrote {summary.videos} videos, {summary.frames} frames, {rate:.0f} per second and core')


FAMILIES: dict[type, tuple[Callable[..., Any], Callable[..., None]]] = {
    SyntheticOptions: (write_synthetic, _report_synthetic),
    RecordedOptions: (write_recorded, _report_recorded),
    EgocentricOptions: (write_egocentric, _report_egocentric),
}
