"""Detections of all cameras as arrays: from the records of sessions, checked, saved and read."""

import numpy as np
import pytest
from view_detections import scene

from handpose.inference.annotation.view_hands import ViewHands, ViewHandsError
from handpose.inference.tracking.records import TrackRecords


def records(rows, count, seed=0):
    """`TrackRecords` of `count` images; rows are (image, track)."""
    rng = np.random.default_rng(seed)
    number = len(rows)
    joints = rng.uniform(0, 400, (number, 21, 2)).astype(np.float32)
    return TrackRecords(
        times=np.arange(count) / 30.0,
        detected=np.ones(count, bool),
        frame=np.array([row[0] for row in rows], np.int64),
        track_id=np.array([row[1] for row in rows], np.int64),
        tracked_2d=joints + 1,
        joints_2d=joints,
        joints_3d=np.zeros((number, 21, 3), np.float32),
        joints_valid=np.ones((number, 21), bool),
        presence=rng.uniform(0.5, 1, number),
        right=rng.uniform(0, 1, number),
    )


def test_images_of_one_number_belong_together_by_default():
    first, second = records([(0, 4), (2, 4), (2, 5)], 3), records([(1, 7)], 2, seed=1)
    hands = ViewHands.from_track_records([first, second])
    assert hands.valid.tolist() == [[[1, 0], [0, 0]], [[0, 0], [1, 0]], [[1, 1], [0, 0]]]
    assert hands.image_valid.tolist() == [[1, 1], [1, 1], [1, 0]] and len(hands) == 3 and hands.num_cameras == 2
    assert hands.track_ids.tolist() == [[[4, -1], [-1, -1]], [[-1, -1], [7, -1]], [[4, 5], [-1, -1]]]
    np.testing.assert_array_equal(hands.joints_2d[2, 0], first.joints_2d[1:])
    np.testing.assert_allclose(hands.right[1, 1, 0], second.right[0])
    assert hands.right[0, 1, 0] == 0.5 and np.isnan(hands.joints_2d[0, 1]).all()


def test_other_images_by_their_numbers():
    """The second camera began two images later; in the last frame it has no image."""
    first, second = records([(0, 0), (1, 0), (2, 0)], 3), records([(2, 1), (3, 1)], 4)
    hands = ViewHands.from_track_records([first, second], np.array([[0, 2], [1, 3], [2, -1]]))
    assert hands.valid[..., 0].tolist() == [[1, 1], [1, 1], [1, 0]]
    assert hands.image_valid.tolist() == [[1, 1], [1, 1], [1, 0]]
    np.testing.assert_array_equal(hands.joints_2d[:2, 1, 0], second.joints_2d)


def test_missing_joints_and_empty_hands():
    one = records([(0, 0), (1, 0)], 2)
    one.joints_valid[0, :5], one.joints_valid[1] = False, False
    hands = ViewHands.from_track_records([one])
    assert hands.valid[:, 0, 0].tolist() == [True, False]
    assert np.isnan(hands.joints_2d[0, 0, 0, :5]).all() and np.isfinite(hands.joints_2d[0, 0, 0, 5:]).all()
    nothing = ViewHands.from_track_records([records([], 2)])
    assert nothing.valid.shape == (2, 1, 1) and not nothing.valid.any()


def test_save_and_load(tmp_path):
    _, _, hands, _ = scene(frames=3)
    hands.save(tmp_path / 'hands.npz')
    again = ViewHands.load(tmp_path / 'hands.npz')
    for name, value in vars(hands).items():
        np.testing.assert_array_equal(vars(again)[name], value)
        assert vars(again)[name].dtype == value.dtype


def test_refusals(tmp_path):
    _, _, hands, _ = scene(frames=3)
    values = vars(hands)
    with pytest.raises(ViewHandsError, match=r'right must have the shape \(T, K, N\) = \(3, 4, 2\), got \(3, 4\)'):
        ViewHands(**{**values, 'right': values['right'][..., 0]})
    with pytest.raises(ViewHandsError, match='presence must be between 0 and 1'):
        ViewHands(**{**values, 'presence': values['presence'] * 2})
    with pytest.raises(ViewHandsError, match='valid must be False where a camera has no image'):
        ViewHands(**{**values, 'image_valid': np.zeros((3, 4), bool)})
    with pytest.raises(ViewHandsError, match=r'frame_indices must be \(T, 1\)'):
        ViewHands.from_track_records([records([], 2)], np.zeros((2, 2), int))
    with pytest.raises(ViewHandsError, match='at least one camera'):
        ViewHands.from_track_records([])
    (tmp_path / 'broken.npz').write_bytes(b'nothing')
    with pytest.raises(ViewHandsError, match=r'broken\.npz'):
        ViewHands.load(tmp_path / 'broken.npz')
    np.savez(tmp_path / 'other.npz', valid=np.zeros(3))
    with pytest.raises(ViewHandsError, match=r'lacks joints_2d'):
        ViewHands.load(tmp_path / 'other.npz')
