"""Options that change how fast a config trains and how much memory it needs, not what it learns.

They are the keys of the config's `training`:

    amp: mixed precision. True: float16 on CUDA, bfloat16 on the CPU; or 'float16' (CUDA only), 'bfloat16'. 'auto':
        bfloat16 on a CUDA card that computes with it, else none.
    accumulate: batches whose gradients make one optimizer step.
    compile: torch.compile of the estimator's child modules; True, or the names of some of them. 'auto': True on a CUDA
        card that computes with bfloat16, else False.
    channels_last: images, features and convolution weights with the channels last in memory. None: in image backbones
        on the CPU, where it is faster, and everywhere on CUDA with mixed precision.
    activation_checkpointing: forget what is inside a block and compute it again for the backward pass.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from handpose.engine.compat import amp_wrapper_name
from handpose.models.layers.onednn import use_onednn
from handpose.models.prediction import put_channels_last
from handpose.text import did_you_mean

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # of 2D and of 3D convolutions
DEFAULTS = dict(amp=False, accumulate=1, compile=False, channels_last=None, activation_checkpointing=False)


@runtime_checkable
class Recomputable(Protocol):
    """A block whose activations can be forgotten and computed again for the backward pass.

    Attributes:
        recomputable: names of the methods, often ('forward',).
    """

    recomputable: tuple[str, ...]


def training_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The `training` dict of a config with its defaults filled in, and 'auto' decided for this machine.

    Raises:
        ValueError: an unknown key or value.
    """
    given = dict(settings.get('training') or {})
    for key in given:
        if key not in DEFAULTS:
            raise ValueError(f'training has no option {key!r}.{did_you_mean(key, DEFAULTS)}')
    options = {**DEFAULTS, **given}
    if not isinstance(options['accumulate'], int) or options['accumulate'] < 1:
        raise ValueError(f'training.accumulate must be a whole number of at least 1, got {options["accumulate"]!r}')
    if options['amp'] not in (True, False, 'auto', 'float16', 'bfloat16'):
        raise ValueError(f"training.amp must be 'auto', True, False, 'float16' or 'bfloat16', got {options['amp']!r}")
    if options['amp'] == 'float16' and not torch.cuda.is_available():
        raise ValueError('training.amp=float16 needs a CUDA device; use bfloat16 on the CPU')
    if options['amp'] == 'auto':
        options['amp'] = 'bfloat16' if _has_bfloat16() else False
    if options['compile'] == 'auto':
        options['compile'] = _has_bfloat16()
    if options['channels_last'] is None and torch.cuda.is_available():
        options['channels_last'] = bool(options['amp'])
    return options


def _has_bfloat16() -> bool:
    """Whether there is a CUDA card whose hardware computes with bfloat16; torch.compile supports it too."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def optimizer_settings(settings: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The config's `optim_wrapper` with mixed precision and accumulation as `options` ask for."""
    wrapper = dict(settings, accumulative_counts=options['accumulate'])
    if options['amp']:
        wrapper['type'] = amp_wrapper_name()
        if torch.cuda.is_available():
            wrapper['dtype'] = 'float16' if options['amp'] is True else options['amp']
    return wrapper


def prepare_estimator(estimator: nn.Module, options: dict[str, Any]) -> None:
    """Puts channels last, checkpoints activations and compiles, in that order, in place. Names of weights stay.

    Without CUDA it also lets layers use oneDNN where that is faster.

    Args:
        estimator: a module, changed in place; its blocks to recompute are its `Recomputable` modules.
        options: what `training_options` returned.

    Raises:
        ValueError: `compile` names no child of the estimator, or there is nothing to recompute.
    """
    if options['channels_last']:
        # What convolutions compute follows the layout of their weights.
        for parameter in estimator.parameters():
            if parameter.ndim in _CHANNELS_LAST:
                parameter.data = parameter.data.contiguous(memory_format=_CHANNELS_LAST[parameter.ndim])
    elif options['channels_last'] is None:
        put_channels_last(estimator)
    if not torch.cuda.is_available():
        use_onednn(estimator)
    if options['activation_checkpointing']:
        checkpoint_activations(estimator)
    if options['compile']:
        compile_parts(estimator, options['compile'])


def compile_parts(estimator: nn.Module, names: Literal[True] | str | Sequence[str] = True) -> None:
    """Compiles the direct children of `estimator` that have weights (True), or those named."""
    children = dict(estimator.named_children())
    if names is True:
        names = [name for name, child in children.items() if any(True for _ in child.parameters())]
    for name in [names] if isinstance(names, str) else names:
        if name not in children:
            raise ValueError(
                f'training.compile names {name!r}, which is not a child module of {type(estimator).__name__}.'
                f'{did_you_mean(name, children)}'
            )
        children[name].compile()


def checkpoint_activations(estimator: nn.Module) -> None:
    """Makes every `Recomputable` block keep its input alone and run again for the backward pass."""
    blocks = [module for module in estimator.modules() if isinstance(module, Recomputable)]
    if not blocks:
        raise ValueError(
            f'{type(estimator).__name__} has no block that training.activation_checkpointing could recompute'
        )
    for block in blocks:
        for name in block.recomputable:
            setattr(block, name, partial(_recomputed, block, getattr(block, name)))


def _recomputed(block: nn.Module, method: Callable[..., Any], *inputs: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return method(*inputs)
    contexts = partial(_contexts, block)
    return checkpoint(method, *inputs, use_reentrant=False, context_fn=contexts)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _still_statistics(block)


@contextmanager
def _still_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norm counted this batch in the first run; the second must not count it again."""
    norms = [module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    kept = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)
