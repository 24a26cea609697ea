"""Where rigid bodies and hands are over time: tracks (F, 4, 4) composed of minimum-jerk movements between poses.

People's reaches look like overlapping minimum-jerk submovements: one bell of speed for each (Flash and Hogan, J.
Neurosci. 5(7), 1985). A target may itself move: a hand goes to a bottle that another hand carries.
Table frame, metres; time runs from 0 to 1. Legend: F frames.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from handpose.synthesis.motion.grips import Grip

RATE = 30.0  # frames per second
_APPROACH = 0.07  # metres before the grip, from where a hand closes in


def minimum_jerk(time: ArrayLike, start: float | NDArray, end: float | NDArray) -> NDArray:
    """The share, 0 to 1, of a minimum-jerk movement from `start` to `end` that is done at `time`."""
    s = np.clip((np.asarray(time, float) - start) / (end - start), 0, 1)
    return s**3 * (10 - 15 * s + 6 * s**2)


def pose(transl: ArrayLike = (0, 0, 0), degrees: ArrayLike = (0, 0, 0)) -> NDArray:
    """A rigid transform (4, 4) of a translation and a rotation vector in degrees."""
    rigid = np.eye(4)
    rigid[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees)).as_matrix()
    rigid[:3, 3] = transl
    return rigid


def rotate_about(track: NDArray, axis: ArrayLike, angles: NDArray, pivot: ArrayLike = (0, 0, 0)) -> NDArray:
    """Rotates a track in its own frame.

    Args:
        track: (F, 4, 4), or one pose.
        axis: (3,) unit vector.
        angles: (F,) radians.
        pivot: (3,) a point on the axis.

    Returns:
        (F, 4, 4).
    """
    turn = np.tile(np.eye(4), (len(angles), 1, 1))
    rotmats = Rotation.from_rotvec(np.asarray(angles)[:, None] * np.asarray(axis, float)).as_matrix()
    turn[:, :3, :3] = rotmats
    turn[:, :3, 3] = np.asarray(pivot) - rotmats @ np.asarray(pivot)
    return track @ turn


def interpolate_tracks(first: NDArray, second: NDArray, share: NDArray, lift: float = 0.0) -> NDArray:
    """A track between two others.

    Args:
        first: (F, 4, 4).
        second: (F, 4, 4).
        share: (F,) 0 to 1, how far from the first to the second.
        lift: metres by which it is higher halfway.

    Returns:
        (F, 4, 4).
    """
    result = first.copy()
    between = Rotation.from_matrix(first[:, :3, :3].transpose(0, 2, 1) @ second[:, :3, :3]).as_rotvec()
    turn = Rotation.from_rotvec(share[:, None] * between).as_matrix()
    result[:, :3, :3] = first[:, :3, :3] @ turn
    result[:, :3, 3] += share[:, None] * (second[:, :3, 3] - first[:, :3, 3])
    result[:, 2, 3] += 4 * lift * share * (1 - share)
    return result


def sway(rng: Generator, time: NDArray, seconds: float, size: float) -> NDArray:
    """A smooth random wandering (F, 3) about zero, alike when played backwards; `size` metres, one sigma."""
    waves = np.zeros((len(time), 3))
    for rate in (0.35, 0.8, 1.7):  # per second
        phase = rng.uniform(0, 2 * np.pi, 3)
        waves += rng.normal(0, size * 0.35 / rate, 3) * np.sin(
            2 * np.pi * rate * rng.uniform(0.8, 1.25) * seconds * time[:, None] + phase
        )
    return waves


class Trajectory:
    """The movement of a rigid body from a pose to others; movements may overlap, the path stays smooth.

    Args:
        time: (F,) 0 to 1.
        start: (4, 4), or a track.
    """

    def __init__(self, time: NDArray, start: NDArray) -> None:
        self.time = time
        self.track = np.array(np.broadcast_to(start, (len(time), 4, 4)))

    def move_to(self, begin: float, end: float, target: NDArray, lift: float = 0.0) -> 'Trajectory':
        """Moves to `target`, a pose or a track, between two times; returns itself."""
        target = np.broadcast_to(target, self.track.shape)
        self.track = interpolate_tracks(self.track, target, minimum_jerk(self.time, begin, end), lift)
        return self


class HandTrajectory(Trajectory):
    """The movement of a hand: the track of its wrist, and its finger angles.

    Args:
        time: (F,) 0 to 1.
        start: (4, 4) wrist, or a track.
        angles: (15, 3) radians, or (F, 15, 3).
    """

    def __init__(self, time: NDArray, start: NDArray, angles: NDArray) -> None:
        super().__init__(time, start)
        self.angles = np.array(np.broadcast_to(angles, (len(time), 15, 3)))

    def move_fingers(self, begin: float, end: float, angles: NDArray) -> 'HandTrajectory':
        """Changes the finger angles to `angles`, (15, 3) or (F, 15, 3), between two times; returns itself."""
        share = minimum_jerk(self.time, begin, end)[:, None, None]
        self.angles = self.angles + share * (angles - self.angles)
        return self

    def reach(self, begin: float, end: float, track: NDArray, grip: 'Grip') -> 'HandTrajectory':
        """Reaches for an object on `track` with an open hand and grips it, from then on moving with it."""
        middle = begin + 0.72 * (end - begin)
        self.move_to(begin, middle, track @ _before(grip), lift=0.03)
        self.move_to(begin + 0.5 * (end - begin), end, track @ grip.wrist)
        self.move_fingers(begin, middle, grip.open)
        return self.move_fingers(begin + 0.66 * (end - begin), end + 0.01, grip.closed)

    def leave(
        self, begin: float, end: float, track: NDArray, grip: 'Grip', target: NDArray, angles: NDArray
    ) -> 'HandTrajectory':
        """Lets go of an object on `track` and goes to `target`, a pose or a track, with relaxed fingers."""
        middle = begin + 0.5 * (end - begin)
        self.move_fingers(begin, begin + 0.35 * (end - begin), grip.open)
        self.move_to(begin + 0.05, middle, track @ _before(grip))
        self.move_to(begin + 0.3 * (end - begin), end, target, lift=0.03)
        return self.move_fingers(middle, end, angles)


def _before(grip: 'Grip') -> NDArray:
    """The wrist (4, 4) from where the hand closes in on a grip."""
    wrist = grip.wrist.copy()
    wrist[:3, 3] -= _APPROACH * grip.approach
    return wrist
