"""Images of a calibration board as cameras with distorted lenses see it."""

import cv2
import numpy as np

PIXELS = 40  # per square of the drawn board


def render_board(board, intrinsics, distortion, pose, size):
    """(h, w) grey: the board, at `pose` (4, 4) board to camera, before a grey wall."""
    width, height = size
    drawn = cv2.GaussianBlur(board.draw(PIXELS), (0, 0), 1.2)  # images are up to twice as coarse
    v, u = np.mgrid[:height, :width].astype(np.float64)
    pixels = np.stack([u, v], -1).reshape(-1, 1, 2)
    rays = cv2.undistortPoints(pixels, intrinsics, distortion)[:, 0]
    rays = np.concatenate([rays, np.ones((len(rays), 1))], 1)
    # A ray meets the board where [x, y, 1] of the board is the inverse of [r1 r2 t] applied to the ray.
    plane = rays @ np.linalg.inv(pose[:3, [0, 1, 3]]).T
    metres = plane[:, :2] / plane[:, 2:]
    texture = metres / board.square * PIXELS + PIXELS // 2 - 0.5
    texture[plane[:, 2] <= 0] = -1e4
    where = texture.reshape(height, width, 2).astype(np.float32)
    return cv2.remap(drawn, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderValue=110)


def board_poses(count, seed=0):
    """(count, 4, 4) board to world: tilted by up to 35 degrees, around the point 0.6 m before the first camera."""
    random = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    for pose in poses:
        pose[:3, :3] = cv2.Rodrigues(random.uniform(-0.6, 0.6, 3) * [1, 1, 0.6])[0]
        middle = np.array([0.0, 0.0, 0.6]) + random.uniform(-1, 1, 3) * [0.06, 0.06, 0.12]
        pose[:3, 3] = middle - pose[:3, :3] @ [0.12, 0.075, 0]
    return poses
