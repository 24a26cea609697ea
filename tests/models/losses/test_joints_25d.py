"""Losses of heatmaps, distributions and hand identities against formulas; labels whose means are exact."""

import numpy as np
import pytest
import torch

from handpose.models import CoordinateDistributionLoss, GaussianHeatmapLoss, HandIdentityLoss, triangle_labels


@pytest.fixture
def positions():
    """(2, 2, 21, 3), some outside."""
    return torch.rand(2, 2, 21, 3, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1


@pytest.fixture
def valid():
    return torch.rand(2, 2, 21, 3, generator=torch.Generator().manual_seed(1)) > 0.2


@pytest.mark.parametrize('count', [2, 5, 64])
@pytest.mark.parametrize('radius', [1, 4, 6])
def test_triangles_have_exact_means_up_to_the_outermost_cells(count, radius):
    positions = torch.linspace(0, 1, 1001, dtype=torch.float64)
    labels = triangle_labels(positions, count, radius)
    torch.testing.assert_close(labels.sum(-1), torch.ones(1001, dtype=torch.float64))
    assert (labels >= 0).all() and ((labels > 0).sum(-1) <= max(2, 2 * radius)).all()
    means = (labels * (torch.arange(count) + 0.5) / count).sum(-1)
    expected = positions.clamp(0.5 / count, 1 - 0.5 / count)
    torch.testing.assert_close(means, expected, atol=1e-12, rtol=0)
    if count == 64:  # a Gaussian of the same width, cut by the border, has its mean a cell too far inside
        cells = np.arange(64)
        weights = np.exp(-0.5 * (cells / (radius / 6**0.5)) ** 2)
        assert radius == 1 or (weights * cells).sum() / weights.sum() > 0.9


def test_triangles_are_the_widest_that_fit():
    labels = triangle_labels(torch.tensor([0.5, 0.15, 0.25]) + 0.0, 10, 3)
    torch.testing.assert_close(labels[0, 2:8] * 9, torch.tensor([0.5, 1.5, 2.5, 2.5, 1.5, 0.5]))
    torch.testing.assert_close(labels[1, :4] * 4, torch.tensor([1.0, 2, 1, 0]))
    torch.testing.assert_close(labels[2, :5] * 9, torch.tensor([1.0, 2, 3, 2, 1]))


def test_heatmap_loss_against_a_formula(positions, valid):
    volume = torch.randn(2, 2, 21, 4, 5, 6, generator=torch.Generator().manual_seed(2))
    errors = []
    for n, h, j in np.ndindex(2, 2, 21):
        place = positions[n, h, j].double().numpy()
        if not valid[n, h, j].all() or (place < 0).any() or (place > 1).any():
            continue
        z, y, x = np.meshgrid(np.arange(4) + 0.5, np.arange(5) + 0.5, np.arange(6) + 0.5, indexing='ij')
        distance = (x - 6 * place[0]) ** 2 + (y - 5 * place[1]) ** 2 + (z - 4 * place[2]) ** 2
        errors.append(((volume[n, h, j].numpy() - 30 * np.exp(-distance / (2 * 1.5**2))) ** 2).mean())
    loss = GaussianHeatmapLoss(sigma=1.5, peak=30.0, loss_weight=2.0)((volume,), positions, valid)
    assert loss.item() == pytest.approx(2 * np.mean(errors), rel=1e-5)


def test_distribution_loss_against_a_formula(positions, valid):
    draw = torch.Generator().manual_seed(3)
    lines = tuple(torch.randn(2, 2, 21, n, generator=draw) for n in (6, 5, 4))
    total = 0.0
    for axis, line in enumerate(lines):
        place, count = positions[..., axis], line.shape[-1]
        known = valid[..., axis] & (place >= 0) & (place <= 1)
        shares = line.double().softmax(-1)[known]
        labels = triangle_labels(place[known].double(), count, 2)
        total += -(labels * shares.log()).sum(-1).mean().item()
    loss = CoordinateDistributionLoss(radius=2, loss_weight=0.5)(lines, positions, valid)
    assert loss.item() == pytest.approx(0.5 * total, rel=1e-5)


@pytest.mark.parametrize('name', ['volume', 'lines'])
def test_without_valid_joints_losses_are_zero_and_in_the_graph(name, positions):
    shapes = [(2, 2, 21, 4, 5, 6)] if name == 'volume' else [(2, 2, 21, n) for n in (6, 5, 4)]
    maps = tuple(torch.randn(shape, requires_grad=True) for shape in shapes)
    loss_function = GaussianHeatmapLoss() if name == 'volume' else CoordinateDistributionLoss()
    for places in (positions, torch.full_like(positions, torch.nan)):
        loss = loss_function(maps, places, torch.zeros(2, 2, 21, 3, dtype=torch.bool))
        loss.backward()
        assert loss == 0 and all(m.grad is not None and not m.grad.any() for m in maps)


def test_a_joint_without_depth_teaches_its_place_alone(positions):
    lines = tuple(torch.randn(2, 2, 21, n, requires_grad=True) for n in (6, 5, 4))
    valid = torch.ones(2, 2, 21, 3, dtype=torch.bool)
    valid[..., 2] = False
    CoordinateDistributionLoss()(lines, positions, valid).backward()
    assert lines[0].grad.any() and lines[1].grad.any() and not lines[2].grad.any()
    assert GaussianHeatmapLoss()((torch.randn(2, 2, 21, 4, 5, 6),), positions, valid) == 0


def test_losses_refuse_the_maps_of_other_heads(positions, valid):
    volume, lines = (torch.zeros(2, 2, 21, 4, 5, 6),), tuple(torch.zeros(2, 2, 21, n) for n in (6, 5, 4))
    with pytest.raises(ValueError, match='use it with Heatmap25DHead'):
        GaussianHeatmapLoss()(lines, positions, valid)
    with pytest.raises(ValueError, match='use it with Distribution25DHead'):
        CoordinateDistributionLoss()(volume, positions, valid)
    with pytest.raises(ValueError, match='radius must be at least 1 cell, got 0'):
        CoordinateDistributionLoss(radius=0)
    with pytest.raises(ValueError, match='2 or 3 classes, got 1'):
        HandIdentityLoss()(torch.zeros(1, 1), torch.ones(1, 2, dtype=torch.bool))


def test_identity_loss_against_formulas():
    """Left, right, both, and a crop without a hand, which does not count."""
    shown = torch.tensor([[True, False], [False, True], [True, True], [False, False]])
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(4))
    shares = (logits.exp() / logits.exp().sum(1, keepdim=True)).numpy()
    expected = -np.mean([np.log(shares[n, k]) for n, k in enumerate((0, 1, 2))])
    assert HandIdentityLoss()(logits, shown).item() == pytest.approx(expected, rel=1e-5)
    shares = 1 / (1 + np.exp(-logits[:3, :2].numpy()))
    expected = -np.log(np.where(shown[:3], shares, 1 - shares)).mean()
    assert HandIdentityLoss(3.0)(logits[:, :2], shown).item() == pytest.approx(3 * expected, rel=1e-5)
    assert HandIdentityLoss()(logits, torch.zeros_like(shown)) == 0
