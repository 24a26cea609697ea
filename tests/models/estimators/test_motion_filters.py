"""Filters against plain computations: polynomials by least squares, sums of Gaussian weights, a scalar One-Euro; in
frames, against what the code published with SmoothNet does; in seconds, at many frame rates."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from motion_clips import clip, track
from scipy.ndimage import gaussian_filter1d

from handpose.inference import METHODS
from handpose.models import (
    GaussianFilter,
    InputMotion,
    KalmanSmoother,
    OneEuroFilter,
    SavitzkyGolayFilter,
    StillHand,
    TrainingStep,
)
from handpose.registry import MODELS
from handpose.structures import HandSequence

RIGHT = torch.tensor([1])
REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', '')) / 'estimator_outputs' / 'nyu_subject1.npz'
SMOOTHING = ('gaussian', 'savitzky_golay', 'one_euro', 'kalman')


def noisy(num_frames, columns=4):
    return np.random.randn(num_frames, columns).cumsum(0)


def polynomials(values, window, order):
    """Each frame's value on the polynomial fitted to the window around it; at the ends, on that of the end's window."""
    half, out = window // 2, np.empty_like(values)
    for t in range(len(values)):
        middle = min(max(t, half), len(values) - 1 - half)
        frames = np.arange(middle - half, middle + half + 1)
        fitted = np.polynomial.Polynomial.fit(frames, values[frames], order)
        out[t] = fitted(t)
    return out


def gaussian(values, sigma):
    """Weighted straight line through the frames around each, up to four sigmas: its value there."""
    half, out = int(4 * sigma), np.empty_like(values)
    for t in range(len(values)):
        frames = np.arange(max(0, t - half), min(len(values), t + half + 1))
        weights = np.exp(-((frames - t) ** 2) / (2 * sigma**2))
        out[t] = np.polyfit(frames - t, values[frames], 1, w=np.sqrt(weights))[1]
    return out


def published_gaussian(values, sigma, window):
    """Pieces of `window` frames, or of the whole shorter track, each filtered alone; the rest is left."""
    window = min(window - (window % 2 == 0), len(values))
    out = values.copy()
    for start in range(0, len(values) - window + 1, window):
        out[start : start + window] = gaussian_filter1d(values[start : start + window], sigma, axis=0)
    return out


def published_savitzky_golay(values, window, order):
    """Of a track shorter than the window: the polynomial of the whole track, of a lower order where it is short."""
    order = min(order, len(values) - 1)
    frames = np.arange(len(values))
    return np.stack([np.polyval(np.polyfit(frames, column, order), frames) for column in values.T], 1)


def one_euro(values, min_cutoff, beta, derivative_cutoff, scale=1.0):
    """Algorithm 1 of Casiez et al. for one coordinate, one frame a unit of time, speed from the last answer."""

    def alpha(cutoff):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau)

    out, last, speed = [], None, 0.0
    for value in values:
        if last is None:
            last = value
        else:
            change = (value - last) * scale
            speed = alpha(derivative_cutoff) * change + (1 - alpha(derivative_cutoff)) * speed
            share = alpha(min_cutoff + beta * abs(speed))
            last = share * value + (1 - share) * last
        out.append(last)
    return np.array(out)


@pytest.mark.parametrize('num_frames, window, order', [(60, 31, 2), (20, 7, 3), (7, 7, 2), (50, 5, 0)])
def test_savitzky_golay(num_frames, window, order):
    values = noisy(num_frames)
    found = SavitzkyGolayFilter(window, order, 'frames').smooth(values)
    for column in range(values.shape[1]):
        np.testing.assert_allclose(found[:, column], polynomials(values[:, column], window, order), atol=1e-8)


def test_even_windows_and_short_tracks_of_savitzky_golay_are_as_published():
    values = noisy(40)
    even, odd = (SavitzkyGolayFilter(window, 2, 'frames').smooth(values) for window in (32, 31))
    np.testing.assert_array_equal(even, odd)
    for length in (2, 3, 4, 7, 10, 29, 30, 31):
        found = SavitzkyGolayFilter(31, 2, 'frames').smooth(values[:length])
        np.testing.assert_allclose(found, published_savitzky_golay(values[:length], 31, 2), atol=1e-6)
    np.testing.assert_array_equal(SavitzkyGolayFilter(31, 2, 'frames').smooth(values[:1]), values[:1])


@pytest.mark.parametrize('num_frames', [5, 31, 80])
def test_gaussian(num_frames):
    values = noisy(num_frames)
    found = GaussianFilter(3.0, 1, 'frames').smooth(values)
    for column in range(values.shape[1]):
        np.testing.assert_allclose(found[:, column], gaussian(values[:, column], 3.0), atol=1e-9)
    inside = slice(12, num_frames - 12)
    plain = gaussian_filter1d(values, 3.0, axis=0)
    np.testing.assert_allclose(found[inside], plain[inside], atol=1e-9)


@pytest.mark.parametrize('num_frames', [1, 2, 10, 30, 31, 32, 62, 80])
@pytest.mark.parametrize('sigma, window', [(3.0, 31), (2.0, 10)])
def test_chunked_gaussian_is_as_published(num_frames, sigma, window):
    values = noisy(num_frames)
    found = GaussianFilter(sigma, chunked=True, window=window).smooth(values)
    np.testing.assert_allclose(found, published_gaussian(values, sigma, window), atol=1e-6)
    default = GaussianFilter(chunked=True).smooth(values)
    np.testing.assert_allclose(default, published_gaussian(values, 3.0, 31), atol=1e-6)


@pytest.mark.parametrize('settings', [(0.04, 0.7, 1.0), (0.01, 0.0, 0.5), (1.0, 5.0, 0.2)])
def test_one_euro(settings):
    values = noisy(50)
    found = OneEuroFilter(*settings, unit='frames').smooth(values)
    for column in range(values.shape[1]):
        np.testing.assert_allclose(found[:, column], one_euro(values[:, column], *settings), rtol=1e-12)


def test_one_euro_looks_back_only_and_scale_is_the_unit():
    values, times = noisy(50), np.arange(50) / 25
    found = OneEuroFilter().smooth(values, times)
    np.testing.assert_array_equal(found[:20], OneEuroFilter().smooth(values[:20], times[:20]))
    in_millimetres = OneEuroFilter(beta=0.7).smooth(1000 * values, times) / 1000
    np.testing.assert_allclose(OneEuroFilter(beta=0.7, scale=1000.0).smooth(values, times), in_millimetres)


def test_one_euro_in_hertz_is_the_one_in_cycles_per_frame():
    values = noisy(50)
    in_frames = OneEuroFilter(0.04, 0.7, 1.0, unit='frames').smooth(values)
    np.testing.assert_allclose(OneEuroFilter(1.2, 0.7, 30.0).smooth(values, np.arange(50) / 30), in_frames, rtol=1e-9)


def moving(times):
    """(T, 4) a hand's coordinates, metres, at those times: up to 1.5 hertz and 1 m/s."""
    return np.stack(
        [
            0.15 * np.sin(2 * np.pi * times),
            0.05 * np.cos(2 * np.pi * times),
            0.04 * np.sin(3 * np.pi * times),
            0.5 + 0 * times,
        ],
        axis=1,
    )


@pytest.mark.parametrize('method', SMOOTHING)
@pytest.mark.parametrize('fps', [10, 15, 30, 60, 120])
def test_no_default_filter_adds_errors_at_any_frame_rate(method, fps):
    times = np.arange(0, 8, 1 / fps)
    truth = moving(times)
    given = truth + 0.003 * np.random.default_rng(0).normal(size=truth.shape)
    found = MODELS.build(METHODS[method]).smooth(given, times)
    before, after = np.sqrt(((given - truth) ** 2).mean()), np.sqrt(((found - truth) ** 2).mean())
    assert after <= before + 1e-9, (before, after)
    if fps >= 30:
        assert after < 0.98 * before


def test_a_window_without_neighbours_changes_nothing():
    values, times = noisy(20), np.arange(20) / 10
    np.testing.assert_array_equal(SavitzkyGolayFilter(1 / 3, 3).smooth(values, times), values)
    assert SavitzkyGolayFilter(1 / 3, 3).idle_above() < 0.1 < GaussianFilter().idle_above()


@pytest.mark.parametrize('kind', [SavitzkyGolayFilter, GaussianFilter])
def test_irregular_times_are_true_times(kind):
    """What a cubic fits exactly stays exact wherever the frames are; with frame numbers it would not."""
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.uniform(0.01, 0.06, 60))
    cubic = np.stack([times**3 - times, 2 * times**2, times], 1)
    np.testing.assert_allclose(kind().smooth(cubic, times), cubic, atol=1e-9)
    assert np.abs(kind().smooth(cubic, np.arange(60) / 30) - cubic).max() > 1e-3


@pytest.mark.parametrize('method', SMOOTHING)
def test_missing_frames_are_no_neighbours(method):
    """Whether missing frames are listed or left out, and whatever stands in them, the others are refined alike."""
    joints, valid = track(40)
    times, estimator = torch.arange(40).double() / 30, MODELS.build(METHODS[method])
    gone = [7, 8, 20, 21, 22]
    valid[gone] = False
    kept = valid[:, 0]
    left_out = estimator.refine(joints[kept], valid[kept], RIGHT, times=times[kept]).joints
    joints[gone] = 7.0
    found = estimator.refine(joints, valid, RIGHT, times=times).joints
    torch.testing.assert_close(found[kept], left_out)
    torch.testing.assert_close(found[7], torch.lerp(found[6], found[9], 1 / 3))


def test_a_filter_in_seconds_needs_times():
    joints, valid = track(12)
    with pytest.raises(ValueError, match=r'GaussianFilter are in seconds, so it needs .* timestamps'):
        GaussianFilter().refine(joints, valid, RIGHT)


@pytest.mark.skipif(not REAL.is_file(), reason='needs HANDPOSE_REAL_DATA with estimator_outputs/')
@pytest.mark.parametrize('method', ['gaussian', 'savitzky_golay', 'kalman'])
def test_default_filters_on_real_estimators(method):
    """NYU's first subject, six published estimators: error and acceleration error, relative to the wrist, fall."""
    with np.load(REAL) as data:
        truth, predictions = data['truth'].astype(float), data['predictions'].astype(float)
        names, times = data['joint_names'].tolist(), np.arange(len(data['truth'])) / float(data['fps'])
    wrists = [names.index('wrist_a'), names.index('wrist_b')]

    def figures(tracks):
        errors = [x - x[:, wrists].mean(1, keepdims=True) for x in tracks - truth]
        lengths = [np.linalg.norm(x, axis=-1).mean() for x in errors]
        accelerations = [np.linalg.norm(np.diff(x, 2, axis=0), axis=-1).mean() for x in errors]
        return 1000 * np.mean(lengths), 1000 * np.mean(accelerations)

    estimator = MODELS.build(METHODS[method])
    filtered = np.stack([estimator.smooth(x.reshape(len(x), -1), times).reshape(x.shape) for x in predictions])
    before, after = figures(predictions), figures(filtered)
    assert after[0] < 0.97 * before[0] and after[1] < 0.5 * before[1], (before, after)


@pytest.mark.parametrize(
    'kind', [SavitzkyGolayFilter, GaussianFilter, OneEuroFilter, KalmanSmoother, StillHand, InputMotion]
)
def test_what_does_not_move_stays(kind):
    still = np.tile(np.random.randn(4), (40, 1))
    np.testing.assert_allclose(kind().smooth(still, np.arange(40) / 30), still, atol=1e-9)


def test_still_hand_never_moves():
    joints, valid = track(30)
    found = StillHand().refine(joints, valid, RIGHT).joints
    assert (found - found[:1]).abs().max() < 1e-12
    torch.testing.assert_close(found[0, 0, 0], joints[:, 0, 0].mean(0))
    relative = joints[:, 0] - joints[:, 0, :1]
    torch.testing.assert_close(found[0, 0] - found[0, 0, :1], relative.mean(0))


def test_linear_filters_see_the_joints_themselves():
    """A linear filter of wrist and of joints relative to it is the filter of the joints; so for each hand alone."""
    joints, valid = track(45, hands=2)
    found = SavitzkyGolayFilter(9, 2, 'frames').refine(joints, valid, torch.tensor([0, 1])).joints
    for hand, joint, axis in ((0, 0, 1), (0, 8, 2), (1, 20, 0)):
        wanted = polynomials(joints[:, hand, joint, axis].numpy(), 9, 2)
        np.testing.assert_allclose(found[:, hand, joint, axis].numpy(), wanted, atol=1e-9)


def test_input_motion_is_the_input_with_gaps_filled():
    joints, valid = track(12)
    valid[4:6] = False
    found = InputMotion().refine(joints, valid, RIGHT).joints
    torch.testing.assert_close(found[valid], joints[valid])
    torch.testing.assert_close(found[4], joints[3] + (joints[6] - joints[3]) / 3)


@pytest.mark.parametrize('kind', [SavitzkyGolayFilter, GaussianFilter, OneEuroFilter, KalmanSmoother, StillHand])
def test_padding_does_not_change_a_track(kind):
    """In a batch with a longer clip, a track is filtered as if it were alone."""
    clips = [clip(11, seed=1), clip(40, seed=2)]
    found = kind().predict(HandSequence.stack(clips))
    for b, one in enumerate(clips):
        alone = kind().predict(HandSequence.stack([one])).joints_3d[0]
        torch.testing.assert_close(found.joints_3d[b, : len(alone)], alone)


@pytest.mark.parametrize(
    'make, words',
    [
        (lambda: SavitzkyGolayFilter(2, 2, 'frames'), 'whole number of frames larger than order, got 2 and 2'),
        (lambda: SavitzkyGolayFilter(0.0), r'window must be positive and order at least 0, got 0\.0'),
        (lambda: GaussianFilter(sigma=0.0), r'sigma and window must be positive .*, got 0\.0, 31 and 3'),
        (lambda: GaussianFilter(unit='seconds', chunked=True), "counts frames: give unit='frames'"),
        (lambda: OneEuroFilter(unit='hertz'), "unit must be 'seconds' or 'frames', got 'hertz'"),
        (lambda: OneEuroFilter(min_cutoff=0.0), 'must be positive and beta not negative'),
    ],
)
def test_settings_that_make_no_filter(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_there_is_nothing_to_train():
    with pytest.raises(NotImplementedError, match=r'StillHand has nothing to train; test it with `handpose test`'):
        StillHand().loss(HandSequence.stack([clip(9)]), TrainingStep())
