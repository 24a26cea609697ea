"""Time offsets between the cameras of a recording, from the hands that each of them sees.

Legend: K cameras, F images of one camera, P = 42 joints, those of the left hand first.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.geometry.time_offsets import estimate_time_offsets
from handpose.inference.annotation.recording_source import AnnotationError
from handpose.inference.tracking.interfaces import NUM_JOINTS
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.tracking.selection import select_hands
from handpose.text import did_you_mean
from handpose.video import frame_period

MAX_OFFSET = 5.0  # seconds
MIN_CORRELATION = 0.8  # of velocities; below it an offset is not used
_FALLBACK_PERIOD = 1 / 30  # seconds


def given_offsets(names: Sequence[str], offsets: Mapping[str, float]) -> NDArray[np.float64]:
    """Puts offsets into the order of the cameras.

    Args:
        names: of the K cameras.
        offsets: {name of a camera: seconds}; 0 for the others.

    Returns:
        (K,) seconds.

    Raises:
        AnnotationError: an unknown camera, or an offset that is no number.
    """
    for name, offset in offsets.items():
        if name not in names:
            raise AnnotationError(
                f'offsets name the camera {name!r}, and the recording has {", ".join(names)}.'
                f'{did_you_mean(name, names)}'
            )
        if not np.isfinite(offset):
            raise AnnotationError(f'the offset of {name} must be a number of seconds, got {offset}')
    return np.array([offsets.get(name, 0.0) for name in names], np.float64)


def estimate_offsets(
    names: Sequence[str], hands: Sequence[TrackRecords], max_offset: float = MAX_OFFSET
) -> tuple[NDArray[np.float64], list[str]]:
    """Estimates the offsets from the motion of the best left and right hand of each camera; needs no calibration.

    Args:
        names: of the K cameras.
        hands: those of each camera.
        max_offset: the largest offset between two cameras that is tried, seconds.

    Returns:
        (K,) seconds: what the first camera shows at time t, camera k shows at t + offsets[k]; and notes. An offset
        whose correlation is low is 0.

    Raises:
        AnnotationError: a camera sees no hand move at the time of another one.
    """
    known = [period for period in (frame_period(records.times) for records in hands) if period is not None]
    period = max(known, default=_FALLBACK_PERIOD)
    tracks = [torch.from_numpy(_track(records, period)) for records in hands]
    try:
        found = estimate_time_offsets(tracks, max(round(max_offset / period), 1))
    except ValueError as error:
        raise AnnotationError(
            f'the time offsets of the cameras {", ".join(names)} (camera 0 is {names[0]}) cannot be estimated: '
            f'{error}. Give them with --offsets'
        ) from error
    offsets, correlations = found.frames.numpy() * period, found.correlations.numpy()
    notes = []
    for k, name in list(enumerate(names))[1:]:
        if correlations[k] < MIN_CORRELATION:
            offsets[k] = 0
            notes.append(
                f'the time offset of {name} could not be estimated (correlation {correlations[k]:.2f}): 0 is assumed'
            )
        else:
            notes.append(
                f'{name} shows {abs(offsets[k]):.3f} s {"later" if offsets[k] >= 0 else "earlier"} what {names[0]} '
                f'shows, as estimated from the motion of hands (correlation {correlations[k]:.2f})'
            )
    return offsets, notes


def _track(records: TrackRecords, period: float) -> NDArray[np.float64]:
    """(F', 42, 2) pixels at a constant rate, NaN where a hand was not found."""
    count = int(np.floor(records.times[-1] / period + 0.5)) + 1
    track = np.full((count, 2, NUM_JOINTS, 2), np.nan)
    if not len(records.frame):
        return track.reshape(count, -1, 2)
    found, _ = select_hands(records, (1, 1))
    grid = period * np.arange(count)
    after = np.clip(np.searchsorted(records.times, grid), 1, max(len(records) - 1, 1))
    after = np.minimum(after, len(records) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(grid - records.times[before] <= records.times[after] - grid, before, after)
    near = np.abs(records.times[nearest] - grid) <= 0.75 * period
    assert found.joints_2d is not None
    for h, side in enumerate(found.hand_side.tolist()):
        track[:, side] = np.where(near[:, None, None], found.joints_2d[nearest, h], np.nan)
    return track.reshape(count, -1, 2)
