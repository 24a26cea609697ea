"""An epoch that can be entered anywhere: which clips it visits, in which order, with which random numbers."""

import random
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from mmengine.dist import broadcast, get_dist_info
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from handpose.engine.checkpoints import next_batch
from handpose.engine.guards import check_work_dir
from handpose.registry import HOOKS


@runtime_checkable
class SeededDataset(Protocol):
    """A dataset whose random draws depend on a seed, the epoch and the index of a sample.

    Attributes:
        seed: of all random draws.
    """

    seed: int

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that random draws depend on."""


class EpochBatches:
    """The batches of one process in one epoch: a batch sampler for `DataLoader`.

    The order is a permutation drawn from (seed, epoch) alone, dealt out to the processes in turn and cut to whole
    optimizer steps, so that every process does the same number of batches and no step spans two epochs. Entering an
    epoch at batch n skips the first n without loading them.

    Args:
        num_samples: of the dataset.
        batch_size: clips in a batch of one process.
        seed: of the order.
        batches_per_step: batches whose gradients make one optimizer step.
        rank: of this process; by default that in mmengine's process group.
        world_size: number of processes; by default that of mmengine's process group.

    Raises:
        ValueError: there are fewer samples than one optimizer step needs.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int = 0,
        batches_per_step: int = 1,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        group = get_dist_info()
        self.rank, self.world_size = group[0] if rank is None else rank, world_size or group[1]
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.batches_per_step = batches_per_step
        step = batch_size * self.world_size * batches_per_step
        if num_samples < step:
            raise ValueError(
                f'the training split has {num_samples} samples, and one optimizer step needs {step}: batch size '
                f'{batch_size} x {self.world_size} processes x {batches_per_step} accumulated batches; lower one'
            )
        self._length = num_samples // step * batches_per_step
        self.epoch, self.first = 0, 0

    def enter(self, epoch: int, first: int = 0) -> None:
        """Makes the next iteration give the batches of `epoch` from number `first` on."""
        if not 0 <= first <= self._length:
            raise ValueError(f'an epoch has {self._length} batches; it cannot be entered at batch {first}')
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_samples)
        mine = order[self.rank :: self.world_size][: self._length * self.batch_size].reshape(-1, self.batch_size)
        yield from mine[self.first :].tolist()


class EpochLoop(EpochBasedTrainLoop):
    """mmengine's loop over epochs, which goes on at the iteration that a checkpoint was saved at."""

    def run(self) -> nn.Module:
        """Runs the epochs that are left.

        Raises:
            ValueError: the work directory was removed meanwhile.
        """
        try:
            return super().run()
        except OSError:
            check_work_dir(self.runner.work_dir)
            raise

    def run_epoch(self) -> None:
        """Runs what is left of the epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = self._iter - self._epoch * len(self.dataloader)
        self.dataloader.batch_sampler.enter(self._epoch, first)
        batches, index = iter(self.dataloader), first
        while (batch := next_batch(self.runner, batches)) is not None:
            self.run_iter(index, batch)
            index += 1
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


@HOOKS.register_module()
class SharedStatisticsHook(Hook):
    """Gives every process the batch norm statistics of process 0 before a validation: those that checkpoints hold."""

    def before_val_epoch(self, runner: Runner) -> None:
        """Sends the buffers around."""
        for buffer in runner.model.buffers():
            broadcast(buffer)


@HOOKS.register_module()
class SeedHook(Hook):
    """Makes all randomness a function of numbers that a resumed run knows again, so that none has to be stored.

    A sample draws from (seed, epoch, index), see `VideoDataset`; everything else from (seed, epoch, iteration, rank).
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Tells the training set the epoch."""
        dataset = runner.train_dataloader.dataset
        if isinstance(dataset, SeededDataset):
            dataset.set_epoch(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds Python, NumPy and torch; the loader has drawn the batch by now."""
        draws = np.random.SeedSequence([runner.seed, runner.epoch, runner.iter, runner.rank])
        seed = int(draws.generate_state(1, np.uint64)[0]) >> 1  # in Python: numpy 1 cannot shift a uint64 by an int
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
