"""The one mmengine model: it stands between mmengine's Runner and an estimator, which needs no Runner."""

from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor, BaseModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from handpose.engine.guards import check_finite
from handpose.models.estimators.base import Estimator, TrainingStep
from handpose.registry import HOOKS
from handpose.structures import HandSequence, with_true_vertices


def collate(samples: list[HandSequence]) -> dict[str, HandSequence]:
    """Stacks the clips of a batch; mmengine passes the result to the model as keyword arguments.

    Args:
        samples: B clips.

    Returns:
        dict with `batch`, a `HandSequence` of (B, T, ...) fields. In a process of a `DataLoader` they are in shared
        memory.

    Raises:
        RuntimeError: the shared memory is too small for the batch.
    """
    batch = HandSequence.stack(samples)
    if get_worker_info() is not None:
        # Left to itself, the loader moves them in a thread whose errors are lost: the main process would wait for ever.
        parts = [batch] if batch.future is None else [batch, batch.future]
        for value in (value for part in parts for value in part.present().values()):
            value.share_memory_()
    return {'batch': batch}


def unwrap_model(model: nn.Module) -> 'EstimatorAdapter':
    """The adapter itself, out of the wrapper that several processes put around it."""
    adapter = model.module if is_model_wrapper(model) else model
    assert isinstance(adapter, EstimatorAdapter)  # the only model that build_runner makes
    return adapter


class ToDevice(BaseDataPreprocessor):
    """Moves a batch to the model's device. Normalization belongs to the estimator, whose weights carry it."""

    def forward(self, data: dict[str, HandSequence], training: bool = False) -> dict[str, HandSequence]:
        """Moves `data['batch']`, a `HandSequence` batch of (B, T, ...) fields."""
        return {'batch': data['batch'].to(self.device, non_blocking=True)}


class EstimatorAdapter(BaseModel):
    """Runs an estimator's `loss` and `predict` as mmengine asks for them.

    Args:
        estimator: the system.
        frozen: submodules of it that stay in evaluation mode while it trains, see `handpose.engine.staging`.

    Attributes:
        step: where the training run stands, which `TrainingStepHook` keeps; outside a Runner its beginning.

    Raises:
        TypeError: `estimator` is not an `Estimator`.
    """

    def __init__(self, estimator: Estimator, frozen: Sequence[nn.Module] = ()) -> None:
        if not isinstance(estimator, Estimator):
            raise TypeError(
                f'the model must be an Estimator, got {type(estimator).__name__}: derive it from '
                f'handpose.models.Estimator, and set `model` in the config to a system, not to a component'
            )
        super().__init__(data_preprocessor=ToDevice())
        self.estimator = estimator
        self.step = TrainingStep()
        self._frozen = tuple(frozen)

    def train(self, mode: bool = True) -> 'EstimatorAdapter':
        """Sets training mode everywhere but in the frozen submodules, whose batch norm keeps its statistics."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, batch: HandSequence, mode: str = 'tensor') -> dict[str, Tensor] | list[dict[str, HandSequence]]:
        """Answers mmengine: 'loss' gives the loss dict of a (B, T, ...) batch, 'predict' one dict a clip."""
        if mode == 'loss':
            losses = self.estimator.loss(batch, self.step)
            check_finite(losses, batch)
            return losses
        if mode == 'predict':
            return self._pairs(batch)
        raise ValueError(f"mode must be 'loss' or 'predict', got {mode!r}; for plain tensors call the estimator itself")

    @torch.no_grad()
    def _pairs(self, batch: HandSequence) -> list[dict[str, HandSequence]]:
        predictions = self.estimator.predict(batch).to('cpu').unstack()
        targets = with_true_vertices(batch, self.estimator.gives.hand_model).to('cpu').unstack()
        return [{'prediction': p, 'target': t} for p, t in zip(predictions, targets, strict=True)]


@HOOKS.register_module()
class TrainingStepHook(Hook):
    """Tells the adapter before each iteration where the run stands; the losses are given it as `step`."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Sets the adapter's `step`."""
        unwrap_model(runner.model).step = TrainingStep(runner.iter, runner.iter / runner.max_iters)
