"""One hand moving in the air, from posture to posture and from place to place. A right hand, table frame, metres.

Wrist and fingers go in minimum-jerk submovements, those of the wrist overlapping. Finger angles as in `posing`.
Legend: F frames.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.synthesis.motion.trajectories import RATE, minimum_jerk

# Curl 0 to 1 of index, middle, little and ring; spread -1 to 1; the thumb's opposition and curl 0 to 1.
POSTURES = {
    'open': (0, 0, 0, 0, 0.3, 0.1, 0),
    'spread': (0, 0, 0, 0, 1, 0, 0),
    'flat': (0, 0, 0, 0, -0.6, 0, 0.1),
    'fist': (1, 1, 1, 1, -0.3, 0.6, 0.9),
    'point': (0, 0.95, 1, 1, 0, 0.5, 0.8),
    'victory': (0, 0, 1, 1, 0.8, 0.7, 0.8),
    'thumb_up': (1, 1, 1, 1, -0.3, 0, 0),
    'pinch': (0.5, 0.2, 0.1, 0.15, 0, 0.9, 0.4),
    'claw': (0.55, 0.55, 0.55, 0.55, 0.6, 0.5, 0.5),
    'little': (1, 1, 0, 0.9, 0, 0.6, 0.8),
    'relaxed': (0.25, 0.3, 0.4, 0.35, 0, 0.3, 0.2),
}
_FLEXION, _EXTENDED = np.array([80.0, 100.0, 62.0]), np.array([-4.0, 4.0, 3.0])  # degrees at MCP, PIP, DIP
_SPREAD = np.array([11.0, 1.0, -13.0, -7.0])  # degrees of abduction: index, middle, little, ring
_HOLD, _CHANGE, _LAG = (0.1, 0.45), (0.15, 0.55), 0.08  # seconds: at rest, on the way, between the fingers' starts
_STROKE, _OVERLAP = (0.25, 0.75), (0.6, 1.3)  # seconds, and its share after which the next begins
_SWAY, _TURN = 0.08, 0.4  # metres and radians, standard deviations of where strokes lead


class HandMotion(NamedTuple):
    """`wrist` (F, 4, 4) to the table frame and finger `angles` (F, 15, 3) radians of a right hand; its `name`."""

    wrist: NDArray
    angles: NDArray
    name: str


def plan_gestures(rng: Generator, frames: int, joint_limits: NDArray) -> HandMotion:
    """Plans gestures in the air, about 0.2 m above the middle of the table.

    Args:
        rng: numpy Generator.
        frames: F.
        joint_limits: (15, 3, 2) radians, as `ProceduralHand` has them.
    """
    time = np.arange(frames) / RATE
    angles, names = _posture_path(rng, time, joint_limits)
    return HandMotion(_wrist_path(rng, time), angles, names[len(names) // 2])


def posture_angles(rng: Generator, name: str, joint_limits: NDArray) -> NDArray:
    """Angles (15, 3) radians of a posture, a little different each time, within the limits."""
    *curls, spread, opposition, thumb_curl = np.array(POSTURES[name], float) + rng.normal(0, 0.06, 7)
    angles = np.zeros((15, 3))
    for finger, curl in enumerate(curls):
        angles[3 * finger : 3 * finger + 3, 2] = _EXTENDED + curl * (_FLEXION - _EXTENDED)
        angles[3 * finger, 1] = spread * _SPREAD[finger] * (1 - 0.6 * np.clip(curl, 0, 1))
    angles[12, 1:] = 36 * opposition, 18 * opposition - 8
    angles[13:, 2] = 45 * thumb_curl, 60 * thumb_curl
    angles += rng.normal(0, 3, angles.shape) * (angles != 0)
    return np.deg2rad(angles).clip(joint_limits[..., 0], joint_limits[..., 1])


def _posture_path(rng: Generator, time: NDArray, joint_limits: NDArray) -> tuple[NDArray, list[str]]:
    """Angles (F, 15, 3) from one posture to the next, finger by finger, and the postures' names."""
    names = [str(rng.choice(list(POSTURES)))]
    last = posture_angles(rng, names[0], joint_limits)
    angles, now = np.tile(last, (len(time), 1, 1)), -rng.uniform(0, 0.5)
    while now < time[-1]:
        names.append(str(rng.choice([n for n in POSTURES if n != names[-1]])))
        posture = posture_angles(rng, names[-1], joint_limits)
        begin, length = now + rng.uniform(*_HOLD), rng.uniform(*_CHANGE)
        lags = np.repeat(rng.uniform(0, _LAG, 5), 3)
        # The next change begins when the last finger has arrived, so that no sum of two leaves the limits.
        done = np.stack([minimum_jerk(time, begin + lag, begin + lag + length) for lag in lags], 1)
        angles += done[..., None] * (posture - last)
        last, now = posture, begin + length + _LAG
    return angles, names


def _wrist_path(rng: Generator, time: NDArray) -> NDArray:
    """The wrist's path (F, 4, 4): forearm and palm as it happens, then strokes that sway and turn about them."""
    heading = np.pi / 2 + np.deg2rad(rng.uniform(-60, 60))
    forearm = np.array([np.cos(heading), np.sin(heading), 0])
    base = np.stack([forearm, [0, 0, 1], np.cross(forearm, [0, 0, 1])], 1)  # the palm down
    raised, rolled = np.deg2rad([rng.uniform(-30, 70), rng.uniform(-100, 100)])
    sideways = np.cross(forearm, [0, 0, 1])
    base = (Rotation.from_rotvec(-raised * sideways) * Rotation.from_rotvec(rolled * forearm)).as_matrix() @ base
    sway, turn = np.zeros((2, len(time), 3))
    now, last = -rng.uniform(0, 0.5), np.zeros((2, 3))
    while now < time[-1]:
        length = rng.uniform(*_STROKE)
        target = np.stack([rng.normal(0, _SWAY, 3), rng.normal(0, _TURN, 3)])
        done = minimum_jerk(time, now, now + length)[:, None]
        sway += done * (target[0] - last[0])
        turn += done * (target[1] - last[1])
        last, now = target, now + length * rng.uniform(*_OVERLAP)
    wrist = np.tile(np.eye(4), (len(time), 1, 1))
    wrist[:, :3, :3] = Rotation.from_rotvec(turn).as_matrix() @ base
    wrist[:, :3, 3] = sway + (0, 0, 0.2) + rng.normal(0, 0.02, 3)
    return wrist
