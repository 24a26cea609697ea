import json
import os
from pathlib import Path

import numpy as np
import pytest
from motions import hand_joints
from scipy.spatial.transform import Rotation

from handpose.datasets import DatasetError
from handpose.datasets.io.plausibility import (
    check_extrinsics,
    check_hand,
    check_hand_parameters,
    check_intrinsics,
    check_view,
    plausible_joints,
    possible_parameters,
)
from handpose.datasets.io.pose_recordings import RecordedHands, has_step, usable_fits, without_other_rates

HANDS = hand_joints(10, 1, 0)  # (10, 21, 3) metres
VALID = np.ones((10, 21), bool)
CAMERA = np.array([[600.0, 0, 310], [0, 602, 245], [0, 0, 1]])
POSE = np.eye(4)
POSE[:3, :3], POSE[:3, 3] = Rotation.from_rotvec([0.3, -0.5, 1.0]).as_matrix(), (0.1, 0.2, 0.7)


def test_hands_of_possible_size_pass_unchanged():
    assert plausible_joints(HANDS, VALID, 'x').all()
    for scale in (0.6, 1.4):  # a small child, and a hand larger than any
        assert plausible_joints(HANDS * scale, VALID, 'x').all()
    assert plausible_joints(np.full((3, 21, 3), np.nan), np.zeros((3, 21), bool), 'x').sum() == 0


@pytest.mark.parametrize(
    ('scale', 'unit', 'sentence'),
    [
        (1000, 'metres', 'must hold metres, the numbers look like millimetres'),
        (100, 'metres', 'must hold metres, the numbers look like centimetres'),
        (1e-3, 'millimetres', 'must hold millimetres, the numbers look like metres'),
        (0, 'metres', 'no unit makes that a hand'),
    ],
)
def test_another_unit_is_named(scale, unit, sentence):
    with pytest.raises(DatasetError, match=f'^here: .*{sentence}'):
        plausible_joints(HANDS * scale, VALID, 'here', unit)


def test_single_wrong_hands_and_joints_are_left_out():
    joints = HANDS.copy()
    joints[3] *= 3
    joints[7, 4] += 0.5
    usable = plausible_joints(joints, VALID, 'x')
    expected = VALID.copy()
    expected[3], expected[7, 4] = False, False
    assert (usable == expected).all()


@pytest.mark.parametrize(
    ('value', 'sentence'), [(np.nan, 'NaN or infinity'), (np.inf, 'NaN or infinity'), (1e20, 'm from the origin')]
)
def test_numbers_that_are_no_place(value, sentence):
    joints = HANDS.copy()
    joints[2, 5, 1] = value
    with pytest.raises(DatasetError, match=sentence):
        plausible_joints(joints, VALID, 'x')
    with pytest.raises(DatasetError, match=sentence):
        check_hand(joints[2], 'x')
    valid = VALID.copy()
    valid[2, 5] = False  # what is not annotated may be anything
    assert (plausible_joints(joints, valid, 'x') == valid).all()


def test_a_single_hand_out_of_its_own_reach_is_refused():
    check_hand(HANDS[0], 'x')
    joints = HANDS[0].copy()
    joints[8] += 0.5
    with pytest.raises(DatasetError, match=r'joint 8 is 0\.\d+ m from the wrist'):
        check_hand(joints, 'x')


def test_hand_parameters():
    pose, shape, transl = np.zeros((4, 1, 16, 3)), np.ones((4, 1, 10)), np.ones((4, 1, 3))
    check_hand_parameters(pose, shape, transl, 'x')
    pose[0, 0, 3, 1], shape[1, 0, 2], transl[2, 0, 0] = np.nan, 1e9, 1000
    assert possible_parameters(pose, shape, transl)[:, 0].tolist() == [False, False, False, True]
    for values, sentence in (
        ((pose, None, None), 'pose'),
        ((None, shape, None), 'betas'),
        ((None, None, transl), 'tr'),
    ):
        with pytest.raises(DatasetError, match=sentence):
            check_hand_parameters(*values, 'x')


def intrinsics(**changes):
    matrix = CAMERA.copy()
    for name, value in changes.items():
        matrix[{'fx': (0, 0), 'fy': (1, 1), 'cx': (0, 2), 'skew': (0, 1), 'corner': (2, 2)}[name]] = value
    return matrix


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'fx': 0}, 'focal lengths must be positive'),
        ({'fx': -600, 'fy': -602}, 'focal lengths must be positive'),
        ({'fx': 6000}, 'must be alike'),
        ({'fx': np.nan}, 'intrinsics must be'),
        ({'skew': 5}, 'intrinsics must be'),
        ({'corner': 0}, 'intrinsics must be'),
        ({'fx': 0.6, 'fy': 0.602}, 'does not fit images of'),
        ({'cx': 900}, 'principal point .* is not in the image of 640x480'),
        ({'cx': -5}, 'principal point .* is not in the image of 640x480'),
    ],
)
def test_intrinsics(changes, sentence):
    check_intrinsics(np.stack([CAMERA] * 3), 'x', (640, 480))
    check_intrinsics(CAMERA, 'x')
    with pytest.raises(DatasetError, match=sentence):
        check_intrinsics(np.stack([CAMERA, intrinsics(**changes)]), 'x', (640, 480))


@pytest.mark.parametrize(
    ('edit', 'sentence'),
    [
        (lambda m: m.__setitem__((slice(3), slice(3)), 1.02 * m[:3, :3]), 'hold no rotation'),
        (lambda m: m.__setitem__((0, slice(3)), m[1, :3]), 'hold no rotation'),
        (lambda m: m.__setitem__(0, -m[0]), 'mirror space'),
        (lambda m: m.__setitem__((slice(3), 3), 700), 'm from the origin'),
        (lambda m: m.__setitem__((0, 0), np.nan), 'must be finite'),
        (lambda m: m.__setitem__(slice(None), m.T.copy()), r'end with the row \(0, 0, 0, 1\)'),
    ],
)
def test_extrinsics(edit, sentence):
    check_extrinsics(POSE.round(3), 'x')
    matrix = POSE.copy()
    edit(matrix)
    with pytest.raises(DatasetError, match=sentence):
        check_extrinsics(np.stack([POSE, matrix]), 'x')


def test_view():
    wrists = np.array([[0.1, 0.2, 0.7]] * 9 + [[0, 0, -1.0]])
    check_view(wrists, 'x')  # one frame behind the camera may be an error of the label
    check_view(np.zeros((0, 3)), 'x')
    with pytest.raises(DatasetError, match=r'100% of 10 hands are behind the camera.*are the extrinsics inverted'):
        check_view(-np.abs(wrists), 'x')
    with pytest.raises(DatasetError, match='in another unit'):
        check_view(1000 * wrists, 'x')


def fits(wrist_error):
    wrist = HANDS[:, None, 0] + np.array(wrist_error)[:, None, None] * (1.0, 0, 0)
    return RecordedHands(np.zeros((10, 1, 16, 3)), np.zeros((10, 1, 10)), wrist, np.ones((10, 1), bool))


def test_fits_are_judged_by_frame():
    error = np.zeros(10)
    error[[2, 5]] = 0.02, 0.3
    hands = fits(error)
    hands.shape[7, 0, 0] = np.nan
    found = usable_fits(hands, HANDS[:, None], VALID[:, None], 'x')
    assert np.flatnonzero(~found.valid[:, 0]).tolist() == [5, 7]
    assert np.isfinite(found.shape).all() and (found.wrist[[5, 7]] == 0).all()
    np.testing.assert_array_equal(found.wrist[[0, 2]], hands.wrist[[0, 2]])
    with pytest.raises(DatasetError, match=r"^x: the hand model's wrist is 0\.3 m from the annotated one"):
        usable_fits(fits(np.full(10, 0.3)), HANDS[:, None], VALID[:, None], 'x')
    hands.shape[:] = np.nan
    with pytest.raises(DatasetError, match=r'^x: the shape \(betas\) must be finite'):
        usable_fits(hands, HANDS[:, None], VALID[:, None], 'x')


def test_sequences_of_another_frame_rate_are_left_out():
    sequences = {'30': np.array([3, 6, 12, 15]), '90': np.arange(9), '5': np.arange(0, 90, 18), 'one': np.array([7])}
    assert without_other_rates(sequences, 3, 'x') == ['30', '5', 'one']  # at 5 a second all times are right still
    assert without_other_rates(sequences, 18, 'x') == ['5', 'one']
    assert has_step(np.array([0, 3, 6, 8, 11, 14]), 3)
    with pytest.raises(DatasetError, match='x: the frame numbers of 1 of 1 sequences do not rise by multiples of 3'):
        without_other_rates({'90': np.arange(9)}, 3, 'x')


REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', 'unset'))


@pytest.mark.skipif(not (REAL / 'dexycb_cameras').is_dir(), reason='HANDPOSE_REAL_DATA names no folder with real data')
def test_real_cameras():
    for serial, camera in json.loads((REAL / 'dexycb_cameras' / 'cameras.json').read_text()).items():
        check_intrinsics(np.array(camera['K']), serial, (640, 480))
        check_extrinsics(np.array(camera['cam_to_tag_opencv']), serial)


@pytest.mark.skipif(not (REAL / 'dexycb_motion').is_dir(), reason='HANDPOSE_REAL_DATA names no folder with real data')
def test_real_hands():
    """No hand of DexYCB's thousand sequences is refused, and in millimetres all are."""
    with np.load(REAL / 'dexycb_motion' / 'dexycb_motion.npz') as found:
        joints, valid = found['joints'], np.repeat(found['frame_valid'][:, None], 21, 1)
    assert valid.sum() == 63548 * 21
    assert (plausible_joints(joints, valid, 'x') == valid).all()
    with pytest.raises(DatasetError, match='look like millimetres'):
        plausible_joints(joints[valid.all(1)][:100] * 1000, VALID[:1].repeat(100, 0), 'x')
