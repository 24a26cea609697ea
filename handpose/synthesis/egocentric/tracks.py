"""Where rigid things are over time: tracks (F, 4, 4) put together from minimum-jerk moves between places.

A place may itself move: a hand goes to a bottle that another hand carries. Moves may overlap; the path stays smooth.
Table frame, metres; time runs from 0 to 1. Legend: F frames.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from handpose.synthesis.motion import minimum_jerk


def pose(transl=(0, 0, 0), rotvec=(0, 0, 0)):
    """A rigid motion (4, 4) from a translation and a rotation vector in degrees."""
    rigid = np.eye(4)
    rigid[:3, :3] = Rotation.from_rotvec(np.deg2rad(rotvec)).as_matrix()
    rigid[:3, 3] = transl
    return rigid


def turned_about(track, axis, angles, pivot=(0, 0, 0)):
    """A track (F, 4, 4) or place turned in its own frame by `angles` (F,) radians about an axis through `pivot`."""
    turn = np.tile(np.eye(4), (len(angles), 1, 1))
    rotmats = Rotation.from_rotvec(np.asarray(angles)[:, None] * np.asarray(axis, float)).as_matrix()
    turn[:, :3, :3] = rotmats
    turn[:, :3, 3] = np.asarray(pivot) - rotmats @ np.asarray(pivot)
    return track @ turn


def blend(first, second, share, lift=0.0):
    """Between two tracks (F, 4, 4): `share` (F,) 0 to 1 of the way, `lift` metres higher halfway."""
    result = first.copy()
    between = Rotation.from_matrix(first[:, :3, :3].transpose(0, 2, 1) @ second[:, :3, :3]).as_rotvec()
    turn = Rotation.from_rotvec(share[:, None] * between).as_matrix()
    result[:, :3, :3] = first[:, :3, :3] @ turn
    result[:, :3, 3] += share[:, None] * (second[:, :3, 3] - first[:, :3, 3])
    result[:, 2, 3] += 4 * lift * share * (1 - share)
    return result


def sway(rng, time, seconds, size):
    """A smooth random wandering (F, 3) about zero, alike when played backwards; `size` metres, one sigma."""
    waves = np.zeros((len(time), 3))
    for rate in (0.35, 0.8, 1.7):  # per second
        phase = rng.uniform(0, 2 * np.pi, 3)
        waves += rng.normal(0, size * 0.35 / rate, 3) * np.sin(
            2 * np.pi * rate * rng.uniform(0.8, 1.25) * seconds * time[:, None] + phase
        )
    return waves


class Path:
    """A thing's way: starts at a place and goes to others.

    Args:
        time: (F,) 0 to 1. start: (4, 4), or a track.
    """

    def __init__(self, time, start):
        self.time = time
        self.track = np.array(np.broadcast_to(start, (len(time), 4, 4)))

    def go(self, begin, end, place, lift=0.0):
        """Moves to `place`, (4, 4) or a track, between two times; returns itself."""
        place = np.broadcast_to(place, self.track.shape)
        self.track = blend(self.track, place, minimum_jerk(self.time, begin, end), lift)
        return self


class HandPath(Path):
    """A hand's way: the track of its wrist, and its finger `angles` (F, 15, 3)."""

    def __init__(self, time, start, angles):
        super().__init__(time, start)
        self.angles = np.array(np.broadcast_to(angles, (len(time), 15, 3)))

    def change(self, begin, end, angles):
        """Changes the fingers to `angles`, (15, 3) or (F, 15, 3)."""
        share = minimum_jerk(self.time, begin, end)[:, None, None]
        self.angles = self.angles + share * (angles - self.angles)
        return self

    def reach(self, begin, end, track, grip):
        """Reaches for a thing on `track` with an open hand and grips it, from then on moving with it."""
        before = grip.wrist.copy()
        before[:3, 3] -= 0.07 * grip.approach
        middle = begin + 0.72 * (end - begin)
        self.go(begin, middle, track @ before, lift=0.03)
        self.go(begin + 0.5 * (end - begin), end, track @ grip.wrist)
        self.change(begin, middle, grip.open)
        self.change(begin + 0.66 * (end - begin), end + 0.01, grip.closed)
        return self

    def leave(self, begin, end, track, grip, place, angles):
        """Lets go of a thing on `track` and goes to `place` with relaxed fingers."""
        before = grip.wrist.copy()
        before[:3, 3] -= 0.07 * grip.approach
        middle = begin + 0.5 * (end - begin)
        self.change(begin, begin + 0.35 * (end - begin), grip.open)
        self.go(begin + 0.05, middle, track @ before)
        self.go(begin + 0.3 * (end - begin), end, place, lift=0.03)
        self.change(middle, end, angles)
        return self
