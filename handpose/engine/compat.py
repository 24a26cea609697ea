"""Every work-around for mmengine 0.10.7, each with its reason and the condition under which it can go.

Nothing else in the library patches anything, and importing `handpose` does not import this module.
"""

import os

import numpy as np
import torch
from mmengine.dist import init_dist
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.optim import OptimWrapper
from mmengine.runner.checkpoint import CheckpointLoader

from handpose.registry import HOOKS, OPTIM_WRAPPERS

# Older iterations of a logged scalar are only smoothed over, and copying them all makes long runs slow.
KEPT_HISTORY = 1000


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Keeps checkpoints free of pickled objects, so that `torch.load(weights_only=True)` reads them.

    mmengine stores `HistoryBuffer` objects, which torch >= 2.6 refuses (open-mmlab/mmengine#1655). Can go when mmengine
    writes plain data itself.
    """

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner, checkpoint):
        """Turns every object in the checkpoint into tensors and plain Python values."""
        checkpoint.update(_plain(checkpoint))

    def after_load_checkpoint(self, runner, checkpoint):
        """Turns the plain history back into what mmengine's message hub expects."""
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, value in list(scalars.items()):
            if isinstance(value, dict):
                scalars[name] = HistoryBuffer(value['values'].tolist(), value['counts'].tolist(), value['max_length'])


def _plain(value):
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


def install_safe_loading():
    """Makes mmengine read checkpoint files with `weights_only=True` and never run code that a file holds.

    `Runner.resume` executes `meta['config']` as Python. Can go when mmengine drops that branch and loads safely itself.
    """
    CheckpointLoader.register_scheme(prefixes='', loader=load_checkpoint_file, force=True)


def load_checkpoint_file(filename, map_location='cpu'):
    """Reads a checkpoint of this library: plain data only.

    Args:
        filename: path of a `.pth` file.
        map_location: as for `torch.load`.

    Returns:
        The checkpoint dict, without `meta['config']`.

    Raises:
        ValueError: the file is missing, damaged, or holds anything but plain data.
    """
    if not os.path.isfile(filename):
        raise ValueError(f'no checkpoint file {filename}; give the path of a .pth file that training wrote')
    try:
        checkpoint = torch.load(filename, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises many kinds; each means that the file cannot be used
        raise ValueError(
            f'{filename} cannot be read as a checkpoint (damaged, or it holds more than plain data): '
            f'{str(error).splitlines()[0]}'
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{filename} holds a {type(checkpoint).__name__}, expected a dict with "state_dict"')
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """bfloat16 autocast on the CPU. mmengine's `AmpOptimWrapper` refuses to run there; can go when it does not."""

    def optim_context(self, model):
        """Adds bfloat16 autocast to mmengine's own context (gradient accumulation, DDP without sync)."""
        from contextlib import ExitStack

        stack = ExitStack()
        stack.enter_context(super().optim_context(model))
        stack.enter_context(torch.autocast('cpu', torch.bfloat16))
        return stack


def join_process_group(launcher, backend='nccl'):
    """Joins the process group of `launcher`; a launcher of 'none' joins nothing. Returns nothing.

    Without a GPU this joins gloo itself, because mmengine's `init_dist` calls `torch.cuda.set_device` always. Can go
    when it asks whether CUDA exists.
    """
    if launcher == 'none' or torch.distributed.is_initialized():
        return
    if torch.cuda.is_available():
        init_dist(launcher, backend=backend)
    else:
        torch.distributed.init_process_group('gloo')


def cpu_model_wrapper():
    """The DDP settings without a GPU: mmengine passes a device id even then. Can go when it does not."""
    return {'type': 'MMDistributedDataParallel', 'device_ids': None}


def leave_process_group():
    """Leaves the process group in order; without it gloo sometimes aborts at exit (3 of 25 runs on torch 2.13)."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def amp_wrapper_name():
    """The optimizer wrapper for mixed precision on this machine."""
    return 'AmpOptimWrapper' if torch.cuda.is_available() else 'handpose.CpuAmpOptimWrapper'


def check_resume(filename, max_epochs):
    """Looks into a checkpoint before a resume: True when it has already reached `max_epochs`.

    mmengine restores a scheduler's stored `end` over the config's, so a longer training would go on with a learning
    rate that silently stands still. Can go when the config wins.

    Raises:
        ValueError: the stored schedule ends before `max_epochs`; says how long it is and what to do.
    """
    checkpoint = load_checkpoint_file(filename)
    epoch = checkpoint['meta'].get('epoch', 0)
    for state in checkpoint.get('param_schedulers') or []:
        if state.get('by_epoch', True) and epoch <= state['end'] < max_epochs:
            raise ValueError(
                f'{filename} was trained with a schedule of {state["end"]} epochs and cannot be resumed to '
                f'{max_epochs}: keep epochs={state["end"]}, or start anew with --cfg-options load_from={filename}'
            )
    return epoch >= max_epochs
