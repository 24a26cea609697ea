"""Training targets of hands, objects and actions, from batches.

Legend: B clips, T frames, K cameras, H hands.
"""

import torch
from torch import Tensor

from handpose.models.losses.targets import ActionTarget
from handpose.structures import HandSequence, SequenceError, sample_name


def valid_frames(batch: HandSequence) -> Tensor:
    """Which frames of a batch are no padding: (B, T) bool."""
    if batch.frame_valid is not None:
        return batch.frame_valid
    intrinsics = batch.require('intrinsics')
    return torch.ones(intrinsics.shape[:2], dtype=torch.bool, device=intrinsics.device)


def action_target(batch: HandSequence, num_objects: int, num_actions: int) -> ActionTarget:
    """The targets of a batch (B, T, K=1, H, ...).

    Args:
        batch: clips in the 'camera' frame; all labels may be missing.
        num_objects: classes that the network tells apart.
        num_actions: classes that the network tells apart.

    Raises:
        SequenceError: an object or action label that the network does not know; joints in another frame.
    """
    frame_valid = valid_frames(batch)
    joints_valid = None
    if batch.joints_3d is not None:
        if batch.frame != 'camera':
            raise SequenceError(f"HTT learns joints in the 'camera' frame, got a batch in the {batch.frame!r} frame")
        joints_valid = batch.require('joints_valid') & frame_valid[..., None, None]  # (B, T, H, J)
        if batch.hand_valid is not None:
            joints_valid = joints_valid & batch.hand_valid[..., None]
    _check_labels(batch, batch.object_label, num_objects, 'object')
    _check_labels(batch, batch.action_label, num_actions, 'action')
    return ActionTarget(
        frame_valid=frame_valid,
        intrinsics=batch.require('intrinsics')[:, :, 0],
        joints=batch.joints_3d,
        joints_valid=joints_valid,
        object_label=batch.object_label,
        action_label=batch.action_label,
    )


def _check_labels(batch: HandSequence, labels: Tensor | None, count: int, what: str) -> None:
    """Raises SequenceError, which names the clip, for a label of `count` or more."""
    if labels is None or not labels.numel() or int(labels.max()) < count:
        return
    wrong = int((labels.flatten(1) if labels.ndim > 1 else labels[:, None]).amax(1).argmax())
    raise SequenceError(
        f'{sample_name(batch.meta[wrong])} has the {what} label {int(labels[wrong].max())}, but the network knows '
        f"{count} {what}s, 0 to {count - 1}: give the model's num_{what}s as many as the dataset has"
    )
