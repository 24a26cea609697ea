"""Chooses the settings of motion filters on a train split: handpose tune-filters pdtm/dexycb_motion

All settings of a filter are tried on the same tracks with the same inputs; the one with the lowest wrist-aligned MPJPE
is marked. The printed options can be given to `handpose test` and to the tables of `handpose ablate`.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from rich.progress import track

from handpose.cli import arguments as shared
from handpose.engine import load_config
from handpose.engine.adapter import EstimatorAdapter, collate
from handpose.evaluation import HandPoseMetric
from handpose.evaluation.pose import ACCELERATION, MPJPE
from handpose.registry import DATASETS, MODELS

# In seconds and hertz, whatever the frame rate of the data.
GRIDS = {
    'savitzky_golay': {'window': (0.134, 0.2, 0.267, 0.334, 0.4, 0.467, 0.6, 0.8, 1.0), 'order': (2, 3)},
    'gaussian': {'sigma': (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15), 'order': (1, 3)},
    'one_euro': {'min_cutoff': (1.0, 2.5, 5.0, 10.0, 20.0), 'beta': (0.0, 3.0, 10.0, 30.0, 100.0, 200.0, 300.0)},
    'kalman': {'acceleration': (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0), 'robust': (False, True)},
}
ERROR = MPJPE['ra_wrist']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    shared.add_config(parser)
    parser.add_argument('--every', type=int, default=8, metavar='N', help='take every n-th track (default %(default)s)')
    shared.add_cfg_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Prints the numbers of every setting.

    Args:
        arguments: those of `add_arguments`.
    """
    config = load_config(arguments.config, arguments.cfg_options)
    settings = {**config.train_dataset, 'sampling': {'type': 'Tracks'}, 'pipeline': config.test_pipeline}
    dataset = DATASETS.build(settings)
    batches = [collate([dataset[i]])['batch'] for i in track(range(0, len(dataset), arguments.every), 'reading')]
    print(f'{len(batches)} of {len(dataset)} tracks of the train split; {ERROR.name} | {ACCELERATION.name}')
    print(f'input: {_format(measure(config.input_motion, batches))}')
    for name, grid in GRIDS.items():
        choices = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
        found = [measure({**config[name], 'unit': 'seconds', **choice}, batches) for choice in track(choices, name)]
        best = min(range(len(found)), key=lambda i: found[i][0])
        for i, choice in enumerate(choices):
            options = ' '.join(f'{name}.{key}={value}' for key, value in {'unit': 'seconds', **choice}.items())
            print(f'{"*" if i == best else " "} {options}: {_format(found[i])}')


def measure(settings: Mapping[str, Any], batches: Sequence[Any]) -> tuple[float, float]:
    """Measures a refiner.

    Args:
        settings: its config.
        batches: batches of one track.

    Returns:
        Wrist-aligned MPJPE in mm, and wrist-relative acceleration error in mm/frame^2.
    """
    adapter = EstimatorAdapter(MODELS.build(settings)).eval()
    metric = HandPoseMetric(breakdowns=())
    for batch in batches:
        metric.process(None, adapter(batch, mode='predict'))
    numbers = metric.reduce(metric.results)
    return numbers[ERROR.name], numbers[ACCELERATION.name]


def _format(numbers: tuple[float, float]) -> str:
    return f'{numbers[0]:.3f} {ERROR.unit} | {numbers[1]:.3f} {ACCELERATION.unit}'
