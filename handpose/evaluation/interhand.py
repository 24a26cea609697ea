"""InterHand2.6M's official numbers: both hands of a frame together, single and interacting hands apart.

Moon et al., ECCV 2020, section 6, and the dataset's evaluator: the mean of each joint over the frames, then the mean
over the 42 joints of both hands, wrists included. Legend: N samples (hands of frames), F frames, J = 21 joints, 2 hands
(left, right).
"""

from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from handpose.evaluation.alignment import WRIST
from handpose.evaluation.base import Metric
from handpose.evaluation.functional import joint_mean, point_errors
from handpose.evaluation.hand_metric import MILLIMETRES, SAME_WITHIN
from handpose.evaluation.records import Columns, merge_columns, pair_columns
from handpose.evaluation.spec import MetricSpec
from handpose.hands import Side
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError, sample_name

HAND_TYPES = ('right', 'left', 'interacting')
INTERACTING = HAND_TYPES.index('interacting')
TYPE_SOURCES = ('meta', 'annotated')
HANDS_OF_TYPE = np.array([[False, True], [True, False], [True, True]])  # left, right
CERTAIN_JOINTS = 30  # an interacting frame with no more annotated joints than this does not count for handedness
PRESENT = 0.5  # a hand with a larger score counts as predicted to be there

FRAMES = MetricSpec.counting('num_frames_mpjpe', 'frames', in_table=False)
MPJPE_42 = MetricSpec(
    'mpjpe_ra_wrist_42_joints_mm',
    'wrist-aligned MPJPE of 42 joints',
    'mm',
    lower_is_better=True,
    headline=True,
    count=FRAMES.name,
)
MRRPE_FRAMES = MetricSpec.counting('num_frames_mrrpe', 'frames of MRRPE', in_table=False)
MRRPE = MetricSpec('mrrpe_mm', 'MRRPE', 'mm', lower_is_better=True, count=MRRPE_FRAMES.name)
HANDEDNESS_FRAMES = MetricSpec.counting('num_frames_handedness', 'frames of handedness', in_table=False)
HANDEDNESS = MetricSpec(
    'handedness_accuracy', 'handedness accuracy', lower_is_better=False, digits=4, count=HANDEDNESS_FRAMES.name
)
INCOMPLETE = MetricSpec.counting('num_frames_incomplete', 'frames with missing joints', in_table=False)
GROUPS = {'single': 'single hands', 'interacting': 'interacting hands'}


@METRICS.register_module()
class InterHandMetric(Metric):
    """The numbers of InterHand2.6M's official evaluation, of single and of interacting hands in one run.

    Reports `mpjpe_ra_wrist_42_joints_mm`, also as `/single` and `/interacting`: each hand relative to its own wrist,
    each joint's mean over frames and then the mean over 42 joints (a joint without a frame is left out); `mrrpe_mm`:
    the error of the left wrist's place relative to the right one's, in interacting frames in which both wrists are
    annotated; `handedness_accuracy`, from 0 to 1: whether exactly the hands that are there have `hand_scores` above
    0.5, in frames of one hand and in those of two with more than 30 annotated joints. And the frames that these are
    averaged over, `num_frames_mpjpe`, also as `/single` and `/interacting`, `num_frames_mrrpe` and
    `num_frames_handedness`; and `num_frames_incomplete`, frames in which an annotated joint has no prediction.

    A number that the predictions cannot give is absent, never perfect: MRRPE of predictions relative to the wrist,
    handedness of models without `hand_scores`.

    Args:
        hand_types: where the hands of a frame are known from: 'meta', `meta['hand_types']` of InterHand2.6M; or
            'annotated', the hands with `hand_valid`, of other datasets that are evaluated in this way (AssemblyHands).
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        ValueError: unknown hand_types.
        SequenceError: while testing, clips of one hand or, with hand_types='meta', without `meta['hand_types']`,
            hand_scores in some clips only or not finite; and see `pair_columns` and `merge_columns`.
    """

    fields = ('joints_3d',)

    def __init__(self, hand_types: str = 'meta', collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)
        if hand_types not in TYPE_SOURCES:
            raise ValueError(f'hand_types must be one of {TYPE_SOURCES}, got {hand_types!r}')
        self.hand_types = hand_types

    @property
    def specs(self) -> tuple[MetricSpec, ...]:
        """See `Metric.specs`."""
        grouped = [
            part
            for spec in (MPJPE_42, FRAMES)
            for part in (spec, *(spec.of_group(group, title, spec.in_table) for group, title in GROUPS.items()))
        ]
        return (*grouped, MRRPE, MRRPE_FRAMES, HANDEDNESS, HANDEDNESS_FRAMES, INCOMPLETE)

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> Columns:
        """See `Metric.process_clip`."""
        return interhand_columns(prediction, target, self.hand_types)

    def reduce(self, results: list[Columns]) -> dict[str, float]:
        """See `Metric.reduce`.

        Args:
            results: columns of all clips.
        """
        scored = {clip['scored'] for clip in results}
        if len(scored) > 1:
            raise SequenceError('InterHandMetric: some clips were predicted with hand_scores and others without')
        columns = merge_columns(results, ('valid', 'prediction', 'target', 'kind', 'hand_scores'), SAME_WITHIN)
        frames = both_hands(columns)
        numbers = _joint_numbers(frames)
        if columns['absolute']:
            numbers |= _relative_wrist_numbers(frames)
        if True in scored:
            numbers |= _handedness_numbers(frames)
        else:
            print_log(f'{HANDEDNESS.name} is not available: the model predicts no hand_scores', logger='current')
        return numbers


def interhand_columns(prediction: HandSequence, target: HandSequence, hand_types: str = 'meta') -> Columns:
    """The samples of one clip as `pair_columns` gives them, with the other columns that these numbers need.

    Args:
        prediction: a clip of two hands with joints_3d and, where the model predicts which hands are there, hand_scores
            (T, 2) from 0 to 1.
        target: a clip of two hands with `meta['hand_types']`, one for each frame, or with `hand_valid`.
        hand_types: see `InterHandMetric`.

    Returns:
        Columns, also 'kind' (N,) index into `HAND_TYPES`, 'hand_scores' (N, 2), zeros without them, 'annotated' (N,)
        number of annotated joints; and the value 'scored', whether the prediction has hand_scores.

    Raises:
        SequenceError: see `InterHandMetric`.
    """
    where = sample_name(target.meta)
    columns = pair_columns(prediction, target)
    if target.require('joints_3d').shape[1] != 2 or (hand_types == 'meta' and 'hand_types' not in target.meta):
        raise SequenceError(
            f"{where}: InterHandMetric needs clips of two hands with meta['hand_types'], as the reader InterHand26M "
            f"gives them; use HandPoseMetric for other datasets, or hand_types='annotated' for two hands without them"
        )
    t = columns.pop('place')[:, 0]
    of_frames = target.meta['hand_types'] if hand_types == 'meta' else annotated_types(target)
    types = [of_frames[frame] for frame in t.tolist()]
    if unknown := [name for name in types if name not in HAND_TYPES]:
        raise SequenceError(f'{where}: hand_types of annotated frames must be among {HAND_TYPES}, got {unknown[0]!r}')
    columns['kind'] = np.array([HAND_TYPES.index(name) for name in types], np.int64)
    columns['annotated'] = columns['valid'].sum(-1) + columns['lacking']
    columns['scored'] = prediction.hand_scores is not None
    columns['hand_scores'] = np.zeros((len(t), 2))
    if columns['scored']:
        columns['hand_scores'] = prediction.require('hand_scores').detach().cpu().double().numpy()[t]
        if not np.isfinite(columns['hand_scores']).all():
            raise SequenceError(f'{where}: hand_scores are NaN or infinite in an annotated frame')
    return columns


def annotated_types(target: HandSequence) -> list[str | None]:
    """'right', 'left', 'interacting' or None of each frame, by the hands that are annotated in it.

    Args:
        target: a clip of two hands with hand_valid (T, 2).
    """
    names = {(False, True): 'right', (True, False): 'left', (True, True): 'interacting'}
    return [names.get((left, right)) for left, right in target.require('hand_valid').tolist()]


def both_hands(columns: Columns) -> dict[str, NDArray[Any]]:
    """Puts the two hands of each frame side by side.

    Args:
        columns: of all samples, as `merge_columns` gives them.

    Returns:
        'prediction' and 'target' (F, 2, J, 3) millimetres, 'valid' (F, 2, J), 'lacking' and 'annotated' (F, 2)
        numbers of joints, 'kind' (F,), 'hand_scores' (F, 2); zeros where a hand is not annotated.
    """
    keys = [np.unique(columns[name], return_inverse=True)[1].reshape(-1) for name in ('sequence', 'camera')]
    rows = np.stack([*keys, columns['frame']], -1)
    _, first, place = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    frames = {'kind': columns['kind'][first], 'hand_scores': columns['hand_scores'][first]}
    for name in ('prediction', 'target', 'valid', 'lacking', 'annotated'):
        values = columns[name]
        frames[name] = np.zeros((len(first), len(Side), *values.shape[1:]), values.dtype)
        frames[name][place, columns['hand']] = values
    for name in ('prediction', 'target'):
        frames[name] = MILLIMETRES * frames[name].astype(np.float64)
    return frames


def _joint_numbers(frames: dict[str, NDArray[Any]]) -> dict[str, float]:
    errors = point_errors(frames['prediction'], frames['target'], frames['valid'], 'wrist')
    errors = errors.reshape(len(errors), -1)  # (F, 42)
    interacting = frames['kind'] == INTERACTING
    numbers = {INCOMPLETE.name: float(frames['lacking'].any(-1).sum())}
    everywhere = np.ones(len(errors), bool)
    for group, rows in (('', everywhere), ('/single', ~interacting), ('/interacting', interacting)):
        if rows.any():
            numbers[f'{FRAMES.name}{group}'] = float(rows.sum())
            numbers[f'{MPJPE_42.name}{group}'] = joint_mean(errors[rows])
    return {name: value for name, value in numbers.items() if not np.isnan(value)}


def _relative_wrist_numbers(frames: dict[str, NDArray[Any]]) -> dict[str, float]:
    rows = (frames['kind'] == INTERACTING) & frames['valid'][:, :, WRIST].all(1)
    if not rows.any():
        return {}
    left_of_right = [frames[name][rows, 0, WRIST] - frames[name][rows, 1, WRIST] for name in ('prediction', 'target')]
    error = np.linalg.norm(left_of_right[0] - left_of_right[1], axis=-1)
    return {MRRPE.name: float(error.mean()), MRRPE_FRAMES.name: float(rows.sum())}


def _handedness_numbers(frames: dict[str, NDArray[Any]]) -> dict[str, float]:
    certain = (frames['kind'] != INTERACTING) | (frames['annotated'].sum(1) > CERTAIN_JOINTS)
    if not certain.any():
        return {}
    right = ((frames['hand_scores'] > PRESENT) == HANDS_OF_TYPE[frames['kind']]).all(1)
    return {HANDEDNESS.name: float(right[certain].mean()), HANDEDNESS_FRAMES.name: float(certain.sum())}
