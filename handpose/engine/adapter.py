"""The one mmengine model: it stands between mmengine's Runner and an estimator, which needs no Runner."""

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch.utils.data import get_worker_info

from handpose.engine.guards import check_finite
from handpose.structures import HandSequence


def collate(samples):
    """Stacks the clips of a batch; mmengine passes the result to the model as keyword arguments.

    Args:
        samples: list of B `HandSequence` clips.

    Returns:
        dict with `batch`, a `HandSequence` of (B, T, ...) fields. In a process of a `DataLoader` they are in shared
        memory.

    Raises:
        RuntimeError: the shared memory is too small for the batch.
    """
    batch = HandSequence.stack(samples)
    if get_worker_info() is not None:
        # Left to itself, the loader moves them in a thread whose errors are lost: the main process would wait for ever.
        for value in batch.present().values():
            value.share_memory_()
    return {'batch': batch}


def unwrap_model(model):
    """The adapter itself, out of the wrapper that several processes put around it."""
    return getattr(model, 'module', model)


class ToDevice(BaseDataPreprocessor):
    """Moves a batch to the model's device. Normalisation belongs to the estimator, whose weights carry it."""

    def forward(self, data, training=False):
        """Moves `data['batch']`, a `HandSequence` batch of (B, T, ...) fields."""
        return {'batch': data['batch'].to(self.device, non_blocking=True)}


class EstimatorAdapter(BaseModel):
    """Runs an estimator's `loss` and `predict` as mmengine asks for them.

    Args:
        estimator: a module with `loss(batch) -> dict` and `predict(batch) -> HandSequence`, and optionally a
            `hand_model` that turns true parameters into true meshes for the metrics.
    """

    def __init__(self, estimator):
        super().__init__(data_preprocessor=ToDevice())
        self.estimator = estimator

    def forward(self, batch, mode='tensor'):
        """Answers mmengine: 'loss' gives the loss dict of a (B, T, ...) batch, 'predict' one dict a clip."""
        if mode == 'loss':
            losses = self.estimator.loss(batch)
            check_finite(losses, batch)
            return losses
        if mode == 'predict':
            return self._pairs(batch)
        raise ValueError(f"mode must be 'loss' or 'predict', got {mode!r}; for plain tensors call the estimator itself")

    @torch.no_grad()
    def _pairs(self, batch):
        predictions = self.estimator.predict(batch).to('cpu').unstack()
        targets = with_true_vertices(batch, getattr(self.estimator, 'hand_model', None)).to('cpu').unstack()
        return [{'prediction': p, 'target': t} for p, t in zip(predictions, targets, strict=True)]


def with_true_vertices(batch, hand_model):
    """Adds `vertices` (B, T, H, V, 3), metres, in the batch's frame, where the batch has hand-model parameters."""
    if hand_model is None or batch.hand_pose is None:
        return batch
    num_frames = batch.hand_pose.shape[1]
    mesh = hand_model(
        batch.hand_pose,
        batch.hand_shape[:, None].expand(-1, num_frames, -1, -1),
        batch.hand_transl,
        batch.hand_side[:, None].expand(-1, num_frames, -1),
    )
    return batch.replace(vertices=mesh.vertices)
