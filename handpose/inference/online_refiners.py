"""Online refinement of one hand: joints go in frame by frame with their times, and refined joints come out.

A *segment* is a part of the track without a long gap; segments are refined independently.
"""

from typing import Protocol

import torch
from torch import Tensor

from handpose.models.estimators.motion_refiner import MotionRefiner
from handpose.models.layers.hand_motion import frame_positions
from handpose.structures import PredictionsError

HISTORY = 128  # frames before the current one that a filter keeps at least


class HandRefiner(Protocol):
    """Refines one hand online."""

    def push(self, time: float, joints: Tensor | None, given: Tensor | None = None) -> None:
        """Adds the next frame.

        Args:
            time: seconds.
            joints: (P, 3) metres, 21 joints or, for filters, any points; or None if they are missing in the frame.
            given: (P,) bool, those of them that are there; None means all.
        """

    def end_segment(self) -> None:
        """Ends the segment: the next frame begins a new one."""

    def pop(self, time: float) -> Tensor | None:
        """Refines a frame, based on all frames so far; frames are requested in order, each of them once.

        Args:
            time: of a frame that was pushed.

        Returns:
            (P, 3) metres, or None if they are missing.
        """


class SegmentRefiner:
    """Refines a hand with a refiner of whole tracks: the segment so far is refined again for each output.

    See `HandRefiner`.

    Args:
        estimator: a refiner without windows, such as a filter with its parameters in seconds.
        side: 0 left, 1 right.
    """

    def __init__(self, estimator: MotionRefiner, side: int) -> None:
        self.estimator, self.side = estimator, side
        # Of the segment, from its first hand on: times, joints (P, 3) or None, and those given (P,).
        self._frames: list[tuple[float, Tensor | None, Tensor | None]] = []
        self._finished: dict[float, Tensor] = {}  # outputs of segments that have ended
        self._outputs: dict[float, Tensor] | None = None  # of the segment so far

    def push(self, time: float, joints: Tensor | None, given: Tensor | None = None) -> None:
        """See `HandRefiner.push`."""
        if joints is not None:
            self._outputs = None
        elif not self._frames:
            return
        self._frames.append((time, joints, given))

    def end_segment(self) -> None:
        """See `HandRefiner.end_segment`."""
        self._finished |= self._refine()
        self._frames, self._outputs = [], None

    def pop(self, time: float) -> Tensor | None:
        """See `HandRefiner.pop`."""
        if self._outputs is None:
            self._outputs = self._refine()
        joints = self._finished.pop(time, None) if time in self._finished else self._outputs.get(time)
        self._finished = {key: value for key, value in self._finished.items() if key > time}
        # Drop frames that are too old to have any effect on later outputs.
        old = sum(frame_time < time - 2 * self.estimator.look_around for frame_time, *_ in self._frames)
        before = sum(frame_time <= time for frame_time, *_ in self._frames)
        drop = max(0, min(old, before - HISTORY))
        while 0 < drop < len(self._frames) and self._frames[drop][1] is None:
            drop -= 1
        del self._frames[:drop]
        return joints

    def _refine(self) -> dict[float, Tensor]:
        """{time: joints (P, 3)} of the segment, up to the last frame with the hand."""
        last = max((k for k, (_, joints, _) in enumerate(self._frames) if joints is not None), default=-1)
        frames = self._frames[: last + 1]
        if not frames:
            return {}
        missing = torch.zeros_like(frames[last][1])
        tracks = torch.stack([missing if joints is None else joints for _, joints, _ in frames])[None]
        given = torch.zeros(tracks.shape[:3], dtype=torch.bool)
        for k, (_, joints, there) in enumerate(frames):
            given[0, k] = there if there is not None else joints is not None
        times = torch.tensor([time for time, *_ in frames], dtype=torch.float64)
        refined = refine_tracks(self.estimator, tracks, given, self.side, times)[0]
        return dict(zip(times.tolist(), refined, strict=True))


class WindowRefiner:
    """Refines a hand with a model that processes windows. See `HandRefiner`.

    Frames must arrive at the model's frame rate, or at an integer fraction of it.

    Args:
        estimator: a refiner with windows.
        side: 0 left, 1 right.
    """

    def __init__(self, estimator: MotionRefiner, side: int) -> None:
        self.estimator, self.side = estimator, side
        self.window = estimator.num_frames
        self._sums: dict[int, tuple[Tensor, int]] = {}  # of each position: sum and number of the windows' outputs
        self._positions: dict[float, int] = {}  # of frames without output so far, by time
        self._time: float | None = None  # of the newest frame
        self._position = 0  # of the newest frame on the model's time axis
        # The newest frames of the segment, gaps filled, up to the last one with the hand. The first is at _start.
        self._frames: list[Tensor] = []
        self._start = self._segment_start = self._next_window = 0
        self._provisional: Tensor | None = None  # outputs of the newest frames, for which no window is complete

    def push(self, time: float, joints: Tensor | None, given: Tensor | None = None) -> None:
        """See `HandRefiner.push`.

        Raises:
            PredictionsError: the time does not match the model's frame rate, or joints are missing.
        """
        if given is not None and not given.all():
            raise PredictionsError(
                f'{type(self.estimator).__name__} refines hands that lack joints in whole tracks only: use refine(), '
                f'a KernelSmoother or a filter'
            )
        position = self._advance(time)
        if joints is None:
            return
        if not self._frames:
            self._start = self._segment_start = self._next_window = position
        else:
            last, gap = self._frames[-1], position - self._last - 1
            for k in range(1, gap + 1):
                self._frames.append(torch.lerp(last, joints, k / (gap + 1)))
        self._frames.append(joints)
        self._provisional = None
        self._refine_complete_windows()
        surplus = len(self._frames) - self.window
        if surplus > 0:
            del self._frames[:surplus]
            self._start += surplus

    def end_segment(self) -> None:
        """See `HandRefiner.end_segment`."""
        if not self._frames:
            return
        length = self._last + 1 - self._segment_start
        if length < self.window:
            self._add(self._start, self._refine_newest())
        elif (length - self.window) % self.estimator.stride:  # the last window is not aligned with the stride
            self._add(self._last + 1 - self.window, self._refine_newest())
        self._frames, self._provisional = [], None

    def pop(self, time: float) -> Tensor | None:
        """See `HandRefiner.pop`."""
        position = self._positions.pop(time)
        for old in [p for p in self._sums if p < position]:
            del self._sums[old]
        if position in self._sums:
            total, count = self._sums[position]
            return total / count
        if not self._frames or not self._start <= position <= self._last:
            return None
        if self._provisional is None:
            self._provisional = self._refine_newest()
        return self._provisional[position - self._last - 1]

    @property
    def _last(self) -> int:
        return self._start + len(self._frames) - 1

    def _advance(self, time: float) -> int:
        """The position of a new frame on the model's time axis."""
        if self._time is not None:
            rate = self.estimator.frame_rate
            step = float(frame_positions(torch.tensor([self._time, time], dtype=torch.float64), rate)[1])
            if step != round(step):
                raise PredictionsError(
                    f'a live frame came {time - self._time:.4g} s after the one before, and the model works at '
                    f'{rate:g} frames per second, so live frames must come at that rate or at an integer fraction of '
                    f'it: skip frames, or refine the whole track with refine(), which resamples it'
                )
            self._position += round(step)
        self._time = time
        self._positions[time] = self._position
        return self._position

    def _refine_complete_windows(self) -> None:
        starts = []
        while self._next_window + self.window - 1 <= self._last:
            starts.append(self._next_window)
            self._next_window += self.estimator.stride
        if starts:
            frames = torch.stack(self._frames)
            windows = torch.stack([frames[s - self._start : s - self._start + self.window] for s in starts])
            for start, refined in zip(starts, self._refine(windows), strict=True):
                self._add(start, refined)

    def _refine_newest(self) -> Tensor:
        """The newest frames of the segment, refined as a track."""
        return self._refine(torch.stack(self._frames[-self.window :])[None])[0]

    def _refine(self, tracks: Tensor) -> Tensor:
        return refine_tracks(self.estimator, tracks, torch.ones(tracks.shape[:2], dtype=torch.bool), self.side)

    def _add(self, start: int, refined: Tensor) -> None:
        """Adds the output (T, 21, 3) of a window to the sums."""
        for position, joints in enumerate(refined, start=start):
            total, count = self._sums.get(position, (torch.zeros(()), 0))
            self._sums[position] = total + joints, count + 1


def refine_tracks(
    estimator: MotionRefiner, tracks: Tensor, given: Tensor, side: int, times: Tensor | None = None
) -> Tensor:
    """Refines tracks of hands of one side.

    Args:
        estimator: the refiner.
        tracks: (N, T, P, 3) metres, on the CPU.
        given: (N, T) or (N, T, P) bool.
        side: 0 left, 1 right.
        times: (T,) seconds; None means the frames have the estimator's frame rate.

    Returns:
        (N, T, P, 3), on the CPU.
    """
    parameter = next(estimator.parameters(), None)
    device = tracks.device if parameter is None else parameter.device
    sides = torch.full((len(tracks),), int(side))
    joints, given = tracks.transpose(0, 1).to(device), given.transpose(0, 1).to(device)
    refined = estimator.refine(joints, given, sides.to(device), times=None if times is None else times.to(device))
    return refined.joints.transpose(0, 1).float().cpu()
