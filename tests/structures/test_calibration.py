"""Calibrated cameras: projection against OpenCV, resolution, rigs, and values that no camera has."""

import cv2
import numpy as np
import pytest
import torch

from handpose.geometry import project_points
from handpose.structures import Calibration, CalibrationError, CameraCalibration

MATRIX = [[812.0, 0, 633.5], [0, 805.0, 350.25], [0, 0, 1]]
ROTVEC, TRANSLATION = np.array([0.3, -0.5, 0.1]), np.array([0.05, -0.1, 1.2])
LENSES = {
    'pinhole': [],
    'radial_tangential': [-0.129, 0.1205, 4.75e-5, -1.77e-4, 7.1e-3],
    'fisheye': [0.05, -0.02, 0.01, -0.003],
}


def make_camera(model='radial_tangential', name='left', **values):
    extrinsics = np.eye(4)
    extrinsics[:3, :3], extrinsics[:3, 3] = cv2.Rodrigues(ROTVEC)[0], TRANSLATION
    defaults = dict(image_size=(1280, 720), intrinsics=MATRIX, model=model, distortion=LENSES[model])
    return CameraCalibration(name, **{**defaults, 'extrinsics': torch.from_numpy(extrinsics), **values})


def points_in_view(count=100):
    return np.random.default_rng(0).uniform(-0.25, 0.25, (count, 3))


@pytest.mark.parametrize('model', LENSES)
def test_projection_is_that_of_opencv(model):
    points = points_in_view()
    lens = np.array(LENSES[model]) if LENSES[model] else np.zeros(4)
    project = cv2.fisheye.projectPoints if model == 'fisheye' else cv2.projectPoints
    expected = project(points[:, None], ROTVEC, TRANSLATION, np.array(MATRIX), lens)[0].reshape(-1, 2)
    found = make_camera(model).project(torch.from_numpy(points))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize('model', LENSES)
def test_undistorted_points_are_those_of_the_projection_matrix(model):
    camera, points = make_camera(model), torch.from_numpy(points_in_view())
    homogeneous = torch.cat([points, torch.ones(len(points), 1)], -1) @ camera.projection.T
    expected = homogeneous[:, :2] / homogeneous[:, 2:]
    torch.testing.assert_close(camera.undistort(camera.project(points)), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(project_points(points, camera.intrinsics, camera.extrinsics), expected)


def test_the_type_of_the_points_is_kept_and_leading_axes_too():
    points = torch.from_numpy(points_in_view(12)).reshape(2, 2, 3, 3)
    camera = make_camera()
    assert camera.project(points.float()).dtype == torch.float32
    torch.testing.assert_close(camera.project(points)[1, 0], camera.project(points[1, 0]))
    assert camera.sees(points).shape == (2, 2, 3)


def test_position():
    camera = make_camera()
    np.testing.assert_allclose(camera.position, -cv2.Rodrigues(ROTVEC)[0].T @ TRANSLATION)


def test_what_a_camera_sees():
    camera = make_camera(extrinsics=torch.eye(4))
    seen = [[0, 0, 1], [0.4, 0.2, 1]]
    unseen = [[0, 0, -1], [0, 0, 0], [0.9, 0, 1], [-0.4, -0.2, -1]]
    assert camera.sees(torch.tensor(seen + unseen)).tolist() == [True] * 2 + [False] * 4


def test_points_that_the_lens_model_folds_back_are_not_seen():
    camera = make_camera(extrinsics=torch.eye(4), distortion=[-0.3, 0, 0, 0])
    far = torch.tensor([[1.8, 0.0, 1.0]])
    assert 0 < camera.project(far)[0, 0] < 1280
    assert not camera.sees(far)


def test_another_resolution_scales_the_pixels():
    camera = make_camera()
    points = torch.from_numpy(points_in_view())
    half = camera.resized((640, 360))
    assert half.image_size == (640, 360)
    torch.testing.assert_close(half.project(points), (camera.project(points) + 0.5) / 2 - 0.5)
    with pytest.raises(CalibrationError, match='720x1280: another aspect ratio'):
        camera.resized((720, 1280))


def test_cameras_by_name():
    calibration = Calibration([make_camera(name='left'), make_camera('fisheye', name='right')])
    assert calibration.names == ['left', 'right'] and len(calibration) == 2
    assert calibration['right'].model == 'fisheye'
    assert calibration.select(['right']).names == ['right']
    assert calibration.projections().shape == (2, 3, 4)
    with pytest.raises(CalibrationError, match=r"no camera 'rigth', it has left, right. Did you mean 'right'"):
        calibration['rigth']


def test_cameras_of_a_rig_have_no_place_in_the_world():
    calibration = Calibration([make_camera(), make_camera(name='eye', rig='headset')])
    assert calibration.fixed().names == ['left']
    with pytest.raises(CalibrationError, match=r'moving rig.*eye \(headset\)'):
        calibration.projections()


def test_names_are_different_and_there_is_one():
    with pytest.raises(CalibrationError, match=r'different names.*left'):
        Calibration([make_camera(), make_camera()])
    with pytest.raises(CalibrationError, match='at least one'):
        Calibration([])


MIRROR = torch.diag(torch.tensor([-1.0, 1, 1, 1]))
IMPOSSIBLE = {
    'name': (dict(name=''), 'needs a name'),
    'size': (dict(image_size=(0, 720)), 'image_size must be'),
    'size is not whole': (dict(image_size=(1280.0, 720)), 'image_size must be'),
    'focal length': (dict(intrinsics=[[-800.0, 0, 1], [0, 800, 1], [0, 0, 1]]), 'positive focal'),
    'transposed intrinsics': (dict(intrinsics=np.array(MATRIX).T), 'positive focal'),
    'nan': (dict(intrinsics=np.full((3, 3), np.nan)), 'finite'),
    'model': (dict(model='fish_eye'), "Did you mean 'fisheye'"),
    'coefficients': (dict(distortion=[0.1, 0.2]), '4 or 5 or 8 finite numbers'),
    'lost distortion model': (dict(model='pinhole'), "of model 'pinhole' must be 0"),
    'mirrored': (dict(extrinsics=MIRROR), 'mirrors the world'),
    'scaled': (dict(extrinsics=torch.eye(4) * 2), 'scaled or sheared'),
    'last row': (dict(extrinsics=torch.eye(4) + torch.tensor([[0.0], [0], [0], [1]]) * 0.1), 'last row'),
    'shape': (dict(extrinsics=torch.eye(3)), r'must be \(4, 4\)'),
}


@pytest.mark.parametrize('case', IMPOSSIBLE)
def test_impossible_values(case):
    values, message = IMPOSSIBLE[case]
    values = {**dict(model='radial_tangential', distortion=LENSES['radial_tangential'], name='left'), **values}
    with pytest.raises(CalibrationError, match=message):
        make_camera_of(values)


def make_camera_of(values):
    defaults = dict(image_size=(1280, 720), intrinsics=MATRIX)
    return CameraCalibration(**{**defaults, **values})
