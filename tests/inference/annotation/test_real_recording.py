"""A real recording by two cameras: errors, lengths of bones, and what lost detections and wrong sides cost."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stereo_video import stereo_calibration, stereo_records
from view_detections import with_faults
from zoo_files import needs_opencv, network_or_skip

from handpose.inference.annotation.consistency import check_consistency
from handpose.inference.annotation.matching import match_hands
from handpose.inference.annotation.reconstruction import reconstruct
from handpose.inference.annotation.view_hands import ViewHands
from handpose.inference.session import Session
from handpose.inference.tracking.landmark_estimator import LandmarkEstimator
from handpose.inference.tracking.palm_detector import PalmDetector
from handpose.structures.calibration import Calibration

FOLDER = Path(os.environ.get('HANDPOSE_REAL_DATA', 'unset')) / 'stereo_hand_video'
FRAMES = 52
pytestmark = [
    needs_opencv,
    pytest.mark.skipif(
        not FOLDER.is_dir(), reason='HANDPOSE_REAL_DATA names no folder that contains stereo_hand_video'
    ),
]


@pytest.fixture(scope='module')
def hands():
    detector = PalmDetector(network_or_skip('mediapipe_palm_full'))
    session = Session(detector, LandmarkEstimator(network_or_skip('mediapipe_hand_full')))
    return ViewHands.from_track_records(stereo_records(FOLDER, session, FRAMES))


def test_errors_and_bone_lengths(hands):
    """The detector finds the hand from frame 12 on in the first video."""
    calibration = stereo_calibration(FOLDER)
    matched = match_hands(hands, calibration)
    result = reconstruct(matched, calibration)
    assert matched.hand_side.tolist() == [1] and (matched.num_views[12:] == 2).all()
    assert result.valid[12:].any(-1).all() and result.valid[12:].mean() > 0.95
    assert np.nanmedian(result.residuals) < 2.0
    assert result.bone_length_spread().mean() < 0.04


def test_lost_detections_and_wrong_sides(hands):
    calibration = stereo_calibration(FOLDER)
    clean = reconstruct(match_hands(hands, calibration), calibration)
    faulty, _ = with_faults(hands, np.zeros(hands.valid.shape, int), seed=1)
    matched = match_hands(faulty, calibration)
    found = reconstruct(matched, calibration)
    assert matched.hand_side.tolist() == [1]
    assert (matched.valid == faulty.valid).all()
    assert np.nanmedian(found.residuals) < 1.3 * np.nanmedian(clean.residuals)
    both = clean.valid & found.valid
    moved = np.linalg.norm(found.joints_3d - clean.joints_3d, axis=-1)[both]
    assert both.sum() > 0.55 * clean.valid.sum() and np.median(moved) < 0.002


def test_the_calibration_fits_and_a_wrong_one_does_not(hands):
    calibration = stereo_calibration(FOLDER)
    assert check_consistency(hands, calibration).fits
    exchanged = [
        replace(camera, extrinsics=other.extrinsics)
        for camera, other in zip(calibration, [*calibration][::-1], strict=True)
    ]
    found = check_consistency(hands, Calibration(exchanged))
    assert not found.fits and 'does not fit the recording' in found.messages[0]
