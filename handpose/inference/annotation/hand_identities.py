"""From all hands that were followed to at most one left and one right: `choose_sides`.

Legend: T frames, K cameras.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handpose.hands.sides import SIDE_LABELS, Side
from handpose.inference.annotation.view_hands import ViewHands
from handpose.inference.tracking.tracker import right_logit

MIN_FRAMES = 6  # of a hand, unless the recording itself is shorter
MIN_MEAN_PRESENCE = 0.6
MAX_COMMON = 0.1  # fraction of a hand's frames in which its side may be taken already
CERTAIN_SIDE = 1.5  # mean log-odds of the detections from which on a second hand of one side is another person's
_LISTED = 5  # hands that a note describes


@dataclass(eq=False)
class HandTrail:
    """One hand, as long as it was followed: n detections.

    Args:
        frames: (n,) not decreasing.
        cameras: (n,).
        detections: (n,) which of the camera's detections in this frame it is.
    """

    frames: NDArray[np.int64]
    cameras: NDArray[np.int64]
    detections: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A trail and what speaks for it."""

    trail: HandTrail
    frames: NDArray[np.int64]  # each once
    right: float  # sum of log-odds
    count: int  # detections
    presence: float
    most_views: int

    @property
    def side(self) -> Side:
        return Side.RIGHT if self.right > 0 else Side.LEFT

    def __str__(self) -> str:
        where = f'frames {self.frames[0]} to {self.frames[-1]}'
        views = 'one camera' if self.most_views == 1 else f'up to {self.most_views} cameras'
        return f'{where}, {views}, {SIDE_LABELS[self.side]} by {abs(self.right) / self.count:.1f} log-odds'


def choose_sides(
    trails: list[HandTrail], view_hands: ViewHands
) -> tuple[list[int], list[NDArray[np.int64]], list[str]]:
    """Chooses the best left and the best right hand.

    The side of a trail is that of the sum of the evidence of all its detections. Trails are taken in the order of this
    evidence. One whose side is taken in the same frames becomes the other hand if its own side is uncertain and more
    than one camera saw it, and is left out otherwise.

    Args:
        trails: of all hands.
        view_hands: their detections.

    Returns:
        The sides that exist, in the order left (0), right (1); of each the detections (T, K), -1 for none; and notes on
        what was left out or is uncertain.
    """
    candidates = [_summary(trail, view_hands) for trail in trails]
    least = min(MIN_FRAMES, len(view_hands))
    good = [one for one in candidates if len(one.frames) >= least and one.presence >= MIN_MEAN_PRESENCE]
    notes = []
    if len(good) < len(candidates):
        total = sum(one.count for one in candidates) - sum(one.count for one in good)
        notes.append(
            f'{total} of {int(view_hands.valid.sum())} detections fit no hand that lasts, or are uncertain, and were '
            f'left out'
        )
    taken = np.full((2, *view_hands.valid.shape[:2]), -1, np.int64)
    dropped = []
    for one in sorted(good, key=lambda one: (one.most_views == 1, -abs(one.right))):
        side = _free_side(one, taken)
        if side is None:
            dropped.append(one)
            continue
        if side != one.side:
            notes.append(
                f'the side of a hand is uncertain ({one}): it was taken for the {SIDE_LABELS[side]} one because the '
                f'{SIDE_LABELS[one.side]} one is there too'
            )
        free = (taken[side] < 0).all(-1)[one.trail.frames]
        taken[side, one.trail.frames[free], one.trail.cameras[free]] = one.trail.detections[free]
    if dropped:
        listed = '; '.join(map(str, dropped[:_LISTED]))
        more = f'; and {len(dropped) - _LISTED} more' if len(dropped) > _LISTED else ''
        notes.append(
            f"more than one left and one right hand: {len(dropped)} further left out, other people's hands "
            f'or wrong detections ({listed}{more})'
        )
    sides = [side for side in (Side.LEFT, Side.RIGHT) if (taken[side] >= 0).any()]
    return [int(side) for side in sides], [taken[side] for side in sides], notes


def _free_side(one: _Candidate, taken: NDArray[np.int64]) -> Side | None:
    """The side that a hand gets, or None if there is none for it."""
    busy = (taken[:, one.frames] >= 0).any(-1).mean(-1)
    if busy[one.side] <= MAX_COMMON:
        return one.side
    other = Side.LEFT if one.side is Side.RIGHT else Side.RIGHT
    uncertain = abs(one.right) / one.count < CERTAIN_SIDE
    return other if uncertain and one.most_views > 1 and busy[other] <= MAX_COMMON else None


def _summary(trail: HandTrail, view_hands: ViewHands) -> _Candidate:
    index = trail.frames, trail.cameras, trail.detections
    frames, views = np.unique(trail.frames, return_counts=True)
    return _Candidate(
        trail=trail,
        frames=frames,
        right=float(right_logit(view_hands.right[index]).sum()),
        count=len(trail.frames),
        presence=float(view_hands.presence[index].mean()),
        most_views=int(views.max()),
    )
