"""The typical time from one frame of a video to the next."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def frame_period(times: Sequence[float] | NDArray[np.floating]) -> float | None:
    """Computes the typical frame period of a video, independent of dropped frames, pauses and rounded times.

    It is the mean of those intervals that differ from their median by at most half of it.

    Args:
        times: (T,) seconds, increasing.

    Returns:
        Seconds, or None for fewer than two frames.
    """
    intervals = np.diff(np.asarray(times, np.float64))
    if not len(intervals):
        return None
    median = np.sort(intervals)[(len(intervals) - 1) // 2]  # an actual interval even if their number is even
    return float(intervals[np.abs(intervals - median) <= median / 2].mean())
