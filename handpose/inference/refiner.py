"""A refiner of another estimator's predictions, for whole files and for live frames.

    refiner = load_refiner('pdtm.safetensors')          # or load_refiner(): Savitzky-Golay
    save_predictions('refined.npz', refiner.refine(load_predictions('hands.npz')))

Legend: T frames, H hands, W frames of a window.
"""

from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from handpose.engine import load_weights
from handpose.inference.weights import model_config
from handpose.models.estimators.motion_refiner import MotionRefiner
from handpose.registry import MODELS, did_you_mean
from handpose.structures import PredictionsError

# The settings that `tools/tune_filters.py` found best on recorded motion at 30 frames per second; the published ones,
# with windows of 31 frames, cut fast motion off.
METHODS = {
    'savitzky_golay': dict(type='SavitzkyGolayFilter', window=11, order=3),
    'gaussian': dict(type='GaussianFilter', sigma=1.5, window=31),
    'one_euro': dict(type='OneEuroFilter', min_cutoff=0.32, beta=10.0),
    'interpolate': dict(type='InputMotion'),
}
"""Refiners without parameters, by name; 'interpolate' fills short gaps and changes nothing else."""
LONGEST_GAP = 27  # frames, of refiners that have no window
HISTORY = 128  # frames that a live filter keeps at least: longer than One-Euro's slowest one remembers


def load_refiner(
    path=None, method='savitzky_golay', config=None, options=None, hand_model=None, latency=None, longest_gap=None,
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
    most `longest_gap` frames. Longer gaps stay missing and cut the hand's track in two, which do not know each other;
    so do the frames before the hand is first seen and after it is last seen. Each hand is refined by itself.

    Args:
        estimator: a `MotionRefiner`.
        latency: of `push`: a frame comes back when so many later frames have come. Default `exact_latency`; with
            filters half their window, which is exact but for the beginning of the track.
        longest_gap: frames; default the window, or 27.
        fps: of `push`: frames per second, by which the timestamps show that frames were left out; None: none are.
        name: what a refined file says it was made by.
    """

    def __init__(self, estimator, latency=None, longest_gap=None, fps=None, name=None):
        self.estimator = estimator.eval()
        self.name = name or type(estimator).__name__
        window = estimator.num_frames or getattr(estimator, 'window', 1)
        self.longest_gap = (estimator.num_frames or LONGEST_GAP) if longest_gap is None else longest_gap
        # A last window that is not in step with the others is known only once the track has ended.
        self.exact_latency = window - 1 if estimator.num_frames is None or estimator.stride == 1 else window
        default = window // 2 if estimator.num_frames is None else self.exact_latency
        self.latency = default if latency is None else latency
        if self.latency < 0 or self.longest_gap < 0 or not (fps is None or fps > 0):
            raise ValueError(
                f'latency and longest_gap must be at least 0 and fps positive, got {latency}, {longest_gap}, {fps}'
            )
        self.fps = fps
        self.reset()

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
        numbers, joints, valid = predictions.frame_numbers(), predictions.joints.copy(), predictions.valid.copy()
        for h, side in enumerate(predictions.hand_side):
            for seen in self._runs(numbers, predictions.valid[:, h]):
                frames = np.arange(seen[0], seen[-1] + 1)
                track = torch.zeros(numbers[frames[-1]] - numbers[frames[0]] + 1, 21, 3)
                given = torch.zeros(len(track), dtype=torch.bool)
                places = torch.from_numpy(numbers[seen] - numbers[seen[0]])
                track[places], given[places] = torch.from_numpy(predictions.joints[seen, h]), True
                refined = _refined(self.estimator, track[None], given[None], side)[0].numpy()
                joints[frames, h], valid[frames, h] = refined[numbers[frames] - numbers[frames[0]]], True
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
        if self._hands is None:
            self._hands = [_LiveHand(self.estimator, side, self.longest_gap, self.latency) for side in frame.hand_side]
        self._number = self._next_number(frame)
        self._last = frame
        self._waiting.append((self._number, frame))
        for h, hand in enumerate(self._hands):
            if frame.valid[0, h]:
                hand.see(self._number, torch.from_numpy(frame.joints[0, h].copy()))
            else:
                hand.miss(self._number)
        return self._answer() if len(self._waiting) > self.latency else None

    def finish(self):
        """Ends the track: a list of the frames that `push` has not given yet. The next `push` begins a new track."""
        for hand in self._hands or ():
            hand.end()
        rest = [self._answer() for _ in range(len(self._waiting))]
        self.reset()
        return rest

    def reset(self):
        """Forgets every frame that was pushed."""
        self._waiting, self._hands, self._last, self._number, self._checked = deque(), None, None, None, False

    def _runs(self, numbers, valid):
        """The frames in which a hand is seen, cut where it is away for too long."""
        seen = np.flatnonzero(valid)
        away = np.diff(numbers[seen]) - 1
        return [run for run in np.split(seen, np.flatnonzero(away > self.longest_gap) + 1) if len(run)]

    def _answer(self):
        number, frame = self._waiting.popleft()
        joints, valid = frame.joints.copy(), frame.valid.copy()
        for h, hand in enumerate(self._hands):
            refined = hand.answer(number)
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

    def _next_number(self, frame):
        if self._number is None:
            return 0
        steps = 1 if self.fps is None else round((frame.timestamps[0] - self._last.timestamps[0]) * self.fps)
        return self._number + max(1, steps)


class _LiveHand:
    """One hand of a live track: frames go in by their numbers, and answers come out.

    A *run* is a piece of track without a long gap. `_frames` are the newest of the run, gaps filled, up to the last one
    in which the hand was seen; the first of them has the number `_start`.
    """

    def __init__(self, estimator, side, longest_gap, latency):
        self.estimator, self.side, self.longest_gap = estimator, side, longest_gap
        self.window = estimator.num_frames
        filter_window = getattr(estimator, 'window', 0)
        self.kept = self.window or max(HISTORY, 2 * filter_window) + latency
        self._sums = {}  # number of a frame: sum and count of what windows say of it
        self._frames, self._start, self._run_start, self._next_window = [], 0, 0, 0
        self._provisional = None

    def see(self, number, joints):
        """Takes the hand (21, 3) of a frame."""
        self.miss(number - 1)
        if not self._frames:
            self._start = self._run_start = self._next_window = number
        else:
            last, gap = self._frames[-1], number - self._last - 1
            for k in range(1, gap + 1):
                self._frames.append(torch.lerp(last, joints, k / (gap + 1)))
        self._frames.append(joints)
        self._provisional = None
        self._use_windows()
        surplus = len(self._frames) - self.kept
        if surplus > 0:
            del self._frames[:surplus]
            self._start += surplus

    def miss(self, number):
        """Says that up to this frame the hand was not seen again."""
        if self._frames and number - self._last > self.longest_gap:
            self.end()

    def end(self):
        """Ends the run: adds what only a track's end decides."""
        if not self._frames:
            return
        out_of_step = self.window and (self._last + 1 - self._run_start - self.window) % self.estimator.stride
        if self.window is None or self._last + 1 - self._run_start < self.window:
            self._add(self._start, self._refined_tail())
        elif out_of_step:
            self._add(self._last + 1 - self.window, self._refined_tail())
        self._frames, self._provisional = [], None

    def answer(self, number):
        """The hand (21, 3) of a frame, as far as it is known, or None. Frames are asked for in order."""
        for old in [n for n in self._sums if n < number]:
            del self._sums[old]
        if number in self._sums:
            total, count = self._sums[number]
            return total / count
        if not self._frames or not self._start <= number <= self._last:
            return None
        if self._provisional is None:
            self._provisional = self._refined_tail()
        return self._provisional[number - self._last - 1]

    @property
    def _last(self):
        return self._start + len(self._frames) - 1

    def _use_windows(self):
        """Refines the windows that are now complete."""
        starts = []
        while self.window is not None and self._next_window + self.window - 1 <= self._last:
            starts.append(self._next_window)
            self._next_window += self.estimator.stride
        if starts:
            frames = torch.stack(self._frames)
            windows = torch.stack([frames[s - self._start : s - self._start + self.window] for s in starts])
            for start, refined in zip(starts, self._refined(windows), strict=True):
                self._add(start, refined)

    def _refined_tail(self):
        """The newest frames of the run, refined as a track: a window of them, or all that are kept."""
        return self._refined(torch.stack(self._frames[-self.kept :])[None])[0]

    def _refined(self, tracks):
        return _refined(self.estimator, tracks, torch.ones(tracks.shape[:2], dtype=torch.bool), self.side)

    def _add(self, start, refined):
        for number, joints in enumerate(refined, start=start):
            total, count = self._sums.get(number, (0, 0))
            self._sums[number] = total + joints, count + 1


def _refined(estimator, tracks, given, side):
    """Tracks (N, T, 21, 3) of hands of one side, on the CPU, refined."""
    parameter = next(estimator.parameters(), None)
    device = tracks.device if parameter is None else parameter.device
    sides = torch.full((len(tracks),), int(side))
    joints, given = tracks.transpose(0, 1).to(device), given.T.to(device)
    return estimator.refine(joints, given, sides.to(device)).joints.transpose(0, 1).float().cpu()
