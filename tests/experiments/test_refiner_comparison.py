"""Comparing refiners: errors, changes and intervals that are known in closed form, partial hands, gaps, real data."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from handpose.cli import compare_refiners as command
from handpose.cli import main
from handpose.experiments.refiner_bins import changes_by_property, extreme_second
from handpose.experiments.refiner_comparison import compare_refiners
from handpose.experiments.refiner_tracks import ComparisonError, match_truth
from handpose.hands.joints import JOINT_ORDERS
from handpose.inference import Refiner, load_refiner
from handpose.models.estimators.kernel_smoother import KernelSmoother
from handpose.models.estimators.motion_filters import GaussianFilter, MotionFilter
from handpose.structures import Predictions, save_predictions

REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', '')) / 'estimator_outputs' / 'nyu_subject1.npz'
WRIST = np.array([0.0, 0.1, 0.6])


class Scaling(MotionFilter):
    """Multiplies all lengths of a hand."""

    def __init__(self, factor):
        super().__init__('frames')
        self.factor = factor

    def _smooth(self, track, times):
        return self.factor * track


def hand(frames=240, fps=30.0, seed=0):
    """A true right hand that moves smoothly: (T, 21, 3) metres relative to a wrist at zero."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None, None] / fps
    joints = rng.normal(0, 0.05, (1, 21, 3)) + 0.01 * np.sin(2 * t + rng.uniform(0, 6, (1, 21, 3)))
    joints[:, 0] = 0
    return joints


def track(relative, fps=30.0, **fields):
    frames = len(relative)
    values = dict(valid=np.ones((frames, 1), bool), timestamps=np.arange(frames) / fps, hand_side=['right'])
    return Predictions((relative + WRIST)[:, None].astype(np.float32), frame='camera', **{**values, **fields})


def test_errors_and_changes_of_a_scaled_hand():
    """An input 10 % too large that is scaled by 0.95: 4.5 % of the joints' distance remain of 10, in every block."""
    relative = hand()
    distance = 1000 * np.linalg.norm(relative, axis=-1)[:, 1:].mean()
    refiners = {'smaller': Scaling(0.95), 'larger': Scaling(1.05)}
    found = compare_refiners({'a': track(1.1 * relative)}, track(relative), refiners, perfect=True)
    errors = {name: found.row(name).errors for name in ('input', 'smaller', 'larger')}
    assert errors['input']['mpjpe'].value == pytest.approx(0.1 * distance, rel=1e-4)
    assert errors['input']['scaled_mpjpe'].value == pytest.approx(0, abs=1e-3)
    assert errors['input']['mpjpe'].change is None
    assert errors['smaller']['mpjpe'].value == pytest.approx(0.045 * distance, rel=1e-4)
    assert errors['larger']['mpjpe'].value == pytest.approx(0.155 * distance, rel=1e-4)
    for key in ('change', 'low', 'high'):
        assert getattr(errors['smaller']['mpjpe'], key) == pytest.approx(-55, abs=1e-2)
        assert getattr(errors['larger']['mpjpe'], key) == pytest.approx(55, abs=1e-2)
    assert found.row('smaller').better_everywhere and not found.row('larger').better_everywhere
    perfect = found.row('smaller', 'perfect input').errors['mpjpe']
    assert perfect.value == pytest.approx(0.05 * distance, rel=1e-4) and perfect.change is None
    assert found.row('smaller').joints == 240 * 20  # the wrist is not counted
    assert all(refiner.training for refiner in refiners.values())  # as they were


def test_accelerations_at_lower_rates():
    """An error that alternates between a and -a has 4 a, and none in every second frame, where it is constant."""
    relative = hand()
    noisy = relative + 0.003 * (-1.0) ** np.arange(240)[:, None, None] * np.array([1.0, 0, 0])
    noisy[:, 0] = 0
    refiners = {'gaussian': GaussianFilter(2.0, 1, 'frames')}
    found = compare_refiners({'a': track(noisy)}, track(relative), refiners, fps=(30, 15))
    assert found.row('input', fps=30).errors['acceleration'].value == pytest.approx(12, rel=1e-3)
    assert found.row('input', fps=15).errors['acceleration'].value == pytest.approx(0, abs=1e-3)
    for fps in (30, 15):
        assert found.row('input', fps=fps).errors['mpjpe'].value == pytest.approx(3, rel=1e-3)
        assert found.row('input', fps=fps).joints == 240 * 20  # all phases together are all frames
    assert found.row('gaussian', fps=30).errors['mpjpe'].value < 0.5
    assert found.row('gaussian', fps=15).errors['mpjpe'].value > 2.9
    with pytest.raises(ComparisonError, match=r'has 30 frames per second, so --fps can be 30, 15, 10, 7.5.*got 20'):
        compare_refiners({'a': track(noisy)}, track(relative), refiners, fps=(20,))


def test_only_joints_that_both_give_are_counted():
    """Gaps of the input, missing joints and times without truth do not count; what is filled does not either."""
    relative = hand()
    valid = np.ones((240, 1), bool)
    valid[50:60] = False
    joints_valid = np.broadcast_to(valid[..., None], (240, 1, 21)).copy()
    joints_valid[:, :, 5] = False
    given = track(1.1 * relative, valid=valid, joints_valid=joints_valid)
    truth_valid = np.ones((120, 1, 21), bool)
    truth_valid[..., 8] = False
    truth = track(relative[::2], 15.0, joints_valid=truth_valid)  # only every second frame has a truth
    found = compare_refiners({'a': given}, truth, {'gaussian': load_refiner(method='gaussian')})
    assert found.row('gaussian').joints == (120 - 5) * 18 == found.row('input').joints
    kept = [j for j in range(1, 21) if j not in (5, 8)]
    distance = 1000 * np.linalg.norm(relative, axis=-1)[::2][np.r_[:25, 30:120]][:, kept].mean()
    assert found.row('input').errors['mpjpe'].value == pytest.approx(0.1 * distance, rel=1e-4)
    assert any('120 of 240 frames have no true frame' in note for note in found.notes)


def test_files_count_alike_and_a_refusal_has_a_row():
    relative = hand()
    short = track(1.2 * relative[:80])
    files = {'long': track(1.1 * relative), 'short': short}
    refiners = {'half': Scaling(0.95)}
    found = compare_refiners(files, track(relative), refiners)
    rows = [found.row('input', name).errors['mpjpe'].value for name in (*files, 'mean')]
    assert rows[2] == pytest.approx((rows[0] + rows[1]) / 2)
    assert found.row('half').better_on == found.row('half').files == 2
    refiners |= {'pdtm': load_refiner('pdtm_synthetic'), 'kernels': KernelSmoother(half_width=3, channels=8)}
    lacking = np.ones((240, 1, 21), bool)
    lacking[..., 3] = False
    found = compare_refiners({'a': track(relative * 1.1, joints_valid=lacking)}, track(relative), refiners)
    row = found.row('pdtm', 'a')
    assert 'needs all 21 joints' in row.error and not row.errors
    assert 'no number on 1 of 1 files' in found.row('pdtm').error
    for name in ('half', 'kernels'):  # which take hands that lack joints
        assert found.row(name).error is None and found.row(name).errors['mpjpe'].change is not None
    assert found.row('kernels').joints == 240 * 19


def test_what_cannot_be_compared_is_refused():
    truth = track(hand())
    no_wrist = np.ones((240, 1, 21), bool)
    no_wrist[..., 0] = False
    with pytest.raises(ComparisonError, match='lost gives no wrist in any frame'):
        match_truth('lost', track(hand(), joints_valid=no_wrist), truth)
    with pytest.raises(ComparisonError, match='the truth gives no wrist'):
        match_truth('a', truth, track(hand(), joints_valid=no_wrist))
    with pytest.raises(ComparisonError, match=r'no frame has the time .* 100.000 to 107.967 s, the truth from 0.000'):
        match_truth('a', replace(truth, timestamps=truth.timestamps + 100), truth)
    with pytest.raises(ComparisonError, match=r"hands \['left'\], the truth \['right'\]"):
        match_truth('a', replace(truth, hand_side=np.array([0])), truth)
    only_wrist = np.zeros((240, 1, 21), bool)
    only_wrist[..., 0] = True
    with pytest.raises(ComparisonError, match='no joint besides the wrist'):
        match_truth('a', truth, track(hand(), joints_valid=only_wrist))
    with pytest.raises(ComparisonError, match=r"other names than \['mean'\]"):
        compare_refiners({'mean': truth}, truth, {})


def test_hands_are_matched_by_side():
    right, left = hand(seed=1), hand(seed=2)
    both = np.stack([left, right], 1) + WRIST
    truth = Predictions(both, np.ones((240, 2), bool), np.arange(240) / 30, ['left', 'right'], 'camera')
    matched = match_truth('a', track(right), truth)
    np.testing.assert_allclose(matched.joints[:, 0, 1:], 1000 * right[:, 1:], atol=1e-3)
    other = match_truth('a', truth, track(right))
    assert other.counted.shape == (240, 1, 21) and 'left hand has no truth' in other.notes[0]
    np.testing.assert_allclose(other.joints, matched.joints, atol=1e-3)


def test_properties_and_extreme_seconds():
    """Smoothing removes errors that are new in every frame and keeps those that stay, in the first and last half."""
    relative = hand(600)
    rng = np.random.default_rng(0)
    errors = np.concatenate([np.broadcast_to(rng.normal(0, 0.004, (1, 21, 3)), (300, 21, 3)), np.zeros((300, 21, 3))])
    errors[300:] = rng.normal(0, 0.004, (300, 21, 3))
    errors[:, 0] = 0
    confidence = np.linspace(0, 1, 600)[:, None, None] * np.ones((1, 1, 21))
    given = track(relative + errors, confidence=confidence)
    found = compare_refiners({'a': given}, track(relative), {'gaussian': GaussianFilter(2.0, 1, 'frames')})
    panels = changes_by_property(found, ['gaussian'], num_bins=4)
    persistence = panels['persistence of the input error within 1 s']['gaussian']
    assert persistence.x[0] < 0.3 and persistence.x[-1] > 0.95
    assert persistence.change[0] < -2 and abs(persistence.change[-1]) < 0.3
    assert (persistence.low <= persistence.change).all() and (persistence.change <= persistence.high).all()
    by_confidence = panels['confidence of the input']['gaussian']
    assert by_confidence.change[-1] < by_confidence.change[0] - 1
    assert set(panels) == {'persistence of the input error within 1 s', 'true speed relative to the wrist (m/s)'} | {
        'error of the input (mm)',
        'confidence of the input',
    }
    best, worst = (extreme_second(found, 'gaussian', kind) for kind in ('best', 'worst'))
    assert best.start > 9 and worst.stop < 11 and best.stop - best.start == pytest.approx(29 / 30)
    assert best.title.startswith('best second: a, ') and len(best.times) == 60


def write(folder, **tracks):
    for name, predictions in tracks.items():
        save_predictions(folder / f'{name}.npz', predictions)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '200')
    relative = hand(120)
    noise = np.random.default_rng(0).normal(0, 0.004, (2, 120, 21, 3))
    noise[:, :, 0] = 0
    write(tmp_path, a=track(relative + noise[0]), b=track(relative + noise[1]), truth=track(relative))
    words = ['a.npz', 'b.npz', '--truth', 'truth.npz', '--refiners', 'gaussian', 'one_euro', '--fps', '30', '15']
    main('compare-refiners', [*words, '--scale', '--perfect', '--figure', 'figures', '-o', 'out.json'])
    out = capsys.readouterr().out
    assert 'mean of 2 files, 30 frames per second' in out and 'mean of 2 files, 15 frames per second' in out
    assert '2 of 2' in out and 'the truth as input' in out and 'least squares' in out
    numbers = json.loads((tmp_path / 'out.json').read_text())
    assert numbers['complete'] and len(numbers['rows']) == 2 * (3 + 2 * 4)
    mean = next(row for row in numbers['rows'] if (row['refiner'], row['file']) == ('gaussian', 'mean'))
    assert mean['errors']['mpjpe']['high'] < 0 and mean['better_on'] == mean['files'] == 2
    assert {p.name for p in (tmp_path / 'figures').iterdir()} == {
        'where.png',
        'trace_gaussian.png',
        'trace_one_euro.png',
    }
    assert all(path.stat().st_size > 20_000 for path in (tmp_path / 'figures').iterdir())


def test_an_interruption_keeps_the_refiners_that_are_done(tmp_path, monkeypatch, capsys):
    class Interrupting(Scaling):
        def _smooth(self, track, times):
            raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    write(tmp_path, a=track(1.1 * hand(60)), truth=track(hand(60)))
    monkeypatch.setattr(
        command,
        '_load_refiners',
        lambda arguments: {'half': Refiner(Scaling(0.95)), 'late': Refiner(Interrupting(1.0))},
    )
    with pytest.raises(SystemExit) as stopped:
        main('compare-refiners', ['a.npz', '--truth', 'truth.npz', '-o', 'out.json'])
    assert stopped.value.code == 130 and 'interrupted' in capsys.readouterr().err
    numbers = json.loads((tmp_path / 'out.json').read_text())
    assert not numbers['complete'] and {row['refiner'] for row in numbers['rows']} == {'input', 'half'}


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['a.npz', 'a.npz'], 'give each predictions file once'),
        (['a.npz', '--fps', '0'], '--fps must be above 0'),
        (['a.npz', '--refiners', 'gaussian', 'gaussian'], 'give each refiner once'),
    ],
)
def test_wrong_usage(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, a=track(hand(10)))
    with pytest.raises(SystemExit):
        main('compare-refiners', [*words, '--truth', 'a.npz'])
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not REAL.is_file(), reason='needs HANDPOSE_REAL_DATA with estimator_outputs/')
def test_real_estimators():
    """NYU's first subject, six published estimators: the numbers that scipy gives, 8.32 and 7.98 mm."""
    with np.load(REAL) as data:
        truth, predictions = data['truth'].astype(np.float64), data['predictions'].astype(np.float64)

    def predicted(joints):
        fields = dict(valid=np.ones((len(joints), 1), bool), timestamps=np.arange(len(joints)) / 30)
        names = dict(hand_side=['right'], joint_order='nyu', unit='metre', frame='camera')
        return Predictions.from_arrays(joints=joints[:, None], **fields, **names)

    files = {f'estimator {i}': predicted(joints) for i, joints in enumerate(predictions)}
    found = compare_refiners(files, predicted(truth), {'gaussian': GaussianFilter(1.5, 1, 'frames')}, perfect=True)
    wrists = [JOINT_ORDERS['nyu'].index(name) for name in ('wrist_a', 'wrist_b')]

    def relative(joints):
        return 1000 * (joints - joints[..., wrists, :].mean(-2, keepdims=True))[..., :11, :]

    error = gaussian_filter1d(relative(predictions), 1.5, axis=1) - relative(truth)
    expected = np.linalg.norm(error, axis=-1).mean(), np.linalg.norm(np.diff(error, 2, axis=1), axis=-1).mean()
    row = found.row('gaussian')
    assert row.joints == 6 * 2440 * 11 and row.better_everywhere
    assert found.row('input').errors['mpjpe'].value == pytest.approx(8.32, abs=0.005)
    assert row.errors['mpjpe'].value == pytest.approx(expected[0], abs=2e-3) == pytest.approx(7.98, abs=0.005)
    assert row.errors['acceleration'].value == pytest.approx(expected[1], abs=2e-3) == pytest.approx(2.12, abs=0.005)
    assert found.row('gaussian', 'perfect input').errors['mpjpe'].value == pytest.approx(0.94, abs=0.005)
