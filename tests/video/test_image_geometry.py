"""`letterbox` and `crop_square`: images, points, boxes and cameras move together."""

import math

import cv2
import numpy as np
import pytest
import torch

from handpose.datasets.transforms import HandCrop
from handpose.geometry import project_points
from handpose.structures import HandSequence
from handpose.video import crop_square, letterbox

INTRINSICS = torch.tensor([[200.0, 0, 79.5], [0, 200, 59.5], [0, 0, 1]])
POINTS = torch.tensor([[0.05, -0.02, 0.5], [-0.1, 0.1, 0.8]])


def dot(x, y, size=(160, 120)):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    cv2.circle(image, (x, y), 3, (255, 255, 255), -1)
    return image


def dot_centre(image):
    rows, columns = np.nonzero(image[..., 0] > 100)
    return [columns.mean(), rows.mean()]


@pytest.mark.parametrize('size', [(64, 64), (320, 100), (256, 512), (160, 120)])
def test_letterbox_maps_points_and_back(size):
    image, warp = letterbox(dot(100, 30), size)
    assert image.shape == (size[1], size[0], 3)
    found = warp.points(torch.tensor([[100.0, 30.0]]))
    assert dot_centre(image) == pytest.approx(found[0].tolist(), abs=0.6)
    assert warp.source_points(found)[0].tolist() == pytest.approx([100, 30], abs=1e-4)
    pixels = project_points(POINTS, INTRINSICS)
    torch.testing.assert_close(project_points(POINTS, warp.intrinsics(INTRINSICS)), warp.points(pixels))
    assert abs(warp.affine[0, 0] - warp.affine[1, 1]) < 0.02  # the shape of objects is kept


def test_letterbox_borders_are_black_and_centred():
    image, warp = letterbox(np.full((90, 160, 3), 200, np.uint8), (64, 48))
    assert (image[:6] == 0).all() and (image[6:42] == 200).all() and (image[42:] == 0).all()
    box = warp.boxes(torch.tensor([[-0.5, -0.5, 159.5, 89.5]]))[0]
    assert box.tolist() == pytest.approx([-0.5, 5.5, 63.5, 41.5], abs=1e-4)


def test_letterbox_of_the_same_shape_has_no_borders():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    same, warp = letterbox(image, (64, 48))
    assert same is image and torch.equal(warp.affine, torch.eye(2, 3))
    assert (letterbox(np.full((48, 65, 3), 200, np.uint8), (64, 48))[0] == 200).all()  # a column more is a rounding


@pytest.mark.parametrize('angle', [0.0, 0.9, -math.pi / 2])
def test_crops_map_points_and_back(angle):
    crop, warp = crop_square(dot(100, 60), [80, 40, 120, 60], 128, scale=2.0, angle=angle)
    found = warp.points(torch.tensor([[100.0, 60.0]]))
    assert crop.shape == (128, 128, 3) and dot_centre(crop) == pytest.approx(found[0].tolist(), abs=0.3)
    assert warp.source_points(found)[0].tolist() == pytest.approx([100, 60], abs=1e-4)
    pixels = project_points(POINTS, INTRINSICS)
    moved = project_points(POINTS, warp.intrinsics(INTRINSICS))
    torch.testing.assert_close(moved, warp.points(pixels), atol=1e-4, rtol=0)


def test_crops_are_those_of_training():
    box = torch.tensor([70.0, 30, 120, 95])
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    crop, warp = crop_square(image, box, 96)
    clip = HandSequence(
        images=torch.from_numpy(image).permute(2, 0, 1)[None, None],
        intrinsics=INTRINSICS[None, None],
        boxes=box.view(1, 1, 1, 4),
        frame_valid=torch.ones(1, dtype=torch.bool),
    )
    trained = HandCrop(96)(clip, np.random.default_rng(0))
    np.testing.assert_array_equal(trained.images[0, 0].permute(1, 2, 0).numpy(), crop)
    torch.testing.assert_close(warp.intrinsics(INTRINSICS), trained.intrinsics[0, 0])
    torch.testing.assert_close(warp.boxes(box[None]), trained.boxes[0, 0])
