"""From tracks to numbers: segments, batches, a forecaster in the runner's adapter, and all metrics of forecasts."""

import numpy as np
import pytest
import torch
from forecasts import RandomTracks, moving_hands
from torch.utils.data import DataLoader

from handpose.datasets.transforms import EstimatorNoise, SplitFuture
from handpose.engine.adapter import EstimatorAdapter, collate
from handpose.evaluation import APDMetric, ForecastMetric, MotionFID
from handpose.models.estimators.motion_action_transformer import MotionActionTransformer
from handpose.models.estimators.simple_forecasters import LastPose
from handpose.structures import HandSequence, SequenceError

LENGTHS = (120, 47, 70, 16, 90)
JOINTS = [joint for joint in range(21) if joint != 1]


class NoisyLastPose(LastPose):
    """Four samples: the last pose, moved at random."""

    def __init__(self):
        super().__init__()
        self.test_samples = 4

    def forecast(self, batch, num_frames, *, num_samples=None, generator=None, action=None):
        clips = super().forecast(batch, num_frames).unstack()
        moved = [c.replace(joints_3d=c.joints_3d + 0.02 * torch.randn(2, 1, 3, generator=generator))
                 for c in clips for _ in range(num_samples)]  # fmt: skip
        return HandSequence.stack(moved)


def evaluate(estimator, *metrics, batch_size=4, pipeline=(), workers=0):
    tracks = RandomTracks(
        '.', sampling=dict(type='ForecastSegments'), pipeline=[SplitFuture(), *pipeline], lengths=LENGTHS
    )
    adapter = EstimatorAdapter(estimator).eval()
    for data in DataLoader(tracks, batch_size, collate_fn=collate, num_workers=workers):
        pairs = adapter(**data, mode='predict')
        for metric in metrics:
            metric.process(None, pairs)
    return {name: number for metric in metrics for name, number in metric.evaluate(len(tracks)).items()}


def expected_errors():
    """By plain loops: the error of the last pose over the first 16 frames and over all, of each hand."""
    first, whole = [], []
    for track, length in enumerate(LENGTHS):
        joints = 1000.0 * moving_hands(length, seed=track).astype(np.float64)
        for start in range(0, length - 16, 16):
            future = joints[start + 16 : start + 112]
            errors = np.linalg.norm(future - joints[start + 15], axis=-1)[..., JOINTS].mean(-1)
            whole.append(errors.mean(0))
            if len(errors) >= 16:
                first.append(errors[:16].mean(0))
    return np.array(first), np.array(whole)


@pytest.mark.parametrize(('batch_size', 'workers'), [(1, 0), (4, 1)])
def test_errors_of_the_last_pose(batch_size, workers):
    numbers = evaluate(LastPose(), ForecastMetric(), batch_size=batch_size, workers=workers)
    first, whole = expected_errors()
    assert numbers['forecast_hands'] == whole.size and numbers['forecast_hands_16_frames'] == first.size
    assert numbers['forecast_mpjpe_16_frames_mm'] == pytest.approx(first.mean(), abs=1e-3)
    assert numbers['forecast_mpjpe_mm/left'] == pytest.approx(whole[:, 0].mean(), abs=1e-3)


def test_noise_of_the_input_is_an_error_of_the_forecast():
    clean, noisy = (evaluate(LastPose(), ForecastMetric(), pipeline=p) for p in ((), (EstimatorNoise(),)))
    assert noisy['forecast_hands'] == clean['forecast_hands']
    assert noisy['forecast_mpjpe_16_frames_mm'] > clean['forecast_mpjpe_16_frames_mm'] + 1


def test_samples_have_diversity_and_a_distance_to_the_truth():
    classifier = MotionActionTransformer(3, channels=8, num_layers=1, num_heads=2, feedforward_channels=16).eval()
    metrics = [ForecastMetric(), APDMetric(), APDMetric(min_seconds=1), MotionFID(classifier.features)]
    numbers = evaluate(NoisyLastPose(), *metrics)
    samples = 0.02 * 1000 * 4 / np.sqrt(np.pi)  # the mean distance of two points of normal noise in space
    assert numbers['apd_mm'] == pytest.approx(samples, rel=0.2) and numbers['apd_ra_wrist_mm'] < 1e-3
    assert numbers['forecast_best_mpjpe_mm'] < numbers['forecast_mpjpe_mm']
    assert numbers['fid'] > 0 and numbers['fid_sampled'] == 4 * numbers['fid_true'] == 4 * numbers['forecast_hands'] / 2
    with pytest.raises(SequenceError, match='set test_samples=20'):
        evaluate(LastPose(), APDMetric())
