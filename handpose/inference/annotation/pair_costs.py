"""How badly the detections of two cameras fit each other as images of one hand.

Distances in images are relative to the size of the detected hand, because the errors of detectors are.
Legend: T frames, K cameras, N the most hands in one image, J = 21 joints of the common order.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.structures.calibration import Calibration, CameraCalibration

MIN_SIZE = 24.0  # pixels; smaller hands have errors of pixels, not of fractions of their size
_MIN_JOINTS = 5  # that two detections must have in common
_CUT = 0.3  # of a hand's size: single joints count with no more than this
_PALM = (5, 9, 17)  # with the wrist: joints that no finger moves
_NO_BASELINE = 1e-9  # metres between cameras
_PARALLEL = 0.01  # squared sine between two rays, 6 degrees: below it, where they meet is too uncertain


class ViewRays(NamedTuple):
    """Detections without lens distortion.

    Args:
        points_2d: (T, K, N, J, 2) float64 pixels; NaN where a joint is missing.
        sizes: (T, K, N) pixels, the longer side of the box around a hand, at least `MIN_SIZE`.
    """

    points_2d: NDArray[np.float64]
    sizes: NDArray[np.float64]


@dataclass(frozen=True)
class PairWeights:
    """What counts when detections are compared. A pair of total cost 1 or more is not taken for one hand.

    Args:
        max_epipolar: distance from the epipolar lines, relative to the size of the hand, that costs 1.
        side: cost of certain, different sides. Below 1: networks swap left and right.
        size: cost of each 100 % (of the natural logarithm) by which the palm is larger or smaller than usual, beyond
            `size_tolerance`.
        size_tolerance: natural logarithm of the ratio of sizes that costs nothing.
        continuity: cost of detections that belonged to different hands before, and what is taken off if they belonged
            to the same.
    """

    max_epipolar: float = 0.08
    side: float = 0.5
    size: float = 2.0
    size_tolerance: float = 0.25
    continuity: float = 0.5


def undistorted(joints_2d: NDArray, calibration: Calibration) -> ViewRays:
    """Takes the lens distortion out of detections.

    Args:
        joints_2d: (T, K, N, J, 2) pixels of the cameras' own images, NaN where missing.
        calibration: the K cameras.

    Returns:
        The points and the sizes of the hands.
    """
    points = torch.from_numpy(np.asarray(joints_2d, np.float64))
    views = [camera.undistort(points[:, k]) for k, camera in enumerate(calibration)]
    straight = torch.stack(views, 1).numpy()
    seen = np.isfinite(straight).all(-1, keepdims=True)
    low, high = np.where(seen, straight, np.inf).min(-2), np.where(seen, straight, -np.inf).max(-2)
    extent = np.where(np.isfinite(low), high - low, 0.0).max(-1)
    return ViewRays(straight, np.maximum(extent, MIN_SIZE))


def fundamental_matrices(calibration: Calibration) -> NDArray[np.float64]:
    """Computes the matrices F with x_l^T F[k, l] x_k = 0 for the images x of one point in the cameras k and l.

    Hartley and Zisserman, Multiple View Geometry, section 9.2. Pixels are those of undistorted images.

    Args:
        calibration: the K cameras, none on a moving rig.

    Returns:
        (K, K, 3, 3), of the norm 1; zeros for cameras at the same place.
    """
    calibration.projections()  # refuses moving rigs
    count = len(calibration)
    matrices = np.zeros((count, count, 3, 3))
    cameras = [(camera.intrinsics.numpy(), camera.extrinsics.numpy()) for camera in calibration]
    for k, (intrinsics_k, pose_k) in enumerate(cameras):
        for other, (intrinsics_l, pose_l) in enumerate(cameras):
            rotation = pose_l[:3, :3] @ pose_k[:3, :3].T
            x, y, z = pose_l[:3, 3] - rotation @ pose_k[:3, 3]
            essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
            found = np.linalg.inv(intrinsics_l).T @ essential @ np.linalg.inv(intrinsics_k)
            norm = np.linalg.norm(found)
            same_place = k == other or np.linalg.norm([x, y, z]) < _NO_BASELINE
            matrices[k, other] = 0 if same_place else found / norm
    return matrices


def epipolar_distances(
    first: NDArray, second: NDArray, matrix: NDArray, sizes: tuple[NDArray, NDArray] | None = None
) -> NDArray[np.float64]:
    """Measures how far points are from fitting each other: Sampson's distance (Hartley and Zisserman, section 11.4).

    Args:
        first: (..., 2) undistorted pixels of one camera.
        second: (..., 2) undistorted pixels of another.
        matrix: (3, 3) from `fundamental_matrices`.
        sizes: (...) of each point's hand in both cameras, pixels; distances are then relative to the size. None:
            pixels.

    Returns:
        (...) not negative: to first order, how far both points together must move to be images of one point.
    """
    lines = first @ matrix[:, :2].T + matrix[:, 2]
    back = second @ matrix[:2] + matrix[2]
    product = (second * lines[..., :2]).sum(-1) + lines[..., 2]
    gradients = (lines[..., :2] ** 2).sum(-1), (back[..., :2] ** 2).sum(-1)
    if sizes is None:
        scale = gradients[0] + gradients[1]
    else:
        scale = gradients[0] * sizes[1] ** 2 + gradients[1] * sizes[0] ** 2
    return np.abs(product) / np.sqrt(np.maximum(scale, np.finfo(np.float64).tiny))


class PairFits(NamedTuple):
    """How all pairs of detections of different cameras fit; symmetric, and infinite where there is no pair.

    Args:
        epipolar: (T, K, N, K, N) mean distance from the epipolar lines relative to the size of the hand, each joint's
            cut at 0.3.
        palm: (T, K, N, K, N) size of the palm where both rays meet, in the calibration's unit; NaN unknown (nearly
            parallel rays too), negative behind a camera.
    """

    epipolar: NDArray[np.float32]
    palm: NDArray[np.float32]


def pair_fits(rays: ViewRays, calibration: Calibration, matrices: NDArray[np.float64]) -> PairFits:
    """Compares all detections of each frame.

    Args:
        rays: of T frames; memory grows with T K^2 N^2.
        calibration: the K cameras.
        matrices: from `fundamental_matrices`.

    Returns:
        The fits.
    """
    frames, views, most = rays.sizes.shape
    epipolar = np.full((frames, views, most, views, most), np.inf, np.float32)
    palm = np.full_like(epipolar, np.nan)
    lines = [_lines_of_sight(rays.points_2d[:, k][..., (0, *_PALM), :], camera) for k, camera in enumerate(calibration)]
    for k, other in combinations(range(views), 2):
        if not matrices[k, other].any():
            continue
        a, b = rays.points_2d[:, k, :, None], rays.points_2d[:, other, None]
        sizes = rays.sizes[:, k, :, None, None], rays.sizes[:, other, None, :, None]
        distances = epipolar_distances(a, b, matrices[k, other], sizes)
        known = np.isfinite(distances)
        count = known.sum(-1)
        mean = np.where(known, np.minimum(distances, _CUT), 0).sum(-1) / np.maximum(count, 1)
        epipolar[:, k, :, other] = np.where(count >= _MIN_JOINTS, mean, np.inf)
        palm[:, k, :, other] = _palm_sizes(lines[k], lines[other])
        # The axes are (T, N of k, N of other): swapped for the other direction.
        epipolar[:, other, :, k] = epipolar[:, k, :, other].swapaxes(1, 2)
        palm[:, other, :, k] = palm[:, k, :, other].swapaxes(1, 2)
    return PairFits(epipolar, palm)


def usual_palm(fits: PairFits, weights: PairWeights) -> float:
    """The median size of the palm over the pairs that fit the epipolar lines; NaN without any."""
    good = (fits.epipolar < weights.max_epipolar) & (fits.palm > 0)
    return float(np.median(fits.palm[good])) if good.any() else float('nan')


def pair_costs(fits: PairFits, right: NDArray, palm: float, weights: PairWeights) -> NDArray[np.float64]:
    """Combines what speaks against two detections being one hand.

    Args:
        fits: of T frames.
        right: (T, K, N) probability of a right hand.
        palm: usual size of the palm, NaN if unknown.
        weights: of the parts.

    Returns:
        (T, K, N, K, N), infinite where two detections cannot be one hand.
    """
    shape = fits.epipolar.shape
    p = np.asarray(right, np.float64)
    one, two = np.broadcast_to(p[:, :, :, None, None], shape), np.broadcast_to(p[:, None, None], shape)
    costs = fits.epipolar / weights.max_epipolar + weights.side * (one * (1 - two) + two * (1 - one))
    known = np.isfinite(fits.palm) & (fits.palm > 0)
    if np.isfinite(palm):
        ratio = np.abs(np.log(np.where(known, fits.palm, palm) / palm))
        costs = costs + weights.size * np.maximum(ratio - weights.size_tolerance, 0)
    return np.where(fits.palm < 0, np.inf, costs)


def _lines_of_sight(points_2d: NDArray, camera: CameraCalibration) -> tuple[NDArray, NDArray]:
    """The camera's place (3,) and directions (..., 3) of the norm 1, world."""
    pose = camera.extrinsics.numpy()
    homogeneous = np.concatenate([points_2d, np.ones_like(points_2d[..., :1])], -1)
    directions = homogeneous @ np.linalg.inv(camera.intrinsics.numpy()).T @ pose[:3, :3]
    return -pose[:3, :3].T @ pose[:3, 3], directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def _palm_sizes(first: tuple[NDArray, NDArray], second: tuple[NDArray, NDArray]) -> NDArray[np.float64]:
    """(T, N, N) from the points of both rays that are nearest to each other; negative behind a camera."""
    apart = first[0] - second[0]
    a, b = first[1][:, :, None], second[1][:, None]
    cosine = (a * b).sum(-1)
    sine = np.maximum(1 - cosine**2, _PARALLEL / 2)
    along_a, along_b = a @ apart, b @ apart
    depth_a, depth_b = (cosine * along_b - along_a) / sine, (along_b - cosine * along_a) / sine
    points = (first[0] + depth_a[..., None] * a + second[0] + depth_b[..., None] * b) / 2
    size = np.linalg.norm(points[..., 1:, :] - points[..., :1, :], axis=-1).mean(-1)
    unknown = np.isnan(size) | (sine.min(-1) < _PARALLEL)
    return np.where(unknown, np.nan, np.where((depth_a.mean(-1) > 0) & (depth_b.mean(-1) > 0), size, -1.0))
