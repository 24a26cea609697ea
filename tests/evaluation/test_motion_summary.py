from dataclasses import replace

import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.evaluation.motion_summary import accelerations, motion_summary


def moved(predictions, path):
    """The first pose of each hand, carried along (T, 3) metres."""
    joints = np.repeat(predictions.joints[:1], len(predictions), 0) + np.asarray(path)[:, None, None]
    return replace(predictions, joints=joints)


def test_a_steady_motion_has_no_acceleration_and_stiff_bones():
    predictions = moved(make_predictions(10), np.arange(10)[:, None] * [0.01, 0.02, 0.0])
    figures = motion_summary(predictions)
    assert figures['acceleration'] == pytest.approx(0, abs=1e-3)
    assert figures['bone_spread'] == pytest.approx(0, abs=1e-3)


def test_a_known_acceleration():
    time = np.arange(10)[:, None]
    figures = motion_summary(moved(make_predictions(10), 0.5 * time**2 * [0.003, 0.004, 0]))
    assert figures['acceleration'] == pytest.approx(5, rel=1e-3)
    assert figures['acceleration_in_hand'] == pytest.approx(0, abs=1e-3)


def test_bones_that_change_their_length():
    predictions = moved(make_predictions(10), np.zeros((10, 3)))
    sizes = np.where(np.arange(10) % 2, 1.1, 0.9)[:, None, None, None]
    assert motion_summary(replace(predictions, joints=predictions.joints * sizes))['bone_spread'] == pytest.approx(10)


def test_only_triples_of_neighbours_count():
    joints = np.zeros((8, 1, 21, 3))
    joints[3] = 0.01  # a jump of 17.3 mm
    numbers, valid = np.arange(8), np.ones((8, 1), bool)
    jump = 10 * np.sqrt(3)
    np.testing.assert_allclose(
        accelerations(joints, numbers, valid)[1:-1, 0], [0, jump, 2 * jump, jump, 0, 0], atol=1e-9
    )
    numbers = np.array([0, 1, 2, 3, 5, 6, 7, 8])  # frame 4 is left out
    known = np.isfinite(accelerations(joints, numbers, valid)[:, 0])
    assert known.tolist() == [False, True, True, False, False, True, True, False]
    valid[1] = False
    assert np.isfinite(accelerations(joints, np.arange(8), valid)[:, 0]).sum() == 4


def test_the_wrist_of_the_wrist_frame_does_not_count():
    predictions = make_predictions(30, frame='wrist')
    figures = motion_summary(predictions)
    assert figures['acceleration'] == pytest.approx(figures['acceleration_in_hand'])


def test_too_short_tracks_tell_nothing():
    figures = motion_summary(make_predictions(1))
    assert np.isnan(figures['acceleration']) and np.isnan(figures['bone_spread'])
