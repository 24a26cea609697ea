"""Forecasters without parameters, against closed forms."""

import math

import pytest
import torch
from smooth_clips import smooth_batch, smooth_clip

from handpose.models import ConstantVelocity, DampedVelocity, LastPose, TrainingStep
from handpose.registry import MODELS
from handpose.structures import HandSequence, SequenceError

EVERY = ('LastPose', 'ConstantVelocity', 'DampedVelocity')


def line_clip(num_frames=8, velocity=0.3, noise=0.0, times=None, sides=(0, 1)):
    """Joints that move along x at `velocity` metres per second, from their places in a smooth clip."""
    clip = smooth_clip(num_frames, sides)
    times = clip.timestamps if times is None else torch.as_tensor(times, dtype=torch.float64)
    start = clip.joints_3d[:1].double()
    step = torch.tensor([velocity, 0, 0], dtype=torch.float64)
    joints = start + times[:, None, None, None] * step
    joints = joints + noise * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0))
    return clip.replace(joints_3d=joints.float(), timestamps=times)


@pytest.mark.parametrize('name', EVERY)
def test_futures_of_a_straight_motion(name):
    """Positions and timestamps against the closed form; the frame rate is the clip's."""
    clip = line_clip(times=torch.arange(8, dtype=torch.float64) / 60 + 3)
    model = MODELS.build(dict(type=name))
    future = model.forecast(HandSequence.stack([clip, clip]), 30).validate()
    elapsed = torch.arange(1, 31, dtype=torch.float64) / 60
    reach = {
        'LastPose': 0 * elapsed,
        'ConstantVelocity': elapsed,
        'DampedVelocity': model.time_constant * (1 - torch.exp(-elapsed / max(model.time_constant, 1e-9))),
    }[name]
    expected = clip.joints_3d[-1].double() + 0.3 * reach[:, None, None, None] * torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(future.joints_3d, expected.float().expand(2, -1, -1, -1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(future.timestamps, (clip.timestamps[-1] + elapsed).expand(2, -1))
    assert future.joints_valid.all() and future.hand_valid.all() and future.frame_valid.all()
    assert future.hand_side.tolist() == [[0, 1]] * 2


def test_the_velocity_is_a_least_squares_fit():
    clip = line_clip(noise=0.01)
    frames, joint = slice(-5, None), (1, 7, 2)
    slope = torch.linalg.lstsq(
        torch.stack([clip.timestamps[frames], torch.ones(5, dtype=torch.float64)], 1),
        clip.joints_3d[frames, joint[0], joint[1], joint[2]].double()[:, None],
    ).solution[0, 0]
    future = ConstantVelocity(num_frames=5).forecast(HandSequence.stack([clip]), 3).joints_3d[0]
    place = clip.joints_3d[-1][joint].double()
    torch.testing.assert_close(future[2][joint].double(), place + slope * 0.1, atol=1e-6, rtol=0)
    # More frames, less noise: the error of the velocity falls.
    errors = []
    for count in (2, 4, 8):
        moved = ConstantVelocity(num_frames=count).forecast(HandSequence.stack([clip]), 30).joints_3d[0, -1]
        errors.append((moved - clip.joints_3d[-1] - torch.tensor([0.3, 0, 0])).norm(dim=-1).mean())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_limits_of_the_time_constant():
    batch = HandSequence.stack([line_clip(noise=0.01)])
    for slow, limit in ((DampedVelocity(4, 1e6), ConstantVelocity(4)), (DampedVelocity(4, 1e-6), LastPose())):
        torch.testing.assert_close(
            slow.forecast(batch, 20).joints_3d, limit.forecast(batch, 20).joints_3d, atol=1e-4, rtol=0
        )
    assert ConstantVelocity().time_constant == math.inf


@pytest.mark.parametrize('name', EVERY)
def test_missing_hands_joints_and_frames(name):
    """A hand that is never seen stays missing; one that left goes on from where it was; padding is no frame."""
    clips = [line_clip(8), line_clip(8), line_clip(6)]
    gone, left = clips[0].joints_valid.clone(), clips[1].joints_valid.clone()
    gone[:, 0] = False
    left[5:, 1] = False
    nan = torch.tensor(torch.nan)
    clips[0] = clips[0].replace(joints_valid=gone, joints_3d=torch.where(gone[..., None], clips[0].joints_3d, nan))
    clips[1] = clips[1].replace(joints_valid=left, joints_3d=torch.where(left[..., None], clips[1].joints_3d, nan))
    batch = HandSequence.stack(clips)
    model = MODELS.build(dict(type=name))
    future = model.forecast(batch, 10).validate()
    assert future.joints_3d.isfinite().all()
    assert future.hand_valid.any(1).tolist() == [[False, True], [True, True], [True, True]]
    for b, clip in enumerate([line_clip(8), line_clip(5), line_clip(6)]):
        alone = model.forecast(HandSequence.stack([clip]), 13).joints_3d[0, :, 1]
        skipped = 3 if b == 1 else 0
        torch.testing.assert_close(future.joints_3d[b, :, 1], alone[skipped : skipped + 10], atol=1e-5, rtol=0)
    torch.testing.assert_close(future.timestamps[2], line_clip(16).timestamps[6:])
    single = HandSequence.stack([line_clip(8, sides=(0,))])
    assert model.forecast(single, 4).joints_3d.shape == (1, 4, 1, 21, 3)


def test_it_sees_what_an_estimator_gave():
    batch = smooth_batch(2, 12)
    given = batch.joints_3d + 0.05
    seen = batch.replace(input_joints_3d=given, input_valid=batch.hand_valid)
    torch.testing.assert_close(LastPose().forecast(seen, 2).joints_3d[:, 1], given[:, -1])


@pytest.mark.parametrize('name', EVERY)
def test_prediction_has_the_future_that_the_batch_asks_for(name):
    whole, model = smooth_batch(2, 20), MODELS.build(dict(type=name))
    clips = []
    for clip in whole.unstack():
        future = HandSequence.stack([clip.select_frames(range(12, 20))])
        clips.append(clip.select_frames(range(12)).replace(future=future))
    batch = HandSequence.stack(clips)
    prediction = model.predict(batch).validate()
    torch.testing.assert_close(prediction.joints_3d, batch.joints_3d)
    torch.testing.assert_close(prediction.future.joints_3d, model.forecast(batch, 8).joints_3d)
    torch.testing.assert_close(prediction.future.timestamps, batch.future.timestamps)


def test_what_is_refused():
    batch = smooth_batch(2, 12)
    with pytest.raises(ValueError, match='LastPose is deterministic and gives one prediction, got num_samples=3'):
        LastPose().forecast(batch, 4, num_samples=3)
    with pytest.raises(ValueError, match='num_frames must be at least 1, got 0'):
        LastPose().forecast(batch, 0)
    with pytest.raises(SequenceError, match="'timestamps'"):
        ConstantVelocity().forecast(batch.replace(timestamps=None), 4)
    with pytest.raises(ValueError, match='num_frames must be at least 2 and time_constant at least 0, got 1'):
        ConstantVelocity(num_frames=1)
    with pytest.raises(ValueError, match='time_constant at least 0, got 3 and -1'):
        DampedVelocity(time_constant=-1)
    with pytest.raises(NotImplementedError, match='DampedVelocity has nothing to train'):
        DampedVelocity().loss(batch, TrainingStep())
