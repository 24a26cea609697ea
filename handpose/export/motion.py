"""Fitted hands on a regular time line, every frame with a pose: what animation formats need.

Legend: T frames.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.geometry.rotations import quat_to_rotmat, rotmat_to_quat, rotvec_to_rotmat
from handpose.hands import SIDE_LABELS
from handpose.structures.fitted_hands import FittedHands

DEFAULT_PERIOD = 1 / 30  # seconds, of a single frame
_ON_TIME = 0.25  # of a frame period: a frame this near to its place on the time line counts as being there
_LONGEST_BRIDGE = 0.5  # seconds between two frames in a row, across which poses are interpolated
Y_UP = np.diag([1.0, -1.0, -1.0])
"""From camera axes (x right, y down, z forward) to those of animation (x right, y up, z backward): half a turn in x."""


@dataclass(frozen=True, eq=False)
class HandAnimation:
    """One hand in animation axes: y up, the camera at the origin looking along -z.

    Attributes:
        side: a `Side`.
        rotmats: (T, 16, 3, 3) in MANO's order, relative to the parent joint; the wrist's is that of the hand.
        wrist: (T, 3) metres.
        valid: (T,) bool; where False the pose is held.
        period: seconds from a frame to the next.
    """

    side: int
    rotmats: NDArray
    wrist: NDArray
    valid: NDArray
    period: float

    @property
    def label(self) -> str:
        """'left' or 'right'."""
        return SIDE_LABELS[self.side]

    def __len__(self) -> int:
        return len(self.wrist)


class Placement(NamedTuple):
    """Where the poses of regular times come from, among the frames in which a hand was seen.

    Attributes:
        before: (T,) positions among the seen frames.
        after: (T,) positions of the next ones.
        share: (T,) from 0, the pose `before`, to 1, the pose `after`.
        valid: (T,) bool; where False the pose `before` is held.
    """

    before: NDArray
    after: NDArray
    share: NDArray
    valid: NDArray


@dataclass(frozen=True, eq=False)
class TimeLine:
    """A regular time line over timestamps.

    A frame that has its place on it, to a quarter of a period, is taken as it is; where the rate varies, poses are
    interpolated between frames. Where the hand is missing, its last pose is held, before its first frame that one.

    Attributes:
        timestamps: (N,) seconds of the frames, increasing.
        times: (T,) seconds, regular, from the first to the last timestamp.
        period: seconds.
    """

    timestamps: NDArray
    times: NDArray
    period: float

    @classmethod
    def over(cls, timestamps: NDArray) -> 'TimeLine':
        """Lays a time line over timestamps.

        Args:
            timestamps: (N,) seconds, increasing.

        Returns:
            The time line.
        """
        if len(timestamps) < 2:
            return cls(timestamps, timestamps.astype(np.float64), DEFAULT_PERIOD)
        span = timestamps[-1] - timestamps[0]
        median = float(np.median(np.diff(timestamps)))
        # Rounded timestamps (33, 67, 100 ms) have a median that is off; the mean over whole steps is not.
        steps = int(np.maximum(np.rint(np.diff(timestamps) / median), 1).sum())
        number = steps if abs(steps * median - span) < 0.05 * span else max(round(span / median), 1)
        return cls(timestamps, timestamps[0] + span / number * np.arange(number + 1), float(span / number))

    @cached_property
    def is_exact(self) -> bool:
        """Whether every frame has its place on the time line."""
        places = self.times[np.rint((self.timestamps - self.times[0]) / self.period).astype(np.int64)]
        return bool((np.abs(self.timestamps - places) <= _ON_TIME * self.period).all())

    def place(self, seen: NDArray) -> Placement:
        """Finds the poses of the regular times.

        Args:
            seen: (N,) bool, the frames that have a pose; at least one.

        Returns:
            The placement among the frames that have one.
        """
        where = np.flatnonzero(seen)
        moments, slack = self.timestamps[where], _ON_TIME * self.period if self.is_exact else 1e-9
        before = np.searchsorted(moments, self.times + slack, side='right') - 1
        after = np.minimum(before + 1, len(moments) - 1)
        before, is_early = np.maximum(before, 0), before < 0
        since, spacing = self.times - moments[before], moments[after] - moments[before]
        is_gap = (where[after] - where[before] != 1) | (spacing > _LONGEST_BRIDGE) | is_early
        share = np.where(is_gap | (since <= slack), 0.0, since / np.maximum(spacing, 1e-9))
        valid = np.where(is_gap, np.abs(since) <= 0.5 * self.period, True)
        return Placement(before, after, share, valid)

    def notes(self) -> list[str]:
        """Tells the user if the rate was changed.

        Returns:
            Lines for the user.
        """
        rate = f'{1 / self.period:.4g} frames per second'
        return [] if self.is_exact else [f'the frame rate varies: poses were interpolated to {rate}']


def regular_motions(fitted: FittedHands) -> tuple[list[HandAnimation], list[str]]:
    """Brings every hand that was seen onto the regular time line.

    Args:
        fitted: the fitted hands.

    Returns:
        The motions, and notes about what was held, left out or resampled.
    """
    line = TimeLine.over(fitted.timestamps)
    motions, notes = [], line.notes()
    for hand, side in enumerate(fitted.hand_side):
        if not fitted.valid[:, hand].any():
            notes.append(f'the {SIDE_LABELS[side]} hand is in no frame and was left out')
            continue
        motion = _regular_motion(fitted, hand, line)
        notes += held_note(motion.label, motion.valid)
        motions.append(motion)
    return motions, notes


def held_note(label: str, valid: NDArray) -> list[str]:
    """Tells how many frames hold a pose.

    Args:
        label: the hand.
        valid: (T,) bool.

    Returns:
        No or one line for the user.
    """
    held = int((~valid).sum())
    return [f'{label} hand: {held} of {len(valid)} frames have no hand and hold the nearest pose'] if held else []


def _regular_motion(fitted: FittedHands, hand: int, line: TimeLine) -> HandAnimation:
    seen = fitted.valid[:, hand]
    before, after, share, valid = line.place(seen)
    local = rotvec_to_rotmat(torch.from_numpy(fitted.pose[seen, hand]))
    rotmats = interpolate_rotations(local[before], local[after], torch.from_numpy(share)[:, None]).numpy()
    shape, side = torch.from_numpy(fitted.shape[hand]), torch.tensor(int(fitted.hand_side[hand]))
    wrist = fitted.transl[seen, hand] + fitted.hand_model.rest_wrist(shape.float(), side).double().numpy()
    wrist = wrist[before] + share[:, None] * (wrist[after] - wrist[before])
    rotmats[:, 0] = Y_UP @ rotmats[:, 0]
    return HandAnimation(int(side), rotmats, wrist @ Y_UP.T, valid, line.period)


def interpolate_rotations(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Interpolates rotations on the great circle between them; a share of 0 or 1 gives one of them exactly.

    Args:
        first: (..., 3, 3).
        second: (..., 3, 3).
        share: (...) from 0 to 1, broadcast.

    Returns:
        (..., 3, 3).
    """
    a, b = rotmat_to_quat(first), rotmat_to_quat(second)
    cosine = (a * b).sum(-1, keepdim=True)
    b = torch.where(cosine < 0, -b, b)
    angle = torch.arccos(cosine.abs().clamp_max(1))
    share = share[..., None].expand_as(angle)
    small = angle < 1e-6
    sine = torch.where(small, torch.ones_like(angle), angle.sin())
    weights = [torch.where(small, w, (w * angle).sin() / sine) for w in (1 - share, share)]
    mixed = quat_to_rotmat(weights[0] * a + weights[1] * b)
    exact = torch.where((share == 1)[..., None], second, first)
    return torch.where(((share == 0) | (share == 1))[..., None], exact, mixed)
