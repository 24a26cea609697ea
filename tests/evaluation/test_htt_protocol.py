"""HTT's numbers of hand poses against a plain loop: thresholds with both ends, means joint by joint."""

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from handpose.evaluation import HandPoseMetric
from handpose.structures import HandSequence

H2O = {'cam': (0, 90, 37), 'ra_wrist': (0, 50, 21)}
FPHA = {'cam': (0, 80, 33), 'ra_wrist': (0, 50, 21)}
FRAMES = 14


def two_hands(sides, padded=3, lost=None):
    """A video (prediction, target) with padding at its end; `lost` (t, h) is a hand that is not annotated."""
    rng = np.random.default_rng(len(sides))
    true = rng.normal(0, 0.04, (FRAMES, len(sides), 21, 3)) + (0, 0, 0.5)
    found = true + rng.normal(0, 0.025, true.shape)
    annotated = torch.ones(FRAMES, len(sides), dtype=torch.bool)
    if lost:
        annotated[lost] = False
    valid = torch.arange(FRAMES) < FRAMES - padded
    shared = dict(
        meta=dict(sequence='s', cameras=['cam4'], frame_indices=list(range(FRAMES))),
        frame_valid=valid,
        hand_side=torch.tensor(sides),
    )
    seen = annotated & valid[:, None]
    target = HandSequence(
        **shared,
        hand_valid=seen,
        joints_3d=torch.from_numpy(true).float(),
        joints_valid=seen[..., None].expand(-1, -1, 21).clone(),
    )
    everywhere = torch.ones(FRAMES, len(sides), 21, dtype=torch.bool)
    prediction = HandSequence(**shared, joints_3d=torch.from_numpy(found).float(), joints_valid=everywhere)
    return {'prediction': prediction, 'target': target}


def published(pair, hand, high, steps, aligned):
    """(mean error, AUC) of one hand as the published evaluator has them, joint by joint."""
    rows = np.flatnonzero(pair['target'].hand_valid[:, hand].numpy())
    true, found = (1000 * pair[name].joints_3d[rows, hand].double().numpy() for name in ('target', 'prediction'))
    if aligned:
        true, found = (points - points[:, :1] for points in (true, found))
    means, areas = [], []
    for joint in range(1 if aligned else 0, 21):
        errors = [float(np.sqrt(((t[joint] - f[joint]) ** 2).sum())) for t, f in zip(true, found, strict=True)]
        thresholds = np.linspace(0, high, steps)
        curve = [np.mean([error <= threshold for error in errors]) for threshold in thresholds]
        means.append(np.mean(errors))
        areas.append(trapezoid(curve, thresholds) / high)
    return np.mean(means), np.mean(areas)


@pytest.mark.parametrize('sides, ranges', [([0, 1], H2O), ([1], FPHA)])
def test_numbers_are_the_published_ones_of_each_hand(sides, ranges):
    metric = HandPoseMetric(auc_ranges=ranges, count_wrist=False, breakdowns=('side',))
    pair = two_hands(sides, lost=(2, 0))
    metric.process(None, [pair])
    numbers = metric.evaluate(1)
    for hand, side in enumerate(sides):
        name = ('left', 'right')[side]
        for label, column, aligned in (('cam', 'cam', False), ('ra_wrist', 'ra_wrist_20_joints', True)):
            _, high, steps = ranges[label]
            error, area = published(pair, hand, high, steps, aligned)
            assert numbers[f'mpjpe_{column}_mm/{name}'] == pytest.approx(error, rel=1e-5)
            assert numbers[f'auc_{column}_0_{high}mm/{name}'] == pytest.approx(area, rel=1e-5)
    assert numbers['num_samples'] == len(sides) * (FRAMES - 3) - 1
    assert not [name for name in numbers if name.startswith('auc_pa')]
