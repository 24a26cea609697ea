"""Predictions files of a tested model: one for each track, read back by `LoadPredictions`."""

import numpy as np
import pytest
import torch
from predicted_hands import hand_motion

from handpose.datasets.transforms import LoadPredictions, LoadRecordingPredictions
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError, load_predictions


def clip(name, first=0, frames=6, padding=0):
    """What a test gives: the prediction and the annotation of a track of a right hand."""
    joints = torch.from_numpy(hand_motion(frames + padding, seed=len(name)))[:, None]
    shown = torch.arange(frames + padding) < frames
    numbers = list(range(first, first + frames))
    common = dict(
        meta=dict(dataset='H2O', sequence=name, cameras=['cam4'], frame_indices=numbers, fps=30.0),
        frame_valid=shown,
        timestamps=(first + torch.arange(frames + padding).double()) / 30,
        hand_side=torch.tensor([1]),
        hand_valid=shown[:, None].clone(),
        joints_valid=shown[:, None, None].expand(-1, 1, 21).clone(),
    )
    draw = torch.Generator().manual_seed(first)
    target = HandSequence(joints_3d=joints, **common)
    prediction = HandSequence(
        joints_3d=joints + 0.01,
        object_scores=torch.rand(frames + padding, 2, generator=draw),
        object_features=torch.randn(frames + padding, 512, generator=draw),
        **common,
    )
    return {'prediction': prediction.validate(), 'target': target.validate()}


def write(folder, clips):
    metric = METRICS.build(dict(type='PredictionsFolder', path=str(folder)))
    metric.dataset_meta = dict(objects=('milk', 'book'))
    metric.process(None, clips)
    return metric.evaluate(len(clips))


def test_what_is_written_is_what_is_loaded(tmp_path):
    one, other = clip('subject1/h1/0/000000-000005'), clip('subject2/k1/1/000003-000008', first=3, padding=2)
    assert write(tmp_path / 'out', [one, other, one]) == {'written_files': 2.0}
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == ['subject1_h1_0_000000-000005_cam4.npz', 'subject2_k1_1_000003-000008_cam4.npz']
    for sample in (one, other):
        prediction, target = sample['prediction'], sample['target']
        loaded = LoadPredictions(tmp_path / 'out')(target, None).validate()
        shown = target.frame_valid
        torch.testing.assert_close(loaded.input_joints_3d[shown], prediction.joints_3d[shown])
        assert torch.equal(loaded.input_valid, target.hand_valid)
        assert torch.equal(loaded.object_scores[shown], prediction.object_scores[shown])
        assert torch.equal(loaded.object_features[shown], prediction.object_features[shown])
    found = load_predictions(tmp_path / 'out' / names[1])
    assert len(found) == 6 and found.object_names.tolist() == ['milk', 'book']
    np.testing.assert_allclose(found.timestamps, np.arange(3, 9) / 30)


def test_several_clips_of_a_track_are_refused(tmp_path):
    with pytest.raises(SequenceError, match=r'was written for several clips of one track.*test whole tracks'):
        write(tmp_path, [clip('a'), clip('a', first=6)])


@pytest.mark.parametrize('frame', ['world', 'camera'])
def test_clips_in_the_world_say_where_their_camera_was(tmp_path, frame):
    """The way back: the files are in the camera, and the clips that load them have the predictions in the world."""
    sample = clip('a', padding=2)
    frames = len(sample['target'].joints_3d)
    poses = torch.eye(4).repeat(frames, 1, 1)
    angle = 0.1 * torch.arange(frames)
    poses[:, 0, 0] = poses[:, 2, 2] = angle.cos()
    poses[:, 0, 2], poses[:, 2, 0] = angle.sin(), -angle.sin()
    poses[:, :3, 3] = torch.tensor([0.02, 0.01, 0.3])
    seen = sample['prediction'].joints_3d
    world = (seen - poses[:, None, None, :3, 3]) @ poses[:, None, :3, :3]
    target = sample['target'].replace(frame='world', extrinsics=poses[:, None], joints_3d=world)
    prediction = sample['prediction'].replace(frame=frame, joints_3d=seen if frame == 'camera' else world)
    write(tmp_path / 'out', [dict(prediction=prediction, target=target)])
    found = load_predictions(tmp_path / 'out' / 'a_cam4.npz')
    assert found.frame == 'camera' and len(found) == frames - 2
    np.testing.assert_allclose(found.extrinsics, poses[:-2], atol=1e-6)
    np.testing.assert_allclose(found.joints, seen[:-2], atol=1e-6)
    loaded = LoadRecordingPredictions(tmp_path / 'out', cameras=['cam4'])(target, None).validate()
    np.testing.assert_allclose(loaded.input_joints_3d[:-2], world[:-2], atol=1e-6)
