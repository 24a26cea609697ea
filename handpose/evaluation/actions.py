"""Actions and objects in hand: top-1 and top-5 of videos, verbs, pairs that only time tells apart, objects of frames.

Legend: N videos, A actions, C places that are counted, T frames, O object classes.
"""

import logging

import numpy as np
from mmengine.logging import print_log

from handpose.evaluation.functional import nan_mean
from handpose.evaluation.gathering import GatheringMetric
from handpose.evaluation.summary import save_columns
from handpose.registry import METRICS, did_you_mean
from handpose.structures import SequenceError, sample_name

# A repeated video may come from a batch of another size, where kernels round differently.
SAME_WITHIN = 1e-3
KEY = ('sequence', 'camera')


@METRICS.register_module()
class ActionMetric(GatheringMetric):
    """What was done in each video, each video counted once; the scores of its clips are already put together.

    Reports, from 0 to 1, `action_accuracy` (top 1; a video whose best score belongs to several actions is not right),
    `action_accuracy_top<k>`, `action_accuracy_per_class` (mean over the actions that are there), `verb_accuracy` (the
    verb of the best action); `pair_accuracy`, over the videos of either action of a pair, whether the true one has the
    larger score of the two, also `/<one>|<other>` for each pair, and `action_accuracy/pairs`, top 1 of all actions in
    the same videos; `object_accuracy` of annotated frames. And `num_videos`, which were scored, and, where there are
    any, `num_unlabelled_videos` and `num_videos_without_scores`.
    Videos without a label are not scored; if all are, a warning says so. An estimator that gives no actions at all (a
    constant hand) has the counts alone.

    Args:
        pairs: [(action, action), ...] by name.
        top: k of the second accuracy; left out where the data set has no more actions than that.
        keep_records: path of an .npz file for the scores of every video, see `records`; None writes none.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Attributes:
        records: after evaluating, {name: array} of the labelled videos: 'sequence', 'camera', 'label', 'predicted'
            (N,), 'scores' (N, A), 'actions' (A,) the names, and (N,) of each number above, NaN where it does not count.

    Raises (while testing):
        SequenceError: a label or a number of scores that the data set's actions do not have, a pair that names another
            action, scores that are not finite, an object label without a score, or a video that was predicted twice
            with different scores.
    """

    def __init__(self, pairs=(), top=5, keep_records=None, collect_device='cpu'):
        if top < 1 or any(len(pair) != 2 or pair[0] == pair[1] for pair in pairs):
            raise ValueError(f'top must be at least 1 and pairs must hold two actions each, got {top} and {pairs}')
        if keep_records is not None and not str(keep_records).endswith('.npz'):
            raise ValueError(f'keep_records must be the path of an .npz file, got {str(keep_records)!r}')
        super().__init__(collect_device)
        self.pairs = [tuple(pair) for pair in pairs]
        self.top = top
        self.keep_records = keep_records
        self.records = {}

    def process(self, data_batch, data_samples):
        """Takes a list of dicts with 'prediction' and 'target' (HandSequence clips); `data_batch` is not used."""
        names = action_names(self.dataset_meta)
        self._places_of_pairs(names)  # refuses a wrong name now, not after the test run
        for sample in data_samples:
            self.results.append(video_row(sample['prediction'], sample['target'], names))

    def reduce(self, results):
        """Reduces the rows of all videos to {name: float}; keeps `records`, and writes them if asked to."""
        rows = merge_videos(results)
        without = sum(row['scores'] is None for row in rows)
        if 0 < without < len(rows):
            lacking = next(row for row in rows if row['scores'] is None)
            raise SequenceError(f'{lacking["name"]} was predicted without action_scores, and other videos with them')
        labelled = [row for row in rows if row['label'] >= 0]
        numbers = {'num_videos': float(0 if without else len(labelled))}
        if len(labelled) < len(rows):
            numbers['num_unlabelled_videos'] = float(len(rows) - len(labelled))
        numbers |= _object_accuracy(rows)
        if without:
            return numbers | {'num_videos_without_scores': float(without)}
        if not labelled:
            print_log(
                f'none of the {len(rows)} videos has an action label (H2O withholds those of its test part), so no '
                f'action accuracy is reported; `handpose test --results FILE` writes what the server scores',
                logger='current',
                level=logging.WARNING,
            )
            return numbers
        return self._accuracies(labelled) | numbers

    def _accuracies(self, rows):
        """{name: float} of labelled videos; keeps their records."""
        columns = {name: np.array([row[name] for row in rows]) for name in (*KEY, 'label')}
        scores = np.array([row['scores'] for row in rows])  # (N, A)
        hits = self._hits(scores, columns['label'])
        numbers = {name: float(nan_mean(values)) for name, values in hits.items()}
        of_action = [hits['action_accuracy'][columns['label'] == label].mean() for label in set(columns['label'])]
        numbers['action_accuracy_per_class'] = float(np.mean(of_action))
        right, counted = np.array([row['objects'] for row in rows], float).T
        hits['object_accuracy'] = np.where(counted > 0, right / np.maximum(counted, 1), np.nan)
        names = action_names(self.dataset_meta) or list(map(str, range(scores.shape[1])))
        self.records = {**columns, 'predicted': scores.argmax(1), **hits, 'scores': scores, 'actions': np.array(names)}
        if self.keep_records is not None:
            save_columns(self.keep_records, self.records)
        return {name: value for name, value in numbers.items() if not np.isnan(value)}

    def _hits(self, scores, labels):
        """{name: (N,) 1 right, 0 wrong, NaN not counted} of scores (N, A) and labels (N,)."""
        best, videos = scores.argmax(1), np.arange(len(labels))
        rank = (scores >= scores[videos, labels][:, None]).sum(1)  # 1 is the best; equal scores do not help
        hits = {'action_accuracy': (rank == 1).astype(float)}
        if scores.shape[1] > self.top:
            hits[f'action_accuracy_top{self.top}'] = (rank <= self.top).astype(float)
        verbs = (self.dataset_meta or {}).get('action_verb')
        if verbs is not None:
            verbs = np.asarray(verbs)
            hits['verb_accuracy'] = (_has_one_best(scores) & (verbs[best] == verbs[labels])).astype(float)
        places = self._places_of_pairs(action_names(self.dataset_meta))
        if not places:
            return hits
        decided = {}
        for (one, other), names in zip(places, self.pairs, strict=True):
            rival = np.select([labels == one, labels == other], [other, one], -1)
            won = (scores[videos, labels] > scores[videos, rival]).astype(float)
            decided['pair_accuracy/' + '|'.join(names)] = np.where(rival >= 0, won, np.nan)
        together = np.stack(list(decided.values()))
        in_pairs = ~np.isnan(together).all(0)
        # A video whose action is in several pairs counts by how many of them it wins.
        hits['pair_accuracy'] = nan_mean(together, axis=0)
        hits['action_accuracy/pairs'] = np.where(in_pairs, hits['action_accuracy'], np.nan)
        return hits | decided

    def _places_of_pairs(self, names):
        """[(label, label), ...] of `pairs`."""
        if not self.pairs:
            return []
        if names is None:
            raise SequenceError("ActionMetric got pairs, but the data set's metainfo names no actions")
        for name in (name for pair in self.pairs for name in pair):
            if name not in names:
                raise SequenceError(
                    f'ActionMetric: pairs name {name!r}, which is no action of the data set.{did_you_mean(name, names)}'
                )
        return [tuple(names.index(name) for name in pair) for pair in self.pairs]


def action_names(metainfo):
    """The names of the actions in a data set's metainfo: a list, or None where it has none."""
    names = (metainfo or {}).get('actions')
    return None if names is None else list(names)


def video_row(prediction, target, names=None):
    """What counts of one video.

    Args:
        prediction: HandSequence (a clip) with action_scores (A,) and, or not, object_scores (T, O).
        target: HandSequence (a clip) with meta['sequence'], and action_label () and object_label (T,) where known.
        names: of the A actions, or None.

    Returns:
        dict: 'sequence' and 'camera' (str), 'name' for sentences, 'label' (-1 unknown), 'scores' (A,) float64 or None,
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
            f'{where}: the prediction has {len(scores)} action_scores, but the data set has {len(names)} actions; '
            f'train the model on the same list of actions'
        )
    if label >= len(scores):
        raise SequenceError(f'{where}: action_label is {label}, but there are {len(scores)} actions, numbered from 0')
    return {**row, 'scores': scores}


def merge_videos(rows):
    """The rows of all videos sorted by (sequence, camera), each once.

    Repeats come from samplers that pad the last batch, and are dropped.

    Raises:
        SequenceError: there are none, or one video was predicted twice with different scores.
    """
    if not rows:
        raise SequenceError('there is nothing to evaluate: no video reached the metric')
    kept = {}
    for row in rows:
        first = kept.setdefault(tuple(row[name] for name in KEY), row)
        if first['scores'] is None or row['scores'] is None:
            continue
        if first['scores'].shape != row['scores'].shape or np.abs(first['scores'] - row['scores']).max() > SAME_WITHIN:
            raise SequenceError(
                f'{row["sequence"]} was predicted twice with different action_scores; a video counts once: test whole '
                f"videos (mode='videos')"
            )
    return [kept[key] for key in sorted(kept)]


def _object_hits(prediction, target, where):
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


def _has_one_best(scores):
    """(N,) bool: the largest of the scores (N, C) is there once; equal scores decide nothing."""
    return (scores == scores.max(-1, keepdims=True)).sum(-1) == 1


def _object_accuracy(rows):
    right, counted = np.sum([row['objects'] for row in rows], axis=0)
    return {'object_accuracy': float(right / counted)} if counted else {}
