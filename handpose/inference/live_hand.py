"""One hand of a live track: frames go in with their times, and refined joints come out.

A *run* is a piece of track without a long gap; runs do not know each other. Both classes have the same methods.
"""

import torch

from handpose.models.layers.hand_motion import frame_positions
from handpose.structures import PredictionsError

HISTORY = 128  # frames before the answered one that a filter keeps at least


class FilteredHand:
    """A hand refined by a filter: the run so far is filtered anew for each answer.

    Args:
        estimator: a refiner without windows, with its settings in seconds.
        side: 0 left, 1 right.
    """

    def __init__(self, estimator, side):
        self.estimator, self.side = estimator, side
        self._frames = []  # (time, joints (21, 3) or None), from a seen frame on
        self._done = {}  # answers of runs that have ended
        self._answers = None

    def see(self, time, joints):
        """Takes the hand (21, 3) of a frame."""
        self._frames.append((time, joints))
        self._answers = None

    def miss(self, time):
        """Takes a frame in which the hand is not seen."""
        if self._frames:
            self._frames.append((time, None))

    def end(self):
        """Ends the run."""
        self._done |= self._refined()
        self._frames, self._answers = [], None

    def answer(self, time):
        """The hand (21, 3) at a frame's time, as far as it is known, or None. Frames are asked for in order."""
        if self._answers is None:
            self._answers = self._refined()
        joints = self._done.pop(time, None) if time in self._done else self._answers.get(time)
        self._done = {known: value for known, value in self._done.items() if known > time}
        # What is too old to have any effect on later answers.
        old = sum(frame_time < time - 2 * self.estimator.look_around for frame_time, _ in self._frames)
        before = sum(frame_time <= time for frame_time, _ in self._frames)
        drop = max(0, min(old, before - HISTORY))
        while 0 < drop < len(self._frames) and self._frames[drop][1] is None:
            drop -= 1
        del self._frames[:drop]
        return joints

    def _refined(self):
        """{time: joints (21, 3)} of the run, up to the last frame in which the hand was seen."""
        last = max((k for k, (_, joints) in enumerate(self._frames) if joints is not None), default=-1)
        frames = self._frames[: last + 1]
        if not frames:
            return {}
        valid = torch.tensor([[joints is not None for _, joints in frames]])
        tracks = torch.stack([torch.zeros(21, 3) if joints is None else joints for _, joints in frames])[None]
        times = torch.tensor([time for time, _ in frames], dtype=torch.float64)
        refined = refine_tracks(self.estimator, tracks, valid, self.side, times)[0]
        return dict(zip(times.tolist(), refined, strict=True))


class WindowedHand:
    """A hand refined by a model with windows, whose frames come at the model's rate or at a whole fraction of it.

    `_frames` are the newest of the run, gaps filled, up to the last one in which the hand was seen; the first of them
    has the number `_start` on the model's time line.

    Args:
        estimator: a refiner with windows.
        side: 0 left, 1 right.
    """

    def __init__(self, estimator, side):
        self.estimator, self.side = estimator, side
        self.window = estimator.num_frames
        self._sums = {}  # number of a frame: sum and count of what windows say of it
        self._numbers, self._time = {}, None  # of frames that are not yet answered; of the newest frame
        self._number = 0
        self._frames, self._start, self._run_start, self._next_window = [], 0, 0, 0
        self._provisional = None

    def see(self, time, joints):
        """Takes the hand (21, 3) of a frame."""
        number = self._count(time)
        if not self._frames:
            self._start = self._run_start = self._next_window = number
        else:
            last, gap = self._frames[-1], number - self._last - 1
            for k in range(1, gap + 1):
                self._frames.append(torch.lerp(last, joints, k / (gap + 1)))
        self._frames.append(joints)
        self._provisional = None
        self._use_windows()
        surplus = len(self._frames) - self.window
        if surplus > 0:
            del self._frames[:surplus]
            self._start += surplus

    def miss(self, time):
        """Takes a frame in which the hand is not seen."""
        self._count(time)

    def end(self):
        """Ends the run: adds what only its end decides."""
        if not self._frames:
            return
        out_of_step = (self._last + 1 - self._run_start - self.window) % self.estimator.stride
        if self._last + 1 - self._run_start < self.window:
            self._add(self._start, self._refined_tail())
        elif out_of_step:
            self._add(self._last + 1 - self.window, self._refined_tail())
        self._frames, self._provisional = [], None

    def answer(self, time):
        """The hand (21, 3) at a frame's time, as far as it is known, or None. Frames are asked for in order."""
        number = self._numbers.pop(time)
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

    def _count(self, time):
        """The number of a frame on the model's time line."""
        if self._time is not None:
            rate = self.estimator.frame_rate
            step = float(frame_positions(torch.tensor([self._time, time], dtype=torch.float64), rate)[1])
            if step != round(step):
                raise PredictionsError(
                    f'a live frame came {time - self._time:.4g} s after the one before, and the model works at '
                    f'{rate:g} frames per second, so live frames must come at that rate or at a whole fraction of it: '
                    f'leave frames out, or refine the whole track with refine(), which resamples it'
                )
            self._number += round(step)
        self._time = time
        self._numbers[time] = self._number
        return self._number

    def _use_windows(self):
        """Refines the windows that are now complete."""
        starts = []
        while self._next_window + self.window - 1 <= self._last:
            starts.append(self._next_window)
            self._next_window += self.estimator.stride
        if starts:
            frames = torch.stack(self._frames)
            windows = torch.stack([frames[s - self._start : s - self._start + self.window] for s in starts])
            for start, refined in zip(starts, self._refined(windows), strict=True):
                self._add(start, refined)

    def _refined_tail(self):
        """The newest frames of the run, refined as a track."""
        return self._refined(torch.stack(self._frames[-self.window :])[None])[0]

    def _refined(self, tracks):
        return refine_tracks(self.estimator, tracks, torch.ones(tracks.shape[:2], dtype=torch.bool), self.side)

    def _add(self, start, refined):
        for number, joints in enumerate(refined, start=start):
            total, count = self._sums.get(number, (0, 0))
            self._sums[number] = total + joints, count + 1


def refine_tracks(estimator, tracks, given, side, times=None):
    """Refines tracks of hands of one side.

    Args:
        estimator: a `MotionRefiner`.
        tracks: (N, T, 21, 3) metres, on the CPU.
        given: (N, T) bool.
        side: 0 left, 1 right.
        times: (T,) seconds; None: the frames come at the estimator's frame rate.

    Returns:
        (N, T, 21, 3), on the CPU.
    """
    parameter = next(estimator.parameters(), None)
    device = tracks.device if parameter is None else parameter.device
    sides = torch.full((len(tracks),), int(side))
    joints, given = tracks.transpose(0, 1).to(device), given.T.to(device)
    refined = estimator.refine(joints, given, sides.to(device), times=None if times is None else times.to(device))
    return refined.joints.transpose(0, 1).float().cpu()
