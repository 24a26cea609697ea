"""`TrackRecords`: arrays of tracked hands, in memory and in files that may be damaged."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scripted_hands import Hand, estimate_of, joints_of

from handpose.hands.sides import Side
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.tracking.tracker import TrackedHand

NAMES = [f.name for f in fields(TrackRecords)]


def records_of(counts, seed=0):
    """Random hands, as many in each image as `counts` says."""
    rng = np.random.default_rng(seed)
    hands = []
    for count in counts:
        scripted = [Hand(*rng.uniform(20, 100, 2), 20, rng.random(), rng.random()) for _ in range(count)]
        hands.append([TrackedHand(k, Side.RIGHT, estimate_of(h), joints_of(h)) for k, h in enumerate(scripted)])
    times = np.cumsum(rng.uniform(0.01, 0.05, len(counts)))
    return TrackRecords.of_frames(times.tolist(), (rng.random(len(counts)) < 0.5).tolist(), hands)


def assert_equal(a, b):
    for name in NAMES:
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype, name
        np.testing.assert_array_equal(x, y, err_msg=name)


def test_files_keep_every_bit(tmp_path):
    records = records_of([2, 0, 1, 3, 0])
    records.save(tmp_path / 'a.npz')
    assert_equal(TrackRecords.load(tmp_path / 'a.npz'), records)
    assert len(records) == 5 and records.frame.tolist() == [0, 0, 2, 3, 3, 3]


@pytest.mark.parametrize('counts', [[], [0], [0, 0, 0]])
def test_records_without_hands(tmp_path, counts):
    records = records_of(counts)
    records.save(tmp_path / 'a.npz')
    assert_equal(TrackRecords.load(tmp_path / 'a.npz'), records)
    assert records.joints_2d.shape == (0, 21, 2) and len(records) == len(counts)


@pytest.mark.parametrize('count', range(7))
def test_a_part_and_the_rest_make_the_whole(count):
    records = records_of([2, 0, 1, 3, 0, 1])
    rest = records.after(count)
    assert len(rest) == 6 - count
    kept = records.frame < count
    per_image = ('times', 'detected')
    first = replace(
        records,
        **{name: getattr(records, name)[:count] for name in per_image},
        **{name: getattr(records, name)[kept] for name in NAMES if name not in per_image},
    )
    assert_equal(TrackRecords.concatenate([first, rest]), records)


def test_concatenating_nothing():
    assert_equal(TrackRecords.concatenate([]), records_of([]))


def test_hands_as_the_tracker_saw_them():
    records = records_of([2, 0, 3])
    assert [[i for i, _ in records.tracked(f)] for f in range(3)] == [[0, 1], [], [0, 1, 2]]
    track_id, estimate = list(records.tracked(2))[1]
    row = 3
    assert track_id == 1
    np.testing.assert_array_equal(estimate.joints_2d, records.tracked_2d[row])
    assert (estimate.presence, estimate.right) == (records.presence[row], records.right[row])


def save_with(path, **changes):
    columns = {**vars(records_of([2, 1])), **changes}
    np.savez_compressed(path, **{name: value for name, value in columns.items() if value is not None})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(right=None), 'lacks right; delete it'),
        (dict(times=None, detected=None), 'lacks times, detected; delete it'),
        (dict(presence=np.ones(2)), 'inconsistent'),
        (dict(frame=np.array([0, 0, 2])), 'inconsistent'),
        (dict(frame=np.array([-1, 0, 1])), 'inconsistent'),
        (dict(frame=np.array([1, 0, 1])), 'inconsistent'),
        (dict(frame=np.array([0.0, 0.5, 1.0])), 'other types or shapes'),
        (dict(detected=np.ones(3, bool)), 'inconsistent'),
        (dict(joints_2d=np.zeros((3, 20, 2), np.float32)), 'other types or shapes'),
        (dict(joints_3d=np.zeros((3, 63), np.float32)), 'other types or shapes'),
        (dict(tracked_2d=np.zeros((3, 21, 2), np.float64)), 'other types or shapes'),
        (dict(times=np.zeros((2, 1))), 'other types or shapes'),
        (dict(times=np.array(0.0)), 'other types or shapes'),
        (dict(times=np.array(['a', 'b'])), 'other types or shapes'),
        (dict(right=np.array([None] * 3)), 'Python objects'),
    ],
)
def test_files_that_do_not_fit(tmp_path, changes, message):
    path = tmp_path / 'a.npz'
    save_with(path, **changes)
    with pytest.raises(ValueError, match=message) as error:
        TrackRecords.load(path)
    assert str(path) in str(error.value) and 'delete it; the images are then processed again' in str(error.value)


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'text', 'empty'])
def test_damaged_files(tmp_path, damage):
    path = tmp_path / 'a.npz'
    records_of([2, 1, 1]).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    changed = {'cut': data[: len(data) // 2], 'flipped': data, 'text': b'no zip file', 'empty': b''}
    path.write_bytes(changed[damage])
    with pytest.raises(ValueError, match=r'a\.npz .*; delete it; the images are then processed again'):
        TrackRecords.load(path)
