"""`KernelSmoother`: a Gaussian filter before training, convex and rotation-invariant with any weights."""

import numpy as np
import pytest
import torch
from motion_clips import clip

from handpose.models import KernelSmoother, LogErrorLoss, TrainingStep
from handpose.models.layers.hand_motion import joints_to_motion, motion_to_joints
from handpose.models.layers.missing_frames import fill_missing_joints, near_given
from handpose.structures import HandSequence


def random_smoother(**options):
    """A smoother with random weights, in float64."""
    torch.manual_seed(0)
    model = KernelSmoother(half_width=5, channels=16, **options).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def random_motion(frames=40, joints=21, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, frames, joints, 3, generator=generator, dtype=torch.float64).cumsum(1) * 0.003


@torch.no_grad()
def test_starts_as_a_ridge_regression_with_gaussian_weights():
    model, motion = KernelSmoother(half_width=6).double().eval(), random_motion()
    offsets = np.arange(-6, 7)
    for t in (0, 3, 20, 39):
        there = (t + offsets >= 0) & (t + offsets < 40)
        time = offsets[there] / 2  # standard deviations
        weights = np.exp(-(time**2) / 2) / np.exp(-(time**2) / 2).sum()
        design = np.stack([np.ones_like(time), time, time**2], -1)
        normal = design.T @ (weights[:, None] * design) + np.diag([0, np.e, np.e])
        kernel = np.linalg.solve(normal, design.T * weights)[0]
        expected = np.einsum('k,nkjc->njc', kernel, motion[:, t + offsets[there]].numpy())
        np.testing.assert_allclose(model(motion).joints[:, t], expected, atol=1e-12)


@torch.no_grad()
def test_stays_near_the_positions_of_the_input():
    """No farther from the frames around it than half of the largest distance between two of them."""
    model, motion = random_smoother(), random_motion()
    refined = model(motion).joints
    around = [motion[:, max(0, t - 5) : t + 6] for t in range(40)]
    low, high = (torch.stack([getattr(x, name)(1) for x in around], 1) for name in ('amin', 'amax'))
    margin = (high - low) / 2 + 1e-12  # also holds for each coordinate
    assert (refined >= low - margin).all() and (refined <= high + margin).all()
    assert (refined - motion).abs().max() > 1e-3


@torch.no_grad()
def test_a_hand_at_rest_and_a_constant_error_stay():
    model, motion = random_smoother(), random_motion()
    still = motion[:, :1].expand(-1, 40, -1, -1)
    torch.testing.assert_close(model(still).joints, still)
    torch.testing.assert_close(model(motion + 0.02).joints, model(motion).joints + 0.02)


@torch.no_grad()
def test_turns_with_the_hand_and_treats_joints_alike():
    model, motion = random_smoother(), random_motion()
    rotation = torch.linalg.qr(random_motion(3, 1)[0, :, 0])[0]
    torch.testing.assert_close(model(motion @ rotation).joints, model(motion).joints @ rotation)
    order = torch.randperm(21)
    torch.testing.assert_close(model(motion[:, :, order]).joints, model(motion).joints[:, :, order])


@torch.no_grad()
def test_missing_joints_have_no_influence():
    model, motion = random_smoother(), random_motion()
    given = torch.ones(2, 40, 21, dtype=torch.bool)
    given[:, :, [4, 9]] = False
    given[:, 20:23, 2] = False
    other = torch.where(given.any(1, keepdim=True)[..., None], motion, random_motion(seed=1))
    rest = [j for j in range(21) if j not in (4, 9)]
    found, changed = model(motion, None, given).joints, model(other, None, given).joints
    torch.testing.assert_close(found[:, :, rest], changed[:, :, rest])
    torch.testing.assert_close(changed[:, :, [4, 9]], other[:, :, [4, 9]])
    few = model(motion[:, :, rest], None, given[:, :, rest]).joints
    torch.testing.assert_close(found[:, :, rest], few)
    assert (found[:, 18:25, 2] != model(motion).joints[:, 18:25, 2]).any()


@torch.no_grad()
def test_pieces_of_long_tracks_agree_with_the_whole(monkeypatch):
    model, motion = random_smoother(), random_motion()
    whole = model(motion).joints
    monkeypatch.setattr('handpose.models.estimators.kernel_smoother.FRAMES_AT_ONCE', 7)
    torch.testing.assert_close(model(motion).joints, whole)


@torch.no_grad()
def test_a_limited_future_is_the_end_of_the_track():
    model, motion = random_smoother(), random_motion()
    limited = model(motion, None, None, None, 2).joints
    for t in (0, 10, 30):
        torch.testing.assert_close(limited[:, t], model(motion[:, : t + 3]).joints[:, t])


@torch.no_grad()
def test_padding_is_not_used():
    model, motion = random_smoother(), random_motion()
    valid = torch.arange(40).expand(2, -1) < 30
    other = motion.clone()
    other[:, 30:] += 1
    torch.testing.assert_close(model(motion, valid).joints[:, :25], model(other, valid).joints[:, :25])


@torch.no_grad()
def test_works_at_the_rate_of_the_track():
    model, motion = random_smoother(frame_rates=(10, 60)), random_motion()[0][:, None]
    given, side = torch.ones(40, 1, dtype=torch.bool), torch.ones(1)
    for rate in (10, 25, 60):
        times = torch.arange(40, dtype=torch.float64) / rate
        assert model.working_rate(times) == pytest.approx(rate)
        seen, origin = joints_to_motion(motion.transpose(0, 1), given.T)
        expected = motion_to_joints(model(seen, frame_rate=torch.tensor([float(rate)])).joints, origin)
        found = model.refine(motion, given, side, times=times).joints
        torch.testing.assert_close(found.transpose(0, 1), expected)
    assert model.working_rate(torch.arange(40) / 120.0) == 60 and model.frames_ahead(120) == 10
    assert model.working_rate(torch.arange(40) / 5.0) == 10 and model.frames_ahead(5) == 5


def test_is_trained_and_sees_less_of_the_future_in_some_steps():
    batch = HandSequence.stack([clip(12, 2, (0, 1), seed=1), clip(9, 2, (0, 1), seed=2)])
    model = KernelSmoother(half_width=4, channels=8, future_limits=0.5, loss=dict(type='LogErrorLoss'))
    for layer in (model.kernel, model.trust):
        torch.nn.init.normal_(layer.weight)
    steps = [model.loss(batch, TrainingStep(i)) for i in range(12)]
    again = [model.loss(batch, TrainingStep(i)) for i in range(12)]
    found, repeated = ([losses['loss_joints'].item() for losses in run] for run in (steps, again))
    assert found == repeated and len(set(found)) > 1
    sum(sum(losses.values()) for losses in steps).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    without = KernelSmoother(half_width=4, channels=8, loss=dict(type='LogErrorLoss'))
    assert len({without.loss(batch, TrainingStep(i))['loss_joints'].item() for i in range(4)}) == 1


def test_joints_that_are_never_given_are_not_trained():
    batch = HandSequence.stack([clip(12, 1, (1,), seed=1)])
    given = torch.ones(1, 12, 1, 21, dtype=torch.bool)
    given[..., 7] = False
    model = KernelSmoother(half_width=4, channels=8, loss=dict(type='LogErrorLoss'))
    batch = batch.replace(input_joints_valid=given)
    moved = batch.joints_3d.clone()
    moved[..., 7, :] += 1
    losses = [model.loss(b, TrainingStep())['loss_joints'] for b in (batch, batch.replace(joints_3d=moved))]
    assert losses[0] == losses[1]


def test_log_error_loss_is_the_logarithm_of_the_clips_error():
    from handpose.models.estimators.motion_refiner import RefinedMotion
    from handpose.models.losses.targets import MotionTarget

    generator = torch.Generator().manual_seed(0)
    found, true = (torch.randn(2, 6, 21, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    valid = torch.rand(2, 6, 21, generator=generator) > 0.2
    target = MotionTarget(torch.ones(2, 6, dtype=torch.bool), torch.ones(2), true, valid, None, None, None)
    losses = LogErrorLoss(offset=0.1, acceleration_weight=0.5)(RefinedMotion(found), target, TrainingStep())
    error, known = (found - true).numpy(), valid.numpy()
    means = [np.linalg.norm(e, axis=-1)[k].mean() for e, k in zip(error, known, strict=True)]
    np.testing.assert_allclose(losses['loss_joints'], np.mean(np.log(np.array(means) / 0.1 + 1)))
    second, all_three = np.diff(error, 2, axis=1), known[:, :-2] & known[:, 1:-1] & known[:, 2:]
    means = [np.linalg.norm(e, axis=-1)[k].mean() for e, k in zip(second, all_three, strict=True)]
    np.testing.assert_allclose(losses['loss_acceleration'], 0.5 * np.mean(np.log(np.array(means) / 0.1 + 1)))


def test_errors_name_the_option():
    with pytest.raises(ValueError, match='frame_rates must be the lowest and the highest'):
        KernelSmoother(frame_rates=(30, 10))
    with pytest.raises(ValueError, match='future_limits must be from 0 to 1'):
        KernelSmoother(future_limits=2)
    with pytest.raises(ValueError, match='offset must be above 0'):
        LogErrorLoss(offset=0)


def test_gaps_of_single_joints_are_filled_from_their_own_frames():
    joints, given = torch.arange(6.0).view(1, 6, 1, 1).repeat(1, 1, 3, 1), torch.ones(1, 6, 3, dtype=torch.bool)
    joints[0, :, 1] *= 2
    given[0, 2:4, 1], given[0, :, 2] = False, False
    filled = fill_missing_joints(torch.where(given[..., None], joints, torch.nan), given)
    torch.testing.assert_close(
        filled[0, :, :, 0].T, torch.stack([torch.arange(6.0), 2 * torch.arange(6.0), torch.zeros(6)])
    )


def test_frames_near_a_given_one():
    given = torch.tensor([True, False, True])[None, :, None]
    near = near_given(given, torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 0.4, 0.7, 1.2, 1.6, 2.0, 3.0]))
    assert near[0, :, 0].tolist() == [True, True, False, False, True, True, False]
