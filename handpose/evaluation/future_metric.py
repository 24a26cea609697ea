"""The base of metrics of forecasts: clips and joints that count, means of hands by side, records.

A sample is one hand of one forecast. Its key is (sequence, camera, frame, hand), where frame is the number of the last
observed frame. Legend: H hands.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handpose.evaluation.alignment import FloatArray
from handpose.evaluation.base import Metric
from handpose.evaluation.future_pairs import FuturePair, future_pair
from handpose.evaluation.records import SAMPLE_KEY, Columns, merge_columns
from handpose.evaluation.spec import MetricSpec
from handpose.evaluation.summary import sample_groups, sample_records, side_names, summarise, with_breakdowns
from handpose.hands import SIDE_LABELS
from handpose.hands.joints import COMMON_JOINTS
from handpose.structures import HandSequence, SequenceError

THUMB_BASE = 1  # not a part of G-HTT's motion representation, nor of Assembly101
BY_SIDE = ('side',)


class FutureMetric(Metric):
    """What the metrics of forecasts share: which clips and joints count, averages of hands by side, and records.

    Args:
        min_seconds: only clips whose true future lasts at least that long count; several durations give the numbers of
            each.
        left_out: joints (indices) that do not count, so that models with and without them are compared alike.
        keep_records: see `Metric`.
        collect_device: see `Metric`.

    Raises:
        ValueError: durations that are negative or repeated, or an index that is no joint.
    """

    record_key = SAMPLE_KEY

    def __init__(
        self,
        min_seconds: float | Sequence[float],
        left_out: Sequence[int],
        keep_records: str | Path | None,
        collect_device: str,
    ) -> None:
        super().__init__(keep_records, collect_device)
        if any(joint not in range(len(COMMON_JOINTS)) for joint in left_out):
            raise ValueError(
                f'{type(self).__name__}: left_out must hold joints from 0 to {len(COMMON_JOINTS) - 1}, got {left_out}'
            )
        self.min_seconds = checked_durations(min_seconds, type(self).__name__)
        self.left_out = list(left_out)

    @property
    def specs(self) -> tuple[MetricSpec, ...]:
        """See `Metric.specs`."""
        specs = self.score_specs()
        counts = dict.fromkeys(spec.count for spec in specs)
        counted = [MetricSpec.counting(name, 'hands of forecasts', name == self.counted) for name in counts if name]
        return (*with_breakdowns(specs, BY_SIDE), *with_breakdowns(counted, BY_SIDE), self._missed, self._num_samples)

    @property
    def counted(self) -> str:
        """Name of the number of hands."""
        return f'{self.stem}_hands{subset_suffix(self.min_seconds[0])}'

    @property
    def _missed(self) -> MetricSpec:
        name = f'{self.stem}_hands_missing{subset_suffix(self.min_seconds[0])}'
        return MetricSpec.counting(name, 'hands without forecast')

    @property
    def _num_samples(self) -> MetricSpec:
        name = f'{self.stem}_samples{subset_suffix(self.min_seconds[0])}'
        return MetricSpec.counting(name, 'samples of each forecast')

    def score_specs(self) -> list[MetricSpec]:
        """Specs of the numbers over all hands; `count` names the number of hands that each is of."""
        return [spec for seconds in self.min_seconds for spec in self.subset_specs(seconds)]

    @property
    @abstractmethod
    def stem(self) -> str:
        """How all names begin."""

    @abstractmethod
    def subset_specs(self, seconds: float) -> list[MetricSpec]:
        """Specs of the numbers over futures of at least a duration, named by `number_name`.

        Args:
            seconds: one of `min_seconds`.
        """

    @abstractmethod
    def hand_scores(self, pair: FuturePair) -> dict[str, FloatArray]:
        """The scores of each hand of a clip.

        Args:
            pair: its futures, in which joints that do not count are not valid.

        Returns:
            {first part of the name: (H,) mm}, NaN where a hand does not count; the same keys for all clips of a model.
        """

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> Columns:
        """See `Metric.process_clip`.

        Args:
            prediction: a clip with sampled futures.
            target: the same clip with its true future.

        Raises:
            SequenceError: see `future_pair`.
        """
        pair = self._only_counted(future_pair(prediction, target))
        annotated = pair.truth_valid.any((0, 2)) & pair.lasts(self.min_seconds[0])  # (H,)
        predicted = np.asarray((pair.sampled_valid & pair.truth_valid).any((1, 3)).all(0), bool)
        hands = int(annotated.sum())
        columns: Columns = {
            'sequence': pair.sequence,
            'camera': pair.camera,
            'absolute': pair.absolute,
            'samples': len(pair.sampled),
            'seconds': pair.duration,
            'frame': np.full(hands, pair.frame, np.int64),
            'hand': pair.hand_side[annotated],
            'occlusion': np.full(hands, np.nan),
            'predicted': predicted[annotated],
        }
        for key, score in self.hand_scores(pair).items() if hands else ():
            for seconds in self.min_seconds:
                columns[number_name(key, seconds)] = score[annotated] if pair.lasts(seconds) else np.full(hands, np.nan)
        return columns

    def reduce(self, results: list[Columns]) -> dict[str, float]:
        """See `Metric.reduce`.

        Args:
            results: columns of all clips.

        Raises:
            SequenceError: no clip counts, no hand was predicted, or clips with different numbers of samples.
        """
        counted = [columns for columns in results if len(columns['frame'])]
        if not counted:
            longest = max((columns['seconds'] for columns in results), default=0.0)
            raise SequenceError(
                f'{type(self).__name__}: none of {len(results)} forecasts counts; expected futures of at least '
                f'{self.min_seconds[0]:g} s with an annotated hand, and the longest is {longest:.2f} s: lower '
                f'min_seconds or raise max_future of ForecastSegments'
            )
        samples = sorted({columns['samples'] for columns in counted})
        if len(samples) > 1:
            raise SequenceError(f'{type(self).__name__}: forecasts of {samples} samples cannot be averaged together')
        columns = merge_columns(counted, (), 0.0)
        predicted = columns['predicted']
        if not predicted.any():
            raise SequenceError(f'{type(self).__name__}: no annotated hand was forecast; is joints_valid all False?')
        columns = {n: value[predicted] if isinstance(value, np.ndarray) else value for n, value in columns.items()}
        scores = {spec.name: columns[spec.name][:, None] for spec in self.score_specs() if spec.name in columns}
        self.set_records(sample_records(columns, scores))
        numbers = summarise(columns, scores, BY_SIDE, self.counted) | self._counts(columns, scores)
        return numbers | {self._missed.name: float((~predicted).sum()), self._num_samples.name: float(samples[0])}

    def _counts(self, columns: Columns, scores: dict[str, FloatArray]) -> dict[str, float]:
        """{count or 'count/group': hands} of numbers that not all hands have."""
        rows = {'': np.ones(len(columns['hand']), bool)}
        sides = sample_groups(side_names(columns['hand']), columns['occlusion'])
        rows |= {f'/{side}': sides[side] for side in SIDE_LABELS}
        counts: dict[str, float] = {}
        for spec in self.score_specs():
            if spec.name in scores and spec.count not in (None, self.counted):
                known = ~np.isnan(scores[spec.name][:, 0])
                counts |= {f'{spec.count}{group}': float((known & of).sum()) for group, of in rows.items() if of.any()}
        return counts

    def _only_counted(self, pair: FuturePair) -> FuturePair:
        sampled_valid, truth_valid = pair.sampled_valid.copy(), pair.truth_valid.copy()
        sampled_valid[..., self.left_out] = truth_valid[..., self.left_out] = False
        return pair._replace(sampled_valid=sampled_valid, truth_valid=truth_valid)


def subset_suffix(min_seconds: float) -> str:
    """What the names of numbers over long futures have, '_over_1s' for example; empty for all futures.

    Args:
        min_seconds: least duration.
    """
    return f'_over_{min_seconds:g}s' if min_seconds else ''


def subset_title(min_seconds: float) -> str:
    """What the titles of numbers over long futures end in; empty for all futures.

    Args:
        min_seconds: least duration.
    """
    return f', futures of at least {min_seconds:g} s' if min_seconds else ''


def number_name(key: str, min_seconds: float) -> str:
    """The name of a number in mm over futures of at least a duration.

    Args:
        key: first part of the name.
        min_seconds: least duration.
    """
    return f'{key}{subset_suffix(min_seconds)}_mm'


def checked_durations(min_seconds: float | Sequence[float], what: str) -> tuple[float, ...]:
    """Checks durations of futures.

    Args:
        min_seconds: one or several, in seconds.
        what: names the metric in the error message.

    Returns:
        The durations, rising.

    Raises:
        ValueError: none, negative or repeated ones.
    """
    durations = tuple(min_seconds) if isinstance(min_seconds, Sequence) else (min_seconds,)
    if not durations or not all(seconds >= 0 for seconds in durations) or len(set(durations)) < len(durations):
        raise ValueError(f'{what}: min_seconds must be one or several different durations from 0, got {min_seconds}')
    return tuple(sorted(durations))
