"""Hands that the tracker missed and that a look at the right place finds."""

import numpy as np
import pytest
import torch
from annotated_recordings import camera_ring
from predicted_hands import hand_motion
from scripted_hands import ScriptedDetector, number_of, numbered_image

from handpose.inference.annotation.matching import MatchedHands
from handpose.inference.annotation.recording_source import RecordingSource
from handpose.inference.annotation.second_look import look_again
from handpose.inference.session import Session
from handpose.inference.tracking.interfaces import EstimatorInfo, HandEstimate
from handpose.structures import Calibration
from handpose.video import VideoWriter

SIZE = (640, 480)
FRAMES = 40


def moving_hand():
    """(T, 1, 21, 3) metres: a right hand 0.5 m in front of the first camera."""
    return hand_motion(FRAMES, 'right', 0)[:, None].astype(np.float64)


class ProjectedHands:
    """Finds a hand in a region if its true joints in that camera lie in it."""

    info = EstimatorInfo('the truth')

    def __init__(self, truth, blind=()):
        self.truth, self.blind, self.calls, self.right = truth, set(blind), 0, 0.9

    def estimate(self, frame, regions):
        return [self._estimate(number_of(frame.image), region) for region in regions]

    def _estimate(self, number, region):
        self.calls += 1
        points = self.truth[number % FRAMES, number // FRAMES]
        inside = np.abs(points.mean(0) - [region.x, region.y]).max() < region.size / 2
        presence = 0.95 if inside and number not in self.blind else 0.1
        return HandEstimate(points.astype(np.float32), np.zeros((21, 3), np.float32), presence, self.right)

    def reset(self, intrinsics=None):
        pass

    def context_start(self, times):
        return len(times)


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    """Two cameras; the images of the second one have the numbers from `FRAMES` on."""
    folder = tmp_path_factory.mktemp('scene')
    joints = moving_hand()
    calibration = Calibration(camera_ring(6).cameras[:2])
    truth = torch.stack([c.project(torch.from_numpy(joints[:, 0])) for c in calibration], 1).numpy()
    for k in range(2):
        numbers = range(k * FRAMES, (k + 1) * FRAMES)
        with VideoWriter(folder / f'cam{k}.avi', 30.0) as writer:
            for number in numbers:
                writer.write(numbered_image(number, SIZE), None)
    source = RecordingSource(folder, calibration, [folder / f'cam{k}.avi' for k in range(2)], None, [])
    return source, joints, truth


def run(scene, valid, known, **options):
    """Looks again, with joints in 3D known in some frames."""
    source, joints, truth = scene
    estimator = ProjectedHands(truth, **options)
    session = Session(ScriptedDetector(lambda number: []), estimator)
    expected = np.where(known[:, None, None, None], joints, np.nan)
    indices = np.tile(np.arange(FRAMES)[:, None], 2)
    return look_again(source, indices, expected, matched_hands(truth, valid), session), estimator


def matched_hands(truth, valid):
    """The true joints, where they were detected."""
    valid = valid[..., None]
    joints = np.where(valid[..., None, None], truth[:, :, None], np.nan).astype(np.float32)
    images = np.ones(valid.shape[:2], bool)
    return MatchedHands(np.array([1]), joints, valid, valid * np.float32(0.9), np.where(valid, 0, -1), images)


def test_a_gap_in_the_middle_is_filled_by_projection(scene):
    valid, known = np.ones((FRAMES, 2), bool), np.ones(FRAMES, bool)
    valid[10:20, 1] = False
    found, estimator = run(scene, valid, known)
    assert found.valid.all() and estimator.calls == 10
    np.testing.assert_allclose(found.joints_2d[:, :, 0], scene[2], atol=1e-3)
    assert found.confidence[12, 1, 0] == np.float32(0.95) and found.confidence[12, 0, 0] == np.float32(0.9)


def test_a_late_start_is_filled_backward(scene):
    """No joints in 3D before frame 12: the hand is followed backward from there."""
    valid, known = np.ones((FRAMES, 2), bool), np.ones(FRAMES, bool)
    valid[:12, 0] = known[:12] = False
    found, _ = run(scene, valid, known)
    assert found.valid.all()
    found, _ = run(scene, valid, known, blind=[5])
    assert np.flatnonzero(~found.valid[:, 0, 0]).tolist() == [0, 1, 2, 3, 4, 5]


def test_what_is_not_the_hand_is_left_out(scene):
    valid = np.ones((FRAMES, 2), bool)
    valid[10:20, 1] = False
    source, joints, truth = scene
    estimator = ProjectedHands(truth)
    estimator.right = 0.1
    views = matched_hands(truth, valid)
    session = Session(ScriptedDetector(lambda number: []), estimator)
    indices = np.tile(np.arange(FRAMES)[:, None], 2)
    found = look_again(source, indices, joints, views, session)
    assert (found.valid == views.valid).all() and estimator.calls == 20  # forward and backward
    indices[10:20, 1] = -1
    look_again(source, indices, joints, views, session)
    assert estimator.calls == 20
