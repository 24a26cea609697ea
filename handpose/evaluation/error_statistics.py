"""Statistics of an estimator's errors in time, by which simulated errors are compared with real ones.

Tracks are cut into segments of equal length, because all of these numbers depend on it: what is constant for two
seconds is not for a minute. Errors are those of joints about the wrist.

Legend: N segments, T frames of a segment, J joints. Metres in, millimetres out.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from handpose.evaluation.alignment import FloatArray
from handpose.evaluation.input_motion import InputTrack

SEGMENT = 2.0  # seconds
FAST = 5.0  # Hz: hands rarely move faster
_NEAREST = 0.05  # metres: a wrist nearer to the origin is not in the frame of a camera


class ErrorStatistics(NamedTuple):
    """How the errors of an estimator behave in time.

    Args:
        mpjpe: mean error, mm.
        autocorrelation: from one frame to the next, of the error less its mean in the segment.
        fast: share of the power of that difference above 5 Hz.
        tail: 99th percentile of the errors (distances) over their median.
        depth_ratio: root mean square of the error along the camera's ray over that along an axis across it; NaN where
            hands are not in a camera's frame.
        constant: share of the error's power that is its mean in the segment, of each joint.
    """

    mpjpe: float
    autocorrelation: float
    fast: float
    tail: float
    depth_ratio: float
    constant: float


class _Segment(NamedTuple):
    """Errors (T, J, 3) and the component of each along the ray (T, J)."""

    error: FloatArray
    depth: FloatArray


def has_segment(tracks: Iterable[InputTrack], fps: float, segment: float = SEGMENT) -> bool:
    """Tells whether `error_statistics` can be computed.

    Args:
        tracks: see there.
        fps: see there.
        segment: see there.
    """
    return any(True for track in tracks for _ in _segments(track, _length(fps, segment)))


def error_statistics(tracks: Iterable[InputTrack], fps: float, segment: float = SEGMENT) -> ErrorStatistics:
    """Computes statistics of the errors of many tracks.

    Args:
        tracks: in the camera's frame. Segments in which the estimator lost the hand are left out, and in the others the
            joints that are not valid in every frame.
        fps: frames per second of all tracks.
        segment: seconds.

    Returns:
        The statistics over all segments, each joint with the same weight.

    Raises:
        ValueError: no track has a whole segment, or all errors are zero.
    """
    num_frames = _length(fps, segment)
    segments = [part for track in tracks for part in _segments(track, num_frames)]
    if not segments:
        raise ValueError(f'no track has {num_frames} frames ({segment:g} s) in which wrist and joints are valid')
    error = np.concatenate([part.error for part in segments], 1)  # (T, N J, 3)
    depth = np.concatenate([part.depth for part in segments], 1)
    distance = np.linalg.norm(error, axis=-1)
    if not distance.any():
        raise ValueError('the input is exactly the truth: its errors have no statistics')
    power = (error**2).sum()
    varying = error - error.mean(0)
    along = (depth**2).sum()
    return ErrorStatistics(
        mpjpe=1000 * float(distance.mean()),
        autocorrelation=_autocorrelation(varying),
        fast=_fast_share(varying, fps),
        tail=float(np.percentile(distance, 99) / np.median(distance)),
        depth_ratio=float(np.sqrt(along / max((power - along) / 2, 1e-30))),
        constant=float(1 - (varying**2).sum() / power),
    )


def _length(fps: float, segment: float) -> int:
    return max(2, round(segment * fps))


def _segments(track: InputTrack, num_frames: int) -> Iterator[_Segment]:
    """Consecutive parts of a track with a valid wrist in every frame, and in each the joints that are valid too."""
    for start in range(0, len(track.joints) - num_frames + 1, num_frames):
        part = slice(start, start + num_frames)
        known = np.all(track.target_valid[part], axis=0)
        if not track.valid[part].all() or not known[0] or not known[1:].any():
            continue
        joints, target = (np.asarray(points[part], np.float64)[:, known] for points in (track.joints, track.target))
        error = ((joints - joints[:, :1]) - (target - target[:, :1]))[:, 1:]
        centre = target.mean(1, keepdims=True)
        in_camera = np.linalg.norm(target[:, :1], axis=-1, keepdims=True) > _NEAREST
        ray = np.where(in_camera, centre, np.nan) / np.linalg.norm(centre, axis=-1, keepdims=True)
        yield _Segment(error, (error * ray).sum(-1))


def _autocorrelation(varying: FloatArray) -> float:
    before, after = (varying[:-1] ** 2).sum(), (varying[1:] ** 2).sum()
    return float((varying[1:] * varying[:-1]).sum() / np.sqrt(before * after)) if before and after else 1.0


def _fast_share(varying: FloatArray, fps: float) -> float:
    from scipy.signal import periodogram

    frequencies, density = periodogram(varying.reshape(len(varying), -1), fps, window='hann', axis=0)
    total = float(density.sum())
    return float(density[np.asarray(frequencies) > FAST].sum()) / total if total else 0.0
