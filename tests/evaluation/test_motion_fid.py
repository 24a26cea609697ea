"""FID of sampled futures: which motions the network sees, and the distance of their features."""

import numpy as np
import pytest
import torch
from forecasts import forecast_pair, moving_hands

from handpose.evaluation import MotionFID
from handpose.registry import FEATURE_NETWORKS
from handpose.structures import HandSequence, SequenceError


class Means:
    """Features (N, 3): the mean position of the valid joints of the real frames. Keeps what it was given."""

    def __init__(self):
        self.given = []

    def __call__(self, joints, joints_valid, frame_valid):
        self.given.append((joints, joints_valid, frame_valid))
        counted = joints_valid & frame_valid[..., None, None]
        return (joints * counted[..., None]).sum((1, 2, 3)) / counted.sum((1, 2, 3))[:, None]


def pairs(count=12, samples=3, frames=20, hands=2, shift=0.0):
    made = []
    for seed in range(count):
        truth = moving_hands(16 + frames, hands, seed)
        noise = 0.02 * np.random.default_rng([seed, 1]).normal(size=(samples, 1, hands, 1, 3))
        made.append(
            forecast_pair(truth, (truth[None, 16:] + noise + shift).astype(np.float32), sequence=f'{frames}/{seed}')
        )
    return made


def run(metric, pairs):
    metric.process(None, [{'prediction': prediction, 'target': target} for prediction, target in pairs])
    return metric.evaluate(size=len(pairs))


def gaussians(first, second):
    """The distance by the eigenvalues of C1 C2, in float64."""
    one, other = np.cov(first.T), np.cov(second.T)
    roots = np.sqrt(np.linalg.eigvals(one @ other).real).sum()
    shift = first.mean(0) - second.mean(0)
    return shift @ shift + np.trace(one) + np.trace(other) - 2 * roots


def means(clips):
    return np.stack([clip.joints_3d.double().numpy().mean((0, 1, 2)) for clip in clips])


def test_all_samples_against_all_true_futures():
    data = pairs(shift=0.05)
    truth = means([target.future.unstack()[0] for _, target in data])
    sampled = means([clip for prediction, _ in data for clip in prediction.future.unstack()])
    for method in ('eigenvalues', 'sqrtm'):
        numbers = run(MotionFID(Means(), method=method), data)
        assert numbers['fid'] == pytest.approx(gaussians(sampled, truth), abs=1e-7)
        assert (numbers['fid_sampled'], numbers['fid_true']) == (36, 12)
    first = run(MotionFID(Means(), all_samples=False), data)
    assert first['fid'] == pytest.approx(gaussians(sampled[::3], truth), abs=1e-7)
    assert first['fid_sampled'] == 12


def test_a_perfect_forecast_has_no_distance_and_repeats_count_once():
    data = [(target, target) for _, target in pairs()]
    numbers = run(MotionFID(Means()), [*data, data[0]])
    assert numbers['fid'] == pytest.approx(0, abs=1e-9) and numbers['fid_true'] == 12


def test_what_the_network_sees():
    data = pairs(count=5)
    (prediction, target) = data[0]
    gap = torch.ones_like(target.future.joints_valid)
    gap[:, 3:6, 0], gap[:, :, 1, 7] = False, False
    absent = torch.ones_like(prediction.future.joints_valid)
    absent[..., 1] = False
    data[0] = (
        prediction.replace(future=prediction.future.replace(joints_valid=absent)),
        target.replace(future=target.future.replace(joints_valid=gap, hand_valid=gap.any(-1))),
    )
    network = Means()
    run(MotionFID(network, max_frames=10), data)
    joints, valid, frames = network.given[0]
    assert joints.shape == (4, 10, 2, 21, 3) and joints.dtype == torch.float32 and frames.all()
    assert torch.allclose(joints[3], torch.where(gap[0, :10, ..., None], target.future.joints_3d[0, :10], 0), atol=1e-6)
    expected = gap[0, :10] & absent[0, :10]
    assert all(torch.equal(mask, expected) for mask in valid)


def test_padding_and_one_hand():
    data = pairs(count=5, hands=1)
    longer = pairs(count=1, hands=1, frames=30)[0]
    predictions, targets = (HandSequence.stack(list(x)).unstack() for x in zip(*[*data, longer], strict=True))
    network = Means()
    run(MotionFID(network), list(zip(predictions, targets, strict=True))[:5])
    joints, valid, frames = network.given[0]
    assert joints.shape == (4, 20, 2, 21, 3) and frames.shape == (4, 20)
    assert valid[:, :, 1].all() and not valid[:, :, 0].any() and not joints[:, :, 0].any()


def test_long_futures_alone():
    data = [*pairs(count=5, frames=20), *pairs(count=5, frames=30)]
    numbers = run(MotionFID(Means(), min_seconds=1), data)
    assert numbers['fid_true_over_1s'] == 5 and set(numbers) == {
        'fid_over_1s', 'fid_sampled_over_1s', 'fid_true_over_1s'}  # fmt: skip
    both = run(MotionFID(Means(), min_seconds=(0, 1)), data)
    assert both == {**run(MotionFID(Means()), data), **numbers}
    with pytest.raises(ValueError, match=r'none of 5 forecasts counts; .* at least 1 s .* longest is 0.67 s'):
        run(MotionFID(Means(), min_seconds=1), data[:5])


def test_fewer_clips_than_features():
    with pytest.raises(ValueError, match=r'true futures: a Frechet distance of 3 features needs at least 4 .* got 3'):
        run(MotionFID(Means()), pairs(count=3))


def test_wrong_options_networks_and_forecasts():
    with pytest.raises(TypeError, match='features must be dict'):
        MotionFID('weights.safetensors')
    for wrong in (dict(min_seconds=-1), dict(max_frames=0), dict(method='newton')):
        with pytest.raises(ValueError, match='MotionFID: m'):
            MotionFID(Means(), **wrong)
    prediction, target = pairs(count=1)[0]
    with pytest.raises(SequenceError, match='finite features'):
        MotionFID(lambda joints, joints_valid, frame_valid: joints[0]).process_clip(prediction, target)
    with pytest.raises(SequenceError, match='with NaN'):
        MotionFID(lambda joints, joints_valid, frame_valid: torch.full((4, 2), torch.nan)).process_clip(
            prediction, target
        )
    wrist = prediction.replace(future=prediction.future.replace(frame='wrist'))
    with pytest.raises(SequenceError, match='relative to the wrist'):
        MotionFID(Means()).process_clip(wrist, target)
    with pytest.raises(KeyError, match='is not a registered feature_network'):
        MotionFID(dict(type='TrainedMotionFeature', weights='x')).process_clip(prediction, target)
    assert 'TrainedMotionFeatures' in FEATURE_NETWORKS.module_dict
