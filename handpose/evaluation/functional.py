"""The metrics of the field as pure functions on NumPy arrays, computed in float64.

Legend: N samples (one hand in one frame each), J joints (or any points), V vertices. Lengths keep the unit of
the input. Points marked invalid give NaN errors, and every mean leaves NaN out. A coordinate that is not finite where
the point is valid is refused, so a failed prediction can never drop out of a mean.
"""

import numpy as np
import torch

from handpose.geometry.alignment import procrustes_align

WRIST, MIDDLE_KNUCKLE = 0, 9
JOINT_ALIGNMENTS = ('wrist', 'wrist_bone_scaled')  # of meshes: computed from the joints
_SHORTEST_BONE = 1e-6  # a predicted bone of no length must give a huge error, not a NaN that no mean would count
_LARGEST_COORDINATE = 1e100  # the squares of larger ones overflow in float64
_CHUNK = 4096  # samples fitted at a time: what stays in the cache is fitted more than twice as fast


def _unaligned(prediction, target, valid):
    return prediction, target, valid


def _wrist(prediction, target, valid):
    aligned = (points - points[..., WRIST : WRIST + 1, :] for points in (prediction, target))
    # A wrist on itself says nothing where it is the only joint that is known (HO3D's evaluation part).
    return *aligned, valid & valid[..., WRIST : WRIST + 1] & (valid.sum(-1, keepdims=True) >= 2)


def _wrist_bone_scaled(prediction, target, valid):
    prediction, target, valid = _wrist(prediction, target, valid)
    scale = bone_ratio(prediction, target)[..., None, None]
    return scale * prediction, target, valid & valid[..., MIDDLE_KNUCKLE, None]


def _procrustes(prediction, target, valid, allow_reflection=True):
    shape, points = prediction.shape, prediction.shape[-2]
    samples = [torch.from_numpy(np.ascontiguousarray(x)).reshape(-1, points, 3) for x in (prediction, target)]
    samples.append(torch.from_numpy(np.ascontiguousarray(valid)).reshape(-1, points))
    chunks = zip(*(x.split(_CHUNK) for x in samples), strict=True)
    fitted = torch.cat([procrustes_align(p, t, allow_reflection, weights=w) for p, t, w in chunks])
    # One or two points can always be fitted exactly: that says nothing about the hand.
    return fitted.numpy().reshape(shape), target, valid & (valid.sum(-1, keepdims=True) >= 3)


def _procrustes_rotation(prediction, target, valid):
    return _procrustes(prediction, target, valid, allow_reflection=False)


ALIGNMENTS = {
    'none': _unaligned,
    'wrist': _wrist,
    'wrist_bone_scaled': _wrist_bone_scaled,
    'procrustes': _procrustes,
    'procrustes_rotation': _procrustes_rotation,
}


def align_pair(prediction, target, valid=None, alignment='none'):
    """Aligns every sample's prediction with its target, each sample on its own.

    Alignments: 'none'; 'wrist' subtracts point 0 from both; 'wrist_bone_scaled' then scales the prediction so that its
    bone from wrist to middle knuckle (points 0 and 9) is as long as the target's (InterHand2.6M practice);
    'procrustes' fits scale, rotation or reflection, and translation, as the evaluators of FreiHAND, HO3D and DexYCB
    do; 'procrustes_rotation' fits without reflection.

    Args:
        prediction, target: (..., J, 3). valid: (..., J) bool, default all.

    Returns:
        prediction and target (..., J, 3) float64 in the same coordinates, and valid (..., J), now False also where what
        the alignment needs is not valid.

    Raises:
        ValueError: an unknown alignment, shapes that differ, or a valid point that is NaN or infinite.
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(f'alignment must be one of {list(ALIGNMENTS)}, got {alignment!r}')
    return ALIGNMENTS[alignment](*_checked(prediction, target, valid))


def point_errors(prediction, target, valid=None, alignment='none'):
    """Distance of every predicted point to its target after `align_pair`: (..., J) float64, NaN where not valid."""
    prediction, target, valid = align_pair(prediction, target, valid, alignment)
    return np.where(valid, np.linalg.norm(prediction - target, axis=-1), np.nan)


def joint_mean(values):
    """Mean over samples for each joint, then over joints: (N, J) -> float, NaN left out (as the official evaluators).

    It equals the plain mean where every joint has the same number of samples. NaN where nothing is valid.
    """
    values = np.asarray(values, np.float64)
    if not values.size:
        return float('nan')
    values = values.reshape(-1, values.shape[-1])
    return float(nan_mean(nan_mean(values, axis=0), axis=0))


def mpjpe(prediction, target, valid=None, alignment='none'):
    """Mean per-joint position error: `joint_mean` of `point_errors`; for the alignments see `align_pair`."""
    return joint_mean(point_errors(prediction, target, valid, alignment))


def mpvpe(prediction, target, alignment='none', prediction_joints=None, target_joints=None):
    """Mean per-vertex position error of meshes (..., V, 3) with the same vertices.

    Alignments are 'none', 'procrustes' and 'procrustes_rotation' (fitted on the vertices, as HO3D's evaluator), and
    two that are computed from the joints, since no vertex is the wrist: 'wrist' subtracts the wrists from the
    vertices; 'wrist_bone_scaled' then scales the predicted vertices by the ratio of the true to the predicted length
    of the bone from wrist to middle knuckle (what PDTM reports).

    Args:
        prediction: predicted vertices (..., V, 3).
        target: true vertices (..., V, 3).
        alignment: see above.
        prediction_joints: predicted joints (..., 21, 3), common order, in the coordinates of `prediction`; needed by
            the two alignments that use joints.
        target_joints: true joints (..., 21, 3), likewise.

    Returns:
        float, in the unit of the input.

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


def align_vertices(prediction, target, prediction_joints, target_joints, alignment):
    """Aligns meshes by their joints: wrists subtracted and, if asked for, the prediction scaled by the bone ratio.

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
    prediction, target, _ = _checked(prediction, target, None, 'vertices')
    prediction_joints, target_joints, _ = _checked(prediction_joints, target_joints, None, 'joints')
    expected = (*prediction.shape[:-2], 21, 3)
    if prediction_joints.shape != expected:
        raise ValueError(
            f'every mesh needs its joints: expected {expected} for vertices {prediction.shape}, got '
            f'{prediction_joints.shape}'
        )
    prediction = prediction - prediction_joints[..., WRIST : WRIST + 1, :]
    if alignment == 'wrist_bone_scaled':
        prediction = bone_ratio(prediction_joints, target_joints)[..., None, None] * prediction
    return prediction, target - target_joints[..., WRIST : WRIST + 1, :]


def bone_ratio(prediction, target):
    """True over predicted length of the bone from wrist to middle knuckle: (..., J, 3) twice -> (...)."""
    length, true_length = (
        np.linalg.norm(joints[..., MIDDLE_KNUCKLE, :] - joints[..., WRIST, :], axis=-1)
        for joints in (prediction, target)
    )
    return true_length / np.maximum(length, _SHORTEST_BONE)


def pck_scores(errors, threshold):
    """1.0 where an error is at most `threshold`, else 0.0, NaN where the error is NaN; the mean is the PCK."""
    errors = np.asarray(errors, np.float64)
    return np.where(np.isnan(errors), np.nan, errors <= threshold)


def auc_scores(errors, low, high, steps):
    """What each error adds to the area under the PCK curve; the mean is the AUC, from 0 to 1.

    Thresholds are `linspace(low, high, steps)`, both ends included (100 steps are 99 intervals); the area is the
    trapezoid sum over `high - low`. The area is linear in the samples, hence a score for each error.
    """
    if steps < 2 or not high > low:
        raise ValueError(f'an AUC needs at least 2 steps and high > low, got low={low}, high={high}, steps={steps}')
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    area_from = np.append(np.cumsum(weights[::-1])[::-1], 0.0)  # weight of all thresholds from the i-th on
    errors = np.asarray(errors, np.float64)
    scores = area_from[np.searchsorted(np.linspace(low, high, steps), errors, side='left')]
    return np.where(np.isnan(errors), np.nan, scores)


def pck(errors, threshold):
    """Share of keypoints whose error is at most `threshold`, averaged over joints: (N, J) -> float."""
    return joint_mean(pck_scores(errors, threshold))


def auc(errors, low, high, steps):
    """Area under the PCK curve from `low` to `high`, averaged over joints: (N, J) -> float; see `auc_scores`."""
    return joint_mean(auc_scores(errors, low, high, steps))


def f_score(prediction, target, thresholds):
    """F-score of a point set against another: harmonic mean of precision and recall at each threshold.

    A point is matched when its nearest neighbour in the other set is strictly nearer than the threshold (Tanks and
    Temples; FreiHAND and HO3D use 5 and 15 mm). No matches give 0.

    Args:
        prediction: (V, 3). target: (V', 3). thresholds: sequence of floats.

    Returns:
        (len(thresholds),) float64.

    Raises:
        ValueError: no thresholds, a set without points, or a point that is NaN or infinite.
    """
    from scipy.spatial import cKDTree

    if not len(thresholds):
        raise ValueError('f_score needs at least one threshold')
    prediction, target = (
        _checked_points(points, name) for points, name in ((prediction, 'prediction'), (target, 'target'))
    )
    reach = max(thresholds)  # farther neighbours need not be found; their distance is given as infinite
    to_target = cKDTree(target).query(prediction, distance_upper_bound=reach)[0]
    to_prediction = cKDTree(prediction).query(target, distance_upper_bound=reach)[0]
    precision = np.array([(to_target < t).mean() for t in thresholds])
    recall = np.array([(to_prediction < t).mean() for t in thresholds])
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def acceleration_errors(prediction, target, frames, tracks=None, valid=None):
    """Distance between the second differences of two tracks, in length per frame squared.

    Only triples of consecutive frame numbers of one track count, so a cut, a gap or an invalid frame is never
    differenced across, and no ends are padded with zeros. For length / s^2 multiply by fps^2.

    Args:
        prediction, target: (N, J, 3), in any order. frames: (N,) int, frame numbers at the full rate.
        tracks: (N,) int, equal where samples belong to one hand of one recording seen by one camera; default one track.
        valid: (N, J) bool, default all.

    Returns:
        (N, J) float64 at the middle frame of each triple, NaN elsewhere.

    Raises:
        ValueError: shapes that differ, frame numbers that are not whole, a frame that a track has twice, or a valid
            point that is NaN or infinite.
    """
    prediction, target, valid = _checked(prediction, target, valid)
    given = np.asarray(frames)
    frames = given.astype(np.int64)
    if not np.array_equal(given, frames):
        raise ValueError('acceleration_errors needs whole frame numbers; convert timestamps to frame numbers first')
    tracks = np.zeros_like(frames) if tracks is None else np.asarray(tracks)
    if not frames.shape == tracks.shape == valid.shape[:1]:
        raise ValueError(f'frames and tracks must be {valid.shape[:1]}, got {frames.shape} and {tracks.shape}')
    order = np.lexsort((frames, tracks))
    frames, tracks = frames[order], tracks[order]
    same_track = tracks[1:] == tracks[:-1]
    if (same_track & (frames[1:] == frames[:-1])).any():
        raise ValueError('acceleration_errors got the same frame of a track twice; give each frame once')
    follows = same_track & (frames[1:] == frames[:-1] + 1)
    difference, valid = (prediction - target)[order], valid[order]  # the second difference is linear
    second = difference[:-2] - 2 * difference[1:-1] + difference[2:]
    usable = (follows[:-1] & follows[1:])[:, None] & valid[:-2] & valid[1:-1] & valid[2:]
    errors = np.full(valid.shape, np.nan)
    errors[order[1:-1]] = np.where(usable, np.linalg.norm(second, axis=-1), np.nan)
    return errors


def nan_mean(values, axis=None):
    """Like numpy.nanmean, but an all-NaN slice is an expected case here and gives NaN without a warning."""
    present = ~np.isnan(values)
    total, count = np.where(present, values, 0.0).sum(axis), present.sum(axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _checked(prediction, target, valid, what='points'):
    prediction, target = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    valid = np.ones(prediction.shape[:-1], bool) if valid is None else np.asarray(valid, bool)
    if prediction.shape != target.shape or prediction.shape[-1:] != (3,) or valid.shape != prediction.shape[:-1]:
        raise ValueError(
            f'prediction and target must both be (..., J, 3) and valid (..., J); '
            f'got {prediction.shape}, {target.shape} and {valid.shape}'
        )
    for name, points in (('prediction', prediction), ('target', target)):
        wrong = valid & ~_usable(points)
        if wrong.any():
            place = tuple(np.argwhere(wrong)[0].tolist())
            raise ValueError(
                f'{name}: {wrong.sum()} of {valid.sum()} valid {what} are NaN, infinite or beyond '
                f'{_LARGEST_COORDINATE:g}, the first at index {place}; correct them, or mark them as not valid'
            )
    # What stands in invalid places may be anything, NaN too; it must not enter a fit.
    return np.where(valid[..., None], prediction, 0.0), np.where(valid[..., None], target, 0.0), valid


def _checked_points(points, name):
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise ValueError(f'f_score: {name} must be (V, 3) with at least one point, got {points.shape}')
    if not _usable(points).all():
        raise ValueError(f'f_score: {name} has points that are NaN or infinite')
    return points


def _usable(points):
    """(..., J) bool: every coordinate of a point (..., J, 3) is a number whose square is finite."""
    return (np.abs(points) < _LARGEST_COORDINATE).all(-1)
