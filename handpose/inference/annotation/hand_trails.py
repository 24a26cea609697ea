"""Joins the detections of each frame to hands, and the hands of successive frames: `TrailBuilder`.

Legend: K cameras, N the most hands in one image, M = K N detections of a frame, J = 21 joints of the common order.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from handpose.geometry.triangulation import triangulate
from handpose.inference.annotation.hand_identities import HandTrail
from handpose.inference.annotation.pair_costs import PairWeights, ViewRays
from handpose.inference.annotation.view_hands import ViewHands
from handpose.structures.calibration import Calibration

_MEMORY = 15  # frames after which it is forgotten where a hand was
_NEAR = 0.35  # of its size, how far a hand may move in an image from one frame to the next
_NEAR_PER_FRAME = 0.1  # more for each frame in which it was not seen
_SAME_TRACK = 0.3  # what a distance counts if the camera's tracker says that it is the same hand
_LIMIT = 1.0  # costs from here on forbid that detections are one hand


@dataclass(eq=False)
class _Hand:
    """A hand that is followed: where it was last."""

    trail: dict[tuple[int, int], int] = field(default_factory=dict)
    places: dict[int, tuple[int, NDArray, int]] = field(default_factory=dict)  # camera: frame, joints, track
    together: tuple[int, NDArray] | None = None  # the last frame with two cameras or more, and its detections (n, 2)
    points: NDArray | None = None  # (J, 3) in that frame; None until needed
    last: int = -1


class TrailBuilder:
    """Follows all hands from frame to frame.

    Args:
        view_hands: of the whole recording.
        rays: its detections without lens distortion.
        calibration: the K cameras.
        weights: see `PairWeights`.
    """

    def __init__(self, view_hands: ViewHands, rays: ViewRays, calibration: Calibration, weights: PairWeights) -> None:
        self.view_hands, self.rays, self.weights = view_hands, rays, weights
        self.projections = calibration.projections()
        self.frame = 0
        self.hands: list[_Hand] = []
        self._ended: list[_Hand] = []

    def push(self, costs: NDArray[np.float64]) -> None:
        """Assigns the detections of the next frame.

        Args:
            costs: (K, N, K, N) of `pair_costs`.
        """
        self._ended.extend(hand for hand in self.hands if self.frame - hand.last > _MEMORY)
        self.hands = [hand for hand in self.hands if self.frame - hand.last <= _MEMORY]
        found = np.argwhere(self.view_hands.valid[self.frame])
        if len(found):
            index = found[:, 0], found[:, 1]
            matrix = costs[index[0][:, None], index[1][:, None], index[0][None], index[1][None]]
            labels, closeness = self._expected(found)
            same, known = labels[:, None] == labels, (labels[:, None] >= 0) & (labels >= 0)
            matrix = matrix + self.weights.continuity * (known * np.where(same, -1.0, 1.0))
            groups = _group(matrix, found[:, 0])
            for group, label in zip(groups, self._labels(groups, labels, closeness), strict=True):
                self._add(self.hands[label], found[group])
        self.frame += 1

    def trails(self) -> list[HandTrail]:
        """Returns the hands so far, each with its detections."""
        trails = []
        for hand in (*self._ended, *self.hands):
            places = np.array([*hand.trail], np.int64)
            trails.append(HandTrail(places[:, 0], places[:, 1], np.array([*hand.trail.values()], np.int64)))
        return trails

    def _expected(self, found: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The hand (M,) that each detection continues, -1 for none, and how near it is, from 0 to 1."""
        distances = np.full((len(found), len(self.hands)), np.inf)
        for h, hand in enumerate(self.hands):
            for i, (k, n) in enumerate(found):
                distances[i, h] = self._distance(hand, int(k), int(n))
        labels, closeness = np.full(len(found), -1), np.zeros(len(found))
        taken: set[tuple[int, int]] = set()
        for flat in np.argsort(distances, axis=None):
            i, h = np.unravel_index(flat, distances.shape)
            if not distances[i, h] < 1:
                break
            if labels[i] < 0 and (found[i, 0], h) not in taken:
                labels[i], closeness[i] = h, 1 - distances[i, h]
                taken.add((found[i, 0], h))
        return labels, closeness

    def _distance(self, hand: _Hand, k: int, n: int) -> float:
        """How far a detection is from where the hand is expected; from 1 on it is another hand."""
        points, size = self.rays.points_2d[self.frame, k, n], self.rays.sizes[self.frame, k, n]
        place = hand.places.get(k)
        factor = 1.0
        if place is not None and self.frame - place[0] <= _MEMORY:
            since, expected, track = place
            if track >= 0 and track == self.view_hands.track_ids[self.frame, k, n]:
                factor = _SAME_TRACK
        elif hand.together is not None and self.frame - hand.together[0] <= _MEMORY:
            since, expected = hand.together[0], self._project(self._points(hand, *hand.together), k)
        else:
            return np.inf
        moved = np.linalg.norm(points - expected, axis=-1)
        moved = moved[np.isfinite(moved)]
        if not len(moved):
            return np.inf
        limit = _NEAR + _NEAR_PER_FRAME * (self.frame - since - 1)
        return float(factor * np.median(moved) / size / limit)

    def _points(self, hand: _Hand, frame: int, detections: NDArray[np.int64]) -> NDArray[np.float64]:
        if hand.points is None:
            views = torch.from_numpy(detections[:, 0])
            points_2d = torch.from_numpy(self.rays.points_2d[frame, detections[:, 0], detections[:, 1]])
            solved = triangulate(points_2d, self.projections[views])
            hand.points = np.where(solved.valid[:, None].numpy(), solved.points.numpy(), np.nan)
        return hand.points

    def _project(self, points: NDArray[np.float64], k: int) -> NDArray[np.float64]:
        matrix = self.projections[k].numpy()
        homogeneous = points @ matrix[:, :3].T + matrix[:, 3]
        return np.where(homogeneous[:, 2:] > 0, homogeneous[:, :2] / homogeneous[:, 2:], np.nan)

    def _labels(self, groups: list[list[int]], labels: NDArray, closeness: NDArray) -> list[int]:
        """Which hand each group of detections continues; new ones are added."""
        votes = np.zeros((len(groups), len(self.hands)))
        for g, group in enumerate(groups):
            for i in group:
                if labels[i] >= 0:
                    # The longer a hand has been seen, the more it counts when two claim the same detections.
                    votes[g, labels[i]] += (0.1 + closeness[i]) * np.log1p(len(self.hands[labels[i]].trail))
        rows, columns = linear_sum_assignment(votes, maximize=True)
        chosen = {int(g): int(h) for g, h in zip(rows, columns, strict=True) if votes[g, h] > 0}
        result = []
        for g in range(len(groups)):
            if g not in chosen:
                self.hands.append(_Hand())
                chosen[g] = len(self.hands) - 1
            result.append(chosen[g])
        return result

    def _add(self, hand: _Hand, detections: NDArray[np.int64]) -> None:
        t = self.frame
        for k, n in detections:
            hand.trail[t, int(k)] = int(n)
            hand.places[int(k)] = t, self.rays.points_2d[t, k, n], int(self.view_hands.track_ids[t, k, n])
        if len(detections) > 1:
            hand.together, hand.points = (t, detections), None
        hand.last = t


def _group(costs: NDArray[np.float64], views: NDArray[np.int64]) -> list[list[int]]:
    """Joins detections, the cheapest first, as long as their mean cost is below the limit.

    Average linkage (Sokal and Michener, A statistical method for evaluating systematic relationships, 1958), with at
    most one detection of each view in a group.
    """
    groups = [[i] for i in range(len(views))]
    sums, members = costs.copy(), np.zeros((len(views), views.max() + 1), bool)
    members[np.arange(len(views)), views] = True
    sizes = np.ones(len(views))
    alive = np.ones(len(views), bool)
    sums[(members[:, None] & members).any(-1)] = np.inf
    while alive.sum() > 1:
        mean = sums / (sizes[:, None] * sizes)
        a, b = np.unravel_index(mean.argmin(), mean.shape)
        if not mean[a, b] < _LIMIT:
            break
        groups[a] += groups[b]
        sums[a] += sums[b]
        sums[:, a] = sums[a]
        members[a] |= members[b]
        sizes[a] += sizes[b]
        alive[b] = False
        sums[b], sums[:, b] = np.inf, np.inf
        clash = (members & members[a]).any(-1)
        sums[a, clash], sums[clash, a] = np.inf, np.inf
    return [group for group, kept in zip(groups, alive, strict=True) if kept]
