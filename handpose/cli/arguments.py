"""Arguments that several subcommands share."""

import argparse

from handpose.engine.options import OptionsAction


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds the config that a subcommand needs, as `config`."""
    parser.add_argument(
        'config',
        help='config file, or the name of one that comes with the package, e.g. deformer/synthetic',
    )


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Adds overrides of a config, as `cfg_options`."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='overrides of the config, e.g. batch_size=4 data_root=...',
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Adds what starts several processes, as `launcher`."""
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch'], default='none', help='pytorch: this is one of several processes'
    )
