"""Recognizes the action in the motion of hands, of a predictions file.

    recognizer = load_motion_recognizer('ghtt_synthetic')
    sequence = recognizer.predict(load_predictions('hands.npz'))      # action_scores of the whole recording

Legend: T frames of the recording, N frames at the frame rate of the model, M windows, W frames of a window, A actions.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handpose.engine import load_weights
from handpose.inference.model_config import model_config
from handpose.inference.motion_clips import (
    MAX_OBSERVED,
    choose_hands,
    known_object,
    motion_clips,
    motion_notes,
    resample_motion,
)
from handpose.inference.recognizer import class_names
from handpose.models import Estimator
from handpose.models.estimators.forecaster import Forecaster
from handpose.models.estimators.running_action import RunningAction
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import MODELS
from handpose.structures import HandSequence, Predictions, PredictionsError
from handpose.structures.prediction_clips import joint_clip
from handpose.zoo.find import find_weights

FRAME_RATE = 30.0  # frames per second, of a model that states none
WINDOWS_AT_ONCE = 16


def load_motion_recognizer(
    checkpoint: str | Path,
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: torch.device | str = 'cpu',
) -> 'MotionRecognizer':
    """Creates a `MotionRecognizer`.

    Args:
        checkpoint: weights: a file, or a name in the zoo. A published `.safetensors` file describes its model and its
            actions; a training checkpoint `.pth` needs `config`.
        config: path of the config that the checkpoint was trained with.
        options: {key: value} that override the config.
        device: of the model.

    Returns:
        The recognizer.

    Raises:
        ValueError: a checkpoint without its config, weights that recognize no actions or need images, or actions
            without names.
    """
    checkpoint = find_weights(checkpoint)
    estimator = MODELS.build(model_config(checkpoint, config, options))
    if 'actions' not in estimator.gives.classes:
        raise ValueError(
            f'{checkpoint} contains weights of {type(estimator).__name__}, which recognizes no actions; give weights '
            f'of a model that recognizes actions from the motion of hands, such as GHTT'
        )
    if {'images', 'features'} & set(estimator.reads.fields):
        raise ValueError(
            f'{checkpoint} contains weights of {type(estimator).__name__}, which recognizes actions in images: give it '
            f'the video itself, or weights of a model that reads joints, such as GHTT, for predictions files'
        )
    load_weights(estimator, checkpoint)
    known = isinstance(estimator, Forecaster) and estimator.action_names
    actions = list(known or class_names(checkpoint, config, options)['actions'])
    name = f'{type(estimator).__name__} ({Path(checkpoint).name})'
    return MotionRecognizer(prepare_for_prediction(estimator.to(device)), actions, name)


class MotionRecognizer:
    """Recognizes one action in a recording of hand motion of any length and frame rate.

    The recording is brought to the frame rate of the model (`resample_motion`). A window is up to 256 frames; a longer
    recording gets the mean score of as few windows as cover it, evenly spread. Windows with fewer observed frames than
    a clip of the model do not count.

    Args:
        estimator: a model of joints that gives actions, e.g. `GHTT`.
        actions: names of the action classes.
        name: that the results state.

    Raises:
        ValueError: the number of names is not that of the model's classes.
    """

    def __init__(self, estimator: Estimator, actions: Sequence[str], name: str | None = None) -> None:
        self.estimator = estimator.eval()
        self.actions, self.name = list(actions), name or type(estimator).__name__
        self.frame_rate = estimator.reads.frame_rate or FRAME_RATE
        self.min_frames = estimator.reads.min_frames
        count = estimator.gives.classes['actions']
        if count != len(self.actions):
            raise ValueError(
                f'{self.name} distinguishes {count} actions, but {len(self.actions)} are named; give the config that '
                f'it was trained with'
            )

    def predict(
        self, predictions: Predictions, hands: str = 'both', object: str | None = None, name: str = 'predictions'
    ) -> HandSequence:
        """Recognizes the action of a whole recording.

        Args:
            predictions: the recording.
            hands: which of its hands count: 'left', 'right' or 'both'.
            object: name of the object that they hold; None means unknown.
            name: of the recording, becomes `meta['sequence']`.

        Returns:
            A clip of all T frames in the frame of the recording: its joints as they were, and action_scores, which sum
            to 1. `meta` contains the names `actions` and `notes`.

        Raises:
            PredictionsError: too few observed frames, or as `choose_hands` and `Predictions.check`.
            ValueError: the model knows no such object.
        """
        chosen = choose_hands(predictions.check(), hands)
        regular = resample_motion(chosen, self.frame_rate)
        last = max(len(regular) - MAX_OBSERVED, 0)
        starts = np.linspace(0, last, -(-len(regular) // MAX_OBSERVED)).round().astype(int)
        windows = [slice(start, min(start + MAX_OBSERVED, len(regular))) for start in starts.tolist()]
        scores, used = self._scores(regular, windows, known_object(self.estimator, object))
        if not used:
            raise PredictionsError(
                f'{self.name} needs at least {self.min_frames} observed frames at {self.frame_rate:g} per second '
                f'({self.min_frames / self.frame_rate:.2f} s), and the recording has '
                f'{int(regular.valid.any(1).sum())} of them: give a longer one'
            )
        return self._sequence(chosen, scores.mean(0), name)

    def running_action(
        self, predictions: Predictions, hands: str = 'both', object: str | None = None, every: int = 16
    ) -> RunningAction:
        """Recognizes the action after every few frames, from the frames of one window before.

        Args:
            predictions: the recording.
            hands: as for `predict`.
            object: as for `predict`.
            every: frames of the model from one prediction to the next.

        Returns:
            Frames of the recording, and the action scores after each of them; frames before which too little was
            observed are left out.

        Raises:
            PredictionsError: as for `predict`.
            ValueError: as for `predict`.
        """
        chosen = choose_hands(predictions.check(), hands)
        regular = resample_motion(chosen, self.frame_rate)
        stops = [*range(every, len(regular), every), len(regular)]
        windows = [slice(max(0, stop - MAX_OBSERVED), stop) for stop in stops]
        scores, used = self._scores(regular, windows, known_object(self.estimator, object))
        times = regular.timestamps[[windows[i].stop - 1 for i in used]]
        frames = np.searchsorted(chosen.timestamps, times + 1e-6, 'right') - 1  # the last frame that was seen by then
        return RunningAction(torch.from_numpy(frames), scores)

    @torch.no_grad()
    def _scores(
        self, regular: Predictions, windows: Sequence[slice], object_label: int | None
    ) -> tuple[Tensor, list[int]]:
        """Scores (M', A) of the windows with enough observed frames, and their numbers."""
        seen = np.asarray(regular.valid.any(1))
        used = [i for i, window in enumerate(windows) if seen[window].sum() >= self.min_frames]
        device = next(self.estimator.parameters()).device
        parts = []
        for chunk in _same_length([windows[i] for i in used]):
            clips = [motion_clips(regular.select(window), object_label) for window in chunk]
            batch = HandSequence.stack([clip for window in clips for clip in window])
            found = self.estimator.predict(batch.to(device)).require('action_scores').float().cpu()
            # Each hand counts as much as it is seen, where hands are clips of their own.
            weight = batch.require('hand_valid').sum((1, 2)).unflatten(0, (len(chunk), -1))[..., None]
            parts.append((found.unflatten(0, (len(chunk), -1)) * weight).sum(1) / weight.sum(1))
        return torch.cat(parts) if parts else torch.zeros(0, len(self.actions)), used

    def _sequence(self, predictions: Predictions, scores: Tensor, name: str) -> HandSequence:
        clip, notes = joint_clip(predictions), motion_notes(predictions, self.frame_rate)
        extra = dict(sequence=name, actions=self.actions, notes=notes, static=False, reader='predictions file')
        return clip.replace(meta={**clip.meta, **extra}, action_scores=scores).validate()


def _same_length(windows: Sequence[slice]) -> Iterator[list[slice]]:
    """Groups of successive windows of one length, at most `WINDOWS_AT_ONCE` in each."""
    for _, group in itertools.groupby(windows, lambda window: window.stop - window.start):
        same = list(group)
        yield from (same[i : i + WINDOWS_AT_ONCE] for i in range(0, len(same), WINDOWS_AT_ONCE))
