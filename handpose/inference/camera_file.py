"""The camera of a video: reading its file, and placing hands in front of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.files.reading import read_json
from handpose.structures import Predictions
from handpose.text import did_you_mean

KEYS = ('intrinsics', 'image_size')
ADVICE = 'a camera file is JSON: {"intrinsics": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], "image_size": [width, height]}'
SAME_SHAPE = 0.01  # relative difference of aspect ratios that rounding of a size explains


class CameraFileError(ValueError):
    """A camera file that cannot be used; the message says what was expected and found."""


def read_camera(path: str | Path, image_size: tuple[int, int]) -> NDArray[np.float64]:
    """Reads the intrinsics of a pinhole camera, scaled to the size of the images.

    Args:
        path: a JSON file with `intrinsics` (3, 3) in pixels and `image_size` (width, height).
        image_size: (width, height) of the images, of the same aspect ratio.

    Returns:
        (3, 3) in pixels of the images; pixel centres lie at integers.

    Raises:
        CameraFileError: the file is not as described, or is of another aspect ratio.
    """
    found = read_json(path, error=CameraFileError, advice=ADVICE)
    if not isinstance(found, dict) or set(found) != set(KEYS):
        keys = list(found) if isinstance(found, dict) else []
        hint = ''.join(did_you_mean(key, KEYS) for key in keys if key not in KEYS)
        got = ', '.join(keys) or type(found).__name__
        raise CameraFileError(f'{path}: expected the keys {" and ".join(KEYS)}, got {got}.{hint} {ADVICE}')
    intrinsics = _numbers(path, 'intrinsics', found['intrinsics'], (3, 3))
    size = _numbers(path, 'image_size', found['image_size'], (2,))
    if not (intrinsics[[0, 1], [0, 1]] > 0).all() or not np.allclose(intrinsics[2], [0, 0, 1]) or not (size > 0).all():
        raise CameraFileError(f'{path}: focal lengths and image size must be positive, the last row 0 0 1. {ADVICE}')
    scale = np.array(image_size) / size
    if abs(scale[0] / scale[1] - 1) > SAME_SHAPE:
        raise CameraFileError(
            f'{path} is for images of {size[0]:g}x{size[1]:g} pixels, and these have {image_size[0]}x{image_size[1]}: '
            f'another aspect ratio; give the camera of this video (a rotated video has width and height exchanged)'
        )
    intrinsics[:2, 2] = (intrinsics[:2, 2] + 0.5) * scale - 0.5
    intrinsics[[0, 1], [0, 1]] *= scale
    intrinsics[0, 1] *= scale[0]
    return intrinsics


def place_in_camera(predictions: Predictions, intrinsics: NDArray[np.float64]) -> Predictions:
    """Moves hands from frame 'wrist' to where a camera sees them.

    Each hand is rotated and moved as a whole so that its joints project to `joints_2d` (perspective-n-point).
    Directions are those of the camera; distances are right for a hand of the size that the estimator assumed, so the
    scale stays what it is.

    Args:
        predictions: in frame 'wrist', with `joints_2d`.
        intrinsics: (3, 3) pixels.

    Returns:
        The same hands in frame 'camera'; those that cannot be placed in front of the camera are not valid.

    Raises:
        ValueError: predictions without `joints_2d`, or in frame 'camera' already.
    """
    points = predictions.joints_2d
    if points is None or predictions.frame != 'wrist':
        raise ValueError(f"placing hands takes joints_2d and frame 'wrist', got frame {predictions.frame!r}")
    joints, valid = predictions.joints.copy(), predictions.valid.copy()
    for t, h in zip(*np.nonzero(valid), strict=True):
        given = np.isfinite(points[t, h]).all(-1) & np.isfinite(joints[t, h]).all(-1)
        placed = _place(joints[t, h], points[t, h], given, intrinsics)
        valid[t, h] = placed is not None
        joints[t, h] = np.nan if placed is None else placed
    return replace(predictions, joints=joints, valid=valid, frame='camera', intrinsics=intrinsics)


def _place(joints: NDArray, points: NDArray, given: NDArray[np.bool_], intrinsics: NDArray) -> NDArray | None:
    if given.sum() < 4:
        return None
    model, image = joints[given].astype(np.float64), points[given].astype(np.float64)
    found, rotation, translation = cv2.solvePnP(model, image, intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)
    if not found:
        return None
    placed = joints @ cv2.Rodrigues(rotation)[0].T + translation[:, 0]
    return placed if (placed[given][:, 2] > 0).all() else None


def _numbers(path: str | Path, name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.shape != shape or not np.isfinite(array).all():
        raise CameraFileError(f'{path}: {name} must hold {shape} numbers, got {str(value)[:80]}. {ADVICE}')
    return array
