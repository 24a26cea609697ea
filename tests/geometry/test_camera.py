import cv2
import numpy as np
import pytest
import torch

from handpose.geometry import (
    apply_affine,
    crop_affine,
    crop_camera,
    look_at,
    project_points,
    rotate_about_optical_axis,
    transform_intrinsics,
    transform_points,
    unproject_points,
)


@pytest.fixture
def intrinsics():
    return torch.tensor([[610.0, 3.0, 320.5], [0.0, 605.0, 239.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


@pytest.fixture
def points():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 21, 3, dtype=torch.float64, generator=generator) * 0.1 + torch.tensor([0.1, -0.05, 0.7])


def test_projection_equals_opencv(points, intrinsics):
    intrinsics = intrinsics * torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])  # OpenCV has no skew
    rotvec, transl = np.array([0.2, -0.1, 0.3]), np.array([0.05, 0.02, 0.1])
    extrinsics = torch.eye(4, dtype=torch.float64)
    extrinsics[:3, :3], extrinsics[:3, 3] = torch.tensor(cv2.Rodrigues(rotvec)[0]), torch.tensor(transl)
    expected, _ = cv2.projectPoints(points[0].numpy(), rotvec, transl, intrinsics.numpy(), None)
    found = project_points(points, intrinsics, extrinsics)
    np.testing.assert_allclose(found[0], expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(found, project_points(transform_points(points, extrinsics), intrinsics), atol=1e-12)


def test_projection_uses_the_whole_matrix(points, intrinsics):
    homogeneous = points @ intrinsics.T
    expected = homogeneous[..., :2] / homogeneous[..., 2:]
    np.testing.assert_allclose(project_points(points, intrinsics), expected, atol=1e-10)


def test_unprojection_undoes_projection_with_a_turned_crop(points, intrinsics):
    affine = crop_affine(torch.tensor([200.0, 100.0, 440.0, 340.0]).double(), (256, 256), 0.7)
    turned = transform_intrinsics(intrinsics, affine)
    uv = project_points(points, turned)
    np.testing.assert_allclose(unproject_points(uv, points[..., 2], turned), points, atol=1e-12)


def test_points_in_the_camera_plane_stay_finite_with_their_gradients(intrinsics):
    points = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    uv = project_points(points, intrinsics)
    uv.sum().backward()
    assert uv.isfinite().all()
    assert points.grad.isfinite().all()


@pytest.mark.parametrize('angle', [0.0, 0.4, -2.0])
def test_transformed_intrinsics_project_into_the_warped_image(points, intrinsics, angle):
    boxes = torch.tensor([[200.0, 100.0, 440.0, 340.0], [-30.0, 5.0, 90.0, 77.0]], dtype=torch.float64)
    affine = crop_affine(boxes, (224, 192), angle)
    warped = project_points(points[:2], transform_intrinsics(intrinsics, affine))
    np.testing.assert_allclose(warped, apply_affine(project_points(points[:2], intrinsics), affine), atol=1e-9)


@pytest.mark.parametrize('angle', [0.0, 0.4, -2.0, torch.tensor([0.3, -1.0, 2.0, 3.0, 0.0]).double()])
def test_crop_camera_turns_the_labels_along(points, intrinsics, angle):
    boxes = torch.tensor([200.0, 100.0, 440.0, 340.0], dtype=torch.float64).expand(5, 4)
    affine = crop_affine(boxes, (256, 256), angle)
    cropped, rotation = crop_camera(intrinsics, affine, angle)
    expected = apply_affine(project_points(points, intrinsics), affine)
    np.testing.assert_allclose(project_points(points @ rotation.mT, cropped), expected, atol=1e-9)


def test_crop_camera_leaves_no_rotation_in_the_intrinsics(intrinsics):
    square_pixels = torch.tensor([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    affine = crop_affine(torch.tensor([200.0, 100.0, 440.0, 340.0]).double(), (256, 256), 0.7)
    cropped, _ = crop_camera(square_pixels, affine, 0.7)
    focal = 600 * 256 / 240
    np.testing.assert_allclose(cropped[:2, :2], np.diag([focal, focal]), atol=1e-10)
    np.testing.assert_allclose(cropped[2], [0, 0, 1], atol=0)


def test_rotation_about_the_axis_turns_x_towards_y():
    turned = rotate_about_optical_axis(torch.tensor(np.pi / 2)) @ torch.tensor([1.0, 0.0, 5.0])
    np.testing.assert_allclose(turned, [0, 1, 5], atol=1e-6)


@pytest.mark.parametrize(
    ('box', 'size', 'angle', 'point', 'expected'),
    [
        ([-0.5, -0.5, 639.5, 479.5], (640, 480), 0.0, [17.0, 33.0], [17.0, 33.0]),  # the whole image: identity
        ([-0.5, -0.5, 639.5, 479.5], (320, 240), 0.0, [0.5, 0.5], [0.0, 0.0]),  # halved: 2x2 pixels become one
        ([10.0, 20.0, 110.0, 120.0], (50, 50), 0.0, [10.0, 20.0], [-0.5, -0.5]),  # corner to corner
        ([10.0, 20.0, 110.0, 120.0], (50, 50), 0.0, [110.0, 120.0], [49.5, 49.5]),
        ([10.0, 20.0, 110.0, 120.0], (50, 50), 1.3, [60.0, 70.0], [24.5, 24.5]),  # the centre stays the centre
        # A quarter turn x towards y brings the box's upper left corner to the upper right of the image.
        ([10.0, 20.0, 110.0, 120.0], (50, 50), np.pi / 2, [110.0, 20.0], [-0.5, -0.5]),
    ],
)
def test_crop_affine_table(box, size, angle, point, expected):
    affine = crop_affine(torch.tensor(box, dtype=torch.float64), size, angle)
    found = apply_affine(torch.tensor([point], dtype=torch.float64), affine)
    np.testing.assert_allclose(found[0], expected, atol=1e-10)


def test_crop_affine_is_the_affine_of_opencv_warps():
    image = np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)
    affine = crop_affine(torch.tensor([7.5, 3.5, 31.5, 27.5]), (24, 24)).numpy()
    np.testing.assert_array_equal(cv2.warpAffine(image, affine, (24, 24)), image[4:28, 8:32])


def test_crop_gradients_equal_finite_differences(points, intrinsics):
    boxes = torch.tensor([200.0, 100.0, 440.0, 340.0], dtype=torch.float64, requires_grad=True)
    angle = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def crop_of_points(boxes, angle):
        intrinsics_, rotation = crop_camera(intrinsics, crop_affine(boxes, (32, 32), angle), angle)
        return project_points(points[0, :3] @ rotation.T, intrinsics_)

    assert torch.autograd.gradcheck(crop_of_points, (boxes, angle))


def test_look_at_puts_the_target_in_the_centre_and_up_upwards(intrinsics):
    eye = torch.tensor([[1.0, 2.0, 0.5], [-0.3, 0.1, 1.0]], dtype=torch.float64)
    target = torch.tensor([0.1, 0.0, 0.2], dtype=torch.float64)
    up = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    extrinsics = look_at(eye, target, up)
    seen = transform_points(torch.stack([target, target + up * 0.01]).expand(2, 2, 3), extrinsics)
    np.testing.assert_allclose(seen[:, 0, :2], 0, atol=1e-14)
    np.testing.assert_allclose(seen[:, 0, 2], np.linalg.norm(target - eye, axis=-1), atol=1e-14)
    np.testing.assert_allclose(seen[:, 1, 0], 0, atol=1e-14)
    assert (seen[:, 1, 1] < 0).all()  # y points down
    np.testing.assert_allclose(np.linalg.det(extrinsics), 1, atol=1e-14)
    np.testing.assert_allclose(transform_points(eye[:, None], extrinsics), 0, atol=1e-14)


@pytest.mark.parametrize(('target', 'up'), [([0.0, 0.0, 0.0], [0.0, 1.0, 0.0]), ([0.0, 2.0, 0.0], [0.0, -1.0, 0.0])])
def test_look_at_refuses_views_without_a_direction(target, up):
    with pytest.raises(ValueError, match='line of sight'):
        look_at(torch.zeros(3), torch.tensor(target), torch.tensor(up))
