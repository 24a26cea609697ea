"""Every workaround for mmengine 0.10, each with its reason and the condition under which it can be removed.

Nothing else in the library patches anything, and importing `handpose` does not import this module.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import init_dist
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from handpose.files.atomic import atomic_write
from handpose.registry import HOOKS, OPTIM_WRAPPERS
from handpose.zoo.checkpoint_file import load_checkpoint_file

# Older iterations of a logged scalar are only smoothed over, and copying them all makes long runs slow.
KEPT_HISTORY = 1000
MOST_HISTORY = 10**8  # `max_length` of a history, by which nothing is allocated
_OTHER = 'resume from another checkpoint, or start anew from the weights of this one with load_from=...'
HISTORY_KEYS = ('values', 'counts', 'max_length')
# The name of the file backend below, as mmengine's `backend_args` ask for it.
ATOMIC_FILES = 'handpose_atomic'


class AtomicFileBackend(LocalBackend):
    """Local files that are written atomically.

    mmengine's backend writes in place, so a killed process leaves a truncated checkpoint under the newest name. Can be
    removed when it writes to a temporary file and renames it.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes bytes to `filepath`."""
        atomic_write(filepath, obj)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Keeps checkpoints free of pickled objects, so that `torch.load(weights_only=True)` reads them.

    mmengine stores `HistoryBuffer` objects, which torch >= 2.6 refuses (open-mmlab/mmengine#1655). Can be removed when
    mmengine writes plain data itself.
    """

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Turns every object in the checkpoint into tensors and plain Python values."""
        checkpoint.update(_plain(checkpoint))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Turns the plain history back into what mmengine's message hub expects."""
        hub = checkpoint.get('message_hub', {})
        scalars = hub.get('log_scalars', {}) if isinstance(hub, dict) else None
        if not isinstance(scalars, dict):
            raise ValueError(f"the checkpoint's history is damaged: its message_hub holds no dict; {_OTHER}")
        for name, value in list(scalars.items()):
            scalars[name] = _history(name, value)


def _history(name: object, value: Any) -> HistoryBuffer:
    """The history of one logged scalar, as mmengine keeps it."""
    if isinstance(value, HistoryBuffer):
        return value
    values: Any
    counts: Any
    values, counts, longest = map(value.get, HISTORY_KEYS) if isinstance(value, dict) else (None, None, None)
    columns = _is_column(values) and _is_column(counts) and len(values) == len(counts)
    if not columns or type(longest) is not int or not 0 < longest <= MOST_HISTORY:
        raise ValueError(
            f"the checkpoint's history of {str(name)[:80]!r} is damaged: expected the tensors 'values' and 'counts' of "
            f"one length, and a 'max_length' up to {MOST_HISTORY}; {_OTHER}"
        )
    return HistoryBuffer(values.tolist(), counts.tolist(), longest)


def _is_column(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim == 1 and value.is_floating_point()


def _plain(value: Any) -> Any:
    if isinstance(value, HistoryBuffer):
        values, counts = (torch.as_tensor(np.array(part[-KEPT_HISTORY:], np.float64)) for part in value.data)
        return {'values': values, 'counts': counts, 'max_length': value.max_length}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return type(value)((key, _plain(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value


def install_safe_loading() -> None:
    """Makes mmengine read checkpoint files with `weights_only=True` and never run code that a file holds.

    `Runner.resume` executes `meta['config']` as Python. Can be removed when mmengine drops that branch and loads
    safely itself.
    """
    CheckpointLoader.register_scheme(prefixes='', loader=load_checkpoint_file, force=True)
    register_backend(ATOMIC_FILES, AtomicFileBackend, force=True)


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """bfloat16 autocast on the CPU. mmengine's `AmpOptimWrapper` does not run there; can be removed when it does.

    Args:
        optimizer: what it wraps.
        accumulative_counts: number of batches whose gradients make one optimizer step.
        clip_grad: arguments of torch's gradient clipping, such as `dict(max_norm=1.0)`; None for no clipping.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Adds bfloat16 autocast to mmengine's own context (gradient accumulation, DDP without sync)."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def is_for_users(record: logging.LogRecord) -> bool:
    """A filter for the console's log: False for mmengine's warnings about its own use of what it will remove.

    Can be removed when `LoggerHook` no longer asks for a `FileClient`.
    """
    message = record.getMessage()
    return not message.startswith(('"FileClient"', '"HardDiskBackend"'))


def accept_accumulation() -> None:
    """Silences a warning that mmengine's schedulers give when an iteration has no optimizer step of its own.

    They are stepped after every iteration by design. Can be removed when they know about accumulation.
    """
    warnings.filterwarnings('ignore', message='Detected call of `scheduler.step', category=UserWarning)


def join_process_group(launcher: str) -> None:
    """Joins the process group of `launcher`; a launcher of 'none' joins nothing.

    Without a GPU this joins gloo itself, because mmengine's `init_dist` calls `torch.cuda.set_device` always. Can go
    when it asks whether CUDA exists.
    """
    if launcher == 'none' or torch.distributed.is_initialized():
        return
    if torch.cuda.is_available():
        init_dist(launcher, backend='nccl')
    else:
        torch.distributed.init_process_group('gloo')


def model_wrapper() -> dict[str, Any]:
    """The DDP settings. mmengine's own pass a device id even without a GPU; can be removed when they do not."""
    return {'type': 'MMDistributedDataParallel', 'device_ids': None}


def leave_process_group() -> None:
    """Leaves the process group in order; without it gloo sometimes aborts at exit (3 of 25 runs on torch 2.13)."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def amp_wrapper_name() -> str:
    """The optimizer wrapper for mixed precision on this machine."""
    return 'AmpOptimWrapper' if torch.cuda.is_available() else 'handpose.CpuAmpOptimWrapper'


def replay_schedule(runner: Runner) -> list[float]:
    """Gives the schedule of the runner's own config the place that a resumed checkpoint had reached in its schedule.

    mmengine restores a scheduler's stored fields over the config's: `end`, but also `T_max` and milestones, so a
    longer training would go on with a learning rate that silently stands still. Can be removed when the config wins.

    Returns:
        The learning rate of each parameter group that the schedule gives the iteration before the place reached.

    Raises:
        ValueError: the schedule follows a metric (ReduceOnPlateau) and cannot be replayed.
    """
    schedulers = runner.param_schedulers or []
    if any('Plateau' in type(s).__name__ for s in schedulers):
        raise ValueError(
            'a schedule that follows a metric cannot be changed in length: keep epochs as they were, or start anew '
            "from the checkpoint's weights with load_from=..."
        )
    groups = runner.optim_wrapper.param_groups
    for group in groups:
        group.update({key.removeprefix('initial_'): group[key] for key in group if key.startswith('initial_')})
    runner.param_schedulers = runner.build_param_scheduler(runner.schedule_settings)
    batches, before = len(runner.train_dataloader), []
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # no optimizer step lies between these steps, rightly
        for iteration in range(runner.iter):
            before = [group['lr'] for group in groups]
            # In training's order: after every iteration, then after the epoch.
            ends = [False, True] if (iteration + 1) % batches == 0 else [False]
            for scheduler in [s for end in ends for s in runner.param_schedulers if s.by_epoch == end]:
                scheduler.step()
    return before
