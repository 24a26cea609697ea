import pytest
import torch

from handpose.models import MaxMSELoss


def closed_form(prediction, target):
    """Value and gradients, attached and detached, of one set in float64."""
    difference = prediction - target
    squared = difference.square().sum(-1, keepdim=True)
    total = squared.sum()
    value = (squared**2).sum() / total
    attached = (2 * difference / total) * (2 * squared - value)
    detached = 2 * (squared / total) * difference
    return value, attached, detached


@pytest.mark.parametrize('detach_weights', [False, True])
def test_value_and_gradient(detach_weights):
    torch.manual_seed(0)
    prediction = (torch.randn(4, 21, 3, dtype=torch.float64) * 0.01).requires_grad_()
    target = torch.randn(4, 21, 3, dtype=torch.float64) * 0.01
    loss = MaxMSELoss(detach_weights, loss_weight=2.0)(prediction, target)
    loss.backward()
    expected = [closed_form(p, t) for p, t in zip(prediction.detach(), target, strict=True)]
    assert loss.item() == pytest.approx(2 * sum(e[0].item() for e in expected) / 4, rel=1e-12)
    gradient = torch.stack([e[2 if detach_weights else 1] for e in expected]) * 2 / 4
    torch.testing.assert_close(prediction.grad, gradient, atol=1e-14, rtol=1e-10)


def test_attached_weights_push_points_of_small_error_away():
    difference = torch.tensor([[1.0, 0, 0], [0.1, 0, 0]], dtype=torch.float64)
    for detach, sign in ((False, -1), (True, 1)):
        prediction = difference.clone().requires_grad_()
        MaxMSELoss(detach)(prediction, torch.zeros_like(prediction)).backward()
        assert prediction.grad[1, 0].sign() == sign


def test_lies_between_mean_and_largest_square():
    prediction, target = torch.randn(2, 21, 3)
    squared = (prediction - target).square().sum(-1)
    assert squared.mean() <= MaxMSELoss()(prediction, target) <= squared.max()


@pytest.mark.parametrize('detach_weights', [False, True])
def test_without_error_it_is_zero_with_finite_gradient(detach_weights):
    prediction = torch.randn(2, 21, 3, requires_grad=True)
    loss = MaxMSELoss(detach_weights)(prediction, prediction.detach().clone())
    loss.backward()
    assert loss == 0
    assert prediction.grad.eq(0).all()


def test_masks():
    prediction, target = torch.randn(2, 3, 21, 3)
    prediction.requires_grad_()
    sets = torch.tensor([True, False, True])
    points = torch.rand(3, 21) < 0.5
    points[1] = False
    broken = target.clone()
    broken[1] = torch.nan
    loss = MaxMSELoss()
    assert loss(prediction, broken, sets).item() == pytest.approx(loss(prediction[sets], target[sets]).item())
    by_hand = sum(loss(prediction[i, points[i]], target[i, points[i]]).item() for i in (0, 2)) / 2
    assert loss(prediction, broken, points).item() == pytest.approx(by_hand)
    loss(prediction, broken, points).backward()
    assert prediction.grad.isfinite().all()
    assert prediction.grad[~points].eq(0).all()


def test_fourth_powers_survive_half_precision():
    target = torch.zeros(1, 21, 3)
    prediction = torch.full((1, 21, 3), 0.003).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        loss = MaxMSELoss()(prediction, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(3 * prediction[0, 0, 0].item() ** 2, rel=1e-6)
    assert MaxMSELoss()(prediction.half(), target.half()).item() == pytest.approx(loss.item(), rel=1e-3)
