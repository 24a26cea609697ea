"""Accuracies of actions against counts by hand; the gathering over processes; what is refused."""

import numpy as np
import pytest
import torch

from handpose.evaluation import ActionMetric, load_records
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError

META = {
    'actions': ['open milk', 'close milk', 'pour milk', 'place milk', 'open chips', 'read book', 'close chips'],
    'verbs': ['open', 'close', 'pour', 'place', 'read'],
    'objects': ['milk', 'chips', 'book'],
    'action_verb': [0, 1, 2, 3, 0, 4, 1],
}
PAIRS = [('open milk', 'close milk'), ('pour milk', 'place milk')]


def video(name, label, scores, objects=((0, 0), (0, 0)), padded=0):
    """{'prediction', 'target'}; `objects` are (true, predicted) of each frame, -1 not annotated."""
    frames = len(objects)
    meta = dict(dataset='d', sequence=name, cameras=['cam4'], frame_indices=list(range(frames)))
    true, best = torch.tensor(objects).T
    valid = torch.ones(frames, dtype=torch.bool)
    valid[frames - padded :] = False
    given = None if scores is None else torch.tensor(scores, dtype=torch.float32)
    prediction = HandSequence(
        meta=meta,
        action_scores=given,
        object_scores=None if scores is None else torch.nn.functional.one_hot(best.clamp_min(0), 3).float(),
    )
    return {
        'prediction': prediction,
        'target': HandSequence(meta=meta, frame_valid=valid, action_label=torch.tensor(label), object_label=true),
    }


def evaluate(metric, *videos, size=None, meta=META):
    metric.dataset_meta = meta
    metric.process(None, list(videos))
    return metric.evaluate(size or len(videos))


VIDEOS = (
    video('a', 0, [0.9, 0.1, 0, 0, 0, 0, 0]),  # right
    video('b', 1, [0.5, 0.4, 0, 0, 0, 0.1, 0]),  # open taken for close: the pair is lost
    video('c', 0, [0.2, 0.1, 0, 0, 0.7, 0, 0]),  # open chips: the verb is right, and the pair is won
    video('d', 2, [0, 0, 0.3, 0.2, 0.5, 0, 0]),
    video('e', 5, [0.3, 0.2, 0.15, 0.12, 0.11, 0.02, 0.1]),  # the seventh of seven
)


def test_accuracy_of_single_actions():
    metric = ActionMetric(per_class=['open milk', 'read book', 'close chips'])
    numbers = evaluate(metric, *VIDEOS)
    assert numbers['action_accuracy/open milk'] == 1 / 2 and numbers['action_accuracy/read book'] == 0
    assert 'action_accuracy/close chips' not in numbers  # does not occur
    assert 'action_accuracy/close chips' in [spec.name for spec in metric.specs]
    with pytest.raises(SequenceError, match=r"per_class names 'open mikl'.*Did you mean 'open milk'"):
        evaluate(ActionMetric(per_class=['open mikl']), *VIDEOS)


def test_accuracies_are_those_counted_by_hand():
    numbers = evaluate(ActionMetric(pairs=PAIRS), *VIDEOS)
    assert numbers['action_accuracy'] == pytest.approx(1 / 5)
    assert numbers['action_accuracy_top5'] == pytest.approx(4 / 5)
    assert numbers['action_accuracy_per_class'] == pytest.approx((1 / 2 + 0 + 0 + 0) / 4)
    assert numbers['verb_accuracy'] == pytest.approx(2 / 5)
    assert numbers['pair_accuracy'] == pytest.approx(3 / 4)
    assert numbers['pair_accuracy/open milk|close milk'] == pytest.approx(2 / 3)
    assert numbers['pair_accuracy/pour milk|place milk'] == 1
    assert numbers['action_accuracy/pairs'] == pytest.approx(1 / 4)
    assert numbers['num_videos'] == 5 and 'num_unlabelled_videos' not in numbers


def test_equal_scores_help_nobody():
    numbers = evaluate(ActionMetric(pairs=PAIRS), video('a', 1, [1 / 7] * 7))
    assert numbers['pair_accuracy'] == numbers['action_accuracy'] == numbers['action_accuracy_top5'] == 0


@pytest.mark.parametrize('label', range(7))
def test_a_model_that_decides_nothing_is_never_right(label):
    """Also for the first action, which argmax takes of equal scores."""
    numbers = evaluate(ActionMetric(), video('a', label, [0.0] * 7))
    assert numbers['action_accuracy'] == numbers['verb_accuracy'] == numbers['action_accuracy_per_class'] == 0
    undecided = video('a', label, [0.0] * 7, [(0, 0)])
    undecided['prediction'] = undecided['prediction'].replace(object_scores=torch.zeros(1, 3))
    assert evaluate(ActionMetric(), undecided)['object_accuracy'] == 0


def test_object_scores_that_cannot_be_compared_are_refused():
    pair = video('a', 0, [1.0] + [0] * 6, [(0, 0), (-1, 0), (1, 1)])
    scores = pair['prediction'].object_scores.clone()
    scores[1, 0] = float('nan')  # a frame that is not annotated
    allowed = dict(pair, prediction=pair['prediction'].replace(object_scores=scores))
    assert evaluate(ActionMetric(), allowed)['object_accuracy'] == 1
    scores[2, 0] = float('nan')  # argmax takes a NaN for the largest
    with pytest.raises(SequenceError, match='object_scores must be finite, but those of frame 2 of the clip are not'):
        evaluate(ActionMetric(), allowed)
    few = dict(pair, prediction=pair['prediction'].replace(object_scores=torch.ones(3, 1)))
    with pytest.raises(SequenceError, match='object_label is 1, but the prediction has 1 object_scores'):
        evaluate(ActionMetric(), few)


def test_top_five_of_five_actions_is_left_out():
    meta = {'actions': ['a', 'b', 'c', 'd', 'e']}
    numbers = evaluate(ActionMetric(), video('x', 0, [1, 0, 0, 0, 0]), meta=meta)
    assert 'action_accuracy_top5' not in numbers and 'verb_accuracy' not in numbers and numbers['action_accuracy'] == 1


def test_objects_count_in_annotated_frames_that_are_no_padding():
    frames = ((0, 0), (1, 0), (-1, 0), (2, 2), (2, 0))
    scores = [1.0] + [0] * 6
    numbers = evaluate(ActionMetric(), video('a', 0, scores, frames, padded=1), video('b', -1, scores))
    assert numbers['object_accuracy'] == pytest.approx((2 + 2) / (3 + 2))
    longer = video('a', 0, scores, frames)
    longer['target'].meta['frame_indices'] = [0, 1]  # the rest was added by a batch
    assert evaluate(ActionMetric(), longer)['object_accuracy'] == pytest.approx(1 / 2)


def test_records_hold_every_video(tmp_path):
    metric = ActionMetric(pairs=PAIRS, keep_records=tmp_path / 'records' / 'model_actions.npz')
    evaluate(metric, *VIDEOS[::-1])
    records = load_records(tmp_path / 'records' / 'model_actions.npz')
    assert records['sequence'].tolist() == list('abcde') and records['label'].tolist() == [0, 1, 0, 2, 5]
    assert records['predicted'].tolist() == [0, 0, 4, 4, 0] and records['scores'].shape == (5, 7)
    assert records['actions'].tolist() == META['actions']
    np.testing.assert_array_equal(records['pair_accuracy'], [1, 0, 1, 1, np.nan])
    np.testing.assert_array_equal(records['object_accuracy'], [1, 1, 1, 1, 1])


def test_all_processes_are_gathered_and_repeats_count_once(monkeypatch):
    """Two processes, one of which got a padded sample that the other has too."""
    other = ActionMetric(pairs=PAIRS)
    other.dataset_meta = META
    other.process(None, [*VIDEOS[2:], VIDEOS[0]])

    def gather(results, size, device, tmpdir=None):
        return [*results, other.results][:size]

    monkeypatch.setattr('mmengine.evaluator.metric.collect_results', gather)
    numbers = evaluate(ActionMetric(pairs=PAIRS), *VIDEOS[:2], size=5)
    monkeypatch.undo()
    assert numbers == evaluate(ActionMetric(pairs=PAIRS), *VIDEOS)


def test_unlabelled_videos_are_not_scored(monkeypatch):
    said = []
    monkeypatch.setattr('handpose.evaluation.actions.print_log', lambda sentence, logger, level: said.append(sentence))
    numbers = evaluate(ActionMetric(), *VIDEOS, video('f', -1, [1.0] + [0] * 6))
    assert numbers['num_videos'] == 5 and numbers['num_unlabelled_videos'] == 1
    assert numbers['action_accuracy'] == pytest.approx(1 / 5)
    numbers = evaluate(ActionMetric(), video('f', -1, [1.0] + [0] * 6))
    assert numbers == {'num_videos': 0, 'num_unlabelled_videos': 1, 'object_accuracy': 1}
    assert 'none of the 1 videos has an action label' in said[0] and len(said) == 1


def test_an_estimator_without_actions_has_counts_alone():
    assert evaluate(ActionMetric(), video('a', 0, None)) == {'num_videos': 0, 'num_videos_without_scores': 1}
    with pytest.raises(SequenceError, match='d a camera cam4 frame 0 was predicted without action_scores'):
        evaluate(ActionMetric(), video('a', 0, None), VIDEOS[1])


@pytest.mark.parametrize(
    'videos, options, sentence',
    [
        ([video('a', 7, [1.0] + [0] * 6)], {}, 'action_label is 7, but there are 7 actions'),
        ([video('a', 0, [1.0, 0])], {}, 'has 2 action_scores, but the dataset has 7 actions'),
        ([video('a', 0, [float('nan')] * 7)], {}, 'finite numbers'),
        ([VIDEOS[0], video('a', 0, [0.1, 0.9, 0, 0, 0, 0, 0])], {}, 'was predicted twice with different'),
        ([VIDEOS[0]], dict(pairs=[('open milk', 'shut milk')]), "'shut milk', which is no action"),
    ],
)
def test_what_cannot_be_scored_is_said(videos, options, sentence):
    with pytest.raises(SequenceError, match=sentence):
        evaluate(ActionMetric(**options), *videos)


def test_options_are_checked_at_once():
    for options in (dict(top=0), dict(pairs=[('a', 'a')]), dict(pairs=[('a',)]), dict(keep_records='a.csv')):
        with pytest.raises(ValueError, match='must'):
            METRICS.build(dict(type='ActionMetric', **options))
    metric = ActionMetric(pairs=PAIRS)
    with pytest.raises(SequenceError, match='metainfo names no actions'):
        metric.process(None, [VIDEOS[0]])
