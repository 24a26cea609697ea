"""A system of another project, made of a component that its config names."""

import torch
from torch import nn

from handpose.models import Estimator, Gives, Reads
from handpose.registry import MODELS
from handpose.structures import HandSequence


@MODELS.register_module()
class TinyPoseNet(Estimator):
    """Regresses 21 joints relative to the wrist from each image.

    Args:
        encoder: config of a component from images (N, 3, h, w) to features (N, C).
        channels: C.
    """

    def __init__(self, encoder: dict, channels: int = 8):
        super().__init__()
        self.encoder = MODELS.build(encoder)
        self.joints = nn.Linear(channels, 63)

    @property
    def reads(self):
        return Reads(fields=('images', 'hand_side', 'hand_valid'), num_hands=1, num_cameras=1)

    @property
    def gives(self):
        return Gives(frame='wrist')

    def forward(self, images):
        """(B, T, 3, h, w) in [0, 255] to joints (B, T, 21, 3), metres, wrist at the origin."""
        features = self.encoder(images.flatten(0, 1) / 255)
        joints = 0.1 * self.joints(features).unflatten(-1, (21, 3))
        return (joints - joints[:, :1]).unflatten(0, images.shape[:2])

    def loss(self, batch, step):
        target = batch.joints_3d[:, :, 0] - batch.joints_3d[:, :, 0, :1]
        distance = (self(batch.images[:, :, 0]) - target).norm(dim=-1)
        return {'loss_joints': distance[batch.joints_valid[:, :, 0]].mean()}

    @torch.no_grad()
    def predict(self, batch, *, num_samples=None, generator=None):
        hand_valid = batch.hand_valid & batch.frame_valid[..., None]
        return HandSequence(
            meta=batch.meta,
            frame='wrist',
            batched=True,
            frame_valid=batch.frame_valid,
            hand_side=batch.hand_side,
            hand_valid=hand_valid,
            joints_3d=self(batch.images[:, :, 0])[:, :, None],
            joints_valid=hand_valid[..., None].repeat(1, 1, 1, 21),
        )
