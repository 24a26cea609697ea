"""Smooth L1 of points, the acceleration loss, and what refiners are trained with."""

import numpy as np
import pytest
import torch

from handpose.geometry import rot6d_to_rotmat, rotvec_to_rotmat
from handpose.hands import ProceduralHand
from handpose.models import (
    AccelerationLoss,
    HandPoseLoss,
    HandShapeLoss,
    RefinedMotion,
    RefinementLoss,
    SmoothL1KeypointLoss,
    TrainingStep,
)
from handpose.models.losses.targets import MotionTarget

SETTINGS = dict(
    point_loss=dict(type='SmoothL1KeypointLoss', beta=0.01),
    acceleration_loss=dict(type='AccelerationLoss'),
    pose_loss=dict(type='HandPoseLoss', base='smooth_l1'),
    shape_loss=dict(type='HandShapeLoss', base='smooth_l1'),
)


def smooth_l1(error, beta):
    error = np.abs(error)
    return np.where(error < beta, error**2 / (2 * beta), error - beta / 2)


def test_smooth_l1_of_known_errors():
    """Half the square over beta below it, the error less half of beta above."""
    prediction = torch.tensor([[[0.004, 0.0, 0.0], [0.0, 0.030, 0.0]]])
    loss = SmoothL1KeypointLoss(beta=0.01)(prediction, torch.zeros(1, 2, 3))
    assert loss.item() == pytest.approx((0.004**2 / 0.02 + 0.025) / 6)


@pytest.mark.parametrize('beta', [0.001, 0.01, 1.0])
def test_smooth_l1_equals_numpy_over_valid_points(beta):
    prediction, target = torch.randn(2, 5, 21, 3, dtype=torch.float64), torch.randn(2, 5, 21, 3, dtype=torch.float64)
    valid = torch.rand(2, 5, 21) < 0.5
    loss = SmoothL1KeypointLoss(beta, loss_weight=3.0)(prediction, target, valid)
    wanted = 3 * smooth_l1((prediction - target)[valid].numpy(), beta).mean()
    assert loss.item() == pytest.approx(wanted)
    frames = valid[..., 0]
    loss = SmoothL1KeypointLoss(beta)(prediction, target, frames)
    assert loss.item() == pytest.approx(smooth_l1((prediction - target)[frames].numpy(), beta).mean())


def test_constant_velocity_has_no_acceleration():
    time = torch.arange(6.0)[None, :, None, None]
    start, speed = torch.randn(2, 1, 21, 3), torch.randn(2, 1, 21, 3)
    loss = AccelerationLoss()(start + speed * time, torch.zeros(2, 6, 21, 3))
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_known_acceleration():
    """x = t^2 / 2 centimetres along one axis of three: 0.01 m per frame^2 there, whatever the other does evenly."""
    time = torch.arange(5, dtype=torch.float64)[None, :, None]
    prediction = torch.zeros(1, 5, 1, 3, dtype=torch.float64)
    prediction[..., 0] = 0.01 * time**2 / 2
    assert AccelerationLoss()(prediction, 7 * time[..., None].expand(1, 5, 1, 3)).item() == pytest.approx(0.01 / 3)


def test_acceleration_equals_numpy_where_all_three_frames_are_valid():
    prediction, target = (torch.randn(3, 8, 21, 3, dtype=torch.float64) for _ in range(2))
    valid = torch.rand(3, 8, 21) < 0.7
    difference = np.diff((prediction - target).numpy(), n=2, axis=1)
    known = valid[:, :-2] & valid[:, 1:-1] & valid[:, 2:]
    loss = AccelerationLoss(loss_weight=2.0)(prediction, target, valid)
    assert loss.item() == pytest.approx(2 * np.abs(difference)[known.numpy()].mean())
    assert AccelerationLoss()(prediction, target).item() == pytest.approx(np.abs(difference).mean())


@pytest.mark.parametrize('loss', [SmoothL1KeypointLoss(), AccelerationLoss()])
def test_invalid_points_may_be_anything(loss):
    prediction, target = torch.randn(2, 6, 21, 3, requires_grad=True), torch.randn(2, 6, 21, 3)
    valid = torch.rand(2, 6, 21) < 0.7
    wanted = loss(prediction, target, valid)
    target[~valid] = torch.nan
    found = loss(prediction, target, valid)
    found.backward()
    assert found == wanted and prediction.grad.isfinite().all() and (prediction.grad[~valid] == 0).all()
    nothing = loss(prediction, target, torch.zeros_like(valid))
    nothing.backward()
    assert nothing == 0


@pytest.mark.parametrize('num_frames', [1, 2])
def test_acceleration_of_too_few_frames_is_a_zero_in_the_graph(num_frames):
    prediction = torch.randn(2, num_frames, 21, 3, requires_grad=True)
    loss = AccelerationLoss()(prediction, torch.zeros(2, num_frames, 21, 3))
    loss.backward()
    assert loss == 0 and (prediction.grad == 0).all()


def test_smooth_l1_of_parameters():
    pose, true_pose = torch.randn(2, 3, 16, 3, 3), torch.randn(2, 3, 16, 3, 3)
    shape, true_shape = 3 * torch.randn(2, 10), torch.randn(2, 10)
    wanted = smooth_l1((pose - true_pose).numpy(), 1.0).mean()
    assert HandPoseLoss('smooth_l1')(pose, true_pose).item() == pytest.approx(wanted, rel=1e-5)
    kept = torch.tensor([True, False])
    wanted = smooth_l1((shape - true_shape)[:1].numpy(), 1.0).mean()
    assert HandShapeLoss('smooth_l1', 5.0)(shape, true_shape, kept).item() == pytest.approx(5 * wanted, rel=1e-5)


def hands(num_frames=4, parameters=True):
    """A refined motion and its target for three hands, two of which have valid parameters in some frames."""
    output = RefinedMotion(
        0.1 * torch.randn(3, num_frames, 21, 3), torch.randn(3, num_frames, 16, 6), torch.randn(3, 10)
    )
    known = torch.rand(3, num_frames) < 0.6
    known[0, 0], known[2] = True, False
    target = MotionTarget(
        frame_valid=torch.ones(3, num_frames, dtype=torch.bool),
        joints=0.1 * torch.randn(3, num_frames, 21, 3),
        joints_valid=torch.rand(3, num_frames, 21) < 0.8,
        pose=0.3 * torch.randn(3, num_frames, 16, 3) if parameters else None,
        shape=torch.randn(3, 10) if parameters else None,
        side=torch.tensor([1, 0, 1]),
        pose_valid=known if parameters else None,
    )
    return output, target


def test_terms_of_a_refiners_loss():
    """Each term by its own formula; meshes are compared around the wrist."""
    output, target = hands()
    frame_valid = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    target = target._replace(frame_valid=frame_valid)
    model, loss = ProceduralHand(), RefinementLoss(**SETTINGS, joint_weight=10.0, vertex_weight=20.0, pose_weight=3.0)
    found = loss(output, target, TrainingStep(), model)
    valid, known = target.joints_valid & frame_valid[..., None], target.pose_valid & frame_valid
    wanted = smooth_l1((output.joints - target.joints)[valid].numpy(), 0.01).mean()
    assert found['loss_joints'].item() == pytest.approx(10 * wanted, rel=1e-5)
    mine, theirs = rot6d_to_rotmat(output.pose), rotvec_to_rotmat(target.pose)
    wanted = smooth_l1((mine - theirs)[known].numpy(), 1.0).mean()
    assert found['loss_pose'].item() == pytest.approx(3 * wanted, rel=1e-5)
    wanted = smooth_l1((output.shape - target.shape)[:2][known[:2].any(1)].numpy(), 1.0).mean()
    assert found['loss_shape'].item() == pytest.approx(0.1 * wanted, rel=1e-5)
    errors = []
    for n, t in known.nonzero().tolist():
        meshes = []
        for rotations, shape in ((mine, output.shape), (theirs, target.shape)):
            hand = model(rotations[n, t], shape[n], torch.zeros(3), target.side[n])
            meshes.append(hand.vertices - hand.joints[:1])
        errors.append(smooth_l1((meshes[0] - meshes[1]).numpy(), 0.01).mean())
    assert found['loss_vertices'].item() == pytest.approx(20 * np.mean(errors), rel=1e-4)


def test_some_frames_of_the_meshes():
    """The iteration decides which ones, and all are drawn alike often; the global generator is left alone."""
    output, target = hands(6)
    target, hand_model = target._replace(pose_valid=torch.ones(3, 6, dtype=torch.bool)), ProceduralHand()

    def vertex_loss(iteration, **options):
        loss = RefinementLoss(**SETTINGS, **options)
        return loss(output, target, TrainingStep(iteration), hand_model)['loss_vertices'].item()

    before = torch.get_rng_state()
    drawn = [vertex_loss(iteration, vertex_frames=2) for iteration in range(60)]
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(drawn)) > 5 and np.mean(drawn) == pytest.approx(vertex_loss(0), rel=0.05)
    assert vertex_loss(7, vertex_frames=2) == drawn[7]
    assert [vertex_loss(n, vertex_frames=2, seed=1) for n in range(5)] != drawn[:5]
    without = RefinementLoss(**SETTINGS, vertex_weight=0.0)
    assert 'loss_vertices' not in without(output, target, TrainingStep(), hand_model)


def test_target_without_parameters_and_refiners_without_a_hand_model():
    output, target = hands(parameters=False)
    loss = RefinementLoss(**SETTINGS)
    assert loss(output, target, TrainingStep())['loss_parameters'] == 0
    alone = loss(RefinedMotion(output.joints), target, TrainingStep())
    assert set(alone) == {'loss_joints', 'loss_acceleration'}
