"""Filling frames in which an estimator gave nothing, and averages that leave frames out.

Legend: N hands, T frames.
"""

import torch


def fill_missing(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Puts linear interpolation between the nearest valid frames where a frame is missing; at the ends the nearest one.

    Args:
        values: (N, T, ...); what stands in missing frames, NaN too, is not looked at.
        valid: (N, T) bool.

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
    share = (frame - before).to(dtype) / (after - before).clamp_min(1)
    rows = torch.arange(len(values), device=values.device)[:, None]
    share = share.reshape(*share.shape, *[1] * (values.ndim - 2)).to(values.dtype)
    filled = torch.lerp(values[rows, before], values[rows, after], share)
    return torch.where(nothing.reshape(-1, *[1] * (values.ndim - 1)), torch.zeros_like(filled), filled)


def mean_over_frames(features: torch.Tensor, frame_valid: torch.Tensor | None = None) -> torch.Tensor:
    """The mean of features (N, T, ...) over the frames that are valid, (N, T) bool; zero without any: (N, ...)."""
    if frame_valid is None:
        return features.mean(1)
    weight = frame_valid.reshape(*frame_valid.shape, *[1] * (features.ndim - 2)).to(features.dtype)
    return (features * weight).sum(1) / weight.sum(1).clamp_min(1)
