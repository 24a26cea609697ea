"""Fitted hands on a regular time line, every frame with a pose: what animation formats need.

Legend: T frames.
"""

from dataclasses import dataclass

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
class HandMotion:
    """One hand in animation axes: y up, the camera at the origin looking along -z.

    Attributes:
        side: a `Side`.
        rotmats: (T, 16, 3, 3) in MANO's order, relative to the parent joint; the wrist's is that of the hand.
        wrist: (T, 3) metres.
        valid: (T,) bool; where False the pose is held.
        period: seconds from a frame to the next.
        start: seconds, time of the first frame.
    """

    side: int
    rotmats: NDArray
    wrist: NDArray
    valid: NDArray
    period: float
    start: float

    @property
    def label(self) -> str:
        """'left' or 'right'."""
        return SIDE_LABELS[self.side]

    def __len__(self) -> int:
        return len(self.wrist)


def time_line(timestamps: NDArray) -> tuple[NDArray, float]:
    """Lays a regular time line over timestamps.

    Args:
        timestamps: (T,) seconds, increasing.

    Returns:
        The times (T',) in seconds from the first to the last timestamp, and the period.
    """
    if len(timestamps) < 2:
        return timestamps.astype(np.float64), DEFAULT_PERIOD
    span = timestamps[-1] - timestamps[0]
    median = float(np.median(np.diff(timestamps)))
    steps = np.maximum(np.rint(np.diff(timestamps) / median), 1).astype(np.int64)
    # Rounded timestamps (33, 67, 100 ms) have a median that is off; the whole recording's mean is not.
    number = int(steps.sum()) if abs(steps.sum() * median - span) < 0.05 * span else max(round(span / median), 1)
    return timestamps[0] + span / number * np.arange(number + 1), float(span / number)


def regular_motions(fitted: FittedHands) -> tuple[list[HandMotion], list[str]]:
    """Brings every hand that was seen onto the regular time line.

    A frame that has its place on it, to a quarter of a period, is kept as it is; between frames of a variable rate
    poses are interpolated (rotations on the great circle). Where the hand is missing, its last pose is held, and before
    its first frame that one.

    Args:
        fitted: the fitted hands.

    Returns:
        The motions, and notes about what was held or resampled.
    """
    times, period = time_line(fitted.timestamps)
    places = times[np.rint((fitted.timestamps - times[0]) / period).astype(np.int64)]
    exact = bool((np.abs(fitted.timestamps - places) <= _ON_TIME * period).all())
    motions, notes = [], []
    if not exact:
        notes.append(f'the frame rate varies: poses were interpolated to {1 / period:.4g} frames per second')
    for hand, side in enumerate(fitted.hand_side):
        if not fitted.valid[:, hand].any():
            notes.append(f'the {SIDE_LABELS[side]} hand is in no frame and was left out')
            continue
        motion = _regular_motion(fitted, hand, times, period, _ON_TIME * period if exact else 1e-9)
        held = int((~motion.valid).sum())
        if held:
            notes.append(f'{motion.label} hand: {held} of {len(motion)} frames have no hand and hold the nearest pose')
        motions.append(motion)
    return motions, notes


def _regular_motion(fitted: FittedHands, hand: int, times: NDArray, period: float, slack: float) -> HandMotion:
    """One hand at `times`; a frame that comes up to `slack` seconds after its place is taken as it is."""
    where = np.flatnonzero(fitted.valid[:, hand])
    seen = fitted.timestamps[where]
    before = np.searchsorted(seen, times + slack, side='right') - 1
    after = np.minimum(before + 1, len(seen) - 1)
    before, is_early = np.maximum(before, 0), before < 0
    since, spacing = times - seen[before], seen[after] - seen[before]
    is_gap = (where[after] - where[before] != 1) | (spacing > _LONGEST_BRIDGE)
    share = np.where(is_gap | is_early | (since <= slack), 0.0, since / np.maximum(spacing, 1e-9))
    valid = np.where(is_gap | is_early, np.abs(since) <= np.maximum(slack, 0.5 * period), True)
    rotmats = rotvec_to_rotmat(torch.from_numpy(fitted.pose[where, hand]))
    rotmats = interpolate_rotations(rotmats[before], rotmats[after], torch.from_numpy(share)[:, None]).numpy()
    shape, side = torch.from_numpy(fitted.shape[hand]), torch.tensor(int(fitted.hand_side[hand]))
    wrist = fitted.transl[where, hand] + fitted.hand_model.rest_wrist(shape.float(), side).double().numpy()
    wrist = wrist[before] + share[:, None] * (wrist[after] - wrist[before])
    rotmats[:, 0] = Y_UP @ rotmats[:, 0]
    return HandMotion(int(side), rotmats, wrist @ Y_UP.T, valid, period, float(times[0]))


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
