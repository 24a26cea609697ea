"""The fit of a hand model to all views: exact data, noise, lost views, windows, other hand models, bad input."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from viewed_recordings import mean_error, viewed_recording

from handpose.hands import ProceduralHand
from handpose.hands.model import HandModel
from handpose.inference.annotation.hand_fit import FitOptions, fit_recording
from handpose.inference.annotation.recording_source import AnnotationError
from handpose.structures.annotated_recording import RecordingError

EXACT = FitOptions(own_joints=False, joint_tolerance=None)


def model_joints(fitted, model=None):
    """(T, H, 21, 3) metres of the hand model with the fitted parameters."""
    model = ProceduralHand() if model is None else model
    values = (fitted.hand_pose, fitted.hand_shape, fitted.hand_transl)
    with torch.no_grad():
        return model(*map(torch.from_numpy, values), torch.from_numpy(fitted.hand_side)).joints.numpy()


def test_exact_detections_of_two_hands_behind_a_lens():
    """Both hands have one shape; the parameters give the joints."""
    truth = viewed_recording(20, sides=(0, 1), lens=(0.1, -0.05, 0.001, 0.002, 0.01))
    fitted = fit_recording(truth.recording, options=EXACT)
    assert fitted.joints_valid.all() and fitted.hand_pose_valid.all() and fitted.hand_model == 'procedural-1'
    assert mean_error(fitted, truth.joints) < 0.8 and np.nanmedian(fitted.reprojection_errors()) < 0.6
    np.testing.assert_allclose(model_joints(fitted), fitted.joints_3d, atol=1e-5)
    assert (fitted.hand_shape[0] == fitted.hand_shape[1]).all()
    # The size and the fingers' lengths; thickness moves no joint.
    np.testing.assert_allclose(fitted.hand_shape[0, [0, 2]], truth.shape[[0, 2]], atol=0.25)
    assert fitted.bone_length_spread().max() < 1e-4
    assert 'fitted to all views' in fitted.method and fitted.method.startswith('triangulated; ')


@pytest.mark.parametrize('cameras', [2, 4])
def test_less_error_than_triangulation(cameras):
    """Detections with a noise of 6 % of the hand, of which a fifth is lost."""
    truth = viewed_recording(40, cameras, noise=0.011, losses=0.2)
    before, fitted = truth.recording, fit_recording(truth.recording)
    assert mean_error(fitted, truth.joints, before.joints_valid) < 0.7 * mean_error(before, truth.joints)
    assert fitted.joints_valid.mean() >= before.joints_valid.mean()
    assert fitted.bone_length_spread().mean() < 0.04


def test_wrong_detections_do_not_pull():
    right, wrong = (viewed_recording(30, 4, noise=0.003, outliers=share) for share in (0.0, 0.1))
    errors = [mean_error(fit_recording(truth.recording), truth.joints) for truth in (right, wrong)]
    assert errors[1] < 1.3 * errors[0]


def test_frames_of_one_view_and_of_none():
    seen = np.ones((40, 3, 1), bool)
    seen[10:16, :2] = False  # one view is left
    seen[22:25] = False  # none
    truth = viewed_recording(40, noise=0.002, seen=seen)
    fitted = fit_recording(truth.recording)
    assert fitted.hand_pose_valid[:, 0].tolist() == [t not in (22, 23, 24) for t in range(40)]
    assert not truth.recording.joints_valid[10:16].any()
    error = 1000 * np.linalg.norm(fitted.joints_3d - truth.joints, axis=-1).mean((1, 2))
    assert error[10:16].max() < 12 and np.nanmedian(error) < 3
    assert np.isnan(fitted.joints_3d[22:25]).all()


def test_a_passage_that_only_one_camera_saw_is_not_fitted():
    seen = np.ones((40, 2, 1), bool)
    seen[10:30] = False
    seen[30:, 1] = False
    truth = viewed_recording(40, 2, seen=seen)
    fitted = fit_recording(truth.recording, options=FitOptions(longest_gap=0.3))
    assert fitted.hand_pose_valid[:10].all() and not fitted.hand_pose_valid[10:].any()
    assert any('in 10 frames were not fitted' in note for note in fitted.notes)


def test_windows_join():
    """Poses in windows of 26 frames are those of one window; progress counts every frame once."""
    truth, steps = viewed_recording(50, noise=0.003), []
    whole = fit_recording(truth.recording)
    options = FitOptions(window=26, overlap=9)
    parts = fit_recording(truth.recording, options=options, progress=lambda *step: steps.append(step))
    assert steps[-1] == (50, 50) and steps[0][0] == 17 and len(steps) > 2
    distance = 1000 * np.linalg.norm(parts.joints_3d - whole.joints_3d, axis=-1)
    assert distance.mean() < 0.1 and np.quantile(distance, 0.99) < 1.0


class Soft(HandModel):
    """The procedural hand with fingertips that a bent joint moves, as the mesh of MANO has."""

    def __init__(self):
        hand = ProceduralHand()
        mean = torch.zeros(45)
        super().__init__('soft', hand.faces, mean, torch.eye(45), hand.tips_by_side, hand.num_vertices)
        self.hand = hand

    def pose_template(self, rotmats, hand_shape, hand_side):
        vertices, joints = self.hand.pose_template(rotmats, hand_shape, hand_side)
        bend = 1 - rotmats[:, 1:].diagonal(dim1=-2, dim2=-1).sum(-1).mean(1) / 3
        return vertices + 0.03 * bend[:, None, None], joints

    def rest_joints(self, hand_shape, hand_side):
        return self.hand.rest_joints(hand_shape, hand_side)


def test_any_hand_model():
    """Its fingertips follow no bone exactly; the fit is still its own."""
    model = Soft()
    truth = viewed_recording(12, sides=(0, 1), model=model)
    fitted = fit_recording(truth.recording, model, EXACT)
    assert fitted.hand_model == 'soft' and mean_error(fitted, truth.joints) < 0.5
    np.testing.assert_allclose(model_joints(fitted, model), fitted.joints_3d, atol=3e-4)
    other = fit_recording(truth.recording, options=EXACT)
    assert mean_error(fitted, truth.joints) < 0.7 * mean_error(other, truth.joints)


def test_joints_of_the_persons_own():
    """A detector that takes other places for the knuckles: only a displaced skeleton fits, and it is not the model."""
    truth = viewed_recording(30, noise=0.001)
    shifted = truth.joints.copy()
    palm = shifted[:, :, [5, 9, 13]] - shifted[:, :, :1]
    shifted[:, :, [5, 9, 13]] = shifted[:, :, :1] + 0.93 * palm
    pixels = np.stack([c.project(torch.from_numpy(shifted)).numpy() for c in truth.recording.calibration], 1)
    recording = replace(truth.recording, joints_2d=pixels, triangulated=shifted)
    own, model = (fit_recording(recording, options=FitOptions(own, None)) for own in (True, False))
    assert mean_error(own, shifted) < 0.7 * mean_error(model, shifted)
    assert own.bone_length_spread().max() < 1e-4
    assert 1000 * np.linalg.norm(model_joints(own) - own.joints_3d, axis=-1).mean() > 1


def test_joints_of_other_steps_can_be_fitted():
    """Better joints than the detections: they decide, and the detections stay as they were."""
    truth = viewed_recording(20, noise=0.011)
    better = replace(truth.recording, joints_3d=truth.joints, joints_valid=np.ones((20, 1, 21), bool), method='network')
    fitted = fit_recording(better, options=FitOptions(target='joints'))
    assert mean_error(fitted, truth.joints) < 1 < mean_error(fit_recording(better), truth.joints)
    assert fitted.method.endswith('fitted to these joints') and fitted.method.startswith('network; ')
    np.testing.assert_array_equal(fitted.joints_2d, truth.recording.joints_2d)
    np.testing.assert_array_equal(fitted.triangulated, truth.recording.triangulated)


def test_bad_input():
    truth = viewed_recording(8)
    doubled = truth.recording.triangulated * 4
    with pytest.raises(AnnotationError, match=r'are 3\d\d(\.\d)? mm long .* in another unit'):
        fit_recording(replace(truth.recording, triangulated=doubled))
    with pytest.raises(RecordingError, match='two cameras must see a hand at once'):
        fit_recording(replace(truth.recording, triangulated_valid=np.zeros((8, 1, 21), bool)))
    few = truth.recording.triangulated_valid.copy()
    few[..., 10:] = False
    few[..., 1:9] = False
    with pytest.raises(RecordingError, match='no hand is seen by two cameras in a frame with 8 triangulated joints'):
        fit_recording(replace(truth.recording, triangulated_valid=few))
    with pytest.raises(ValueError, match='longer than twice the overlap'):
        FitOptions(window=40, overlap=20)
    with pytest.raises(ValueError, match='target must be one of detections, joints'):
        FitOptions(target='joint')
    with pytest.raises(ValueError, match='must be positive or None'):
        FitOptions(acceleration=0.0)
