"""Errors and diversity of forecasts: what a model says the future of a clip is, against what followed.

Legend: S sampled futures of a clip, T future frames, H hands, J joints.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handpose.evaluation.alignment import WRIST, BoolArray, FloatArray
from handpose.evaluation.functional import nan_mean
from handpose.evaluation.future_metric import (
    BY_SIDE,
    THUMB_BASE,
    FutureMetric,
    number_name,
    subset_suffix,
    subset_title,
)
from handpose.evaluation.future_pairs import TIME_TOLERANCE, FuturePair
from handpose.evaluation.motion_distance import NORMS, average_pairwise_distance
from handpose.evaluation.spec import MetricSpec
from handpose.registry import METRICS
from handpose.structures import SequenceError

HORIZONS = (0.25, 0.5, 1.0, 2.0)  # seconds
FIRST_FRAMES = 16  # frames of a clip of G-HTT


@METRICS.register_module()
class ForecastMetric(FutureMetric):
    """Errors of forecasts: the mean distance of joints, per frame and hand, averaged over frames and samples.

    Reports `forecast_mpjpe_16_frames_mm` over the first 16 frames (the headline), `forecast_mpjpe_mm` over the whole
    future, and `forecast_mpjpe_at_<seconds>s_mm` of the first frame at or after each horizon; each also with
    `_ra_wrist`, both relative to their wrists, which count with an error of 0 (a second headline). Only futures that
    have 16 frames, or reach a horizon, count there: `forecast_hands`, `forecast_hands_16_frames` and
    `forecast_hands_at_<seconds>s` say how many hands that are. All are given for each side too, `<name>/left` and
    `/right`. Numbers that are not relative to the wrist are absent for forecasts that are.

    With several samples these are means over the samples, and `forecast_best_mpjpe...` is the error of the best one:
    that with the smallest mean error of both hands, chosen anew for each number (best-of-S). `forecast_samples` is S.
    `forecast_hands_missing` counts annotated hands without a forecast, which enter no mean: compare models where it is
    equal.

    Args:
        horizons: seconds after the last observed frame.
        first_frames: how many frames the headline is over.
        min_seconds: only true futures of at least this duration count; with a value above 0 all names say so
            (`forecast_mpjpe_over_1s_mm`). Several durations, such as (0, 1, 2), give the numbers of each; errors at
            horizons are those of the shortest.
        left_out: joints (indices) that do not count; by default the base of the thumb, which not all models have.
        keep_records: path of an .npz file for the numbers of each hand of each forecast; None writes none.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        ValueError: horizons that do not increase from above 0, or `first_frames` below 1; and see `FutureMetric`.
        SequenceError: while testing, futures that cannot be compared; see `future_pair`.
    """

    def __init__(
        self,
        horizons: Sequence[float] = HORIZONS,
        first_frames: int = FIRST_FRAMES,
        min_seconds: float | Sequence[float] = 0.0,
        left_out: Sequence[int] = (THUMB_BASE,),
        keep_records: str | Path | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(min_seconds, left_out, keep_records, collect_device)
        self.horizons = tuple(horizons)
        self.first_frames = first_frames
        if first_frames < 1 or any(b <= a for a, b in zip((0.0, *self.horizons), self.horizons, strict=False)):
            raise ValueError(
                f'ForecastMetric: horizons must increase from above 0 and first_frames must be at least 1, got '
                f'{horizons} and {first_frames}'
            )

    @property
    def stem(self) -> str:
        """See `FutureMetric.stem`."""
        return 'forecast'

    def subset_specs(self, seconds: float) -> list[MetricSpec]:
        """See `FutureMetric.subset_specs`."""
        main = f'_{self.first_frames}_frames'
        titles = {main: f'error of the next {self.first_frames} frames', '': 'error'}
        if seconds == self.min_seconds[0]:
            titles |= {f'_at_{horizon:g}s': f'error after {horizon:g} s' for horizon in self.horizons}
        return [
            MetricSpec(
                number_name(self._key(part, aligned, best), seconds),
                f'forecast {title}{", wrist-aligned" * aligned}{", best sample" * best}{subset_title(seconds)}',
                'mm',
                lower_is_better=True,
                headline=part == main and not best and not seconds,
                table_breakdowns=BY_SIDE if part == main and not best else (),
                count=f'{self.stem}_hands{part}{subset_suffix(seconds)}',
            )
            for best in (False, True)
            for part, title in titles.items()
            for aligned in (False, True)
        ]

    def _key(self, part: str, aligned: bool, best: bool) -> str:
        return f'{self.stem}{"_best" * best}_mpjpe{part}{"_ra_wrist" * aligned}'

    def hand_scores(self, pair: FuturePair) -> dict[str, FloatArray]:
        """See `FutureMetric.hand_scores`."""
        scores = {}
        for aligned in (False, True) if pair.absolute else (True,):
            errors = frame_errors(pair, aligned)  # (S, T, H)
            for part, frames in self._parts(pair).items():
                of_samples = nan_mean(errors[:, frames], axis=1)  # (S, H)
                scores[self._key(part, aligned, best=False)] = nan_mean(of_samples, axis=0)
                if len(errors) > 1:
                    total = nan_mean(of_samples, axis=1)
                    best = 0 if np.isnan(total).all() else int(np.nanargmin(total))
                    scores[self._key(part, aligned, best=True)] = of_samples[best]
        return scores

    def _parts(self, pair: FuturePair) -> dict[str, BoolArray]:
        """{part of the name: (T,) bool}, the frames that enter each number; none where the future is too short."""
        position = np.arange(len(pair.seconds))
        enough = len(position) >= self.first_frames
        parts = {f'_{self.first_frames}_frames': pair.present & (position < self.first_frames) & enough}
        parts[''] = pair.present
        for horizon in self.horizons:
            reached = pair.present & (pair.seconds >= horizon - TIME_TOLERANCE)
            at = reached & (np.cumsum(reached) == 1) & (pair.seconds < horizon + pair.period - TIME_TOLERANCE)
            parts[f'_at_{horizon:g}s'] = at
        return parts


@METRICS.register_module()
class APDMetric(FutureMetric):
    """Diversity of sampled futures: the average pairwise distance (APD) of the samples of each hand.

    Reports `apd_mm` of absolute positions (the headline) and `apd_ra_wrist_mm` relative to the wrist of each frame, or
    `apd_flat_mm` and `apd_flat_ra_wrist_mm`, with left and right hands. Samples are compared over the frames of the
    true future and the hands that are annotated in it. Larger is more diverse, which is no merit by itself: read it
    beside `ForecastMetric` and `MotionFID`. G-HTT (arXiv 2311.17366, Tables 2 to 4) states millimetres from 17 to 53,
    which fit 'per_joint'.

    Args:
        norm: 'per_joint' or 'flat', see `average_pairwise_distance`.
        min_seconds: only true futures of at least this duration count; with a value above 0 all names say so. Several
            durations, such as (0, 1, 2), give the numbers of each.
        left_out: joints (indices) that do not count; by default the base of the thumb.
        keep_records: path of an .npz file for the numbers of each hand of each forecast; None writes none.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        ValueError: an unknown norm; and see `FutureMetric`.
        SequenceError: while testing, forecasts of fewer than two samples, or that cannot be compared.
    """

    min_samples = 2

    def __init__(
        self,
        norm: str = 'per_joint',
        min_seconds: float | Sequence[float] = 0.0,
        left_out: Sequence[int] = (THUMB_BASE,),
        keep_records: str | Path | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(min_seconds, left_out, keep_records, collect_device)
        if norm not in NORMS:
            raise ValueError(f'norm must be one of {NORMS}, got {norm!r}')
        self.norm = norm

    @property
    def stem(self) -> str:
        """See `FutureMetric.stem`."""
        return 'apd' if self.norm == 'per_joint' else 'apd_flat'

    def subset_specs(self, seconds: float) -> list[MetricSpec]:
        """See `FutureMetric.subset_specs`."""
        flat = '' if self.norm == 'per_joint' else ', flattened'
        return [
            MetricSpec(
                number_name(self._key(aligned), seconds),
                f'average pairwise distance{flat}{", wrist-aligned" * aligned}{subset_title(seconds)}',
                'mm',
                lower_is_better=False,
                headline=not aligned and not seconds,
                table_breakdowns=BY_SIDE,
                count=f'{self.stem}_hands{subset_suffix(seconds)}',
            )
            for aligned in (False, True)
        ]

    def _key(self, aligned: bool) -> str:
        return f'{self.stem}{"_ra_wrist" * aligned}'

    def hand_scores(self, pair: FuturePair) -> dict[str, FloatArray]:
        """See `FutureMetric.hand_scores`."""
        if len(pair.sampled) < self.min_samples:
            raise SequenceError(
                f'{pair.name}: APDMetric needs at least two sampled futures of each clip, got {len(pair.sampled)}; set '
                f'test_samples=20 in the model of the config'
            )
        scores = {}
        for aligned in (False, True) if pair.absolute else (True,):
            points, valid = relative_to_wrist(pair.sampled, pair.sampled_valid, aligned)
            apart = [
                average_pairwise_distance(points[:, :, h], valid[:, :, h], self.norm)
                for h in range(len(pair.hand_side))
            ]
            scores[self._key(aligned)] = np.array(apart)
        return scores


def frame_errors(pair: FuturePair, aligned: bool) -> FloatArray:
    """Mean distance of the joints of each sample, frame and hand, in mm.

    Args:
        pair: of futures.
        aligned: whether positions are taken relative to the wrists.

    Returns:
        (S, T, H), NaN where no joint is valid in both.
    """
    sampled, sampled_valid = relative_to_wrist(pair.sampled, pair.sampled_valid, aligned)
    truth, truth_valid = relative_to_wrist(pair.truth, pair.truth_valid, aligned)
    distance = np.linalg.norm(sampled - truth, axis=-1)
    return nan_mean(np.where(sampled_valid & truth_valid, distance, np.nan), axis=-1)


def relative_to_wrist(points: FloatArray, valid: BoolArray, aligned: bool) -> tuple[FloatArray, BoolArray]:
    """Subtracts the wrist of each frame from its joints.

    Args:
        points: (..., J, 3).
        valid: (..., J).
        aligned: False returns both as they are.

    Returns:
        The joints, and which are valid: none where the wrist is not.
    """
    if not aligned:
        return points, valid
    return points - points[..., WRIST : WRIST + 1, :], valid & valid[..., WRIST : WRIST + 1]
