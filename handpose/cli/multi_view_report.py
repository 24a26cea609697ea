"""Measures the rounds of a multi-view estimator and its baselines with fewer and more views.

    handpose multi-view-report assemblyhands/synthetic_mvexonet seed_0.pth seed_1.pth -o report.json
    handpose multi-view-report assemblyhands/synthetic_mvexonet seed_0.pth --views 2 4 8 --frame-step 4 -o report.json

The rows are the triangulated detections, the mean hand at their place, the rounds R1, R2, ... of the network, its first
round with true boxes and centres, and one view; docs/systems/assemblyhands.md explains them. Of every row and number of
views the file has all numbers of the config's pose metric, by occlusion too: {checkpoint: {views: {row: {name:
number}}}}. Beside it, FILE.png shows the mean error over all checkpoints by the number of views.
"""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.progress import track

from handpose.cli import arguments as shared
from handpose.cli import make_data
from handpose.cli.errors import UsageError
from handpose.engine import load_config, load_weights
from handpose.evaluation.pose import MPJPE
from handpose.experiments import multi_view_report as views_report
from handpose.files.atomic import atomic_write
from handpose.models.estimators.mvexonet import MVExoNet
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import MODELS
from handpose.visualization.images import save_image
from handpose.visualization.view_figures import error_by_views
from handpose.zoo.find import find_weights

VIEWS = (2, 3, 4, 5, 6, 7, 8)
ERROR = MPJPE['cam'].name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    shared.add_config(parser)
    parser.add_argument('checkpoints', nargs='+', help='weights: files or names in the zoo')
    parser.add_argument('-o', '--out', required=True, metavar='FILE.json', help='where the numbers go')
    parser.add_argument(
        '--views', type=int, nargs='+', default=VIEWS, metavar='N', help='numbers of views (default 2 to 8)'
    )
    parser.add_argument(
        '--frame-step', type=int, default=1, metavar='N', help='measure every Nth frame of the test split (default 1)'
    )
    shared.add_cfg_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measures, prints a table, and writes the numbers.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        ValueError: the config, its data or a checkpoint cannot be used.
    """
    if min(arguments.views) < 2 or arguments.frame_step < 1:
        raise UsageError('--views must be at least 2, since rays are triangulated, and --frame-step at least 1')
    config = load_config(arguments.config, arguments.cfg_options)
    make_data.make_missing(config, arguments.config)
    samples, detect = views_report.read_samples(config.test_dataset, arguments.frame_step)
    constant = views_report.mean_hands(config.train_dataset)
    metric = config.test_evaluator[0]
    console = Console()
    found: dict[str, dict[str, views_report.Numbers]] = {}
    for name in arguments.checkpoints:
        model = MODELS.build(config.model)
        if not isinstance(model, MVExoNet):
            raise UsageError(f'{arguments.config} has a {type(model).__name__}; rounds are those of an MVExoNet')
        load_weights(model, find_weights(name), config.model)
        prepare_for_prediction(model)
        found[str(name)] = numbers = {}
        for views in track(arguments.views, description=Path(name).name, console=console):
            numbers[str(views)] = views_report.measure_views(model, samples, detect, metric, views, constant)
        numbers['1'] = views_report.measure_one_view(model, samples, detect, metric)
        atomic_write(Path(arguments.out), json.dumps(found, indent=1, sort_keys=True) + '\n')
        print(_table(name, numbers))
    figure = Path(arguments.out).with_suffix('.png')
    save_image(figure, error_by_views(_mean_curves(found)))
    print(f'numbers: {arguments.out}; figure: {figure}')


def _mean_curves(found: dict[str, dict[str, views_report.Numbers]]) -> dict[str, dict[int, float]]:
    """{row: {views: MPJPE}}, the mean over all checkpoints."""
    gathered: dict[str, dict[int, list[float]]] = {}
    for numbers in found.values():
        for views, rows in numbers.items():
            for row, values in rows.items():
                gathered.setdefault(row, {}).setdefault(int(views), []).append(values[ERROR])
    return {
        row: {views: sum(values) / len(values) for views, values in curve.items()} for row, curve in gathered.items()
    }


def _table(name: str, numbers: dict[str, views_report.Numbers]) -> str:
    """MPJPE in millimetres, a row for each estimate and a column for each number of views."""
    counts = sorted(numbers, key=int)
    rows = list(dict.fromkeys(row for count in counts for row in numbers[count]))
    lines = [f'{name}: MPJPE (mm) by the number of views', ' ' * 18 + ''.join(f'{count:>8}' for count in counts)]
    for row in rows:
        values = [numbers[count].get(row, {}).get(ERROR) for count in counts]
        lines.append(f'{row:18}' + ''.join(f'{"" if value is None else format(value, ".1f"):>8}' for value in values))
    return '\n'.join(lines)
