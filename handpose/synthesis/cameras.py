"""Intrinsics and extrinsics of the cameras. Table frame: z up, metres; the person at +y, or at -y with a head camera.

Legend: F frames, K cameras.
"""

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.geometry import look_at
from handpose.synthesis.motion.trajectories import RATE, sway
from handpose.synthesis.scene import Size

RECORDED_FOCAL = 1.4  # image widths, of cameras that are added to recorded motion
_MULTI_VIEW_FOCAL = 2.2  # image widths
_HEAD_FOCAL = 0.7  # image widths: 71 degrees wide


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
