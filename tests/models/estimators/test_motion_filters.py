"""Filters against plain computations: polynomials by least squares, sums of Gaussian weights, a scalar One-Euro."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from motion_clips import clip, track

from handpose.models import GaussianFilter, InputMotion, OneEuroFilter, SavitzkyGolayFilter, StillHand
from handpose.structures import HandSequence

RIGHT = torch.tensor([1])


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


def gaussian(values, sigma, window):
    """Weighted mean of the frames around each; outside, the nearest frame counts again."""
    half, out = window // 2, np.empty_like(values)
    steps = np.arange(-half, half + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    for t in range(len(values)):
        out[t] = (weights * values[np.clip(t + steps, 0, len(values) - 1)]).sum() / weights.sum()
    return out


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
    found = SavitzkyGolayFilter(window, order).smooth(values)
    for column in range(values.shape[1]):
        np.testing.assert_allclose(found[:, column], polynomials(values[:, column], window, order), atol=1e-8)


def test_even_windows_and_short_tracks_of_savitzky_golay():
    values = noisy(40)
    np.testing.assert_array_equal(SavitzkyGolayFilter(32).smooth(values), SavitzkyGolayFilter(31).smooth(values))
    for length, window in ((10, 9), (9, 9), (4, 3), (3, 3)):
        wanted = polynomials(values[:length, 0], window, 2)
        np.testing.assert_allclose(SavitzkyGolayFilter(31, 2).smooth(values[:length])[:, 0], wanted, atol=1e-9)
    for length in (1, 2):
        np.testing.assert_array_equal(SavitzkyGolayFilter(31, 2).smooth(values[:length]), values[:length])


@pytest.mark.parametrize('num_frames', [1, 5, 31, 80])
def test_gaussian(num_frames):
    values = noisy(num_frames)
    found = GaussianFilter(3.0, 31).smooth(values)
    for column in range(values.shape[1]):
        np.testing.assert_allclose(found[:, column], gaussian(values[:, column], 3.0, 31), rtol=1e-12)


def test_published_gaussian_works_in_pieces_and_leaves_the_tail():
    values = noisy(80)
    found = GaussianFilter(3.0, 31, chunked=True).smooth(values)
    for start in (0, 31):
        piece = values[start : start + 31, 1]
        np.testing.assert_allclose(found[start : start + 31, 1], gaussian(piece, 3.0, 31), rtol=1e-12)
    np.testing.assert_array_equal(found[62:], values[62:])
    np.testing.assert_array_equal(GaussianFilter(3.0, 31, chunked=True).smooth(values[:30]), values[:30])


@pytest.mark.parametrize('settings', [(0.04, 0.7, 1.0), (0.01, 0.0, 0.5), (1.0, 5.0, 0.2)])
def test_one_euro(settings):
    values = noisy(50)
    found = OneEuroFilter(*settings).smooth(values)
    for column in range(values.shape[1]):
        np.testing.assert_allclose(found[:, column], one_euro(values[:, column], *settings), rtol=1e-12)


def test_one_euro_looks_back_only_and_scale_is_the_unit():
    values = noisy(50)
    np.testing.assert_array_equal(OneEuroFilter().smooth(values)[:20], OneEuroFilter().smooth(values[:20]))
    in_millimetres = OneEuroFilter(beta=0.7).smooth(1000 * values) / 1000
    np.testing.assert_allclose(OneEuroFilter(beta=0.7, scale=1000.0).smooth(values), in_millimetres)


@pytest.mark.parametrize('kind', [SavitzkyGolayFilter, GaussianFilter, OneEuroFilter, StillHand, InputMotion])
def test_what_does_not_move_stays(kind):
    still = np.tile(np.random.randn(4), (40, 1))
    np.testing.assert_allclose(kind().smooth(still), still, atol=1e-9)


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
    found = SavitzkyGolayFilter(9, 2).refine(joints, valid, torch.tensor([0, 1])).joints
    for hand, joint, axis in ((0, 0, 1), (0, 8, 2), (1, 20, 0)):
        wanted = polynomials(joints[:, hand, joint, axis].numpy(), 9, 2)
        np.testing.assert_allclose(found[:, hand, joint, axis].numpy(), wanted, atol=1e-9)


def test_input_motion_is_the_input_with_gaps_filled():
    joints, valid = track(12)
    valid[4:6] = False
    found = InputMotion().refine(joints, valid, RIGHT).joints
    torch.testing.assert_close(found[valid], joints[valid])
    torch.testing.assert_close(found[4], joints[3] + (joints[6] - joints[3]) / 3)


@pytest.mark.parametrize('kind', [SavitzkyGolayFilter, GaussianFilter, OneEuroFilter, StillHand])
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
        (lambda: SavitzkyGolayFilter(2, 2), 'window must be larger than order, got 2 and 2'),
        (lambda: GaussianFilter(sigma=0.0), 'sigma must be positive and window odd, got 0.0 and 31'),
        (lambda: GaussianFilter(window=30), 'window odd, got 3.0 and 30'),
        (lambda: OneEuroFilter(min_cutoff=0.0), 'must be positive and beta not negative'),
    ],
)
def test_settings_that_make_no_filter(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_there_is_nothing_to_train():
    with pytest.raises(NotImplementedError, match=r'StillHand has nothing to train; test it with tools/test\.py'):
        StillHand().loss(HandSequence.stack([clip(9)]))
