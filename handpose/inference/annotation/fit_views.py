"""What the cameras saw of a hand, as the fit of a hand model needs it.

Legend: T frames of the recording, N of a part of it, K cameras, H hands, 21 joints in the common order.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.geometry.camera import unproject_points
from handpose.inference.annotation.fit_solver import ViewedHand
from handpose.structures.annotated_recording import AnnotatedRecording
from handpose.structures.calibration import CameraCalibration

_LEAST_CONFIDENCE = 0.1  # a detection counts for this much at least
FRAME_PERIOD = 1 / 30
"""Seconds, for which smoothness is stated."""
_STEP = 0.5  # pixels, of the derivative of the lens distortion


def viewed_hand(recording: AnnotatedRecording, hand: int, mirror: Tensor, frames: NDArray[np.int64]) -> ViewedHand:
    """Reads the detections of one hand.

    Args:
        recording: the recording.
        hand: number of the hand.
        mirror: (3,) signs of the world's axes: a left hand is fitted as a right one, seen in a mirror.
        frames: (N,) their numbers.

    Returns:
        These frames, without smoothness.
    """
    views = []
    for k, camera in enumerate(recording.calibration):
        pixels = torch.from_numpy(
            recording.joints_2d[frames, k, hand].astype(np.float64)
        )  # (N, 21, 2), NaN where missing
        undistorted = camera.undistort(pixels)
        seen = undistorted.isfinite().all(-1)
        undistorted = torch.where(seen[..., None], undistorted, 0.0)
        rays = unproject_points(undistorted, torch.ones_like(undistorted[..., 0]), camera.intrinsics)[..., :2]
        confidence = torch.from_numpy(recording.detection_confidence[frames, k, hand].astype(np.float64))
        weights = confidence.clamp_min(_LEAST_CONFIDENCE)[:, None] * seen
        views.append((rays, _units(camera, undistorted), weights))
    rays, units, weights = (torch.stack(values, 1) for values in zip(*views, strict=True))
    extrinsics = torch.stack([camera.extrinsics for camera in recording.calibration]).clone()
    extrinsics[:, :3, :3] *= mirror
    return ViewedHand(rays, units, weights, extrinsics, None)


def _units(camera: CameraCalibration, undistorted: Tensor) -> Tensor:
    """(N, 21, 2, 2) from differences on the plane z = 1 to pixels of the camera's image, over its focal length."""
    steps = _STEP * torch.eye(2, dtype=undistorted.dtype)
    columns = [camera.distort(undistorted + step) - camera.distort(undistorted - step) for step in steps]
    by_pixel = torch.stack(columns, -1) / (2 * _STEP)
    focal = camera.intrinsics.diagonal()[:2].prod().sqrt()
    units = by_pixel @ camera.intrinsics[:2, :2] / focal
    return torch.where(units.isfinite(), units, 0.0)


def smoothness_bands(times: NDArray[np.float64], weight: float) -> tuple[Tensor, Tensor, Tensor] | None:
    """Computes the matrix of the integral of squared accelerations: weight^2 sum_t (a_t / 900 Hz^2)^2 30 Hz dt_t.

    At 30 frames per second it is the sum of squared second differences.

    Args:
        times: (N,) seconds.
        weight: of a metre of second difference at 30 frames per second.

    Returns:
        The diagonals (N,), (N - 1,), (N - 2,) of the symmetric matrix; None if it is zero.
    """
    count = len(times)
    if count < 3 or not weight:
        return None
    before, after = np.diff(times)[:-1] / FRAME_PERIOD, np.diff(times)[1:] / FRAME_PERIOD
    mean = (before + after) / 2
    # The second derivative by divided differences: its coefficients of three successive frames.
    factors = np.stack([1 / before, -1 / before - 1 / after, 1 / after]) / mean
    rows = weight * np.sqrt(mean) * factors
    own, first, second = np.zeros(count), np.zeros(count - 1), np.zeros(count - 2)
    for i in range(3):
        own[i : count - 2 + i] += rows[i] ** 2
    first[:-1] += rows[0] * rows[1]
    first[1:] += rows[1] * rows[2]
    second += rows[0] * rows[2]
    return torch.from_numpy(own), torch.from_numpy(first), torch.from_numpy(second)
