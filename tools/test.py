"""Tests a config by its official protocol: python tools/test.py configs/deformer/dexycb.py [CHECKPOINT]"""

import argparse
import json
import sys
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import set_random_seed

from handpose.engine import OptionsAction, build_runner, compat, load_config, load_weights, run_settings
from handpose.engine.checkpoints import choose_checkpoint
from handpose.engine.errors import exit_on_user_error
from handpose.evaluation import build_metrics, metrics_table, specs_of, with_records
from handpose.files.atomic import atomic_write
from handpose.models import fit_constant_hands
from handpose.registry import DATASETS, MODELS
from handpose.visualization.hook import DrawClipsHook
from handpose.visualization.report import draw_test


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, e.g. configs/deformer/synthetic.py')
    parser.add_argument('checkpoint', nargs='?', help='weights (default: the newest checkpoint of the work directory)')
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
    parser.add_argument('--results', metavar='FILE', help="also write the model's results in the dataset's own format")
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='overrides, e.g. data_root=...')
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none', help='several processes')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    config = load_config(arguments.config, arguments.cfg_options)
    config = run_settings(config, arguments.work_dir, arguments.launcher)
    compat.join_process_group(arguments.launcher)
    results_file = results_file_of(config, arguments.results)
    estimators = build_estimators(config, arguments.checkpoint, arguments.compare)
    pictures = Path(config.work_dir) / 'pictures' if arguments.draw else None
    results, metrics = {}, {}
    for name, estimator in estimators.items():
        extra = [results_file] if results_file and name == 'model' else []
        runner = build_test(config, name, estimator, extra)
        if name == 'model' and pictures:
            runner.register_hook(DrawClipsHook(pictures, arguments.draw))
        results[name] = {key: float(value) for key, value in runner.test().items()}
        metrics[name] = runner.test_loop.evaluator.metrics
    reports = is_main_process()  # after leaving, every process is its own main process
    compat.leave_process_group()
    if reports:
        report(results, specs_of(metrics['model']), Path(config.work_dir), arguments.results)
        if pictures:
            draw_test(pictures, metrics, estimators['model'], runner.test_dataloader.dataset, arguments.draw, print)
            print(f'pictures: {pictures}')


def results_file_of(config, path):
    """The metric that writes `path`, or None where none is asked for; refuses a dataset without such a file."""
    if path is None:
        return None
    if config.get('results_file') is None:
        sys.exit(f'error: {config.filename} has no results_file, so its dataset has no results format; leave --results')
    return {**config.results_file, 'path': path}


def build_estimators(config, checkpoint, compare):
    """The rows of the table, by name: the model, and what it must beat."""
    warn = lambda sentence: print(f'not used: {sentence}')  # noqa: E731
    checkpoint = checkpoint or choose_checkpoint('auto', config.work_dir, warn)
    model = MODELS.build(config.model)
    if checkpoint is not None:
        load_weights(model, checkpoint, config.model)
        if is_main_process():
            print(f'testing {checkpoint}')
    elif any(True for _ in model.parameters()):
        sys.exit(
            f'error: no checkpoint in {config.work_dir}; train first with python tools/train.py {config.filename}, '
            f'or give the path of a checkpoint'
        )
    estimators = {'model': model}
    if compare and config.get('compared'):
        estimators.update({name: MODELS.build(settings) for name, settings in config.compared.items()})
    elif compare:
        # Each frame once, as in the test: whole tracks, or videos.
        labels = DATASETS.build({**config.train_dataset, 'sampling': config.test_dataset.sampling, 'pipeline': []})
        estimators.update(fit_constant_hands(labels[i] for i in range(len(labels))))
        set_random_seed(config.randomness.seed)
        estimators['untrained'] = MODELS.build(config.model)
    return estimators


def build_test(config, name, estimator, extra_metrics):
    """A runner of the whole test split; the metrics keep the numbers of every sample in records/."""
    config = config.copy()
    metrics = [*config.test_evaluator, *extra_metrics]
    if estimator.gives.hand_model is None or config.get('labels') == 'joints_only':
        # Without a mesh on both sides there is nothing for metrics of meshes to compare.
        built = build_metrics(metrics)
        metrics = [settings for settings, m in zip(metrics, built, strict=True) if 'vertices' not in m.fields]
    config.test_evaluator = with_records(metrics, Path(config.work_dir) / 'records' / name)
    return build_runner(config, estimator, experiment_name=f'test_{name}', purpose='test')


def report(results, specs, work_dir, results_file):
    """Prints the table, and writes its numbers to metrics.json beside the checkpoints."""
    print(metrics_table(results, specs))
    atomic_write(work_dir / 'metrics.json', json.dumps(results, indent=1, sort_keys=True) + '\n')
    print(f'metrics: {work_dir / "metrics.json"}; of every sample: {work_dir / "records"}')
    if results_file:
        print(f'results: {results_file}')


if __name__ == '__main__':
    with exit_on_user_error():
        main()
