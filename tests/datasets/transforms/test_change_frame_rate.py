"""`ChangeFrameRate`: frames of the clip where rates divide, a spline between them elsewhere."""

import numpy as np
import pytest
import torch
from motion_clips import clip

from handpose.datasets import DatasetError
from handpose.datasets.transforms import ChangeFrameRate


def path_clip(frames=60):
    """A clip at 30 frames per second whose joints move on cubic polynomials of time."""
    sample = clip(frames, 1, (1,), seed=3)
    times = torch.arange(frames).double() / 30
    path = torch.stack([times, times**2, 1 - times**3], -1)[:, None, None] + torch.arange(21)[:, None]
    valid = torch.ones(frames, 1, 21, dtype=torch.bool)
    return sample.replace(
        meta={**dict(sample.meta), 'fps': 30.0},
        joints_3d=path.float(),
        joints_valid=valid,
        frame_valid=torch.ones(frames, dtype=torch.bool),
        input_joints_3d=None,
        input_valid=None,
        input_confidence=None,
    )


@pytest.mark.parametrize('rate', [7.5, 10.0, 20.0, 30.0, 60.0])
def test_the_motion_is_the_same_at_any_rate(rate):
    rng = np.random.default_rng(0)
    changed = ChangeFrameRate([rate], 24)(path_clip(), rng).validate()
    length = int(changed.frame_valid.sum())
    assert changed.meta['fps'] == rate and len(changed.joints_3d) == 24 and length == min(24, int(59 * rate / 30) + 1)
    times = changed.joints_3d[:length, 0, 0, 0].double()  # the first coordinate is the time
    np.testing.assert_allclose(times.diff(), 1 / rate, atol=1e-5)
    np.testing.assert_allclose(changed.joints_3d[:length, 0, 0, 1], times**2, atol=1e-4)
    np.testing.assert_allclose(changed.joints_3d[:length, 0, 4, 2], 5 - times**3, atol=1e-4)
    np.testing.assert_allclose(changed.timestamps.diff(), 1 / rate)
    changed.validate()


@pytest.mark.parametrize('speed', [0.5, 0.7, 2.0])
def test_a_slower_or_faster_motion(speed):
    changed = ChangeFrameRate([15.0], 24, speeds=(speed, speed))(path_clip(), np.random.default_rng(0)).validate()
    length = int(changed.frame_valid.sum())
    assert changed.meta['fps'] == 15 and length == min(24, int(59 / 30 * 15 / speed + 1e-6) + 1)
    times = changed.joints_3d[:length, 0, 0, 0].double()  # of the recording
    np.testing.assert_allclose(times.diff(), speed / 15, atol=1e-5)
    np.testing.assert_allclose(changed.joints_3d[:length, 0, 4, 2], 5 - times**3, atol=1e-4)
    np.testing.assert_allclose(changed.timestamps.diff(), 1 / 15)


def test_speeds_are_drawn_from_the_whole_range():
    change, rng = ChangeFrameRate([30.0], 20, speeds=(0.5, 2.0)), np.random.default_rng(0)
    drawn = [30 * float(change(path_clip(), rng).joints_3d[1:3, 0, 0, 0].double().diff()[0]) for _ in range(200)]
    assert 0.5 - 1e-4 < min(drawn) < 0.53 and 1.9 < max(drawn) < 2 + 1e-4
    assert np.mean(np.log(drawn)) == pytest.approx(0, abs=0.09)  # three standard errors


def test_frames_that_are_there_are_taken_as_they_are():
    sample = path_clip()
    changed = ChangeFrameRate([15.0], 16)(sample, np.random.default_rng(1))
    frames = changed.meta['frame_indices']
    assert np.diff(frames).tolist() == [2] * 15
    torch.testing.assert_close(changed.joints_3d, sample.joints_3d[frames], rtol=0, atol=0)


def test_a_joint_needs_both_neighbours():
    sample = path_clip()
    valid = sample.joints_valid.clone()
    valid[20:, 0, 3] = False
    changed = ChangeFrameRate([60.0], 119)(sample.replace(joints_valid=valid), np.random.default_rng(0))
    assert changed.joints_valid[:, 0, 3].tolist() == [k <= 38 for k in range(119)]
    assert changed.joints_valid[:, 0, 2].all()
    short = ChangeFrameRate([10.0], 64)(sample, np.random.default_rng(0))
    assert short.frame_valid.tolist() == [k < 20 for k in range(64)]


def test_rates_are_drawn():
    rng = np.random.default_rng(0)
    rates = [ChangeFrameRate((10, 30), 8)(path_clip(), rng).meta['fps'] for _ in range(30)]
    assert 8 < rates.count(10.0) < 22 and set(rates) == {10.0, 30.0}


def test_what_it_refuses():
    with pytest.raises(DatasetError, match='expected positive rates'):
        ChangeFrameRate([])
    for speeds in ((1.5, 0.5), (0.0, 1.0), (1.0,)):
        with pytest.raises(DatasetError, match='speeds must be the slowest and the fastest'):
            ChangeFrameRate(speeds=speeds)
    sample = path_clip()
    with pytest.raises(DatasetError, match='place it before'):
        ChangeFrameRate()(sample.replace(input_joints_3d=sample.joints_3d), np.random.default_rng(0))
    with pytest.raises(DatasetError, match='needs joints_3d'):
        ChangeFrameRate()(sample.replace(meta={**dict(sample.meta), 'fps': None}), np.random.default_rng(0))
