"""Errors after equalising the mean palm-bone length, against plain loops."""

import numpy as np
import pytest
import torch
from forecasts import clip_of, moving_hands

from handpose.evaluation import HandPoseMetric, align_pair, point_errors

KNUCKLES = [5, 9, 13, 17]


def loops(prediction, target, valid):
    """(N, 21) errors, one hand after the other."""
    errors = np.full(valid.shape, np.nan)
    for n in range(len(valid)):
        bones = [k for k in KNUCKLES if valid[n, k]]
        if not valid[n, 0] or not bones:
            continue
        hand, true = prediction[n] - prediction[n, 0], target[n] - target[n, 0]
        factor = sum(np.linalg.norm(true[k]) for k in bones) / sum(np.linalg.norm(hand[k]) for k in bones)
        for joint in np.flatnonzero(valid[n]):
            errors[n, joint] = np.linalg.norm(factor * hand[joint] - true[joint])
    return errors


def test_errors_by_plain_loops():
    draw = np.random.default_rng(0)
    prediction, target = draw.normal(size=(2, 30, 21, 3))
    valid = draw.random((30, 21)) < 0.8
    valid[:3, 0], valid[3:6, KNUCKLES], valid[6:, 1] = False, False, False
    found = point_errors(np.where(valid[..., None], prediction, np.nan), target, valid, 'wrist_palm_scaled')
    np.testing.assert_allclose(found, loops(prediction, target, valid), atol=1e-12)


def test_a_larger_hand_has_no_error():
    target = moving_hands(5, hands=1)[:, 0].astype(np.float64)
    for factor in (0.5, 1.3):
        assert np.allclose(point_errors(factor * target + 0.1, target, alignment='wrist_palm_scaled'), 0, atol=1e-9)
    aligned = align_pair(1.3 * target, target, alignment='wrist_palm_scaled')[0]
    lengths = [np.linalg.norm(x[:, KNUCKLES] - x[:, :1], axis=-1).mean(-1) for x in (aligned, target)]
    np.testing.assert_allclose(*lengths, atol=1e-12)


def test_a_hand_of_no_size_has_a_large_error():
    target = moving_hands(1, hands=1)[:, 0]
    errors = point_errors(np.zeros_like(target), target, alignment='wrist_palm_scaled')
    assert np.isfinite(errors).all() and errors[:, 5:].mean() > 0.01


@pytest.mark.parametrize('count_wrist', [True, False])
def test_an_option_of_the_metric(count_wrist):
    target = clip_of(moving_hands(8))
    valid = target.joints_valid.clone()
    valid[..., 1] = False  # a thumb base that the dataset lacks
    target = target.replace(joints_valid=valid)
    draw = torch.Generator().manual_seed(0)
    prediction = target.replace(joints_3d=target.joints_3d + 0.01 * torch.randn(8, 2, 21, 3, generator=draw))
    metric = HandPoseMetric(palm_scaled=True, count_wrist=count_wrist)
    metric.process(None, [{'prediction': prediction, 'target': target}])
    numbers = metric.evaluate(1)
    arrays = [clip.joints_3d.double().numpy().reshape(-1, 21, 3) for clip in (prediction, target)]
    errors = 1000 * loops(*arrays, valid.numpy().reshape(-1, 21))
    name = 'mpjpe_ra_wrist_palm_scaled_mm' if count_wrist else 'mpjpe_ra_wrist_20_joints_palm_scaled_mm'
    expected = np.nanmean(errors if count_wrist else errors[:, 2:])
    assert numbers[name] == pytest.approx(expected, abs=1e-3) and f'{name}/left' in numbers and name in metric.records
    assert name in {spec.name for spec in metric.specs if spec.headline}
    scaled = prediction.replace(joints_3d=1.2 * prediction.joints_3d)
    larger = HandPoseMetric(palm_scaled=True, count_wrist=count_wrist)
    larger.process(None, [{'prediction': scaled, 'target': target}])
    of_larger = larger.evaluate(1)
    for same in (name, 'pa_mpjpe_mm'):  # neither depends on the size of the prediction
        assert of_larger[same] == pytest.approx(numbers[same], abs=1e-3)
    plain = HandPoseMetric(count_wrist=count_wrist)
    plain.process(None, [{'prediction': prediction, 'target': target}])
    assert plain.evaluate(1) == {key: value for key, value in numbers.items() if 'palm' not in key}
