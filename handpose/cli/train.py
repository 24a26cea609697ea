"""Trains a config.

    handpose train configs/deformer/dexycb.py
    handpose train deformer/synthetic           a config that comes with the package; makes its built-in data first

Checkpoints, logs and the config go to the work directory. The same command with --resume continues a training.
"""

import argparse

from mmengine.config import Config
from mmengine.dist import is_main_process
from torch import nn

from handpose.cli import arguments as shared
from handpose.cli import make_data
from handpose.engine import build_runner, compat, load_config, run_settings
from handpose.engine.adapter import unwrap_model
from handpose.engine.checkpoints import choose_checkpoint
from handpose.engine.loggers import LOGGERS, NO_LOGGER, choose_logger
from handpose.engine.resume import is_finished


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    shared.add_config(parser)
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default work_dirs/<system>_<dataset>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from the newest checkpoint of the work directory, or from the given file',
    )
    parser.add_argument(
        '--logger',
        choices=[*LOGGERS, NO_LOGGER],
        help='where curves go, besides scalars.json (default tensorboard, if installed); wandb sends them to a service '
        'unless WANDB_MODE=offline, mlflow writes to mlflow.db or where MLFLOW_TRACKING_URI says',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: fp16 on CUDA, bf16 on CPU')
    shared.add_cfg_options(parser)
    shared.add_launcher(parser)


def run(arguments: argparse.Namespace) -> None:
    """Trains.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        ValueError: the config, its data or its checkpoint cannot be used.
        KeyboardInterrupt: says how to continue.
    """
    config = load_config(arguments.config, arguments.cfg_options)
    config = run_settings(config, arguments.work_dir, arguments.launcher)
    if arguments.amp and not config.training.amp:
        config.training.amp = True
    if arguments.logger:
        choose_logger(config, arguments.logger)
    if arguments.launcher == 'none':
        make_data.make_missing(config, arguments.config)
    compat.join_process_group(arguments.launcher)
    if _find_checkpoint(config, arguments.resume):
        _report(f'{config.load_from} is already trained for {config.train_cfg.max_epochs} epochs; nothing to do')
        compat.leave_process_group()
        return
    try:
        runner = build_runner(config)
        _report(f'{config.model.type}: {count_parameters(runner.model)}; logs and checkpoints go to {config.work_dir}')
        runner.train()
    except KeyboardInterrupt:
        raise KeyboardInterrupt('the same command with --resume continues from the last checkpoint') from None
    compat.leave_process_group()
    _report(f'trained; test with: handpose test {arguments.config} --work-dir {config.work_dir}')


def _report(message: str) -> None:
    """Prints in the main process only."""
    if is_main_process():
        print(message)


def _find_checkpoint(config: Config, resume: str | None) -> bool:
    """Sets the checkpoint to continue from in the config; True where its training is finished."""
    requested = resume or (config.resume and (config.load_from or 'auto'))
    found = None
    if requested:
        found = choose_checkpoint(requested, config.work_dir, lambda reason: _report(f'not used: {reason}'))
    config.resume = found is not None
    if found is None:
        return False
    config.load_from = found
    return is_finished(found, config.train_cfg.max_epochs)


def count_parameters(model: nn.Module) -> str:
    """Describes the size of the estimator, with what only its losses need (a discriminator) counted apart.

    Args:
        model: the Runner's model.
    """
    estimator = unwrap_model(model).estimator
    in_losses = sum(p.numel() for name, p in estimator.named_parameters() if name.startswith('loss_function.'))
    total = sum(p.numel() for p in estimator.parameters())
    return f'{(total - in_losses) / 1e6:.2f} M parameters, and {in_losses / 1e6:.2f} M in its losses'
