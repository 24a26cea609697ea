"""Confidence intervals of the difference between two models whose errors were measured on the same samples."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class PairedDifference(NamedTuple):
    """The mean of a - b, its interval, and the numbers of clusters and pairs that it is computed from."""

    difference: float
    low: float
    high: float
    num_clusters: int
    num_pairs: int


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike,
    num_resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Percentile bootstrap of the mean of a - b over clusters (Efron and Tibshirani 1993, sections 8.3 and 13.3).

    Samples of one cluster, such as the frames of one recording, resemble each other, so whole clusters are drawn, with
    replacement and as many as there are, each with all of its pairs. The interval states how much the difference
    depends on which clusters were tested. It does not cover the variation between trainings.

    Args:
        a: (N,) number of each sample under the first model. Samples that do not count are NaN in both `a` and `b`.
        b: (N,) number of each sample under the second model.
        clusters: (N,) labels, equal for samples of one cluster.
        num_resamples: how many times the clusters are drawn.
        level: share of the resampled means inside the interval.
        seed: of the draws.

    Returns:
        The difference in the unit of the input. A single cluster has no spread, so its interval is NaN.

    Raises:
        ValueError: shapes that differ, no complete pair, a sample that counts under one model only, an infinite
            number, or a level outside (0, 1).
    """
    first, second, labels = np.asarray(a, np.float64), np.asarray(b, np.float64), np.asarray(clusters)
    if first.ndim != 1 or not first.shape == second.shape == labels.shape:
        raise ValueError(
            f'a, b and clusters must share one shape (N,), got {first.shape}, {second.shape} and {labels.shape}'
        )
    if not 0 < level < 1 or num_resamples < 1:
        raise ValueError(f'level must lie in (0, 1) and num_resamples above 0, got {level} and {num_resamples}')
    for name, values in (('a', first), ('b', second)):
        if np.isinf(values).any():
            raise ValueError(f'paired_bootstrap: {name} has {np.isinf(values).sum()} infinite numbers')
    complete, alone = ~np.isnan(first) & ~np.isnan(second), np.isnan(first) != np.isnan(second)
    if alone.any():
        raise ValueError(
            f'paired_bootstrap: {alone.sum()} of {len(first)} samples have a number under one model and NaN under the '
            f'other, the first at index {alone.argmax()}; compare the two on the samples that both predicted'
        )
    difference = np.where(complete, first - second, 0.0)
    if not complete.any():
        raise ValueError('paired_bootstrap got no pair of which both numbers are known')
    names, cluster = np.unique(labels[complete], return_inverse=True)
    totals = np.bincount(cluster, difference[complete], minlength=len(names))
    sizes = np.bincount(cluster, minlength=len(names))
    low, high = np.nan, np.nan
    if len(names) > 1:
        # The resampled mean depends only on how often each cluster is drawn, so the counts are drawn.
        counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), num_resamples)
        means = (counts @ totals) / (counts @ sizes)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return PairedDifference(float(totals.sum() / sizes.sum()), float(low), float(high), len(names), int(sizes.sum()))
