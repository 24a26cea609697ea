import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation

from handpose.geometry import procrustes_align


def random_points(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 3))


def evaluator_alignment(pred, target):
    """One sample the way the FreiHAND, HO3D and DexYCB evaluators align: improper rotations allowed."""
    pred, target = pred - pred.mean(0), target - (mean := target.mean(0))
    pred_norm, target_norm = np.linalg.norm(pred) + 1e-8, np.linalg.norm(target) + 1e-8
    rotmat, scale = orthogonal_procrustes(target / target_norm, pred / pred_norm)
    return (pred / pred_norm) @ rotmat.T * scale * target_norm + mean


def proper_alignment(pred, target, weights, with_scale):
    """One sample through scipy's own (weighted, proper) rotation fit."""
    weights = weights / weights.sum()
    pred, target = pred - weights @ pred, target - (mean := weights @ target)
    rotation, _ = Rotation.align_vectors(target, pred, weights)
    turned = rotation.apply(pred)
    scale = (weights @ (turned * target).sum(-1)) / (weights @ (pred**2).sum(-1)) if with_scale else 1
    return scale * turned + mean


def test_reflections_allowed_equals_the_official_evaluators():
    pred, target = random_points(4, 5, 21), random_points(4, 5, 21, seed=1)
    found = procrustes_align(torch.tensor(pred), torch.tensor(target), allow_reflection=True)
    for i, j in np.ndindex(4, 5):
        np.testing.assert_allclose(found[i, j], evaluator_alignment(pred[i, j], target[i, j]), atol=1e-12)


@pytest.mark.parametrize('with_scale', [True, False])
@pytest.mark.parametrize('weighted', [True, False])
def test_proper_alignment_equals_scipy(with_scale, weighted):
    pred, target = random_points(20, 21), random_points(20, 21, seed=1)
    weights = np.random.default_rng(2).uniform(0.1, 2, (20, 21)) if weighted else np.ones((20, 21))
    found = procrustes_align(
        torch.tensor(pred),
        torch.tensor(target),
        scale=with_scale,
        weights=torch.tensor(weights) if weighted else None,
    )
    for i in range(20):
        expected = proper_alignment(pred[i], target[i], weights[i], with_scale)
        np.testing.assert_allclose(found[i], expected, atol=1e-7)  # the evaluators' norm guard is 1e-8


@pytest.mark.parametrize(('allow_reflection', 'perfect'), [(True, True), (False, False)])
def test_a_mirrored_hand_aligns_only_by_a_reflection(allow_reflection, perfect):
    target = torch.tensor(random_points(10, 21))
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
    error = (procrustes_align(mirrored, target, allow_reflection) - target).norm(dim=-1)
    assert (error.max() < 1e-6) == perfect


def test_a_similarity_is_undone_in_float32_also_for_a_hand_lying_in_a_plane():
    target = random_points(50, 21) * 0.05
    target[25:, :, 2] = 0
    moved = 3 * np.einsum('bij,bnj->bni', Rotation.random(50, random_state=0).as_matrix(), target) + 0.5
    aligned = procrustes_align(torch.tensor(moved, dtype=torch.float32), torch.tensor(target, dtype=torch.float32))
    np.testing.assert_allclose(aligned, target, atol=1e-6)


def test_points_without_weight_change_nothing_whatever_they_hold():
    pred, target = torch.tensor(random_points(3, 21)), torch.tensor(random_points(3, 21, seed=1))
    valid = torch.arange(21) < 15
    expected = procrustes_align(pred[:, :15], target[:, :15])
    target[:, 15:] = torch.nan
    found = procrustes_align(pred, target, weights=valid.expand(3, 21))
    np.testing.assert_allclose(found[:, :15], expected, atol=1e-12)
    assert found.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('allow_reflection', [True, False])
@pytest.mark.parametrize('case', ['pred', 'target', 'both', 'line', 'unweighted', 'equal singular values'])
def test_degenerate_sets_stay_finite_with_their_gradients(case, allow_reflection, dtype):
    pred, target = (torch.tensor(random_points(2, 6, seed=seed), dtype=dtype) for seed in (0, 1))
    weights = torch.ones(2, 6, dtype=dtype)
    if case in ('pred', 'both'):
        pred = torch.full_like(pred, 0.3)
    if case in ('target', 'both'):
        target = torch.full_like(target, 0.3)
    if case == 'line':
        pred, target = pred * torch.tensor([1.0, 0, 0]).to(dtype), target * torch.tensor([0, 1.0, 0]).to(dtype)
    if case == 'unweighted':
        weights = weights * 0
    if case == 'equal singular values':
        pred = target = torch.cat([torch.eye(3), -torch.eye(3)]).to(dtype).expand(2, 6, 3)
    inputs = [x.clone().requires_grad_() for x in (pred, target, weights)]
    aligned = procrustes_align(*inputs[:2], allow_reflection, weights=inputs[2])
    (aligned * torch.arange(36.0).reshape(2, 6, 3)).sum().backward()
    assert aligned.isfinite().all()
    assert all(x.grad.isfinite().all() for x in inputs)


@pytest.mark.parametrize('allow_reflection', [True, False])
@pytest.mark.parametrize('scale', [True, False])
def test_gradients_equal_finite_differences(allow_reflection, scale):
    # Seven generic sets: among them some where forbidding the reflection flips a singular value.
    inputs = [torch.tensor(random_points(7, 5, seed=seed), requires_grad=True) for seed in (3, 4)]
    inputs.append(torch.rand(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_())
    assert torch.autograd.gradcheck(
        lambda pred, target, weights: procrustes_align(pred, target, allow_reflection, scale, weights), inputs
    )


def test_gradient_is_right_where_singular_values_are_equal():
    corners = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    target = corners @ torch.tensor(Rotation.from_rotvec([0.3, 0.2, -0.5]).as_matrix()).T
    assert torch.autograd.gradcheck(lambda pred: procrustes_align(pred, target), corners.requires_grad_())


def test_half_precision_is_computed_in_float32():
    pred = torch.tensor(random_points(2, 21)).bfloat16()
    assert procrustes_align(pred, pred).dtype == torch.float32
