"""Tests a config by its official protocol: python tools/test.py configs/deformer/dexycb.py [CHECKPOINT]"""

import argparse
import json
import sys
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import set_random_seed

from handpose.engine import OptionsAction, build_runner, compat, load_config, load_weights, run_settings
from handpose.engine.errors import sentences
from handpose.engine.weights import newest_checkpoint
from handpose.evaluation import metrics_table
from handpose.models import fit_constant_hands
from handpose.registry import DATASETS, MODELS
from handpose.visualization.hook import DrawClipsHook


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, e.g. configs/deformer/synthetic.py')
    parser.add_argument('checkpoint', nargs='?', help='weights (default: the newest checkpoint of the work directory)')
    parser.add_argument('--work-dir', help='where results go (default work_dirs/<system>_<dataset>)')
    parser.add_argument(
        '--compare',
        action='store_true',
        help='also test constant hands fitted on the train split, and the untrained model',
    )
    parser.add_argument('--draw', type=int, default=2, metavar='N', help='draw N clips of the test split (default 2)')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='overrides, e.g. data_root=...')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none', help='several processes')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    config = load_config(arguments.config, arguments.cfg_options)
    config = run_settings(config, arguments.work_dir, arguments.launcher)
    estimators = build_estimators(config, arguments.checkpoint, arguments.compare)
    pictures = Path(config.work_dir) / 'pictures'
    results = {name: test(config, name, estimators[name], pictures, arguments.draw) for name in estimators}
    compat.leave_process_group()
    if is_main_process():
        report(results, Path(config.work_dir), pictures if arguments.draw else None)


def build_estimators(config, checkpoint, compare):
    """The rows of the table, by name: the model, and what it must beat."""
    checkpoint = checkpoint or newest_checkpoint(config.work_dir)
    model = MODELS.build(config.model)
    if checkpoint is not None:
        load_weights(model, checkpoint)
        print(f'testing {checkpoint}')
    elif any(True for _ in model.parameters()):
        sys.exit(
            f'error: no checkpoint in {config.work_dir}; train first with python tools/train.py {config.filename}, '
            f'or give the path of a checkpoint'
        )
    estimators = {'model': model}
    if compare:
        labels = DATASETS.build({**config.train_dataset, 'mode': 'tracks', 'pipeline': []})
        estimators.update(fit_constant_hands(labels[i] for i in range(len(labels))))
        set_random_seed(config.randomness.seed)
        estimators['untrained'] = MODELS.build(config.model)
    return estimators


def test(config, name, estimator, pictures, num_clips):
    """Runs the whole test split through one estimator and returns its metrics; draws for the model alone."""
    config = config.copy()
    if not hasattr(estimator, 'hand_model') or config.get('labels') == 'joints_only':
        # Without a mesh on both sides there is nothing for the mesh metrics to compare.
        config.test_evaluator = [metric for metric in config.test_evaluator if metric.type != 'HandMeshMetric']
    runner = build_runner(config, estimator, experiment_name=f'test_{name}', purpose='test')
    if name == 'model' and num_clips:
        runner.register_hook(DrawClipsHook(pictures, num_clips))
    return {key: float(value) for key, value in runner.test().items()}


def report(results, work_dir, pictures):
    """Prints the table, and keeps it as metrics.json beside the checkpoints."""
    print(metrics_table(results))
    path = work_dir / 'metrics.json'
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + '\n')
    print(f'metrics: {path}')
    if pictures:
        print(f'pictures: {pictures}')


if __name__ == '__main__':
    with sentences():
        main()
