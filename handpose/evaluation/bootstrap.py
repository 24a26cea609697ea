"""Confidence intervals of differences and changes between two models, measured on the same samples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


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


class RelativeChange(NamedTuple):
    """The change of a mean in percent and its interval; negative where the second mean is smaller."""

    percent: float
    low: float
    high: float
    num_blocks: int


def paired_change(
    before: Sequence[ArrayLike],
    after: Sequence[ArrayLike],
    blocks: Sequence[ArrayLike],
    num_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> RelativeChange:
    """Change of the mean error from `before` to `after` in percent, with a percentile bootstrap over blocks of time.

    The mean is that of the groups' means, so every group counts alike. Errors of neighbouring frames resemble each
    other, and so do those of different estimators on the same frames. Therefore whole blocks are drawn, and a block
    that is drawn comes from every group that has it (Kuensch 1989, with blocks that do not overlap).

    Args:
        before: for each group (N,) errors, NaN where a sample does not count.
        after: for each group (N,) errors of the same samples.
        blocks: for each group (N,) int labels of the blocks, of which equal ones belong together in all groups.
        num_resamples: how many times the blocks are drawn.
        level: share of the resampled changes inside the interval.
        seed: of the draws.

    Returns:
        The change. Its interval is NaN for a single block, and all numbers are NaN where `before` is 0.

    Raises:
        ValueError: no sample counts in a group, or a sample counts in only one of `before` and `after`.
    """
    labels, index = np.unique(np.concatenate([np.ravel(part) for part in blocks]), return_inverse=True)
    sums = np.zeros((3, len(before), len(labels)))  # of the errors before and after, and the number of samples
    starts = np.cumsum([0, *(np.size(part) for part in blocks)])
    for group, (first, second) in enumerate(zip(before, after, strict=True)):
        first, second = np.ravel(np.asarray(first, np.float64)), np.ravel(np.asarray(second, np.float64))
        counted, where = ~np.isnan(first), index[starts[group] : starts[group + 1]]
        if not counted.any() or not np.array_equal(counted, ~np.isnan(second)):
            raise ValueError(
                f'paired_change: group {group} must have errors of the same samples before and after, and at least '
                f'one, got {counted.sum()} and {(~np.isnan(second)).sum()}'
            )
        for row, values in enumerate((first, second, np.ones_like(first))):
            sums[row, group] = np.bincount(where[counted], values[counted], minlength=len(labels))

    used = sums[2].any(0)
    number = int(used.sum())
    totals = sums[:, :, used]
    percent = float(_percent(totals.sum(-1, keepdims=True))[0])
    low, high = np.nan, np.nan
    if number > 1 and np.isfinite(percent):
        draws = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), num_resamples)
        changes = _percent(totals @ draws.T)
        low, high = np.nanquantile(changes, [(1 - level) / 2, (1 + level) / 2])
    return RelativeChange(percent, float(low), float(high), number)


def _percent(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of the mean over groups, from sums (before, after, number; groups; resamples).

    A group of which a resample has no block is left out of it.
    """
    known = sums[2] > 0
    before, after = (np.where(known, part / np.maximum(sums[2], 1), 0).sum(0) for part in sums[:2])
    result = np.full_like(before, np.nan)
    np.divide(100 * (after - before), before, out=result, where=before > 0)
    return result
