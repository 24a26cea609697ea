"""What a refiner works on: tracks of points of one hand that are refined together, in whole tracks or frame by frame.

The joints of a hand are one track. Where a skeleton lacks joints (`joints_valid`), each joint is a track of its own, so
that gaps of single joints are filled too. The 2D joints are tracks like the joints, and a box is one of two corners.
Legend: T frames, H hands, P points of a track.
"""

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.inference.online_refiners import HandRefiner, SegmentRefiner, WindowRefiner, refine_tracks
from handpose.models.estimators.motion_refiner import MotionRefiner
from handpose.structures import Predictions

METRES_PER_PIXEL = 1e-3  # where a frame does not tell: it has one joint only


class PointTrack(NamedTuple):
    """Points of one hand that are refined together.

    Attributes:
        field: of `Predictions`: 'joints', 'joints_2d' or 'boxes'.
        hand: index of the hand.
        points: the joints, or the two corners of the box.
    """

    field: str
    hand: int
    points: tuple[int, ...]

    def values(self, predictions: Predictions) -> NDArray[np.float32]:
        """Reads the points, z of pixels being 0.

        Args:
            predictions: what has the field.

        Returns:
            (T, P, 3) metres or pixels.
        """
        values = getattr(predictions, self.field)[:, self.hand]
        values = values.reshape(len(values), -1, values.shape[-1] if values.ndim == 3 else 2)[:, list(self.points)]
        missing = np.zeros((*values.shape[:2], 3 - values.shape[2]), np.float32)
        return np.concatenate([values, missing], -1)

    def detected(self, predictions: Predictions) -> NDArray[np.bool_]:
        """Tells in which frames any of the points are given.

        Args:
            predictions: as for `values`.

        Returns:
            (T,) bool.
        """
        return np.asarray(self.given(predictions).any(1))

    def given(self, predictions: Predictions) -> NDArray[np.bool_]:
        """Tells which points are given.

        Args:
            predictions: as for `values`.

        Returns:
            (T, P) bool.
        """
        if self.field == 'boxes':
            return np.repeat(predictions.valid[:, self.hand, None], 2, 1)
        return predictions.given_joints()[:, self.hand, list(self.points)]

    def metres(self, predictions: Predictions, t: int) -> float:
        """Computes what makes metres of the values, so that filters that respond to speed treat pixels like metres.

        It is the ratio of the extents of the hand across the image in 3D and in 2D. One frame decides it for a whole
        segment of a track, its first, since a live track does not know later ones.

        Args:
            predictions: as for `values`.
            t: the frame.

        Returns:
            1 for 3D joints, metres per pixel for pixels.
        """
        if self.field == 'joints':
            return 1.0
        if self.field == 'boxes' or predictions.joints_2d is None:
            return METRES_PER_PIXEL
        given = predictions.given_joints()[t, self.hand]
        extents = [
            float(np.linalg.norm(points[:, :2] - points[:, :2].mean(0)))
            for points in (predictions.joints[t, self.hand, given], predictions.joints_2d[t, self.hand, given])
        ]
        return extents[0] / extents[1] if min(extents) > 0 else METRES_PER_PIXEL


def point_tracks(predictions: Predictions, each_joint: bool) -> list[PointTrack]:
    """Lists the tracks of points.

    Args:
        predictions: of any number of frames.
        each_joint: whether each joint is a track of its own.

    Returns:
        The tracks; those of the joints first.
    """
    groups = [(j,) for j in range(21)] if each_joint else [tuple(range(21))]
    fields = [name for name in ('joints', 'joints_2d') if getattr(predictions, name) is not None]
    hands = range(predictions.valid.shape[1])
    tracks = [PointTrack(name, h, group) for name in fields for h in hands for group in groups]
    return tracks + [PointTrack('boxes', h, (0, 1)) for h in hands if predictions.boxes is not None]


def refine_segment(
    estimator: MotionRefiner, track: PointTrack, predictions: Predictions, segment: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Refines a segment of a track: all frames from its first to its last detection.

    Args:
        estimator: the refiner.
        track: the points.
        predictions: the whole track.
        segment: positions of the frames with a detection.

    Returns:
        (frames, P, 3) in the unit of the values.
    """
    frames = np.arange(segment[0], segment[-1] + 1)
    given, factor = track.given(predictions)[frames], track.metres(predictions, int(segment[0]))
    values = np.where(given[..., None], track.values(predictions)[frames] * np.float32(factor), 0)
    times = torch.from_numpy(predictions.timestamps[frames])
    side = int(predictions.hand_side[track.hand])
    points, known = torch.from_numpy(values)[None], torch.from_numpy(given)[None]
    return refine_tracks(estimator, points, known, side, times)[0].numpy() / np.float32(factor)


def known_points(
    given: NDArray[np.bool_], times: NDArray[np.float64], is_long_gap: Callable[[float], bool]
) -> NDArray[np.bool_]:
    """Tells which points of a segment are known once it is refined: those given, and short gaps between them.

    Args:
        given: (T, P) bool.
        times: (T,) seconds.
        is_long_gap: whether a time from one detection to the next is too long to be filled.

    Returns:
        (T, P) bool.
    """
    known = given.copy()
    for point in np.flatnonzero(~given.all(0)):
        frames = np.flatnonzero(given[:, point])
        for before, after in pairwise(frames):
            known[before:after, point] |= not is_long_gap(times[after] - times[before])
    return known


class LiveTrack:
    """A track of points that arrive frame by frame.

    Args:
        track: the points.
        estimator: the refiner.
        side: 0 left, 1 right.
    """

    def __init__(self, track: PointTrack, estimator: MotionRefiner, side: int) -> None:
        self.track, self.estimator = track, estimator
        kind = SegmentRefiner if estimator.num_frames is None else WindowRefiner
        self._refiner: HandRefiner = kind(estimator, side)
        self._last_detected: float | None = None  # seconds, in the current segment
        self._track_id: int | None = None
        self._factor = 1.0
        self._factors: deque[float] = deque()  # of the frames that were not popped yet
        self._given: deque[tuple[float, NDArray[np.bool_]]] = deque()  # their times and given points
        self._last_given = np.full(len(track.points), -np.inf)  # seconds, of each point in frames that were popped

    def push(self, frame: Predictions, is_long_gap: Callable[[float], bool]) -> None:
        """Adds the next frame.

        Args:
            frame: of one frame.
            is_long_gap: whether a time from one detection to the next is too long to be filled.
        """
        given = self.track.given(frame)[0]
        time, detected = float(frame.timestamps[0]), bool(given.any())
        track_id = None if frame.track_ids is None else int(frame.track_ids[0, self.track.hand])
        other_hand = detected and track_id != self._track_id
        if self._last_detected is not None and (other_hand or is_long_gap(time - self._last_detected)):
            self._refiner.end_segment()
            self._last_detected = None
        if detected:
            if self._last_detected is None:
                self._factor = self.track.metres(frame, 0)
            values = np.where(given[:, None], self.track.values(frame)[0] * np.float32(self._factor), 0)
            self._refiner.push(time, torch.from_numpy(values), torch.from_numpy(given))
            self._last_detected, self._track_id = time, track_id
        else:
            self._refiner.push(time, None)
        self._factors.append(self._factor)
        self._given.append((time, given))
        self._is_long_gap = is_long_gap

    def end_segment(self) -> None:
        """Ends the segment: the next frame begins a new one."""
        self._refiner.end_segment()

    def pop(self, time: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """Refines the oldest frame that was not popped yet, based on all frames so far.

        Args:
            time: of that frame.

        Returns:
            (P, 3) in the unit of the values and (P,) bool, which of them are known; or None if the points are missing.
        """
        factor = np.float32(self._factors.popleft())
        refined = self._refiner.pop(time)
        known = self._known(*self._given.popleft())
        return None if refined is None else (refined.numpy() / factor, known)

    def _known(self, time: float, given: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The points (P,) that are given in the oldest frame, or missing for a short time."""
        known, before = given.copy(), self._last_given
        for point in np.flatnonzero(~given & np.isfinite(before)):
            after = next((later for later, there in self._given if there[point]), None)
            known[point] = after is not None and not self._is_long_gap(after - before[point])
        self._last_given = np.where(given, time, before)
        return known


class RefinedArrays:
    """The arrays of refined predictions, filled track by track.

    Args:
        predictions: what was refined.
    """

    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions
        names = ('joints', 'joints_2d', 'boxes')
        given = {name: getattr(predictions, name) for name in names}
        self.values = {name: value.copy() for name, value in given.items() if value is not None}
        self.joints_valid = predictions.given_joints()

    def write(
        self,
        track: PointTrack,
        frames: NDArray[np.int64],
        points: NDArray[np.float32] | None,
        known: NDArray[np.bool_] | None = None,
    ) -> None:
        """Takes over what was refined.

        Args:
            track: the points.
            frames: (N,) positions.
            points: (N, P, 3), or None: they are missing.
            known: (N, P) bool, points that are not missing; None means all.
        """
        hand, chosen = track.hand, list(track.points)
        if track.field == 'boxes':
            filled = frames[~self.predictions.valid[frames, hand]]  # the boxes of an estimator stay as they are
            if points is not None and len(filled):
                self.values['boxes'][filled, hand] = points[np.isin(frames, filled)][:, :, :2].reshape(-1, 4)
            return
        size = self.values[track.field].shape[-1]
        index = np.ix_(frames, np.array([hand]), np.array(chosen))
        there = np.full((len(frames), 1, len(chosen)), points is not None)
        if known is not None:
            there &= known[:, None]
        refined = np.nan if points is None else points[:, None, :, :size]
        self.values[track.field][index] = np.where(there[..., None], refined, np.nan)
        if track.field == 'joints':
            self.joints_valid[index] = there


def last_known(values: NDArray, known: NDArray[np.bool_], before: NDArray) -> NDArray:
    """Carries values forward to frames in which they are not known.

    Args:
        values: (T, ...).
        known: (T, ...) bool.
        before: (...), what holds before the first known value.

    Returns:
        (T, ...).
    """
    frame = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    last = np.maximum.accumulate(np.where(known, frame, -1), 0)
    return np.where(last < 0, before, np.take_along_axis(values, last.clip(0), 0))
