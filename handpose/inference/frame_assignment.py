"""Assigns the frames of a video to the frame periods of a model that was trained at another frame rate.

Legend: T frames of the video, S slots (one frame period of the model each), P passes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.video import frame_period

_RATE_TOLERANCE = 0.05  # relative difference from an integer multiple of the model's frame rate that is ignored


class FrameAssignment(NamedTuple):
    """Which frames of a video the model processes, one after the other.

    Each of the T frames is assigned exactly once.

    Attributes:
        frames: (P, S) index of the frame in each slot of each pass.
        assigned: (P, S) bool, whether the frame belongs to this slot; otherwise it replaces a missing one, and its
            output is not used.
        period: duration of a slot, seconds.
    """

    frames: NDArray[np.int64]
    assigned: NDArray[np.bool_]
    period: float


def assign_frames(
    times: Sequence[float] | NDArray[np.floating], frame_rate: float, max_pause: float
) -> FrameAssignment:
    """Assigns the frames of a video to slots of the model's frame period, by their times.

    A slot without a frame gets the nearest one. Several frames of a slot belong to different passes, so that a video of
    twice the frame rate becomes two that alternate. A constant frame rate within 5 % of an integer multiple of the
    model's is treated as that multiple.

    Args:
        times: (T,) seconds, increasing, T at least 1.
        frame_rate: frames per second that the model was trained at.
        max_pause: seconds; longer pauses between two frames are shortened to it.

    Returns:
        The assignment.
    """
    times = np.asarray(times, np.float64)
    video_period = frame_period(times) or 1 / frame_rate
    multiple = max(1, round(1 / (frame_rate * video_period)))
    same_rate = abs(multiple * video_period * frame_rate - 1) < _RATE_TOLERANCE
    period = multiple * video_period if same_rate else 1 / frame_rate
    pauses = np.minimum(np.diff(times), max(max_pause, period))
    position = np.concatenate([[0.0], np.cumsum(pauses)]) / period
    offset = 0.5 * min(1.0, video_period / period)  # of the first frame in its slot, so that jitter has no effect
    slot = np.floor(position + offset).astype(np.int64)

    count = np.bincount(slot)
    first = np.searchsorted(slot, np.arange(len(count)))
    centre = np.arange(len(count)) + 0.5 - offset
    after = np.clip(np.searchsorted(position, centre), 1, max(len(times) - 1, 1))
    after = np.minimum(after, len(times) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(centre - position[before] <= position[after] - centre, before, after)

    passes = np.arange(count.max())[:, None]
    frames = np.where(count > 0, first + np.minimum(passes, np.maximum(count - 1, 0)), nearest)
    return FrameAssignment(frames, passes < count, period)
