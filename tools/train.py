"""Trains a config: python tools/train.py configs/deformer/dexycb.py"""

import argparse
import os
import sys

from mmengine.dist import broadcast_object_list, is_main_process

from handpose.engine import OptionsAction, build_runner, compat, load_config, run_settings
from handpose.engine.adapter import bare
from handpose.engine.checkpoints import checkpoint_to_resume
from handpose.engine.errors import sentences
from handpose.engine.resume import is_finished


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, e.g. configs/deformer/synthetic.py')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default work_dirs/<system>_<dataset>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from the newest checkpoint of the work directory, or from the file given',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: fp16 on CUDA, bf16 on CPU')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionsAction, help='overrides, e.g. batch_size=4 data_root=...'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none', help='several processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    return arguments


def choose_checkpoint(wish, work_dir, say):
    """The file to resume from, or None; the first process chooses for all, since folders may differ between nodes."""
    choice = [None]
    if is_main_process():
        choice = [checkpoint_to_resume(wish, work_dir, warn=lambda sentence: say(f'not used: {sentence}'))]
    broadcast_object_list(choice)
    return choice[0]


def count_parameters(model):
    """The size of the estimator in words, what only the losses need (a discriminator) apart."""
    estimator = bare(model).estimator
    in_losses = sum(p.numel() for name, p in estimator.named_parameters() if name.startswith('loss_function.'))
    everything = sum(p.numel() for p in estimator.parameters())
    return f'{(everything - in_losses) / 1e6:.2f} M parameters, and {in_losses / 1e6:.2f} M in its losses'


def main():
    arguments = parse_arguments()
    config = load_config(arguments.config, arguments.cfg_options)
    config = run_settings(config, arguments.work_dir, arguments.launcher)
    if arguments.amp:
        config.training.amp = True
    compat.join_process_group(arguments.launcher)
    say = print if is_main_process() else lambda sentence: None
    if arguments.resume:
        config.load_from = choose_checkpoint(arguments.resume, config.work_dir, say)
        config.resume = config.load_from is not None
    if config.resume and is_finished(config.load_from, config.train_cfg.max_epochs):
        say(f'{config.load_from} is already trained for {config.train_cfg.max_epochs} epochs; nothing to do')
        return compat.leave_process_group()
    runner = build_runner(config)
    say(f'{config.model.type}: {count_parameters(runner.model)}; logs and checkpoints go to {config.work_dir}')
    try:
        runner.train()
    except KeyboardInterrupt:
        sys.exit('interrupted; the same command with --resume goes on from the last checkpoint')
    compat.leave_process_group()
    say(f'trained; test with: python tools/test.py {arguments.config} --work-dir {config.work_dir}')


if __name__ == '__main__':
    with sentences():
        main()
