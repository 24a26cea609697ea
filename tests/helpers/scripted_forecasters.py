"""Forecasters and recognizers whose answers tests can predict."""

import torch
from torch import nn

from handpose.models.estimators.base import Estimator, Gives, Reads
from handpose.models.estimators.forecaster import Forecaster, future_batch, input_joints
from handpose.registry import MODELS

ACTIONS, OBJECTS = ['open jar', 'close jar', 'pour milk'], ['jar', 'milk']


@MODELS.register_module()
class DriftingHands(Forecaster):
    """The last frame moves on by 1 cm a frame along x, times (1 + action label); samples differ along y.

    The action is 'open jar' where the hands have moved up in x, 'close jar' where down; 'milk' makes it 'pour milk'.
    """

    action_names, object_names = ACTIONS, OBJECTS

    def __init__(self, width=1.0):
        super().__init__()
        self.width = nn.Parameter(torch.tensor(float(width)))
        self.calls = []

    @property
    def reads(self):
        return Reads(fields=('joints_3d', 'joints_valid', 'hand_side'), num_frames=16, min_frames=16, frame_rate=30.0)

    @property
    def gives(self):
        return Gives(frame=None, classes={'actions': len(ACTIONS)})

    def loss(self, batch, step):
        raise NotImplementedError('nothing to train')

    @torch.no_grad()
    def forecast(self, batch, num_frames, *, num_samples=None, generator=None, action=None):
        self.calls.append((batch, action))
        joints, valid = input_joints(batch)
        count = num_samples or 1
        label = 0 if action is None else action.repeat_interleave(count)[:, None]
        time = torch.arange(1, num_frames + 1)
        shift = torch.zeros(len(joints) * count, num_frames, 3)
        shift[..., 0] = 0.01 * time * (1 + label)
        if num_samples is not None:
            shift[..., 1] = 0.1 * torch.rand(len(shift), 1, generator=generator)
        future = joints[:, -1:].repeat_interleave(count, 0) + shift[:, :, None, None]
        return future_batch(batch, future, valid[:, -1].repeat_interleave(count, 0), 30.0)

    def observed(self, batch):
        joints, valid = input_joints(batch)
        wrist = torch.where(valid[..., :1, None], joints[..., :1, :], 0)[..., 0, 0].sum(2)  # (B, T)
        moved = (wrist[:, -1] - wrist[:, 0]).sign()
        scores = torch.stack([moved, -moved, 2 * (batch.object_label == 1).float().mean(1)], -1)
        return super().observed(batch).replace(action_scores=(5 * scores).softmax(-1))


@MODELS.register_module()
class StillHands(Forecaster):
    """The last frame, with any number of observed frames, without actions, objects and parameters."""

    @property
    def reads(self):
        return Reads(fields=('joints_3d', 'joints_valid', 'hand_side'))

    @property
    def gives(self):
        return Gives(frame=None)

    def loss(self, batch, step):
        raise NotImplementedError('nothing to train')

    def forecast(self, batch, num_frames, *, num_samples=None, generator=None, action=None):
        joints, valid = input_joints(batch)
        count = num_samples or 1
        future = joints[:, -1:].expand(-1, num_frames, -1, -1, -1).repeat_interleave(count, 0)
        return future_batch(batch, future, valid[:, -1].repeat_interleave(count, 0), None)


@MODELS.register_module()
class ImageActions(Estimator):
    """Claims to recognize actions in images of single clips."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))

    @property
    def reads(self):
        return Reads(fields=('images',))

    @property
    def gives(self):
        return Gives(frame=None, classes={'actions': 3})

    def loss(self, batch, step):
        raise NotImplementedError('nothing to train')

    def predict(self, batch, *, num_samples=None, generator=None):
        raise NotImplementedError('not called')
