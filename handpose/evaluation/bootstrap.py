"""How sure a difference between two models is, when their errors were measured on the same samples."""

from typing import NamedTuple

import numpy as np


class PairedDifference(NamedTuple):
    """What `paired_bootstrap` gives: mean of a - b, its interval, and how many clusters and pairs it rests on."""

    difference: float
    low: float
    high: float
    num_clusters: int
    num_pairs: int


def paired_bootstrap(a, b, clusters, num_resamples=10_000, level=0.95, seed=0):
    """Percentile bootstrap of the mean of a - b over clusters (Efron and Tibshirani 1993, sections 8.3 and 13.3).

    Samples of one cluster, such as the frames of one recording, resemble each other; so whole clusters are drawn,
    with replacement and as many as there are, each with all of its pairs. The interval says how much the difference
    depends on which clusters were tested. It knows nothing of what training again would change.

    Args:
        a, b: (N,) a number of each sample under either model; a pair of two NaN, a sample that does not count, is left
            out.
        clusters: (N,) labels, equal where samples belong together.
        num_resamples: how many times the clusters are drawn.
        level: share of the resampled means inside the interval.
        seed: of the draws.

    Returns:
        `PairedDifference`, in the unit of the input. One cluster has no spread: its interval is NaN.

    Raises:
        ValueError: shapes that differ, no complete pair, a sample that counts under one model alone, an infinite
            number, or a level outside (0, 1).
    """
    a, b, clusters = np.asarray(a, np.float64), np.asarray(b, np.float64), np.asarray(clusters)
    if a.ndim != 1 or not a.shape == b.shape == clusters.shape:
        raise ValueError(f'a, b and clusters must share one shape (N,), got {a.shape}, {b.shape} and {clusters.shape}')
    if not 0 < level < 1 or num_resamples < 1:
        raise ValueError(f'level must lie in (0, 1) and num_resamples above 0, got {level} and {num_resamples}')
    for name, values in (('a', a), ('b', b)):
        if np.isinf(values).any():
            raise ValueError(f'paired_bootstrap: {name} has {np.isinf(values).sum()} infinite numbers')
    complete, alone = ~np.isnan(a) & ~np.isnan(b), np.isnan(a) != np.isnan(b)
    if alone.any():
        raise ValueError(
            f'paired_bootstrap: {alone.sum()} of {len(a)} samples have a number under one model and NaN under the '
            f'other, the first at index {alone.argmax()}; compare the two on the samples that both predicted'
        )
    difference = np.where(complete, a - b, 0.0)
    if not complete.any():
        raise ValueError('paired_bootstrap got no pair of which both numbers are known')
    names, cluster = np.unique(clusters[complete], return_inverse=True)
    totals = np.bincount(cluster, difference[complete], minlength=len(names))
    sizes = np.bincount(cluster, minlength=len(names))
    low, high = np.nan, np.nan
    if len(names) > 1:
        # How often each cluster is drawn decides the resampled mean, so counts are drawn and not clusters.
        counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), num_resamples)
        means = (counts @ totals) / (counts @ sizes)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return PairedDifference(totals.sum() / sizes.sum(), float(low), float(high), len(names), int(sizes.sum()))
