"""Processes that train one network together, for the sweep of ranks."""

import multiprocessing
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from handpose.engine import load_config
from handpose.experiments.benchmarks.sweep_inputs import hand_batch
from handpose.models import HTT, TrainingStep
from handpose.registry import MODELS
from handpose.structures import HandSequence
from handpose.system import peak_memory

CLIPS, FRAMES = 4, 15  # of each rank


class RankWorkers:
    """Ranks that each train the small HTT on clips of their own, one step at a time, with gloo.

    Args:
        ranks: number of processes.
        threads: of each.
    """

    def __init__(self, ranks: int, threads: int) -> None:
        context = multiprocessing.get_context('spawn')
        self.folder = tempfile.TemporaryDirectory(prefix='ranks_')
        self.pipes: list[Any] = []  # connections; Windows has another class of them
        self.processes = []
        for rank in range(ranks):
            ours, theirs = context.Pipe()
            meeting = f'file://{Path(self.folder.name) / "meeting"}'
            process = context.Process(target=_train, args=(rank, ranks, threads, meeting, theirs), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def __enter__(self) -> 'RankWorkers':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def step(self) -> list[float]:
        """Lets all ranks take a training step; the sums of their gradients, which are the same on every rank.

        Raises:
            EOFError: a rank has ended.
        """
        for pipe in self.pipes:
            pipe.send('step')
        return [pipe.recv() for pipe in self.pipes]

    def memory(self) -> list[float]:
        """The peak of resident memory of each rank, MB."""
        for pipe in self.pipes:
            pipe.send('memory')
        return [pipe.recv() for pipe in self.pipes]

    def close(self) -> None:
        """Ends the processes."""
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(10)
            process.kill()
        self.folder.cleanup()


class _Loss(nn.Module):
    """What `DistributedDataParallel` wraps: the loss as `forward`."""

    def __init__(self, estimator: HTT) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, batch: HandSequence) -> Tensor:
        return torch.stack(list(self.estimator.loss(batch, TrainingStep()).values())).sum()


def _train(rank: int, ranks: int, threads: int, meeting: str, pipe: Connection) -> None:
    torch.set_num_threads(threads)
    distributed.init_process_group('gloo', init_method=meeting, rank=rank, world_size=ranks)
    torch.manual_seed(0)
    model = DistributedDataParallel(_Loss(MODELS.build(load_config('htt/synthetic').model)).train())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    batch = hand_batch(CLIPS, FRAMES, hands=2, image_size=(160, 90)).replace(
        object_label=torch.full((CLIPS, FRAMES), rank), action_label=torch.full((CLIPS,), rank)
    )
    try:
        while True:
            if pipe.recv() == 'memory':
                pipe.send(peak_memory()[1])
                continue
            optimizer.zero_grad()
            model(batch).backward()
            optimizer.step()
            pipe.send(float(sum(p.grad.double().sum() for p in model.parameters() if p.grad is not None)))
    except EOFError:
        distributed.destroy_process_group()
