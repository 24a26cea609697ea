"""Training targets of hands, objects and actions, from batches of whole images of one camera, and their inputs.

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


def action_target(batch: HandSequence, num_objects: int, num_actions: int | None) -> ActionTarget:
    """The targets of a batch (B, T, K=1, H, ...).

    Args:
        batch: clips in the 'camera' frame; all labels may be missing.
        num_objects: classes that the network tells apart.
        num_actions: classes that the network tells apart; None for one that recognises no actions.

    Raises:
        SequenceError: an object or action label that the network does not know; joints in another frame.
    """
    frame_valid = valid_frames(batch)
    joints_valid = None
    if batch.joints_3d is not None:
        if batch.frame != 'camera':
            raise SequenceError(f"joints are learned in the 'camera' frame, got a batch in the {batch.frame!r} frame")
        joints_valid = batch.require('joints_valid') & frame_valid[..., None, None]  # (B, T, H, J)
        if batch.hand_valid is not None:
            joints_valid = joints_valid & batch.hand_valid[..., None]
    check_labels(batch, batch.object_label, num_objects, 'object')
    if num_actions is not None:
        check_labels(batch, batch.action_label, num_actions, 'action')
    return ActionTarget(
        frame_valid=frame_valid,
        intrinsics=batch.require('intrinsics')[:, :, 0],
        joints=batch.joints_3d,
        joints_valid=joints_valid,
        object_label=batch.object_label,
        action_label=batch.action_label,
    )


def single_view_inputs(
    batch: HandSequence, field: str, num_hands: int, image_size: tuple[int, int], name: str
) -> tuple[Tensor, Tensor]:
    """What an estimator sees of a batch (B, T, K=1, H, ...), checked.

    Args:
        batch: clips.
        field: 'images' or 'features'.
        num_hands: that the pose head was built for.
        image_size: (width, height) that the pose head was built for, pixels.
        name: of the estimator, for messages.

    Returns:
        Images (B, T, 3, h, w) or features (B, T, C), and intrinsics (B, T, 3, 3).

    Raises:
        SequenceError: a missing field, several cameras, another size of images or another number of hands.
    """
    where, seen = sample_name(batch.meta[0]), batch.present().get(field)
    if seen is None or batch.intrinsics is None:
        raise SequenceError(f'{where}: {name} needs {field} and intrinsics; the pipeline must load the {field}')
    if seen.shape[2] != 1:
        raise SequenceError(f'{where}: {name} sees one camera, got {seen.shape[2]}; choose one')
    width, height = image_size
    if field == 'images' and seen.shape[-2:] != (height, width):
        got = f'{seen.shape[-1]} x {seen.shape[-2]}'
        raise SequenceError(f'{where}: the pose head was built for images of {width} x {height}, got {got}; resize')
    for key, value, axis in (('hand_side', batch.hand_side, 1), ('joints_3d', batch.joints_3d, 2)):
        hands = num_hands if value is None else value.shape[axis]
        if hands != num_hands:
            raise SequenceError(f'{where}: the pose head was built for {num_hands} hands, got {hands} in {key!r}')
    return seen[:, :, 0], batch.intrinsics[:, :, 0]


def predicted_hands(joints: Tensor, uv: Tensor, valid: Tensor, side: Tensor | None) -> HandSequence:
    """A batch of predicted hands in every valid frame, in the 'camera' frame.

    Args:
        joints: (B, T, H, J, 3), metres.
        uv: (B, T, H, J, 2), pixels.
        valid: (B, T) bool, frames that are no padding.
        side: (B, H); None means the right hand, or left and right.

    Returns:
        Batch without `meta`.
    """
    if side is None:
        hands = torch.arange(2 - joints.shape[2], 2, device=valid.device)
        side = hands.expand(len(valid), -1).contiguous()
    joints_valid = valid[..., None, None].expand(joints.shape[:-1]).contiguous()
    return HandSequence(
        frame='camera',
        batched=True,
        frame_valid=valid,
        hand_side=side,
        hand_valid=joints_valid[..., 0].contiguous(),
        joints_3d=joints,
        joints_valid=joints_valid,
        joints_2d=uv[:, :, None],
        joints_2d_valid=joints_valid[:, :, None],
    )


def check_labels(batch: HandSequence, labels: Tensor | None, count: int, what: str) -> None:
    """Checks the labels of a batch.

    Args:
        batch: of B clips, which messages name.
        labels: (B,) or (B, T) int, -1 unknown; None passes.
        count: of the classes that the network tells apart.
        what: 'object' or 'action'.

    Raises:
        SequenceError: a label of `count` or more.
    """
    if labels is None or not labels.numel() or int(labels.max()) < count:
        return
    wrong = int((labels.flatten(1) if labels.ndim > 1 else labels[:, None]).amax(1).argmax())
    raise SequenceError(
        f'{sample_name(batch.meta[wrong])} has the {what} label {int(labels[wrong].max())}, but the network knows '
        f"{count} {what}s, 0 to {count - 1}: give the model's num_{what}s as many as the dataset has"
    )
