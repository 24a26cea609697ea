"""Which frames of a video a model sees that was trained at another frame rate.

Legend: T frames of the video, S slots (one frame period of the model each), P passes.
"""

from typing import NamedTuple

import numpy as np

from handpose.video import frame_period

_SAME_RATE = 0.05  # relative difference from a whole multiple of the model's rate that is left as it is


class FrameSlots(NamedTuple):
    """`frames` (P, S): what each pass shows the model; `own` (P, S) bool: where a frame has its answer.

    Each of the T frames is `own` exactly once. Elsewhere a frame stands in for one that the video does not have.
    `period` is the duration of a slot in seconds.
    """

    frames: np.ndarray
    own: np.ndarray
    period: float


def frame_slots(times: np.ndarray, rate: float, longest_pause: float) -> FrameSlots:
    """Sorts the frames of a video into slots of the model's frame period, by their times.

    A slot without a frame shows the nearest one. Several frames of a slot belong to different passes, so that a video
    of twice the rate becomes two that alternate. A constant rate within 5 % of a whole multiple of the model's is taken
    as that multiple.

    Args:
        times: (T,) seconds, growing, T at least 1.
        rate: frames per second that the model was trained at.
        longest_pause: seconds; longer pauses between two frames are shortened to it.

    Returns:
        `FrameSlots`.
    """
    times = np.asarray(times, np.float64)
    own_period = frame_period(times) or 1 / rate
    multiple = max(1, round(1 / (rate * own_period)))
    same_rate = abs(multiple * own_period * rate - 1) < _SAME_RATE
    period = multiple * own_period if same_rate else 1 / rate
    pauses = np.minimum(np.diff(times), max(longest_pause, period))
    position = np.concatenate([[0.0], np.cumsum(pauses)]) / period
    offset = 0.5 * min(1.0, own_period / period)  # of the first frame in its slot: jitter does not move it to another
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
    return FrameSlots(frames, passes < count, period)
