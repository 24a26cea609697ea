"""Trains the small Deformer on random clips: python run_random_clips.py WORK_DIR EPOCHS [key=value ...]"""

import sys
from pathlib import Path

import torch
from random_clips import RandomClips  # noqa: F401  (registers itself)

from handpose.engine import build_runner, compat, load_config, run_settings
from handpose.engine.checkpoints import newest_checkpoint
from handpose.engine.options import split_options

CONFIG = Path(__file__).parents[2] / 'configs' / 'deformer' / 'synthetic_paper.py'


def clips(length, pipeline=()):
    """Options for another number of training clips, or for transforms of them."""
    return {'train_dataset': dict(type='RandomClips', length=length, pipeline=list(pipeline), _delete_=True)}


def train(work_dir, epochs, options=None, launcher='none', start=None):
    """Trains to `epochs`, going on from what `work_dir` holds, else from the weights `start`; returns the runner."""
    torch.set_num_threads(1)
    settings = {
        'epochs': 4,
        'num_frames': 3,
        'batch_size': 2,
        **clips(8),
        'param_scheduler': [],
        'val_dataloader': None,
        'custom_hooks': [],
        'visualizer': None,
        **(options or {}),
    }
    config = run_settings(load_config(CONFIG, settings), work_dir, launcher)
    config.train_cfg.max_epochs = epochs
    config.load_from = newest_checkpoint(work_dir)
    config.resume = config.load_from is not None
    config.load_from = config.load_from or start
    runner = build_runner(config, experiment_name=f'{work_dir}_{epochs}')
    runner.train()
    return runner


if __name__ == '__main__':
    options = split_options(sys.argv[3:])
    try:
        train(sys.argv[1], int(sys.argv[2]), options, launcher='pytorch')
    finally:
        compat.leave_process_group()
