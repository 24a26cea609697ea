"""Videos of a hand that makes gestures, with exact joints and calibrated cameras: something to try commands on."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.geometry import field_of_view_intrinsics, look_at
from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.structures import Calibration, CameraCalibration
from handpose.synthesis.motion.gestures import posture_angles
from handpose.synthesis.motion.posing import PosedHand, pose_hand
from handpose.synthesis.motion.trajectories import RATE, minimum_jerk
from handpose.synthesis.objects.graspable import make_object
from handpose.synthesis.rendering.still_camera import still_cameras
from handpose.synthesis.scene import Scene
from handpose.video import VideoWriter

GESTURES = ('spread', 'fist', 'point', 'victory', 'open', 'pinch')
_SECONDS = 0.8  # from one gesture to the next, of which the hand holds still for the first part
_HOLD = 0.3
_HEIGHT = 0.3  # metres of the wrist above the table
_FIELD_OF_VIEW, _ELEVATION = 45.0, 20.0  # degrees
_MUG, _MUG_PLACE = 14, (0.2, 0.12, 0.0)  # DexYCB's class; metres, on the table
# The palm faces the cameras, which are at -y, and the fingers point upwards.
_UPRIGHT = Rotation.from_euler('y', 90, degrees=True)


class GestureVideos(NamedTuple):
    """What `write_gesture_videos` wrote.

    Attributes:
        videos: one for each camera, 30 frames per second.
        calibration: of the cameras, in the world of the joints.
        joints: (F, 21, 3) of the right hand, metres, z up.
        timestamps: (F,) seconds.
    """

    videos: list[Path]
    calibration: Calibration
    joints: NDArray
    timestamps: NDArray


def write_gesture_videos(
    folder: str | Path,
    cameras: Sequence[str] = ('hand',),
    frames: int = 120,
    size: tuple[int, int] = (640, 480),
    seed: int = 0,
    suffix: str = '.mp4',
    skin: Sequence[float] | None = None,
    distance: float = 0.52,
) -> GestureVideos:
    """Renders a right hand that goes through `GESTURES`, seen by cameras that stand still in front of it.

    Args:
        folder: to write `<camera>.mp4` to; made if missing.
        cameras: their names; several stand 50 degrees apart in all.
        frames: F, 30 per second.
        size: (width, height) of the images, pixels, even numbers.
        seed: of the shape and the skin of the hand, the table, the light and the noise of the sensors.
        suffix: of the videos; .mp4 needs PyAV, .webm does not.
        skin: RGB from 0 to 1 of the hand and its arm, such as that of a glove; None draws one.
        distance: of the cameras from the hand, metres.

    Raises:
        VideoError: a suffix without a codec, or a file that cannot be written.
    """
    model, time = ProceduralHand(), np.arange(frames) / RATE
    shape, hand = _gestures(np.random.default_rng([seed, 0]), model, time)
    rng = np.random.default_rng([seed, 1])  # of its own, so that the length of the video does not change how it looks
    scene = Scene.of_hands('gestures', shape, {Side.RIGHT: hand})
    place = np.eye(4)
    place[:3, 3] = _MUG_PLACE
    scene.add_objects([make_object(_MUG, rng)], place[None])
    intrinsics, extrinsics = _cameras(len(cameras), size, distance)
    scene.set_cameras(intrinsics.numpy(), extrinsics.numpy(), [size] * len(cameras))
    render = still_cameras(scene, model, rng, skin=None if skin is None else np.array(skin, float))
    paths = []
    for camera, name in enumerate(cameras):
        paths.append(Path(folder) / f'{name}{suffix}')
        with VideoWriter(paths[-1], RATE) as writer:
            for index, frame in enumerate(render(camera)):
                writer.write(frame.image, index / RATE)
    calibrated = [
        CameraCalibration(name, size, matrix, extrinsics=pose)
        for name, matrix, pose in zip(cameras, intrinsics, extrinsics, strict=True)
    ]
    return GestureVideos(paths, Calibration(calibrated), hand.joints, time)


def gesture_joints(frames: int = 120, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Makes the motion of `write_gesture_videos` without a video.

    Args:
        frames: F, 30 per second.
        seed: as in `write_gesture_videos`.

    Returns:
        Joints (F, 21, 3) of the right hand, metres, z up, and times (F,), seconds.
    """
    time = np.arange(frames) / RATE
    return _gestures(np.random.default_rng([seed, 0]), ProceduralHand(), time)[1].joints, time


def _gestures(rng: np.random.Generator, model: ProceduralHand, time: NDArray) -> tuple[NDArray, PosedHand]:
    """The shape (10,) of a hand, and the hand as it goes from gesture to gesture and sways meanwhile."""
    shape = rng.normal(0, 0.5, 10).clip(-1, 1)
    limits = model.joint_limits.double().numpy()
    count = int(time[-1] / _SECONDS) + 2
    postures = [posture_angles(rng, GESTURES[n % len(GESTURES)], limits) for n in range(count)]
    angles = np.tile(postures[0], (len(time), 1, 1))
    for number, (before, after) in enumerate(pairwise(postures)):
        done = minimum_jerk(time, (number + _HOLD) * _SECONDS, (number + 1) * _SECONDS)
        angles += done[:, None, None] * (after - before)
    turns = np.stack([0.2 * np.sin(2.1 * time) - 0.1, 0.25 * np.sin(1.3 * time), 0.45 * np.sin(1.7 * time)], 1)
    wrist = np.tile(np.eye(4), (len(time), 1, 1))
    wrist[:, :3, :3] = (Rotation.from_rotvec(turns) * _UPRIGHT).as_matrix()
    wrist[:, :3, 3] = np.stack([0.05 * np.sin(2 * time), 0.03 * np.cos(1.5 * time), 0.02 * np.sin(time)], 1)
    wrist[:, 2, 3] += _HEIGHT
    return shape, pose_hand(model, shape, angles, wrist, Side.RIGHT)


def _cameras(count: int, size: tuple[int, int], distance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Intrinsics (K, 3, 3) and extrinsics (K, 4, 4), table frame to camera."""
    azimuth = np.deg2rad(np.linspace(-25, 25, count) if count > 1 else np.zeros(1))
    elevation = np.deg2rad(_ELEVATION)
    level = np.cos(elevation) * np.stack([np.sin(azimuth), -np.cos(azimuth)], 1)
    direction = np.concatenate([level, np.full((count, 1), np.sin(elevation))], 1)
    target = torch.tensor([0, 0, _HEIGHT + 0.06], dtype=torch.float64)
    up = torch.tensor([0, 0, 1.0], dtype=torch.float64)
    extrinsics = look_at(target + distance * torch.from_numpy(direction), target, up)
    intrinsics = field_of_view_intrinsics(size, _FIELD_OF_VIEW).double()
    return intrinsics.expand(count, 3, 3), extrinsics
