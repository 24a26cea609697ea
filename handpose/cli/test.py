"""Tests a config by its dataset's official protocol: handpose test configs/deformer/dexycb.py [CHECKPOINT]"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.runner import Runner, set_random_seed

from handpose.cli import arguments as shared
from handpose.cli import make_data
from handpose.cli.errors import UserError
from handpose.engine import build_runner, compat, load_config, load_weights, run_settings
from handpose.engine.checkpoints import choose_checkpoint
from handpose.evaluation import MetricSpec, build_metrics, metrics_table, specs_of, with_records
from handpose.files.atomic import atomic_write
from handpose.models import Estimator, Forecaster, fit_constant_hands
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import DATASETS, MODELS
from handpose.visualization.hook import DrawClipsHook
from handpose.visualization.report import draw_test
from handpose.zoo.find import find_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    shared.add_config(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='weights: a file or a name in the zoo (default: the newest checkpoint of the work directory)',
    )
    parser.add_argument('--work-dir', help='where results go (default work_dirs/<system>_<dataset>)')
    parser.add_argument(
        '--compare',
        action='store_true',
        help='also test what the config lists as `compared`, or else constant hands fitted on the train split '
        'and the untrained model',
    )
    parser.add_argument(
        '--draw',
        type=int,
        default=2,
        metavar='N',
        help='draw N clips and the N worst sequences (0: nothing; default 2)',
    )
    parser.add_argument(
        '--results',
        metavar='FILE',
        help="also write the model's results, in the form that results_file of the config names",
    )
    shared.add_cfg_options(parser)
    shared.add_launcher(parser)


def run(arguments: argparse.Namespace) -> None:
    """Tests, prints the table of metrics, and draws.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        ValueError: the config, its data or its checkpoint cannot be used.
    """
    config = load_config(arguments.config, arguments.cfg_options)
    config = run_settings(config, arguments.work_dir, arguments.launcher)
    compat.join_process_group(arguments.launcher)
    results_file = results_file_of(config, arguments.results)
    estimators = {'model': build_model(config, arguments)}
    if arguments.launcher == 'none':
        make_data.make_missing(config, arguments.config)
    if arguments.compare:
        estimators |= build_baselines(config)
    images = Path(config.work_dir) / 'images' if arguments.draw else None
    results: dict[str, dict[str, float]] = {}
    metrics: dict[str, list[Any]] = {}
    for name, estimator in estimators.items():
        extra = [results_file] if results_file and name == 'model' else []
        runner = build_test(config, name, estimator, extra)
        if name == 'model' and images:
            runner.register_hook(DrawClipsHook(images, arguments.draw))
        results[name] = {key: float(value) for key, value in runner.test().items()}
        metrics[name] = runner.test_loop.evaluator.metrics
    reports = is_main_process()  # after leaving, every process is its own main process
    compat.leave_process_group()
    if reports:
        _report(results, specs_of(metrics['model']), Path(config.work_dir), arguments.results)
        if images:
            draw_test(images, metrics, estimators['model'], runner.test_dataloader.dataset, arguments.draw, print)
            print(f'images: {images}')


def results_file_of(config: Config, path: str | None) -> dict[str, Any] | None:
    """The metric that writes `path`, or None where none is asked for; refuses a dataset without such a file."""
    if path is None:
        return None
    if config.get('results_file') is None:
        raise UserError(f'{config.filename} has no results_file, so its dataset has no results format; omit --results')
    return {**config.results_file, 'path': path}


def build_model(config: Config, arguments: argparse.Namespace) -> Estimator:
    """Builds the model with the weights to be tested.

    Args:
        config: the config of the run.
        arguments: those of `add_arguments`.

    Raises:
        UserError: there is no checkpoint.
    """
    checkpoint = arguments.checkpoint or choose_checkpoint(
        'auto', config.work_dir, lambda reason: print(f'not used: {reason}')
    )
    model = MODELS.build(config.model)
    if checkpoint is not None:
        path = find_weights(checkpoint)
        load_weights(model, path, config.model)
        if is_main_process():
            print(f'testing {path}')
    elif any(True for _ in model.parameters()):
        raise UserError(
            f'no checkpoint in {config.work_dir}; train first with: handpose train {arguments.config}; '
            'or give weights: the path of a file, or a name that `handpose zoo list` shows'
        )
    return prepare_for_prediction(model.to(get_device()))


def build_baselines(config: Config) -> dict[str, Estimator]:
    """Builds what the model must beat: {name: estimator}.

    Args:
        config: the config of the run.
    """
    if config.get('compared'):
        return {name: MODELS.build(settings) for name, settings in config.compared.items()}
    # Each frame once, as in the test: whole tracks, or videos.
    labels = DATASETS.build({**config.train_dataset, 'sampling': config.test_dataset.sampling, 'pipeline': []})
    estimators: dict[str, Estimator] = dict(fit_constant_hands(labels[i] for i in range(len(labels))))
    set_random_seed(config.randomness.seed)
    return {**estimators, 'untrained': MODELS.build(config.model)}


def build_test(config: Config, name: str, estimator: Estimator, extra_metrics: list[dict[str, Any]]) -> Runner:
    """Builds a runner of the whole test split; the metrics keep the numbers of every sample in records/.

    Args:
        config: the config of the run; it is not changed.
        name: the row of the table.
        estimator: the row's estimator.
        extra_metrics: configs of more metrics.
    """
    config = config.copy()
    config.load_from, config.resume = None, False  # the estimator has its weights
    metrics = [*config.test_evaluator, *extra_metrics]
    if estimator.gives.hand_model is None or config.get('labels') == 'joints_only':
        # Without a mesh on both sides there is nothing for metrics of meshes to compare.
        built = build_metrics(metrics)
        metrics = [settings for settings, m in zip(metrics, built, strict=True) if 'vertices' not in m.fields]
    if name != 'model' and isinstance(estimator, Forecaster) and estimator.test_samples is None:
        # A baseline with one future has no diversity. Of the model, the metric says what to change in the config.
        built = build_metrics(metrics)
        metrics = [settings for settings, m in zip(metrics, built, strict=True) if m.min_samples == 1]
    config.test_evaluator = with_records(metrics, Path(config.work_dir) / 'records' / name)
    return build_runner(config, estimator, experiment_name=f'test_{name}', purpose='test')


def _report(
    results: dict[str, dict[str, float]], specs: Mapping[str, MetricSpec], work_dir: Path, results_file: str | None
) -> None:
    """Prints the table, and writes its numbers to metrics.json beside the checkpoints."""
    print(metrics_table(results, specs))
    atomic_write(work_dir / 'metrics.json', json.dumps(results, indent=1, sort_keys=True) + '\n')
    print(f'metrics: {work_dir / "metrics.json"}; of every sample: {work_dir / "records"}')
    if results_file:
        print(f'results: {results_file}')
