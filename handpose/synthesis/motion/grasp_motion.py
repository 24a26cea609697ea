"""One hand and one object: reach, grasp, manipulate, release, retreat. A right hand, table frame (z up, metres).

Everything moves in overlapping minimum-jerk submovements. While the object is held, the hand is rigid to it.
Legend: F frames.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.synthesis.motion.grasp_search import Grasp
from handpose.synthesis.motion.trajectories import minimum_jerk

ACTIONS = ('move', 'pour', 'shake', 'inspect', 'tilt')
_TABLE_CLEARANCE = 0.001  # metres
Marks = dict[str, float]  # shares of the motion at which something begins or ends


class GraspMotion(NamedTuple):
    """A hand that takes an object, moves it and puts it down.

    Attributes:
        object_pose: (F, 4, 4) to the table frame.
        wrist: (F, 4, 4) to the table frame.
        angles: (F, 15, 3) of the fingers, radians.
        holding: (F,) bool.
        action: one of `ACTIONS`.
    """

    object_pose: NDArray
    wrist: NDArray
    angles: NDArray
    holding: NDArray
    action: str


def plan_grasp_motion(
    rng: Generator,
    frames: int,
    grasp: Grasp,
    grip_height: float,
    object_points: NDArray,
    hand_points: NDArray,
    position: NDArray,
    heading: float,
    far: NDArray,
) -> GraspMotion:
    """Plans the motion of a hand that grasps an object.

    Args:
        rng: numpy Generator.
        frames: F.
        grasp: a solved `Grasp` (wrist in the object frame, approach direction).
        grip_height: the height above the object's bottom that it turns about, metres.
        object_points: (N, 3) of the object in its frame, kept above the table.
        hand_points: (N, 3) of the hand in the object's frame, kept above the table.
        position: (2,) where on the table the object stands.
        heading: radians, where the forearm comes from.
        far: (2,) metres from which the hand reaches, and to which it retreats.
    """
    time = np.arange(frames) / (frames - 1)
    marks = _draw_marks(rng)
    grip = np.array([0, 0, grip_height])
    yaw = heading - np.arctan2(*(grasp.wrist[:3, 0])[[1, 0]])
    base = _rigid(Rotation.from_rotvec([0, 0, yaw]).as_matrix(), np.array([*position, 0]))
    action = ACTIONS[rng.integers(len(ACTIONS))]
    turn = _turns(rng, time, marks, action, base[:3, :3] @ grasp.wrist[:3, 0])
    shift = _shifts(rng, time, marks)
    object_pose = np.tile(np.eye(4), (frames, 1, 1))
    object_pose[:, :3, :3] = turn @ base[:3, :3]
    object_pose[:, :3, 3] = base[:3, 3] + grip + shift - object_pose[:, :3, :3] @ grip
    object_pose = _stay_above_table(
        object_pose,
        np.concatenate([object_points, hand_points]),
        minimum_jerk(time, marks['grasp'] + 0.01, marks['lifted'])
        - minimum_jerk(time, marks['lower'], marks['release'] - 0.01),
    )
    wrist = object_pose @ grasp.wrist
    _add_reach(rng, wrist, time, marks, base[:3, :3] @ grasp.approach, heading, far)
    closing = minimum_jerk(time, marks['close'], marks['grasp']) * (
        1 - minimum_jerk(time, marks['release'], marks['open'])
    )
    angles = grasp.open_angles + closing[:, None, None] * (grasp.angles - grasp.open_angles)
    holding = (time >= marks['grasp']) & (time <= marks['release'])
    return GraspMotion(object_pose, wrist, angles, holding, action)


def _draw_marks(rng: Generator) -> Marks:
    grasp = rng.uniform(0.25, 0.31)
    release = rng.uniform(0.70, 0.76)
    return {
        'close': grasp - 0.08, 'grasp': grasp, 'lifted': grasp + 0.13,
        'lower': release - 0.13, 'release': release, 'open': release + 0.08,
    }  # fmt: skip


def _rigid(rotmat: NDArray, transl: NDArray) -> NDArray:
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = rotmat, transl
    return rigid


def _turns(rng: Generator, time: NDArray, marks: Marks, action: str, forearm: NDArray) -> NDArray:
    """Rotations (F, 3, 3) about the grip while held: what the action asks for, then upright again."""
    start, end = marks['grasp'] + 0.04, marks['release'] - 0.04
    middle = (start + end) / 2 + rng.uniform(-0.03, 0.03)
    window = minimum_jerk(time, start, middle - 0.02) - minimum_jerk(time, middle + 0.04, end)
    degrees = {'move': 15, 'pour': rng.uniform(60, 95), 'shake': 20, 'inspect': 40, 'tilt': 45}[action]
    axis = np.array([forearm[0], forearm[1], 0.0])
    axis /= max(np.linalg.norm(axis), 1e-6)
    if action in ('inspect', 'tilt', 'move'):
        axis = Rotation.from_rotvec([0, 0, rng.uniform(-1.2, 1.2)]).apply(axis)
    angle = np.deg2rad(degrees) * rng.choice([-1, 1]) * window
    if action == 'shake':
        angle = angle + np.deg2rad(rng.uniform(12, 22)) * window * np.sin(2 * np.pi * rng.uniform(5, 8) * time)
    yaw = np.deg2rad(rng.uniform(-50, 50) if action in ('inspect', 'move') else rng.uniform(-15, 15))
    yaw = yaw * minimum_jerk(time, start, end)
    return (Rotation.from_rotvec(yaw[:, None] * [0, 0, 1]) * Rotation.from_rotvec(angle[:, None] * axis)).as_matrix()


def _shifts(rng: Generator, time: NDArray, marks: Marks) -> NDArray:
    """Displacements (F, 3) of the grip: lift, a few submovements sideways and up, and down again elsewhere."""
    lift = rng.uniform(0.04, 0.10)
    up = minimum_jerk(time, marks['grasp'] + 0.01, marks['lifted'] + 0.05)
    down = minimum_jerk(time, marks['lower'] - 0.05, marks['release'] - 0.01)
    shift = np.zeros((len(time), 3))
    shift[:, 2] = lift * (up - down)
    start, end = marks['grasp'] + 0.03, marks['release'] - 0.03
    for _ in range(rng.integers(2, 4)):
        begin = rng.uniform(start, end - 0.18)
        done = minimum_jerk(time, begin, min(begin + rng.uniform(0.18, 0.3), end))
        shift[:, :2] += rng.uniform(-0.05, 0.05, 2) * done[:, None]
        shift[:, 2] += rng.uniform(0, 0.03) * (done - down * done)
    return shift


def _stay_above_table(poses: NDArray, points: NDArray, lifted: NDArray) -> NDArray:
    """Raises poses (F, 4, 4), by a multiple of the bell `lifted` (F,), until no point is below the table."""
    lowest = np.array([(points @ p[2, :3]).min() + p[2, 3] for p in poses])
    moving = lifted > 1e-3
    need = np.where(moving, (_TABLE_CLEARANCE - lowest) / np.maximum(lifted, 0.05), 0).max(initial=0.0)
    poses = poses.copy()
    poses[:, 2, 3] += min(need, 0.15) * lifted
    return poses


def _add_reach(
    rng: Generator, wrist: NDArray, time: NDArray, marks: Marks, approach: NDArray, heading: float, far: NDArray
) -> None:
    """Makes the wrist's path (F, 4, 4), in place, come from afar along `approach` and leave likewise."""
    for begin, end, sign in ((0.0, marks['close'] + 0.02, 1), (1.0, marks['open'] - 0.02, -1)):
        # 1 far away, 0 at the object; the far part is over before the last centimetres along the approach.
        span = end - begin
        away = 1 - minimum_jerk(sign * time, sign * begin, sign * (begin + 0.8 * span))
        near = 1 - minimum_jerk(sign * time, sign * (begin + 0.35 * span), sign * end)
        side = rng.uniform(-0.3, 0.3)
        distant = np.array([np.cos(heading + side), np.sin(heading + side), 0]) * far[0 if sign > 0 else 1]
        distant[2] = rng.uniform(0.03, 0.15)
        wrist[:, :3, 3] += away[:, None] * distant - near[:, None] * approach * rng.uniform(0.07, 0.11)
        turn = Rotation.from_rotvec(away[:, None] * rng.normal(0, 0.25, 3)).as_matrix()
        wrist[:, :3, :3] = turn @ wrist[:, :3, :3]
