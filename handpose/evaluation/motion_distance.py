"""Quality and diversity of sampled motions as pure functions on NumPy arrays, computed in float64.

Legend: S samples, N motions, D features, J joints. Lengths keep the unit of the input.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from handpose.evaluation.alignment import FloatArray
from handpose.evaluation.functional import nan_mean

NORMS = ('per_joint', 'flat')
FRECHET_METHODS = ('eigenvalues', 'sqrtm')
_EPSILON = 1e-6  # added to the diagonals where the matrix square root does not exist
_LARGEST_IMAGINARY = 1e-3  # of a square root whose true value is real
_NEGATIVE = 1e-6  # share of the largest eigenvalue by which rounding makes others negative


class FeatureStatistics(NamedTuple):
    """The mean (D,) and the covariance (D, D) of the features of a set of motions."""

    mean: FloatArray
    covariance: FloatArray


def average_pairwise_distance(samples: ArrayLike, valid: ArrayLike | None = None, norm: str = 'per_joint') -> float:
    """Average pairwise distance (APD) of sampled motions: how much samples of one future differ.

    Args:
        samples: (S, ..., J, 3) positions.
        valid: (S, ..., J) bool, default all; a point counts in a pair where it is valid in both samples.
        norm: 'per_joint', the mean over all points (frames and joints) of the distance of two samples, or 'flat', the
            L2 norm of the flattened difference, which grows with the number of points (Yuan and Kitani, ECCV 2020).

    Returns:
        The mean over all pairs of samples; NaN where no pair has a valid point.

    Raises:
        ValueError: an unknown norm, fewer than two samples, shapes that do not fit, or a valid point that is NaN or
            infinite.
    """
    points = np.asarray(samples, np.float64)
    mask = np.ones(points.shape[:-1], bool) if valid is None else np.asarray(valid, bool)
    if norm not in NORMS:
        raise ValueError(f'norm must be one of {NORMS}, got {norm!r}')
    if points.ndim < 3 or points.shape[-1] != 3 or mask.shape != points.shape[:-1]:
        raise ValueError(f'samples must be (S, ..., J, 3) and valid (S, ..., J), got {points.shape} and {mask.shape}')
    if len(points) < 2:
        raise ValueError(f'an average pairwise distance needs at least two samples, got {len(points)}')
    if not np.isfinite(points[mask]).all():
        raise ValueError('samples have points that are NaN or infinite; correct them, or mark them as not valid')
    points, mask = points.reshape(len(points), -1, 3), mask.reshape(len(points), -1)
    points = np.where(mask[..., None], points, 0.0)
    distances = []
    for s in range(len(points) - 1):  # one sample against all later ones: S pairs at a time in memory
        both = mask[s] & mask[s + 1 :]
        apart = np.where(both, np.linalg.norm(points[s + 1 :] - points[s], axis=-1), np.nan)
        if norm == 'per_joint':
            distances.append(nan_mean(apart, axis=1))
        else:
            distances.append(np.where(both.any(1), np.sqrt(np.nansum(apart**2, axis=1)), np.nan))
    return float(nan_mean(np.concatenate(distances)))


def feature_statistics(features: ArrayLike, what: str = 'features') -> FeatureStatistics:
    """Mean and covariance of features, which must be more numerous than they have dimensions.

    Args:
        features: (N, D).
        what: names the motions in error messages.

    Returns:
        The statistics in float64; the covariance is unbiased (divided by N - 1).

    Raises:
        ValueError: features that are no (N, D), NaN or infinite, or too few for a covariance of full rank.
    """
    array = np.asarray(features, np.float64)
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f'{what}: features must be (N, D), got {array.shape}')
    count, dimensions = array.shape
    if count <= dimensions:
        raise ValueError(
            f'{what}: a Frechet distance of {dimensions} features needs at least {dimensions + 1} motions for a '
            f'covariance of full rank, got {count}: evaluate more or longer recordings, lower min_seconds, or use a '
            f'feature network with fewer features'
        )
    if not np.isfinite(array).all():
        raise ValueError(f'{what}: {(~np.isfinite(array).all(1)).sum()} of {count} motions have features that are NaN')
    return FeatureStatistics(array.mean(0), np.cov(array, rowvar=False).reshape(dimensions, dimensions))


def frechet_distance(
    mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike, method: str = 'eigenvalues'
) -> float:
    """Squared Frechet distance of two Gaussians, the FID of their features (Heusel et al., NeurIPS 2017).

    |mean1 - mean2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)). With R = C1^(1/2) the trace of the square root is the sum of
    the roots of the eigenvalues of R C2 R, which is symmetric: 'eigenvalues' needs no complex numbers and exists for
    singular covariances too. 'sqrtm' is the routine of the published code, `scipy.linalg.sqrtm` of C1 C2; where that
    is not finite, 1e-6 is added to both diagonals, and an imaginary part up to 1e-3 is dropped.

    Args:
        mean1: (D,).
        cov1: (D, D), symmetric and positive semidefinite.
        mean2: (D,).
        cov2: (D, D), likewise.
        method: 'eigenvalues' or 'sqrtm'.

    Returns:
        The distance, at least 0 but for rounding.

    Raises:
        ValueError: an unknown method, shapes that do not fit, numbers that are NaN or infinite, a matrix that is no
            covariance, or a square root with a larger imaginary part.
    """
    if method not in FRECHET_METHODS:
        raise ValueError(f'method must be one of {FRECHET_METHODS}, got {method!r}')
    first, second = _checked(mean1, cov1, 'first'), _checked(mean2, cov2, 'second')
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f'both Gaussians must have the same number of features, got {len(first.mean)} and {len(second.mean)}'
        )
    if method == 'eigenvalues':
        root = _root(first.covariance, 'first')
        eigenvalues = np.linalg.eigvalsh(root @ second.covariance @ root)
        root_trace = float(np.sqrt(np.maximum(eigenvalues, 0.0)).sum())
        _root(second.covariance, 'second')  # refuses what is no covariance
    else:
        root_trace = _sqrtm_trace(first.covariance, second.covariance)
    shift = first.mean - second.mean
    return float(shift @ shift + np.trace(first.covariance) + np.trace(second.covariance) - 2 * root_trace)


def _checked(mean: ArrayLike, covariance: ArrayLike, name: str) -> FeatureStatistics:
    vector, matrix = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if vector.ndim != 1 or matrix.shape != (len(vector), len(vector)):
        raise ValueError(
            f'the {name} Gaussian needs a mean (D,) and a covariance (D, D), got {vector.shape} and {matrix.shape}'
        )
    if not (np.isfinite(vector).all() and np.isfinite(matrix).all()):
        raise ValueError(f'the {name} Gaussian has numbers that are NaN or infinite')
    return FeatureStatistics(vector, (matrix + matrix.T) / 2)


def _root(covariance: FloatArray, name: str) -> FloatArray:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    if values[0] < -_NEGATIVE * max(values[-1], 1e-12):
        raise ValueError(
            f'the {name} covariance has the eigenvalue {values[0]:.3g} beside {values[-1]:.3g}: expected a positive '
            f'semidefinite matrix, as `feature_statistics` gives'
        )
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _sqrtm_trace(first: FloatArray, second: FloatArray) -> float:
    """Tr((first second)^(1/2))."""
    from scipy.linalg import sqrtm

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # SciPy warns of singular matrices, which are checked for below
        root = np.asarray(sqrtm(first @ second))
        if not np.isfinite(root).all():
            offset = _EPSILON * np.eye(len(first))
            root = np.asarray(sqrtm((first + offset) @ (second + offset)))
    if not np.isfinite(root).all():
        raise ValueError("the square root of the product of the covariances is not finite; use method='eigenvalues'")
    imaginary = np.abs(np.diagonal(root).imag).max()
    if imaginary > _LARGEST_IMAGINARY:
        raise ValueError(
            f'the square root of the product of the covariances has imaginary parts up to {imaginary:.3g}, expected at '
            f"most {_LARGEST_IMAGINARY:g}: the covariances are too close to singular; use method='eigenvalues'"
        )
    return float(np.trace(root).real)
