"""Forecasts of hand motion: samples of the small G-HTT, drawn together against one after the other."""

from collections.abc import Callable

import numpy as np
import torch

from handpose.engine import load_config
from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.inference.forecaster import forecast_motion
from handpose.models import Forecaster
from handpose.registry import MODELS
from handpose.structures import Forecast, Predictions

BOTH = ('cpu', 'cuda')
SMALL = 'ghtt/synthetic_action'
OBSERVED, FRAMES, SAMPLES, SEED = 64, 96, 20, 0
SECONDS_ALLOWED = 1.5  # for all samples, on two threads


def forecasting(settings: Settings) -> Callable[[int, int], Forecast]:
    """Function (samples, seed) -> forecast of two hands that move at random, by the small G-HTT without training."""
    torch.manual_seed(0)
    model = MODELS.build(load_config(SMALL).model).to(settings.device).eval()
    assert isinstance(model, Forecaster)
    draw = np.random.default_rng(0)
    hands = 0.04 * draw.normal(size=(2, 21, 3)) + 0.002 * draw.normal(size=(OBSERVED, 2, 21, 3)).cumsum(0)
    joints = hands + 0.01 * draw.normal(size=(OBSERVED, 2, 1, 3)).cumsum(0) + np.array([0, 0, 1])
    times, valid = np.arange(OBSERVED) / 30, np.ones((OBSERVED, 2), bool)
    predictions = Predictions(joints, valid, times, np.array([0, 1]), 'camera')

    def forecast(samples: int, seed: int) -> Forecast:
        return forecast_motion(predictions, model, seconds=FRAMES / 30, num_samples=samples, seed=seed)

    return forecast


@case('frame', target=SAMPLES * FRAMES / SECONDS_ALLOWED, devices=BOTH)
def forecast_samples(settings: Settings) -> Work:
    """20 samples of 96 frames of two hands by the small G-HTT; wanted on two threads (--threads 2): 1280 per second."""
    forecast = forecasting(settings)
    return Work(lambda: forecast(SAMPLES, SEED), SAMPLES * FRAMES)


@forecast_samples.reference
def one_by_one(settings: Settings) -> Work:
    """One sample at a time."""
    forecast = forecasting(settings)
    return Work(lambda: [forecast(1, seed) for seed in range(SAMPLES)], SAMPLES * FRAMES)
