"""Poses at a regular frame rate, from frames at any times.

Legend: S frames of a file, N frames of the result, H hands.
"""

import numpy as np
from numpy.typing import NDArray

from handpose.structures import Predictions

_LONGEST_STEP = 1.5  # frame periods of the file: beyond, frames are missing in between
_NEAR = 0.1  # of the step between two frames: so near to one of them the other need not be there


def resample(predictions: Predictions, frame_rate: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Interpolates joints linearly between the frames of a file.

    A joint is valid where it is valid in both neighbouring frames, or where one of them is valid and nearly at the same
    time. Nothing is interpolated across missing frames or between hands of different tracks. Where the file has the
    frame rate already, its values stay as they are.

    Args:
        predictions: S frames at any times.
        frame_rate: frames per second of the result.

    Returns:
        joints (N, H, 21, 3) metres, zeros where not valid, and valid (N, H, 21). The first frame is that of the file.
    """
    times = predictions.timestamps
    count = int(np.floor((times[-1] - times[0]) * frame_rate + 1e-6)) + 1
    wanted = times[0] + np.arange(count) / frame_rate
    before = np.clip(np.searchsorted(times, wanted, side='right') - 1, 0, len(times) - 1)
    after = np.minimum(before + 1, len(times) - 1)
    step = times[after] - times[before]
    weight = np.clip((wanted - times[before]) / np.where(step > 0, step, 1), 0, 1)
    given = predictions.given_joints()
    first, second = given[before] & (weight < 1)[:, None, None], given[after] & (weight > 0)[:, None, None]
    both = first & second & (step <= _longest_step(predictions))[:, None, None]
    if predictions.track_ids is not None:
        both &= (predictions.track_ids[before] == predictions.track_ids[after])[..., None]
    weights = np.broadcast_to(weight[:, None, None], both.shape)
    share = np.where(both, weights, np.where(first & (weights <= _NEAR), 0.0, 1.0))[..., None]
    valid = both | (first & (weights <= _NEAR)) | (second & (weights >= 1 - _NEAR))
    joints = np.nan_to_num(predictions.joints.astype(np.float64))
    result = (1 - share) * joints[before] + share * joints[after]
    return np.where(valid[..., None], result, 0).astype(np.float32), valid


def _longest_step(predictions: Predictions) -> float:
    """Seconds from a frame to the next, beyond which frames are missing in between."""
    return 0.0 if predictions.period is None else _LONGEST_STEP * predictions.period
