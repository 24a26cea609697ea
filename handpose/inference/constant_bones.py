"""`constant_bones`: gives each bone of a hand one length over a whole track.

Legend: T frames, H hands.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handpose.hands.joints import BONES
from handpose.structures import Predictions

BONE_LENGTHS = ('as_given', 'constant')


def constant_bones(predictions: Predictions) -> Predictions:
    """Sets the length of each bone to its median over the track and keeps its direction, from the wrist outwards.

    Each hand has lengths of its own, and where `track_ids` says that another hand follows, so has that one. The wrist
    stays where it is. A bone of which a joint is missing in a frame is skipped: an outer joint without its inner one
    stays where it is, and the bones after it hang on it. 2D joints stay as they are.

    Args:
        predictions: of any skeleton.

    Returns:
        The predictions with other joints.
    """
    given = predictions.given_joints()
    joints = predictions.joints.astype(np.float64)
    for hand in range(given.shape[1]):
        ids = np.zeros(len(predictions), np.int64)
        if predictions.track_ids is not None:
            ids = predictions.track_ids[:, hand]
        for track_id in np.unique(ids[given[:, hand].any(1)]):
            frames = ids == track_id
            joints[frames, hand] = _with_constant_bones(joints[frames, hand], given[frames, hand])
    return replace(predictions, joints=joints.astype(predictions.joints.dtype))


def _with_constant_bones(joints: NDArray[np.float64], given: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(T, 21, 3) of one hand, (T, 21) -> (T, 21, 3)."""
    result = joints.copy()
    for inner, outer in BONES:  # inner joints come first
        both = given[:, inner] & given[:, outer]
        if not both.any():
            continue
        bone = joints[both, outer] - joints[both, inner]
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        # A bone without length has no direction.
        factor = np.divide(np.median(length), length, out=np.ones_like(length), where=length > 0)
        result[both, outer] = result[both, inner] + factor * bone
    return result
