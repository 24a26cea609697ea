"""What the metrics of joints and of meshes share: samples that count once, breakdowns and records."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from handpose.evaluation.alignment import FloatArray
from handpose.evaluation.base import Metric
from handpose.evaluation.functional import auc_scores
from handpose.evaluation.records import SAMPLE_KEY, Columns, merge_columns
from handpose.evaluation.spec import MetricSpec
from handpose.evaluation.summary import BREAKDOWNS, sample_records, summarise, with_breakdowns
from handpose.structures import SequenceError

MILLIMETRES = 1000.0
# A repeated sample may come from a batch of another size, where kernels round differently. The predictions of one frame
# in two windows differ by far more somewhere in a test set.
SAME_WITHIN = 1e-3  # metres
CURVE_LABELS = ('pa', 'ra_wrist', 'cam')
AucRange = tuple[float, float, int]  # lowest mm, highest mm, thresholds with both ends
AUC_RANGE: AucRange = (0, 50, 100)  # of DexYCB, HO3D and FreiHAND
DEXYCB_AUC: dict[str, AucRange] = dict.fromkeys(CURVE_LABELS, AUC_RANGE)


class HandMetric(Metric):
    """Scores of samples (hands in frames), averaged over all samples and over the groups of breakdowns.

    Args:
        auc_ranges: {'cam', 'ra_wrist' or 'pa': (lowest mm, highest mm, thresholds with both ends)}.
        breakdowns: among 'side', 'occlusion' and 'joint'.
        keep_records: see `Metric`.
        collect_device: see `Metric`.

    Raises:
        ValueError: an unknown breakdown or label, or an empty range.
    """

    record_key = SAMPLE_KEY
    compared: ClassVar[tuple[str, ...]] = ()  # columns in which repeats of a sample must agree
    tolerance: ClassVar[float] = SAME_WITHIN  # in the unit of those columns
    counted: ClassVar[MetricSpec]  # the number of samples
    missed: ClassVar[MetricSpec]  # the number of annotated hands without a prediction

    def __init__(
        self,
        auc_ranges: Mapping[str, AucRange],
        breakdowns: Sequence[str],
        keep_records: str | Path | None,
        collect_device: str,
    ) -> None:
        super().__init__(keep_records, collect_device)
        unknown = sorted(set(breakdowns) - set(BREAKDOWNS))
        if unknown:
            raise ValueError(f'breakdowns must be among {tuple(BREAKDOWNS)}, got {unknown[0]!r}')
        for label, (low, high, steps) in auc_ranges.items():
            if label not in CURVE_LABELS:
                raise ValueError(f'auc_ranges may have the keys {CURVE_LABELS}, got {label!r}')
            auc_scores(np.zeros(1), low, high, steps)  # refuses a bad range now, not after the test run
        self.auc_ranges = {label: auc_ranges[label] for label in CURVE_LABELS if label in auc_ranges}
        self.breakdowns = tuple(breakdowns)

    @property
    def specs(self) -> tuple[MetricSpec, ...]:
        """See `Metric.specs`."""
        of_hands = [breakdown for breakdown in self.breakdowns if breakdown != 'joint']
        counts = with_breakdowns([self.counted], of_hands)
        return (*with_breakdowns(self.score_specs(), self.breakdowns), *counts, self.missed)

    @abstractmethod
    def score_specs(self) -> list[MetricSpec]:
        """Specs of the numbers over all samples that `scores` gives."""

    @abstractmethod
    def scores(self, columns: Columns) -> dict[str, FloatArray]:
        """The scores of samples, whose means are reported.

        Args:
            columns: of the N predicted samples, as `merge_columns` gives them.

        Returns:
            {name: (N, J) or (N, 1)}, NaN where a sample does not count.
        """

    def counts(self, columns: Columns) -> dict[str, float]:
        """Other counts over the predicted samples.

        Args:
            columns: of the predicted samples, as `merge_columns` gives them.

        Returns:
            {name: count}.
        """
        return {}

    def reduce(self, results: list[Columns]) -> dict[str, float]:
        """See `Metric.reduce`.

        Args:
            results: columns of all clips.

        Raises:
            SequenceError: no annotated hand was predicted; and see `merge_columns`.
        """
        columns = merge_columns(results, self.compared, self.tolerance)
        predicted = columns['predicted']
        if not predicted.any():
            raise SequenceError(f'{type(self).__name__}: no annotated hand was predicted; is joints_valid all False?')
        columns = select(columns, predicted)
        scores = self.scores(columns)
        curves = [spec.name for spec in self.score_specs() if spec.curve_max is not None]
        self.set_records(sample_records(columns, scores, curves))
        numbers = summarise(columns, scores, self.breakdowns, self.counted.name)
        return {**numbers, self.missed.name: float((~predicted).sum()), **self.counts(columns)}


def select(columns: Columns, rows: Any) -> Columns:
    """Some of the samples.

    Args:
        columns: of N samples.
        rows: (N,) bool.
    """
    return {name: value[rows] if isinstance(value, np.ndarray) else value for name, value in columns.items()}
