import numpy as np
import pytest
from motions import make_motion

from handpose.cli import main
from handpose.datasets import DatasetError, MotionClips
from handpose.datasets.motion.motion_file import write_motion
from handpose.datasets.transforms.noise_family import FAMILY
from handpose.experiments.noise_statistics import (
    StatisticsRange,
    family_statistics,
    pair_statistics,
    read_estimator_outputs,
)
from handpose.structures import Predictions, save_predictions


def hands(frames=90, noise=0.0, seed=0, **changes):
    """A right hand that is still but for noise."""
    still = np.random.default_rng(9).normal(0, 0.04, (21, 3)) + (0.1, 0, 0.6)
    joints = still + noise * np.random.default_rng(seed).standard_normal((frames, 1, 21, 3))
    given = dict(valid=np.ones((frames, 1), bool), timestamps=np.arange(frames) / 30, hand_side=['right'])
    return Predictions(**{**given, 'joints': joints, 'frame': 'camera', **changes})


@pytest.fixture(scope='module')
def motion_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('motion') / 'm.npz'
    write_motion(path, make_motion(sequences=(0, 1), frames=64))
    return path


def outputs(path, **changes):
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.04, (14, 3)) + (0, 0, 0.7) + np.zeros((70, 1, 1))
    noisy = truth + rng.normal(0, 0.003, (2, 70, 14, 3))
    keys = dict(truth=truth, predictions=noisy, joint_names=np.arange(14).astype(str), estimators=['a', 'b'], fps=30.0)
    np.savez(path, **{name: value for name, value in {**keys, **changes}.items() if value is not None})
    return path


def test_the_statistics_of_a_family(motion_file):
    dataset = MotionClips(motion_file, setup='all', labels='joints_only', pipeline=[])
    found = [family_statistics(dataset, FAMILY, np.random.default_rng(seed)) for seed in range(6)]
    again = family_statistics(dataset, FAMILY, np.random.default_rng(0))
    assert again == found[0] != found[1]
    bounds = StatisticsRange.of([statistics for statistics in found if statistics])
    assert (np.array(bounds.low) <= bounds.median).all() and (np.array(bounds.median) <= bounds.high).all()
    assert bounds.outside(bounds.median) == []
    assert bounds.outside(bounds.median._replace(tail=1e3, constant=-1, depth_ratio=np.nan)) == ['tail', 'constant']


def test_pairs_are_matched_by_time_side_and_joints():
    truth, noisy = hands(), hands(noise=0.003)
    whole = pair_statistics(noisy, truth)
    assert whole.mpjpe == pytest.approx(1000 * 0.003 * np.sqrt(2) * 2 * np.sqrt(2 / np.pi), rel=0.03)
    given = np.ones((90, 1, 21), bool)
    given[..., 7] = False
    spoilt = np.where(given[..., None], noisy.joints, np.nan)
    assert pair_statistics(hands(joints=spoilt, joints_valid=given), truth).mpjpe == pytest.approx(
        whole.mpjpe, rel=0.05
    )
    smaller = (noisy.joints - noisy.joints[:, :, :1]) / 1.3
    relative = hands(joints=smaller, frame='wrist', scale='relative')
    assert pair_statistics(relative, truth).mpjpe == pytest.approx(whole.mpjpe, rel=0.02)
    assert pair_statistics(hands(joints=smaller, frame='wrist'), truth).mpjpe > 3 * whole.mpjpe
    with pytest.raises(DatasetError, match=r'hands \[0\].*nothing can be compared'):
        pair_statistics(hands(hand_side=['left']), truth)
    with pytest.raises(DatasetError, match='nothing can be compared'):
        pair_statistics(hands(timestamps=10 + np.arange(90) / 30), truth)


def test_estimator_outputs(tmp_path):
    found = read_estimator_outputs(outputs(tmp_path / 'n.npz'))
    assert list(found) == ['a', 'b']
    predictions, truth = found['a']
    assert predictions.given_joints()[0, 0].sum() == 12  # the wrist, and all but the centre of the palm
    assert pair_statistics(predictions, truth).mpjpe == pytest.approx(
        1000 * 0.003 * np.sqrt(1.5) * 2 * np.sqrt(2 / np.pi), rel=0.05
    )  # the wrist is the mean of two points
    with pytest.raises(DatasetError, match='lacks estimators, fps'):
        read_estimator_outputs(outputs(tmp_path / 'k.npz', fps=None, estimators=None))
    with pytest.raises(DatasetError, match=r'expected truth \(T, 14, 3\).*and 3 names'):
        read_estimator_outputs(outputs(tmp_path / 's.npz', estimators=['a', 'b', 'c']))


def test_the_command(tmp_path, motion_file, capsys):
    save_predictions(tmp_path / 'mine.npz', hands(noise=0.003))
    save_predictions(tmp_path / 'truth.npz', hands())
    real = ['--pair', str(tmp_path / 'mine.npz'), str(tmp_path / 'truth.npz')]
    real += ['--estimators', str(outputs(tmp_path / 'n.npz'))]
    main('noise-report', [str(motion_file), '--family', '3', *real])
    text = capsys.readouterr().out
    assert 'family, median' in text and 'mine' in text and '*' in text.split('Errors')[0]  # white noise is outside
    main('noise-report', real)
    text = capsys.readouterr().out
    assert 'family' not in text.split('Errors')[0] and 'mine' in text
    for words in ([], ['--family', '3'], [str(motion_file), '--family', '-1']):
        with pytest.raises(SystemExit):
            main('noise-report', words)
