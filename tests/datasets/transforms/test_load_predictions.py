from dataclasses import replace

import numpy as np
import pytest
import torch

from handpose.datasets.base import DatasetError
from handpose.datasets.transforms.load_predictions import LoadPredictions
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence, Predictions, PredictionsError, load_predictions, save_predictions


def make_clip(sides=(1,), first=2, frames=4):
    shown = torch.ones(frames, len(sides), dtype=torch.bool)
    return HandSequence(
        meta=dict(sequence='anna/wave', cameras=['0815'], fps=30.0, frame_indices=list(range(first, first + frames))),
        frame_valid=torch.ones(frames, dtype=torch.bool), timestamps=(first + torch.arange(frames).double()) / 30,
        hand_side=torch.tensor(sides), hand_valid=shown, joints_3d=torch.zeros(frames, len(sides), 21, 3),
        joints_valid=shown[..., None].expand(-1, -1, 21).clone(),
    )  # fmt: skip


def write(folder, sides=('left', 'right'), frame='camera', start=0.0, confidence=True):
    rng = np.random.default_rng(0)
    joints = 0.05 * rng.standard_normal((5, len(sides), 21, 3)) + (0, 0, 0.6)
    joints = joints - joints[:, :, :1] * (frame == 'wrist')
    valid = np.ones((5, len(sides)), bool)
    valid[3, -1] = False
    given = rng.uniform(size=(5, len(sides), 21)) if confidence else None
    predictions = Predictions(joints, valid, start + np.arange(5) / 30 + 0.002, sides, frame, given)
    save_predictions(folder / 'anna_wave_0815.npz', predictions)
    return predictions


def load(folder, clip):
    return TRANSFORMS.build(dict(type='LoadPredictions', folder=str(folder)))(clip, np.random.default_rng(0))


def test_frames_are_found_by_their_time_and_hands_by_their_side(tmp_path):
    predictions = write(tmp_path)
    found = load(tmp_path, make_clip()).validate()
    assert found.input_valid[:, 0].tolist() == [True, False, True, False]  # 3 has no hand, 5 is beyond the file
    np.testing.assert_allclose(found.input_joints_3d[[0, 2], 0], predictions.joints[[2, 4], 1])
    np.testing.assert_allclose(found.input_confidence[[0, 2], 0], predictions.confidence[[2, 4], 1])
    assert not found.input_joints_3d[[1, 3]].any()


def test_without_confidence_it_is_one(tmp_path):
    write(tmp_path, confidence=False)
    found = load(tmp_path, make_clip((0, 1)))
    assert (found.input_confidence[0] == 1).all() and not found.input_confidence[3].any()


def test_objects_are_found_by_their_time(tmp_path):
    features, scores = np.arange(5.0)[:, None] + np.ones(512), np.arange(10.0).reshape(5, 2)
    path = LoadPredictions(tmp_path).path_of(make_clip())
    save_predictions(path, replace(write(tmp_path), object_features=features, object_scores=scores))
    found = load(tmp_path, make_clip()).validate()
    np.testing.assert_array_equal(found.object_features[:, 0], [3, 4, 5, 0])  # frame 5 is beyond the file
    np.testing.assert_array_equal(found.object_scores, [[4, 5], [6, 7], [8, 9], [0, 0]])
    without = tmp_path / 'without'
    without.mkdir()
    write(without)
    alone = load(without, make_clip())
    assert alone.object_features is None
    both = HandSequence.stack([found, alone.replace(object_scores=found.object_scores)])
    assert not both.object_features[1].any()  # unknown


def test_padding_has_no_estimate(tmp_path):
    write(tmp_path)
    clip = make_clip().replace(frame_valid=torch.tensor([True, True, False, False]))
    assert load(tmp_path, clip).input_valid[:, 0].tolist() == [True, False, False, False]


def test_sentences(tmp_path):
    with pytest.raises(PredictionsError, match='there is no predictions file'):
        load(tmp_path, make_clip())
    for number, (options, sentence) in enumerate((
        (dict(frame='wrist'), "is in frame 'wrist', but the clip's joints are in 'camera'"),
        (dict(sides=('left',)), 'has no right hand, which the clip has'),
        (dict(start=20.0), r'times from 20.002 to .* the clip lasts from 0.067'),
    )):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, **options)
        with pytest.raises(DatasetError, match=sentence):
            load(folder, make_clip())


def test_missing_joints_are_named(tmp_path):
    write(tmp_path)
    path = LoadPredictions(tmp_path).path_of(make_clip())
    found = load_predictions(path)
    save_predictions(path, replace(found, joints_valid=found.given_joints() & (np.arange(21) != 8)))
    with pytest.raises(DatasetError, match=r'lacks index_tip, and refiners are trained with all 21 joints: .*--infer'):
        load(tmp_path, make_clip())


def test_input_comes_before_the_augmentation(tmp_path):
    write(tmp_path)
    clip, rng = make_clip(), np.random.default_rng(0)
    augment = TRANSFORMS.build(dict(type='MotionAugmentation'))
    augment(load(tmp_path, clip), rng).validate()
    with pytest.raises(DatasetError, match='place LoadPredictions before MotionAugmentation'):
        load(tmp_path, augment(clip, rng))
