"""Building mmengine's Runner from a config of this library."""

import copy
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import DefaultSampler
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner, set_random_seed
from torch import nn
from torch.utils.data import DataLoader

from handpose.engine import checkpoints, compat, epochs, progress, resume  # noqa: F401  (they register their hooks)
from handpose.engine.adapter import EstimatorAdapter, TrainingStepHook, collate, unwrap_model
from handpose.engine.guards import WorkDirLock, check_class_names
from handpose.engine.loggers import installed_visualizer
from handpose.engine.staging import exclude_frozen, freeze_submodules, initialize_submodules, staging_options
from handpose.engine.training import optimizer_settings, prepare_estimator, training_options
from handpose.models.estimators.base import Estimator
from handpose.registry import DATASETS, HOOKS, METRICS, MODELS
from handpose.system import available_cores, start_method
from handpose.zoo.checkpoint_file import load_checkpoint_file
from handpose.zoo.find import find_weights
from handpose.zoo.load import load_weights


@runtime_checkable
class NamedClasses(Protocol):
    """A dataset that says what its labels count: the lists 'actions' and 'objects' of `metainfo`."""

    @property
    def metainfo(self) -> dict[str, Any]:
        """See `VideoDataset.metainfo`."""


class HandposeRunner(Runner):
    """mmengine's Runner, which resumes exactly or not at all, and whose log goes to its file.

    The console belongs to the progress bar, to warnings and to errors.
    """

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """As mmengine's, with the console at WARNING."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.WARNING)
                handler.addFilter(compat.is_for_users)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """As mmengine's; but a model with nothing to train (a constant hand) stays as it is, since DDP refuses it."""
        if not any(parameter.requires_grad for parameter in model.parameters()):
            return model.to(get_device())
        return super().wrap_model(model_wrapper_cfg, model)

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict[str, Any]) -> OptimWrapper:
        """As mmengine's, without frozen parameters."""
        built = super().build_optim_wrapper(optim_wrapper)
        exclude_frozen(built)
        return built

    def train(self) -> nn.Module:
        """As mmengine's; hooks also end what they have begun if it fails, see `_ending`."""
        with self._ending():
            return super().train()

    def test(self) -> dict[str, float]:
        """As mmengine's; hooks also end what they have begun if it fails, see `_ending`."""
        with self._ending():
            return super().test()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Calls `after_run` of the hooks if a run fails, so that a notebook keeps no signal handlers and no bar."""
        try:
            yield
        except BaseException:
            self.call_hook('after_run')
            raise

    def load_or_resume(self) -> None:
        """As mmengine's; then, where training does not resume, starts submodules as `init_from` says."""
        starts_anew = not (self._has_loaded or self._resume)
        super().load_or_resume()
        if starts_anew:
            initialize_submodules(unwrap_model(self.model).estimator, self.init_from)

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str = 'default',
    ) -> None:
        """Goes on from a checkpoint; see `resume.check_same_run` for what is refused."""
        planned = resume.initial_rates(self)
        checkpoint = load_checkpoint_file(filename, mmap=True)
        meta = checkpoint.get('meta', {})
        resume.check_has_record(meta, filename)
        resume.check_complete(self, checkpoint, filename)
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        resume.check_same_run(self, meta, filename, planned)

    def load_checkpoint(
        self, filename: str, map_location: str = 'cpu', strict: bool = True, revise_keys: Sequence[Any] = ()
    ) -> dict[str, Any]:
        """Loads weights; unlike mmengine's, refuses those of another model. Returns the checkpoint to resume from.

        A folder stands for the newest checkpoint in it; a name in the zoo for its weights.
        """
        if Path(filename).is_dir():
            filename = checkpoints.checkpoint_in(filename)
        filename = str(find_weights(filename))
        load_weights(unwrap_model(self.model).estimator, filename, training=not self._resume)
        self._has_loaded = True
        if not self._resume:
            return {}
        checkpoint = load_checkpoint_file(filename, map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        return checkpoint


def build_runner(
    config: Config, estimator: Estimator | None = None, experiment_name: str | None = None, purpose: str = 'train'
) -> 'HandposeRunner':
    """Builds a Runner whose datasets, estimator and metrics come from this library's registries.

    Args:
        config: what `load_config` returned, with `work_dir` set.
        estimator: a module to run instead of building `config.model`.
        experiment_name: tells several runners of one process apart (default: the config's name).
        purpose: 'train' builds the training and validation loaders, 'test' the test loader.

    Returns:
        mmengine `Runner`; call `train()` or `test()` of it.
    """
    compat.install_safe_loading()
    launcher = config.get('launcher', 'none')
    compat.join_process_group(launcher)
    options = training_options(config)
    if estimator is None:
        # mmengine seeds when the Runner is made, which is after the weights were drawn.
        set_random_seed(config.get('randomness', {}).get('seed'))
        estimator = MODELS.build(config.model)
    if options['accumulate'] > 1:
        compat.accept_accumulation()
    if launcher != 'none':
        config.model_wrapper_cfg = compat.model_wrapper()
    settings = ConfigDict(config.to_dict())
    lock = None
    init_from: list[tuple[str, str]] = []
    if purpose == 'train':
        init_from, freeze = staging_options(config)
        adapter = EstimatorAdapter(estimator, freeze_submodules(estimator, freeze))
        prepare_estimator(estimator, options)
        leave_cores_to_workers(settings.train_dataloader.get('num_workers', 0))
        arguments = _train_arguments(settings, options)
        _check_names(estimator, arguments)
        lock = _lock_work_dir(settings)
    else:
        adapter, arguments = EstimatorAdapter(estimator), _test_arguments(settings)
        _check_names(estimator, arguments)
    runner = HandposeRunner(
        model=adapter,
        work_dir=settings.work_dir,
        default_hooks={**settings.get('default_hooks', {}), 'sampler_seed': None},  # the loop enters epochs itself
        custom_hooks=_own_hooks() + [HOOKS.build(hook) for hook in settings.get('custom_hooks', [])],
        load_from=settings.get('load_from'),
        resume=settings.get('resume', False),
        launcher=launcher,
        env_cfg=_environment(settings),
        log_processor=settings.get('log_processor'),
        visualizer=installed_visualizer(settings),
        default_scope='mmengine',
        randomness=settings.get('randomness', dict(seed=None)),
        experiment_name=experiment_name or Path(config.filename or 'run').stem,
        cfg=config,
        **arguments,
    )
    runner.work_dir_lock = lock
    runner.init_from = init_from
    runner.schedule_settings = copy.deepcopy(settings.get('param_scheduler'))
    return runner


def _check_names(estimator: Estimator, arguments: Mapping[str, Any]) -> None:
    """Refuses datasets whose labels the estimator takes for other names; see `check_class_names`."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if name in arguments and isinstance(arguments[name].dataset, NamedClasses):
            check_class_names(estimator, arguments[name].dataset.metainfo)


def _environment(settings: ConfigDict) -> dict[str, Any]:
    """`env_cfg` with a start method of processes, which mmengine would fork on macOS too."""
    environment = dict(settings.get('env_cfg', {}))
    processes = dict(environment.get('mp_cfg', {}))
    processes['mp_start_method'] = processes.get('mp_start_method') or start_method()
    return {**environment, 'mp_cfg': processes}


def _own_hooks() -> list[Hook]:
    return [
        TrainingStepHook(),
        resume.RunRecordHook(),
        compat.PlainCheckpointHook(),
        epochs.SeedHook(),
        epochs.SharedStatisticsHook(),
    ]


def _lock_work_dir(settings: ConfigDict) -> WorkDirLock | None:
    """Locks the work directory in the main process, and refuses one that holds another training."""
    if not is_main_process():
        return None
    lock = WorkDirLock(settings.work_dir)
    old = checkpoints.checkpoint_files(settings.work_dir)
    if old and not settings.get('resume'):
        raise ValueError(
            f'{settings.work_dir} holds checkpoints of an earlier run ({old[0].name}, ...): go on from them with '
            '--resume, choose another --work-dir, or move them away'
        )
    return lock


def _train_arguments(settings: ConfigDict, options: dict[str, Any]) -> dict[str, Any]:
    seed = settings.get('randomness', {}).get('seed') or 0
    train_cfg = dict(settings.train_cfg)
    if not train_cfg.pop('by_epoch', True):
        raise ValueError('train_cfg.by_epoch is False, but training goes by epochs: give max_epochs and leave it out')
    arguments = dict(
        train_dataloader=build_train_loader(settings.train_dataloader, seed, options['accumulate']),
        train_cfg=dict(type=epochs.EpochLoop, **train_cfg),
        optim_wrapper=optimizer_settings(settings.optim_wrapper, options),
        param_scheduler=settings.get('param_scheduler'),
    )
    if settings.get('val_dataloader'):
        arguments.update(
            val_dataloader=build_loader(settings.val_dataloader),
            val_cfg=settings.get('val_cfg', {}),
            val_evaluator=[METRICS.build(m) for m in settings.val_evaluator],
        )
    return arguments


def _test_arguments(settings: ConfigDict) -> dict[str, Any]:
    return dict(
        test_dataloader=build_loader(settings.test_dataloader),
        test_cfg=settings.get('test_cfg', {}),
        test_evaluator=[METRICS.build(m) for m in settings.test_evaluator],
    )


def build_train_loader(settings: Mapping[str, Any], seed: int = 0, batches_per_step: int = 1) -> DataLoader:
    """Builds the DataLoader of a training split, in an order that depends on (seed, epoch) alone.

    Args:
        settings: dict(dataset=..., batch_size=..., num_workers=..., persistent_workers=...).
        seed: of the order, and of the random draws of a dataset whose config gives none.
        batches_per_step: batches that make one optimizer step; an epoch has only whole steps.
    """
    dataset = _build_dataset(settings['dataset'])
    seeded = isinstance(settings['dataset'], dict) and 'seed' in settings['dataset']
    if isinstance(dataset, epochs.SeededDataset) and isinstance(settings['dataset'], dict) and not seeded:
        dataset.seed = seed
    batches = epochs.EpochBatches(len(dataset), settings.get('batch_size', 1), seed, batches_per_step)
    return DataLoader(dataset, batch_sampler=batches, **_loader_arguments(settings))


def build_loader(settings: Mapping[str, Any]) -> DataLoader:
    """Builds the DataLoader of a split for testing: in order, each process its share.

    Args:
        settings: dict(dataset=..., batch_size=..., num_workers=..., persistent_workers=...).
    """
    dataset = _build_dataset(settings['dataset'])
    sampler = DefaultSampler(dataset, shuffle=False)
    batch_size = settings.get('batch_size', 1)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, **_loader_arguments(settings))


def _build_dataset(dataset: Any) -> Any:
    return DATASETS.build(dataset) if isinstance(dataset, dict) else dataset


def _loader_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    workers = settings.get('num_workers', 0)
    return dict(
        num_workers=workers,
        persistent_workers=workers > 0 and settings.get('persistent_workers', True),
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_one_thread,
    )


def leave_cores_to_workers(workers: int) -> None:
    """On a CPU, threads of the network that share cores with the loader's workers wait for each other."""
    if workers and not torch.cuda.is_available() and 'OMP_NUM_THREADS' not in os.environ:
        torch.set_num_threads(max(1, available_cores() - workers))


def _one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
