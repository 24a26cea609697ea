"""Two steps of MVExoNet at the paper's size; minutes on two CPU cores: python tests/engine/mvexonet_at_paper_size.py

Prints the number of parameters, the losses, the time of a step and the peak memory of the process.
"""

import resource
import sys
import time
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1] / 'helpers'))

from multi_view import multi_view_batch

from handpose.engine import load_config
from handpose.models import TrainingStep
from handpose.registry import MODELS

PARAMETERS = 15_550_513


def two_steps(options=None, cameras=8, hands=2, steps=2):
    """Trains on random hands; returns the losses of each step, and the number of parameters."""
    torch.manual_seed(0)
    model = MODELS.build(load_config('configs/assemblyhands/mvexonet.py', options or {}).model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    batch, history = multi_view_batch(clips=1, frames=1, cameras=cameras, hands=hands), []
    for step in range(steps):
        started = time.perf_counter()
        losses = model.loss(batch, TrainingStep(step))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f'step {step}: {history[-1]}, {seconds:.0f} s, peak {peak:.1f} GiB', flush=True)
    return history, sum(parameter.numel() for parameter in model.parameters())


if __name__ == '__main__':
    print(f'{two_steps()[1]:,} parameters')
