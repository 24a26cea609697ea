"""Where a training reports besides the files in its work directory: TensorBoard, Weights & Biases, MLflow.

A logger is a backend of mmengine's `Visualizer`; a config may name it there, with its arguments. The backends that
mmengine has for the two services are not used: that for Weights & Biases sends every Python file below the current
folder, and that for MLflow uses a store that MLflow now refuses.

docs/guides/training.md says what is sent where.
"""

import importlib.util
import os
import time
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import VISBACKENDS
from mmengine.visualization import LocalVisBackend
from mmengine.visualization.vis_backend import BaseVisBackend
from numpy.typing import NDArray

LOGGERS = {'tensorboard': 'TensorboardVisBackend', 'wandb': 'WandbLog', 'mlflow': 'MlflowLog'}
NO_LOGGER = 'none'
PROJECT = 'handpose'


def choose_logger(config: Config, name: str) -> None:
    """Lets a run report to one logger, and write its files.

    Args:
        config: the loaded config; its `visualizer` is replaced.
        name: a name of `LOGGERS`, or `NO_LOGGER`.

    Raises:
        ModuleNotFoundError: the logger's package is not installed.
    """
    if name != NO_LOGGER and importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(f'the package {name} is not installed', name=name)
    types = [LocalVisBackend.__name__, *([] if name == NO_LOGGER else [LOGGERS[name]])]
    config.visualizer = dict(type='Visualizer', vis_backends=[dict(type=each) for each in types])


def installed_visualizer(settings: ConfigDict) -> Any:
    """The `visualizer` of a config without TensorBoard where that, the default, is not installed; a message says so.

    Args:
        settings: of the run.

    Returns:
        What the Runner takes as its visualizer.
    """
    visualizer = settings.get('visualizer')
    backends = visualizer.get('vis_backends') if isinstance(visualizer, Mapping) else None
    if not isinstance(backends, list) or importlib.util.find_spec('tensorboard') is not None:
        return visualizer
    kept = [backend for backend in backends if backend.get('type') != LOGGERS['tensorboard']]
    if len(kept) < len(backends):
        message = (
            "no curves for TensorBoard, which is not installed (pip install 'handpose[train]'); scalars.json has all"
        )
        warnings.warn(message, stacklevel=2)
    return {**visualizer, 'vis_backends': kept}


class _RunLog(BaseVisBackend):
    """A run of a service, begun with the config and ended with the training.

    Scalars of training and validation share the axis of iterations: those of validation come with an epoch alone, and
    count for the last iteration before.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._iteration = 0

    @property
    def experiment(self) -> Any:
        """The package of the service."""
        return importlib.import_module(self._package)

    @property
    @abstractmethod
    def _package(self) -> str: ...

    @abstractmethod
    def _log(self, values: dict[str, float]) -> None:
        """Sends scalars of `self._iteration`."""

    def _init_env(self) -> None:
        Path(self._save_dir).mkdir(parents=True, exist_ok=True)

    def add_scalar(self, name: str, value: Any, step: int = 0) -> None:
        """Sends one scalar; see `add_scalars`."""
        self.add_scalars({name: value}, step)

    def add_scalars(self, scalar_dict: dict[str, Any], step: int = 0, file_path: str | None = None) -> None:
        """Sends scalars.

        Args:
            scalar_dict: {name: number}; what is no number is left out.
            step: not used: it counts iterations in training and epochs in validation.
            file_path: not used.
        """
        self._iteration = int(scalar_dict.get('iter', self._iteration))
        values = {name: _number(value) for name, value in scalar_dict.items() if name not in ('iter', 'step')}
        self._log({name: value for name, value in values.items() if value is not None})


@VISBACKENDS.register_module()
class WandbLog(_RunLog):
    """Reports to Weights & Biases: scalars, the config, and images. Code and weights are never sent.

    The environment variables of its package apply: WANDB_MODE=offline keeps the run in the work directory.

    Args:
        save_dir: folder for the run's files.
        project: that the run belongs to; None means that of WANDB_PROJECT, or 'handpose'.
        run_name: of the run; None means that of WANDB_NAME, or the name of the work directory.
    """

    _package = 'wandb'

    def __init__(self, save_dir: str, project: str | None = None, run_name: str | None = None) -> None:
        super().__init__(save_dir)
        self.project = project or os.environ.get('WANDB_PROJECT') or PROJECT
        self.run_name = run_name or os.environ.get('WANDB_NAME')
        self._run: Any = None

    def add_config(self, config: Config) -> None:
        """Begins the run with a config."""
        self._init_env()
        try:
            self._run = self.experiment.init(
                project=self.project,
                name=self.run_name or Path(config.work_dir).name,
                dir=self._save_dir,
                config=config.to_dict(),
                settings=self.experiment.Settings(save_code=False, disable_git=True, disable_job_creation=True),
            )
        except self.experiment.Error as error:
            raise ValueError(
                f'Weights & Biases cannot begin a run: {error}. Log in with `wandb login`, or set WANDB_MODE=offline'
            ) from error
        self._run.define_metric('iter')
        self._run.define_metric('*', step_metric='iter')

    def add_image(self, name: str, image: NDArray[np.uint8], step: int = 0) -> None:
        """Sends an RGB image (h, w, 3)."""
        self._run.log({name: self.experiment.Image(image), 'iter': step or self._iteration})

    def _log(self, values: dict[str, float]) -> None:
        self._run.log({**values, 'iter': self._iteration})

    def close(self) -> None:
        """Ends the run."""
        if self._run is not None:
            self._run.finish()
            self._run = None


@VISBACKENDS.register_module()
class MlflowLog(_RunLog):
    """Reports to MLflow: scalars, the config, and images.

    Args:
        save_dir: folder of the run's files.
        tracking_uri: where runs are kept; None means that of MLFLOW_TRACKING_URI, or the file mlflow.db of the current
            folder, with images and configs in `mlartifacts` beside it.
        experiment: that the run belongs to; None means that of MLFLOW_EXPERIMENT_NAME, or 'handpose'.
        run_name: of the run; None means the name of the work directory.
    """

    _package = 'mlflow'

    def __init__(
        self,
        save_dir: str,
        tracking_uri: str | None = None,
        experiment: str | None = None,
        run_name: str | None = None,
    ) -> None:
        super().__init__(save_dir)
        self.tracking_uri = tracking_uri or os.environ.get('MLFLOW_TRACKING_URI')
        self.experiment_name = experiment or os.environ.get('MLFLOW_EXPERIMENT_NAME') or PROJECT
        self.run_name = run_name
        self._client: Any = None
        self._run_id = ''

    def add_config(self, config: Config) -> None:
        """Begins the run with a config: its file, and its values that are no lists or dicts as parameters."""
        self._init_env()
        artifacts = None
        if self.tracking_uri is None:
            self.tracking_uri = f'sqlite:///{Path("mlflow.db").resolve().as_posix()}'
            artifacts = Path('mlartifacts').resolve().as_uri()
        try:
            self._begin(config, artifacts)
        except self.experiment.MlflowException as error:
            raise ValueError(
                f'MLflow cannot begin a run at {self.tracking_uri} (MLFLOW_TRACKING_URI says where): {error}'
            ) from error

    def _begin(self, config: Config, artifacts: str | None) -> None:
        self._client = self.experiment.MlflowClient(self.tracking_uri)
        found = self._client.get_experiment_by_name(self.experiment_name)
        number = found.experiment_id if found else self._client.create_experiment(self.experiment_name, artifacts)
        run = self._client.create_run(number, run_name=self.run_name or Path(config.work_dir).name)
        self._run_id = run.info.run_id
        for key, value in config.items():
            if not isinstance(value, (dict, list, tuple)):
                self._client.log_param(self._run_id, key, value)
        self._client.log_text(self._run_id, config.pretty_text, 'config.py')

    def add_image(self, name: str, image: NDArray[np.uint8], step: int = 0) -> None:
        """Sends an RGB image (h, w, 3)."""
        self._client.log_image(self._run_id, image, key=name, step=step or self._iteration)

    def _log(self, values: dict[str, float]) -> None:
        now = time.time_ns() // 1_000_000
        metrics = [self.experiment.entities.Metric(name, value, now, self._iteration) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics)

    def close(self) -> None:
        """Ends the run."""
        if self._client is not None:
            self._client.set_terminated(self._run_id)
            self._client = None


def _number(value: Any) -> float | None:
    if isinstance(value, (torch.Tensor, np.ndarray)) and np.size(value) == 1:
        return float(value.item())
    return float(value) if isinstance(value, Real) else None
