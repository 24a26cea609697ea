"""`HandTracker`: which hand of an image is which hand of the images before.

Legend: J the 21 common joints.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from handpose.hands.sides import Side
from handpose.inference.tracking.interfaces import HandEstimate, HandRegion

MIN_PRESENCE = 0.5
DETECTION_PERIOD = 0.2  # seconds after which new hands are looked for although all known ones are followed
MAX_LOST_TIME = 0.5  # seconds for which a hand may be lost and still be continued
# Distances in sizes of the hands: the diagonals of the boxes around their joints.
SAME_REGION = 0.35  # between centres, of a detection and a hand that is followed already
SAME_HAND = 0.15  # mean over joints, of two estimates of one hand
MAX_JUMP = 1.0  # between centres, of a lost hand and the hand that continues it
# The next region comes from the palm and the lower finger joints; constants of MediaPipe's published graph.
REGION_JOINTS = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
REGION_SCALE, REGION_SHIFT = 2.0, -0.1
MAX_LOGIT = 4.0  # no single image decides the side of a hand


@dataclass(frozen=True, eq=False)
class TrackedHand:
    """A hand in one image, as a part of its track.

    Attributes:
        track_id: the number of the track, from 0 in the order of appearance.
        side: of the whole track so far.
        estimate: of the hand in this image.
        tracked_2d: (J, 2) float32 pixels, the joints by which the hand is followed; other than those of `estimate` if
            another estimator gave that.
    """

    track_id: int
    side: Side
    estimate: HandEstimate
    tracked_2d: NDArray[np.float32]

    def box(self) -> NDArray[np.float32]:
        """Returns (4,), the xyxy box around the joints by which the hand is followed, pixels."""
        return np.concatenate([self.tracked_2d.min(0), self.tracked_2d.max(0)])


@dataclass(eq=False)
class _Track:
    track_id: int
    estimate: HandEstimate
    time: float
    right_logit: float = 0.0  # summed over the images

    @property
    def side(self) -> Side:
        return Side.RIGHT if self.right_logit > 0 else Side.LEFT


class HandTracker:
    """Follows any number of hands.

    A hand is followed by looking near the place where it was in the image before. Detections start new tracks, unless
    they continue one that was lost a moment ago (assignment by distance, scipy). Two tracks never follow the same hand
    for long: the one whose side contradicts the image ends, otherwise the younger one.

    The tracker runs no network: `Session` asks it where to look and tells it what was found. Its state follows from
    the hands of each image alone, so `restore` can rebuild it from them.
    """

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}  # found in the last image
        self._lost: dict[int, _Track] = {}
        self._next_id = 0
        self._last_detection = -math.inf

    def regions(self) -> list[HandRegion]:
        """Returns where to look for the hands of the last image, with their track ids."""
        return [next_region(track.estimate.joints_2d, track.track_id) for track in self._tracks.values()]

    def needs_detection(self, time: float, estimates: Sequence[HandEstimate]) -> bool:
        """Decides whether the detector has to run.

        Args:
            time: of the image, seconds.
            estimates: in the regions of `regions`.

        Returns:
            True if no hand is followed, one was just lost, or the last detection was `DETECTION_PERIOD` ago.
        """
        found = sum(estimate.presence >= MIN_PRESENCE for estimate in estimates)
        overdue = time - self._last_detection >= DETECTION_PERIOD - 1e-6
        return overdue or found == 0 or found < len(self._tracks)

    def new_regions(self, estimates: Sequence[HandEstimate], detections: Sequence[HandRegion]) -> list[HandRegion]:
        """Selects the detections of hands that are not followed yet.

        Args:
            estimates: in the regions of `regions`.
            detections: from the detector.

        Returns:
            Those that are not assigned to one of the estimates.
        """
        found = [estimate for estimate in estimates if estimate.presence >= MIN_PRESENCE]
        if not found or not detections:
            return list(detections)
        boxes = [next_region(estimate.joints_2d) for estimate in found]
        distance = np.array(
            [[math.hypot(d.x - b.x, d.y - b.y) / max(d.size, b.size) for b in boxes] for d in detections]
        )
        taken = {d for d, _ in assign_nearest(distance, SAME_REGION)}
        return [detection for d, detection in enumerate(detections) if d not in taken]

    def update(
        self, time: float, followed: Sequence[HandEstimate], new: Sequence[HandEstimate] = (), detected: bool = False
    ) -> list[TrackedHand]:
        """Takes the estimates of one image.

        Args:
            time: of the image, seconds, later than the one before.
            followed: in the regions of `regions`, in their order.
            new: in other regions.
            detected: whether the detector ran on this image.

        Returns:
            The hands of this image, the oldest track first.
        """
        hands = dict(zip(self._tracks, followed, strict=True))
        hands = {i: estimate for i, estimate in hands.items() if estimate.presence >= MIN_PRESENCE}
        self._drop_duplicates(hands)
        fresh: list[HandEstimate] = []
        for estimate in new:
            if estimate.presence >= MIN_PRESENCE and not any(_same(estimate, e) for e in [*hands.values(), *fresh]):
                fresh.append(estimate)
        hands |= self._continue_lost(time, {**self._tracks, **self._lost}, hands, fresh)
        for estimate in fresh:
            if not any(estimate is known for known in hands.values()):
                hands[self._next_id] = estimate
                self._next_id += 1
        return self._commit(time, dict(sorted(hands.items())), detected)

    def restore(self, time: float, hands: Sequence[tuple[int, HandEstimate]], detected: bool) -> list[TrackedHand]:
        """Takes the hands of an image that was processed before, to continue after it.

        Args:
            time: of the image, seconds.
            hands: (track id, estimate with `tracked_2d` as its joints) of each hand that `update` returned.
            detected: whether the detector ran on it.

        Returns:
            The hands of the image, as `update` returned them, with `tracked_2d` as their joints.
        """
        self._next_id = max([self._next_id, *(track_id + 1 for track_id, _ in hands)])
        return self._commit(time, dict(hands), detected)

    def _drop_duplicates(self, hands: dict[int, HandEstimate]) -> None:
        """Removes from `hands` all but one of the tracks that have run into the same hand."""
        ids = list(hands)
        for k, older in enumerate(ids):
            for younger in ids[k + 1 :]:
                if older in hands and younger in hands and _same(hands[older], hands[younger]):
                    shown = Side.RIGHT if hands[older].right + hands[younger].right > 1 else Side.LEFT
                    contradicts = self._tracks[older].side is not shown and self._tracks[younger].side is shown
                    del hands[older if contradicts else younger]

    def _continue_lost(
        self,
        time: float,
        known: dict[int, _Track],
        hands: dict[int, HandEstimate],
        fresh: Sequence[HandEstimate],
    ) -> dict[int, HandEstimate]:
        """Assigns new estimates to tracks that were lost in this image or a moment ago: {track id: estimate}."""
        lost = [t for i, t in known.items() if i not in hands and time - t.time <= MAX_LOST_TIME]
        if not lost or not fresh:
            return {}
        cost = np.array([[_distance(estimate, track) for track in lost] for estimate in fresh])
        return {lost[t].track_id: fresh[e] for e, t in assign_nearest(cost, MAX_JUMP)}

    def _commit(self, time: float, hands: dict[int, HandEstimate], detected: bool) -> list[TrackedHand]:
        known = {**self._lost, **self._tracks}
        tracks = {}
        for track_id, estimate in hands.items():
            before = known.pop(track_id).right_logit if track_id in known else 0.0
            tracks[track_id] = _Track(track_id, estimate, time, before + float(right_logit(estimate.right)))
        self._tracks = tracks
        self._lost = {i: track for i, track in known.items() if time - track.time <= MAX_LOST_TIME}
        if detected:
            self._last_detection = time
        return [TrackedHand(i, track.side, track.estimate, track.estimate.joints_2d) for i, track in tracks.items()]


def next_region(joints_2d: NDArray, track_id: int = -1) -> HandRegion:
    """Predicts where a hand is in the next image.

    Args:
        joints_2d: (J, 2) pixels in this image.
        track_id: for the region.

    Returns:
        A square around palm and lower finger joints, with room for the fingers and for motion.
    """
    points = np.asarray(joints_2d, np.float64)
    fingers = ((points[5] + points[13]) / 2 + points[9]) / 2  # index, ring and middle MCP
    towards_fingers = fingers - points[0]
    rotation = float(np.arctan2(towards_fingers[0], -towards_fingers[1]))
    c, s = np.cos(rotation), np.sin(rotation)
    to_image = np.array([[c, -s], [s, c]])
    upright = points[list(REGION_JOINTS)] @ to_image  # coordinates along the axes of the square
    low, high = upright.min(0), upright.max(0)
    centre = (low + high) / 2 + [0, REGION_SHIFT * (high - low)[1]]
    x, y = to_image @ centre
    return HandRegion(float(x), float(y), float(REGION_SCALE * (high - low).max()), rotation, track_id)


def assign_nearest(distance: NDArray, limit: float) -> list[tuple[int, int]]:
    """Pairs rows with columns so that the sum of distances is smallest.

    Args:
        distance: (N, M).
        limit: of the distance of a pair.

    Returns:
        (row, column) of each pair.
    """
    rows, columns = linear_sum_assignment(np.minimum(distance, 10 * limit))
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column) for row, column in pairs if distance[row, column] < limit]


def extent(joints_2d: NDArray) -> float:
    """Returns the size of a hand (J, 2): the diagonal of the box around its joints, at least 1 pixel."""
    return max(float(np.linalg.norm(np.ptp(joints_2d, axis=0))), 1.0)


def _same(a: HandEstimate, b: HandEstimate) -> bool:
    """Whether two estimates are of one hand."""
    offset = float(np.linalg.norm(a.joints_2d - b.joints_2d, axis=-1).mean())
    return offset < SAME_HAND * max(extent(a.joints_2d), extent(b.joints_2d))


def _distance(estimate: HandEstimate, track: _Track) -> float:
    """Between the centres of a new estimate and a lost hand, in sizes; doubled if the sides differ."""
    a, b = estimate.joints_2d, track.estimate.joints_2d
    distance = float(np.linalg.norm(a.mean(0) - b.mean(0))) / max(extent(a), extent(b))
    other_side = (estimate.right > 0.5) != (track.side is Side.RIGHT)
    return distance * (2 if other_side else 1)


def right_logit(right: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns probabilities of a right hand into evidence that adds up over the images of a track.

    Args:
        right: (...) from 0 to 1.

    Returns:
        (...) log-odds, limited to `MAX_LOGIT`.
    """
    limit = 1 / (1 + math.exp(MAX_LOGIT))
    clipped = np.clip(np.asarray(right, np.float64), limit, 1 - limit)
    return np.log(clipped / (1 - clipped))
