"""Calibrating cameras from views of a board: lenses one by one, then where all cameras are.

Zhang, "A Flexible New Technique for Camera Calibration", PAMI 2000, as OpenCV has it, for the lenses; where the cameras
and the board are in every frame is then solved for together (bundle adjustment with a rigid board).
Legend: V cameras, F frames, N corners of the board; NaN where a corner was not found.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.sparse import lil_matrix

from handpose.geometry.boards import BoardError

Array = NDArray[np.float64]
MIN_VIEWS = 5  # of the board, for a lens
MAX_VIEWS = 40  # more add time and little else
_ROBUST_SCALE = 1.0  # pixels; larger residuals count linearly


class Lens(NamedTuple):
    """A calibrated lens.

    Attributes:
        intrinsics: (3, 3) pixels.
        distortion: (4,) k1 k2 p1 p2.
        error: root mean square of the reprojection errors, pixels.
        focal_uncertainty: standard deviation of the focal length, as a fraction of it.
    """

    intrinsics: Array
    distortion: Array
    error: float
    focal_uncertainty: float


class CameraPoses(NamedTuple):
    """Where cameras are.

    Attributes:
        extrinsics: (V, 4, 4) world to camera, metres; the world is the first camera's frame.
        residuals: (V, F, N) pixels of undistorted images from each corner to where it should be; NaN where it was not
            found, or the frame was not used.
    """

    extrinsics: Array
    residuals: Array


def calibrate_lens(points: Array, corners: Array, image_size: tuple[int, int]) -> Lens:
    """Calibrates a lens from views of a board.

    Args:
        points: (N, 3) corners of the board, metres.
        corners: (F, N, 2) pixels.
        image_size: (width, height) pixels.

    Returns:
        The lens.

    Raises:
        BoardError: fewer than five views.
    """
    seen = _is_found(corners)
    views = np.flatnonzero(seen.any(1))
    if len(views) < MIN_VIEWS:
        raise BoardError(
            f'the board was found in {len(views)} images, expected at least {MIN_VIEWS}; check that its kind, squares '
            f'and dictionary are those given, that it is sharp and lit evenly, and show it longer'
        )
    views = views[_spread(np.stack([_look(corners[f][seen[f]]) for f in views]), MAX_VIEWS)]
    found = cv2.calibrateCameraExtended(
        [points[seen[f]].astype(np.float32) for f in views],
        [corners[f][seen[f]].astype(np.float32) for f in views],
        image_size,
        np.eye(3),
        np.zeros(5),
        flags=cv2.CALIB_FIX_K3,
    )
    intrinsics, distortion, deviations = (np.asarray(found[k], np.float64) for k in (1, 2, 5))
    uncertainty = float(deviations.ravel()[0] / intrinsics[0, 0])
    return Lens(intrinsics, distortion.ravel()[:4], float(found[0]), uncertainty)


def calibrate_poses(points: Array, corners: Array, lenses: list[Lens]) -> CameraPoses:
    """Computes where cameras are from frames in which several of them see the board at the same moment.

    Args:
        points: (N, 3) corners of the board, metres.
        corners: (V, F, N, 2) pixels.
        lenses: V.

    Returns:
        The poses and what is left of the errors.

    Raises:
        BoardError: a camera shares no view of the board with the others.
    """
    seen = _is_found(corners)
    shared = np.flatnonzero(seen.any(-1).sum(0) > 1)
    frames = shared[np.argsort(-seen[:, shared].sum((0, 2)), kind='stable')[:MAX_VIEWS]] if len(shared) else shared
    undistorted = np.full(corners.shape, np.nan)
    for v, lens in enumerate(lenses):
        pixels = corners[v][seen[v]][:, None]
        if len(pixels):
            straight = cv2.undistortPoints(pixels, lens.intrinsics, lens.distortion, None, lens.intrinsics)
            undistorted[v][seen[v]] = straight[:, 0]
    chosen = undistorted[:, frames]
    boards = _board_poses(points, chosen, lenses)
    extrinsics = _first_extrinsics(boards)
    placed = np.stack([_first_board(boards[:, f], chosen[:, f], extrinsics) for f in range(len(frames))])
    extrinsics, errors = _adjust(points, chosen, lenses, extrinsics, placed)
    residuals = np.full(seen.shape, np.nan)
    residuals[:, frames] = errors
    return CameraPoses(extrinsics, residuals)


def _is_found(values: Array) -> NDArray[np.bool_]:
    """Which rows (..., K) hold numbers: (...)."""
    return np.asarray(np.isfinite(values).all(-1))


def _look(corners: Array) -> Array:
    """Where a view has the board and how large: what makes views different."""
    return np.concatenate([corners.mean(0), corners.std(0)])


def _spread(features: Array, count: int) -> NDArray[np.int64]:
    """Indices of up to `count` rows, each the farthest from those before it."""
    features = features / (features.std(0) + 1e-9)
    chosen = [0]
    distance = np.linalg.norm(features - features[0], axis=1)
    while len(chosen) < min(count, len(features)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return np.sort(np.array(chosen))


def _matrix(rotvec: Array, transl: Array) -> Array:
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = cv2.Rodrigues(rotvec)[0], np.ravel(transl)
    return found


def _board_poses(points: Array, corners: Array, lenses: list[Lens]) -> Array:
    """(V, F, 4, 4) board to camera, NaN where the board was not found."""
    found = np.full((*corners.shape[:2], 4, 4), np.nan)
    for v, f in np.ndindex(corners.shape[:2]):
        seen = _is_found(corners[v, f])
        if seen.any():
            good, rotvec, transl = cv2.solvePnP(points[seen], corners[v, f][seen], lenses[v].intrinsics, None)
            if good:
                found[v, f] = _matrix(np.asarray(rotvec, np.float64), np.asarray(transl, np.float64))
    return found


def _first_extrinsics(boards: Array) -> Array:
    """(V, 4, 4), along the pairs of cameras that share most views, from the first camera on."""
    known = {0: np.eye(4)}
    seen = _is_found(boards[..., 0])
    shared = (seen[:, None] & seen).sum(-1)
    while len(known) < len(boards):
        pairs = [(a, b) for a in known for b in range(len(boards)) if b not in known and shared[a, b]]
        if not pairs:
            raise BoardError(
                f'the cameras {sorted(set(range(len(boards))) - set(known))} (counted from 0) never saw the board '
                f'together with the others; show it to both at the same time, and check that the videos are in step'
            )
        a, b = max(pairs, key=lambda pair: shared[pair])
        known[b] = _middle(boards[b] @ np.linalg.inv(boards[a]), seen[a] & seen[b]) @ known[a]
    return np.stack([known[v] for v in range(len(boards))])


def _middle(motions: Array, valid: NDArray[np.bool_]) -> Array:
    """The rigid motion nearest to all others: wrong ones, of blurred views, do not move it."""
    motions = motions[valid]
    apart = np.linalg.norm(motions[:, None, :3] - motions[None, :, :3], axis=(-1, -2))
    return motions[apart.sum(1).argmin()]


def _first_board(boards: Array, corners: Array, extrinsics: Array) -> Array:
    """(4, 4) board to world in a frame, by the camera that sees most of it."""
    counts = _is_found(corners).sum(-1) * _is_found(boards[..., 0])
    best = int(counts.argmax())
    return np.linalg.inv(extrinsics[best]) @ boards[best]


def _adjust(points: Array, corners: Array, lenses: list[Lens], extrinsics: Array, boards: Array) -> tuple[Array, Array]:
    """Extrinsics (V, 4, 4) and residuals (V, F, N) after solving for all cameras and all poses of the board."""
    num_cameras, num_frames = corners.shape[:2]
    intrinsics = np.stack([lens.intrinsics for lens in lenses])
    v, f, n = np.nonzero(_is_found(corners))
    observed = corners[v, f, n]

    def poses_of(values: Array) -> tuple[Array, Array]:
        found = np.stack([_matrix(row[:3], row[3:]) for row in values.reshape(-1, 6)])
        return np.concatenate([np.eye(4)[None], found[: num_cameras - 1]]), found[num_cameras - 1 :]

    def errors_of(values: Array) -> Array:
        cameras, placed = poses_of(values)
        world = np.einsum('fij,nj->fni', placed[:, :3, :3], points) + placed[:, None, :3, 3]
        local = np.einsum('kij,kj->ki', cameras[v, :3, :3], world[f, n]) + cameras[v, :3, 3]
        pixels = np.einsum('kij,kj->ki', intrinsics[v], local)
        return (pixels[:, :2] / pixels[:, 2:] - observed).ravel()

    start = [_vector(matrix) for matrix in (*extrinsics[1:], *boards)]
    pattern = lil_matrix((2 * len(v), 6 * len(start)), dtype=np.int8)
    for k in range(2):
        rows = 2 * np.arange(len(v)) + k
        for j in range(6):
            pattern[rows[v > 0], 6 * (v[v > 0] - 1) + j] = 1
            pattern[rows, 6 * (num_cameras - 1 + f) + j] = 1
    solved = least_squares(
        errors_of, np.concatenate(start), jac_sparsity=pattern, loss='soft_l1', f_scale=_ROBUST_SCALE, x_scale='jac'
    )
    residuals = np.full((num_cameras, num_frames, len(points)), np.nan)
    residuals[v, f, n] = np.linalg.norm(errors_of(solved.x).reshape(-1, 2), axis=1)
    return poses_of(solved.x)[0], residuals


def _vector(matrix: Array) -> Array:
    return np.concatenate([cv2.Rodrigues(matrix[:3, :3])[0][:, 0], matrix[:3, 3]])
