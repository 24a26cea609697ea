"""Time offsets between cameras that film the same motion, from the velocities of the observed points."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_MIN_OVERLAP = 30  # frames in which both cameras see a moving point, a second of video
_SMOOTHED = 5  # frames of the median that removes single wrong observations
_REGULARIZATION = 1e-9  # of the variance: points may move along a line


class TimeOffsets(NamedTuple):
    """Offsets of cameras to the first one.

    Args:
        frames: (V,) float64: what the first camera shows in frame t, camera v shows in frame t + frames[v].
        correlations: (V,) float64 from 0 to 1: how well the velocities agree at these offsets. For a camera that was
            aligned by way of others, the least on the way. Well below 0.9 an offset deserves no trust.
    """

    frames: Tensor
    correlations: Tensor


def estimate_time_offsets(tracks: Sequence[Tensor], max_offset: int) -> TimeOffsets:
    """Estimates the offsets between cameras from 2D tracks; needs no calibration.

    Two views of a motion have one direction in common: under affine cameras a line of each image's plane along which
    all points show the same velocity up to a factor (the affine epipolar constraint: Shapiro, Zisserman and Brady, 3D
    motion recovery via affine epipolar geometry, IJCV 1995). Its correlation, the first canonical correlation of the
    two views' velocities, is computed at every offset, and a parabola through the best one and its neighbours gives
    the fraction of a frame. Cameras are joined in the order of their correlations, the first camera first, so a camera
    that shares nothing with the first is aligned through the others.

    Args:
        tracks: V tensors (T_v, N, 2), pixels of the same N points in each camera, at the same frame rate; not finite
            where a point was not observed.
        max_offset: the largest offset to try between two cameras, frames.

    Returns:
        The offsets.

    Raises:
        ValueError: fewer than two tracks, different numbers of points, a `max_offset` below 1, or a camera that never
            sees the points move together with another one.
    """
    if len(tracks) < 2 or any(track.ndim != 3 or track.shape[1:] != (tracks[0].shape[1], 2) for track in tracks):
        raise ValueError(
            'estimate_time_offsets expects at least two tracks (T, N, 2) of the same N points, got '
            f'{", ".join(str(tuple(track.shape)) for track in tracks)}'
        )
    if max_offset < 1:
        raise ValueError(f'max_offset must be at least 1 frame, got {max_offset}')
    velocities = [_velocities(track.double().cpu().numpy()) for track in tracks]
    frames, correlations = {0: 0.0}, {0: 1.0}
    pairs = {
        (a, b): _best_offset(velocities[a], velocities[b], max_offset) for a in range(len(tracks)) for b in range(a)
    }
    while len(frames) < len(tracks):
        joins = [(pairs[max(a, b), min(a, b)], a, b) for a in frames for b in range(len(tracks)) if b not in frames]
        (offset, correlation), known, new = max(joins, key=lambda join: join[0][1])
        if not np.isfinite(correlation):
            raise ValueError(
                f'camera {new} sees no point move in {_MIN_OVERLAP} frames together with another camera, at offsets of '
                f'up to {max_offset} frames: give longer tracks or leave the camera out'
            )
        frames[new] = frames[known] + (offset if known > new else -offset)
        correlations[new] = min(correlation, correlations[known])
    order = range(len(tracks))
    return TimeOffsets(
        torch.tensor([frames[view] for view in order], dtype=torch.float64),
        torch.tensor([correlations[view] for view in order], dtype=torch.float64),
    )


def _velocities(track: np.ndarray) -> np.ndarray:
    """Pixels per frame (T, N, 2), NaN where the point or a neighbour in time was not observed."""
    track = np.where(np.isfinite(track).all(-1, keepdims=True), track, np.nan)
    half = _SMOOTHED // 2
    padded = np.pad(track, ((half, half), (0, 0), (0, 0)), constant_values=np.nan)
    windows = np.stack([padded[start : start + len(track)] for start in range(_SMOOTHED)])
    windows = np.where(np.isnan(track), 0.0, windows)  # all-NaN windows would warn
    smooth = np.where(np.isnan(track), np.nan, np.nanmedian(windows, 0))
    velocity = np.full_like(track, np.nan)
    velocity[1:-1] = (smooth[2:] - smooth[:-2]) / 2  # central, so that the result belongs to the frame itself
    return velocity


def _best_offset(first: np.ndarray, second: np.ndarray, max_offset: int) -> tuple[float, float]:
    """The offset of the best correlation, which is minus infinity if the tracks never overlap."""
    offsets = range(-max_offset, max_offset + 1)
    scores = np.array([_correlation(first, second, offset) for offset in offsets])
    best = int(scores.argmax())
    fraction = 0.0
    if 0 < best < len(scores) - 1 and np.isfinite(scores[best - 1 : best + 2]).all():
        before, peak, after = scores[best - 1 : best + 2]
        bend = before - 2 * peak + after
        fraction = (before - after) / (2 * bend) if bend < 0 else 0.0
    return offsets[best] + fraction, float(scores[best])


def _correlation(first: np.ndarray, second: np.ndarray, offset: int) -> float:
    """First canonical correlation of first[t] and second[t + offset] over all points and frames that have both."""
    start, stop = max(0, -offset), min(len(first), len(second) - offset)
    if stop - start < _MIN_OVERLAP:
        return -np.inf
    a, b = first[start:stop], second[start + offset : stop + offset]
    both = np.isfinite(a).all(-1) & np.isfinite(b).all(-1)
    if both.any(-1).sum() < _MIN_OVERLAP:
        return -np.inf
    covariance = np.cov(np.concatenate([a[both], b[both]], -1), rowvar=False)
    ours, theirs, cross = covariance[:2, :2], covariance[2:, 2:], covariance[:2, 2:]
    if not (np.trace(ours) > 0 and np.trace(theirs) > 0):
        return -np.inf
    ours = ours + _REGULARIZATION * np.trace(ours) * np.eye(2)
    theirs = theirs + _REGULARIZATION * np.trace(theirs) * np.eye(2)
    squared = np.linalg.eigvals(np.linalg.solve(ours, cross) @ np.linalg.solve(theirs, cross.T)).real.max()
    return float(np.sqrt(min(max(squared, 0.0), 1.0)))
