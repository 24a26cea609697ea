"""The typical time from one frame of a video to the next."""

import numpy as np


def frame_period(times: np.ndarray) -> float | None:
    """The typical frame period of a video, which dropped frames, pauses and rounded times do not change.

    It is the mean of those intervals that differ from their median by less than half of it.

    Args:
        times: (T,) seconds, growing.

    Returns:
        Seconds, or None of fewer than two frames.
    """
    intervals = np.diff(np.asarray(times, np.float64))
    if not len(intervals):
        return None
    median = np.sort(intervals)[(len(intervals) - 1) // 2]  # one of them also where their number is even
    return float(intervals[np.abs(intervals - median) <= median / 2].mean())
