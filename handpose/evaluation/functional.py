"""The metrics of the field as pure functions on NumPy arrays, computed in float64.

Legend: N samples (one hand in one frame each), J joints (or any points), V vertices. Lengths keep the unit of
the input. Invalid points give NaN errors, and means leave NaN out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from handpose.evaluation.alignment import (
    JOINT_ALIGNMENTS,
    FloatArray,
    align_pair,
    align_vertices,
    are_usable,
    check_points,
)


def point_errors(
    prediction: ArrayLike, target: ArrayLike, valid: ArrayLike | None = None, alignment: str = 'none'
) -> FloatArray:
    """Distance of each predicted point to its target.

    Args:
        prediction: predicted points (..., J, 3).
        target: true points (..., J, 3).
        valid: (..., J) bool; default all.
        alignment: see `align_pair`.

    Returns:
        (..., J) float64, NaN where not valid.

    Raises:
        ValueError: see `align_pair`.
    """
    predicted, true, usable = align_pair(prediction, target, valid, alignment)
    return np.where(usable, np.linalg.norm(predicted - true, axis=-1), np.nan)


def joint_mean(values: ArrayLike) -> float:
    """Mean over samples for each joint, then over joints, as in the official evaluators.

    It equals the plain mean where every joint has the same number of samples.

    Args:
        values: (..., J); NaN is left out.

    Returns:
        The mean; NaN where nothing is valid.
    """
    array = np.asarray(values, np.float64)
    if not array.size:
        return float('nan')
    array = array.reshape(-1, array.shape[-1])
    return float(nan_mean(nan_mean(array, axis=0), axis=0))


def mpjpe(prediction: ArrayLike, target: ArrayLike, valid: ArrayLike | None = None, alignment: str = 'none') -> float:
    """Mean per-joint position error: `joint_mean` of `point_errors`.

    Args:
        prediction: predicted joints (..., J, 3).
        target: true joints (..., J, 3).
        valid: (..., J) bool; default all.
        alignment: see `align_pair`.

    Returns:
        The error in the unit of the input.
    """
    return joint_mean(point_errors(prediction, target, valid, alignment))


def mpvpe(
    prediction: ArrayLike,
    target: ArrayLike,
    alignment: str = 'none',
    prediction_joints: ArrayLike | None = None,
    target_joints: ArrayLike | None = None,
) -> float:
    """Mean per-vertex position error of meshes (..., V, 3) with the same vertices.

    Alignments are 'none', 'procrustes' and 'procrustes_rotation' (fitted on the vertices, as HO3D's evaluator), and
    two that are computed from the joints, since no vertex is the wrist: 'wrist' subtracts the wrists from the
    vertices; 'wrist_bone_scaled' also scales the predicted vertices by the ratio of the true to the predicted length
    of the bone from wrist to middle knuckle (as PDTM reports).

    Args:
        prediction: predicted vertices (..., V, 3).
        target: true vertices (..., V, 3).
        alignment: see above.
        prediction_joints: predicted joints (..., 21, 3), common order, in the coordinates of `prediction`; needed by
            the two alignments that use joints.
        target_joints: true joints (..., 21, 3), likewise.

    Returns:
        The error in the unit of the input.

    Raises:
        ValueError: an unknown alignment, joints that are missing, shapes that do not fit, or a coordinate that is NaN
            or infinite.
    """
    if alignment in JOINT_ALIGNMENTS:
        if prediction_joints is None or target_joints is None:
            raise ValueError(
                f'mpvpe with alignment {alignment!r} needs prediction_joints and target_joints, both (..., 21, 3)'
            )
        prediction, target = align_vertices(prediction, target, prediction_joints, target_joints, alignment)
        alignment = 'none'
    return joint_mean(point_errors(prediction, target, alignment=alignment))


def pck_scores(errors: ArrayLike, threshold: float) -> FloatArray:
    """Scores of errors whose mean is the PCK (percentage of correct keypoints, as a share).

    Args:
        errors: of any shape.
        threshold: largest error of a correct keypoint.

    Returns:
        1 where an error is at most `threshold`, 0 elsewhere, NaN where the error is NaN.
    """
    array = np.asarray(errors, np.float64)
    return np.where(np.isnan(array), np.nan, array <= threshold)


def auc_scores(errors: ArrayLike, low: float, high: float, steps: int) -> FloatArray:
    """Contribution of each error to the area under the PCK curve; the mean is the AUC, from 0 to 1.

    The area is a trapezoid sum divided by `high - low`. It is linear in the samples, so that each error has a score.

    Args:
        errors: of any shape.
        low: lowest threshold.
        high: highest threshold.
        steps: number of thresholds, both ends included (100 thresholds are 99 intervals).

    Returns:
        Scores of the shape of `errors`, NaN where the error is NaN.

    Raises:
        ValueError: fewer than 2 thresholds, or an empty range.
    """
    if steps < 2 or not high > low:
        raise ValueError(f'an AUC needs at least 2 steps and high > low, got low={low}, high={high}, steps={steps}')
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    area_from = np.append(np.cumsum(weights[::-1])[::-1], 0.0)  # weight of all thresholds from the i-th on
    array = np.asarray(errors, np.float64)
    scores = area_from[np.searchsorted(np.linspace(low, high, steps), array, side='left')]
    return np.where(np.isnan(array), np.nan, scores)


def pck(errors: ArrayLike, threshold: float) -> float:
    """Share of keypoints whose error is at most a threshold, averaged over joints.

    Args:
        errors: (N, J).
        threshold: see `pck_scores`.

    Returns:
        The share, from 0 to 1.
    """
    return joint_mean(pck_scores(errors, threshold))


def auc(errors: ArrayLike, low: float, high: float, steps: int) -> float:
    """Area under the PCK curve, averaged over joints.

    Args:
        errors: (N, J).
        low: see `auc_scores`.
        high: see `auc_scores`.
        steps: see `auc_scores`.

    Returns:
        The area, from 0 to 1.
    """
    return joint_mean(auc_scores(errors, low, high, steps))


def f_score(prediction: ArrayLike, target: ArrayLike, thresholds: Sequence[float]) -> FloatArray:
    """F-score of a point set against another: harmonic mean of precision and recall at each threshold.

    A point is matched when its nearest neighbour in the other set is strictly nearer than the threshold (Tanks and
    Temples; FreiHAND and HO3D use 5 and 15 mm). No matches give 0.

    Args:
        prediction: (V, 3).
        target: (V', 3).
        thresholds: distances in the unit of the points.

    Returns:
        (len(thresholds),) float64.

    Raises:
        ValueError: no thresholds, a set without points, or a point that is NaN or infinite.
    """
    from scipy.spatial import cKDTree

    if not len(thresholds):
        raise ValueError('f_score needs at least one threshold')
    predicted, true = _checked_points(prediction, 'prediction'), _checked_points(target, 'target')
    reach = max(thresholds)  # farther neighbours need not be found; their distance is given as infinite
    to_target = cKDTree(true).query(predicted, distance_upper_bound=reach)[0]
    to_prediction = cKDTree(predicted).query(true, distance_upper_bound=reach)[0]
    precision = np.array([(to_target < t).mean() for t in thresholds])
    recall = np.array([(to_prediction < t).mean() for t in thresholds])
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def acceleration_errors(
    prediction: ArrayLike,
    target: ArrayLike,
    frames: ArrayLike,
    tracks: ArrayLike | None = None,
    valid: ArrayLike | None = None,
) -> FloatArray:
    """Distance between the second differences of two tracks, in length per frame squared.

    Only triples of consecutive frame numbers of one track count, so a cut, a gap or an invalid frame is never
    differenced across, and no ends are padded with zeros. For length / s^2 multiply by fps^2.

    Args:
        prediction: predicted joints (N, J, 3), in any order.
        target: true joints (N, J, 3).
        frames: (N,) int, frame numbers at the full rate.
        tracks: (N,) int, equal for samples of one hand in one recording and camera; default one track.
        valid: (N, J) bool; default all.

    Returns:
        (N, J) float64 at the middle frame of each triple, NaN elsewhere.

    Raises:
        ValueError: shapes that differ, frame numbers that are not whole, a frame that a track has twice, or a valid
            point that is NaN or infinite.
    """
    predicted, true, mask = check_points(prediction, target, valid)
    given = np.asarray(frames)
    times = given.astype(np.int64)
    if not np.array_equal(given, times):
        raise ValueError('acceleration_errors needs whole frame numbers; convert timestamps to frame numbers first')
    track = np.zeros_like(times) if tracks is None else np.asarray(tracks)
    if not times.shape == track.shape == mask.shape[:1]:
        raise ValueError(f'frames and tracks must be {mask.shape[:1]}, got {times.shape} and {track.shape}')
    order = np.lexsort((times, track))
    times, track = times[order], track[order]
    same_track = track[1:] == track[:-1]
    if (same_track & (times[1:] == times[:-1])).any():
        raise ValueError('acceleration_errors got the same frame of a track twice; give each frame once')
    follows = same_track & (times[1:] == times[:-1] + 1)
    difference, mask = (predicted - true)[order], mask[order]  # the second difference is linear
    second = difference[:-2] - 2 * difference[1:-1] + difference[2:]
    usable = (follows[:-1] & follows[1:])[:, None] & mask[:-2] & mask[1:-1] & mask[2:]
    errors = np.full(mask.shape, np.nan)
    errors[order[1:-1]] = np.where(usable, np.linalg.norm(second, axis=-1), np.nan)
    return errors


def nan_mean(values: FloatArray, axis: int | None = None) -> FloatArray:
    """Like numpy.nanmean, without its warning for slices that hold nothing but NaN, which are expected here.

    Args:
        values: of any shape.
        axis: the axis to average over; default all.

    Returns:
        The means; NaN for a slice without a number.
    """
    present = ~np.isnan(values)
    total, count = np.where(present, values, 0.0).sum(axis), present.sum(axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _checked_points(points: ArrayLike, name: str) -> FloatArray:
    array = np.asarray(points, np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise ValueError(f'f_score: {name} must be (V, 3) with at least one point, got {array.shape}')
    if not are_usable(array).all():
        raise ValueError(f'f_score: {name} has points that are NaN or infinite')
    return array
