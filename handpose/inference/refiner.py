"""A refiner of another estimator's predictions, for whole files and for live frames.

    refiner = load_refiner('pdtm.safetensors')          # or load_refiner(): a Gaussian filter
    save_predictions('refined.npz', refiner.refine(load_predictions('hands.npz')))

Legend: T frames, H hands, W frames of a window.
"""

import math
from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from handpose.engine import load_weights
from handpose.inference.live_hand import FilteredHand, WindowedHand, refine_tracks
from handpose.inference.weights import model_config
from handpose.models.estimators.motion_refiner import MotionRefiner
from handpose.models.layers.hand_motion import frame_positions
from handpose.registry import MODELS
from handpose.structures import PredictionsError
from handpose.text import did_you_mean

# Settings in seconds and hertz; docs/refine.md says what they were chosen on.
METHODS = {
    'gaussian': dict(type='GaussianFilter', sigma=0.08, order=3),
    'savitzky_golay': dict(type='SavitzkyGolayFilter', window=1 / 3, order=3),
    'one_euro': dict(type='OneEuroFilter', min_cutoff=5.0, beta=300.0, derivative_cutoff=5.0),
    'interpolate': dict(type='InputMotion'),
}
"""Refiners without parameters, by name; 'interpolate' fills short gaps and changes nothing else."""
DEFAULT_METHOD = 'gaussian'
LONGEST_GAP = 0.9  # seconds


def load_refiner(
    path=None, method=DEFAULT_METHOD, config=None, options=None, hand_model=None, latency=None, longest_gap=None,
    fps=None, device='cpu',
):  # fmt: skip
    """Makes a `Refiner`.

    Args:
        path: weights. A published `.safetensors` file knows its own model; a training checkpoint `.pth` needs `config`.
            None: a filter without parameters.
        method: that filter, a key of `METHODS`.
        config: path of the config that the checkpoint was trained with. options: {key: value} overrides of it.
        hand_model: config of the hand model, where the weights were trained with one that needs files:
            dict(type='MANO', model_path=...).
        latency, longest_gap, fps: see `Refiner`.
        device: where the model runs.

    Raises:
        ValueError: an unknown method, a checkpoint without its config, or weights that are not a refiner's.
    """
    if path is None:
        if method not in METHODS:
            raise ValueError(
                f'method must be one of {", ".join(METHODS)}, got {method!r}.{did_you_mean(method, METHODS)}'
            )
        estimator = MODELS.build(METHODS[method])
        return Refiner(estimator, latency, longest_gap, fps, name=type(estimator).__name__)
    estimator = MODELS.build(model_config(path, config, options, hand_model))
    if not isinstance(estimator, MotionRefiner):
        raise ValueError(f'{path} holds {type(estimator).__name__}, which refines no motion; give weights of a refiner')
    load_weights(estimator, path)
    name = f'{type(estimator).__name__} ({Path(path).name})'
    return Refiner(estimator.to(device), latency, longest_gap, fps, name)


class Refiner:
    """Refines predictions: a whole track with `refine`, or frame by frame with `push` and `finish`.

    A hand's frames that are missing (not valid, or left out in time) are filled where the hand is seen again after at
    most `longest_gap` seconds without it. Longer gaps stay missing and cut the hand's track in two, which do not know
    each other; so do the frames before the hand is first seen and after it is last seen. Each hand is refined alone.

    Args:
        estimator: a `MotionRefiner`.
        latency: of `push`: a frame comes back when so many later frames have come. Default: as many as decide the
            answer of a model (`exact_latency`), or as a filter looks ahead. None until the first two frames have shown
            the frame rate, unless `fps` is given.
        longest_gap: seconds in which the hand is missing; default 0.9.
        fps: of `push`: frames per second that will come; None: as the first two frames say.
        name: what a refined file says it was made by.

    Raises:
        ValueError: a latency, gap or frame rate that cannot be.
    """

    def __init__(self, estimator, latency=None, longest_gap=None, fps=None, name=None):
        self.estimator = estimator.eval()
        self.name = name or type(estimator).__name__
        self.longest_gap = LONGEST_GAP if longest_gap is None else longest_gap
        if self.longest_gap < 0 or not (latency is None or latency >= 0) or not (fps is None or fps > 0):
            raise ValueError(
                f'latency and longest_gap must be at least 0 and fps positive, got {latency}, {longest_gap}, {fps}'
            )
        self._given_latency, self._given_fps = latency, fps
        self.reset()

    def notes(self, predictions):
        """Sentences about what the track's frame rate means for the refiner; an empty list where it fits."""
        if predictions.period is None:
            return []
        fps, estimator = 1 / predictions.period, self.estimator
        if estimator.frame_rate is not None:
            positions = frame_positions(torch.from_numpy(predictions.timestamps), estimator.frame_rate)
            if (positions.diff() == 1).all():
                return []
            return [
                f'the model was trained at {estimator.frame_rate:g} frames per second and the track has {fps:.4g} or '
                f'leaves frames out: it is resampled linearly to the rate of the model and back'
            ]
        if estimator.unit == 'seconds' and predictions.period > estimator.idle_above():
            return [
                f'at {fps:.4g} frames per second too few frames lie in the window of {self.name} to smooth anything: '
                f'the filter does nothing but fill short gaps'
            ]
        return []

    def refine(self, predictions):
        """Refines a whole track of any length.

        Args:
            predictions: `Predictions`.

        Returns:
            `Predictions` of the same frames: joints refined, `valid` True also where a short gap was filled (the
            confidence is 0 there). A track of one frame gives what the refiner says of one frame; filters leave it.

        Raises:
            PredictionsError: nothing to refine, a wrong unit, ... (see `Predictions.check`).
        """
        predictions.check()
        joints, valid = predictions.joints.copy(), predictions.valid.copy()
        for h, side in enumerate(predictions.hand_side):
            for seen in self._runs(predictions, predictions.valid[:, h]):
                frames = np.arange(seen[0], seen[-1] + 1)
                given = torch.from_numpy(predictions.valid[frames, h])
                track = torch.from_numpy(np.where(given[:, None, None], predictions.joints[frames, h], 0))
                times = torch.from_numpy(predictions.timestamps[frames])
                refined = refine_tracks(self.estimator, track[None], given[None], side, times)[0].numpy()
                joints[frames, h], valid[frames, h] = refined, True
        return self._answered(predictions, joints, valid)

    def push(self, frame):
        """Takes the next frame, and gives the one that came `latency` frames before it, or None while there is none.

        What is known by then decides the answer: of the windows that `refine` averages, those that have ended when the
        hand was last seen. Where no such window holds the frame, at the beginning, it comes from the track as far as
        it is known. So with `exact_latency` the answer is that of `refine`, in a hand without gaps; with
        `exact_latency + longest_gap` also in one with gaps. A hand that has not been seen again by then is missing.

        Args:
            frame: `Predictions` of one frame, with the hands of the frames before; those not seen with valid False.

        Returns:
            `Predictions` of one frame, or None.

        Raises:
            PredictionsError: not one frame, other hands or another coordinate frame than before, time not going
            forward, or a wrong unit.
        """
        self._check_next(frame)
        time = float(frame.timestamps[0])
        if self._hands is None:
            self._begin(frame)
        elif self._period is None:
            self._set_frame_rate(1 / (time - float(self._last.timestamps[0])))
        self._last = frame
        self._waiting.append(frame)
        for h, hand in enumerate(self._hands):
            if self._seen[h] is not None and self._is_long_gap(time - self._seen[h]):
                hand.end()
                self._seen[h] = None
            if frame.valid[0, h]:
                hand.see(time, torch.from_numpy(frame.joints[0, h].copy()))
                self._seen[h] = time
            else:
                hand.miss(time)
        return self._answer() if self.latency is not None and len(self._waiting) > self.latency else None

    def finish(self):
        """Ends the track: a list of the frames that `push` has not given yet. The next `push` begins a new track."""
        for hand in self._hands or ():
            hand.end()
        rest = [self._answer() for _ in range(len(self._waiting))]
        self.reset()
        return rest

    def reset(self):
        """Forgets every frame that was pushed."""
        self._waiting, self._hands, self._seen, self._last, self._checked = deque(), None, None, None, False
        self._period = self.latency = self.exact_latency = None
        if self._given_fps is not None:
            self._set_frame_rate(self._given_fps)
        elif self._given_latency is not None:
            self.latency = self._given_latency
        elif self.estimator.num_frames is None and self.estimator.look_ahead == 0:
            self.latency = 0

    def _set_frame_rate(self, fps):
        self._period, estimator = 1 / fps, self.estimator
        if estimator.num_frames is None:
            ahead = math.ceil(estimator.look_ahead * fps - 1e-6)
            self.exact_latency = (
                math.ceil(max(estimator.look_ahead, estimator.look_around) * fps - 1e-6) if ahead else 0
            )
        else:
            # A last window that is not in step with the others is known only once the track has ended.
            frames = estimator.num_frames - 1 if estimator.stride == 1 else estimator.num_frames
            ahead = self.exact_latency = math.ceil(frames * min(1.0, fps / estimator.frame_rate) - 0.1)
        self.latency = ahead if self._given_latency is None else self._given_latency

    def _begin(self, frame):
        estimator = self.estimator
        if estimator.num_frames is None:
            if estimator.unit == 'frames' and estimator.look_ahead:
                raise PredictionsError(f"{self.name} counts frames; push takes a filter with unit='seconds'")
            self._hands = [FilteredHand(estimator, side) for side in frame.hand_side]
        else:
            self._hands = [WindowedHand(estimator, side) for side in frame.hand_side]
        self._seen = [None] * len(self._hands)

    def _is_long_gap(self, seconds, period=None):
        """Whether the time from one frame in which a hand is seen to the next is too long to be filled."""
        return seconds > self.longest_gap + 1.5 * (period or self._period)

    def _runs(self, predictions, valid):
        """The frames in which a hand is seen, cut where it is away for too long."""
        seen = np.flatnonzero(valid)
        if len(seen) < 2:
            return [seen] if len(seen) else []
        apart = np.diff(predictions.timestamps[seen])
        cuts = np.flatnonzero([self._is_long_gap(gap, predictions.period) for gap in apart])
        return np.split(seen, cuts + 1)

    def _answer(self):
        frame = self._waiting.popleft()
        joints, valid = frame.joints.copy(), frame.valid.copy()
        for h, hand in enumerate(self._hands):
            refined = hand.answer(float(frame.timestamps[0]))
            valid[0, h] = refined is not None
            joints[0, h] = np.nan if refined is None else refined.numpy()
        return self._answered(frame, joints, valid)

    def _answered(self, predictions, joints, valid):
        if not np.isfinite(joints[valid]).all():
            raise PredictionsError(f'{self.name} answered NaN or infinity; the weights are broken')
        if predictions.frame == 'wrist':
            joints = joints - joints[:, :, :1]
        source = f'{predictions.source or "predictions"}, refined by {self.name}'
        return replace(predictions, joints=joints, valid=valid, source=source)

    def _check_next(self, frame):
        if len(frame) != 1:
            raise PredictionsError(f'push takes one frame, got {len(frame)}; predictions.select([t]) is one')
        if not self._checked and frame.valid.any():
            frame.check()
            self._checked = True
        last = self._last
        if last is None:
            return
        if frame.frame != last.frame or list(frame.hand_side) != list(last.hand_side):
            raise PredictionsError(
                f'a frame has hands {frame.hand_side.tolist()} in {frame.frame!r} and the one before it '
                f'{last.hand_side.tolist()} in {last.frame!r}; a hand that is not seen stays, with valid False, and '
                f'reset() begins a new track'
            )
        if frame.timestamps[0] <= last.timestamps[0]:
            raise PredictionsError(
                f'time must go forward: {frame.timestamps[0]:g} s came after {last.timestamps[0]:g} s; reset() begins '
                f'a new track'
            )
