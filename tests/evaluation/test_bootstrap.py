import numpy as np
import pytest

from handpose.evaluation import paired_bootstrap
from handpose.evaluation.bootstrap import paired_change


def clustered(rng, clusters, effect=1.0, noise=0.5, shift=0.0):
    """Pairs whose difference is shift + an effect of the cluster + noise; clusters of 2 to 9 samples."""
    sizes = rng.integers(2, 10, clusters)
    labels = np.repeat([f'sequence {i}' for i in range(clusters)], sizes)
    b = rng.normal(20, 5, len(labels))
    a = b + shift + np.repeat(rng.normal(0, effect, clusters), sizes) + rng.normal(0, noise, len(labels))
    return a, b, labels


def test_agrees_with_a_plain_loop():
    """Drawing labels one by one and collecting their rows gives the same interval, up to the draws."""
    rng = np.random.default_rng(1)
    a, b, labels = clustered(rng, 12, shift=0.3)
    names = np.unique(labels)
    means = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(labels == name) for name in rng.choice(names, len(names))])
        means.append(np.mean(a[rows] - b[rows]))
    result = paired_bootstrap(a, b, labels, num_resamples=20_000)
    assert result.difference == pytest.approx(np.mean(a - b))
    np.testing.assert_allclose((result.low, result.high), np.quantile(means, [0.025, 0.975]), atol=0.03)
    assert (result.num_clusters, result.num_pairs) == (12, len(a))


@pytest.mark.parametrize('level, z', [(0.95, 1.959964), (0.8, 1.281552)])
def test_closed_form(level, z):
    """With equal clusters a resampled mean has the variance of the cluster means over their number, and is normal."""
    means = np.random.default_rng(2).normal(1, 2, 400)
    difference = np.repeat(means, 3) + np.tile([-1.0, 0.0, 1.0], 400)
    result = paired_bootstrap(difference, 0 * difference, np.repeat(np.arange(400), 3), 40_000, level)
    half = z * means.std() / np.sqrt(400)
    np.testing.assert_allclose((result.low, result.high), (means.mean() - half, means.mean() + half), atol=0.03 * half)


def test_covers_the_truth_as_often_as_it_says():
    """Of 300 data sets 95 % cover the true difference; taking frames for independent covers it far less often."""
    rng = np.random.default_rng(3)
    covered = {'sequences': 0, 'frames': 0}
    for _ in range(300):
        a, b, labels = clustered(rng, 40, shift=0.5)
        for name, clusters in (('sequences', labels), ('frames', np.arange(len(a)))):
            result = paired_bootstrap(a, b, clusters, num_resamples=500)
            covered[name] += result.low <= 0.5 <= result.high
    assert 0.90 <= covered['sequences'] / 300 <= 0.98
    assert covered['frames'] / 300 < 0.75


def test_samples_that_count_for_neither_are_left_out():
    a, b, labels = clustered(np.random.default_rng(4), 10)
    holes_a, holes_b = (np.insert(x.astype(float), 3, np.nan) for x in (a, b))
    with_hole = paired_bootstrap(holes_a, holes_b, np.insert(labels, 3, 'another sequence'))
    assert with_hole == paired_bootstrap(a, b, labels)


def test_one_cluster_has_no_interval():
    result = paired_bootstrap([1.0, 2.0], [0.0, 0.0], ['a', 'a'])
    assert result.difference == 1.5 and np.isnan(result.low) and np.isnan(result.high)


@pytest.mark.parametrize(
    'a, b, clusters, options, words',
    [
        ([1.0], [1.0, 2.0], [0], {}, 'must share one shape'),
        ([np.nan], [np.nan], [0], {}, 'no pair of which both numbers are known'),
        ([1.0, np.nan], [1.0, 1.0], [0, 1], {}, '1 of 2 samples have a number under one model and NaN .* at index 1'),
        ([1.0, np.inf], [1.0, np.inf], [0, 1], {}, 'a has 1 infinite numbers'),
        ([1.0], [1.0], [0], dict(level=95), r'level must lie in \(0, 1\)'),
    ],
)
def test_bad_input(a, b, clusters, options, words):
    with pytest.raises(ValueError, match=words):
        paired_bootstrap(a, b, clusters, **options)


def test_paired_change_is_that_of_the_mean_over_groups():
    rng = np.random.default_rng(3)
    before = [rng.uniform(1, 2, 60), rng.uniform(3, 9, 30)]
    after = [before[0] * 0.8, before[1] * 1.1]
    before[0][7] = after[0][7] = np.nan
    blocks = [np.repeat(np.arange(6), 10), np.repeat(np.arange(2, 5), 10)]
    found = paired_change(before, after, blocks)
    means = [np.mean([np.nanmean(part) for part in version]) for version in (before, after)]
    assert found.percent == pytest.approx(100 * (means[1] / means[0] - 1)) and found.num_blocks == 6
    assert found.low < found.percent < found.high
    # By hand: whole blocks with replacement, those of both groups together.
    changes = []
    for _ in range(2000):
        drawn = rng.integers(0, 6, 6)
        pairs = []
        for version in (before, after):
            rows = [np.concatenate([p[b == k] for k in drawn]) for p, b in zip(version, blocks, strict=True)]
            pairs.append(np.mean([np.nanmean(row) for row in rows if len(row)]))
        changes.append(100 * (pairs[1] / pairs[0] - 1))
    np.testing.assert_allclose([found.low, found.high], np.quantile(changes, [0.025, 0.975]), atol=1.5)


def test_paired_change_without_spread():
    same = paired_change([[1.0, 2, 3, 4]], [[0.5, 1, 1.5, 2]], [[0, 0, 1, 1]])
    assert same.percent == same.low == same.high == -50
    single = paired_change([[1.0, 2]], [[2.0, 4]], [[0, 0]])
    assert single.percent == 100 and np.isnan(single.low) and np.isnan(single.high)
    assert np.isnan(paired_change([[0.0, 0]], [[2.0, 4]], [[0, 1]]).percent)
    with pytest.raises(ValueError, match='group 0 must have errors of the same samples'):
        paired_change([[1.0, np.nan]], [[1.0, 1]], [[0, 1]])
