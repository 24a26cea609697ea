"""Recognised actions and objects: accuracies of videos, verbs and pairs of actions, and of objects in frames.

Legend: N videos, A actions, T frames, O object classes.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from handpose.evaluation.alignment import BoolArray, FloatArray
from handpose.evaluation.base import Metric
from handpose.evaluation.functional import nan_mean
from handpose.evaluation.spec import MetricSpec
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError, sample_name
from handpose.text import did_you_mean

# A repeated video may come from a batch of another size, where kernels round differently.
SAME_WITHIN = 1e-3
KEY = ('sequence', 'camera')
VideoRow: TypeAlias = dict[str, Any]  # see `video_row`

VIDEOS = MetricSpec.counting('num_videos', 'videos')
UNLABELLED = MetricSpec.counting('num_unlabelled_videos', 'videos without label', in_table=False)
UNSCORED = MetricSpec.counting('num_videos_without_scores', 'videos without scores', in_table=False)


def _accuracy(name: str, title: str, headline: bool = False, count: str | None = VIDEOS.name) -> MetricSpec:
    return MetricSpec(name, title, lower_is_better=False, headline=headline, digits=4, count=count)


ACTION = _accuracy('action_accuracy', 'action accuracy', headline=True)
PER_CLASS = _accuracy('action_accuracy_per_class', 'action accuracy per class')
VERB = _accuracy('verb_accuracy', 'verb accuracy')
OBJECT = _accuracy('object_accuracy', 'object accuracy', count=None)
PAIR = _accuracy('pair_accuracy', 'pair accuracy', count=None)
ACTION_IN_PAIRS = ACTION.of_group('pairs', 'videos of pairs', in_table=True)


@METRICS.register_module()
class ActionMetric(Metric):
    """Accuracy of the recognised action of each video; each video counts once, with the scores of its clips combined.

    Reports, from 0 to 1, `action_accuracy` (top 1; a video whose best score is shared by several actions is wrong),
    `action_accuracy_top<k>`, `action_accuracy_per_class` (mean over the actions that occur),
    `action_accuracy/<class>` of the actions in `per_class`, `verb_accuracy` (the verb of the best action);
    `pair_accuracy`, over the videos of either action of a pair, whether the true one has the larger score of the two,
    also `/<one>|<other>` for each pair, and `action_accuracy/pairs`, top 1 of all actions in the same videos;
    `object_accuracy` of annotated frames. And `num_videos`, which were scored, and, where there are any,
    `num_unlabelled_videos` and `num_videos_without_scores`.
    Videos without a label are not scored; if all are, a warning says so. For an estimator that recognises no actions (a
    constant hand) only the counts are reported.

    Args:
        pairs: [(action, action), ...] by name.
        top: k of the second accuracy, which is left out where the dataset has no more actions than that.
        per_class: names of actions whose own accuracy is reported too.
        keep_records: path of an .npz file for the scores of each video, see `records`; None writes none.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Attributes:
        records: after evaluating, {name: array} of the labelled videos: 'sequence', 'camera', 'label', 'predicted'
            (N,), 'scores' (N, A), 'actions' (A,) the names, and (N,) of each number above, NaN where it does not count.

    Raises:
        ValueError: `top` is below 1, or a pair does not hold two actions.
        SequenceError: while testing, a label or a number of scores that does not fit the dataset's actions, a pair or
            `per_class` that names another action, scores that are not finite, an object label without a score, or a
            video that was predicted twice with different scores.
    """

    record_key = (*KEY, 'label')

    def __init__(
        self,
        pairs: Sequence[Sequence[str]] = (),
        top: int = 5,
        per_class: Sequence[str] | Mapping[str, Any] | None = None,
        keep_records: str | Path | None = None,
        collect_device: str = 'cpu',
    ) -> None:
        if top < 1 or any(len(pair) != 2 or pair[0] == pair[1] for pair in pairs):
            raise ValueError(f'top must be at least 1 and pairs must hold two actions each, got {top} and {pairs}')
        super().__init__(keep_records, collect_device)
        self.pairs = [(one, other) for one, other in pairs]
        self.top = top
        self.per_class = list(per_class or ())

    @property
    def specs(self) -> tuple[MetricSpec, ...]:
        """See `Metric.specs`."""
        of_pairs = [
            PAIR,
            ACTION_IN_PAIRS,
            *(PAIR.of_group(_pair_group(pair), ' or '.join(pair)) for pair in self.pairs),
        ]
        return (
            *(ACTION, PER_CLASS, self._top_spec(), *(of_pairs if self.pairs else ()), VERB, OBJECT),
            *(VIDEOS, UNLABELLED, UNSCORED),
            *(ACTION.of_group(name, name, in_table=True) for name in self.per_class),
        )

    def _top_spec(self) -> MetricSpec:
        return _accuracy(f'{ACTION.name}_top{self.top}', f'{ACTION.title}, top {self.top}')

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> VideoRow:
        """See `Metric.process_clip`."""
        names = action_names(self.dataset_meta)
        self._labels_of_pairs(names)  # refuses a wrong name now, not after the test run
        return video_row(prediction, target, names)

    def reduce(self, results: list[VideoRow]) -> dict[str, float]:
        """See `Metric.reduce`.

        Args:
            results: rows of all videos.
        """
        rows = merge_videos(results)
        without = sum(row['scores'] is None for row in rows)
        if 0 < without < len(rows):
            lacking = next(row for row in rows if row['scores'] is None)
            raise SequenceError(f'{lacking["name"]} was predicted without action_scores, and other videos with them')
        labelled = [row for row in rows if row['label'] >= 0]
        numbers = {VIDEOS.name: float(0 if without else len(labelled))}
        if len(labelled) < len(rows):
            numbers[UNLABELLED.name] = float(len(rows) - len(labelled))
        numbers |= _object_accuracy(rows)
        if without:
            return numbers | {UNSCORED.name: float(without)}
        if not labelled:
            print_log(
                f'none of the {len(rows)} videos has an action label (H2O withholds those of its test split), so no '
                f'action accuracy is reported; `handpose test --results FILE` writes what the server scores',
                logger='current',
                level=logging.WARNING,
            )
            return numbers
        return self._accuracies(labelled) | numbers

    def _accuracies(self, rows: list[VideoRow]) -> dict[str, float]:
        """{name: number} of labelled videos; keeps their records."""
        columns = {name: np.array([row[name] for row in rows]) for name in self.record_key}
        scores = np.array([row['scores'] for row in rows])  # (N, A)
        hits = self._hits(scores, columns['label'])
        numbers = {name: float(nan_mean(values)) for name, values in hits.items()}
        of_action = [hits[ACTION.name][columns['label'] == label].mean() for label in set(columns['label'])]
        numbers[PER_CLASS.name] = float(np.mean(of_action))
        numbers |= self._accuracy_of_classes(hits[ACTION.name], columns['label'])
        right, counted = np.array([row['objects'] for row in rows], float).T
        hits[OBJECT.name] = np.where(counted > 0, right / np.maximum(counted, 1), np.nan)
        names = action_names(self.dataset_meta) or list(map(str, range(scores.shape[1])))
        records = {**columns, 'predicted': scores.argmax(1), **hits, 'scores': scores, 'actions': np.array(names)}
        self.set_records(records)
        return {name: value for name, value in numbers.items() if not np.isnan(value)}

    def _hits(self, scores: FloatArray, labels: NDArray[np.int64]) -> dict[str, FloatArray]:
        """{name: (N,) 1 right, 0 wrong, NaN not counted} of scores (N, A) and labels (N,)."""
        best, videos = scores.argmax(1), np.arange(len(labels))
        rank = (scores >= scores[videos, labels][:, None]).sum(1)  # 1 is the best; a shared score gains nothing
        hits = {ACTION.name: (rank == 1).astype(float)}
        if scores.shape[1] > self.top:
            hits[self._top_spec().name] = (rank <= self.top).astype(float)
        verbs = (self.dataset_meta or {}).get('action_verb')
        if verbs is not None:
            verbs = np.asarray(verbs)
            hits[VERB.name] = (_has_one_best(scores) & (verbs[best] == verbs[labels])).astype(float)
        label_pairs = self._labels_of_pairs(action_names(self.dataset_meta))
        if not label_pairs:
            return hits
        decided = {}
        for (one, other), pair in zip(label_pairs, self.pairs, strict=True):
            rival = np.select([labels == one, labels == other], [other, one], -1)
            won = (scores[videos, labels] > scores[videos, rival]).astype(float)
            decided[f'{PAIR.name}/{_pair_group(pair)}'] = np.where(rival >= 0, won, np.nan)
        together = np.stack(list(decided.values()))
        in_pairs = ~np.isnan(together).all(0)
        # A video whose action is in several pairs counts by the share of them that it wins.
        hits[PAIR.name] = nan_mean(together, axis=0)
        hits[ACTION_IN_PAIRS.name] = np.where(in_pairs, hits[ACTION.name], np.nan)
        return hits | decided

    def _accuracy_of_classes(self, hits: FloatArray, labels: NDArray[np.int64]) -> dict[str, float]:
        """{name: accuracy} of the actions in `per_class` that occur."""
        names = action_names(self.dataset_meta) or []
        found = {}
        for name in self.per_class:
            if name not in names:
                raise SequenceError(
                    f'ActionMetric: per_class names {name!r}, which is no action of the dataset.'
                    f'{did_you_mean(name, names)}'
                )
            of_class = hits[labels == names.index(name)]
            if len(of_class):
                found[f'{ACTION.name}/{name}'] = float(of_class.mean())
        return found

    def _labels_of_pairs(self, names: list[str] | None) -> list[tuple[int, int]]:
        """[(label, label), ...] of `pairs`."""
        if not self.pairs:
            return []
        if names is None:
            raise SequenceError("ActionMetric got pairs, but the dataset's metainfo names no actions")
        for name in (name for pair in self.pairs for name in pair):
            if name not in names:
                raise SequenceError(
                    f'ActionMetric: pairs name {name!r}, which is no action of the dataset.{did_you_mean(name, names)}'
                )
        return [(names.index(one), names.index(other)) for one, other in self.pairs]


def _pair_group(pair: tuple[str, str]) -> str:
    return '|'.join(pair)


def action_names(metainfo: dict[str, Any] | None) -> list[str] | None:
    """The names of the actions in a dataset's metainfo, or None where it has none.

    Args:
        metainfo: of the dataset.
    """
    names = (metainfo or {}).get('actions')
    return None if names is None else list(names)


def video_row(prediction: HandSequence, target: HandSequence, names: list[str] | None = None) -> VideoRow:
    """The label and scores of one video.

    Args:
        prediction: a clip, optionally with action_scores (A,) and object_scores (T, O).
        target: a clip with meta['sequence'], and action_label () and object_label (T,) where annotated.
        names: of the A actions, or None.

    Returns:
        'sequence' and 'camera' (str), 'name' for error messages, 'label' (-1 unknown), 'scores' (A,) float64 or None,
        'objects' (right, counted) frames.

    Raises:
        SequenceError: see `ActionMetric`.
    """
    where = sample_name(target.meta)
    label = -1 if target.action_label is None else int(target.action_label)
    row = {
        'sequence': str(target.meta['sequence']),
        'camera': '+'.join(map(str, target.meta.get('cameras', ()))),
        'name': where,
        'label': label,
        'scores': None,
        'objects': _object_hits(prediction, target, where),
    }
    if prediction.action_scores is None:
        return row
    scores = prediction.action_scores.detach().cpu().double().numpy()
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise SequenceError(f'{where}: action_scores must be (A,) finite numbers, got {scores.shape}')
    if names is not None and len(scores) != len(names):
        raise SequenceError(
            f'{where}: the prediction has {len(scores)} action_scores, but the dataset has {len(names)} actions; '
            f'train the model on the same list of actions'
        )
    if label >= len(scores):
        raise SequenceError(f'{where}: action_label is {label}, but there are {len(scores)} actions, numbered from 0')
    return {**row, 'scores': scores}


def merge_videos(rows: Sequence[VideoRow]) -> list[VideoRow]:
    """The rows of all videos, each once, sorted by (sequence, camera).

    Repeats, which come from samplers that pad the last batch, are dropped.

    Args:
        rows: as `video_row` gives them.

    Raises:
        SequenceError: there are none, or one video was predicted twice with different scores.
    """
    if not rows:
        raise SequenceError('there is nothing to evaluate: no video reached the metric')
    kept: dict[tuple[str, ...], VideoRow] = {}
    for row in rows:
        first = kept.setdefault(tuple(row[name] for name in KEY), row)
        if first['scores'] is None or row['scores'] is None:
            continue
        if first['scores'].shape != row['scores'].shape or np.abs(first['scores'] - row['scores']).max() > SAME_WITHIN:
            raise SequenceError(
                f'{row["sequence"]} was predicted twice with different action_scores; a video counts once: test whole '
                f"videos (sampling=dict(type='Tracks'))"
            )
    return [kept[key] for key in sorted(kept)]


def _object_hits(prediction: HandSequence, target: HandSequence, where: str) -> tuple[int, int]:
    """(right, counted): annotated frames whose best object is the true one."""
    if prediction.object_scores is None or target.object_label is None:
        return 0, 0
    labels = target.object_label.cpu().numpy()
    counted = labels >= 0
    if target.frame_valid is not None:
        counted &= target.frame_valid.cpu().numpy()
    if 'frame_indices' in target.meta:
        counted[len(target.meta['frame_indices']) :] = False  # padding that a batch added
    scores = prediction.object_scores.detach().cpu().numpy()
    if not np.isfinite(scores[counted]).all():
        frame = int(np.flatnonzero(counted & ~np.isfinite(scores).all(-1))[0])
        raise SequenceError(f'{where}: object_scores must be finite, but those of frame {frame} of the clip are not')
    largest = labels[counted].max(initial=-1)
    if largest >= scores.shape[-1]:
        raise SequenceError(
            f'{where}: object_label is {largest}, but the prediction has {scores.shape[-1]} object_scores, numbered '
            f'from 0; train the model on the same list of objects'
        )
    right = (scores.argmax(-1) == labels) & _has_one_best(scores)
    return int(right[counted].sum()), int(counted.sum())


def _has_one_best(scores: NDArray[np.floating]) -> BoolArray:
    """(N,) bool: no other score of (N, C) equals the largest; equal scores decide nothing."""
    return np.asarray((scores == scores.max(-1, keepdims=True)).sum(-1) == 1)


def _object_accuracy(rows: Sequence[VideoRow]) -> dict[str, float]:
    right, counted = np.sum([row['objects'] for row in rows], axis=0)
    return {OBJECT.name: float(right / counted)} if counted else {}
