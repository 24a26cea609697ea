"""The registered metrics: joints (`HandPoseMetric`) and meshes (`HandMeshMetric`) of pairs of sequences.

Names of the numbers say how the prediction was aligned before comparing: `cam` camera coordinates as they are,
`ra_wrist` both relative to their wrists, `ra_wrist_bone_scaled` then scaled to the true bone from wrist to middle
knuckle, `pa` Procrustes with reflection allowed (as the official evaluators), `pa_..._rotation` Procrustes without.
Numbers in camera coordinates are absent for predictions relative to the wrist.
"""

import numpy as np

from handpose.evaluation.functional import (
    MIDDLE_KNUCKLE,
    WRIST,
    acceleration_errors,
    align_pair,
    align_vertices,
    auc_scores,
    f_score,
    pck_scores,
    point_errors,
)
from handpose.evaluation.gathering import GatheringMetric
from handpose.evaluation.records import KEY_COLUMNS, check_finite, merge_columns, pair_columns
from handpose.evaluation.summary import BREAKDOWNS, joint_errors, per_frame_records, save_records, summarise
from handpose.registry import METRICS
from handpose.structures import SequenceError, sample_name

MILLIMETRES = 1000.0
# A repeated sample may come from a batch of another size, where kernels round differently; two windows' predictions of
# one frame differ by far more somewhere in a test set.
SAME_WITHIN = 1e-3  # metres
POSE_ALIGNMENTS = {
    'cam': 'none',
    'ra_wrist': 'wrist',
    'ra_wrist_bone_scaled': 'wrist_bone_scaled',
    'pa': 'procrustes',
    'pa_rotation': 'procrustes_rotation',
}
CURVE_LABELS = ('cam', 'ra_wrist', 'pa')
DEXYCB_AUC = dict.fromkeys(CURVE_LABELS, (0, 50, 100))  # mm, mm, thresholds; HO3D and FreiHAND use the same


class _HandMetric(GatheringMetric):
    """Collects columns of samples from all processes and reports every number overall and in the breakdowns."""

    compared = ()  # columns in which repeats of a sample must agree
    tolerance = SAME_WITHIN
    counted = 'num_samples'
    missed = 'num_missing'

    def __init__(self, auc_ranges, breakdowns, keep_records, collect_device):
        unknown = sorted(set(breakdowns) - set(BREAKDOWNS))
        if unknown:
            raise ValueError(f'breakdowns must be among {BREAKDOWNS}, got {unknown[0]!r}')
        for label, (low, high, steps) in auc_ranges.items():
            if label not in CURVE_LABELS:
                raise ValueError(f'auc_ranges may have the keys {CURVE_LABELS}, got {label!r}')
            auc_scores(np.zeros(1), low, high, steps)  # refuses a bad range now, not after the test run
        if keep_records is not None and not str(keep_records).endswith('.npz'):
            raise ValueError(f'keep_records must be the path of an .npz file, got {str(keep_records)!r}')
        super().__init__(collect_device)
        self.auc_ranges = dict(auc_ranges)
        self.breakdowns = tuple(breakdowns)
        self.keep_records = keep_records
        self.per_frame = []

    def reduce(self, clips):
        """Reduces the columns of all clips to {name: float}; keeps `per_frame`, and writes it if asked to."""
        columns = merge_columns(clips, self.compared, self.tolerance)
        predicted = columns['predicted']
        if not predicted.any():
            raise SequenceError(f'{type(self).__name__}: no annotated hand was predicted; is joints_valid all False?')
        columns = {k: v[predicted] if isinstance(v, np.ndarray) else v for k, v in columns.items()}
        scores = self.scores(columns)
        self.per_frame = per_frame_records(columns, scores)
        if self.keep_records is not None:
            save_records(self.keep_records, self.per_frame, joint_errors(scores))
        numbers = summarise(columns, scores, self.breakdowns, self.counted)
        return {**numbers, self.missed: float((~predicted).sum()), **self.counts(columns)}

    def counts(self, columns):
        """{name: float} of what else is counted over the predicted samples."""
        return {}

    def scores(self, columns):
        """{name: (N, J) or (N, 1)}: what each sample adds to each number, NaN where it adds nothing."""
        raise NotImplementedError


@METRICS.register_module()
class HandPoseMetric(_HandMetric):
    """Errors of 3D joints, each annotated hand in each frame counted once.

    Reports `mpjpe_cam_mm`, `mpjpe_ra_wrist_mm`, `mpjpe_ra_wrist_bone_scaled_mm`, `pa_mpjpe_mm`, `pa_mpjpe_rotation_mm`;
    `auc_{cam,ra_wrist,pa}_<low>_<high>mm` and `pck_{cam,ra_wrist,pa}_<threshold>mm` from 0 to 1;
    `accel_error_cam_mm_per_frame2` and, relative to the wrist, `accel_error_mm_per_frame2`, over triples of
    consecutive frames of re-assembled tracks; `num_samples`; `num_missing`, annotated hands that reached the metric
    without a prediction; and `num_missing_joints`, annotated joints of the other hands without one. What is missing
    enters no mean, so compare models only where both counts are equal. All but these two are also given as
    `<name>/left`, `/right`, `/occlusion_25_50` (percent hidden), ... and `/joint_<name>`, where there are any.

    Args:
        auc_ranges: {'cam', 'ra_wrist' or 'pa': (lowest mm, highest mm, thresholds with both ends)}.
        pck_thresholds: mm.
        count_wrist: False leaves the wrist, whose error is zero after wrist alignment, out of the `ra_wrist` numbers,
            which are then named `ra_wrist_20_joints` (HTT's protocol).
        breakdowns: among 'side', 'occlusion' and 'joint'.
        keep_records: path of an .npz file for the numbers of every sample, for paired comparisons; None writes none.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises (while testing):
        SequenceError: a pair that cannot be compared, or a valid joint that is NaN or infinite; see `pair_columns`.
    """

    compared = ('valid', 'prediction', 'target')

    def __init__(
        self,
        auc_ranges=DEXYCB_AUC,
        pck_thresholds=(20,),
        count_wrist=True,
        breakdowns=BREAKDOWNS,
        keep_records=None,
        collect_device='cpu',
    ):
        super().__init__(auc_ranges, breakdowns, keep_records, collect_device)
        self.pck_thresholds = tuple(pck_thresholds)
        self.count_wrist = count_wrist

    def process(self, data_batch, data_samples):
        """Takes a list of dicts with 'prediction' and 'target' (HandSequence clips); `data_batch` is not used."""
        for sample in data_samples:
            columns = pair_columns(sample['prediction'], sample['target'])
            del columns['place']
            self.results.append(columns)

    def counts(self, columns):
        """Joints that a predicted hand lacks."""
        return {'num_missing_joints': float(columns['lacking'].sum())}

    def scores(self, columns):
        """{name: (N, 21)} of everything but the counts."""
        prediction, target = (MILLIMETRES * columns[name].astype(np.float64) for name in ('prediction', 'target'))
        errors = {
            label: point_errors(prediction, target, columns['valid'], alignment)
            for label, alignment in POSE_ALIGNMENTS.items()
            if columns['absolute'] or label != 'cam'
        }
        scores = {_mpjpe_name(label): error for label, error in errors.items()}
        for label in CURVE_LABELS:
            if label in errors and label in self.auc_ranges:
                low, high, steps = self.auc_ranges[label]
                scores[f'auc_{label}_{low:g}_{high:g}mm'] = auc_scores(errors[label], low, high, steps)
            for threshold in self.pck_thresholds if label in errors else ():
                scores[f'pck_{label}_{threshold:g}mm'] = pck_scores(errors[label], threshold)
        scores |= _acceleration_scores(columns, prediction, target)
        return scores if self.count_wrist else _without_wrist(scores)


@METRICS.register_module()
class HandMeshMetric(_HandMetric):
    """Errors of mesh vertices; prediction and target must both carry `vertices` of the same hand model.

    Reports `mpvpe_cam_mm`, `mpvpe_ra_wrist_mm` (wrist joints subtracted), `mpvpe_ra_wrist_bone_scaled_mm` (the
    predicted vertices then scaled by the true over the predicted length of the joints' bone from wrist to middle
    knuckle: PDTM's MPVPE), `pa_mpvpe_mm` (fitted on the vertices);
    `auc_vertices_{cam,ra_wrist,pa}_<low>_<high>mm`, `f_score_{5,15}mm` (camera coordinates),
    `f_score_ra_wrist_{5,15}mm` and `pa_f_score_{5,15}mm` from 0 to 1; `num_mesh_samples` and `num_mesh_missing`.
    A hand whose joints are annotated and whose mesh is not (`hand_pose_valid` of the target False) is no mesh sample.
    Breakdowns by side and occlusion are named as in `HandPoseMetric`. Meshes are reduced at once and not kept.

    Args:
        auc_ranges: {'cam', 'ra_wrist' or 'pa': (lowest mm, highest mm, thresholds with both ends)}.
        f_score_thresholds: mm; an empty list saves most of the time (about 3 ms for each alignment of a hand).
        breakdowns: among 'side' and 'occlusion'.
        keep_records, collect_device: as in `HandPoseMetric`.
    """

    compared = ('mpvpe_ra_wrist_mm', 'pa_mpvpe_mm')
    tolerance = SAME_WITHIN * MILLIMETRES
    counted, missed = 'num_mesh_samples', 'num_mesh_missing'

    def __init__(
        self,
        auc_ranges=DEXYCB_AUC,
        f_score_thresholds=(5, 15),
        breakdowns=('side', 'occlusion'),
        keep_records=None,
        collect_device='cpu',
    ):
        super().__init__(auc_ranges, breakdowns, keep_records, collect_device)
        if 'joint' in breakdowns:
            raise ValueError("HandMeshMetric has no breakdown 'joint': its numbers are of vertices")
        self.f_score_thresholds = tuple(f_score_thresholds)

    def process(self, data_batch, data_samples):
        """Takes a list of dicts with 'prediction' and 'target' (HandSequence clips); `data_batch` is not used."""
        for sample in data_samples:
            prediction, target = sample['prediction'], sample['target']
            columns = _with_mesh(pair_columns(prediction, target), target)
            _check_meshes(prediction, target)
            t, h = columns['place'].T
            for name, clip in (('prediction_vertices', prediction), ('target_vertices', target)):
                columns[name] = MILLIMETRES * clip.vertices.detach().cpu().double().numpy()[t, h]
            scores = self._clip_scores(columns)
            self.results.append({name: columns[name] for name in KEY_COLUMNS} | scores)

    def scores(self, columns):
        """{name: (N, 1)} as reduced by `process`."""
        return {name: value[:, None] for name, value in columns.items() if name not in KEY_COLUMNS and name != 'track'}

    def _clip_scores(self, columns):
        """{name: (N,)} of one clip; NaN where the mesh, or a joint that the alignment needs, is not predicted."""
        predicted, valid = columns['predicted'], columns['valid']
        meshes = [columns[f'{name}_vertices'] for name in ('prediction', 'target')]
        joints = [
            MILLIMETRES * np.where(valid[..., None], columns[name], 0.0).astype(np.float64)
            for name in ('prediction', 'target')
        ]
        for name, what in (('prediction', 'predicted'), ('target', 'true')):
            check_finite(columns, f'{name}_vertices', predicted[:, None], f'the {what} vertices')
        scores = {}
        for label in ('cam', 'pa') if columns['absolute'] else ('pa',):
            aligned = align_pair(*(mesh[predicted] for mesh in meshes), alignment=POSE_ALIGNMENTS[label])
            scores |= self._scores_of(label, *aligned[:2], predicted)
        usable = valid[:, WRIST]
        aligned = align_vertices(*(x[usable] for x in (*meshes, *joints)), 'wrist')
        scores |= self._scores_of('ra_wrist', *aligned, usable)
        usable = usable & valid[:, MIDDLE_KNUCKLE]
        prediction, target = align_vertices(*(x[usable] for x in (*meshes, *joints)), 'wrist_bone_scaled')
        errors = np.linalg.norm(prediction - target, axis=-1).mean(-1)
        return scores | {'mpvpe_ra_wrist_bone_scaled_mm': _spread(errors, usable)}

    def _scores_of(self, label, prediction, target, usable):
        """{name: (N,)} of aligned meshes (n, V, 3), which are those of the n usable samples."""
        errors = np.linalg.norm(prediction - target, axis=-1)
        scores = {'pa_mpvpe_mm' if label == 'pa' else f'mpvpe_{label}_mm': errors.mean(-1)}
        if label in self.auc_ranges:
            low, high, steps = self.auc_ranges[label]
            scores[f'auc_vertices_{label}_{low:g}_{high:g}mm'] = auc_scores(errors, low, high, steps).mean(-1)
        pairs = zip(prediction, target, strict=True) if self.f_score_thresholds else ()
        matched = np.array([f_score(*pair, self.f_score_thresholds) for pair in pairs])
        matched = matched.reshape(len(errors), len(self.f_score_thresholds))
        name = {'cam': 'f_score', 'ra_wrist': 'f_score_ra_wrist', 'pa': 'pa_f_score'}[label]
        scores |= {f'{name}_{threshold:g}mm': matched[:, i] for i, threshold in enumerate(self.f_score_thresholds)}
        return {name: _spread(values, usable) for name, values in scores.items()}


def _mpjpe_name(label):
    return {'pa': 'pa_mpjpe_mm', 'pa_rotation': 'pa_mpjpe_rotation_mm'}.get(label, f'mpjpe_{label}_mm')


def _acceleration_scores(columns, prediction, target):
    frames, tracks, valid = columns['frame'], columns['track'], columns['valid']
    scores = {}
    if columns['absolute']:
        cam = acceleration_errors(prediction, target, frames, tracks, valid)
        scores['accel_error_cam_mm_per_frame2'] = cam
    relative = align_pair(prediction, target, valid, alignment='wrist')
    scores['accel_error_mm_per_frame2'] = acceleration_errors(*relative[:2], frames, tracks, relative[2])
    return scores


def _without_wrist(scores):
    kept = {}
    for name, score in scores.items():
        if 'ra_wrist' in name:
            name, score = name.replace('ra_wrist', 'ra_wrist_20_joints'), score.copy()
            score[:, WRIST] = np.nan
        kept[name] = score
    return kept


def _spread(values, usable):
    """(N,) with `values` where usable and NaN elsewhere."""
    column = np.full(len(usable), np.nan)
    column[usable] = values
    return column


def _with_mesh(columns, target):
    """The columns of those samples whose true mesh is known."""
    if target.hand_pose_valid is None:
        return columns
    t, h = columns['place'].T
    known = target.hand_pose_valid.detach().cpu().numpy()[t, h]
    return {name: value[known] if isinstance(value, np.ndarray) else value for name, value in columns.items()}


def _check_meshes(prediction, target):
    where = sample_name(target.meta)
    for name, clip in (('prediction', prediction), ('target', target)):
        if clip.vertices is None:
            raise SequenceError(
                f'{where}: HandMeshMetric compares `vertices`, and the {name} has none; let the model give vertices '
                f'(and the target its hand model), or use HandPoseMetric alone'
            )
    if prediction.vertices.shape != target.vertices.shape:
        shapes = f'{tuple(prediction.vertices.shape)} and {tuple(target.vertices.shape)}'
        raise SequenceError(f'{where}: vertices of prediction and target are of different hand models: {shapes}')
