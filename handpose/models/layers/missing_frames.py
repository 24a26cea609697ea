"""Filling frames for which an estimator gave nothing, and means that leave frames out.

Legend: N hands, T frames, S instants.
"""

import torch
from torch import Tensor

from handpose.models.layers.checks import check_mask


def fill_missing(values: Tensor, valid: Tensor, times: Tensor | None = None) -> Tensor:
    """Fills missing frames by linear interpolation between the nearest valid ones; at the ends, by the nearest one.

    Args:
        values: (N, T, ...); missing frames may hold anything, NaN included.
        valid: (N, T) bool.
        times: (T,), increasing; None means frames at regular intervals.

    Returns:
        (N, T, ...); all zeros for a hand without any valid frame.

    Raises:
        TypeError: the mask is not bool.
        ValueError: its shape does not fit.
    """
    check_mask('valid', valid, values.shape[:2], 'N T')
    num_frames = valid.shape[1]
    frame = torch.arange(num_frames, device=valid.device).expand_as(valid)
    before = torch.where(valid, frame, -1).cummax(1).values
    after = torch.where(valid, frame, num_frames).flip(1).cummin(1).values.flip(1)
    before, after = torch.where(before < 0, after, before), torch.where(after == num_frames, before, after)
    empty = ~valid.any(1)
    before, after = (x.masked_fill(empty[:, None], 0) for x in (before, after))
    dtype = torch.promote_types(values.dtype, torch.float32)
    if times is None:
        fraction = (frame - before).to(dtype) / (after - before).clamp_min(1)
    else:
        times = torch.as_tensor(times, device=valid.device).double()
        length = torch.where(after > before, times[after] - times[before], 1)
        fraction = ((times[frame] - times[before]) / length).clamp(0, 1).to(dtype)
    rows = torch.arange(values.shape[0], device=values.device)[:, None]
    fraction = fraction.reshape(*fraction.shape, *[1] * (values.ndim - 2)).to(values.dtype)
    filled = torch.lerp(values[rows, before], values[rows, after], fraction)
    return torch.where(empty.reshape(-1, *[1] * (values.ndim - 1)), torch.zeros_like(filled), filled)


def interpolate_frames(values: Tensor, valid: Tensor, positions: Tensor, at: Tensor) -> Tensor:
    """Evaluates tracks at other instants: linear between valid frames, the nearest one before and after them.

    Args:
        values: (N, T, ...); missing frames may hold anything, NaN included.
        valid: (N, T) bool.
        positions: (T,), increasing: the instants of the frames.
        at: (S,): the instants to evaluate at.

    Returns:
        (N, S, ...); zeros for a track without any valid frame.

    Raises:
        TypeError: the mask is not bool.
        ValueError: its shape does not fit.
    """
    check_mask('valid', valid, values.shape[:2], 'N T')
    result = values.new_zeros(len(values), len(at), *values.shape[2:])
    for n, track_valid in enumerate(valid):
        frames = track_valid.nonzero()[:, 0]
        if not len(frames):
            continue
        track_positions = positions[frames]
        after = torch.searchsorted(track_positions, at).clamp(max=len(frames) - 1)
        before = torch.where(track_positions[after] > at, (after - 1).clamp_min(0), after)
        length = torch.where(after > before, track_positions[after] - track_positions[before], 1)
        fraction = ((at - track_positions[before]) / length).clamp(0, 1).to(values.dtype)
        fraction = fraction.reshape(-1, *[1] * (values.ndim - 2))
        result[n] = torch.lerp(values[n, frames[before]], values[n, frames[after]], fraction)
    return result


def fill_missing_joints(joints: Tensor, given: Tensor) -> Tensor:
    """Fills missing frames of each joint as `fill_missing` does.

    Args:
        joints: (N, T, J, D).
        given: (N, T, J) bool.

    Returns:
        (N, T, J, D); zeros for a joint that is never given.
    """
    if _same_for_all_joints(given):
        return fill_missing(joints, given[..., 0])
    return _joint_by_joint(fill_missing(*_rows_of_joints(joints, given)), joints)


def interpolate_joints(joints: Tensor, given: Tensor, positions: Tensor, at: Tensor) -> Tensor:
    """Evaluates the track of each joint at other instants, see `interpolate_frames`.

    Args:
        joints: (N, T, J, D).
        given: (N, T, J) bool.
        positions: (T,), increasing: the instants of the frames.
        at: (S,): the instants to evaluate at.

    Returns:
        (N, S, J, D); zeros for a joint that is never given.
    """
    if _same_for_all_joints(given):
        return interpolate_frames(joints, given[..., 0], positions, at)
    return _joint_by_joint(interpolate_frames(*_rows_of_joints(joints, given), positions, at), joints)


def near_given(given: Tensor, positions: Tensor, at: Tensor, distance: float = 0.6) -> Tensor:
    """Tells where a given frame is near.

    Args:
        given: (N, T, J) bool.
        positions: (T,), increasing: the instants of the frames.
        at: (S,), the instants in question.
        distance: how far the nearest frame may be.

    Returns:
        (N, S, J) bool: the nearest frame in time is given and that near.
    """
    after = torch.searchsorted(positions, at).clamp(max=len(positions) - 1)
    before = (after - 1).clamp_min(0)
    nearest = torch.where(positions[after] - at <= at - positions[before], after, before)
    return given[:, nearest] & ((positions[nearest] - at).abs() <= distance)[:, None]


def _same_for_all_joints(given: Tensor) -> bool:
    return bool((given == given[..., :1]).all())


def _rows_of_joints(joints: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    """(N, T, J, D), (N, T, J) -> (N J, T, D), (N J, T)."""
    return joints.transpose(1, 2).flatten(0, 1), given.transpose(1, 2).flatten(0, 1)


def _joint_by_joint(rows: Tensor, joints: Tensor) -> Tensor:
    """(N J, S, D) of joints (N, T, J, D) -> (N, S, J, D)."""
    return rows.unflatten(0, (len(joints), joints.shape[2])).transpose(1, 2)


def mean_over_frames(features: Tensor, frame_valid: Tensor | None = None) -> Tensor:
    """The mean over the valid frames.

    Args:
        features: (N, T, ...), finite everywhere.
        frame_valid: (N, T) bool; None means all.

    Returns:
        (N, ...); zeros where no frame is valid.

    Raises:
        TypeError: the mask is not bool.
        ValueError: its shape does not fit.
    """
    if frame_valid is None:
        return features.mean(1)
    check_mask('frame_valid', frame_valid, features.shape[:2], 'N T')
    weight = frame_valid.reshape(*frame_valid.shape, *[1] * (features.ndim - 2)).to(features.dtype)
    return (features * weight).sum(1) / weight.sum(1).clamp_min(1)
