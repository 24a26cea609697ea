"""Chooses the settings of motion filters on a train split: python tools/tune_filters.py configs/pdtm/dexycb_motion.py

Every filter's settings are tried on the same tracks with the same inputs; the one with the lowest wrist-aligned MPJPE
is marked. What is printed as options can be given to tools/test.py and to tables of tools/ablate.py.
"""

import argparse
from itertools import product

from rich.progress import track

from handpose.engine import OptionsAction, load_config
from handpose.engine.adapter import EstimatorAdapter, collate
from handpose.engine.errors import exit_on_user_error
from handpose.evaluation import HandPoseMetric
from handpose.evaluation.pose import ACCELERATION, MPJPE
from handpose.registry import DATASETS, MODELS

# In seconds and hertz, whatever the frame rate of the data.
GRIDS = {
    'savitzky_golay': {'window': (0.134, 0.2, 0.267, 0.334, 0.4, 0.467, 0.6, 0.8, 1.0), 'order': (2, 3)},
    'gaussian': {'sigma': (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15), 'order': (1, 3)},
    'one_euro': {'min_cutoff': (1.0, 2.5, 5.0, 10.0, 20.0), 'beta': (0.0, 3.0, 10.0, 30.0, 100.0, 200.0, 300.0)},
}
ERROR = MPJPE['ra_wrist']


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file that lists the filters, e.g. configs/pdtm/dexycb_motion.py')
    parser.add_argument('--every', type=int, default=8, metavar='N', help='take every n-th track (default %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, help='overrides of the config')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    config = load_config(arguments.config, arguments.cfg_options)
    settings = {**config.train_dataset, 'sampling': {'type': 'Tracks'}, 'pipeline': config.test_pipeline}
    dataset = DATASETS.build(settings)
    batches = [collate([dataset[i]])['batch'] for i in track(range(0, len(dataset), arguments.every), 'reading')]
    print(f'{len(batches)} of {len(dataset)} tracks of the train split; {ERROR.name} | {ACCELERATION.name}')
    print(f'input: {words(measure(config.input_motion, batches))}')
    for name, grid in GRIDS.items():
        choices = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
        found = [measure({**config[name], 'unit': 'seconds', **choice}, batches) for choice in track(choices, name)]
        best = min(range(len(found)), key=lambda i: found[i][0])
        for i, choice in enumerate(choices):
            options = ' '.join(f'{name}.{key}={value}' for key, value in {'unit': 'seconds', **choice}.items())
            print(f'{"*" if i == best else " "} {options}: {words(found[i])}')


def measure(settings, batches):
    """(wrist-aligned MPJPE mm, wrist-relative acceleration error mm/frame^2) of a refiner on batches of one track."""
    adapter = EstimatorAdapter(MODELS.build(settings)).eval()
    metric = HandPoseMetric(breakdowns=())
    for batch in batches:
        metric.process(None, adapter(batch, mode='predict'))
    numbers = metric.reduce(metric.results)
    return numbers[ERROR.name], numbers[ACCELERATION.name]


def words(pair):
    return f'{pair[0]:.3f} {ERROR.unit} | {pair[1]:.3f} {ACCELERATION.unit}'


if __name__ == '__main__':
    with exit_on_user_error():
        main()
