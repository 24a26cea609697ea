"""Calibrations that do not fit are named, with the likely cause."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from annotated_recordings import camera_ring
from view_detections import detect, hands_in_front, scene

from handpose.geometry.rotations import rotvec_to_rotmat
from handpose.inference.annotation.consistency import check_consistency
from handpose.inference.annotation.pair_costs import epipolar_distances, fundamental_matrices
from handpose.structures.calibration import Calibration

LENS = (-0.3, 0.1, 0.0, 0.0)


def one_hand(frames=100, cameras=4, lens=LENS, offset=None, place=(0.0, 0.0, 0.0)):
    """A right hand that moves through the images."""
    calibration = camera_ring(cameras, distortion=lens)
    joints = hands_in_front(frames + 40, ('right',)) + np.array(place)
    joints[..., 0] += 0.1 * np.sin(np.arange(len(joints)) * 0.5)[:, None, None]
    joints[..., 1] += 0.1 * np.cos(np.arange(len(joints)) * 0.37)[:, None, None]
    hands, _ = detect(joints, calibration, ('right',))
    if offset is not None:
        camera, late = offset
        for name in ('joints_2d', 'valid', 'right', 'presence', 'track_ids'):
            array = vars(hands)[name]
            array[:, camera] = np.roll(array[:, camera], late, 0)
    first = slice(20, 20 + frames)
    return calibration, type(hands)(**{name: value[first] for name, value in vars(hands).items()})


def turned(camera, degrees):
    """A camera that was moved after it was calibrated."""
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = rotvec_to_rotmat(torch.tensor([0.0, 0.0, np.radians(degrees)], dtype=torch.float64))
    return replace(camera, extrinsics=motion @ camera.extrinsics)


def test_epipolar_distances_are_zero_for_one_point_and_pixels_otherwise():
    calibration = camera_ring(3)
    point = torch.tensor([[0.02, -0.03, 0.55]], dtype=torch.float64)
    first, second, _ = (camera.project(point)[0].numpy() for camera in calibration)
    matrix = fundamental_matrices(calibration)[0, 1]
    assert epipolar_distances(first, second, matrix) < 1e-9
    line = matrix @ [*first, 1]
    normal = line[:2] / np.linalg.norm(line[:2])
    # Moving one point by 3 px across its line: Sampson's distance shares it between both images.
    distance = epipolar_distances(first, second + 3 * normal, matrix)
    back = matrix.T @ [*(second + 3 * normal), 1]
    share = np.linalg.norm(line[:2]) / np.hypot(np.linalg.norm(line[:2]), np.linalg.norm(back[:2]))
    assert distance == pytest.approx(3 * share)
    assert not fundamental_matrices(calibration)[1, 1].any()


def test_a_right_calibration_fits():
    _, calibration, hands, _ = scene()
    found = check_consistency(hands, calibration)
    assert found.fits and found.messages == [] and found.notes == [] and found.worst_camera == -1
    assert np.nanmax(found.pair_errors) < 0.03 and np.isnan(found.pair_errors.diagonal()).all()
    assert (found.camera_errors < 4).all()


def test_a_camera_that_was_moved_is_named():
    calibration, hands = one_hand()
    wrong = Calibration([turned(camera, 25 * (k == 2)) for k, camera in enumerate(calibration)])
    found = check_consistency(hands, wrong)
    assert not found.fits and found.worst_camera == 2
    assert 'look at cam2 first' in found.messages[0] and 'does not fit' in found.messages[0]
    assert found.camera_errors.argmax() == 2


def test_two_cameras_of_another_recording():
    calibration, hands = one_hand(cameras=2)
    other = camera_ring(6, distortion=LENS)
    wrong = Calibration([calibration.cameras[0], replace(turned(other.cameras[2], 20), name='cam1')])
    found = check_consistency(hands, wrong)
    assert not found.fits and found.worst_camera == -1
    assert any('cannot be told which of them is wrong' in note for note in found.notes)


def test_mirrored_images():
    calibration, hands = one_hand()
    joints = hands.joints_2d.copy()
    joints[:, 1, ..., 0] = calibration.cameras[1].image_size[0] - 1 - joints[:, 1, ..., 0]
    found = check_consistency(replace(hands, joints_2d=joints), calibration)
    assert found.worst_camera == 1
    assert any('camera cam1 falls' in text and 'mirrored left to right' in text for text in found.messages)


def test_images_that_are_undistorted_already():
    calibration, hands = one_hand(lens=(-0.9, 0.5, 0.0, 0.0), place=(0.0, 0.2, 0.0))  # away from the centre
    straight = hands.joints_2d.copy()
    straight[:, 3] = calibration.cameras[3].undistort(torch.from_numpy(straight[:, 3])).numpy()
    found = check_consistency(replace(hands, joints_2d=straight), calibration)
    suggested = [text for text in found.messages if 'without its lens distortion' in text]
    assert not found.fits and found.worst_camera == 3
    assert len(suggested) == 1 and 'camera cam3 falls' in suggested[0]


@pytest.mark.parametrize('cameras', [2, 3])
def test_videos_out_of_step(cameras):
    calibration, hands = one_hand(cameras=cameras, offset=(1, 6))
    found = check_consistency(hands, calibration, max_offset=15)
    assert found.time_offsets[1] == pytest.approx(6, abs=0.3)
    assert any('camera cam1 is 6.' in text or 'camera cam1 is 5.' in text for text in found.messages)


def test_cameras_that_never_see_the_hand_together():
    calibration, hands = one_hand(cameras=3)
    valid = hands.valid.copy()
    valid[:, 2] = False
    found = check_consistency(replace(hands, valid=valid), calibration)
    assert found.fits and np.isnan(found.camera_errors[2])
    assert len(found.notes) == 1 and 'camera cam2' in found.notes[0] and 'cannot be told' in found.notes[0]
