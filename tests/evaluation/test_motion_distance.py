"""FID and APD against closed forms, SciPy and plain loops in float64."""

import itertools

import numpy as np
import pytest
from scipy.linalg import sqrtm

from handpose.evaluation import average_pairwise_distance, feature_statistics, frechet_distance

METHODS = ('eigenvalues', 'sqrtm')


def covariance(size, seed, rank=None):
    factor = np.random.default_rng(seed).normal(size=(size, rank or 2 * size))
    return factor @ factor.T / factor.shape[1]


def commuting(first, second):
    """The closed form for covariances with the same eigenvectors, of which these are the eigenvalues."""
    return float(((np.sqrt(first) - np.sqrt(second)) ** 2).sum())


@pytest.mark.parametrize('method', METHODS)
def test_gaussians_whose_covariances_commute(method):
    draw = np.random.default_rng(0)
    basis = np.linalg.qr(draw.normal(size=(6, 6)))[0]
    first, second = draw.uniform(0.1, 3, (2, 6))
    means = draw.normal(size=(2, 6))
    found = frechet_distance(means[0], basis * first @ basis.T, means[1], basis * second @ basis.T, method=method)
    assert found == pytest.approx(((means[0] - means[1]) ** 2).sum() + commuting(first, second), abs=1e-9)


@pytest.mark.parametrize('seed', range(5))
def test_any_covariances_against_scipy(seed):
    one, other = covariance(8, seed), covariance(8, seed + 100)
    root = sqrtm(one) @ other @ sqrtm(one)
    expected = np.trace(one + other) - 2 * np.trace(sqrtm(root)).real
    for method in METHODS:
        assert frechet_distance(np.zeros(8), one, np.zeros(8), other, method=method) == pytest.approx(
            expected, abs=1e-8
        )
        assert frechet_distance(np.ones(8), one, np.ones(8), one, method=method) == pytest.approx(0, abs=1e-6)


def test_in_one_dimension():
    assert frechet_distance([1.0], [[4.0]], [3.0], [[9.0]]) == pytest.approx(4 + 1)


def test_singular_covariances():
    """Both of rank 2 in different planes: the trace of the root is the sum of the singular values of A^T B."""
    draw = np.random.default_rng(1)
    a, b = draw.normal(size=(2, 5, 2))
    expected = np.trace(a @ a.T + b @ b.T) - 2 * np.linalg.svd(a.T @ b, compute_uv=False).sum()
    assert frechet_distance(np.zeros(5), a @ a.T, np.zeros(5), b @ b.T) == pytest.approx(expected, abs=1e-6)


def test_it_estimates_the_distance_of_the_distributions():
    draw = np.random.default_rng(2)
    first, second = covariance(4, 3), covariance(4, 4)
    sets = [draw.multivariate_normal(mean, cov, 20000) for mean, cov in ((np.zeros(4), first), (np.ones(4), second))]
    statistics = [feature_statistics(features) for features in sets]
    expected = frechet_distance(np.zeros(4), first, np.ones(4), second)
    assert frechet_distance(*statistics[0], *statistics[1]) == pytest.approx(expected, rel=0.03)
    assert np.allclose(statistics[0].covariance, np.cov(sets[0].T), atol=1e-12)


def test_what_is_no_gaussian_is_refused():
    eye = np.eye(3)
    with pytest.raises(ValueError, match='method must be one of'):
        frechet_distance(np.zeros(3), eye, np.zeros(3), eye, method='newton')
    with pytest.raises(ValueError, match=r'second Gaussian needs a mean \(D,\) and a covariance'):
        frechet_distance(np.zeros(3), eye, np.zeros(2), eye)
    with pytest.raises(ValueError, match='same number of features, got 3 and 2'):
        frechet_distance(np.zeros(3), eye, np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match='first Gaussian has numbers that are NaN'):
        frechet_distance([np.nan, 0, 0], eye, np.zeros(3), eye)
    for covariances in ((-eye, eye), (eye, -eye)):
        with pytest.raises(ValueError, match='expected a positive semidefinite matrix'):
            frechet_distance(np.zeros(3), covariances[0], np.zeros(3), covariances[1])
    with pytest.raises(ValueError, match='imaginary parts up to'):
        frechet_distance(np.zeros(3), eye, np.zeros(3), np.diag([1.0, -1, 1]), method='sqrtm')


def test_too_few_motions_are_refused():
    features = np.random.default_rng(0).normal(size=(8, 8))
    with pytest.raises(ValueError, match=r'true: a Frechet distance of 8 features needs at least 9 motions .* got 8'):
        feature_statistics(features, 'true')
    assert feature_statistics(features[:, :7]).covariance.shape == (7, 7)
    with pytest.raises(ValueError, match='1 of 8 motions have features that are NaN'):
        feature_statistics(np.where(np.arange(8)[:, None] == 3, np.nan, features)[:, :4])
    with pytest.raises(ValueError, match=r'must be \(N, D\)'):
        feature_statistics(features[0])


def loops(samples, valid, norm):
    """The definition, one pair after the other."""
    found = []
    for one, other in itertools.combinations(range(len(samples)), 2):
        both = valid[one] & valid[other]
        difference = (samples[one] - samples[other])[both]
        if norm == 'flat':
            found.append(np.sqrt((difference**2).sum()))
        else:
            found.append(np.sqrt((difference**2).sum(-1)).mean())
    return np.mean(found)


@pytest.mark.parametrize('norm', ['per_joint', 'flat'])
def test_pairwise_distances_by_loops(norm):
    draw = np.random.default_rng(0)
    samples, valid = draw.normal(size=(5, 7, 21, 3)), draw.random((5, 7, 21)) < 0.8
    assert average_pairwise_distance(samples, norm=norm) == pytest.approx(loops(samples, valid | True, norm), abs=1e-12)
    dirty = np.where(valid[..., None], samples, np.nan)
    assert average_pairwise_distance(dirty, valid, norm) == pytest.approx(loops(samples, valid, norm), abs=1e-12)


def test_pairwise_distances_in_closed_form():
    """Samples 0, 1, 3 m apart along a line: pairs of 1, 2 and 3; flattened, times the root of the number of points."""
    samples = np.zeros((3, 4, 21, 3))
    samples[1, ..., 0], samples[2, ..., 0] = 1, 3
    assert average_pairwise_distance(samples) == pytest.approx(2)
    assert average_pairwise_distance(samples, norm='flat') == pytest.approx(2 * np.sqrt(4 * 21))
    assert average_pairwise_distance(samples[[0, 0]]) == 0
    assert np.isnan(average_pairwise_distance(samples, np.zeros(samples.shape[:-1], bool)))


def test_pairwise_distances_refuse():
    samples = np.zeros((3, 4, 21, 3))
    with pytest.raises(ValueError, match='norm must be one of'):
        average_pairwise_distance(samples, norm='l2')
    with pytest.raises(ValueError, match='at least two samples, got 1'):
        average_pairwise_distance(samples[:1])
    with pytest.raises(ValueError, match='NaN or infinite'):
        average_pairwise_distance(np.where(samples == 0, np.nan, samples))
    with pytest.raises(ValueError, match=r'valid \(S, \.\.\., J\)'):
        average_pairwise_distance(samples, np.ones((3, 4), bool))
