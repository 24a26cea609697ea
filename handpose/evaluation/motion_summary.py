"""How a track of hands moves, without annotations: jitter, and bones that change their length.

Legend: T frames, H hands.
"""

import numpy as np
from numpy.typing import NDArray

from handpose.evaluation.alignment import BoolArray, FloatArray
from handpose.hands.joints import BONES
from handpose.structures.predictions import Predictions


def motion_summary(predictions: Predictions, valid: BoolArray | None = None) -> dict[str, float]:
    """Figures of merit that need no annotations. A smaller one is not always better: a hand that never moves has 0.

    Args:
        predictions: of one or two hands. Joints that are missing in a frame do not count there.
        valid: (T, H) bool, frames of hands to use; default those that are valid. Give the same for two versions of a
            track to compare them on the same frames.

    Returns:
        `acceleration`, the mean over joints of the second difference, mm/frame^2 (in frame 'wrist' without the wrist);
        `acceleration_in_hand`, the same relative to the wrist; `bone_spread`, the standard deviation of a bone's length
        over time as a percentage of its mean, averaged over bones and hands; NaN without a usable frame.
    """
    valid = predictions.valid if valid is None else valid & predictions.valid
    first = 1 if predictions.frame == 'wrist' else 0
    joints = predictions.joints.astype(np.float64)
    numbers = predictions.frame_numbers()
    in_hand = joints[:, :, 1:] - joints[:, :, :1]  # NaN where the wrist is missing
    return {
        'acceleration': _mean(accelerations(joints[:, :, first:], numbers, valid)),
        'acceleration_in_hand': _mean(accelerations(in_hand, numbers, valid)),
        'bone_spread': _bone_spread(joints, valid),
    }


def accelerations(joints: FloatArray, numbers: NDArray[np.integer], valid: BoolArray) -> FloatArray:
    """Mean over joints of the second difference.

    Args:
        joints: (T, H, J, 3) metres.
        numbers: (T,) frame numbers; only triples of consecutive ones count.
        valid: (T, H) bool.

    Returns:
        (T, H) mm/frame^2, NaN where frame t or a neighbour is missing.
    """
    result = np.full(valid.shape, np.nan)
    if len(joints) < 3:
        return result
    second = joints[2:] - 2 * joints[1:-1] + joints[:-2]
    usable = valid[2:] & valid[1:-1] & valid[:-2] & (numbers[2:] - numbers[:-2] == 2)[:, None]
    result[1:-1] = np.where(usable, 1000 * _mean_of_present(np.linalg.norm(second, axis=-1)), np.nan)
    return result


def _mean_of_present(values: FloatArray) -> FloatArray:
    """The mean over the last axis without NaN, which it is where all are."""
    present = ~np.isnan(values)
    total, count = np.where(present, values, 0).sum(-1), present.sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _bone_spread(joints: FloatArray, valid: BoolArray) -> float:
    parents, children = np.array(BONES).T
    lengths = np.linalg.norm(joints[:, :, children] - joints[:, :, parents], axis=-1)  # (T, H, 20)
    spreads: list[float] = []
    for hand, rows in zip(lengths.swapaxes(0, 1), valid.T, strict=True):
        bones = [bone[rows & ~np.isnan(bone)] for bone in hand.T]
        spreads += [bone.std() / max(bone.mean(), 1e-9) for bone in bones if len(bone) > 1]
    return 100 * float(np.mean(spreads)) if spreads else float('nan')


def _mean(values: FloatArray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float('nan')
