import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handpose.geometry.distortion import check_distortion, distort_points, undistort_points

INTRINSICS = torch.tensor([[610.0, 0.0, 320.5], [0.0, 605.0, 239.0], [0.0, 0.0, 1.0]]).double()
COEFFICIENTS = {
    'radial_tangential 4': (-0.25, 0.09, 0.001, -0.002),
    'radial_tangential 5': (-0.12, 0.12, 5e-4, -2e-4, 0.007),
    'radial_tangential 8': (0.4, -0.2, 1e-3, 5e-4, 0.05, 0.7, -0.1, 0.02),
    'fisheye 4': (0.03, -0.01, 0.004, -0.001),
}
CASES = [pytest.param(name.split()[0], torch.tensor(c).double(), id=name) for name, c in COEFFICIENTS.items()]
REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', ''))


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(200, 2, generator=generator).double() * torch.tensor([640.0, 480.0])


def rays(pixels):
    """Points at depth 1 of undistorted pixels, for OpenCV."""
    xy = (pixels - INTRINSICS[:2, 2]) / INTRINSICS[[0, 1], [0, 1]]
    return torch.cat([xy, torch.ones_like(xy[:, :1])], -1).numpy()


def opencv_distort(points, model, coefficients, intrinsics=INTRINSICS):
    zero = np.zeros(3)
    if model == 'fisheye':
        found = cv2.fisheye.projectPoints(points[:, None], zero, zero, intrinsics.numpy(), coefficients.numpy())[0]
        return found.reshape(-1, 2)
    return cv2.projectPoints(points, zero, zero, intrinsics.numpy(), coefficients.numpy())[0][:, 0]


@pytest.mark.parametrize('model, coefficients', CASES)
def test_distortion_equals_opencv(pixels, model, coefficients):
    found = distort_points(pixels, INTRINSICS, model, coefficients)
    np.testing.assert_allclose(found, opencv_distort(rays(pixels), model, coefficients), atol=1e-9)
    assert (found - pixels).abs().max() > 1


@pytest.mark.parametrize('model, coefficients', CASES)
def test_undistortion_equals_opencv(pixels, model, coefficients):
    found = undistort_points(pixels, INTRINSICS, model, coefficients)
    k, d, source = INTRINSICS.numpy(), coefficients.numpy(), pixels[:, None].numpy()
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-12)
    if model == 'fisheye':
        expected = cv2.fisheye.undistortPoints(source, k, d, P=k, criteria=criteria)
    else:
        # OpenCV 4 has a function of its own for criteria.
        solve = cv2.undistortPoints if cv2.__version__ >= '5' else cv2.undistortPointsIter
        expected = solve(source, k, d, R=None, P=k, criteria=criteria)
    np.testing.assert_allclose(found, expected.reshape(-1, 2), atol=1e-4)


@pytest.mark.parametrize('model, coefficients', CASES)
def test_undistortion_is_the_inverse(pixels, model, coefficients):
    pixels[0] = INTRINSICS[:2, 2]  # the principal point itself
    undistorted = undistort_points(pixels, INTRINSICS, model, coefficients)
    torch.testing.assert_close(distort_points(undistorted, INTRINSICS, model, coefficients), pixels, atol=1e-7, rtol=0)


@pytest.mark.parametrize('function', [distort_points, undistort_points])
@pytest.mark.parametrize('model, coefficients', CASES)
def test_gradients_are_right(pixels, function, model, coefficients):
    inputs = (pixels[:4].clone().requires_grad_(), INTRINSICS, model, coefficients.clone().requires_grad_())
    assert torch.autograd.gradcheck(function, inputs, atol=1e-5)
    centre = INTRINSICS[None, :2, 2].clone().requires_grad_()
    function(centre, INTRINSICS, model, coefficients).sum().backward()
    assert centre.grad.isfinite().all() and centre.grad.abs().sum() > 0


def test_cameras_are_batched(pixels):
    coefficients = torch.tensor([COEFFICIENTS['radial_tangential 4'], (0.1, 0.0, 0.0, 0.0)]).double()
    both = undistort_points(
        pixels.expand(2, -1, -1).float(), INTRINSICS.expand(2, 3, 3), 'radial_tangential', coefficients
    )
    assert both.dtype == torch.float32
    for found, one in zip(both, coefficients, strict=True):
        expected = undistort_points(pixels, INTRINSICS, 'radial_tangential', one)
        torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=0)


def test_pixels_that_no_ray_reaches_are_nan():
    far = torch.tensor([[330.0, 240.0], [5000.0, 240.0]]).double()
    barrel = torch.tensor([-0.3, 0.0, 0.0, 0.0]).double()  # turns back at r = 1.05, 428 pixels from the centre
    for model, coefficients in (('radial_tangential', barrel), ('fisheye', torch.zeros(4).double())):
        found = undistort_points(far, INTRINSICS, model, coefficients)
        assert found[0].isfinite().all() and found[1].isnan().all()


def test_a_pinhole_camera_has_no_distortion(pixels):
    assert torch.equal(distort_points(pixels, INTRINSICS, 'pinhole', torch.zeros(0)), pixels)
    assert torch.equal(undistort_points(pixels, INTRINSICS, 'pinhole', torch.zeros(0)), pixels)


def test_errors_say_what_is_expected():
    with pytest.raises(
        ValueError, match="unknown distortion model 'brown'; known are pinhole, radial_tangential, fish"
    ):
        check_distortion('brown', 4)
    with pytest.raises(ValueError, match="'radial_tangential' has 4 or 5 or 8 coefficients, got 6"):
        distort_points(torch.zeros(1, 2), INTRINSICS, 'radial_tangential', torch.zeros(6))


def test_cameras_of_a_real_rig_are_inverted_over_the_whole_image():
    folder = REAL / 'assemblyhands_calib' / 'nimble_json_calib'
    if not folder.is_dir():
        pytest.skip('needs HANDPOSE_REAL_DATA with assemblyhands_calib/')
    cameras = [entry['Camera'] for path in sorted(folder.glob('*.json')) for entry in json.loads(path.read_text())]
    colour = [camera for camera in cameras if camera['DistortionModel'] == 'OpenCV']
    assert len(colour) == 160
    names = ('fx', 'fy', 'cx', 'cy'), ('k1', 'k2', 'p1', 'p2', 'k3', 'k4', 'k5', 'k6')
    lens, coefficients = (torch.tensor([[camera[n] for n in ns] for camera in colour]).double() for ns in names)
    intrinsics = torch.eye(3).double().repeat(len(colour), 1, 1)
    intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 0, 2], intrinsics[:, 1, 2] = lens.T
    grid = torch.cartesian_prod(torch.linspace(0, 1919, 7), torch.linspace(0, 1079, 5)).double()
    undistorted = undistort_points(grid.expand(len(colour), -1, -1), intrinsics, 'radial_tangential', coefficients)
    for k, d, uv in zip(intrinsics, coefficients, undistorted, strict=True):
        xy = (uv - k[:2, 2]) / k[[0, 1], [0, 1]]
        points = torch.cat([xy, torch.ones_like(xy[:, :1])], -1).numpy()
        np.testing.assert_allclose(opencv_distort(points, 'radial_tangential', d, k), grid, atol=1e-4)
