"""InterHand2.6M's numbers against plain loops over frames, written from the description of the official evaluation."""

import numpy as np
import pytest
import torch

from handpose.evaluation import HandPoseMetric, InterHandMetric
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError

LEFT, RIGHT = 0, 1
SIDES_OF = {'right': [RIGHT], 'left': [LEFT], 'interacting': [LEFT, RIGHT]}


def track(types, seed=0, sequence='Capture0/0266_dh_pray', holes=0.0, scores=None):
    """{'prediction', 'target'} of frames of these types (None: not annotated); some joints lack an annotation."""
    rng = np.random.default_rng(seed)
    frames = len(types)
    target = (rng.normal(size=(frames, 2, 21, 3)) * 0.05 + [0, 0, 0.8]).astype(np.float32)
    predicted = (target + rng.normal(size=target.shape) * 0.01).astype(np.float32)
    valid = np.zeros((frames, 2, 21), bool)
    for frame, kind in enumerate(types):
        valid[frame, SIDES_OF.get(kind, [])] = True
    valid &= rng.random(valid.shape) >= holes
    valid &= valid[:, :, :1]  # as the reader has it: without its wrist a hand is absent
    meta = dict(sequence=sequence, cameras=['400012'], frame_indices=list(range(10, 10 + frames)))
    common = dict(frame_valid=torch.ones(frames, dtype=torch.bool), hand_side=torch.tensor([LEFT, RIGHT]))
    return {
        'prediction': HandSequence(
            meta=meta,
            joints_3d=torch.from_numpy(predicted),
            joints_valid=torch.ones(frames, 2, 21, dtype=torch.bool),
            hand_scores=None if scores is None else torch.tensor(scores, dtype=torch.float32),
            **common,
        ).validate(),
        'target': HandSequence(
            meta={**meta, 'hand_types': list(types)},
            joints_3d=torch.from_numpy(target),
            joints_valid=torch.from_numpy(valid),
            hand_valid=torch.from_numpy(valid.any(-1)),
            **common,
        ).validate(),
    }


def evaluate(*pairs, metric=None):
    metric = metric or METRICS.build(dict(type='InterHandMetric'))
    for pair in pairs:
        metric.process(None, [pair])
    return metric.evaluate(size=len(pairs))


def changed(pair, name, **changes):
    return {**pair, name: pair[name].replace(**changes)}


def by_loops(pairs):
    """The official numbers, one joint of one frame at a time."""
    single, interacting = ([[] for _ in range(42)] for _ in range(2))
    wrists, correct, asked = [], 0, 0
    for pair in pairs:
        prediction, target = (1000 * pair[name].joints_3d.double().numpy() for name in ('prediction', 'target'))
        valid = pair['target'].joints_valid.numpy()
        scores = pair['prediction'].hand_scores
        for frame, kind in enumerate(pair['target'].meta['hand_types']):
            if kind is None or not valid[frame].any():
                continue
            for hand in (LEFT, RIGHT):
                for joint in range(21):
                    if not valid[frame, hand, joint]:
                        continue
                    mine = prediction[frame, hand, joint] - prediction[frame, hand, 0]
                    true = target[frame, hand, joint] - target[frame, hand, 0]
                    errors = interacting if kind == 'interacting' else single
                    errors[21 * hand + joint].append(np.sqrt(((mine - true) ** 2).sum()))
            if kind == 'interacting' and valid[frame, LEFT, 0] and valid[frame, RIGHT, 0]:
                mine, true = (x[frame, LEFT, 0] - x[frame, RIGHT, 0] for x in (prediction, target))
                wrists.append(np.sqrt(((mine - true) ** 2).sum()))
            if scores is not None and (kind != 'interacting' or valid[frame].sum() > 30):
                asked += 1
                left, right = scores[frame].tolist()
                correct += {
                    'right': right > 0.5 and left < 0.5,
                    'left': right < 0.5 and left > 0.5,
                    'interacting': right > 0.5 and left > 0.5,
                }[kind]
    together = [one + other for one, other in zip(single, interacting, strict=True)]
    means = [np.mean([np.mean(errors) for errors in group if errors]) for group in (together, single, interacting)]
    return {
        'mpjpe_ra_wrist_42_joints_mm': means[0],
        'mpjpe_ra_wrist_42_joints_mm/single': means[1],
        'mpjpe_ra_wrist_42_joints_mm/interacting': means[2],
        'mrrpe_mm': np.mean(wrists),
        'num_frames_mrrpe': len(wrists),
        **({'handedness_accuracy': correct / asked, 'num_frames_handedness': asked} if asked else {}),
    }


TYPES = ['right'] * 5 + ['left'] * 2 + ['interacting'] * 6 + [None] * 2 + ['right']


def test_numbers_equal_the_loops():
    scores = np.random.default_rng(5).random((16, 2)).round(2) + 0.001
    pairs = [track(TYPES, holes=0.3, scores=scores), track(TYPES[::-1], 1, 'Capture1/a', 0.2, scores[::-1].copy())]
    numbers, expected = evaluate(*pairs), by_loops(pairs)
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert 0 < expected['handedness_accuracy'] < 1 and 0 < expected['num_frames_mrrpe'] < 12
    # Some interacting frames have too few joints.
    assert expected['num_frames_handedness'] < numbers['num_frames_mpjpe']
    assert numbers['num_frames_mpjpe'] == numbers['num_frames_mpjpe/single'] + numbers['num_frames_mpjpe/interacting']
    assert numbers['num_frames_incomplete'] == 0


def test_the_mean_over_joints_of_both_hands_is_not_the_pooled_one():
    """More right hands than left ones: pooling weighs each hand by its frames, the official mean does not."""
    pair = track(['right'] * 9 + ['left'])
    pair['prediction'].joints_3d[:9, RIGHT, 1:] += 0.02  # right hands are worse
    official = evaluate(pair)['mpjpe_ra_wrist_42_joints_mm']
    pooled = evaluate(pair, metric=HandPoseMetric())['mpjpe_ra_wrist_mm']
    right, left = (by_loops([track_of])['mpjpe_ra_wrist_42_joints_mm/single'] for track_of in split_by_hand(pair))
    assert official == pytest.approx((right + left) / 2)
    assert pooled == pytest.approx((9 * right + left) / 10) and pooled - official > 5


def split_by_hand(pair):
    for frames in (range(9), [9]):
        yield {name: clip.select_frames(list(frames)) for name, clip in pair.items()}


def test_known_errors_of_the_wrists():
    pair = track(['interacting'] * 3 + ['right'])
    exact = changed(pair, 'prediction', joints_3d=pair['target'].joints_3d.clone())
    numbers = evaluate(exact)
    assert numbers['mrrpe_mm'] == pytest.approx(0, abs=1e-4)
    assert numbers['mpjpe_ra_wrist_42_joints_mm'] == pytest.approx(0, abs=1e-4)
    moved = exact['prediction'].joints_3d.clone()
    moved[:, LEFT] += torch.tensor([0.003, 0.0, 0.004])  # the left hand as a whole, 5 mm
    moved[:, :] += torch.tensor([0.1, 0.2, 0.3])  # both together: no relative error
    numbers = evaluate(changed(pair, 'prediction', joints_3d=moved))
    assert numbers['mrrpe_mm'] == pytest.approx(5, rel=1e-4)
    assert numbers['mpjpe_ra_wrist_42_joints_mm'] == pytest.approx(0, abs=1e-3)


def test_what_the_predictions_cannot_give_is_absent(monkeypatch):
    """No model without an opinion on which hands are there has a handedness of 100 %."""
    messages = []
    monkeypatch.setattr('handpose.evaluation.interhand.print_log', lambda message, logger: messages.append(message))
    pair = track(TYPES)
    numbers = evaluate(pair)
    assert 'handedness_accuracy' not in numbers and 'num_frames_handedness' not in numbers
    assert messages == ['handedness_accuracy is not available: the model predicts no hand_scores']
    joints = pair['prediction'].joints_3d
    in_wrist = changed(pair, 'prediction', joints_3d=joints - joints[:, :, :1], frame='wrist')
    relative = evaluate(in_wrist)
    assert 'mrrpe_mm' not in relative and 'num_frames_mrrpe' not in relative
    name = 'mpjpe_ra_wrist_42_joints_mm'
    assert relative[name] == pytest.approx(numbers[name], rel=1e-3)
    right_hands = evaluate(track(['right'] * 3))
    assert 'mrrpe_mm' not in right_hands and f'{name}/interacting' not in right_hands
    assert right_hands[f'{name}/single'] == right_hands[name]


@pytest.mark.parametrize('scores, accuracy', [([0.1, 0.9], 5 / 13), ([0.9, 0.9], 6 / 13), ([0.5, 0.5], 0)])
def test_handedness_of_constant_answers(scores, accuracy):
    pair = track([*TYPES[:13], None, None, None], scores=[scores] * 16)
    assert evaluate(pair)['handedness_accuracy'] == pytest.approx(accuracy)


def test_missing_predictions_are_counted():
    pair = track(['interacting'] * 4 + ['right'] * 2)
    given = torch.ones_like(pair['prediction'].joints_valid)
    given[0, LEFT] = False  # a hand
    given[1, RIGHT, 5] = False  # a joint
    given[4, LEFT] = False  # a hand that is not there: nothing is missing
    numbers = evaluate(changed(pair, 'prediction', joints_valid=given))
    assert numbers['num_frames_incomplete'] == 2 and numbers['num_frames_mpjpe'] == 6
    assert numbers['num_frames_mrrpe'] == 3


def test_a_frame_that_two_clips_share_counts_once():
    pair = track(TYPES)
    halves = [
        {name: clip.select_frames(list(frames)) for name, clip in pair.items()} for frames in (range(9), range(7, 16))
    ]
    assert halves[1]['target'].meta['hand_types'] == TYPES[7:]
    assert evaluate(*halves) == evaluate(pair)


def one_hand(pair):
    def cut(clip):
        fields = {name: getattr(clip, name)[:, :1] for name in ('joints_3d', 'joints_valid')}
        return clip.replace(hand_side=clip.hand_side[:1], hand_valid=None, **fields)

    return {name: cut(clip) for name, clip in pair.items()}


def with_types(pair, types):
    meta = {key: value for key, value in pair['target'].meta.items() if key != 'hand_types'}
    return changed(pair, 'target', meta=meta if types is None else {**meta, 'hand_types': types})


@pytest.mark.parametrize(
    'pairs, sentence',
    [
        ([one_hand(track(['right']))], r"needs clips of two hands with meta\['hand_types'\]"),
        ([with_types(track(['right']), None)], r"needs clips of two hands with meta\['hand_types'\]"),
        ([with_types(track(['right']), ['both'])], "got 'both'"),
        ([changed(track(['right']), 'prediction', hand_scores=torch.full((1, 2), torch.nan))], 'hand_scores are NaN'),
        (
            [track(['right'], scores=[[0.1, 0.9]]), track(['right'], sequence='b')],
            'some clips were predicted with hand_scores and others without',
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(pairs, sentence):
    with pytest.raises(SequenceError, match=sentence):
        evaluate(*pairs, metric=InterHandMetric())


def test_hand_types_by_the_annotated_hands():
    """Frames without the dataset's own types: those of the hands that are annotated, with the same numbers."""
    types = ['right', 'interacting', 'left', None, 'interacting']
    scores = np.random.default_rng(5).random((5, 2))
    pair = track(types, scores=scores)
    metric = METRICS.build(dict(type='InterHandMetric', hand_types='annotated'))
    assert evaluate(with_types(pair, None), metric=metric) == evaluate(pair)
    assert metric.process_clip(**with_types(pair, None))['kind'].tolist() == [0, 2, 2, 1, 2, 2]
    with pytest.raises(ValueError, match=r"hand_types must be one of \('meta', 'annotated'\), got 'boxes'"):
        METRICS.build(dict(type='InterHandMetric', hand_types='boxes'))
