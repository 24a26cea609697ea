"""Intrinsics and extrinsics of the cameras. Table frame: z up, metres; the person at +y, or at -y with a head camera.

Legend: F frames, K cameras.
"""

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.geometry import look_at
from handpose.synthesis.motion.trajectories import RATE, sway
from handpose.synthesis.scene import Size

RECORDED_FOCAL = 1.4  # image widths, of cameras that are added to recorded motion
_MULTI_VIEW_FOCAL = 2.2  # image widths
_HEAD_FOCAL = 0.7  # image widths: 71 degrees wide
# Cameras around a table: azimuth from the front of the person, and elevation, degrees. Two are opposite each other at
# most, so that any few of them triangulate.
_RING = ((0, 12), (-42, 36), (42, 36), (-84, 14), (88, 14), (-132, 48), (136, 48), (12, 76))
_RING_TARGET = (0.0, 0.07, 0.08)
# Cameras of a headset: how far they look to the right and down from where the head looks, degrees, and where they sit,
# metres in the axes of the head.
_MOUNTS = ((-22, 4), (22, 4), (-68, -8), (68, -8))
_MOUNT_PLACES = ((-0.05, 0.02, 0.03), (0.05, 0.02, 0.03), (-0.08, -0.01, 0.0), (0.08, -0.01, 0.0))
_MOUNT_FOCAL = 0.42  # image widths: 100 degrees wide


def multi_view_intrinsics(seed: int, cameras: int, size: int) -> NDArray:
    """Intrinsics (K, 3, 3) of square images of `size` pixels, one camera each for the whole dataset."""
    rng = np.random.default_rng([seed, 33])
    intrinsics = np.zeros((cameras, 3, 3))
    focal = size * _MULTI_VIEW_FOCAL * (1 + rng.uniform(-0.06, 0.06, cameras))
    intrinsics[:, 0, 0] = focal
    intrinsics[:, 1, 1] = focal * (1 + rng.uniform(-0.003, 0.003, cameras))
    intrinsics[:, :2, 2] = (size - 1) / 2 + size * rng.uniform(-0.015, 0.015, (cameras, 2))
    intrinsics[:, 2, 2] = 1
    return intrinsics


def head_camera_intrinsics(seed: int, size: Size) -> NDArray:
    """Intrinsics (3, 3) of the one head-mounted camera of a dataset."""
    rng = np.random.default_rng([seed, 33])
    focal = _HEAD_FOCAL * size[0] * (1 + rng.uniform(-0.02, 0.02))
    centre = (np.array(size) - 1) / 2 + np.array(size) * rng.uniform(-0.01, 0.01, 2)
    return np.array([[focal, 0, centre[0]], [0, focal * (1 + rng.uniform(-0.002, 0.002)), centre[1]], [0, 0, 1]])


def dome_extrinsics(rng: Generator, target: NDArray, cameras: int, distances: tuple[float, float]) -> NDArray:
    """Cameras on the front half of a dome.

    Args:
        rng: numpy Generator.
        target: (3,) about where they look.
        cameras: K.
        distances: the nearest and the farthest from the target, metres.

    Returns:
        (K, 4, 4) table frame to camera.
    """
    direction = _dome_directions(rng, cameras, 12)
    eye = target + direction * rng.uniform(*distances, cameras)[:, None]
    aim = target + rng.normal(0, 0.015, (cameras, 3))
    up = np.array([0, 0, 1.0]) + rng.normal(0, 0.05, (cameras, 3))
    return look_at(*(torch.from_numpy(v) for v in (eye, aim, up))).numpy()


def enclosing_extrinsics(rng: Generator, points: NDArray, cameras: int, size: Size) -> NDArray:
    """Cameras on the front of a dome, so far away that every point is in all images.

    Args:
        rng: numpy Generator.
        points: (P, 3) metres.
        cameras: K.
        size: (width, height) of the images, whose focal length is `RECORDED_FOCAL` widths.

    Returns:
        (K, 4, 4) table frame to camera.
    """
    width, height = size
    centre = (points.min(0) + points.max(0)) / 2
    radius = np.linalg.norm(points - centre, axis=1).max() + 0.03
    distance = max(0.4, 1.1 * radius / np.sin(np.arctan2(height / 2, RECORDED_FOCAL * width)))
    eye, target = torch.from_numpy(centre + distance * _dome_directions(rng, cameras, 15)), torch.from_numpy(centre)
    return look_at(eye, target, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)).numpy()


def _dome_directions(rng: Generator, cameras: int, lowest: float) -> NDArray:
    """Unit vectors (K, 3) from the middle of a dome to its cameras, `lowest` to 60 degrees above the table."""
    azimuth = np.linspace(-55, 55, cameras) if cameras > 1 else np.zeros(1)
    azimuth = np.deg2rad(azimuth + rng.uniform(-10, 10, cameras))
    elevation = np.deg2rad(rng.uniform(lowest, 60, cameras))
    return np.stack([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)], 1)


def head_camera_extrinsics(rng: Generator, eye: NDArray, frames: int) -> NDArray:
    """A camera on a head that sways and looks about; alike when played backwards.

    Args:
        rng: numpy Generator.
        eye: (3,) where the person's eyes are.
        frames: F.

    Returns:
        (F, 4, 4) table frame to camera.
    """
    time, seconds = np.arange(frames) / max(frames - 1, 1), frames / RATE
    eyes = eye + rng.normal(0, 0.015, 3) + sway(rng, time, seconds, 0.012)
    aim = np.array([0, 0.12, 0.08]) + rng.normal(0, (0.03, 0.025, 0.02)) + sway(rng, time, seconds, 0.02)
    up = np.array([0, 0, 1.0]) + rng.normal(0, 0.04, 3) + sway(rng, time, seconds, 0.025)
    return look_at(*(torch.from_numpy(v) for v in (eyes, aim, up))).numpy()


def ring_cameras(seed: int, number: int, cameras: int, size: Size) -> tuple[NDArray, NDArray]:
    """Cameras around a table that stand still.

    Arrangements differ in their turn about the table, distance, heights and focal lengths.

    Args:
        seed: of the dataset.
        number: of the arrangement.
        cameras: K, at most 8.
        size: (width, height) of the images.

    Returns:
        Intrinsics (K, 3, 3) and extrinsics (K, 4, 4), table frame to camera.
    """
    rng = np.random.default_rng([seed, 92, number])
    azimuth, elevation = np.deg2rad(np.array(_RING, float).T + rng.normal(0, (9, 5), (len(_RING), 2)).T)
    azimuth += np.deg2rad(rng.uniform(-20, 20))
    distance = rng.uniform(0.6, 0.8) * (1 + rng.uniform(-0.08, 0.08, len(_RING)))
    focal = size[0] * rng.uniform(0.7, 0.88) * (1 + rng.uniform(-0.03, 0.03, len(_RING)))
    centres = (np.array(size) - 1) / 2 + np.array(size) * rng.uniform(-0.015, 0.015, (len(_RING), 2))
    aims = np.array(_RING_TARGET) + rng.normal(0, 0.02, (len(_RING), 3))
    ups = np.array([0, 0, 1.0]) + rng.normal(0, 0.03, (len(_RING), 3))
    across = distance * np.cos(elevation)
    eyes = np.stack([np.sin(azimuth) * across, np.cos(azimuth) * across, np.sin(elevation) * distance], 1)
    eyes += np.array(_RING_TARGET)
    intrinsics = np.zeros((len(_RING), 3, 3))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, :2, 2], intrinsics[:, 2, 2] = centres, 1
    extrinsics = look_at(*(torch.from_numpy(v) for v in (eyes, aims, ups))).numpy()
    return intrinsics[:cameras], extrinsics[:cameras]


def headset_cameras(seed: int, headset: int, cameras: int, size: Size) -> tuple[NDArray, NDArray]:
    """The cameras of a headset: the first two look at the hands, the others to the sides.

    Args:
        seed: of the dataset.
        headset: number of the headset.
        cameras: K, at most 4.
        size: (width, height) of the images.

    Returns:
        Intrinsics (K, 3, 3), and (K, 4, 4) from the head, whose axes are a camera's, to each camera.
    """
    rng = np.random.default_rng([seed, 93, headset])
    right, down = np.deg2rad(np.array(_MOUNTS, float) + rng.normal(0, 1.5, (len(_MOUNTS), 2))).T
    intrinsics, mounts = np.zeros((len(_MOUNTS), 3, 3)), np.tile(np.eye(4), (len(_MOUNTS), 1, 1))
    focal = size[0] * _MOUNT_FOCAL * (1 + rng.uniform(-0.02, 0.02, len(_MOUNTS)))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, :2, 2] = (np.array(size) - 1) / 2 + np.array(size) * rng.uniform(-0.02, 0.02, (len(_MOUNTS), 2))
    intrinsics[:, 2, 2] = 1
    to_head = Rotation.from_euler('YX', np.stack([right, -down], 1)).as_matrix()
    mounts[:, :3, :3] = to_head.transpose(0, 2, 1)
    mounts[:, :3, 3] = -(mounts[:, :3, :3] @ np.array(_MOUNT_PLACES)[..., None])[..., 0]
    return intrinsics[:cameras], mounts[:cameras]
