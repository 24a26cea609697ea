"""Detections of several cameras are joined to hands: every view, wrong sides, lost and false detections."""

from dataclasses import replace

import numpy as np
import pytest
from annotated_recordings import camera_ring
from view_detections import detect, hands_in_front, owners, scene, with_faults

from handpose.inference.annotation.matching import match_hands
from handpose.inference.annotation.view_hands import ViewHandsError
from handpose.structures.calibration import Calibration, CalibrationError

HANDS = np.arange(2)


def is_right(found, expected=HANDS):
    """Whether all matched detections are of the expected hands."""
    return ((found == expected) | (found == -2)).all()


@pytest.mark.parametrize('cameras', [2, 4, 8])
def test_every_detection_is_matched(cameras):
    _, calibration, hands, owner = scene(cameras=cameras)
    matched = match_hands(hands, calibration)
    assert matched.hand_side.tolist() == [0, 1] and matched.notes == []
    assert (owners(matched, owner) == HANDS).all()
    assert (matched.num_views == cameras).all()
    chosen = np.take_along_axis(hands.joints_2d, matched.detections[..., None, None], 2)
    assert np.array_equal(chosen, matched.joints_2d) and np.array_equal(
        matched.confidence, np.full_like(chosen[..., 0, 0], 0.9)
    )


@pytest.mark.parametrize('cameras', [2, 4, 8])
def test_losses_wrong_sides_and_false_detections(cameras):
    _, calibration, hands, owner = scene(cameras=cameras)
    faulty, owner = with_faults(hands, owner, false=0.05)
    matched = match_hands(faulty, calibration)
    found = owners(matched, owner)
    assert matched.hand_side.tolist() == [0, 1]
    confused = (found == 1 - HANDS).sum()
    assert confused == 0
    # Nearly all true detections are found, and few of the false ones are taken.
    assert (found == HANDS).sum() > 0.98 * (owner >= 0).sum()
    assert (found == -1).sum() < 0.01 * (owner >= 0).sum()


def test_sides_that_a_view_always_mistakes():
    _, calibration, hands, owner = scene()
    right = hands.right.copy()
    right[:, 1] = 1 - right[:, 1]
    matched = match_hands(replace(hands, right=right), calibration)
    assert (owners(matched, owner) == HANDS).all()


def test_without_track_ids_and_with_uncertain_sides():
    _, calibration, hands, owner = scene()
    right = np.where(np.arange(len(hands))[:, None, None] % 3 == 0, hands.right, 0.5)
    matched = match_hands(replace(hands, right=right, track_ids=np.full(owner.shape, -1)), calibration)
    assert (owners(matched, owner) == HANDS).all()


def test_two_right_hands_by_the_networks_are_still_two_hands():
    """One of them uncertainly so: it becomes the left one, and a note says so."""
    _, calibration, hands, owner = scene()
    matched = match_hands(replace(hands, right=np.where(owner == 0, 0.6, 0.95)), calibration)
    assert (owners(matched, owner) == HANDS).all()
    assert any('the side of a hand is uncertain' in note for note in matched.notes)


def test_a_hand_in_one_view_only():
    _, calibration, hands, owner = scene()
    valid = hands.valid & ((owner == 1) | (np.arange(4)[:, None] == 2))
    matched = match_hands(replace(hands, valid=valid), calibration)
    assert matched.num_views[:, 0].tolist() == [1] * 30 and (matched.num_views[:, 1] == 4).all()
    assert is_right(owners(matched, owner))
    assert matched.notes == [
        'the left hand was detected by a single camera in 30 of 30 frames, where it has no position'
    ]


def test_cameras_without_image_and_without_detection():
    _, calibration, hands, owner = scene()
    images = hands.image_valid.copy()
    images[15:, 3] = False
    valid = hands.valid & images[..., None]
    valid[:, 0] = False
    matched = match_hands(replace(hands, valid=valid, image_valid=images), calibration)
    assert is_right(owners(matched, owner)) and (matched.num_views[:15] == 3).all()
    assert matched.notes == [
        'camera cam0 did not detect any hand that another one shows',
        'camera cam3 has no image in 15 of 30 frames',
    ]


def test_one_side_and_no_hand_at_all():
    _, calibration, hands, _ = scene(sides=('left',))
    matched = match_hands(hands, calibration)
    assert matched.hand_side.tolist() == [0] and matched.valid.all()
    matched = match_hands(replace(hands, valid=np.zeros_like(hands.valid)), calibration)
    assert matched.hand_side.tolist() == [1] and not matched.valid.any()
    assert 'no hand was found by any camera in 30 frames' in matched.notes


def test_hands_of_two_people():
    """The two hands with the most evidence stay; the others are left out, and a note counts them.

    One camera sees all four behind each other, and misses one of them.
    """
    sides = 'left', 'right', 'left', 'right'
    calibration = camera_ring(4, radius=1.0)
    joints = hands_in_front(20, sides, places=[-0.1, 0.1, -0.3, 0.3])
    hands, owner = detect(joints, calibration, sides)
    certainty = np.where(owner < 2, np.abs(hands.right), np.where(owner == 2, 0.1, 0.9))
    matched = match_hands(replace(hands, right=certainty), calibration)
    found = owners(matched, owner)
    assert is_right(found) and (found == HANDS).mean() > 0.85
    assert any('further left out' in note for note in matched.notes)


def test_a_tracker_that_jumps_from_one_hand_to_the_other():
    """The numbers of one camera's tracks are exchanged halfway: geometry has the last word."""
    _, calibration, hands, owner = scene()
    ids = hands.track_ids.copy()
    ids[15:, 1] = 1 - ids[15:, 1]
    matched = match_hands(replace(hands, track_ids=ids), calibration)
    assert (owners(matched, owner) == HANDS).all()


def test_refusals():
    _, calibration, hands, _ = scene(frames=2)
    with pytest.raises(ViewHandsError, match=r'of 4 cameras, the calibration has 2 \(cam0, cam1\)'):
        match_hands(hands, calibration.select(['cam0', 'cam1']))
    moving = Calibration([*calibration.cameras[:3], replace(calibration.cameras[3], rig='headset')])
    with pytest.raises(CalibrationError, match='moving rig'):
        match_hands(hands, moving)
