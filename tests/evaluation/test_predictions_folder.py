"""Predictions files of a tested model: one for each track, read back by `LoadPredictions`."""

import numpy as np
import pytest
import torch
from predicted_hands import hand_motion

from handpose.datasets.transforms import LoadPredictions
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
