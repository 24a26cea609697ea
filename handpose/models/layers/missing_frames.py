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
    rows = torch.arange(len(values), device=values.device)[:, None]
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
