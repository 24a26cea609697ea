"""Makes built-in data, or renders recorded motion.

handpose make-data --config deformer/synthetic
handpose make-data --root data/synthetic_dexycb --subjects 10
handpose make-data --layout h2o --width 160 --height 90
handpose make-data --root data/recorded --motion motion.npz --cameras 2
"""

import argparse
from pathlib import Path

from mmengine.config import Config
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError
from handpose.engine import load_config
from handpose.registry import MODELS
from handpose.synthesis import DatasetOptions, Summary, contact_sheet, options_from_dict, write_dataset
from handpose.synthesis.arguments import add_arguments as add_option_arguments
from handpose.synthesis.arguments import options_from_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('--config', help='take the options from synthetic_data of this config; those below override it')
    shared.add_cfg_options(parser)
    parser.add_argument('--sheet', metavar='FILE.png', help='also write a contact sheet of the data')
    add_option_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Makes the data.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UsageError: a contact sheet of data without images.
        ValueError: an option that does not exist, or whose value is wrong.
        KeyboardInterrupt: says how to continue.
    """
    data = None
    if arguments.config:
        data = load_config(arguments.config, arguments.cfg_options).get('synthetic_data')
        if data is None:
            print(f'{arguments.config} has no synthetic_data: nothing to make')
            return
    options = options_from_arguments(arguments, data)
    if arguments.sheet and not options.has_images:
        raise UsageError(f'the layout {options.layout!r} has no images, so there can be no contact sheet: omit --sheet')
    summary = _make(options)
    if arguments.sheet:
        contact_sheet(options.root, arguments.sheet)
    print(summary.text)


def make_missing(config: Config, name: str) -> None:
    """Makes the built-in data of a config where they are missing; a folder that an option names is left to the user.

    Args:
        config: the loaded config, with the options of the command line.
        name: the config as the user named it.
    """
    data = config.get('synthetic_data')
    if data is None or Path(data.root).exists() or load_config(name).synthetic_data.root != data.root:
        return
    MODELS.build(config.model)  # a mistake in the model shows before minutes of work
    print(f'{data.root} does not exist; making the built-in data of {name} first')
    print(_make(options_from_dict(dict(data))).text)


def _make(options: DatasetOptions) -> Summary:
    """Writes the data, with a progress bar."""
    columns = [TextColumn('sequences'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns) as bar:
        task = bar.add_task('sequences', total=None)
        try:
            return write_dataset(options, lambda done, total: bar.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            raise KeyboardInterrupt('the same command continues from here') from None
