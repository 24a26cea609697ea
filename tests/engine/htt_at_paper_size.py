"""Two steps of HTT's configs on whole clips: python tests/engine/htt_at_paper_size.py --dataset h2o [--checkpointing].

Prints the peak memory and the seconds a step takes. On the CPU, with activation checkpointing: 5.0 GiB for either.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import fpha_files
import h2o_files
import torch

from handpose.engine import load_config
from handpose.engine.adapter import collate
from handpose.engine.training import prepare_estimator, training_options
from handpose.models import TrainingStep
from handpose.registry import DATASETS, MODELS

PARAMETERS = {'h2o': 25_496_810, 'fpha': 25_466_054}
FROM_SCRATCH = {'model.backbone.pretrained': None, 'model.backbone.norm_eval': False}


def write_roots(folder):
    """A few pictures of 480 x 270 in each layout; segments are shorter than a clip."""
    h2o_files.write_root(folder / 'h2o', size=(480, 270))
    fpha_files.write_root(folder / 'fpha', size=(480, 270))
    return folder


def two_steps(config, device='cpu'):
    """Trains on the first clip, its padding taken for video; every parameter must get a finite gradient, not all zero.

    Returns:
        the number of parameters and the seconds of the second step.
    """
    batch = collate([DATASETS.build(config.train_dataset)[0]])['batch'].validate().to(device)
    batch = batch.replace(frame_valid=torch.ones_like(batch.frame_valid))
    assert batch.images.shape[1:] == (config.num_frames, 1, 3, 270, 480)
    torch.manual_seed(0)
    model = MODELS.build(config.model).to(device)
    prepare_estimator(model, training_options(config))
    optimizer = torch.optim.Adam(model.parameters(), lr=config.optim_wrapper.optimizer.lr)
    for _ in range(2):
        started = time.perf_counter()
        losses = model.loss(batch, TrainingStep())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), label
        assert parameter.grad.abs().max() > 0, label
    return sum(p.numel() for p in model.parameters()), time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--dataset', choices=PARAMETERS, default='h2o')
    parser.add_argument('--checkpointing', action='store_true', help='activation checkpointing')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = write_roots(Path(folder)) / args.dataset
        options = {'data_root': str(root), 'training.activation_checkpointing': args.checkpointing, **FROM_SCRATCH}
        count, seconds = two_steps(load_config(f'configs/htt/{args.dataset}.py', options), args.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if args.device != 'cpu':
        peak = torch.cuda.max_memory_allocated() / 2**30
    print(f'{count} parameters; a step {seconds:.1f} s; peak memory {peak:.1f} GiB on {args.device}')


if __name__ == '__main__':
    main()
