import numpy as np
import pytest
from scipy import stats

from handpose.datasets.transforms.noise_processes import (
    burst_envelope,
    burst_mask,
    correlated_noise,
    heavy_tailed,
    mixed_noise,
    sample_bursts,
    smooth_function,
)


@pytest.mark.parametrize(('fps', 'time_constant'), [(30, 0.4), (120, 0.4), (30, 2.0)])
def test_correlated_noise_decays_by_seconds_whatever_the_frame_rate(fps, time_constant):
    x = correlated_noise(np.random.default_rng(0), 400, 2000, time_constant, fps)
    np.testing.assert_allclose(x.std(1), 1, atol=0.06)  # from the first frame on
    for lag in (1, 6, fps // 2):
        found = (x[lag:] * x[:-lag]).mean()
        assert found == pytest.approx(np.exp(-lag / fps / time_constant), abs=0.03)


def test_no_time_is_white_and_endless_time_is_constant():
    white = correlated_noise(np.random.default_rng(0), 50, 2000, 0.0, 30)
    assert abs((white[1:] * white[:-1]).mean()) < 0.02
    constant = correlated_noise(np.random.default_rng(0), 50, 10, np.inf, 30)
    np.testing.assert_allclose(constant, np.broadcast_to(constant[0], constant.shape), atol=1e-12)


def test_a_mixture_has_the_sum_of_the_autocorrelations():
    x = mixed_noise(np.random.default_rng(1), 200, 4000, (1.0, 0.1), (3.0, 1.0), 30).total
    for lag in (0, 2, 10):
        wanted = 0.75 * np.exp(-lag / 30) + 0.25 * np.exp(-lag / 3)
        assert (x[lag:] * x[: len(x) - lag]).mean() == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize('freedom', [3.0, 5.0, np.inf])
def test_heavy_tails_are_students(freedom):
    """Each coordinate is Student's t, scaled to the normal distribution's quartiles."""
    x = heavy_tailed(np.random.default_rng(0), (20000, 3), freedom, 1e9)
    law = stats.norm if np.isinf(freedom) else stats.t(freedom)
    scale = stats.norm.ppf(0.75) / law.ppf(0.75)
    for axis in range(3):
        assert stats.kstest(x[:, axis] / scale, law.cdf).pvalue > 1e-3
    assert np.abs(heavy_tailed(np.random.default_rng(0), (2000, 3), freedom, 2.0)).max() == 2


def test_a_pop_has_one_direction():
    """The coordinates share their scale: large ones come together, but no direction is preferred."""
    x = heavy_tailed(np.random.default_rng(0), (50000, 3), 5.0, 1e9)
    assert np.corrcoef(x[:, 0], x[:, 1])[0, 1] == pytest.approx(0, abs=0.03)
    assert np.corrcoef(np.abs(x[:, 0]), np.abs(x[:, 1]))[0, 1] > 0.1


@pytest.mark.parametrize(('rate', 'duration'), [(0.5, 0.3), (0.05, 2.0)])
def test_bursts_cover_the_share_that_poisson_arrivals_do(rate, duration):
    """Number of bursts under way at any time is Poisson with mean rate x duration, at the first frame too."""
    rng, covered = np.random.default_rng(0), np.zeros(30)
    clips = 6000
    for _ in range(clips):
        covered += burst_mask(*sample_bursts(rng, 30, 30, rate, duration), 30, 30).any(0)
    share = covered / clips
    wanted = 1 - np.exp(-rate * duration)
    np.testing.assert_allclose(share, wanted, atol=5 * np.sqrt(wanted / clips))


def test_an_envelope_comes_and_goes_within_its_burst():
    begin, end = np.array([0.2]), np.array([0.6])
    level, now = burst_envelope(begin, end, 30, 30)[0], burst_mask(begin, end, 30, 30)[0]
    assert level.max() == 1 and level[~now].max() == 0 and (level[now][2:-2] == 1).all()
    assert burst_envelope(begin[:0], end[:0], 30, 30).shape == (0, 30)


def test_the_smooth_function_correlates_as_its_kernel():
    rng = np.random.default_rng(0)
    inputs = np.zeros((4, 63))
    inputs[1:, 0] = (0.02, 0.05, 0.2)
    values = np.concatenate([smooth_function(rng, inputs, 5, 0.05) for _ in range(2000)], 1)
    np.testing.assert_allclose(values.std(1), 1, atol=0.03)
    for row, distance in ((1, 0.02), (2, 0.05), (3, 0.2)):
        correlation = (values[0] * values[row]).mean()
        assert correlation == pytest.approx(np.exp(-(distance**2) / (2 * 0.05**2)), abs=0.04)
