"""Trains a config: python tools/train.py configs/deformer/dexycb.py"""

import argparse
import sys

from mmengine.dist import is_main_process

from handpose.engine import OptionsAction, build_runner, compat, load_config, run_settings
from handpose.engine.adapter import unwrap_model
from handpose.engine.checkpoints import choose_checkpoint
from handpose.engine.errors import exit_on_user_error
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
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none', help='several processes')
    return parser.parse_args()


def count_parameters(model):
    """The size of the estimator in words, what only the losses need (a discriminator) apart."""
    estimator = unwrap_model(model).estimator
    in_losses = sum(p.numel() for name, p in estimator.named_parameters() if name.startswith('loss_function.'))
    everything = sum(p.numel() for p in estimator.parameters())
    return f'{(everything - in_losses) / 1e6:.2f} M parameters, and {in_losses / 1e6:.2f} M in its losses'


def main():
    arguments = parse_arguments()
    config = load_config(arguments.config, arguments.cfg_options)
    config = run_settings(config, arguments.work_dir, arguments.launcher)
    if arguments.amp and not config.training.amp:
        config.training.amp = True
    compat.join_process_group(arguments.launcher)
    say = print if is_main_process() else lambda sentence: None
    requested = arguments.resume or (config.resume and (config.load_from or 'auto'))
    found = (
        choose_checkpoint(requested, config.work_dir, lambda sentence: say(f'not used: {sentence}'))
        if requested
        else None
    )
    config.resume = found is not None
    if config.resume:
        config.load_from = found
        if is_finished(found, config.train_cfg.max_epochs):
            say(f'{found} is already trained for {config.train_cfg.max_epochs} epochs; nothing to do')
            return compat.leave_process_group()
    try:
        runner = build_runner(config)
        say(f'{config.model.type}: {count_parameters(runner.model)}; logs and checkpoints go to {config.work_dir}')
        runner.train()
    except KeyboardInterrupt:
        sys.exit('interrupted; the same command with --resume goes on from the last checkpoint')
    compat.leave_process_group()
    say(f'trained; test with: python tools/test.py {arguments.config} --work-dir {config.work_dir}')


if __name__ == '__main__':
    with exit_on_user_error():
        main()
