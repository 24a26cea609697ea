"""Filling frames in which an estimator gave nothing, and averages that leave frames out.

Legend: N hands, T frames.
"""

import torch


def fill_missing(values: torch.Tensor, valid: torch.Tensor, times: torch.Tensor | None = None) -> torch.Tensor:
    """Puts linear interpolation between the nearest valid frames where a frame is missing; at the ends the nearest one.

    Args:
        values: (N, T, ...); what stands in missing frames, NaN too, is not looked at.
        valid: (N, T) bool.
        times: (T,) growing; None: frames follow each other regularly.

    Returns:
        (N, T, ...); all zeros for a hand without any valid frame.
    """
    num_frames = valid.shape[1]
    frame = torch.arange(num_frames, device=valid.device).expand_as(valid)
    before = torch.where(valid, frame, -1).cummax(1).values
    after = torch.where(valid, frame, num_frames).flip(1).cummin(1).values.flip(1)
    before, after = torch.where(before < 0, after, before), torch.where(after == num_frames, before, after)
    nothing = ~valid.any(1)
    before, after = (x.masked_fill(nothing[:, None], 0) for x in (before, after))
    dtype = torch.promote_types(values.dtype, torch.float32)
    if times is None:
        share = (frame - before).to(dtype) / (after - before).clamp_min(1)
    else:
        times = torch.as_tensor(times, device=valid.device).double()
        length = torch.where(after > before, times[after] - times[before], 1)
        share = ((times[frame] - times[before]) / length).clamp(0, 1).to(dtype)
    rows = torch.arange(len(values), device=values.device)[:, None]
    share = share.reshape(*share.shape, *[1] * (values.ndim - 2)).to(values.dtype)
    filled = torch.lerp(values[rows, before], values[rows, after], share)
    return torch.where(nothing.reshape(-1, *[1] * (values.ndim - 1)), torch.zeros_like(filled), filled)


def interpolate_frames(
    values: torch.Tensor, valid: torch.Tensor, positions: torch.Tensor, at: torch.Tensor
) -> torch.Tensor:
    """Evaluates tracks at other instants: linear between valid frames, before and after them the nearest one.

    Args:
        values: (N, T, ...); what stands in missing frames, NaN too, is not looked at.
        valid: (N, T) bool.
        positions: (T,) growing, when the frames are.
        at: (S,) when the answer is wanted.

    Returns:
        (N, S, ...); zeros for a track without any valid frame.
    """
    answer = values.new_zeros(len(values), len(at), *values.shape[2:])
    for n, seen in enumerate(valid):
        known = seen.nonzero()[:, 0]
        if not len(known):
            continue
        where = positions[known]
        after = torch.searchsorted(where, at).clamp(max=len(known) - 1)
        before = torch.where(where[after] > at, (after - 1).clamp_min(0), after)
        length = torch.where(after > before, where[after] - where[before], 1)
        share = ((at - where[before]) / length).clamp(0, 1).to(values.dtype)
        share = share.reshape(-1, *[1] * (values.ndim - 2))
        answer[n] = torch.lerp(values[n, known[before]], values[n, known[after]], share)
    return answer


def mean_over_frames(features: torch.Tensor, frame_valid: torch.Tensor | None = None) -> torch.Tensor:
    """The mean of features (N, T, ...) over the frames that are valid, (N, T) bool; zero without any: (N, ...)."""
    if frame_valid is None:
        return features.mean(1)
    weight = frame_valid.reshape(*frame_valid.shape, *[1] * (features.ndim - 2)).to(features.dtype)
    return (features * weight).sum(1) / weight.sum(1).clamp_min(1)
