"""Forecasts hand motion: possible futures of the hands of a predictions file.

    forecaster = load_forecaster('ghtt_synthetic')
    forecast = forecast_motion(load_predictions('hands.npz'), forecaster, seconds=2, num_samples=20)
    save_forecast('future.npz', forecast)

Legend: B clips, S samples, N observed frames, T future frames, H hands.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handpose.engine import load_weights
from handpose.inference.model_config import model_config
from handpose.inference.motion_clips import (
    choose_hands,
    class_label,
    known_object,
    last_run,
    motion_clips,
    motion_notes,
    resample_motion,
)
from handpose.models.estimators.forecaster import Forecaster
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import MODELS
from handpose.structures import Forecast, HandSequence, Predictions, PredictionsError
from handpose.zoo.find import find_weights

FRAME_RATE = 30.0  # frames per second, of a forecaster that works at any
MAX_SECONDS = 10.0
LONGEST_GAP = 15  # frames without a hand that may lie between observed frames; one clip of 16 is too long


def load_forecaster(
    checkpoint: str | Path,
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: torch.device | str = 'cpu',
) -> Forecaster:
    """Builds a forecaster with its weights.

    Args:
        checkpoint: weights: a file, or a name in the zoo. A published `.safetensors` file describes its model; a
            training checkpoint `.pth` needs `config`.
        config: path of the config that the checkpoint was trained with.
        options: {key: value} that override the config.
        device: of the model.

    Returns:
        The forecaster, in evaluation mode.

    Raises:
        ValueError: a checkpoint without its config, or weights of a model that forecasts nothing.
    """
    checkpoint = find_weights(checkpoint)
    estimator = MODELS.build(model_config(checkpoint, config, options))
    if not isinstance(estimator, Forecaster):
        raise ValueError(
            f'{checkpoint} contains weights of {type(estimator).__name__}, which forecasts no motion; give weights of '
            f'a forecaster, such as GHTT'
        )
    load_weights(estimator, checkpoint)
    return prepare_for_prediction(estimator.to(device))


def forecast_motion(
    predictions: Predictions,
    forecaster: Forecaster,
    *,
    seconds: float = 2.0,
    num_samples: int | None = 20,
    seed: int = 0,
    action: str | None = None,
    object: str | None = None,
    hands: str = 'both',
    model: str | None = None,
) -> Forecast:
    """Forecasts the motion of one or two hands after the end of a recording.

    The recording is brought to the frame rate of the forecaster (`resample_motion`), which is given the last run of up
    to 256 observed frames (`last_run`). They end with the last frame in which a hand is seen, and the futures begin
    one frame later. Frames without a hand stay masked. A hand that is seen in none of the last frames that a forecaster
    goes on from has no future.

    In frame 'wrist' each hand is forecast on its own, and the wrist of the futures is the origin too.

    Args:
        predictions: the recording.
        forecaster: the model.
        seconds: how far to forecast, rounded to whole frames, at least one.
        num_samples: how many futures to sample; None means the one mean future.
        seed: of the samples: the same seed gives the same samples on the same machine.
        action: name of the action that the futures show; None leaves it to the forecaster.
        object: name of the object that the hands hold; None means unknown, or as the features in the recording say.
        hands: 'left', 'right', or 'both': those to forecast.
        model: what the forecast states as its model; default the name of the class.

    Returns:
        The observed frames and their futures, with the scores of the recognized actions where the forecaster gives any.

    Raises:
        PredictionsError: fewer observed frames than a clip of the forecaster, or as `choose_hands` and
            `Predictions.check`.
        ValueError: numbers out of range, a name that the forecaster does not know, or a hand that it does not forecast.
    """
    rate = forecaster.reads.frame_rate or FRAME_RATE
    num_frames = _check_numbers(seconds, num_samples, rate)
    action_label = class_label('action', action, forecaster.action_names, type(forecaster).__name__)
    object_label = known_object(forecaster, object)
    observed = _observed(choose_hands(predictions.check(), hands), forecaster, rate)
    device = next((parameter.device for parameter in forecaster.parameters()), torch.device('cpu'))
    batch = HandSequence.stack(motion_clips(observed, object_label)).to(device)
    labels = None if action_label is None else torch.full((len(batch.meta),), action_label, device=device)
    future = forecaster.forecast(
        batch,
        num_frames,
        num_samples=num_samples,
        generator=torch.Generator(device).manual_seed(seed),
        action=labels,
    ).to('cpu')
    joints = future.require('joints_3d')
    valid = future.require('joints_valid') & future.require('frame_valid')[..., None, None]
    if observed.frame == 'wrist':
        # Each hand was a clip of its own, (H * S, T, 1, ...), and a forecaster moves the wrist too.
        joints, valid = (torch.cat(x.chunk(len(batch.meta)), 2) for x in (joints, valid))
        joints = joints - joints[..., :1, :]
    return Forecast(
        observed=observed,
        joints=joints.numpy(),
        joints_valid=valid.numpy(),
        timestamps=future.require('timestamps')[0].numpy(),
        model=model or type(forecaster).__name__,
        seed=None if num_samples is None else seed,
        action=action or '',
        object=object or '',
        action_scores=_recognized(forecaster, batch),
    )


def forecast_notes(predictions: Predictions, forecaster: Forecaster, object: str | None = None) -> list[str]:
    """Says what a forecast assumes about a recording.

    Args:
        predictions: the recording.
        forecaster: the model.
        object: as in `forecast_motion`.

    Returns:
        Messages.
    """
    notes = motion_notes(predictions, forecaster.reads.frame_rate or FRAME_RATE)
    if forecaster.object_names and object is None and predictions.object_features is None:
        notes.append(
            f'no object was given: actions are recognized and forecast from the motion alone; --object takes one of '
            f'{", ".join(forecaster.object_names)}'
        )
    return notes


def _check_numbers(seconds: float, num_samples: int | None, rate: float) -> int:
    """The number of future frames."""
    if num_samples is not None and num_samples < 1:
        raise ValueError(
            f'the number of samples must be at least 1, got {num_samples}; the mean future (--mean, num_samples=None) '
            f'is the forecast without random samples'
        )
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(
            f'seconds must be above 0 and at most {MAX_SECONDS:g}, got {seconds:g}: forecasts were measured up to '
            f'3.2 s, and later ones say nothing'
        )
    return max(1, round(seconds * rate))


def _observed(predictions: Predictions, forecaster: Forecaster, rate: float) -> Predictions:
    """The frames that the forecaster is given."""
    regular = resample_motion(predictions, rate)
    observed = regular.select(last_run(regular.valid, LONGEST_GAP))
    needed, found = forecaster.reads.min_frames, int(observed.valid.any(1).sum())
    if found < needed:
        whole = int(predictions.valid.any(1).sum())
        raise PredictionsError(
            f'{type(forecaster).__name__} needs at least {needed} observed frames at {rate:g} per second '
            f'({needed / rate:.2f} s), and there are {found} up to the last one with a hand, at '
            f'{observed.timestamps[-1]:.2f} s (the recording has {whole} frames with a hand; {LONGEST_GAP + 1} frames '
            f'without one end the observation): give a longer recording without such gaps'
        )
    return observed


def _recognized(forecaster: Forecaster, batch: HandSequence) -> dict[str, float]:
    """The scores of the actions in the observed frames, by name: the mean of the clips."""
    if 'actions' not in forecaster.gives.classes:
        return {}
    scores: Tensor = forecaster.predict(batch).require('action_scores').float().mean(0).cpu()
    return dict(zip(forecaster.action_names, scores.tolist(), strict=True))
