import numpy as np
import pytest
import torch

from handpose.models import (
    HandPoseLoss,
    HandShapeLoss,
    Joints2DLoss,
    MaxMSELoss,
    MotionDiscriminator,
    MotionLoss,
    SmoothnessLoss,
    discriminator_loss,
    generator_adversarial_loss,
)

VALID = torch.tensor([[True, True, False], [True, False, False]])


def test_parameter_losses_equal_numpy():
    pose, target = torch.randn(2, 2, 3, 16, 3, 3, dtype=torch.float64)
    shape, shape_target = torch.randn(2, 2, 10, dtype=torch.float64)
    kept = VALID.numpy()
    error = (pose - target).numpy()[kept]
    assert HandPoseLoss(loss_weight=10)(pose, target, VALID).item() == pytest.approx(10 * np.mean(error**2))
    expected = np.mean((shape - shape_target).numpy() ** 2)
    assert HandShapeLoss()(shape, shape_target).item() == pytest.approx(expected)
    squared = (error**2).sum((-1, -2))
    expected = np.mean((squared**2).sum(1) / squared.sum(1))
    assert HandPoseLoss('max_mse')(pose, target, VALID).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match='max_mse'):
        HandPoseLoss('l1')


def test_joints_2d_leaves_out_what_lies_outside():
    prediction = torch.full((1, 4, 2), 0.5)
    target = torch.tensor([[[0.5, 0.7], [-1.0, -1.0], [0.3, 1.2], [0.1, 0.5]]])
    valid = torch.tensor([[True, True, True, False]])
    assert Joints2DLoss()(prediction, target, valid).item() == pytest.approx(0.2**2 / 2)
    assert Joints2DLoss('l1', loss_weight=3)(prediction, target, valid).item() == pytest.approx(3 * 0.2 / 2)
    with pytest.raises(ValueError, match="'mse', 'l1', got 'l2'"):
        Joints2DLoss('l2')


def test_motion_loss_compares_with_the_neighbours():
    target = torch.randn(2, 5, 21, 3)
    forward = torch.cat([target[:, 1:], torch.full((2, 1, 21, 3), 9.0)], 1)
    backward = torch.cat([torch.full((2, 1, 21, 3), 9.0), target[:, :-1]], 1)
    loss = MotionLoss(dict(type='MaxMSELoss'))
    assert loss(forward, backward, target) == 0
    assert loss(backward, forward, target) > 0
    # Frame 2 is padding: only the steps between 0 and 1 and between 3 and 4 are left.
    valid = torch.tensor([[True, True, False, True, True]] * 2)
    moved = forward.clone()
    moved[:, 1:3] += 1
    assert loss(moved, backward, target, valid) == 0
    moved[:, 0] += 1
    assert loss(moved, backward, target, valid).item() == pytest.approx(3 / 2)
    assert MotionLoss(MaxMSELoss())(forward[:, :1], backward[:, :1], target[:, :1]) == 0


def test_smoothness_closed_forms():
    t = torch.arange(6.0)[None, :, None]
    valid = torch.ones(1, 6, dtype=torch.bool)
    assert SmoothnessLoss(1.0, 1.0)(3 * t, valid).item() == pytest.approx(9)
    assert SmoothnessLoss(0.0, 1.0)(0.5 * t**2).item() == pytest.approx(1)
    jump = 3 * t.clone()
    jump[:, 3:] += 100
    valid[:, 3] = False
    assert SmoothnessLoss(1.0, 1.0)(jump, valid).item() == pytest.approx(9)
    assert SmoothnessLoss()(t[:, :1]) == 0


def test_one_backward_serves_both_players():
    generator, discriminator = torch.nn.Linear(3, 5), MotionDiscriminator(5, 8)
    fake, real = generator(torch.randn(2, 4, 3)), torch.randn(3, 6, 5)
    generator_adversarial_loss(discriminator, fake).backward()
    assert all(p.grad is None for p in discriminator.parameters())
    assert all(p.grad.ne(0).any() for p in generator.parameters())
    generator.zero_grad()
    discriminator_loss(discriminator, generator(torch.randn(2, 4, 3)), real).backward()
    assert all(p.grad is None for p in generator.parameters())
    assert all(p.grad.ne(0).any() for p in discriminator.parameters())


def test_adversarial_values():
    class Score(torch.nn.Module):
        def forward(self, motion, frame_valid=None):
            return motion.mean((1, 2))

    fake, real = torch.tensor([0.2, 0.6]).view(2, 1, 1), torch.tensor([0.9]).view(1, 1, 1)
    assert generator_adversarial_loss(Score(), fake).item() == pytest.approx((0.8**2 + 0.4**2) / 2)
    assert discriminator_loss(Score(), fake, real).item() == pytest.approx((0.2**2 + 0.6**2) / 2 + 0.1**2)
    kept = torch.tensor([[True], [False]])
    assert generator_adversarial_loss(Score(), fake, kept).item() == pytest.approx(0.8**2)


def test_discriminator_does_not_see_padding():
    discriminator = MotionDiscriminator(5, 8, dropout=0.0)
    clip = torch.randn(1, 3, 5)
    score = discriminator(clip)
    padded = torch.full((2, 6, 5), 7.0)
    valid = torch.zeros(2, 6, dtype=torch.bool)
    for b, start in enumerate((0, 2)):
        padded[b, start : start + 3] = clip[0]
        valid[b, start : start + 3] = True
    torch.testing.assert_close(discriminator(padded, valid), score.expand(2))
    assert discriminator(padded, torch.zeros_like(valid)).isfinite().all()


NOTHING = torch.zeros(2, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ('loss', 'shape'),
    [
        (lambda x, y: MaxMSELoss()(x, y, NOTHING), (2, 3, 21, 3)),
        (lambda x, y: HandPoseLoss()(x, y, NOTHING), (2, 3, 16, 3, 3)),
        (lambda x, y: HandPoseLoss('max_mse')(x, y, NOTHING), (2, 3, 16, 3, 3)),
        (lambda x, y: HandShapeLoss()(x, y, NOTHING[:, 0]), (2, 10)),
        (lambda x, y: Joints2DLoss()(x, y, NOTHING[..., None].expand(2, 3, 21)), (2, 3, 21, 2)),
        (lambda x, y: MotionLoss(MaxMSELoss())(x, x, y, NOTHING), (2, 3, 21, 3)),
        (lambda x, y: SmoothnessLoss()(x, NOTHING), (2, 3, 21, 3)),
        (lambda x, y: generator_adversarial_loss(MotionDiscriminator(4, 8), x, NOTHING), (2, 3, 4)),
    ],
)
def test_without_valid_target_the_loss_is_a_zero_in_the_graph(loss, shape):
    prediction = torch.randn(shape, requires_grad=True)
    value = loss(prediction, torch.full(shape, torch.nan))
    value.backward()
    assert value == 0
    assert prediction.grad.eq(0).all()


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match='differ in shape'):
        MaxMSELoss()(torch.zeros(2, 21, 3), torch.zeros(2, 1, 3))
    with pytest.raises(ValueError, match='leading axes'):
        MaxMSELoss()(torch.zeros(2, 21, 3), torch.zeros(2, 21, 3), NOTHING)
