"""KalmanSmoother against the dense posterior of a Gaussian process, and against a textbook filter and smoother."""

import numpy as np
import pytest
import torch
from motion_clips import track

from handpose.models import KalmanSmoother
from handpose.models.estimators.kalman_smoother import smoothing_spline

DIFFUSE = 1e6  # metres and m/s: a prior that says nothing


def irregular(num_frames, columns=3, seed=0):
    """Times (T,) and noisy values (T, C) of a walk."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.01, 0.07, num_frames))
    return times, rng.normal(size=(num_frames, columns)).cumsum(0) * 0.02 + 0.003 * rng.normal(
        size=(num_frames, columns)
    )


def posterior(values, times, acceleration, noise):
    """Mean of a Gaussian process given the values: the integral of an integrated white noise, and any line."""
    since = times - times[0]
    earlier, later = np.minimum.outer(since, since), np.maximum.outer(since, since)
    covariance = acceleration**2 * earlier**2 * (3 * later - earlier) / 6
    lines = np.stack([np.ones_like(since), since], 1)
    inverse = np.linalg.inv(covariance + noise**2 * np.eye(len(since)))
    line = np.linalg.solve(lines.T @ inverse @ lines, lines.T @ inverse @ values)
    return lines @ line + covariance @ inverse @ (values - lines @ line)


def textbook(values, times, acceleration, noise, variances=None):
    """Filtered and smoothed positions of one coordinate, from a wide prior."""
    variances = np.full(len(values), noise**2) if variances is None else variances
    state, covariance = np.zeros(2), DIFFUSE * np.eye(2)
    filtered, predicted = [], []
    for t, value in enumerate(values):
        step = times[t] - times[t - 1] if t else 0.0
        move = np.array([[1, step], [0, 1]])
        added = acceleration**2 * np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
        state, covariance = move @ state, move @ covariance @ move.T + added
        predicted.append((state, covariance, move))
        gain = covariance[:, 0] / (covariance[0, 0] + variances[t])
        kept = np.eye(2) - np.outer(gain, [1, 0])
        state = state + gain * (value - state[0])
        covariance = kept @ covariance @ kept.T + variances[t] * np.outer(gain, gain)  # Joseph's form
        filtered.append((state, covariance))
    smooth = [filtered[-1][0]]
    for (state, covariance), (ahead, ahead_covariance, move) in zip(filtered[-2::-1], predicted[:0:-1], strict=True):
        gain = covariance @ move.T @ np.linalg.inv(ahead_covariance)
        smooth.append(state + gain @ (smooth[-1] - ahead))
    return np.array([state[0] for state, _ in filtered]), np.array(smooth[::-1])[:, 0]


@pytest.mark.parametrize('num_frames', [3, 4, 5, 60])
@pytest.mark.parametrize('acceleration, noise', [(1.0, 0.003), (0.2, 0.02), (30.0, 0.001)])
def test_the_smoother_is_the_posterior_mean(num_frames, acceleration, noise):
    times, values = irregular(num_frames)
    found = KalmanSmoother(acceleration, noise).smooth(values, times)
    np.testing.assert_allclose(found, posterior(values, times, acceleration, noise), atol=1e-7)
    assert np.abs(found - values).max() > 1e-5


def test_filter_and_smoother_are_those_of_the_textbook():
    times, values = irregular(50)
    filtered, smooth = (KalmanSmoother(2.0, 0.01, causal=causal).smooth(values, times) for causal in (True, False))
    for column in range(3):
        expected = textbook(values[:, column], times, 2.0, 0.01)
        np.testing.assert_allclose(filtered[:, column], expected[0], atol=1e-6)
        np.testing.assert_allclose(smooth[:, column], expected[1], atol=1e-5)
    assert np.abs(filtered - smooth).max() > 1e-3


def test_the_last_output_of_the_smoother_is_that_of_the_filter():
    times, values = irregular(30)
    filtered = KalmanSmoother(causal=True).smooth(values, times)
    for length in (1, 2, 3, 10, 30):
        smooth = KalmanSmoother().smooth(values[:length], times[:length])
        np.testing.assert_allclose(smooth[-1], filtered[length - 1], atol=1e-10)


def test_weights_are_variances():
    times, values = irregular(40)
    weights = np.random.default_rng(1).uniform(0.1, 3, 40)
    found = smoothing_spline(values[:, :1], times, (0.01 / 2.0) ** 2, weights)[:, 0]
    np.testing.assert_allclose(found, textbook(values[:, 0], times, 2.0, 0.01, 0.01**2 / weights)[1], atol=1e-5)


@pytest.mark.parametrize('causal', [False, True])
def test_outliers_count_less_and_joints_do_not_disturb_each_other(causal):
    """A joint that jumps by 10 cm in one frame; the others are refined as without it, at any orientation."""
    times = np.arange(60) / 30
    rng = np.random.default_rng(0)
    truth = np.stack([0.1 * np.sin(3 * times), 0.05 * np.cos(2 * times), 0.1 * times] * 2, 1)
    values = truth + 0.002 * rng.normal(size=truth.shape)
    jumped = values.copy()
    jumped[30, 1] += 0.1
    settings = dict(acceleration=0.5, noise=0.002, causal=causal)
    plain, robust = (KalmanSmoother(robust=flag, **settings) for flag in (False, True))
    errors = [np.abs(one.smooth(jumped, times) - truth)[28:33, :3].max() for one in (plain, robust)]
    assert errors[1] < 0.2 * errors[0] and errors[1] < 0.008, errors
    np.testing.assert_array_equal(robust.smooth(jumped, times)[:, 3:], robust.smooth(values, times)[:, 3:])
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = (jumped.reshape(-1, 2, 3) @ turn).reshape(60, 6)
    expected = (robust.smooth(jumped, times).reshape(-1, 2, 3) @ turn).reshape(60, 6)
    np.testing.assert_allclose(robust.smooth(turned, times), expected, atol=1e-9)


@pytest.mark.parametrize('robust', [False, True])
@pytest.mark.parametrize('causal', [False, True])
def test_motion_of_constant_velocity_stays(robust, causal):
    times, _ = irregular(30)
    line = np.outer(times, [0.3, -1.0, 2.0]) + 1
    np.testing.assert_allclose(KalmanSmoother(robust=robust, causal=causal).smooth(line, times), line, atol=1e-9)


def test_the_look_ahead_is_all_that_matters():
    """Beyond it a frame moved by a metre changes less than a millimetre, at 10 and at 60 frames per second."""
    for fps in (10, 30, 60):
        times = np.arange(20 * fps) / fps
        values = np.zeros((len(times), 3))
        values[10 * fps] = 1.0
        for smoother in (KalmanSmoother(), KalmanSmoother(0.1, 0.01)):
            far = np.abs(times - times[10 * fps]) > smoother.look_ahead
            assert np.abs(smoother.smooth(values, times)[far]).max() < 1e-3
    assert KalmanSmoother(causal=True).look_ahead == 0


def test_joints_that_are_missing_are_refined_by_themselves():
    joints, valid = track(40)
    given = valid[..., None].expand(40, 1, 21).clone()
    given[:, :, 4], given[10:13, :, 8] = False, False
    times = torch.arange(40).double() / 30
    found = KalmanSmoother().refine(joints, given, torch.tensor([1]), times=times).joints
    whole = KalmanSmoother().refine(joints, valid, torch.tensor([1]), times=times).joints
    torch.testing.assert_close(found[:, :, 5:8], whole[:, :, 5:8])
    assert (found[:, :, 4] == 0).all() and (found[10:13, :, 8] != 0).all()


@pytest.mark.parametrize(
    'make, words',
    [
        (lambda: KalmanSmoother(acceleration=0.0), r'must be positive, got 0\.0 and 0\.003'),
        (lambda: KalmanSmoother(noise=float('nan')), 'must be positive, got 0.3 and nan'),
        (lambda: KalmanSmoother(robust=True).smooth(np.zeros((5, 4)), np.arange(5.0)), 'points of three .*, got 4'),
    ],
)
def test_settings_that_make_no_smoother(make, words):
    with pytest.raises(ValueError, match=words):
        make()
