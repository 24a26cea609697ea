"""Building mmengine's Runner from a config of this library."""

import logging
from pathlib import Path

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed
from torch.utils.data import DataLoader

from handpose.engine import compat, progress  # noqa: F401  (registers ProgressHook)
from handpose.engine.adapter import EstimatorAdapter, collate
from handpose.registry import DATASETS, HOOKS, METRICS, MODELS


class QuietRunner(Runner):
    """mmengine's Runner, whose log goes to its file; the console belongs to the progress bar and to errors."""

    def build_logger(self, log_level='INFO', log_file=None, **kwargs):
        """As mmengine's, with the console at ERROR."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.ERROR)
        return logger


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Makes an epoch's randomness depend on (seed, epoch, process) alone, so that a resumed epoch is the same epoch."""

    def before_train_epoch(self, runner):
        """Tells the training set the epoch, from which, with the seed and the index, each sample draws its own."""
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, 'set_epoch'):
            dataset.set_epoch(runner.epoch)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Seeds dropout at the first iteration, after the loader has drawn what it needs."""
        if batch_idx == 0:
            draws = np.random.SeedSequence([runner.seed, runner.epoch, runner.rank])
            torch.manual_seed(int(draws.generate_state(1, np.uint64)[0] >> 1))


@HOOKS.register_module()
class HandModelMetaHook(Hook):
    """Records in every checkpoint which hand model the weights were trained with."""

    def before_save_checkpoint(self, runner, checkpoint):
        """Writes `meta['hand_model']` and `meta['estimator']`."""
        model = getattr(runner.model, 'module', runner.model)
        estimator = model.estimator
        hand_model = getattr(estimator, 'hand_model', None)
        checkpoint['meta']['hand_model'] = hand_model.name if hand_model is not None else None
        checkpoint['meta']['estimator'] = type(estimator).__name__


def build_runner(config, estimator=None, experiment_name=None, purpose='train'):
    """Builds a Runner whose datasets, estimator and metrics come from this library's registries.

    Args:
        config: what `load_config` returned, with `work_dir` set.
        estimator: a module to run instead of building `config.model`.
        experiment_name: tells several runners of one process apart (default: the config's name).
        purpose: 'train' builds the training and validation loaders, 'test' the test loader.

    Returns:
        mmengine `Runner`; call `.train()` or `.test()`.
    """
    compat.install_safe_loading()
    launcher = config.get('launcher', 'none')
    compat.join_process_group(launcher)
    if estimator is None:
        # mmengine seeds when the Runner is made, which is after the weights were drawn.
        set_random_seed(config.get('randomness', {}).get('seed'))
        estimator = MODELS.build(config.model)
    if launcher != 'none' and not torch.cuda.is_available():
        config.model_wrapper_cfg = compat.cpu_model_wrapper()
    settings = ConfigDict(config.to_dict())
    hooks = [compat.PlainCheckpointHook(), HandModelMetaHook(), EpochSeedHook()]
    arguments = _train_arguments(settings) if purpose == 'train' else _test_arguments(settings)
    return QuietRunner(
        model=EstimatorAdapter(estimator),
        work_dir=settings.work_dir,
        default_hooks=settings.get('default_hooks'),
        custom_hooks=hooks + [HOOKS.build(hook) for hook in settings.get('custom_hooks', [])],
        load_from=settings.get('load_from'),
        resume=settings.get('resume', False),
        launcher=launcher,
        env_cfg=settings.get('env_cfg', dict(dist_cfg=dict(backend='nccl'))),
        log_processor=settings.get('log_processor'),
        visualizer=settings.get('visualizer'),
        default_scope='mmengine',
        randomness=settings.get('randomness', dict(seed=None)),
        experiment_name=experiment_name or Path(config.filename or 'run').stem,
        cfg=config,
        **arguments,
    )


def _train_arguments(settings):
    seed = settings.get('randomness', {}).get('seed')
    arguments = dict(
        train_dataloader=build_loader(settings.train_dataloader, shuffle=True, seed=seed),
        train_cfg=settings.train_cfg,
        optim_wrapper=settings.optim_wrapper,
        param_scheduler=settings.get('param_scheduler'),
    )
    if settings.get('val_dataloader'):
        arguments.update(
            val_dataloader=build_loader(settings.val_dataloader),
            val_cfg=settings.get('val_cfg', {}),
            val_evaluator=[METRICS.build(m) for m in settings.val_evaluator],
        )
    return arguments


def _test_arguments(settings):
    return dict(
        test_dataloader=build_loader(settings.test_dataloader),
        test_cfg=settings.get('test_cfg', {}),
        test_evaluator=[METRICS.build(m) for m in settings.test_evaluator],
    )


def build_loader(settings, shuffle=False, seed=None):
    """Builds the DataLoader of one split.

    Args:
        settings: dict(dataset=..., batch_size=..., num_workers=..., persistent_workers=...).
        shuffle: in an order that depends on (seed, epoch) alone, cut to whole batches in every process; otherwise
            in order, each process its share.
        seed: of the order.
    """
    dataset = settings['dataset']
    if isinstance(dataset, dict):
        dataset = DATASETS.build(dataset)
    workers = settings.get('num_workers', 0)
    return DataLoader(
        dataset,
        batch_size=settings.get('batch_size', 1),
        sampler=DefaultSampler(dataset, shuffle=shuffle, seed=seed),
        num_workers=workers,
        persistent_workers=workers > 0 and settings.get('persistent_workers', True),
        drop_last=shuffle and len(dataset) >= settings.get('batch_size', 1),
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_one_thread,
    )


def _one_thread(worker):
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
