"""Alignment of predictions with their targets before they are compared, computed in float64.

Legend: N samples (one hand in one frame each), J joints (or any points), V vertices. Lengths keep the unit of the
input. A coordinate that is not finite where the point is valid is refused, so that a failed prediction can never drop
out of a mean.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from handpose.geometry.alignment import procrustes_align

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
# Prediction, target and valid mask, before and after an alignment.
Alignment: TypeAlias = Callable[[FloatArray, FloatArray, BoolArray], tuple[FloatArray, FloatArray, BoolArray]]

WRIST, MIDDLE_KNUCKLE = 0, 9
FINGER_KNUCKLES = [5, 9, 13, 17]  # index to little: the bones from the wrist to them are those of the palm
JOINT_ALIGNMENTS = ('wrist', 'wrist_bone_scaled')  # of meshes: computed from the joints
_SHORTEST_BONE = 1e-6  # a predicted bone of no length must give a huge error, not a NaN that no mean would count
_LARGEST_COORDINATE = 1e100  # the squares of larger ones overflow in float64
_CHUNK = 4096  # samples fitted at a time: what stays in the cache is fitted more than twice as fast


def _unaligned(
    prediction: FloatArray, target: FloatArray, valid: BoolArray
) -> tuple[FloatArray, FloatArray, BoolArray]:
    return prediction, target, valid


def _wrist(prediction: FloatArray, target: FloatArray, valid: BoolArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    valid = valid & valid[..., WRIST : WRIST + 1]
    # An aligned wrist has no error by construction: a hand of which nothing else is valid (HO3D's evaluation split)
    # says nothing.
    valid = valid & (valid.sum(-1, keepdims=True) >= 2)
    return prediction - prediction[..., WRIST : WRIST + 1, :], target - target[..., WRIST : WRIST + 1, :], valid


def _wrist_bone_scaled(
    prediction: FloatArray, target: FloatArray, valid: BoolArray
) -> tuple[FloatArray, FloatArray, BoolArray]:
    prediction, target, valid = _wrist(prediction, target, valid)
    scale = bone_ratio(prediction, target)[..., None, None]
    return scale * prediction, target, valid & valid[..., MIDDLE_KNUCKLE, None]


def _wrist_palm_scaled(
    prediction: FloatArray, target: FloatArray, valid: BoolArray
) -> tuple[FloatArray, FloatArray, BoolArray]:
    prediction, target, valid = _wrist(prediction, target, valid)
    scale = palm_ratio(prediction, target, valid)[..., None, None]
    return scale * prediction, target, valid & valid[..., FINGER_KNUCKLES].any(-1, keepdims=True)


def _procrustes(
    prediction: FloatArray, target: FloatArray, valid: BoolArray, allow_reflection: bool = True
) -> tuple[FloatArray, FloatArray, BoolArray]:
    shape, points = prediction.shape, prediction.shape[-2]
    samples = [torch.from_numpy(np.ascontiguousarray(x)).reshape(-1, points, 3) for x in (prediction, target)]
    samples.append(torch.from_numpy(np.ascontiguousarray(valid)).reshape(-1, points))
    chunks = zip(*(x.split(_CHUNK) for x in samples), strict=True)
    fitted = torch.cat([procrustes_align(p, t, allow_reflection, weights=w) for p, t, w in chunks])
    # One or two points can always be fitted exactly, which says nothing about the hand.
    return fitted.numpy().reshape(shape), target, valid & (valid.sum(-1, keepdims=True) >= 3)


def _procrustes_rotation(
    prediction: FloatArray, target: FloatArray, valid: BoolArray
) -> tuple[FloatArray, FloatArray, BoolArray]:
    return _procrustes(prediction, target, valid, allow_reflection=False)


ALIGNMENTS: dict[str, Alignment] = {
    'none': _unaligned,
    'wrist': _wrist,
    'wrist_bone_scaled': _wrist_bone_scaled,
    'wrist_palm_scaled': _wrist_palm_scaled,
    'procrustes': _procrustes,
    'procrustes_rotation': _procrustes_rotation,
}


def align_pair(
    prediction: ArrayLike, target: ArrayLike, valid: ArrayLike | None = None, alignment: str = 'none'
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Aligns the prediction of each sample with its target, independently of the other samples.

    Alignments: 'none'; 'wrist' subtracts point 0 from both; 'wrist_bone_scaled' also scales the prediction so that its
    bone from wrist to middle knuckle (points 0 and 9) is as long as the target's (as in InterHand2.6M's evaluation);
    'wrist_palm_scaled' scales it so that its palm bones, from wrist to the four finger knuckles (points 5, 9, 13, 17),
    are on average as long as the target's, those that are valid (G-HTT, arXiv 2311.17366, section 4.2);
    'procrustes' fits scale, rotation or reflection, and translation, as the evaluators of FreiHAND, HO3D and DexYCB
    do; 'procrustes_rotation' fits without reflection.

    Args:
        prediction: predicted points (..., J, 3).
        target: true points (..., J, 3).
        valid: (..., J) bool; default all.
        alignment: one of the names above.

    Returns:
        prediction and target (..., J, 3) float64 in the same coordinates, and valid (..., J), which is also False where
        a point that the alignment needs is not valid.

    Raises:
        ValueError: an unknown alignment, shapes that differ, or a valid point that is NaN or infinite.
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(f'alignment must be one of {list(ALIGNMENTS)}, got {alignment!r}')
    return ALIGNMENTS[alignment](*check_points(prediction, target, valid))


def align_vertices(
    prediction: ArrayLike, target: ArrayLike, prediction_joints: ArrayLike, target_joints: ArrayLike, alignment: str
) -> tuple[FloatArray, FloatArray]:
    """Aligns meshes by their joints: subtracts the wrists and, for 'wrist_bone_scaled', scales by the bone ratio.

    Args:
        prediction: predicted vertices (..., V, 3).
        target: true vertices (..., V, 3).
        prediction_joints: predicted joints (..., 21, 3), common order.
        target_joints: true joints (..., 21, 3), likewise.
        alignment: 'wrist' or 'wrist_bone_scaled'; see `mpvpe`.

    Returns:
        prediction and target (..., V, 3) float64 relative to the wrists.

    Raises:
        ValueError: shapes that do not fit, or a coordinate that is NaN or infinite.
    """
    predicted, true, _ = check_points(prediction, target, None, 'vertices')
    predicted_joints, true_joints, _ = check_points(prediction_joints, target_joints, None, 'joints')
    expected = (*predicted.shape[:-2], 21, 3)
    if predicted_joints.shape != expected:
        raise ValueError(
            f'every mesh needs its joints: expected {expected} for vertices {predicted.shape}, got '
            f'{predicted_joints.shape}'
        )
    predicted = predicted - predicted_joints[..., WRIST : WRIST + 1, :]
    if alignment == 'wrist_bone_scaled':
        predicted = bone_ratio(predicted_joints, true_joints)[..., None, None] * predicted
    return predicted, true - true_joints[..., WRIST : WRIST + 1, :]


def bone_ratio(prediction: FloatArray, target: FloatArray) -> FloatArray:
    """True over predicted length of the bone from wrist to middle knuckle.

    Args:
        prediction: predicted joints (..., J, 3).
        target: true joints (..., J, 3).

    Returns:
        (...) ratios.
    """
    length, true_length = (
        np.linalg.norm(joints[..., MIDDLE_KNUCKLE, :] - joints[..., WRIST, :], axis=-1)
        for joints in (prediction, target)
    )
    return true_length / np.maximum(length, _SHORTEST_BONE)


def palm_ratio(prediction: FloatArray, target: FloatArray, valid: BoolArray) -> FloatArray:
    """True over predicted mean length of the bones from the wrist to the knuckles of the four fingers.

    Args:
        prediction: predicted joints (..., 21, 3).
        target: true joints (..., 21, 3).
        valid: (..., 21) bool; bones to knuckles that are not valid do not count.

    Returns:
        (...) ratios; 0 for a hand without such a bone.
    """
    counted = valid[..., FINGER_KNUCKLES]
    length, true_length = (
        (np.linalg.norm(joints[..., FINGER_KNUCKLES, :] - joints[..., [WRIST], :], axis=-1) * counted).sum(-1)
        for joints in (prediction, target)
    )
    return np.asarray(true_length / np.maximum(length, _SHORTEST_BONE))


def check_points(
    prediction: ArrayLike, target: ArrayLike, valid: ArrayLike | None, what: str = 'points'
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Checks a pair of point sets, and sets what is not valid to zero.

    Args:
        prediction: predicted points (..., J, 3).
        target: true points (..., J, 3).
        valid: (..., J) bool; default all.
        what: names the points in error messages.

    Returns:
        prediction and target (..., J, 3) float64, and valid (..., J).

    Raises:
        ValueError: shapes that differ, or a valid point that is NaN or infinite.
    """
    predicted, true = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    mask = np.ones(predicted.shape[:-1], bool) if valid is None else np.asarray(valid, bool)
    if predicted.shape != true.shape or predicted.shape[-1:] != (3,) or mask.shape != predicted.shape[:-1]:
        raise ValueError(
            f'prediction and target must both be (..., J, 3) and valid (..., J); '
            f'got {predicted.shape}, {true.shape} and {mask.shape}'
        )
    for name, points in (('prediction', predicted), ('target', true)):
        wrong = mask & ~are_usable(points)
        if wrong.any():
            place = tuple(np.argwhere(wrong)[0].tolist())
            raise ValueError(
                f'{name}: {wrong.sum()} of {mask.sum()} valid {what} are NaN, infinite or beyond '
                f'{_LARGEST_COORDINATE:g}, the first at index {place}; correct them, or mark them as not valid'
            )
    # Invalid points may hold anything, NaN included, and must not enter a fit.
    return np.where(mask[..., None], predicted, 0.0), np.where(mask[..., None], true, 0.0), mask


def are_usable(points: FloatArray) -> BoolArray:
    """Which points have only coordinates whose squares are finite.

    Args:
        points: (..., J, 3).

    Returns:
        (..., J) bool.
    """
    return np.asarray((np.abs(points) < _LARGEST_COORDINATE).all(-1))
