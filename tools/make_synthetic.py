"""Writes built-in data, or renders recorded motion.

python tools/make_synthetic.py --root data/synthetic_dexycb --subjects 10
python tools/make_synthetic.py --layout h2o --width 160 --height 90
python tools/make_synthetic.py --root data/recorded --motion motion.npz --cameras 2
"""

import argparse
import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from handpose.engine import OptionsAction, load_config
from handpose.engine.errors import exit_on_user_error
from handpose.synthesis import contact_sheet, write_dataset
from handpose.synthesis.arguments import add_arguments, options_from_arguments


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', help="take the options from this config's synthetic_data; those below win over it")
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='overrides of the config')
    parser.add_argument('--sheet', metavar='FILE.png', help='also write a contact sheet of the data')
    add_arguments(parser)
    return parser.parse_args()


def main():
    arguments, config = parse_arguments(), None
    if arguments.config:
        config = load_config(arguments.config, arguments.cfg_options).get('synthetic_data')
        if config is None:
            print(f'{arguments.config} has no synthetic_data: nothing to make')
            return
    options = options_from_arguments(arguments, config)
    if arguments.sheet and not options.has_images:
        sys.exit(f'the layout {options.layout!r} has no images, so there can be no contact sheet: leave --sheet out')
    columns = [TextColumn('sequences'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns) as bar:
        task = bar.add_task('sequences', total=None)
        try:
            summary = write_dataset(options, lambda done, total: bar.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            sys.exit('interrupted; the same command goes on from here')
    if arguments.sheet:
        contact_sheet(options.root, arguments.sheet)
    print(summary.text)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
