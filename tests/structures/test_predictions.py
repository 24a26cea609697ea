import os
import re

import numpy as np
import pytest
import torch
from predicted_hands import hand_motion, make_predictions

from handpose.hands import COMMON_JOINTS, JOINT_ORDERS, from_common
from handpose.hands.joints import permutation_to_common
from handpose.structures import Predictions, PredictionsError, load_predictions, save_predictions
from handpose.structures.predictions import PER_FRAME, PER_HAND

PARTIAL = ('mano', 'assembly101', 'nyu', 'icvl', 'mocap_17')


def arrays(frames=10, **changes):
    """What a user's file holds, right in every way but for the changes; a change to None leaves the key out."""
    values = dict(
        joints=1000 * hand_motion(frames)[:, None],
        valid=np.ones((frames, 1), bool),
        timestamps=np.arange(frames) / 30,
        hand_side=np.array(['right']),
        joint_order='common',
        unit='millimetre',
        frame='camera',
    )
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


def written(path, **changes):
    np.savez(path, **arrays(**changes))
    return path


def with_value(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


def test_a_file_comes_back_as_it_was_saved(tmp_path):
    given = make_predictions(
        sides=('left', 'right'),
        missing=[3, (5, 1)],
        confidence=np.random.default_rng(0).random((40, 2, 21)),
        intrinsics=[[600, 0, 320], [0, 600, 240], [0, 0, 1]],
        image_size=(640, 480),
        source='a test',
        licence='CC0',
    )
    save_predictions(tmp_path / 'new' / 'a.npz', given)
    back = load_predictions(tmp_path / 'new' / 'a.npz')
    for name, value in vars(given).items():
        np.testing.assert_array_equal(getattr(back, name), value, err_msg=name)
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['a.npz']


def everything(frames=12, **changes):
    """Predictions of two hands with every optional field; joint 7 of the right hand is never given."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 200, (frames, 2, 2))
    known = dict(
        confidence=rng.random((frames, 2, 21)),
        intrinsics=[[600, 0, 320], [0, 600, 240], [0, 0, 1]],
        image_size=(640, 480),
        source='a test',
        licence='CC0',
        scale='relative',
        joints_2d=rng.uniform(0, 480, (frames, 2, 21, 2)),
        joints_valid=with_value(np.ones((frames, 2, 21), bool), (slice(None), 1, 7), False),
        joints_inferred=rng.random((frames, 2, 21)) < 0.3,
        boxes=np.concatenate([corners, corners + 100], -1),
        track_ids=rng.integers(0, 5, (frames, 2)),
        object_scores=rng.random((frames, 3)),
        object_names=['milk', 'book', 'spray'],
        object_features=rng.standard_normal((frames, 512)),
    )
    return make_predictions(frames, ('left', 'right'), missing=[3, (5, 1)], **(known | changes))


def test_a_file_with_every_field_comes_back(tmp_path):
    given = everything()
    save_predictions(tmp_path / 'a.npz', given)
    back = load_predictions(tmp_path / 'a.npz')
    for name, value in vars(given).items():
        np.testing.assert_array_equal(getattr(back, name), value, err_msg=name)
    assert back.track_ids.dtype == np.int64 and back.joints_2d.dtype == np.float32
    assert back.object_features.dtype == back.object_scores.dtype == np.float32


@pytest.mark.parametrize('version', [1, 2, 3])
def test_files_of_earlier_versions(tmp_path, version):
    back = load_predictions(written(tmp_path / 'a.npz', version=version, format='handpose-predictions'))
    assert len(back) == 10 and back.object_features is back.object_scores is back.object_names is None


def test_frames_of_padding_have_no_object():
    clip = everything(joints_valid=None).to_sequence()
    clip = clip.replace(frame_valid=torch.arange(12) < 9)
    assert Predictions.from_sequence(clip).object_features.shape == (9, 512)


def test_what_is_not_given_is_empty():
    given = everything()
    for t, h in ((3, 0), (5, 1)):
        assert np.isnan(given.joints_2d[t, h]).all() and np.isnan(given.boxes[t, h]).all()
        assert given.track_ids[t, h] == -1
        assert not given.joints_valid[t, h].any() and not given.joints_inferred[t, h].any()
    assert np.isnan(given.joints[:, 1, 7]).all() and np.isnan(given.joints_2d[:, 1, 7]).all()
    assert (given.confidence[:, 1, 7] == 0).all() and not given.joints_inferred[:, 1, 7].any()
    np.testing.assert_array_equal(given.given_joints(), given.joints_valid)
    np.testing.assert_array_equal(make_predictions(9, missing=[2]).given_joints()[:, 0, 4], np.arange(9) != 2)


def test_the_order_of_hands_holds_for_every_field():
    given = everything()
    per_hand = {name: getattr(given, name)[:, ::-1] for name in PER_HAND}
    swapped = Predictions(timestamps=given.timestamps, hand_side=['right', 'left'], frame='camera', **per_hand)
    for name in PER_HAND:
        np.testing.assert_array_equal(getattr(swapped, name), getattr(given, name), err_msg=name)


def test_missing_frames_hold_no_numbers():
    predictions = make_predictions(missing=[3], confidence=np.ones((40, 1, 21)))
    assert np.isnan(predictions.joints[3]).all() and (predictions.confidence[3] == 0).all()
    assert np.isfinite(predictions.joints[predictions.valid]).all()


@pytest.mark.parametrize('unit, factor', [('metre', 1), ('centimetre', 100), ('millimetre', 1000)])
def test_units_become_metres(tmp_path, unit, factor):
    path = written(tmp_path / 'a.npz', joints=factor * hand_motion(10)[:, None].astype(float), unit=unit)
    np.testing.assert_allclose(load_predictions(path).joints[:, 0], hand_motion(10), atol=1e-6)


@pytest.mark.parametrize('order', [name for name in JOINT_ORDERS if name not in PARTIAL])
def test_orders_become_the_common_one(tmp_path, order):
    common = hand_motion(10)
    confidence = np.random.default_rng(0).random((10, 21, 1))
    there = from_common(torch.from_numpy(common), order)[0].numpy()
    sure = from_common(torch.from_numpy(confidence), order)[0].numpy()[:, None, :, 0]
    path = written(tmp_path / 'a.npz', joints=1000 * there[:, None], joint_order=order, confidence=sure)
    back = load_predictions(path)
    np.testing.assert_allclose(back.joints[:, 0], common, atol=1e-6)
    np.testing.assert_allclose(back.confidence[:, 0], confidence[..., 0], atol=1e-6)


@pytest.mark.parametrize('order', PARTIAL)
def test_joints_that_an_order_lacks_are_not_valid(tmp_path, order):
    common = hand_motion(10)
    present = [name in JOINT_ORDERS[order] or (order == 'nyu' and name == 'wrist') for name in COMMON_JOINTS]
    there = from_common(torch.from_numpy(common), order)[0].numpy()
    if order == 'nyu':  # two points on either side of the wrist
        there[:, 11], there[:, 12] = common[:, 0] + [0.02, 0.01, 0], common[:, 0] - [0.02, 0.01, 0]
    valid = with_value(np.ones((10, 1), bool), 4, False)
    pixels = 100 * there[:, None, :, :2]
    path = written(tmp_path / 'a.npz', joints=1000 * there[:, None], joint_order=order, valid=valid, joints_2d=pixels)
    back = load_predictions(path)
    np.testing.assert_array_equal(back.joints_valid, valid[..., None] & present)
    np.testing.assert_allclose(back.joints[back.joints_valid], common[:, None][back.joints_valid], atol=1e-6)
    np.testing.assert_allclose(back.joints_2d, 100 * back.joints[..., :2], atol=1e-4)
    save_predictions(path, back)
    np.testing.assert_array_equal(load_predictions(path).joints, back.joints)


def test_masks_follow_the_order_of_joints(tmp_path):
    mask = np.random.default_rng(0).random((10, 1, 21)) < 0.8
    there = 1000 * from_common(torch.from_numpy(hand_motion(10)), 'ho3d')[0].numpy()[:, None]
    flags = dict(joints_valid=mask, joints_inferred=mask & (np.arange(21) > 10))
    back = load_predictions(written(tmp_path / 'a.npz', joints=there, joint_order='ho3d', **flags))
    np.testing.assert_array_equal(back.joints_valid[:, 0], mask[:, 0, permutation_to_common('ho3d')])
    inferred = back.joints_inferred[:, 0, [JOINT_ORDERS['ho3d'].index(n) > 10 for n in COMMON_JOINTS]]
    np.testing.assert_array_equal(
        inferred, back.joints_valid[:, 0, [permutation_to_common('ho3d')[j] > 10 for j in range(21)]]
    )


@pytest.mark.parametrize('sides', [['right', 'left'], ['Right', 'LEFT'], [1, 0]])
def test_two_hands_are_put_into_the_order_left_right(sides):
    right, left = hand_motion(10, 'right'), hand_motion(10, 'left')
    valid = with_value(np.ones((10, 2), bool), (4, 0), False)
    given = Predictions(np.stack([right, left], 1), valid, np.arange(10) / 30, sides, 'camera')
    assert given.hand_side.tolist() == [0, 1]
    np.testing.assert_array_equal(given.joints[:, 0], left)
    assert given.valid[4].tolist() == [True, False]


BAD = {
    'too few joints': (dict(joints=np.ones((10, 1, 20, 3))), "'common' has 21 joints, got .* with 20"),
    'no axis for hands': (dict(joints=np.ones((10, 21, 3))), 'axis for hands'),
    'unknown order': (dict(joint_order='dexicb'), "joint_order must be one of .*'dexicb'. Did you mean 'dexycb'"),
    'no unit': (dict(unit=None), "needs 'unit' .*never guessed"),
    'unknown unit': (dict(unit='mm'), "unit must be one of metre, centimetre, millimetre, got 'mm'"),
    'wrong unit': (dict(unit='metre'), r'the hand is \d+ m long in the unit given.*unit must say'),
    'no frame': (dict(frame=None), "needs 'frame' .*never guessed"),
    'unknown frame': (dict(frame='world'), "frame must be 'camera' or 'wrist', got 'world'. Move world"),
    'a wrist that is not the origin': (dict(frame='wrist'), r'right hand it lies \d+ mm away; subtract'),
    'behind the camera': (
        dict(joints=arrays()['joints'] * [1, -1, -1]),
        "in front of the camera.*OpenGL's axes",
    ),
    'NaN': (
        dict(joints=with_value(arrays()['joints'], (4, 0, 7, 1), np.nan)),
        'NaN or infinite in 1 valid frames, first in frame 4, right hand; set valid to False',
    ),
    'infinity': (dict(joints=with_value(arrays()['joints'], (6, 0, 7, 1), np.inf)), 'first in frame 6'),
    'zero frames': (
        dict(joints=np.ones((0, 1, 21, 3)), valid=np.ones((0, 1), bool), timestamps=np.ones(0)),
        'there are no frames',
    ),
    'time going backwards': (
        dict(timestamps=with_value(np.arange(10) / 30, 5, 0.01)),
        'time must go forward: frame 4 is at 0.133333 s and frame 5 at 0.01 s',
    ),
    'time repeated': (dict(timestamps=with_value(np.arange(10) / 30, 5, 4 / 30)), 'time must go forward: frame 4'),
    'time unknown': (dict(timestamps=with_value(np.arange(10) / 30, 5, np.nan)), 'NaN or infinite as that of frame 5'),
    'milliseconds': (dict(timestamps=np.arange(10) * 33.3), 'timestamps must be in seconds.*33.3'),
    'frame numbers for seconds': (dict(timestamps=np.arange(10)), 'timestamps must be in seconds'),
    'all frames missing': (dict(valid=np.zeros((10, 1), bool)), 'no frame of 10 has a hand'),
    'valid as numbers': (dict(valid=np.ones((10, 1))), 'valid must be bool .*got float64'),
    'valid of another length': (dict(valid=np.ones((9, 1), bool)), r'\(T, H\) = \(10, 1\), got bool of \(9, 1\)'),
    'times of another length': (dict(timestamps=np.arange(9) / 30), r'timestamps must have shape \(10,\)'),
    'unknown side': (dict(hand_side=['rihgt']), "'left' or 'right', got 'rihgt'. Did you mean 'right'"),
    'two hands of one side': (
        dict(joints=np.ones((10, 2, 21, 3)), valid=np.ones((10, 2), bool), hand_side=['left', 'left']),
        'two hands must be one of each',
    ),
    'more hands than sides': (dict(joints=np.ones((10, 2, 21, 3))), r'\(T, H, 21, 3\) with H = 1'),
    'confidence beyond 1': (dict(confidence=np.full((10, 1, 21), 97.0)), 'confidence must be from 0 to 1'),
    'intrinsics turned over': (
        dict(intrinsics=np.array([[600.0, 0, 0], [0, 600, 0], [320, 240, 1]])),
        'intrinsics must be a pinhole matrix',
    ),
    'unknown scale': (dict(scale='metrics'), "scale must be 'metric' .* Did you mean 'metric'"),
    'pixels of another shape': (dict(joints_2d=np.ones((10, 1, 20, 2))), "'common' has 21 joints, got joints_2d"),
    'pixels that are unknown': (
        dict(joints_2d=with_value(np.ones((10, 1, 21, 2)), (6, 0, 3), np.nan)),
        'joints_2d are NaN or infinite in 1 valid frames, first in frame 6, right hand',
    ),
    'texts for pixels': (dict(joints_2d=np.full((10, 1, 21, 2), 'a')), 'joints_2d must be numbers, got <U1'),
    'joints_valid as numbers': (dict(joints_valid=np.ones((10, 1, 21))), 'joints_valid must be bool, got float64'),
    'joints_valid for each hand': (
        dict(joints_valid=np.ones((10, 1), bool)),
        r'joints_valid must have shape \(T, H, J',
    ),
    'no joint of a valid hand': (
        dict(joints_valid=with_value(np.ones((10, 1, 21), bool), 4, False)),
        'joints_valid has no joint in frame 4, right hand, which is valid; set valid to False',
    ),
    'a wrist frame without a wrist': (
        dict(
            joints=arrays()['joints'] - arrays()['joints'][:, :, :1],
            frame='wrist',
            joints_valid=with_value(np.ones((10, 1, 21), bool), (5, 0, 0), False),
        ),
        "the wrist, which is not given in frame 5, right hand; give joints in frame 'camera'",
    ),
    'joints_inferred as numbers': (dict(joints_inferred=np.ones((10, 1, 21), int)), 'joints_inferred must be bool'),
    'a box upside down': (
        dict(boxes=with_value(np.tile([10.0, 10, 50, 50], (10, 1, 1)), (2, 0, 3), 5)),
        r'boxes must be pixels \(left, top, right, bottom\) .*50.0, 5.0\] in frame 2, right hand',
    ),
    'boxes of another shape': (dict(boxes=np.ones((10, 4))), r'boxes must have shape \(10, 1, 4\), got \(10, 4\)'),
    'boxes of text': (dict(boxes=np.full((10, 1, 4), 'a')), 'boxes must be numbers, got <U1'),
    'negative track ids': (dict(track_ids=np.full((10, 1), -1)), 'track_ids must be 0 or above .* in frame 0'),
    'track ids with a fraction': (dict(track_ids=np.zeros((10, 1))), 'track_ids must be whole numbers, got float64'),
    'a key with a slip': (
        dict(confidense=np.ones((10, 1, 21))),
        "'confidense' is not a key.* Did you mean 'confidence'",
    ),
    'another kind of file': (dict(format='motion'), "format is 'motion'"),
    'extrinsics of one frame too few': (
        dict(extrinsics=np.tile(np.eye(4), (9, 1, 1))),
        r'extrinsics must have shape \(10, 4, 4\), got \(9, 4, 4\)',
    ),
    'a mirrored camera': (
        dict(extrinsics=with_value(np.tile(np.eye(4), (10, 1, 1)), (3, 0, 0), -1.0)),
        'extrinsics must be rotations and translations .* in frame 3',
    ),
    'a newer version': (dict(version=5), 'version is 5, and this library reads up to 4: update'),
    'object features of one frame': (
        dict(object_features=np.ones((1, 512))),
        r'object_features must have one row for each of 10 frames, got shape \(1, 512\)',
    ),
    'an object feature that is NaN': (
        dict(object_features=with_value(np.ones((10, 512)), (4, 7), np.nan)),
        'object_features are NaN or infinite in frame 4; give zeros where',
    ),
    'names for other objects': (
        dict(object_scores=np.ones((10, 3)), object_names=['milk', 'book']),
        r'object_names name the columns of object_scores: got 2 names and object_scores of shape \(10, 3\)',
    ),
    'names without scores': (dict(object_names=['milk']), 'got 1 names and no object_scores'),
    'numbers for names': (
        dict(object_scores=np.ones((10, 2)), object_names=[1, 2]),
        'object_names must be a list of texts, got int64',
    ),
}


def test_extrinsics_of_each_frame(tmp_path):
    """They are kept in files and selections; one matrix is that of a camera that stands still."""
    poses = np.tile(np.eye(4), (10, 1, 1))
    poses[:, 2, 3] = np.arange(10)
    back = load_predictions(written(tmp_path / 'a.npz', extrinsics=poses))
    np.testing.assert_array_equal(back.extrinsics, poses)
    np.testing.assert_array_equal(back.select([2, 5]).extrinsics, poses[[2, 5]])
    save_predictions(tmp_path / 'b.npz', back)
    np.testing.assert_array_equal(load_predictions(tmp_path / 'b.npz').extrinsics, poses)
    still = load_predictions(written(tmp_path / 'c.npz', extrinsics=poses[4]))
    np.testing.assert_array_equal(still.extrinsics, np.tile(poses[4], (10, 1, 1)))


@pytest.mark.parametrize('changes, sentence', BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_a_sentence(tmp_path, changes, sentence):
    path = written(tmp_path / 'a.npz', **changes)
    with pytest.raises(PredictionsError, match=sentence) as caught:
        load_predictions(path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(PredictionsError, match=r'there is no predictions file .*`handpose convert` makes one'):
        load_predictions(tmp_path / 'none.npz')
    whole = written(tmp_path / 'whole.npz').read_bytes()
    (tmp_path / 'cut.npz').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PredictionsError, match='is damaged, or is not a zip file'):
        load_predictions(tmp_path / 'cut.npz')
    np.savez(tmp_path / 'objects.npz', **arrays(), source=np.array([{}], object))
    with pytest.raises(PredictionsError, match='holds Python objects'):
        load_predictions(tmp_path / 'objects.npz')


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = written(tmp_path / 'a.npz')
    before = path.read_bytes()

    def full(*arguments, **keywords):
        arguments[0].write(b'part')
        raise OSError('disk full')

    monkeypatch.setattr(np, 'savez_compressed', full)
    with pytest.raises(OSError, match='disk full'):
        save_predictions(path, make_predictions())
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['a.npz']
    with pytest.raises(PredictionsError, match=re.escape('must end in .npz')):
        save_predictions(tmp_path / 'a.npy', make_predictions())


def test_one_frame_is_enough(tmp_path):
    back = load_predictions(written(tmp_path / 'a.npz', frames=1))
    assert len(back) == 1 and back.period is None and back.frame_numbers().tolist() == [0]
    assert back.to_sequence().validate().meta['fps'] is None


@pytest.mark.parametrize(
    'times, numbers',
    [
        ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ([0, 1, 2, 5, 6], [0, 1, 2, 5, 6]),  # two frames left out
        ([0, 0.9, 2.1, 3, 3.9], [0, 1, 2, 3, 4]),  # times that tremble
        ([0, 1, 1.1, 2.1, 3.1], [0, 1, 2, 3, 4]),  # never two frames in one place
    ],
)
def test_frame_numbers(times, numbers):
    predictions = make_predictions(5)
    predictions.timestamps = 1.6e9 + np.array(times) / 30
    assert predictions.frame_numbers().tolist() == numbers


def test_clips_and_back():
    given = make_predictions(
        sides=('left', 'right'),
        missing=[3],
        confidence=np.random.default_rng(0).random((40, 2, 21)),
        intrinsics=np.array([[600, 0, 320], [0, 600, 240], [0, 0, 1.0]]),
    )
    clip = given.to_sequence('mine').validate()
    assert clip.frame == 'camera' and clip.meta['sequence'] == 'mine' and clip.meta['fps'] == pytest.approx(30)
    assert not clip.input_valid[3, 0] and (clip.input_joints_3d[3, 0] == 0).all()
    assert clip.intrinsics.shape == (40, 1, 3, 3) and torch.equal(clip.extrinsics[0, 0], torch.eye(4))
    back = Predictions.from_sequence(clip)
    for name in ('joints', 'valid', 'timestamps', 'hand_side', 'frame', 'confidence', 'intrinsics'):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name), err_msg=name)


def test_clips_hold_what_the_image_shows():
    given = everything(joints_valid=None)
    clip = given.to_sequence().validate()
    assert clip.joints_2d.shape == (12, 1, 2, 21, 2) and not clip.joints_2d_valid[3, 0, 0].any()
    back = Predictions.from_sequence(clip)
    assert clip.meta['objects'] == ['milk', 'book', 'spray']
    objects = ('object_scores', 'object_names', 'object_features')
    for name in ('joints', 'confidence', 'joints_2d', 'boxes', 'valid', *objects):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name), err_msg=name)
    plain = Predictions.from_sequence(clip, with_2d=False)
    assert plain.joints_2d is None and plain.boxes is None
    hidden = clip.joints_2d_valid.clone()
    hidden[0, 0, 1, 4] = False
    with pytest.raises(PredictionsError, match=r'valid in 3D and not in 2D .* with_2d=False'):
        Predictions.from_sequence(clip.replace(joints_2d_valid=hidden))
    with pytest.raises(PredictionsError, match='lack index_dip; infer_missing_joints fills them in'):
        everything().to_sequence()


def test_clips_of_answers():
    clip = make_predictions(10).to_sequence()
    valid = torch.ones(10, 1, 21, dtype=torch.bool)
    valid[2, 0, 5] = False
    valid[3] = False
    answer = clip.replace(joints_3d=clip.input_joints_3d + 0.01, joints_valid=valid)
    back = Predictions.from_sequence(answer, 'joints_3d')
    assert back.valid[:, 0].tolist() == [t != 3 for t in range(10)]
    np.testing.assert_array_equal(back.joints_valid, valid)
    valid[2] = True
    assert Predictions.from_sequence(answer.replace(joints_valid=valid), 'joints_3d').joints_valid is None
    with pytest.raises(PredictionsError, match='has no joints_3d'):
        Predictions.from_sequence(clip, 'joints_3d')
    with pytest.raises(PredictionsError, match="got 'world'"):
        Predictions.from_sequence(clip.replace(frame='world'))
    with pytest.raises(PredictionsError, match='neither timestamps nor'):
        Predictions.from_sequence(clip.replace(timestamps=None, meta={}))
    with pytest.raises(ValueError, match='unstack'):
        Predictions.from_sequence(type(clip).stack([clip, clip]))


def test_the_wrist_frame_has_its_wrist_at_the_origin():
    predictions = make_predictions(frame='wrist', missing=[3])
    assert (predictions.joints[predictions.valid][:, 0] == 0).all()
    assert predictions.to_sequence().frame == 'wrist'


def test_selected_frames():
    predictions = make_predictions(10, confidence=np.ones((10, 1, 21)), source='a')
    whole = everything()
    for name in (*PER_HAND, *PER_FRAME):
        np.testing.assert_array_equal(getattr(whole.select([2, 5]), name), getattr(whole, name)[[2, 5]], err_msg=name)
    one = predictions.select([4])
    assert len(one) == 1 and one.timestamps[0] == predictions.timestamps[4] and one.source == 'a'
    np.testing.assert_array_equal(predictions.select(slice(2, 5)).joints, predictions.joints[2:5])
