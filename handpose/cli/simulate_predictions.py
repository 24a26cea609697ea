"""Writes predictions files of a simulated estimator for the recordings of a config's actions.

    handpose simulate-predictions assemblyhands/synthetic_verbs -o data/verbs_x2 --strength 2

Each recording becomes FOLDER/<recording>.npz (docs/data/predictions_file.md): its true poses with the errors of the
noise model (docs/data/noise_model.md), as seen by a camera that stands somewhere around the hands. Prints the
wrist-relative error. Classifiers read the files with `predictions=FOLDER` (docs/systems/assemblyhands.md).
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import track as progress_bar

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError
from handpose.datasets.transforms import EstimatorNoise
from handpose.engine import load_config
from handpose.experiments.simulated_predictions import (
    SimulatedErrors,
    mean_errors,
    recordings_of,
    write_simulated_predictions,
)

SPLITS = ('train', 'val', 'test')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    shared.add_config(parser)
    parser.add_argument('-o', '--out', required=True, metavar='FOLDER', help='where the files go')
    parser.add_argument(
        '--strength', type=float, default=1.0, help='factor of all errors of position, orientation and size (default 1)'
    )
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=list(SPLITS), help='default: all three')
    parser.add_argument(
        '--camera-distance',
        type=float,
        nargs=2,
        default=(0.4, 0.8),
        metavar=('SHORTEST', 'LONGEST'),
        help='metres from the camera to the middle of the hands (default 0.4 0.8)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the errors and the cameras (default 0)')
    shared.add_cfg_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes the files and prints their errors.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UsageError: distances that are not positive and in order.
        ValueError: the config, its data or the strength cannot be used.
    """
    near, far = arguments.camera_distance
    if not 0 < near <= far:
        raise UsageError(f'--camera-distance must be two numbers above 0 in order, got {near:g} and {far:g}')
    noise = EstimatorNoise(strength=arguments.strength)
    config = load_config(arguments.config, arguments.cfg_options)
    console = Console(highlight=False)
    done: dict[str, SimulatedErrors] = {}  # of each recording; two splits may have the same ones
    for split in dict.fromkeys(arguments.splits):
        dataset = recordings_of(config[f'{split}_dataloader']['dataset'])
        new = [i for i in range(len(dataset)) if dataset.sample_name(i) not in done]
        for i in progress_bar(new, split, console=console):
            done[dataset.sample_name(i)] = write_simulated_predictions(
                dataset, i, Path(arguments.out), noise, (near, far), arguments.seed
            )
    errors = mean_errors(list(done.values()))
    console.print(
        f'{arguments.out}: {len(done)} recordings; wrist-relative MPJPE {errors.mpjpe_mm:.2f} mm over '
        f'{errors.num_hands:,} hands, {100 * errors.valid:.1f} % of the annotated ones'
    )
