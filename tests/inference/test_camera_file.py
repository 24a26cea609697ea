"""Camera files: what they may hold, images of another size, and hands placed in front of a known camera."""

import json
import math

import cv2
import numpy as np
import pytest
from scripted_hands import template

from handpose.inference.camera_file import CameraFileError, place_in_camera, read_camera
from handpose.structures import Predictions

INTRINSICS = [[900.0, 2.0, 650.0], [0.0, 910.0, 350.0], [0.0, 0.0, 1.0]]
GOOD = dict(intrinsics=INTRINSICS, image_size=[1280, 720])


def write(tmp_path, content):
    path = tmp_path / 'K.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_size_of_the_file(tmp_path):
    np.testing.assert_array_equal(read_camera(write(tmp_path, GOOD), (1280, 720)), INTRINSICS)


@pytest.mark.parametrize('size', [(640, 360), (1920, 1080), (1280, 718)])
def test_images_of_another_size(tmp_path, size):
    """Directions stay: a direction's pixel, measured from the corner of the image, scales with it."""
    scaled = read_camera(write(tmp_path, GOOD), size)
    point = np.array([0.21, -0.13, 1.0])
    before, after = np.array(INTRINSICS) @ point, scaled @ point
    np.testing.assert_allclose((after[:2] + 0.5) / size, (before[:2] + 0.5) / [1280, 720])
    assert after[2] == 1


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', 'must be JSON, but is empty'),
        ('{"intrinsics": ', 'is not valid JSON'),
        ([1, 2], 'must hold keys with values, but holds a list'),
        (dict(intrinsics=INTRINSICS), 'expected the keys intrinsics and image_size, got intrinsics'),
        (dict(intrinsic=INTRINSICS, image_size=[1, 1]), r"got intrinsic, image_size\. Did you mean 'intrinsics'"),
        ({**GOOD, 'distortion': [0.1]}, 'got intrinsics, image_size, distortion'),
        ({**GOOD, 'intrinsics': [[900, 0], [0, 900]]}, r'intrinsics must hold \(3, 3\) numbers, got \[\[900, 0\]'),
        ({**GOOD, 'intrinsics': [['a', 0, 0]] * 3}, r'intrinsics must hold \(3, 3\) numbers'),
        ({**GOOD, 'intrinsics': [[900, 0, 0], [0, 900], [0, 0, 1]]}, r'intrinsics must hold \(3, 3\) numbers'),
        ({**GOOD, 'intrinsics': None}, r'intrinsics must hold \(3, 3\) numbers, got None'),
        ({**GOOD, 'image_size': 1280}, r'image_size must hold \(2,\) numbers, got 1280'),
        ({**GOOD, 'image_size': [0, 720]}, 'must be positive'),
        ({**GOOD, 'intrinsics': [[-900, 0, 650], [0, 900, 350], [0, 0, 1]]}, 'must be positive'),
        ({**GOOD, 'intrinsics': [[900, 0, 650], [0, 900, 350], [0, 0, 0]]}, 'the last row 0 0 1'),
        (json.dumps(GOOD).replace('650.0', 'NaN'), 'holds NaN'),
        ({**GOOD, 'image_size': [720, 1280]}, 'another aspect ratio; give the camera of this video .a rotated video'),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(CameraFileError, match=message) as error:
        read_camera(path, (1280, 720))
    assert str(path) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(CameraFileError, match='does not exist; a camera file is JSON'):
        read_camera(tmp_path / 'K.json', (1280, 720))


def seen_hands(count=6, seed=0):
    """Hands at random poses in front of the camera: joints in the camera frame and their pixels."""
    rng = np.random.default_rng(seed)
    flat = template()
    hand = 0.18 * np.column_stack([flat[:, :2], 0.3 * np.cos(5 * flat[:, 1])])  # not planar
    placed = []
    for _ in range(count):
        rotation = cv2.Rodrigues(rng.normal(0, 1, 3))[0]
        placed.append(hand @ rotation.T + rng.uniform([-0.2, -0.1, 0.4], [0.2, 0.1, 0.9]))
    placed = np.stack(placed)[:, None]
    pixels = placed @ np.array(INTRINSICS).T
    return placed, pixels[..., :2] / pixels[..., 2:]


def predictions_of(placed, pixels, **changes):
    values = dict(
        joints=placed - placed[:, :, :1],
        valid=np.ones(placed.shape[:2], bool),
        timestamps=np.arange(len(placed)) / 30,
        hand_side=np.array([1]),
        frame='wrist',
        joints_2d=pixels,
        scale='relative',
    )
    return Predictions(**{**values, **changes})


def test_placing_recovers_known_poses():
    placed, pixels = seen_hands()
    found = place_in_camera(predictions_of(placed, pixels), np.array(INTRINSICS))
    assert (found.frame, found.scale) == ('camera', 'relative') and found.valid.all()
    np.testing.assert_allclose(found.joints, placed, atol=1e-3)
    np.testing.assert_array_equal(found.intrinsics, INTRINSICS)


def test_placing_turns_the_hand_as_a_whole():
    """A network that sees the hand along its own ray gives joints that are turned against the camera's axes."""
    placed, pixels = seen_hands(1)
    turn = cv2.Rodrigues(np.array([0.0, math.radians(12), 0.0]))[0]
    turned = predictions_of((placed - placed[:, :, :1]) @ turn.T, pixels)
    np.testing.assert_allclose(place_in_camera(turned, np.array(INTRINSICS)).joints, placed, atol=1e-3)


def test_a_larger_hand_is_further_away():
    """The size is the estimator's: distances scale with it, directions do not."""
    placed, pixels = seen_hands(3)
    found = place_in_camera(predictions_of(1.2 * (placed - placed[:, :, :1]), pixels), np.array(INTRINSICS))
    np.testing.assert_allclose(found.joints, 1.2 * placed, atol=1e-3)


def test_joints_that_are_missing_do_not_count():
    placed, pixels = seen_hands()
    given = np.ones((len(placed), 1, 21), bool)
    given[:, :, [4, 17]] = False
    found = place_in_camera(predictions_of(placed, pixels, joints_valid=given), np.array(INTRINSICS))
    np.testing.assert_allclose(found.joints[given], placed[given], atol=1e-3)
    assert np.isnan(found.joints[~given]).all()


def test_hands_that_cannot_be_placed_are_not_valid():
    """Three joints are too few."""
    placed, pixels = seen_hands(4)
    given = np.ones((4, 1, 21), bool)
    given[2, 0, 3:] = False
    found = place_in_camera(predictions_of(placed, pixels, joints_valid=given), np.array(INTRINSICS))
    assert found.valid[:, 0].tolist() == [True, True, False, True]
    assert np.isnan(found.joints[2]).all() and np.isnan(found.joints_2d[2]).all()


def test_frames_without_a_hand_stay_so():
    placed, pixels = seen_hands(3)
    valid = np.array([[True], [False], [True]])
    found = place_in_camera(predictions_of(placed, pixels, valid=valid), np.array(INTRINSICS))
    assert found.valid.tolist() == valid.tolist()


def test_what_cannot_be_placed():
    placed, pixels = seen_hands(2)
    for changes in (dict(joints_2d=None), dict(joints=placed, frame='camera')):
        with pytest.raises(ValueError, match="placing hands takes joints_2d and frame 'wrist'"):
            place_in_camera(predictions_of(placed, pixels, **changes), np.array(INTRINSICS))
