"""Boards and calibration by rendered views of them: the cameras found are the ones that rendered."""

import cv2
import numpy as np
import pytest
from rendered_boards import board_poses, render_board

from handpose.geometry.board_calibration import Lens, calibrate_lens, calibrate_poses
from handpose.geometry.boards import BoardError, CalibrationBoard

SIZE = (480, 360)
INTRINSICS = np.array([[420.0, 0, 241], [0, 418, 177], [0, 0, 1]])
DISTORTION = np.array([-0.12, 0.05, 1e-3, -5e-4])
BOARDS = {kind: CalibrationBoard(kind, 8, 5, 0.03) for kind in ('charuco', 'checkerboard')}
SECOND = np.eye(4)
SECOND[:3, :3], SECOND[:3, 3] = cv2.Rodrigues(np.array([0.05, 0.35, -0.04]))[0], [-0.2, 0.01, 0.05]


def true_corners(board, pose):
    rotvec = cv2.Rodrigues(pose[:3, :3])[0]
    return cv2.projectPoints(board.points, rotvec, pose[:3, 3], INTRINSICS, DISTORTION)[0][:, 0]


@pytest.mark.parametrize('kind', BOARDS)
@pytest.mark.parametrize('turned', [False, True])
def test_corners_are_found_where_they_are_and_in_their_order(kind, turned):
    board = BOARDS[kind]
    (pose,) = board_poses(1, seed=3)
    if turned:  # by 180 degrees in its plane, about its middle
        half = np.diag([-1.0, -1, 1, 1])
        half[:2, 3] = 8 * 0.03, 5 * 0.03
        pose = pose @ half
    found = board.detect(render_board(board, INTRINSICS, DISTORTION, pose, SIZE))
    seen = np.isfinite(found).all(-1)
    assert seen.mean() > 0.8
    errors = found[seen] - true_corners(board, pose)[seen]
    # Before OpenCV 4.9 corners of ChArUco boards are less accurate.
    old = kind == 'charuco' and tuple(map(int, cv2.__version__.split('.')[:2])) < (4, 9)
    assert np.abs(errors).max() < (1.5 if old else 0.9) and np.sqrt((errors**2).mean()) < (0.5 if old else 0.3)


def test_nothing_is_found_where_nothing_is():
    for board in BOARDS.values():
        assert np.isnan(board.detect(np.full((120, 160, 3), 90, np.uint8))).all()


def noisy_views(count, cameras, noise=0.1):
    """(V, F, N, 2) corners of a board with some missing."""
    board, random = BOARDS['charuco'], np.random.default_rng(0)
    corners = np.stack([[true_corners(board, camera @ pose) for pose in board_poses(count)] for camera in cameras])
    corners += random.normal(0, noise, corners.shape)
    corners[random.uniform(size=corners.shape[:3]) < 0.1] = np.nan
    return board, corners


def test_a_lens_is_found():
    board, corners = noisy_views(15, [np.eye(4)])
    lens = calibrate_lens(board.points, corners[0], SIZE)
    np.testing.assert_allclose(lens.intrinsics, INTRINSICS, atol=4)
    assert lens.error < 0.2 and lens.focal_uncertainty < 0.01
    corner = np.array([[[0.5, 0.35, 1.0]]])
    found, true = (
        cv2.projectPoints(corner, np.zeros(3), np.zeros(3), *parameters)[0].ravel()
        for parameters in ((lens.intrinsics, lens.distortion), (INTRINSICS, DISTORTION))
    )
    np.testing.assert_allclose(found, true, atol=4)


def test_cameras_are_found():
    cameras = [np.eye(4), SECOND, SECOND @ SECOND]
    board, corners = noisy_views(12, cameras)
    corners[0, 4:] = np.nan  # the first camera shares few frames with the others
    lens = Lens(INTRINSICS, DISTORTION, 0.1, 0.001)
    found = calibrate_poses(board.points, corners, [lens] * 3)
    np.testing.assert_allclose(found.extrinsics, cameras, atol=4e-3)
    assert np.nanmedian(found.residuals) < 0.2
    assert np.isnan(found.residuals[0, 4:]).all()


def test_cameras_that_share_no_view_are_named():
    board, corners = noisy_views(6, [np.eye(4), SECOND, SECOND])
    corners[2] = np.nan
    with pytest.raises(BoardError, match=r'cameras \[2\] .* never saw the board together'):
        calibrate_poses(board.points, corners, [Lens(INTRINSICS, DISTORTION, 0.1, 0.001)] * 3)


def test_too_few_views():
    board, corners = noisy_views(4, [np.eye(4)])
    with pytest.raises(BoardError, match='found in 4 images, expected at least 5'):
        calibrate_lens(board.points, corners[0], SIZE)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (('chess', 8, 5, 0.03), 'charuco or checkerboard'),
        (('charuco', 2, 5, 0.03), 'at least 3x3'),
        (('checkerboard', 8, 6, 0.03), 'turned by 180 degrees'),
        (('charuco', 8, 5, 0.03, 0.04), 'smaller than the squares'),
        (('charuco', 20, 15, 0.03, 0.02, '4X4_50'), 'need 150 markers'),
        (('charuco', 8, 5, 0.03, 0.02, '9X9'), '4X4_50, '),
    ],
)
def test_impossible_boards(values, message):
    with pytest.raises(BoardError, match=message):
        CalibrationBoard(*values)
