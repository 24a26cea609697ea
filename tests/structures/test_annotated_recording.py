"""`AnnotatedRecording` and the recording file."""

import json

import cv2
import numpy as np
import pytest
from annotated_recordings import make_recording

from handpose.structures import PredictionsError, load_predictions, save_predictions
from handpose.structures.annotated_recording import AnnotatedRecording, RecordingError
from handpose.structures.recording_file import (
    is_recording_file,
    load_annotated_recording,
    save_annotated_recording,
)

LENS = (0.1, -0.05, 0.001, 0.002, 0.01)


def fitted(frames=12, hands=2):
    return dict(
        hand_pose=np.full((frames, hands, 16, 3), 0.1),
        hand_shape=np.zeros((hands, 10)),
        hand_transl=np.zeros((frames, hands, 3)),
        hand_pose_valid=np.ones((frames, hands), bool),
        hand_model='procedural',
    )


@pytest.mark.parametrize('with_fit', [False, True])
def test_a_file_has_everything(tmp_path, with_fit):
    recording = make_recording(distortion=LENS, notes=['öffnen', 'two'], **(fitted() if with_fit else {}))
    save_annotated_recording(tmp_path / 'r.npz', recording)
    found = load_annotated_recording(tmp_path / 'r.npz')
    for name, value in recording.values().items():
        if name != 'calibration':
            np.testing.assert_equal(vars(found)[name], value)
    for camera, other in zip(recording.calibration, found.calibration, strict=True):
        assert camera.name == other.name and camera.model == other.model and camera.image_size == other.image_size
        np.testing.assert_array_equal(camera.projection, other.projection)
    assert is_recording_file(tmp_path / 'r.npz') and (found.hand_pose is not None) == with_fit


def test_reprojection_errors_are_those_of_opencv():
    recording = make_recording(distortion=LENS)
    shifted = recording.joints_3d + np.array([0.01, -0.02, 0.03], np.float32)
    errors = recording.reprojection_errors(shifted)
    assert errors.shape == (12, 3, 2, 21)
    for k, camera in enumerate(recording.calibration):
        rotation, _ = cv2.Rodrigues(camera.extrinsics[:3, :3].numpy())
        points = shifted[3, 1].astype(np.float64)
        expected, _ = cv2.projectPoints(
            points, rotation, camera.extrinsics[:3, 3].numpy(), camera.intrinsics.numpy(), np.array(LENS)
        )
        distance = np.linalg.norm(expected[:, 0] - recording.joints_2d[3, k, 1], axis=-1)
        np.testing.assert_allclose(errors[3, k, 1], distance, atol=1e-3)
    assert recording.reprojection_errors().max() < 1e-3


def test_what_is_not_valid_is_not_a_number():
    seen = np.ones((12, 3, 2), bool)
    seen[4, 1, 0] = False
    valid = np.ones((12, 2, 21), bool)
    valid[5, 1, 7] = False
    recording = make_recording(joints_2d_valid=seen, joints_valid=valid)
    assert np.isnan(recording.joints_2d[4, 1, 0]).all() and not recording.views_used[4, 1, 0].any()
    errors = recording.reprojection_errors()
    assert np.isnan(errors).sum() == 21 + 3 and np.isnan(errors[5, :, 1, 7]).all()
    lengths = recording.bone_lengths()
    assert np.isnan(lengths).sum() == 2 and np.isnan(lengths[5, 1]).sum() == 2  # joint 7 ends one bone, begins one
    assert recording.num_views[4].tolist() == [2, 3]


def test_spread_of_bone_lengths():
    assert make_recording().bone_length_spread().max() < 1e-4
    joints = make_recording(sides=(1,)).joints_3d.copy()
    joints[::2] *= 1.1  # two lengths, 1 and 1.1, in equal number: 0.05 / 1.05
    spread = make_recording(sides=(1,), joints_3d=joints).bone_length_spread()
    np.testing.assert_allclose(spread, 0.05 / 1.05, rtol=1e-3)
    valid = np.zeros((12, 1, 21), bool)
    valid[3] = True
    assert np.isnan(make_recording(sides=(1,), joints_valid=valid).bone_length_spread()).all()


def test_predictions_of_a_camera(tmp_path):
    valid = np.ones((12, 2, 21), bool)
    valid[2, 0, 0] = False
    recording = make_recording(joints_valid=valid)
    predictions = recording.to_predictions(camera=1)
    save_predictions(tmp_path / 'p.npz', predictions)
    found = load_predictions(tmp_path / 'p.npz')
    assert found.frame == 'camera' and 'camera cam1 of 3' in found.source
    assert not found.valid[2, 0] and found.valid.sum() == 23
    pose = recording.calibration.cameras[1].extrinsics.numpy()
    np.testing.assert_allclose(found.joints[4, 1], recording.joints_3d[4, 1] @ pose[:3, :3].T + pose[:3, 3], atol=1e-6)
    uv = found.joints[4, 1] @ found.intrinsics.T
    np.testing.assert_allclose(uv[:, :2] / uv[:, 2:], recording.joints_2d[4, 1, 1], atol=1e-2)
    assert make_recording(distortion=LENS).to_predictions().intrinsics is None


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(joints_3d=np.zeros((12, 2, 20, 3))), r'joints_3d must have the shape \(T, H, 21, 3\) = \(12, 2, 21, 3\)'),
    (dict(joints_2d_valid=np.zeros((12, 3, 2))), 'joints_2d_valid must be an array of bool'),
    (dict(timestamps=np.zeros(12)), 'timestamps must be finite and increasing'),
    (dict(videos=['a']), 'one video for each of the 3 cameras, got 1'),
    (dict(hand_side=np.array([1, 0])), 'in the order left'),
    (dict(hand_side=np.array([1, 1])), 'two hands must be one of each'),
    (dict(triangulated=np.full((12, 2, 21, 3), np.nan)), 'triangulated must be finite where triangulated_valid'),
    (dict(frame_indices=np.full((12, 3), -1)), 'joints_2d_valid must be False where a camera has no image'),
    (dict(hand_model='procedural', hand_pose=np.zeros((12, 2, 16, 3))), 'got only hand_pose'),
])  # fmt: skip
def test_wrong_fields_are_named(changes, message):
    with pytest.raises(RecordingError, match=message):
        make_recording(**changes)


def test_a_recording_without_frames_is_refused():
    values = make_recording(frames=1).values()
    empty = {k: v[:0] if isinstance(v, np.ndarray) and k != 'hand_side' else v for k, v in values.items()}
    with pytest.raises(RecordingError, match='at least one frame'):
        AnnotatedRecording(**empty)


def _changed(path, **changes):
    with np.load(path) as file:
        values = {**file, **changes}
    np.savez(path, **{k: v for k, v in values.items() if v is not None})


def _renamed_twice(path):
    calibration = json.loads(str(np.load(path)['calibration']))
    calibration['cameras'][1]['name'] = calibration['cameras'][0]['name']
    _changed(path, calibration=json.dumps(calibration))


@pytest.mark.parametrize(('damage', 'message'), [
    (lambda path: path.unlink(), 'there is no recording file'),
    (lambda path: path.write_bytes(b'text'), 'r.npz'),
    (lambda path: _changed(path, joints_3d=None), "needs 'joints_3d'"),
    (lambda path: _changed(path, joint_3d=np.zeros(3)), "'joint_3d' is not a key.* 'joints_3d'"),
    (lambda path: _changed(path, format='handpose-predictions'), "format is 'handpose-predictions'"),
    (lambda path: _changed(path, version=9), 'version is 9'),
    (lambda path: _changed(path, calibration='{'), 'calibration is not JSON'),
    (lambda path: _changed(path, calibration='[' * 100_000), 'calibration is not JSON'),
    (lambda path: _changed(path, calibration='[]'), 'calibration must hold'),
    (lambda path: _changed(path, videos=np.zeros(3)), 'videos must be a list of strings'),
    (_renamed_twice, 'cam0'),
])  # fmt: skip
def test_damaged_files(tmp_path, damage, message):
    path = tmp_path / 'r.npz'
    save_annotated_recording(path, make_recording())
    damage(path)
    with pytest.raises(RecordingError, match=message):
        load_annotated_recording(path)


def test_files_of_another_kind(tmp_path):
    np.savez(tmp_path / 'p.npz', joints=np.zeros(3))
    assert not is_recording_file(tmp_path / 'p.npz') and not is_recording_file(tmp_path / 'none.npz')
    with pytest.raises(RecordingError, match=r'must end in \.npz'):
        save_annotated_recording(tmp_path / 'r.json', make_recording())
    save_annotated_recording(tmp_path / 'r.npz', make_recording())
    with pytest.raises(PredictionsError, match='it is a recording file'):
        load_predictions(tmp_path / 'r.npz')
