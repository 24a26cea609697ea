"""`Refiner`: whole tracks against plain loops, live frames against whole tracks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from predicted_hands import make_predictions
from scipy.signal import savgol_filter

from handpose.engine import load_config
from handpose.inference import METHODS, Refiner, load_refiner
from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.registry import MODELS
from handpose.structures import PredictionsError, overlapping_windows
from handpose.zoo.publish import make_header, publish

WINDOW = 7


class Mixer(MotionRefiner):
    """A refiner whose answer for a frame depends on the place in the window and on every frame of it."""

    def __init__(self, stride=1, num_frames=WINDOW):
        super().__init__(num_frames=num_frames, stride=stride, frame_rate=30.0)
        generator = torch.Generator().manual_seed(1)
        self.weight = torch.nn.Parameter(torch.randn(num_frames, num_frames, generator=generator) / num_frames)

    def forward(self, motion, frame_valid=None):
        mask = torch.ones(motion.shape[:2]) if frame_valid is None else frame_valid.float()
        length = motion.shape[1]
        weight = self.weight[:length, :length] * mask[:, None]
        return RefinedMotion(motion + 0.2 * torch.einsum('nts,nsjc->ntjc', weight, torch.sin(9 * motion)))


def one_window(model, joints):
    """What a model says of one window (W, 21, 3) of a right hand."""
    return model.refine(joints[:, None], torch.ones(len(joints), 1, dtype=torch.bool), torch.ones(1)).joints[:, 0]


def push_all(refiner, predictions, frames=None):
    """The answers of a live track: joints (T, H, 21, 3), validity (T, H), and how late each came."""
    frames = range(len(predictions)) if frames is None else frames
    answers, lateness = [], []
    for t in frames:
        answer = refiner.push(predictions.select([t]))
        if answer is not None:
            lateness.append(t - len(answers))
            answers.append(answer)
    rest = refiner.finish()
    answers += rest
    np.testing.assert_array_equal([a.timestamps[0] for a in answers], predictions.timestamps)
    return np.concatenate([a.joints for a in answers]), np.concatenate([a.valid for a in answers]), lateness


def test_a_filter_refines_each_coordinate():
    predictions = make_predictions(60)
    refined = load_refiner(method='gaussian').refine(predictions)
    assert refined.source.endswith('refined by GaussianFilter')
    steps = np.arange(-9, 10) / 30
    weights = np.exp(-(steps**2) / (2 * 0.08**2))
    powers = steps[:, None] ** np.arange(4)
    shares = np.linalg.pinv(powers * np.sqrt(weights)[:, None])[0] * np.sqrt(weights)  # of a cubic, at its centre
    np.testing.assert_allclose(refined.joints[20], np.tensordot(shares, predictions.joints[11:30], 1), atol=1e-6)
    polynomials = load_refiner(method='savitzky_golay').refine(predictions).joints
    np.testing.assert_allclose(polynomials, savgol_filter(predictions.joints.astype(float), 11, 3, axis=0), atol=1e-5)
    assert refined.valid.all() and len(refined) == 60


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('frame', ['camera', 'wrist'])
def test_every_method_takes_two_hands_and_missing_frames(method, frame):
    given = make_predictions(50, ('left', 'right'), missing=[4, (9, 1), (10, 1)], frame=frame, noise=0.003)
    refined = load_refiner(method=method).refine(given)
    assert refined.valid.all() and np.isfinite(refined.joints).all() and refined.frame == frame
    if frame == 'wrist':
        assert (refined.joints[:, :, 0] == 0).all()
    clean = make_predictions(50, ('left', 'right'), frame=frame, noise=0)
    assert np.abs(refined.joints[4] - clean.joints[4]).max() < 0.05


def test_interpolation_fills_short_gaps_and_changes_nothing_else():
    given = make_predictions(20, missing=[0, 8, 9, 19], confidence=np.ones((20, 1, 21)))
    refined = load_refiner(method='interpolate').refine(given)
    seen = given.valid[:, 0]
    np.testing.assert_allclose(refined.joints[seen], given.joints[seen], atol=1e-6)
    between = given.joints[7] + (given.joints[10] - given.joints[7]) / 3
    np.testing.assert_allclose(refined.joints[8], between, atol=1e-6)
    assert refined.valid[:, 0].tolist() == [False, *[True] * 18, False]  # before and after nothing is made up
    assert (refined.confidence[8] == 0).all() and (refined.confidence[7] == 1).all()


@pytest.mark.parametrize('in_time', [False, True])
def test_long_gaps_cut_the_track(in_time):
    """Frames marked missing and frames left out in time are the same to a refiner."""
    whole = make_predictions(60)
    gap = range(20, 35)
    if in_time:
        given = whole.select([t for t in range(60) if t not in gap])
    else:
        given = make_predictions(60, missing=gap)
    parts = [whole.select(slice(0, 20)), whole.select(slice(35, 60))]
    refined = load_refiner(method='gaussian', longest_gap=14 / 30).refine(given)
    expected = np.concatenate([load_refiner(method='gaussian').refine(part).joints for part in parts])
    assert refined.valid.sum() == 45
    np.testing.assert_allclose(refined.joints[refined.valid[:, 0]], expected, atol=1e-6)
    # One frame shorter, and it is filled; frames that the file does not have are used, not given back.
    filled = load_refiner(method='gaussian', longest_gap=15 / 30).refine(given)
    assert filled.valid.all() and len(filled) == len(given)
    also = load_refiner(method='gaussian', longest_gap=15 / 30).refine(make_predictions(60, missing=gap))
    kept = [t for t in range(60) if t not in gap] if in_time else slice(None)
    np.testing.assert_allclose(filled.joints, also.joints[kept], atol=1e-6)


def test_windows_are_averaged():
    predictions = make_predictions(24)
    for stride in (1, 3, WINDOW):
        refined = Refiner(Mixer(stride)).refine(predictions)
        model, joints = Mixer(stride), torch.from_numpy(predictions.joints[:, 0])
        answers = [[] for _ in range(24)]
        for index in overlapping_windows(24, WINDOW, stride)[0]:
            answer = model.refine(
                joints[index][:, None], torch.ones(WINDOW, 1, dtype=torch.bool), torch.ones(1)
            ).joints[:, 0]
            for t, x in zip(index, answer, strict=True):
                answers[t].append(x)
        expected = torch.stack([torch.stack(x).mean(0) for x in answers])
        np.testing.assert_allclose(refined.joints[:, 0], expected, atol=1e-6)


def test_one_frame():
    one = make_predictions(1)
    for method in METHODS:
        np.testing.assert_allclose(load_refiner(method=method).refine(one).joints, one.joints, atol=1e-6)
    assert len(Refiner(Mixer()).refine(one)) == 1
    refiner = load_refiner(method='gaussian')
    assert refiner.push(one) is None and len(refiner.finish()) == 1 and refiner.finish() == []


@pytest.mark.parametrize('length', [3, WINDOW, 30])
@pytest.mark.parametrize('stride', [1, 3])
def test_live_frames_are_those_of_the_whole_track(length, stride):
    predictions = make_predictions(length, ('left', 'right'))
    refiner = Refiner(Mixer(stride), fps=30)
    assert refiner.latency == (WINDOW - 1 if stride == 1 else WINDOW)
    joints, valid, lateness = push_all(refiner, predictions)
    assert valid.all() and set(lateness) <= {refiner.latency}
    np.testing.assert_allclose(joints, refiner.refine(predictions).joints, atol=1e-6)


@pytest.mark.parametrize('stride', [1, 3])
@pytest.mark.parametrize('missing', [[8, 9, 10], [0, 1, 5, 20], [*range(4, 16)], [*range(25, 30)], [2, 3, 12]])
def test_live_frames_with_gaps_are_those_of_the_whole_track_if_waited_for(missing, stride):
    predictions = make_predictions(30, ('left', 'right'), missing=missing)
    refiner = Refiner(Mixer(stride), latency=WINDOW + 5, longest_gap=5 / 30)
    joints, valid, _ = push_all(refiner, predictions)
    whole = refiner.refine(predictions)
    np.testing.assert_array_equal(valid, whole.valid)
    np.testing.assert_allclose(joints, whole.joints, atol=1e-6)


def test_live_frames_average_the_windows_that_end_in_time():
    predictions, latency = make_predictions(20), 2
    joints, _, lateness = push_all(Refiner(Mixer(), latency=latency), predictions)
    assert set(lateness) == {latency}
    model, track = Mixer(), torch.from_numpy(predictions.joints[:, 0])
    for t in range(WINDOW - 1 - latency, 20 - latency):
        answers = []
        for end in range(max(t, WINDOW - 1), t + latency + 1):
            window = track[end - WINDOW + 1 : end + 1]
            answer = one_window(model, window)
            answers.append(answer[t - end + WINDOW - 1])
        np.testing.assert_allclose(joints[t, 0], torch.stack(answers).mean(0), atol=1e-6)
    # Before the first window is complete: the track as far as it is known.
    for t in range(WINDOW - 1 - latency):
        known = Refiner(Mixer()).refine(predictions.select(slice(0, t + latency + 1)))
        np.testing.assert_allclose(joints[t], known.joints[t], atol=1e-6)


def test_a_live_hand_that_is_not_seen_again_in_time_is_missing():
    predictions = make_predictions(30, missing=range(10, 14))
    joints, valid, lateness = push_all(Refiner(Mixer(), latency=2), predictions)
    assert set(lateness) == {2}
    assert np.flatnonzero(~valid[:, 0]).tolist() == [10, 11]  # 12 and 13 are filled once frame 14 has come
    assert np.isfinite(joints[valid]).all()


def test_live_frames_left_out_in_time():
    whole = make_predictions(30)
    given = whole.select([t for t in range(30) if t not in (11, 12)])
    refiner = Refiner(Mixer(), latency=WINDOW)
    joints, valid, _ = push_all(refiner, given)
    assert valid.all()
    np.testing.assert_allclose(joints, refiner.refine(given).joints, atol=1e-6)


@pytest.mark.parametrize('method', ['savitzky_golay', 'gaussian', 'one_euro'])
def test_live_filters(method):
    predictions = make_predictions(190)  # longer than what a live filter keeps
    refiner = load_refiner(method=method, fps=30)
    assert refiner.latency == {'savitzky_golay': 5, 'gaussian': 10, 'one_euro': 0}[method]
    joints, _, _ = push_all(refiner, predictions)
    whole = refiner.refine(predictions).joints
    np.testing.assert_allclose(joints[15:], whole[15:], atol=1e-5)
    exact = load_refiner(method=method, latency=refiner.exact_latency)
    np.testing.assert_allclose(push_all(exact, predictions)[0], whole, atol=1e-5)


@pytest.mark.parametrize('method', ['savitzky_golay', 'gaussian', 'one_euro'])
@pytest.mark.parametrize('fps', [10, 15, 60, 120])
def test_live_filters_at_other_frame_rates(method, fps):
    """The frame rate is learned from the first two frames; gaps and irregular times are those of the whole track."""
    predictions = make_predictions(150, ('left', 'right'), missing=[40, 41, (60, 1)], fps=fps)
    predictions.timestamps[50:] += 0.3 / fps
    whole = load_refiner(method=method, longest_gap=5 / fps).refine(predictions)
    refiner = load_refiner(method=method, longest_gap=5 / fps, latency=45)
    joints, valid, _ = push_all(refiner, predictions)
    np.testing.assert_array_equal(valid, whole.valid)
    np.testing.assert_allclose(joints, whole.joints, atol=1e-5)
    ahead = {'savitzky_golay': 1 / 6, 'gaussian': 0.32, 'one_euro': 0}[method]
    assert load_refiner(method=method, fps=fps).latency == np.ceil(ahead * fps - 1e-6)


def test_a_live_kalman_smoother():
    """At its default latency it is the smoother of the whole track; with a latency of 2, that of the frames so far."""
    predictions = make_predictions(60)
    refiner = load_refiner(method='kalman', fps=30)
    assert refiner.latency == 22
    joints, _, _ = push_all(refiner, predictions)
    np.testing.assert_allclose(joints, refiner.refine(predictions).joints, atol=1e-4)
    joints, _, _ = push_all(load_refiner(method='kalman', latency=2), predictions)
    so_far = refiner.refine(predictions.select(slice(0, 43))).joints
    np.testing.assert_allclose(joints[40], so_far[40], atol=1e-6)


def test_live_models_at_other_frame_rates():
    slow = make_predictions(30, fps=15)
    refiner = Refiner(Mixer())
    joints, valid, lateness = push_all(refiner, slow)
    assert valid.all() and set(lateness) == {3}  # six frames of the model
    np.testing.assert_allclose(joints, Refiner(Mixer()).refine(slow).joints, atol=1e-6)
    refiner = Refiner(Mixer())
    fast = make_predictions(3, fps=60)
    refiner.push(fast.select([0]))
    with pytest.raises(PredictionsError, match=r'came 0\.01667 s after .* 30 frames per second'):
        refiner.push(fast.select([1]))


def test_notes_on_the_frame_rate():
    assert Refiner(Mixer()).notes(make_predictions(9)) == []
    assert (
        'works at 30 frames per second and the track has 60' in Refiner(Mixer()).notes(make_predictions(9, fps=60))[0]
    )
    assert load_refiner(method='gaussian').notes(make_predictions(9, fps=10)) == []
    (note,) = load_refiner(method='savitzky_golay').notes(make_predictions(9, fps=10))
    assert 'the filter only fills short gaps' in note


def test_a_refiner_can_be_used_again():
    predictions = make_predictions(15)
    refiner = Refiner(Mixer())
    first, _, _ = push_all(refiner, predictions)
    refiner.push(predictions.select([3]))
    refiner.reset()
    again, _, _ = push_all(refiner, predictions)
    np.testing.assert_array_equal(first, again)


def test_bad_live_frames():
    refiner = load_refiner(method='gaussian')
    predictions = make_predictions(5)
    with pytest.raises(PredictionsError, match='push expects one frame, got 5'):
        refiner.push(predictions)
    refiner.push(predictions.select([2]))
    with pytest.raises(PredictionsError, match='times must increase'):
        refiner.push(predictions.select([2]))
    with pytest.raises(PredictionsError, match='a hand that is not detected stays'):
        refiner.push(make_predictions(5, ('left', 'right')).select([3]))
    wrong_unit = make_predictions(1)
    wrong_unit.joints = wrong_unit.joints * 1000
    with pytest.raises(PredictionsError, match='in the unit given'):
        load_refiner(method='gaussian').push(wrong_unit)


def test_live_frames_before_any_hand():
    refiner = load_refiner(method='gaussian', latency=1)
    predictions = make_predictions(6, missing=[0, 1, 2])
    _, valid, _ = push_all(refiner, predictions)
    assert valid[:, 0].tolist() == [False] * 3 + [True] * 3


def test_bad_refiners():
    with pytest.raises(ValueError, match=r"method must be one of .*'savgol'"):
        load_refiner(method='savgol')
    with pytest.raises(ValueError, match='give the config it was trained with'):
        load_refiner(__file__)
    with pytest.raises(
        ValueError, match=r'no weights none\.safetensors: .* no estimator with this name in the model zoo'
    ):
        load_refiner('none.safetensors')
    with pytest.raises(ValueError, match='latency and longest_gap must be at least 0'):
        load_refiner(method='gaussian', latency=-1)
    with pytest.raises(PredictionsError, match='no frame of 10 has a hand'):
        load_refiner(method='gaussian').refine(make_predictions(10, missing=range(10)))


CONFIG = """
model = dict(
    type='PDTM', channels=32, depth=1, num_heads=2, groups=2, frame_rate=30.0, num_frames=9, stride=4,
    hand_model=dict(type='ProceduralHand'),
)
"""


@pytest.fixture
def trained(tmp_path):
    """A small PDTM whose weights are not those of a fresh one, its config, its checkpoint and its published file."""
    (tmp_path / 'small.py').write_text(CONFIG)
    config = load_config(tmp_path / 'small.py')
    estimator = MODELS.build(config.model)
    for parameter in estimator.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    state = {f'estimator.{key}': value for key, value in estimator.state_dict().items()}
    meta = {'estimator': 'PDTM', 'hand_model': 'procedural-1'}
    torch.save({'state_dict': state, 'meta': meta}, tmp_path / 'small.pth')
    published, _ = publish(estimator, make_header(estimator, config, 'CC0'), tmp_path / 'small.safetensors')
    return estimator.eval(), tmp_path / 'small.py', tmp_path / 'small.pth', published


@pytest.mark.parametrize('kind', ['published', 'checkpoint'])
def test_weights_from_a_file(trained, kind):
    estimator, config, checkpoint, published = trained
    refiner = load_refiner(published) if kind == 'published' else load_refiner(checkpoint, config=config)
    predictions = make_predictions(40, ('left', 'right'), missing=[5])
    refined = refiner.refine(predictions)
    valid = torch.from_numpy(predictions.valid)
    joints = torch.from_numpy(np.nan_to_num(predictions.joints))
    with torch.no_grad():
        expected = estimator.refine(joints, valid, torch.tensor([0, 1])).joints
    np.testing.assert_allclose(refined.joints, expected, atol=1e-6)
    assert np.abs(refined.joints - predictions.joints)[predictions.valid].max() > 1e-3
    assert refined.source == f'predictions, refined by PDTM ({published.name if kind == "published" else "small.pth"})'
    live, _, lateness = push_all(load_refiner(published), predictions)
    assert set(lateness) == {9}
    np.testing.assert_allclose(live, refined.joints, atol=1e-6)


def test_weights_that_are_no_refiner(trained):
    _, config, checkpoint, _ = trained
    with pytest.raises(ValueError, match='Deformer, which refines no motion'):
        load_refiner(checkpoint, config=Path(__file__).parents[2] / 'configs' / 'deformer' / 'synthetic.py')
    with pytest.raises(ValueError, match='config'):
        load_refiner(checkpoint, config=config.with_name('none.py'))


def test_broken_weights_are_noticed():
    refiner = Refiner(Mixer())
    torch.nn.init.constant_(refiner.estimator.weight, torch.nan)
    with pytest.raises(PredictionsError, match='the weights are corrupt'):
        refiner.refine(make_predictions(10))
