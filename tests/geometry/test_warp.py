"""Affine maps of pixels against single points, and images against their labels."""

import math

import cv2
import numpy as np
import pytest
import torch

from handpose.geometry.camera import crop_affine, project_points
from handpose.geometry.warp import ImageWarp, crop_squares, invert_affine, resize_image, transform_boxes


def random_affine(*shape):
    torch.manual_seed(0)
    return torch.eye(2, 3) + 0.3 * torch.randn(*shape, 2, 3)


def test_inverse_of_a_batch():
    affine, points = random_affine(4, 2), torch.randn(4, 2, 7, 2)
    warp = ImageWarp(affine, (10, 10))
    torch.testing.assert_close(warp.source_points(warp.points(points)), points, atol=1e-5, rtol=0)
    torch.testing.assert_close(invert_affine(invert_affine(affine)), affine)


def test_boxes_contain_their_mapped_corners():
    affine = random_affine(3)
    boxes = torch.tensor([[2.0, 3, 9, 5], [0, 0, 1, 8], [-4, -4, -1, -2]])
    for matrix, box, found in zip(affine, boxes, transform_boxes(boxes, affine), strict=True):
        x1, y1, x2, y2 = box.tolist()
        corners = [(matrix @ torch.tensor([x, y, 1.0])).tolist() for x in (x1, x2) for y in (y1, y2)]
        expected = [min(c[0] for c in corners), min(c[1] for c in corners)]
        expected += [max(c[0] for c in corners), max(c[1] for c in corners)]
        assert found.tolist() == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(ImageWarp(affine[0], (5, 5)).boxes(boxes), transform_boxes(boxes, affine[:1]))


def test_squares_are_at_least_a_pixel():
    squares = crop_squares(torch.tensor([[10.0, 10, 30, 20], [5, 5, 5, 5.5]]))
    assert squares.tolist() == [[10, 5, 30, 25], [4.5, 4.75, 5.5, 5.75]]


def test_the_camera_of_a_rotated_crop():
    intrinsics = torch.tensor([[300.0, 1.5, 155.0], [0, 320, 118], [0, 0, 1]])
    points = torch.tensor([[0.02, -0.05, 0.5], [-0.1, 0.1, 0.9]])
    warp = ImageWarp(crop_affine(torch.tensor([100.0, 80, 180, 160]), (64, 64), 0.7), (64, 64))
    expected = warp.points(project_points(points, intrinsics))
    torch.testing.assert_close(project_points(points, warp.intrinsics(intrinsics)), expected, atol=1e-4, rtol=0)


def test_images_go_where_points_go():
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(image, (90, 70), 3, (255, 255, 255), -1)
    warp = ImageWarp(crop_affine(torch.tensor([50.0, 40, 130, 120]), (200, 200), math.pi / 3), (200, 200))
    rows, columns = np.nonzero(warp.image(image)[..., 0] > 128)
    centre = warp.points(torch.tensor([[90.0, 70.0]]))[0]
    assert [columns.mean(), rows.mean()] == pytest.approx(centre.tolist(), abs=0.3)


def test_smaller_images_average_areas():
    image = np.zeros((4, 4, 3), np.uint8)
    image[::2] = 200
    assert (resize_image(image, (2, 2)) == 100).all() and resize_image(image, (8, 6)).shape == (6, 8, 3)
