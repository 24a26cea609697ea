"""Arguments that several subcommands share."""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from handpose.engine.options import OptionsAction
from handpose.runtime import PRECISIONS, RUNTIMES
from handpose.structures import Predictions, load_forecast, load_predictions

if TYPE_CHECKING:
    from handpose.models import Estimator


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


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Adds what computes the networks, as `runtime` and `precision`."""
    parser.add_argument(
        '--runtime',
        choices=('torch', *RUNTIMES),
        help='what computes the network (default: torch, or for some large networks on a CPU the fastest that is '
        'installed, docs/guides/export_model.md)',
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help='in which the network computes (default float32); bfloat16 takes torch or openvino',
    )


def use_chosen_runtime(console: Console, estimator: 'Estimator', arguments: argparse.Namespace) -> None:
    """Lets the runtime of `add_runtime` compute the networks of an estimator, and prints which one that is."""
    from handpose.inference.runtimes import use_runtime  # loads torch, which most commands need not for --help

    with console.status('preparing the network'):
        computed = use_runtime(estimator, arguments.runtime, arguments.precision)
    console.print(f'network computed by {computed}', markup=False)


def add_sample(parser: argparse.ArgumentParser) -> None:
    """Adds which sample of a forecast file a subcommand takes, as `sample`."""
    parser.add_argument('--sample', type=int, metavar='NUMBER', help='of a forecast file: the sample to take, from 0')


def read_predictions(arguments: argparse.Namespace) -> Predictions:
    """Reads the predictions file, or the chosen sample of the forecast file.

    Args:
        arguments: with `predictions` and what `add_sample` adds.

    Returns:
        The predictions; those of a sample begin with the observed frames.

    Raises:
        PredictionsError: the file cannot be used, or has no such sample.
    """
    if arguments.sample is None:
        return load_predictions(arguments.predictions)
    return load_forecast(arguments.predictions).sample(arguments.sample)
