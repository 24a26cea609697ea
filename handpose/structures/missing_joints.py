"""Joints that an estimator does not give, computed from those that it gives.

Legend: T frames, H hands.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.hands.fit import MIN_JOINTS, fit_hand
from handpose.hands.procedural import ProceduralHand
from handpose.hands.sides import SIDE_LABELS
from handpose.structures.prediction_checks import PredictionsError
from handpose.structures.predictions import Predictions


def infer_missing_joints(predictions: Predictions) -> Predictions:
    """Fills in the joints that are missing in valid frames, and marks them in `joints_inferred`.

    `ProceduralHand` is fitted to the given joints of each hand (one shape, a pose for each frame), and the missing
    joints are those of the fit. So they are plausible and not measured: a fingertip that was never seen is about
    a centimetre off (docs/data/predictions_file.md lists errors), and is never bent on its own. Given joints stay as
    they are. The confidence of inferred joints is 0. Their 2D joints are projected: with the intrinsics in frame
    'camera', and else with the scale and shift between the given joints in 3D and in 2D.

    Args:
        predictions: with at least four joints in each valid frame.

    Returns:
        Predictions with all 21 joints of valid hands; without missing joints, the same.

    Raises:
        PredictionsError: nothing to fit to, a wrong unit, ... (see `Predictions.check`), or fewer than four joints.
    """
    predictions.check()
    given, valid = predictions.given_joints(), predictions.valid
    if (given | ~valid[..., None]).all():
        return predictions if predictions.joints_valid is None else replace(predictions, joints_valid=None)
    few = valid & (given.sum(-1) < MIN_JOINTS)
    if few.any():
        t, h = np.argwhere(few)[0]
        raise PredictionsError(
            f'inferring missing joints needs at least {MIN_JOINTS} given ones, and there are {int(given[t, h].sum())} '
            f'in frame {t}, {SIDE_LABELS[predictions.hand_side[h]]} hand: set valid to False there'
        )
    joints = predictions.joints.copy()
    for h in np.flatnonzero(valid.any(0) & ~(given | ~valid[..., None]).all((0, 2))):
        known, side = torch.from_numpy(given[:, h]), int(predictions.hand_side[h])
        fitted = fit_hand(ProceduralHand(), torch.from_numpy(joints[:, h]), known, side).joints.numpy()
        joints[:, h] = np.where(given[:, h, :, None], joints[:, h], fitted)
    inferred = valid[..., None] & ~given
    before = predictions.joints_inferred
    return replace(
        predictions,
        joints=joints,
        joints_valid=None,
        joints_inferred=inferred if before is None else before | inferred,
        joints_2d=_projected(predictions, joints, given),
    )


def _projected(predictions: Predictions, joints: NDArray, given: NDArray) -> NDArray | None:
    """The 2D joints, with those that are not given projected from (T, H, 21, 3) joints."""
    pixels = predictions.joints_2d
    if pixels is None:
        return None
    if predictions.intrinsics is not None and predictions.frame == 'camera':
        depths = np.where(predictions.valid[..., None, None], joints[..., 2:], 1)
        found = (joints @ predictions.intrinsics.T)[..., :2] / depths
    else:
        mask = given[..., None]
        counts = mask.sum(2, keepdims=True).clip(1)
        centre_3d = np.where(mask, joints[..., :2], 0).sum(2, keepdims=True) / counts
        centre_2d = np.where(mask, pixels, 0).sum(2, keepdims=True) / counts
        around_3d, around_2d = np.where(mask, joints[..., :2] - centre_3d, 0), np.where(mask, pixels - centre_2d, 0)
        scale = (around_3d * around_2d).sum((2, 3)) / np.square(around_3d).sum((2, 3)).clip(1e-12)
        found = (joints[..., :2] - centre_3d) * scale[..., None, None] + centre_2d
    return np.where(given[..., None], pixels, found)
