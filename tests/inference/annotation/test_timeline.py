"""Which images show the same moment: cameras of other lengths, rates and starts."""

import numpy as np
import pytest

from handpose.inference.annotation.recording_source import AnnotationError
from handpose.inference.annotation.timeline import make_timeline


def regular(count, rate=30.0, digits=9):
    return np.round(np.arange(count) / rate, digits)


def test_equal_cameras():
    found = make_timeline(['a', 'b', 'c'], [regular(10)] * 3)
    np.testing.assert_array_equal(found.frame_indices, np.repeat(np.arange(10)[:, None], 3, 1))
    np.testing.assert_array_equal(found.timestamps, regular(10))
    assert found.notes == []


def test_rounded_times_do_not_shift_images():
    """Milliseconds, and a container that states 29.97 for 30 images per second, over ten minutes."""
    found = make_timeline(['a', 'b'], [regular(18_000, digits=3), regular(18_000, 29.97)])
    assert (found.frame_indices[:, 0] == found.frame_indices[:, 1]).all() and len(found) == 18_000


def test_a_camera_that_is_unplugged():
    """The others go on; what only one camera shows is left out."""
    found = make_timeline(['a', 'b', 'c'], [regular(6), regular(20), regular(15)])
    assert len(found) == 15
    np.testing.assert_array_equal(found.frame_indices[:, 0], [*range(6), *[-1] * 9])
    np.testing.assert_array_equal(found.frame_indices[:, 1], range(15))
    np.testing.assert_allclose(found.timestamps, regular(15))
    assert found.notes == ['a has no image after frame 5 of 15']


def test_offsets():
    """What a shows in image 0, b shows in image 3; the times stay those of a."""
    found = make_timeline(['a', 'b'], [regular(10), regular(10)], [0, 0.1])
    np.testing.assert_array_equal(found.frame_indices, np.column_stack([np.arange(7), np.arange(3, 10)]))
    found = make_timeline(['a', 'b', 'c'], [regular(10), regular(10), regular(10)], [0, -0.1, 0.101])
    assert found.frame_indices[0].tolist() == [0, -1, 3] and found.frame_indices[-1].tolist() == [9, 6, -1]
    found = make_timeline(['a', 'b', 'c'], [regular(10)] * 3, [0, 0.2, 0.2])
    assert found.frame_indices[0].tolist() == [-1, 0, 0]
    assert found.timestamps[:7] == pytest.approx(np.arange(-6, 1) / 30)


def test_a_fraction_of_a_frame_is_stated():
    found = make_timeline(['a', 'b'], [regular(10)] * 2, [0, 0.112])
    assert found.notes[0].startswith('b is off by 0.4 of a frame period after its offset of 3 frames')


def test_different_rates():
    found = make_timeline(['fast', 'slow'], [regular(60, 60), regular(30, 30)], [0, 0.5])
    np.testing.assert_array_equal(found.frame_indices[:, 1], np.arange(15, 30))
    np.testing.assert_array_equal(found.frame_indices[:, 0], np.arange(0, 30, 2))
    np.testing.assert_allclose(found.timestamps, np.arange(15) / 30, atol=1e-9)
    assert (
        'different or irregular frame rates (fast 60, slow 30 per second): the frames are those of slow'
        in (found.notes[0])
    )


def test_dropped_images():
    """A phone that drops images has times that tell; numbers alone would be off from then on."""
    kept = np.r_[0:5, 9:20]
    found = make_timeline(['a', 'b'], [regular(20), regular(20)[kept]])
    expected = np.full(20, -1)
    expected[kept] = np.arange(len(kept))
    np.testing.assert_array_equal(found.frame_indices[:, 1], expected)
    assert found.notes[1] == 'b has no image in 4 frames between of 20'


def test_against_brute_force():
    generator = np.random.default_rng(0)
    times = [np.cumsum(generator.uniform(0.6, 1.4, count) / rate) for count, rate in ((50, 20), (80, 30), (60, 25))]
    times = [t - t[0] for t in times]
    offsets = np.array([0, 0.3, -0.2])
    found = make_timeline(list('abc'), times, offsets)
    for t, row in zip(found.timestamps, found.frame_indices, strict=True):
        for k in range(3):
            distance = np.abs(times[k] - offsets[k] - t)
            if row[k] >= 0:
                assert distance[row[k]] == distance.min()
            else:
                assert distance.min() > 0.025 - 1e-3
    assert (np.diff(found.timestamps) > 0).all() and ((found.frame_indices >= 0).sum(1)[[0, -1]] >= 2).all()


def test_single_images_and_nothing_in_common():
    assert make_timeline(['a', 'b'], [regular(1), regular(1)]).frame_indices.tolist() == [[0, 0]]
    with pytest.raises(AnnotationError, match=r'no moment at which two cameras have images: a 0.00 to 0.30 s, b -5.00'):
        make_timeline(['a', 'b'], [regular(10), regular(10)], [0, 5])
