"""From pairs of sequences to columns of samples: which hands of which frames count, and that each counts once.

A sample is one annotated hand in one frame of one recording. Its key is (sequence, camera, frame, hand). The cameras of
a multi-view clip are one key, their names joined by '+' ('840412060917+932122060857'): its 3D joints are given once in
the frame of the clip, so such a hand is one sample however many cameras see it. A recording that is read camera by
camera gives one sample for each camera.

Legend: N samples, J joints; T, K, H as in `HandSequence`.
"""

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from handpose.evaluation.alignment import BoolArray
from handpose.hands import SIDE_LABELS
from handpose.structures import HandSequence, SequenceError, sample_name

Columns: TypeAlias = dict[str, Any]  # arrays (N, ...); and values that all samples of a clip share
# Columns that identify a sample; the other columns of a mesh metric are its numbers.
SAMPLE_KEY = ('sequence', 'camera', 'frame', 'hand')  # identifies a sample
KEY_COLUMNS = ('sequence', 'camera', 'absolute', 'frame', 'hand', 'occlusion', 'predicted')


def pair_columns(prediction: HandSequence, target: HandSequence) -> Columns:
    """The annotated samples of one clip, and their joints.

    A hand is predicted where a joint is valid in both; frames that are padding are no samples.

    Args:
        prediction: a clip with joints_3d, in the target's frame or in 'wrist'.
        target: the same clip with joints_3d, hand_side and meta: sequence, cameras, frame_indices.

    Returns:
        Columns 'frame' (N,), 'hand' (N,) 0 left and 1 right, 'occlusion' (N,) share (averaged over the cameras that
        know it) or NaN, 'prediction' and 'target' (N, J, 3) float32 metres, 'valid' (N, J) bool, 'predicted' (N,) bool,
        'lacking' (N,) number of annotated joints without a prediction, 'place' (N, 2) index into (T, H); and the values
        'sequence' and 'camera' (str) and 'absolute' (False for predictions relative to the wrist).

    Raises:
        SequenceError: the two do not belong together, lack a field, or have a valid joint that is not finite.
    """
    _check_pair(prediction, target)
    predicted_joints, joints = _array(prediction, 'joints_3d'), _array(target, 'joints_3d')
    real = np.ones(len(joints), np.bool_) if target.frame_valid is None else _array(target, 'frame_valid')
    real[len(target.meta['frame_indices']) :] = False  # padding that a batch added
    annotated = _array(target, 'joints_valid') & _hand_mask(target) & real[:, None, None]
    valid = annotated & _array(prediction, 'joints_valid') & _hand_mask(prediction)
    place = np.argwhere(annotated.any(-1))
    t, h = place.T
    columns = {
        'sequence': str(target.meta['sequence']),
        'camera': '+'.join(map(str, target.meta['cameras'])),
        'absolute': prediction.frame == target.frame != 'wrist',
        'frame': np.asarray(target.meta['frame_indices'], np.int64)[t],
        'hand': _array(target, 'hand_side')[h],
        'occlusion': _occlusion(target)[t, h],
        'prediction': predicted_joints[t, h].astype(np.float32),
        'target': joints[t, h].astype(np.float32),
        'valid': valid[t, h],
        'predicted': valid[t, h].any(-1),
        'lacking': (annotated & ~valid)[t, h].sum(-1),
        'place': place,
    }
    check_finite(columns, 'prediction', columns['valid'], 'the predicted joints_3d')
    check_finite(columns, 'target', annotated[t, h], 'the annotated joints_3d')
    return columns


def check_finite(columns: Columns, name: str, valid: BoolArray, what: str) -> None:
    """Refuses points that are NaN or infinite where they are valid.

    Args:
        columns: of one clip, as `pair_columns` gives them.
        name: of the column (N, P, 3) to check.
        valid: (N, P) bool.
        what: names the points in the error message.

    Raises:
        SequenceError: names the sequence, camera, frame and hand of the first such sample.
    """
    wrong = (valid & ~np.isfinite(columns[name]).all(-1)).any(-1)
    if wrong.any():
        row = int(wrong.argmax())
        sample = f'{columns["sequence"]} camera {columns["camera"]} frame {columns["frame"][row]}'
        raise SequenceError(
            f'{sample} {SIDE_LABELS[columns["hand"][row]]} hand: {what} is NaN or infinite where marked valid (in '
            f'{wrong.sum()} of {len(wrong)} hands of this clip); correct the values or mark them as not valid'
        )


def merge_columns(clips: Sequence[Columns], values: Sequence[str], tolerance: float) -> Columns:
    """Joins the columns of many clips, so that each key is present once, in the order of the keys.

    Repeats, which come from samplers that pad the last batch, are dropped. Frames without a prediction (the context of
    a window) give way to the same frame predicted in another clip.

    Args:
        clips: columns as `pair_columns` gives them, in which every array has one row for each sample.
        values: names of the columns in which repeats must agree.
        tolerance: largest difference between repeats.

    Returns:
        Columns as those of a clip, with 'sequence' and 'camera' (N,) str, and 'track' (N,) int, equal for samples of
        one (sequence, camera, hand).

    Raises:
        SequenceError: no samples; mixed frames; or one key with two predictions that differ.
    """
    clips = [clip for clip in clips if len(clip['frame'])]
    if not clips:
        raise SequenceError('there is nothing to evaluate: no clip with an annotated hand reached the metric')
    if len({clip['absolute'] for clip in clips}) > 1:
        raise SequenceError('some predictions are relative to the wrist and some are not: use one `frame` for all')
    arrays = [name for name, value in clips[0].items() if isinstance(value, np.ndarray)]
    columns = {name: np.concatenate([clip[name] for clip in clips]) for name in arrays}
    for name in ('sequence', 'camera'):
        columns[name] = np.concatenate([np.full(len(clip['frame']), clip[name]) for clip in clips])
    columns['track'] = _track_numbers(columns)
    # Within a key predicted samples come first, so that the first of each key is the one to keep.
    order = np.lexsort((~columns['predicted'], columns['frame'], columns['track']))
    columns = {name: value[order] for name, value in columns.items()}
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(columns['track']) != 0) | (np.diff(columns['frame']) != 0)
    _check_repeats(columns, np.flatnonzero(new), values, tolerance)
    return {'absolute': clips[0]['absolute'], **{name: value[new] for name, value in columns.items()}}


def key_name(columns: Columns, row: int) -> str:
    """Names a sample for error messages.

    Args:
        columns: of all samples, as `merge_columns` gives them.
        row: of the sample.
    """
    side = SIDE_LABELS[int(columns['hand'][row])]
    return f'{columns["sequence"][row]} camera {columns["camera"][row]} frame {columns["frame"][row]} {side} hand'


def _track_numbers(columns: Columns) -> NDArray[np.int64]:
    """(N,) int: one number for each (sequence, camera, hand)."""
    number = np.zeros(len(columns['frame']), np.int64)
    for name in ('sequence', 'camera', 'hand'):
        distinct, index = np.unique(columns[name], return_inverse=True)
        number = number * len(distinct) + index.reshape(-1)
    return number


def _check_repeats(columns: Columns, firsts: NDArray[np.intp], values: Sequence[str], tolerance: float) -> None:
    kept = np.repeat(firsts, np.diff(np.append(firsts, len(columns['frame']))))
    repeats = np.flatnonzero(columns['predicted'] & (kept != np.arange(len(kept))))
    for name in values:
        first, second = (columns[name][rows].astype(np.float64) for rows in (kept[repeats], repeats))
        differ = ~np.isclose(first, second, rtol=0, atol=tolerance, equal_nan=True)
        if differ.ndim == 3:  # points; invalid ones may hold anything
            differ &= columns['valid'][repeats][..., None]
        rows = differ.any(axis=tuple(range(1, differ.ndim)))
        if rows.any():
            raise SequenceError(
                f'{key_name(columns, repeats[rows][0])} was predicted twice with different numbers ({name}); each '
                f'annotated frame counts once: test with windows that do not overlap, or mark the frames that a '
                f'window only uses as context invalid in joints_valid of the prediction'
            )


def _check_pair(prediction: HandSequence, target: HandSequence) -> None:
    where = sample_name(target.meta) if not target.batched else 'a batch'
    for name, sequence in (('prediction', prediction), ('target', target)):
        if sequence.batched:
            raise SequenceError(f'{where}: metrics compare clips, but the {name} is a batch; call unstack() first')
        if sequence.joints_3d is None or sequence.joints_valid is None:
            raise SequenceError(f'{where}: the {name} needs joints_3d and joints_valid to be evaluated')
    missing = [f'meta[{key!r}]' for key in ('sequence', 'cameras', 'frame_indices') if key not in target.meta]
    missing += ['hand_side'] if target.hand_side is None else []
    if missing:
        raise SequenceError(f'{where}: the target lacks {", ".join(missing)}, which identify each sample')
    shapes = [tuple(sequence.require('joints_3d').shape) for sequence in (prediction, target)]
    if shapes[0] != shapes[1]:
        raise SequenceError(f'{where}: joints_3d of prediction and target differ in shape: {shapes[0]} and {shapes[1]}')
    if prediction.frame not in ('wrist', target.frame):
        raise SequenceError(
            f"{where}: the prediction is in frame {prediction.frame!r}; it must be in 'wrist' or, as the target, "
            f'in {target.frame!r}'
        )
    for key in ('sequence', 'cameras', 'frame_indices'):
        if key in prediction.meta and list(prediction.meta[key]) != list(target.meta[key]):
            raise SequenceError(f'{where}: the prediction is of another {key}: {prediction.meta[key]}')


def _hand_mask(sequence: HandSequence) -> Any:
    return np.True_ if sequence.hand_valid is None else _array(sequence, 'hand_valid')[..., None]


def _occlusion(target: HandSequence) -> NDArray[np.floating]:
    """(T, H): the share occluded, averaged over the cameras that know it."""
    if target.occlusion is None:
        return np.full(target.require('joints_3d').shape[:2], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # unknown in all cameras: NaN, as it should be
        return np.nanmean(_array(target, 'occlusion'), axis=1)


def _array(sequence: HandSequence, name: str) -> NDArray[Any]:
    return sequence.require(name).detach().cpu().numpy().copy()
