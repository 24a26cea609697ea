"""Errors of 3D joints.

Names of the numbers state how the prediction was aligned before comparing: `cam` not at all (camera coordinates),
`ra_wrist` both relative to their wrists, `ra_wrist_bone_scaled` also scaled to the true length of the bone from wrist
to middle knuckle, `ra_wrist_palm_scaled` to the true mean length of the bones from wrist to finger knuckles, `pa`
Procrustes with reflection allowed (as the official evaluators), `pa_..._rotation` Procrustes without reflection.
Numbers in camera coordinates are absent for predictions relative to the wrist.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from handpose.evaluation.alignment import WRIST, FloatArray, align_pair
from handpose.evaluation.functional import acceleration_errors, auc_scores, pck_scores, point_errors
from handpose.evaluation.hand_metric import CURVE_LABELS, DEXYCB_AUC, MILLIMETRES, AucRange, HandMetric
from handpose.evaluation.records import Columns, pair_columns
from handpose.evaluation.spec import MetricSpec
from handpose.evaluation.summary import BREAKDOWNS
from handpose.registry import METRICS
from handpose.structures import HandSequence

POSE_ALIGNMENTS = {
    'pa': 'procrustes',
    'pa_rotation': 'procrustes_rotation',
    'ra_wrist': 'wrist',
    'ra_wrist_bone_scaled': 'wrist_bone_scaled',
    'cam': 'none',
}
PALM_SCALED = 'ra_wrist_palm_scaled'
HAND_COUNT = MetricSpec.counting('num_samples', 'hands')
_error = partial(MetricSpec, unit='mm', lower_is_better=True, count=HAND_COUNT.name)
_share = partial(MetricSpec, lower_is_better=False, digits=4, count=HAND_COUNT.name)
MPJPE = {
    'pa': _error('pa_mpjpe_mm', 'PA-MPJPE', headline=True, table_breakdowns=('occlusion', 'side'), curve_max=50),
    'pa_rotation': _error('pa_mpjpe_rotation_mm', 'PA-MPJPE without reflection'),
    'ra_wrist': _error('mpjpe_ra_wrist_mm', 'wrist-aligned MPJPE', headline=True, curve_max=100),
    'ra_wrist_bone_scaled': _error('mpjpe_ra_wrist_bone_scaled_mm', 'wrist-aligned, bone-scaled MPJPE'),
    'cam': _error('mpjpe_cam_mm', 'MPJPE in camera space', table_breakdowns=('side',), curve_max=100),
}
MPJPE_PALM_SCALED = _error(
    f'mpjpe_{PALM_SCALED}_mm', 'wrist-aligned, palm-scaled MPJPE', headline=True, table_breakdowns=('side',)
)
ACCELERATION = _error('accel_error_mm_per_frame2', 'acceleration error', unit='mm/frame²', headline=True)
ACCELERATION_CAM = _error('accel_error_cam_mm_per_frame2', 'acceleration error in camera space', unit='mm/frame²')


@METRICS.register_module()
class HandPoseMetric(HandMetric):
    """Errors of 3D joints; each annotated hand in each frame counts once.

    Reports `mpjpe_cam_mm`, `mpjpe_ra_wrist_mm`, `mpjpe_ra_wrist_bone_scaled_mm`, `pa_mpjpe_mm`, `pa_mpjpe_rotation_mm`;
    `auc_{cam,ra_wrist,pa}_<low>_<high>mm` and `pck_{cam,ra_wrist,pa}_<threshold>mm` from 0 to 1;
    `accel_error_cam_mm_per_frame2` and, relative to the wrist, `accel_error_mm_per_frame2`, over triples of
    consecutive frames of re-assembled tracks; `num_samples`; `num_missing`, annotated hands that reached the metric
    without a prediction; and `num_missing_joints`, annotated joints of the other hands without one. What is missing
    enters no mean, so compare models only where both counts are equal. All but these two are also given as
    `<name>/left`, `/right`, `/occlusion_25_50` (percent hidden), ... and, counts aside, `/joint_<name>`, where there
    are any.

    A hand of a multi-view clip counts once; for the key of a sample see `handpose.evaluation.records`.

    Args:
        auc_ranges: {'cam', 'ra_wrist' or 'pa': (lowest mm, highest mm, thresholds with both ends)}.
        pck_thresholds: mm.
        count_wrist: False leaves the wrist, whose error is zero after wrist alignment, out of the `ra_wrist` numbers,
            which are then named `ra_wrist_20_joints` (HTT's protocol, which also reports each side).
        palm_scaled: also reports `mpjpe_ra_wrist_palm_scaled_mm`, as a headline: wrist-aligned, after the mean length
            of the palm's bones was made equal to the true one, the MPJPE-RA of G-HTT (arXiv 2311.17366, section 4.2).
            Procrustes alignment fits the scale anyway, so its MPJPE-PA is `pa_mpjpe_mm`.
        breakdowns: among 'side', 'occlusion' and 'joint'.
        keep_records: path of an .npz file for the numbers of each sample, for paired comparisons; None writes none.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        ValueError: an unknown breakdown or label, or an empty range.
        SequenceError: while testing, a pair that cannot be compared, or a valid joint that is NaN or infinite; see
            `pair_columns`.
    """

    fields = ('joints_3d',)
    compared = ('valid', 'prediction', 'target')
    counted = HAND_COUNT
    missed = MetricSpec.counting('num_missing', 'hands without prediction')
    missed_joints = MetricSpec.counting('num_missing_joints', 'joints without prediction')

    def __init__(
        self,
        auc_ranges: Mapping[str, AucRange] = DEXYCB_AUC,
        pck_thresholds: Sequence[float] = (20,),
        count_wrist: bool = True,
        palm_scaled: bool = False,
        breakdowns: Sequence[str] = tuple(BREAKDOWNS),
        keep_records: str | Path | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(auc_ranges, breakdowns, keep_records, collect_device)
        self.pck_thresholds = tuple(pck_thresholds)
        self.count_wrist = count_wrist
        self.palm_scaled = palm_scaled

    @property
    def specs(self) -> tuple[MetricSpec, ...]:
        """See `Metric.specs`."""
        return (*super().specs, self.missed_joints)

    def score_specs(self) -> list[MetricSpec]:
        """See `HandMetric.score_specs`."""
        sides = () if self.count_wrist else ('side',)
        palm_scaled = [MPJPE_PALM_SCALED] if self.palm_scaled else []
        specs = [*MPJPE.values(), *palm_scaled, ACCELERATION, ACCELERATION_CAM]
        for label, (low, high, _) in self.auc_ranges.items():
            title = f'AUC of {MPJPE[label].title}, {low:g} to {high:g} mm'
            specs.append(_share(auc_name(label, low, high), title, table_breakdowns=sides))
        for label in CURVE_LABELS:
            for threshold in self.pck_thresholds:
                title = f'PCK of {MPJPE[label].title} at {threshold:g} mm'
                specs.append(_share(_pck_name(label, threshold), title, in_table=False))
        return specs if self.count_wrist else [_spec_without_wrist(spec) for spec in specs]

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> Columns:
        """See `Metric.process_clip`."""
        columns = pair_columns(prediction, target)
        del columns['place']
        return columns

    def counts(self, columns: Columns) -> dict[str, float]:
        """See `HandMetric.counts`."""
        return {self.missed_joints.name: float(columns['lacking'].sum())}

    def scores(self, columns: Columns) -> dict[str, FloatArray]:
        """See `HandMetric.scores`; (N, 21) each."""
        prediction, target = (MILLIMETRES * columns[name].astype(np.float64) for name in ('prediction', 'target'))
        errors = {
            label: point_errors(prediction, target, columns['valid'], alignment)
            for label, alignment in POSE_ALIGNMENTS.items()
            if columns['absolute'] or label != 'cam'
        }
        scores = {MPJPE[label].name: error for label, error in errors.items()}
        if self.palm_scaled:
            scores[MPJPE_PALM_SCALED.name] = point_errors(prediction, target, columns['valid'], 'wrist_palm_scaled')
        for label, (low, high, steps) in self.auc_ranges.items():
            if label in errors:
                scores[auc_name(label, low, high)] = auc_scores(errors[label], low, high, steps)
        for label in CURVE_LABELS:
            for threshold in self.pck_thresholds if label in errors else ():
                scores[_pck_name(label, threshold)] = pck_scores(errors[label], threshold)
        scores |= _acceleration_scores(columns, prediction, target)
        return scores if self.count_wrist else _without_wrist(scores)


def auc_name(label: str, low: float, high: float) -> str:
    """The name of the area under a PCK curve.

    Args:
        label: of the alignment, e.g. 'pa'.
        low: lowest threshold, mm.
        high: highest threshold, mm.
    """
    return f'auc_{label}_{low:g}_{high:g}mm'


def _pck_name(label: str, threshold: float) -> str:
    return f'pck_{label}_{threshold:g}mm'


def _acceleration_scores(columns: Columns, prediction: FloatArray, target: FloatArray) -> dict[str, FloatArray]:
    frames, tracks, valid = columns['frame'], columns['track'], columns['valid']
    scores = {}
    if columns['absolute']:
        scores[ACCELERATION_CAM.name] = acceleration_errors(prediction, target, frames, tracks, valid)
    prediction, target, valid = align_pair(prediction, target, valid, alignment='wrist')
    scores[ACCELERATION.name] = acceleration_errors(prediction, target, frames, tracks, valid)
    return scores


def _name_without_wrist(name: str) -> str:
    return name.replace('ra_wrist', 'ra_wrist_20_joints')


def _spec_without_wrist(spec: MetricSpec) -> MetricSpec:
    if 'ra_wrist' not in spec.name:
        return spec
    return replace(
        spec,
        name=_name_without_wrist(spec.name),
        title=spec.title.replace('MPJPE', 'MPJPE of 20 joints'),
        table_breakdowns=('side',) if spec.headline else spec.table_breakdowns,
        curve_max=None if spec.curve_max is None else 50,
    )


def _without_wrist(scores: dict[str, FloatArray]) -> dict[str, FloatArray]:
    kept = {}
    for name, score in scores.items():
        if 'ra_wrist' in name:
            score = score.copy()
            score[:, WRIST] = np.nan
        kept[_name_without_wrist(name)] = score
    return kept
