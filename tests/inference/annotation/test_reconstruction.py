"""Joints from matched detections: exact without errors, near the truth with faults, outliers rejected, gaps marked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from view_detections import detect, hands_in_front, scene, with_faults

from handpose.inference.annotation.matching import match_hands
from handpose.inference.annotation.reconstruction import ReconstructionOptions, median_lengths, reconstruct

PLAIN = ReconstructionOptions(hold_bone_lengths=False)


def errors(result, joints):
    """Metres, of valid joints."""
    return np.linalg.norm(result.joints_3d - joints, axis=-1)[result.valid]


@pytest.mark.parametrize('cameras', [2, 5])
def test_exact_detections_give_the_truth(cameras):
    joints, calibration, hands, _ = scene(frames=12, cameras=cameras, error=0.0)
    matched = match_hands(hands, calibration)
    for options in (PLAIN, ReconstructionOptions()):
        result = reconstruct(matched, calibration, options=options)
        assert result.valid.all() and result.views_used.all() and result.notes == []
        assert errors(result, joints).max() < 1e-5
        assert result.residuals.shape == (12, cameras, 2, 21) and result.residuals.max() < 0.01
        np.testing.assert_allclose(result.bone_lengths, median_lengths(joints), atol=1e-5)
        assert result.bone_length_spread().max() < 1e-3
        assert (result.num_views == cameras).all() and not result.interpolated.any()


def test_residuals_are_pixels_of_the_cameras_own_images():
    _, calibration, hands, _ = scene(frames=4, cameras=3)
    matched = match_hands(hands, calibration)
    result = reconstruct(matched, calibration, options=PLAIN)
    for k, camera in enumerate(calibration):
        seen = camera.project(torch.from_numpy(result.joints_3d)).numpy()
        expected = np.linalg.norm(seen - matched.joints_2d[:, k], axis=-1)
        np.testing.assert_allclose(result.residuals[:, k], expected)
    by_frame = result.residuals.transpose(0, 2, 1, 3).reshape(4, 2, -1)
    assert result.frame_errors().shape == (4, 2)
    assert (result.frame_errors() <= by_frame.max(-1)).all() and (result.frame_errors() >= by_frame.min(-1)).all()


@pytest.mark.parametrize('cameras', [2, 4, 8])
def test_faults_cost_little(cameras):
    """A fifth of the detections lost, 5 % wrong sides, false ones: the error stays below 1.3 times."""
    joints, calibration, hands, owner = scene(frames=45, cameras=cameras)
    clean = reconstruct(match_hands(hands, calibration), calibration)
    faulty, _ = with_faults(hands, owner, false=0.03)
    found = reconstruct(match_hands(faulty, calibration), calibration)
    reference, error = errors(clean, joints), errors(found, joints)
    assert np.median(reference) < 0.004
    assert np.median(error) < 1.3 * np.median(reference)
    assert np.nanmedian(found.residuals) < 1.3 * np.nanmedian(clean.residuals)
    assert (error < 0.03).mean() > 0.99
    # Two cameras see a hand together in 64 % of the frames, four nearly always.
    assert found.valid.mean() > (0.58 if cameras == 2 else 0.95)


def test_bone_lengths_are_held_and_improve_the_joints():
    joints, calibration, hands, _ = scene(frames=30, cameras=2, error=0.02)
    matched = match_hands(hands, calibration)
    plain, held = (reconstruct(matched, calibration, options=options) for options in (PLAIN, None))
    assert np.nanmean(plain.bone_length_spread()) > 0.1 and np.nanmean(held.bone_length_spread()) < 0.04
    assert np.median(errors(held, joints)) < 0.95 * np.median(errors(plain, joints))
    np.testing.assert_allclose(held.triangulated, plain.joints_3d)


def test_views_that_disagree_are_left_out():
    joints, calibration, hands, _ = scene(frames=8, cameras=5, sides=('right',))
    moved = hands.joints_2d.copy()
    moved[3, 1, 0, 8] += 60.0
    matched = match_hands(replace(hands, joints_2d=moved), calibration)
    result = reconstruct(matched, calibration)
    assert not result.views_used[3, 1, 0, 8] and result.views_used.sum() == 8 * 5 * 21 - 1
    assert result.residuals[3, 1, 0, 8] > 50 and errors(result, joints).max() < 0.02


def test_joints_that_no_hand_can_have_are_rejected():
    """Both views agree on a place that is wrong: only bones and time tell."""
    joints, calibration, _, _ = scene(frames=20, cameras=2, sides=('right',), error=0.0)
    wrong = joints.copy()
    wrong[5, 0, 8] += [0.0, 0.0, 0.09]  # a finger of three times its length
    wrong[11, 0] += [0.15, 0.0, 0.0]  # the whole hand is elsewhere for one frame
    hands, _ = detect(wrong, calibration, ('right',), error=0.0)
    result = reconstruct(match_hands(hands, calibration), calibration)
    assert not result.valid[5, 0, 8] and result.valid[5, 0].sum() == 20 and not result.valid[11].any()
    assert result.valid.sum() == 20 * 21 - 22 and np.isnan(result.joints_3d[11]).all()
    assert any('22 of 420 triangulated joints' in note for note in result.notes)


def test_gaps_are_filled_on_request_and_never_valid():
    joints, calibration, hands, _ = scene(frames=20, cameras=2, sides=('right',), error=0.0)
    valid = hands.valid.copy()
    valid[5:7, 0], valid[12:18, 1] = False, False
    matched = match_hands(replace(hands, valid=valid), calibration)
    plain = reconstruct(matched, calibration)
    filled = reconstruct(matched, calibration, options=ReconstructionOptions(interpolate=0.1))
    assert not plain.interpolated.any() and np.array_equal(plain.valid, filled.valid)
    assert filled.interpolated.any((1, 2)).nonzero()[0].tolist() == [5, 6]
    expected = joints[4] + (joints[7] - joints[4]) / 3
    np.testing.assert_allclose(filled.joints_3d[5], expected, atol=1e-4)
    assert np.isnan(filled.joints_3d[12:18]).all() and np.isnan(filled.residuals[5]).all()


def test_frame_rates_and_sizes_of_images_do_not_matter():
    """Slow recordings of fast hands: what is a jump depends on the time between frames."""
    joints = hands_in_front(120)[::12]
    _, calibration, _, _ = scene(frames=1, cameras=4)
    large = type(calibration)([camera.resized((1920, 1440)) for camera in calibration])
    hands, _ = detect(joints, large)
    result = reconstruct(match_hands(hands, large), large, timestamps=np.arange(10) * 0.4)
    assert result.valid.mean() > 0.99 and np.median(errors(result, joints)) < 0.004


def test_no_hand():
    _, calibration, hands, _ = scene(frames=5, cameras=2)
    matched = match_hands(replace(hands, valid=np.zeros_like(hands.valid)), calibration)
    result = reconstruct(matched, calibration)
    assert not result.valid.any() and np.isnan(result.joints_3d).all() and np.isnan(result.bone_lengths).all()
