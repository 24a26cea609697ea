"""Estimated poses of whole recordings as the input of their actions: frames, hands, coordinates and missing data."""

import numpy as np
import pytest
import torch

from handpose.datasets import DatasetError
from handpose.datasets.transforms import LoadRecordingPredictions, MotionAugmentation
from handpose.models import VerbClassifier
from handpose.structures import HandSequence, Predictions, PredictionsError, save_predictions

FPS, FIRST, FRAMES = 30.0, 6, 5
RECORDING = 'person/toy'


def rotation(seed):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else q[:, ::-1]


def motion(num_frames=20, seed=0):
    """World joints (T, 2, 21, 3) of hands some centimetres large, in front of the cameras below."""
    rng = np.random.default_rng(seed)
    return 0.04 * rng.normal(size=(num_frames, 2, 21, 3)) + rng.normal(size=(num_frames, 2, 1, 3)) * 0.05


def camera_poses(num_frames=20, seed=1):
    """(T, 4, 4) of a moving headset, whose hands are about half a metre away."""
    poses = np.tile(np.eye(4), (num_frames, 1, 1))
    for t in range(num_frames):
        poses[t, :3, :3], poses[t, :3, 3] = rotation(100 * seed + t), [0, 0, 0.6]
    return poses


def action(joints, frame='world', **changes):
    """An action of the recording: its frames 6 to 10."""
    part = torch.from_numpy(joints[FIRST : FIRST + FRAMES]).float()
    valid = torch.ones(part.shape[:-1], dtype=torch.bool)
    fields = dict(
        meta=dict(dataset='toys', sequence=f'{RECORDING}/6-10', recording=RECORDING, fps=FPS, cameras=[]),
        frame=frame,
        frame_valid=torch.ones(FRAMES, dtype=torch.bool),
        timestamps=torch.arange(FIRST, FIRST + FRAMES, dtype=torch.float64) / FPS,
        hand_side=torch.tensor([0, 1]),
        hand_valid=valid.any(-1),
        joints_3d=part,
        joints_valid=valid,
        action_label=torch.tensor(1),
    )
    return HandSequence(**{**fields, **changes})


def written(folder, joints, name='person_toy', poses=None, **changes):
    """A file of camera joints of world `joints`, seen from `poses`."""
    seen = joints
    if poses is not None:
        seen = np.einsum('tij,thkj->thki', poses[:, :3, :3], joints) + poses[:, None, None, :3, 3]
    fields = dict(
        joints=seen,
        valid=np.ones(joints.shape[:2], bool),
        timestamps=np.arange(len(joints)) / FPS,
        hand_side=['left', 'right'],
        frame='camera',
        extrinsics=poses,
    )
    save_predictions(folder / f'{name}.npz', Predictions(**{**fields, **changes}))


def test_joints_of_a_moving_camera_are_in_the_world(tmp_path):
    estimate, truth = motion(seed=1), motion()
    written(tmp_path, estimate, poses=camera_poses())
    loaded = LoadRecordingPredictions(tmp_path)(action(truth), None).validate()
    np.testing.assert_allclose(loaded.input_joints_3d, estimate[FIRST : FIRST + FRAMES], atol=1e-6)
    assert loaded.frame == 'world' and loaded.input_valid.all() and (loaded.input_confidence == 1).all()
    np.testing.assert_array_equal(loaded.joints_3d, action(truth).joints_3d)


def test_true_wrists_and_no_wrists(tmp_path):
    estimate, truth = motion(seed=1), motion()
    written(tmp_path, estimate, poses=camera_poses())
    relative = (estimate - estimate[:, :, :1])[FIRST : FIRST + FRAMES]
    lifted = LoadRecordingPredictions(tmp_path, wrists='true')(action(truth), None).validate()
    wrists = truth[FIRST : FIRST + FRAMES, :, :1]
    np.testing.assert_allclose(lifted.input_joints_3d, relative + wrists, atol=1e-6)
    alone = LoadRecordingPredictions(tmp_path, wrists='none')(action(truth), None).validate()
    np.testing.assert_allclose(alone.input_joints_3d, relative, atol=1e-6)
    np.testing.assert_allclose(alone.joints_3d, truth[FIRST : FIRST + FRAMES] - wrists, atol=1e-6)
    assert lifted.frame == 'world' and alone.frame == 'wrist'


def test_wrist_relative_files(tmp_path):
    """Their axes are the camera's: with extrinsics they become the world's."""
    estimate, truth, poses = motion(seed=1), motion(), camera_poses()
    relative = estimate - estimate[:, :, :1]
    seen = np.einsum('tij,thkj->thki', poses[:, :3, :3], relative)
    written(tmp_path, seen, frame='wrist', extrinsics=poses)
    alone = LoadRecordingPredictions(tmp_path, wrists='none')(action(truth), None)
    np.testing.assert_allclose(alone.input_joints_3d, relative[FIRST : FIRST + FRAMES], atol=1e-6)
    lifted = LoadRecordingPredictions(tmp_path, wrists='true')(action(truth), None)
    wrists = truth[FIRST : FIRST + FRAMES, :, :1]
    np.testing.assert_allclose(lifted.input_joints_3d, relative[FIRST : FIRST + FRAMES] + wrists, atol=1e-6)
    with pytest.raises(DatasetError, match=r"'wrist' and the clip in 'world'.*wrists='none'"):
        LoadRecordingPredictions(tmp_path)(action(truth), None)


def test_unknown_cameras_keep_their_axes(tmp_path):
    truth = motion()
    written(tmp_path, motion(seed=1) + (0, 0, 0.6))
    with pytest.raises(DatasetError, match=r"does not say where its camera was.*axes='camera'"):
        LoadRecordingPredictions(tmp_path)(action(truth), None)
    found = LoadRecordingPredictions(tmp_path, axes='camera')(action(truth), None).validate()
    np.testing.assert_allclose(found.input_joints_3d, (motion(seed=1) + (0, 0, 0.6))[6:11], atol=1e-6)
    assert found.frame == 'camera' and found.joints_3d is None
    alone = LoadRecordingPredictions(tmp_path, wrists='none', axes='camera')(action(truth), None).validate()
    assert alone.frame == 'wrist' and not alone.input_joints_3d[:, :, 0].any()
    # A clip that is in the camera already needs no more.
    same = LoadRecordingPredictions(tmp_path)(action(truth + (0, 0, 0.6), frame='camera'), None)
    np.testing.assert_allclose(same.input_joints_3d, found.input_joints_3d, atol=1e-6)


def test_missing_frames_hands_and_joints(tmp_path):
    """The file lacks frame 7, the left hand in frame 8, and a joint of the right thumb in frames 6 and 9."""
    joints = motion() + (0, 0, 0.6)
    kept = np.delete(np.arange(20), 7)
    valid, given = np.ones((20, 2), bool), np.ones((20, 2, 21), bool)
    valid[8, 0] = given[8, 0] = False
    given[6, 1, 3] = given[9, 1, 3] = False
    changes = dict(valid=valid[kept], joints_valid=given[kept], timestamps=kept / FPS + 0.001)
    written(tmp_path, joints[kept], confidence=np.full((19, 2, 21), 0.5), **changes)
    found = LoadRecordingPredictions(tmp_path)(action(joints, frame='camera'), None).validate()
    assert found.input_valid.tolist() == [[True, True], [False, False], [False, True], [True, True], [True, True]]
    assert found.input_joints_3d.isfinite().all() and not found.input_joints_3d[1].any()
    confidence = found.input_confidence[:, 1, 3].tolist()
    assert confidence == [0, 0, 0.5, 0, 0.5] and (found.input_confidence[4] == 0.5).all()
    # The joint is filled from the nearest frames of the clip that have it.
    np.testing.assert_allclose(found.input_joints_3d[0, 1, 3], joints[8, 1, 3], atol=1e-6)
    np.testing.assert_allclose(found.input_joints_3d[3, 1, 3], (joints[8, 1, 3] + joints[10, 1, 3]) / 2, atol=1e-6)


def test_an_estimator_of_right_hands(tmp_path):
    joints = motion() + (0, 0, 0.6)
    written(tmp_path, joints[:, 1:], valid=np.ones((20, 1), bool), hand_side=['right'])
    found = LoadRecordingPredictions(tmp_path)(action(joints, frame='camera'), None).validate()
    assert found.input_valid.all(0).tolist() == [False, True] and not found.input_valid[:, 0].any()


def test_the_mean_over_cameras(tmp_path):
    """Weighted by confidence, over those cameras that see the hand."""
    first, second = motion(seed=1), motion(seed=2)
    seen = np.ones((20, 2), bool)
    seen[7] = False
    written(tmp_path, first, 'person_toy_e1', camera_poses(seed=1), confidence=np.full((20, 2, 21), 0.2))
    written(tmp_path, second, 'person_toy_e2', camera_poses(seed=2), confidence=np.full((20, 2, 21), 0.6), valid=seen)
    found = LoadRecordingPredictions(tmp_path, cameras=['e1', 'e2'])(action(motion()), None).validate()
    expected = (0.25 * first + 0.75 * second)[FIRST : FIRST + FRAMES]
    expected[1] = first[7]
    np.testing.assert_allclose(found.input_joints_3d, expected, atol=1e-6)
    with pytest.raises(DatasetError, match="axes='camera' goes with one camera"):
        LoadRecordingPredictions(tmp_path, cameras=['e1', 'e2'], axes='camera')


def test_wrong_files(tmp_path):
    clip, load = action(motion()), LoadRecordingPredictions(tmp_path)
    with pytest.raises(PredictionsError, match=r'no predictions file .*person_toy.npz'):
        load(clip, None)
    written(tmp_path, motion(), poses=camera_poses(), timestamps=100 + np.arange(20) / FPS)
    with pytest.raises(DatasetError, match=r'times from 100.000 to .* but the clip lasts from 0.200 to 0.333 s'):
        load(clip, None)
    with pytest.raises(DatasetError, match='no timestamps'):
        load(clip.replace(timestamps=None), None)
    with pytest.raises(DatasetError, match=r"wrists must be one of .* got 'truth'.*Did you mean 'true'"):
        LoadRecordingPredictions(tmp_path, wrists='truth')
    changed = MotionAugmentation()(action(motion() + (0, 0, 0.6), 'camera'), np.random.default_rng(0))
    with pytest.raises(DatasetError, match='before MotionAugmentation'):
        load(changed, None)


@pytest.mark.parametrize('wrists, coordinates', [('predicted', 'start'), ('none', 'wrist')])
def test_a_classifier_reads_them(tmp_path, wrists, coordinates):
    """Its scores are those of the estimate as the true joints, and not those of the truth."""
    torch.manual_seed(0)
    network = dict(type='JointTransformer', channels=16, num_layers=1, num_heads=2, feedforward_channels=16)
    model = VerbClassifier(network, num_actions=3, num_frames=4, coordinates=coordinates).eval()
    written(tmp_path, motion(seed=1), poses=camera_poses())
    clip = LoadRecordingPredictions(tmp_path, wrists=wrists)(action(motion()), None)
    names = ('input_joints_3d', 'input_valid', 'input_confidence')
    perfect = clip.replace(joints_3d=clip.input_joints_3d, **dict.fromkeys(names))
    scores = [
        model.predict(HandSequence.stack([sample])).action_scores
        for sample in (clip, perfect, clip.replace(**dict.fromkeys(names)))
    ]
    torch.testing.assert_close(scores[0], scores[1])
    assert (scores[0] - scores[2]).abs().max() > 1e-4
