"""What refiners read of a batch, and how their windows become tracks.

Legend: B clips, N hands, W windows, T frames, H hands of a clip, J = 21 joints.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from handpose.hands.sides import Side
from handpose.models.layers.hand_motion import mirror_joints
from handpose.models.losses.targets import MotionTarget
from handpose.structures import HandSequence


def motion_targets(batch: HandSequence, rows: tuple[Tensor, Tensor], mirrored: Tensor, origin: Tensor) -> MotionTarget:
    """Collects the targets of some hands of a batch.

    Args:
        batch: (B, T, H, ...) with true joints.
        rows: clips (N,) and hands (N,) of the batch.
        mirrored: (N,) bool, which hands are seen in a mirror.
        origin: (N, 1, 3) of the input's motion.

    Returns:
        The targets of the N hands.
    """
    b, h = rows
    joints = mirror_joints(batch.require('joints_3d')[b, :, h], mirrored)
    side = torch.where(mirrored, Side.RIGHT, batch.require('hand_side')[rows])
    pose = shape = pose_valid = None
    if batch.hand_pose is not None:
        signs = joints.new_tensor([1.0, -1.0, -1.0])
        pose = batch.hand_pose[b, :, h]
        pose = torch.where(mirrored[:, None, None, None], pose * signs, pose)
        shape, pose_valid = batch.require('hand_shape')[rows], batch.require('hand_pose_valid')[b, :, h]
    motion = torch.cat([joints[..., :1, :] - origin[:, :, None], joints[..., 1:, :] - joints[..., :1, :]], dim=-2)
    # A joint relative to the wrist is valid where both are.
    valid = batch.require('joints_valid')[b, :, h]
    return MotionTarget(batch.require('frame_valid')[b], side, motion, valid & valid[..., :1], pose, shape, pose_valid)


def refiner_input(batch: HandSequence) -> tuple[Tensor, Tensor, Tensor]:
    """Reads what an estimator gave.

    Args:
        batch: (B, T, H, ...).

    Returns:
        Joints (B, T, H, J, 3), which of them are given (B, T, H, J), and sides (B, H).

    Raises:
        ValueError: a batch without an input.
    """
    if batch.input_joints_3d is None:
        raise ValueError(
            "a refiner needs the field 'input_joints_3d', what another estimator gave: put EstimatorNoise or "
            'LoadPredictions into the pipeline, or make the batch from a predictions file'
        )
    given = (batch.require('input_valid') & batch.require('frame_valid')[..., None])[..., None]
    given = given.expand(batch.input_joints_3d.shape[:-1])
    if batch.input_joints_valid is not None:
        given = given & batch.input_joints_valid
    return batch.input_joints_3d, given, batch.require('hand_side')


def seconds_of(batch: HandSequence) -> Sequence[Tensor | None]:
    """Reads the times of clips, from their timestamps, or else their frame numbers and rates.

    Args:
        batch: (B, T, H, ...).

    Returns:
        Seconds (T,) of each clip; None for a clip without either.
    """
    if batch.timestamps is not None:
        return list(batch.timestamps)
    known = [(meta.get('frame_indices'), meta.get('fps')) for meta in batch.meta]
    return [torch.as_tensor(numbers).double() / fps if numbers and fps else None for numbers, fps in known]


def frame_rates_of(batch: HandSequence) -> Tensor | None:
    """Computes the frame rates of clips.

    Args:
        batch: (B, T, H, ...).

    Returns:
        (B,) frames per second, NaN for a clip of one frame; None without timestamps.
    """
    if batch.timestamps is None or batch.timestamps.shape[1] < 2:
        return None
    valid = batch.require('frame_valid')
    steps = batch.timestamps.diff(dim=1).masked_fill(~(valid[:, 1:] & valid[:, :-1]), torch.nan)
    return (1 / steps.nanmedian(1).values).float()


def time_first(values: Tensor, num_frames: int) -> Tensor:
    """Puts time first and appends frames of zeros.

    Args:
        values: (H, T', ...).
        num_frames: T.

    Returns:
        (T, H, ...).
    """
    padded = values.new_zeros(num_frames, len(values), *values.shape[2:])
    padded[: values.shape[1]] = values.transpose(0, 1)
    return padded


def average_windows(windows: Tensor, index: Tensor, present: Tensor, num_frames: int, known: Tensor) -> Tensor:
    """Averages what overlapping windows of the H' known hands say of each frame.

    Args:
        windows: (H' W, T', ...).
        index: (W, T'), the frames of each window.
        present: (W, T') bool, which of them are no padding.
        num_frames: T.
        known: (H,) bool.

    Returns:
        (H, T, ...); zeros for other hands.
    """
    windows = windows.unflatten(0, (-1, len(index)))  # (H', W, T', ...)
    total = windows.new_zeros(len(windows), num_frames, *windows.shape[3:])
    total.index_add_(1, index[present], windows[:, present])
    count = windows.new_zeros(num_frames).index_add_(0, index[present], windows.new_ones(int(present.sum())))
    mean = total / count.clamp_min(1).reshape(-1, *[1] * (total.ndim - 2))
    return rows_of_hands(mean, known)


def rows_of_hands(values: Tensor, known: Tensor) -> Tensor:
    """Puts the rows of known hands in their places.

    Args:
        values: (H', ...).
        known: (H,) bool, H' of them True.

    Returns:
        (H, ...); zeros for other hands.
    """
    return values.new_zeros(len(known), *values.shape[1:]).index_copy(0, known.nonzero()[:, 0], values)
