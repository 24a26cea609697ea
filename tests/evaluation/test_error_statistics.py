import numpy as np
import pytest

from handpose.evaluation.error_statistics import ErrorStatistics, error_statistics, has_segment
from handpose.evaluation.input_motion import InputTrack

FPS = 30.0
WRIST = np.array([0.1, -0.2, 0.6])


def track(error, valid=None, known=None):
    """A still hand in front of a camera whose joints (not the wrist) have these errors (T, 20, 3)."""
    target = np.random.default_rng(7).normal(0, 0.001, (21, 3)) + WRIST  # so that all joints are in one direction
    target = np.broadcast_to(target, (len(error), 21, 3))
    joints = target + np.concatenate([np.zeros((len(error), 1, 3)), error], 1)
    valid = np.ones(len(error), bool) if valid is None else valid
    return InputTrack(joints, valid, target, np.ones((len(error), 21), bool) if known is None else known)


def test_white_noise_and_a_constant():
    """White noise less its mean of 60 frames: autocorrelation -1 / 60, and two thirds of the power from 5 to 15 Hz."""
    rng = np.random.default_rng(0)
    white = 0.002 * rng.standard_normal((6000, 20, 3))
    found = error_statistics([track(white)], FPS)
    assert found.mpjpe == pytest.approx(2 * 2 * np.sqrt(2 / np.pi), rel=0.01)
    assert found.autocorrelation == pytest.approx(-1 / 60, abs=0.005)
    assert found.fast == pytest.approx(2 / 3, abs=0.02)
    assert found.depth_ratio == pytest.approx(1, abs=0.01)
    assert found.constant == pytest.approx(1 / 60, rel=0.1)
    assert found.tail == pytest.approx(3.368 / 1.538, rel=0.02)  # of the chi distribution with 3 degrees of freedom
    moved = error_statistics([track(white + 0.002 * rng.standard_normal((20, 3)))], FPS)
    assert moved.constant == pytest.approx(0.5, abs=0.15)
    assert moved.autocorrelation == pytest.approx(found.autocorrelation, abs=1e-9)


def test_a_slow_wave_has_the_autocorrelation_of_its_frequency():
    time = np.arange(60) / FPS
    wave = 0.003 * np.sin(2 * np.pi * 1.0 * time)[:, None, None] * np.ones((60, 20, 3))
    found = error_statistics([track(wave)], FPS)
    assert found.autocorrelation == pytest.approx(np.cos(2 * np.pi / FPS), abs=0.01) and found.fast < 0.01
    assert error_statistics([track(wave)], FPS, segment=1.0).constant == pytest.approx(0, abs=1e-9)
    fast = 0.003 * np.sin(2 * np.pi * 8.0 * time)[:, None, None] * np.ones((60, 20, 3))
    assert error_statistics([track(fast)], FPS).fast > 0.99


def test_the_ray_and_tails():
    rng = np.random.default_rng(1)
    ray = WRIST / np.linalg.norm(WRIST)
    white = rng.standard_normal((3000, 20, 3))
    deep = 0.002 * (white + (3 - 1) * (white @ ray)[..., None] * ray)
    assert error_statistics([track(deep)], FPS).depth_ratio == pytest.approx(3, rel=0.02)
    found = track(deep)
    at_origin = found._replace(joints=found.joints - WRIST, target=found.target - WRIST)
    assert np.isnan(error_statistics([at_origin], FPS).depth_ratio)
    seldom = 0.001 * np.ones((3000, 20, 3))
    seldom[::40] *= 10  # one in forty is ten times as large
    assert error_statistics([track(seldom)], FPS).tail == pytest.approx(10)


def test_segments_without_a_hand_and_missing_joints_do_not_count():
    rng = np.random.default_rng(2)
    error = 0.002 * rng.standard_normal((180, 20, 3))
    broken = error.copy()
    broken[70:75], broken[:, 4] = 5.0, 9.0
    valid, known = np.ones(180, bool), np.ones((180, 21), bool)
    valid[72], known[:, 5] = False, False  # row 4 of the errors is joint 5
    kept = np.delete(np.delete(error, 4, 1), np.s_[60:120], 0)
    wanted = [track(np.concatenate([kept, kept[:, :1]], 1), known=np.arange(21) < 20 + np.zeros((120, 1)))]
    found = error_statistics([track(broken, valid, known)], FPS)
    np.testing.assert_allclose(found[:1], error_statistics(wanted, FPS)[:1], rtol=1e-9)
    short = track(error[:59])
    assert not has_segment([short], FPS) and has_segment([short], FPS, segment=1.0)
    with pytest.raises(ValueError, match=r'no track has 60 frames \(2 s\)'):
        error_statistics([short], FPS)
    with pytest.raises(ValueError, match='exactly the truth'):
        error_statistics([track(np.zeros((60, 20, 3)))], FPS)
    assert isinstance(found, ErrorStatistics)
