"""What HTT is trained with (Wen et al., CVPR 2023, Eq. 2, 4, 7 and 8).

Legend: B clips, T frames, H hands, J = 21 joints, O objects, A actions.
"""

import torch
from torch import nn
from torch.nn import functional as F

from handpose.geometry import project_points
from handpose.models.layers.precision import without_autocast
from handpose.models.losses.masking import masked_difference
from handpose.registry import MODELS
from handpose.structures import SequenceError, sample_name

AVERAGES = ('clip', 'batch')
NEAREST = 0.01  # metres; a joint that is nearer to the camera's plane, or behind it, has no place in the image


@MODELS.register_module()
class HTTLoss(nn.Module):
    """Cross entropy of the action, L1 of the 2.5D joints and cross entropy of the object, each over what is annotated.

    Args:
        hand_weight: of the joints' loss, the paper's lambda 2. It is in pixels: at another image size, scale it.
        depth_weight: of depth in metres against image position in pixels, lambda 1.
        object_weight: lambda 3. action_weight: the paper's 1.
        average: 'clip' takes the mean over a clip's frames, then over clips (Eq. 8); 'batch' over the frames of the
            whole batch, in which short clips count for less (the published code).

    Raises:
        ValueError: an unknown average.
    """

    def __init__(
        self,
        hand_weight: float = 0.5,
        depth_weight: float = 200.0,
        object_weight: float = 1.0,
        action_weight: float = 1.0,
        average: str = 'clip',
    ):
        super().__init__()
        if average not in AVERAGES:
            raise ValueError(f'average must be one of {AVERAGES}, got {average!r}')
        self.hand_weight, self.depth_weight = hand_weight, depth_weight
        self.object_weight, self.action_weight, self.average = object_weight, action_weight, average

    def forward(self, output, batch):
        """Compares an `HTTOutput` (B, T, ...) with a batch (B, T, 1, H, ...) in the camera's frame: dict of scalars.

        Raises:
            SequenceError: an object or action label that the network does not know; joints in another frame.
        """
        frame_valid = valid_frames(batch)
        error, known = self._hand_error(output, batch, frame_valid)
        object_error, object_known = label_error(output.object_logits, batch.object_label, batch, 'object')
        action_error, action_known = label_error(output.action_logits, batch.action_label, batch, 'action')
        return {
            'loss_hand': self.hand_weight * self._mean(error, known),
            'loss_object': self.object_weight * self._mean(object_error, object_known & frame_valid),
            'loss_action': self.action_weight * action_error.sum() / action_known.sum().clamp_min(1),
        }

    def _hand_error(self, output, batch, frame_valid):
        """Eq. 2 of every frame (B, T), the mean over the joints annotated, and whether there are any (B, T)."""
        if batch.joints_3d is None:
            nothing = torch.zeros_like(frame_valid)
            return 0.0 * (output.uv.sum((2, 3, 4)) + output.depth.sum((2, 3))), nothing
        if batch.frame != 'camera':
            raise SequenceError(f"HTT learns joints in the 'camera' frame, got a batch in the {batch.frame!r} frame")
        valid = batch.joints_valid & frame_valid[..., None, None]  # (B, T, H, J)
        if batch.hand_valid is not None:
            valid = valid & batch.hand_valid[..., None]
        with without_autocast(output.uv):
            uv = project_points(batch.joints_3d, batch.intrinsics)  # intrinsics (B, T, 1, 3, 3)
            seen = valid & (batch.joints_3d[..., 2] > NEAREST)
            error = masked_difference(output.uv, uv, seen).abs().sum(-1)
            depth_error = masked_difference(output.depth, batch.joints_3d[..., 2], valid).abs()
            error = (error + self.depth_weight * depth_error).sum((2, 3)) / valid.sum((2, 3)).clamp_min(1)
        return error, valid.any(-1).any(-1)

    def _mean(self, values, known):
        """Of (B, T) values over the frames that are `known`: see `average`."""
        values = torch.where(known, values, torch.zeros_like(values))
        if self.average == 'batch':
            return values.sum() / known.sum().clamp_min(1)
        return (values.sum(1) / known.sum(1).clamp_min(1)).sum() / known.any(1).sum().clamp_min(1)


def valid_frames(batch):
    """Which frames of a batch are no padding: (B, T) bool."""
    if batch.frame_valid is not None:
        return batch.frame_valid
    return torch.ones(batch.intrinsics.shape[:2], dtype=torch.bool, device=batch.intrinsics.device)


def label_error(logits, labels, batch, what):
    """Cross entropy (...) of logits (..., N), zero where no label is known (-1, or no labels at all), and where one is.

    Raises:
        SequenceError: a label that is N or more; names the clip.
    """
    if labels is None:
        labels = torch.full(logits.shape[:-1], -1, device=logits.device)
    count = logits.shape[-1]
    if labels.numel() and int(labels.max()) >= count:
        wrong = int((labels.flatten(1) if labels.ndim > 1 else labels[:, None]).amax(1).argmax())
        raise SequenceError(
            f'{sample_name(batch.meta[wrong])} has the {what} label {int(labels[wrong].max())}, but the network knows '
            f"{count} {what}s, 0 to {count - 1}: give the model's num_{what}s as many as the dataset has"
        )
    known = labels >= 0
    error = F.cross_entropy(logits.float().flatten(0, -2), labels.clamp_min(0).flatten(), reduction='none')
    error = error.reshape(labels.shape)
    return torch.where(known, error, torch.zeros_like(error)), known
