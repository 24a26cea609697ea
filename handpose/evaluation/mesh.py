"""Errors of mesh vertices. For the alignments that the names of the numbers state see `handpose.evaluation.pose`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from handpose.evaluation.alignment import (
    MIDDLE_KNUCKLE,
    WRIST,
    BoolArray,
    FloatArray,
    align_pair,
    align_vertices,
)
from handpose.evaluation.functional import auc_scores, f_score
from handpose.evaluation.hand_metric import DEXYCB_AUC, MILLIMETRES, SAME_WITHIN, AucRange, HandMetric, select
from handpose.evaluation.pose import POSE_ALIGNMENTS
from handpose.evaluation.records import KEY_COLUMNS, SAMPLE_KEY, Columns, check_finite, pair_columns
from handpose.evaluation.spec import MetricSpec
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError, sample_name

MESH_COUNT = MetricSpec.counting('num_mesh_samples', 'meshes', in_table=False)
_error = partial(MetricSpec, unit='mm', lower_is_better=True, count=MESH_COUNT.name)
_share = partial(MetricSpec, lower_is_better=False, digits=4, count=MESH_COUNT.name)
MPVPE = {
    'pa': _error('pa_mpvpe_mm', 'PA-MPVPE'),
    'ra_wrist': _error('mpvpe_ra_wrist_mm', 'wrist-aligned MPVPE'),
    'ra_wrist_bone_scaled': _error('mpvpe_ra_wrist_bone_scaled_mm', 'wrist-aligned, bone-scaled MPVPE'),
    'cam': _error('mpvpe_cam_mm', 'MPVPE in camera space', in_table=False),
}
# {alignment: (prefix of the name, how the title ends)}
_F_SCORES = {
    'pa': ('pa_f_score', ' after Procrustes alignment'),
    'ra_wrist': ('f_score_ra_wrist', ', wrist-aligned'),
    'cam': ('f_score', ' in camera space'),
}


@METRICS.register_module()
class HandMeshMetric(HandMetric):
    """Errors of mesh vertices; prediction and target must both have `vertices` of the same hand model.

    Reports `mpvpe_cam_mm`, `mpvpe_ra_wrist_mm` (wrist joints subtracted), `mpvpe_ra_wrist_bone_scaled_mm` (the
    predicted vertices also scaled by the true over the predicted length of the joints' bone from wrist to middle
    knuckle: PDTM's MPVPE), `pa_mpvpe_mm` (fitted on the vertices);
    `auc_vertices_{cam,ra_wrist,pa}_<low>_<high>mm`, `f_score_{5,15}mm` (camera coordinates),
    `f_score_ra_wrist_{5,15}mm` and `pa_f_score_{5,15}mm` from 0 to 1; `num_mesh_samples` and `num_mesh_missing`.
    A hand whose joints are annotated and whose mesh is not (`hand_pose_valid` of the target False) is no mesh sample.
    Breakdowns by side and occlusion are named as in `HandPoseMetric`. Meshes are reduced at once and not kept.

    Args:
        auc_ranges: {'cam', 'ra_wrist' or 'pa': (lowest mm, highest mm, thresholds with both ends)}.
        f_score_thresholds: mm; an empty list saves most of the time (about 3 ms for each alignment of a hand).
        breakdowns: among 'side' and 'occlusion'.
        keep_records: path of an .npz file for the numbers of each sample, for paired comparisons; None writes none.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        ValueError: an unknown breakdown or label, or an empty range.
        SequenceError: while testing, meshes that are missing, of another hand model, or not finite; and see
            `pair_columns`.
    """

    fields = ('joints_3d', 'vertices')
    compared = (MPVPE['ra_wrist'].name, MPVPE['pa'].name)
    tolerance = SAME_WITHIN * MILLIMETRES
    counted = MESH_COUNT
    missed = MetricSpec.counting('num_mesh_missing', 'meshes without prediction', in_table=False)

    def __init__(
        self,
        auc_ranges: Mapping[str, AucRange] = DEXYCB_AUC,
        f_score_thresholds: Sequence[float] = (5, 15),
        breakdowns: Sequence[str] = ('side', 'occlusion'),
        keep_records: str | Path | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(auc_ranges, breakdowns, keep_records, collect_device)
        if 'joint' in breakdowns:
            raise ValueError("HandMeshMetric has no breakdown 'joint': its numbers are of vertices")
        self.f_score_thresholds = tuple(f_score_thresholds)

    def score_specs(self) -> list[MetricSpec]:
        """See `HandMetric.score_specs`."""
        specs = list(MPVPE.values())
        for label, (low, high, _) in self.auc_ranges.items():
            title = f'AUC of {MPVPE[label].title}, {low:g} to {high:g} mm'
            specs.append(_share(vertex_auc_name(label, low, high), title, in_table=False))
        for label, (_, ending) in _F_SCORES.items():
            for threshold in self.f_score_thresholds:
                title = f'F-score at {threshold:g} mm{ending}'
                specs.append(_share(f_score_name(label, threshold), title, in_table=label == 'pa'))
        return specs

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> Columns:
        """See `Metric.process_clip`."""
        columns = pair_columns(prediction, target)
        if target.hand_pose_valid is not None:
            t, h = columns['place'].T
            columns = select(columns, target.hand_pose_valid.detach().cpu().numpy()[t, h])
        t, h = columns['place'].T
        meshes = [MILLIMETRES * vertices[t, h] for vertices in _vertices_of(prediction, target)]
        return {name: columns[name] for name in KEY_COLUMNS} | self._clip_scores(columns, *meshes)

    def scores(self, columns: Columns) -> dict[str, FloatArray]:
        """See `HandMetric.scores`; (N, 1) each, as `process_clip` reduced them."""
        return {name: value[:, None] for name, value in columns.items() if name not in KEY_COLUMNS and name != 'track'}

    def _clip_scores(self, columns: Columns, prediction: FloatArray, target: FloatArray) -> dict[str, FloatArray]:
        """{name: (N,)} of one clip; NaN where the mesh, or a joint that the alignment needs, is not predicted.

        Args:
            columns: of the samples with a true mesh.
            prediction: predicted vertices (N, V, 3), mm.
            target: true vertices (N, V, 3), mm.
        """
        predicted, valid = columns['predicted'], columns['valid']
        sequence = {name: columns[name] for name in SAMPLE_KEY}
        for vertices, what in ((prediction, 'the predicted vertices'), (target, 'the true vertices')):
            check_finite({**sequence, 'vertices': vertices}, 'vertices', predicted[:, None], what)
        joints, true_joints = (
            MILLIMETRES * np.where(valid[..., None], columns[name], 0.0).astype(np.float64)
            for name in ('prediction', 'target')
        )
        scores: dict[str, FloatArray] = {}
        for label in ('cam', 'pa') if columns['absolute'] else ('pa',):
            aligned, true, _ = align_pair(prediction[predicted], target[predicted], None, POSE_ALIGNMENTS[label])
            scores |= self._scores_of(label, aligned, true, predicted)
        rows = valid[:, WRIST]
        aligned, true = align_vertices(prediction[rows], target[rows], joints[rows], true_joints[rows], 'wrist')
        scores |= self._scores_of('ra_wrist', aligned, true, rows)
        rows = rows & valid[:, MIDDLE_KNUCKLE]
        pairs = (prediction[rows], target[rows], joints[rows], true_joints[rows])
        aligned, true = align_vertices(*pairs, 'wrist_bone_scaled')
        errors = np.linalg.norm(aligned - true, axis=-1).mean(-1)
        return scores | {MPVPE['ra_wrist_bone_scaled'].name: _scatter(errors, rows)}

    def _scores_of(
        self, label: str, prediction: FloatArray, target: FloatArray, usable: BoolArray
    ) -> dict[str, FloatArray]:
        """{name: (N,)} of aligned meshes (n, V, 3), which are those of the n usable samples."""
        errors = np.linalg.norm(prediction - target, axis=-1)
        scores = {MPVPE[label].name: errors.mean(-1)}
        if label in self.auc_ranges:
            low, high, steps = self.auc_ranges[label]
            scores[vertex_auc_name(label, low, high)] = auc_scores(errors, low, high, steps).mean(-1)
        pairs = zip(prediction, target, strict=True) if self.f_score_thresholds else ()
        matched = np.array([f_score(*pair, self.f_score_thresholds) for pair in pairs])
        matched = matched.reshape(len(errors), len(self.f_score_thresholds))
        for i, threshold in enumerate(self.f_score_thresholds):
            scores[f_score_name(label, threshold)] = matched[:, i]
        return {name: _scatter(values, usable) for name, values in scores.items()}


def vertex_auc_name(label: str, low: float, high: float) -> str:
    """The name of the area under a PCK curve of vertices.

    Args:
        label: of the alignment, e.g. 'pa'.
        low: lowest threshold, mm.
        high: highest threshold, mm.
    """
    return f'auc_vertices_{label}_{low:g}_{high:g}mm'


def f_score_name(label: str, threshold: float) -> str:
    """The name of an F-score.

    Args:
        label: of the alignment: 'cam', 'ra_wrist' or 'pa'.
        threshold: mm.
    """
    return f'{_F_SCORES[label][0]}_{threshold:g}mm'


def _scatter(values: FloatArray, usable: BoolArray) -> FloatArray:
    """(N,) with `values` where usable and NaN elsewhere."""
    column = np.full(len(usable), np.nan)
    column[usable] = values
    return column


def _vertices_of(prediction: HandSequence, target: HandSequence) -> list[FloatArray]:
    """(T, H, V, 3) metres of prediction and target."""
    where = sample_name(target.meta)
    vertices = []
    for name, clip in (('prediction', prediction), ('target', target)):
        if clip.vertices is None:
            raise SequenceError(
                f'{where}: HandMeshMetric compares `vertices`, and the {name} has none; let the model predict vertices '
                f'(and give the target a hand model), or use HandPoseMetric alone'
            )
        vertices.append(clip.vertices.detach().cpu().double().numpy())
    if vertices[0].shape != vertices[1].shape:
        shapes = f'{vertices[0].shape} and {vertices[1].shape}'
        raise SequenceError(f'{where}: vertices of prediction and target are of different hand models: {shapes}')
    return vertices
