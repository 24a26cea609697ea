"""Staged training: starting submodules from weight files, and freezing them.

The keys of a config:

    init_from: [(file, prefix), ...], the submodule `prefix` of the estimator starts from the weights in `file`, or in
        the newest checkpoint of the folder `file`.
    freeze: [prefix, ...], the submodules stay as they are.

The optimizer does not hold frozen parameters, and frozen submodules stay in evaluation mode while the rest trains, so
that dropout is off and batch norm keeps its statistics. Checkpoints and published weights hold the whole estimator.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from handpose.engine.checkpoints import checkpoint_in
from handpose.models.estimators.base import Estimator
from handpose.text import did_you_mean
from handpose.zoo.find import find_weights
from handpose.zoo.load import check_tensors, read_weights


def staging_options(config: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[str]]:
    """Reads `init_from` and `freeze` of a config.

    Args:
        config: the loaded config.

    Returns:
        The pairs of `init_from` and the prefixes of `freeze`, both possibly empty.

    Raises:
        ValueError: one of them is not what it should be; says what was found.
    """
    init_from, freeze = config.get('init_from') or [], config.get('freeze') or []
    for pair in init_from if _is_list(init_from) else [init_from]:
        if not (_is_list(pair) and len(pair) == 2 and all(isinstance(item, str) for item in pair)):
            raise ValueError(
                f"init_from must be a list of (file, prefix), e.g. [('backbone.pth', 'backbone')]; got {pair!r}"
            )
    if not _is_list(freeze) or not all(isinstance(prefix, str) for prefix in freeze):
        raise ValueError(f"freeze must be a list of prefixes, e.g. ['backbone']; got {freeze!r}")
    return [(file, prefix) for file, prefix in init_from], list(freeze)


def find_submodule(estimator: Estimator, prefix: str, key: str) -> nn.Module:
    """Finds a submodule by its dotted name.

    Args:
        estimator: the system.
        prefix: such as 'backbone' or 'head.trunk'.
        key: of the config, for the message.

    Raises:
        ValueError: the estimator has no such submodule, or it holds no weights; names the closest that does.
    """
    modules = {name: module for name, module in estimator.named_modules() if name and module.state_dict()}
    if prefix not in modules:
        raise ValueError(
            f'{key} names {prefix!r}, which is no submodule with weights of {type(estimator).__name__} (it has '
            f'{", ".join(name for name in modules if "." not in name)}).{did_you_mean(prefix, modules)}'
        )
    return modules[prefix]


def freeze_submodules(estimator: Estimator, prefixes: Sequence[str]) -> list[nn.Module]:
    """Takes the gradients from submodules; `EstimatorAdapter` keeps what this returns in evaluation mode.

    Args:
        estimator: the system, changed in place.
        prefixes: dotted names of submodules.

    Returns:
        The frozen submodules.

    Raises:
        ValueError: a prefix matches no submodule, or nothing is left to train.
    """
    frozen = [find_submodule(estimator, prefix, 'freeze') for prefix in prefixes]
    for module in frozen:
        module.requires_grad_(False)
    if prefixes and not any(parameter.requires_grad for parameter in estimator.parameters()):
        raise ValueError(f'freeze={list(prefixes)} leaves nothing of {type(estimator).__name__} to train')
    return frozen


def exclude_frozen(optim_wrapper: OptimWrapper) -> None:
    """Takes parameters that need no gradient out of a new optimizer, and parameter groups that become empty."""
    groups = optim_wrapper.optimizer.param_groups
    for group in groups:
        group['params'] = [parameter for parameter in group['params'] if parameter.requires_grad]
    groups[:] = [group for group in groups if group['params']]


def initialize_submodules(estimator: Estimator, init_from: Sequence[tuple[str, str]]) -> None:
    """Starts submodules from the weights in files, one after the other.

    A file may hold a whole estimator, whose keys begin with the prefix, or the submodule alone. Image mean and
    standard deviation stay those of the estimator unless 'normalizer' is among the prefixes; a difference is warned of.

    Args:
        estimator: the system, changed in place.
        init_from: pairs of a file (a checkpoint or published weights, or their name in the zoo), or the folder of a
            training, whose newest checkpoint is taken, and the dotted name of a submodule.

    Raises:
        ValueError: a file cannot be used (see `handpose.zoo.load`), or its weights do not fit the submodule.
    """
    for file, prefix in init_from:
        module = find_submodule(estimator, prefix, 'init_from')
        _, state = read_weights(checkpoint_in(file) if Path(file).is_dir() else find_weights(file))
        part = _select(state, prefix, module, file)
        own = module.state_dict()
        check_tensors(f'{prefix} of {type(estimator).__name__}', own, part, sorted(set(own) - set(part)), file)
        module.load_state_dict(part)
        if not any(name == 'normalizer' for _, name in init_from):
            _check_normalization(estimator, state, file)


def _select(state: Mapping[str, Tensor], prefix: str, module: nn.Module, file: str) -> dict[str, Tensor]:
    """The weights in a file that belong to one submodule, by their names within it."""
    inside = {key.removeprefix(f'{prefix}.'): value for key, value in state.items() if key.startswith(f'{prefix}.')}
    if inside:
        return inside
    if set(state) & set(module.state_dict()):
        return dict(state)
    parents = {key.rsplit('.', n)[0] for key in state for n in range(1, key.count('.') + 1)}
    raise ValueError(
        f'{file} has no weights of {prefix!r}: none of its {len(state)} tensors begins with "{prefix}.", and none has '
        f'the name of a tensor in that submodule.{did_you_mean(prefix, sorted(parents))}'
    )


def _check_normalization(estimator: Estimator, state: Mapping[str, Tensor], file: str) -> None:
    """Warns where the weights were trained on images of another mean or standard deviation."""
    for name, own in (('mean', estimator.reads.image_mean), ('std', estimator.reads.image_std)):
        stored = state.get(f'normalizer.{name}')
        if stored is not None and own is not None and tuple(stored.flatten().tolist()) != own:
            print_log(
                f'{file} was trained on images of {name} {tuple(stored.flatten().tolist())}, and this config has '
                f"{own}: set model.normalizer, or add ({file!r}, 'normalizer') to init_from",
                'current',
                logging.WARNING,
            )


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))
