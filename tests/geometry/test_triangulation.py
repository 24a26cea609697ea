import math

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from handpose.geometry import look_at, project_points
from handpose.geometry.triangulation import projection_matrices, triangulate, triangulate_robust


def ring_of_cameras(views, generator):
    """Cameras on a half sphere of about a metre, all looking at the origin: intrinsics and extrinsics in float64."""
    angles = torch.arange(views) * (2 * math.pi / views) + 0.3 * torch.rand(views, generator=generator)
    heights = 0.2 + 0.6 * torch.rand(views, generator=generator)
    eyes = torch.stack([angles.cos(), angles.sin(), heights], -1).double()
    extrinsics = look_at(eyes, torch.zeros(3).double(), torch.tensor([0.0, 0.0, 1.0]).double())
    focal = 600 + 200 * torch.rand(views, generator=generator).double()
    intrinsics = torch.zeros(views, 3, 3).double()
    intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 2, 2] = focal, focal * 1.01, 1.0
    intrinsics[:, :2, 2] = torch.tensor([320.0, 240.0])
    return intrinsics, extrinsics


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def scene(generator):
    """Points (6, 21, 3), their pixels in five views (6, 5, 21, 2) and the projections (5, 3, 4)."""
    intrinsics, extrinsics = ring_of_cameras(5, generator)
    points = 0.1 * torch.randn(6, 21, 3, generator=generator).double()
    uv = project_points(points.unsqueeze(1), intrinsics, extrinsics)
    return points, uv, projection_matrices(intrinsics, extrinsics)


def test_exact_observations_give_the_points(scene):
    points, uv, projections = scene
    found = triangulate(uv, projections)
    torch.testing.assert_close(found.points, points, atol=1e-12, rtol=0)
    assert found.valid.all() and found.used.all() and (found.num_views == 5).all()
    assert found.residuals.shape == (6, 5, 21) and found.residuals.max() < 1e-9


def test_float32_pixels_and_two_views_suffice(scene):
    points, uv, projections = scene
    found = triangulate(uv[:, :2].float(), projections[:2].float())
    assert found.points.dtype == torch.float32
    assert (found.points - points).abs().max() < 1e-5
    assert (found.num_views == 2).all()


def test_linear_solution_equals_numpy_least_squares(scene, generator):
    _, uv, projections = scene
    uv = uv + 3 * torch.randn(uv.shape, generator=generator)
    weights = torch.rand(uv.shape[:-1], generator=generator).double()
    found = triangulate(uv, projections, weights)
    for t, n in ((0, 0), (3, 7), (5, 20)):
        rows = []
        for v, p in enumerate(projections.numpy()):
            w = weights[t, v, n].item()
            rows += [w * (uv[t, v, n, 0].item() * p[2] - p[0]), w * (uv[t, v, n, 1].item() * p[2] - p[1])]
        rows = np.array(rows)
        expected = np.linalg.lstsq(rows[:, :3], -rows[:, 3], rcond=None)[0]
        np.testing.assert_allclose(found.points[t, n], expected, atol=1e-10)


def test_result_does_not_depend_on_the_world_frame(scene, generator):
    _, uv, projections = scene
    uv = uv + 3 * torch.randn(uv.shape, generator=generator)
    shift = torch.eye(4).double()
    shift[:3, 3] = torch.tensor([5.0, -7.0, 2.0])
    moved = triangulate(uv, projections @ shift).points + shift[:3, 3]
    torch.testing.assert_close(moved, triangulate(uv, projections).points, atol=1e-9, rtol=0)


def test_reweighting_reaches_the_least_reprojection_error(generator):
    intrinsics, extrinsics = ring_of_cameras(4, generator)
    extrinsics[0, :3, 3] *= 4  # one camera four times as far away
    projections = projection_matrices(intrinsics, extrinsics)
    uv = project_points(0.1 * torch.randn(1, 8, 3, generator=generator).double(), intrinsics, extrinsics)
    uv = uv + 2 * torch.randn(uv.shape, generator=generator)

    def error(found):
        return found.residuals.square().sum(0)

    linear, reweighted = triangulate(uv, projections), triangulate(uv, projections, num_reweightings=5)
    for n in range(8):

        def pixels(x, n=n):
            return (project_points(torch.tensor(x)[None], intrinsics, extrinsics)[:, 0] - uv[:, n]).flatten().numpy()

        best = 2 * least_squares(pixels, linear.points[n].numpy(), xtol=1e-14, ftol=1e-14).cost
        assert best <= error(reweighted)[n] + 1e-9 < best * 1.001
    assert error(reweighted).sum() < error(linear).sum()


def test_missing_observations_and_weights_of_zero(scene):
    points, uv, projections = scene
    uv = uv.clone()
    uv[0, 0, 0] = math.nan
    uv[0, 1:, 1] = math.inf  # one view left
    uv[0, 2, 2] += 200.0
    weights = torch.ones(uv.shape[:-1], dtype=torch.bool)
    weights[0, 2, 2] = False
    found = triangulate(uv, projections, weights)
    torch.testing.assert_close(found.points[0, 0], points[0, 0], atol=1e-10, rtol=0)
    torch.testing.assert_close(found.points[0, 2], points[0, 2], atol=1e-10, rtol=0)
    assert found.num_views[0, :3].tolist() == [4, 1, 4]
    assert found.valid[0].tolist() == [n != 1 for n in range(21)]
    assert (found.points[0, 1] == 0).all() and (found.residuals[0, :, 1] == 0).all()
    assert found.residuals[0, 0, 0] == 0
    assert 150 < found.residuals[0, 2, 2] < 400  # not used, but reported
    assert all(field.isfinite().all() for field in found)


def test_parallel_rays_and_points_behind_a_camera_are_not_valid(generator):
    intrinsics, extrinsics = ring_of_cameras(2, generator)
    uv = project_points(torch.zeros(1, 1, 3).double(), intrinsics, extrinsics)
    same = projection_matrices(intrinsics, extrinsics)[[0, 0]]
    assert not triangulate(uv[[0, 0]].float(), same.float()).valid.any()
    behind = torch.tensor([[0.0, 0.0, -3.0]]).double()  # in the first camera's frame
    world = (behind - extrinsics[0, :3, 3]) @ extrinsics[0, :3, :3]
    uv = project_points(world, intrinsics, extrinsics)
    found = triangulate(uv, projection_matrices(intrinsics, extrinsics))
    assert not found.valid.any() and (found.points == 0).all()


def test_gradient_is_right_and_finite_with_missing_views(scene):
    _, uv, projections = scene
    uv = uv[:1, :3, :2].clone().requires_grad_()
    weights = torch.ones(1, 3, 2).double()
    weights[0, 1:, 1] = 0  # the second point is not valid
    torch.autograd.gradcheck(lambda x: triangulate(x, projections[:3], weights).points, (uv,))
    triangulate(uv, projections[:3], weights, num_reweightings=2).residuals.sum().backward()
    assert uv.grad.isfinite().all()


def test_robust_finds_the_views_that_agree(scene, generator):
    points, uv, projections = scene
    uv = uv + 0.5 * torch.randn(uv.shape, generator=generator)
    wrong = torch.rand(6, 21, 5, generator=generator).argsort(-1)[..., :2]  # two of five views of each point
    outlier = torch.zeros(6, 21, 5, dtype=torch.bool).scatter_(-1, wrong, True).transpose(-1, -2)
    angles = 2 * math.pi * torch.rand(outlier.shape, generator=generator)
    uv = uv + 60 * outlier.unsqueeze(-1) * torch.stack([angles.cos(), angles.sin()], -1)
    found = triangulate_robust(uv, projections, threshold=4.0)
    plain = triangulate(uv, projections)
    error = torch.linalg.vector_norm(found.points - points, dim=-1)
    assert found.valid.all()
    # Two wrong views may agree by chance in a few points; the rest is as good as without outliers.
    assert (found.used == ~outlier).all(-2).float().mean() > 0.9
    assert error.median() < 0.002 and (error > 0.005).float().mean() < 0.05
    assert torch.linalg.vector_norm(plain.points - points, dim=-1).median() > 0.01
    clean = triangulate(uv, projections, ~outlier, num_reweightings=1)
    same = (found.used == ~outlier).all(-2)
    torch.testing.assert_close(found.points[same], clean.points[same], atol=1e-12, rtol=0)


def test_robust_refuses_points_without_agreement(scene):
    _, uv, projections = scene
    uv = uv[:1, :3, :3].clone()
    uv[0, 1, 0] += torch.tensor([300.0, 300.0])
    uv[0, 2, 0] += torch.tensor([-300.0, 250.0])
    uv[0, 1, 1] = math.nan
    found = triangulate_robust(uv, projections[:3], threshold=5.0)
    assert found.valid[0].tolist() == [False, True, True]
    assert found.num_views[0].tolist() == [0, 2, 3]
    strict = triangulate_robust(uv, projections[:3], threshold=5.0, min_views=3)
    assert strict.valid[0].tolist() == [False, False, True]
    assert all(field.isfinite().all() for field in strict)


def test_leading_dimensions_broadcast(scene):
    points, uv, projections = scene
    found = triangulate_robust(uv.unflatten(0, (2, 3)), projections.expand(3, 5, 3, 4), threshold=2.0)
    torch.testing.assert_close(found.points, points.unflatten(0, (2, 3)), atol=1e-10, rtol=0)


def test_errors_say_what_is_expected(scene):
    _, uv, projections = scene
    with pytest.raises(ValueError, match=r'\(\.\.\., 5, 3, 4\).*got \(4, 3, 4\)'):
        triangulate(uv, projections[:4])
    with pytest.raises(ValueError, match='at least two views'):
        triangulate(uv[:, :1], projections[:1])
    with pytest.raises(ValueError, match='must not be negative'):
        triangulate(uv, projections, -torch.ones(uv.shape[:-1]))
    with pytest.raises(ValueError, match=r'weights must have the shape \(\.\.\., 5, 21\)'):
        triangulate(uv, projections, torch.ones(5))
    with pytest.raises(ValueError, match='positive number of pixels'):
        triangulate_robust(uv, projections, threshold=0.0)
    with pytest.raises(ValueError, match='min_views'):
        triangulate_robust(uv, projections, threshold=1.0, min_views=1)
