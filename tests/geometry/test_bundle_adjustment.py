import math

import pytest
import torch
from scipy.optimize import approx_fprime

from handpose.geometry import (
    geodesic_distance,
    invert_rigid,
    look_at,
    make_rigid,
    project_points,
    rotvec_to_rotmat,
    small_matmul,
)
from handpose.geometry.bundle_adjustment import _Problem, adjust_bundle

INTRINSICS = torch.tensor([[900.0, 0.0, 480.0], [0.0, 910.0, 270.0], [0.0, 0.0, 1.0]]).double()


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


@pytest.fixture
def scene(generator):
    """Points (80, 3), true and disturbed extrinsics (4, 4, 4) and exact pixels (4, 80, 2)."""
    angles = torch.arange(4) * 0.9
    eyes = torch.stack([angles.cos(), angles.sin(), 0.4 + 0.1 * angles], -1).double()
    extrinsics = look_at(eyes, torch.zeros(3).double(), torch.tensor([0.0, 0.0, 1.0]).double())
    points = 0.15 * torch.randn(80, 3, generator=generator).double()
    uv = project_points(points, INTRINSICS.expand(4, 3, 3), extrinsics)
    error = make_rigid(
        rotvec_to_rotmat(0.01 * torch.randn(4, 3, generator=generator).double()),
        0.01 * torch.randn(4, 3, generator=generator).double(),
    )
    disturbed = small_matmul(error, extrinsics)
    disturbed[0] = extrinsics[0]
    return points, extrinsics, disturbed, uv


def pose_errors(found, expected):
    """Radians, and metres of the centres after the scale is that of the truth."""
    centres, truth = (invert_rigid(cameras)[:, :3, 3] for cameras in (found, expected))
    centres, truth = centres - centres[0], truth - truth[0]
    scale = (centres * truth).sum() / (centres * centres).sum()
    angles = geodesic_distance(found[:, :3, :3], expected[:, :3, :3])
    return angles.max(), torch.linalg.vector_norm(scale * centres - truth, dim=-1).max()


def test_disturbed_cameras_are_recovered(scene):
    _, extrinsics, disturbed, uv = scene
    found = adjust_bundle(uv, INTRINSICS.expand(4, 3, 3), disturbed)
    angle, distance = pose_errors(found.extrinsics, extrinsics)
    before = pose_errors(disturbed, extrinsics)
    assert found.converged and found.valid.all() and found.used.all()
    assert found.residuals.max() < 1e-3
    assert angle < 1e-5 and distance < 1e-5
    assert before[0] > 1e-2 and before[1] > 5e-3
    assert torch.equal(found.extrinsics[0], disturbed[0])
    reprojected = project_points(found.points, INTRINSICS.expand(4, 3, 3), found.extrinsics)
    torch.testing.assert_close(torch.linalg.vector_norm(reprojected - uv, dim=-1), found.residuals, atol=1e-6, rtol=0)


def test_scale_is_that_of_the_furthest_camera(scene):
    _, _, disturbed, uv = scene
    found = adjust_bundle(uv, INTRINSICS.expand(4, 3, 3), disturbed, reference=1)
    assert torch.equal(found.extrinsics[1], disturbed[1])
    before, after = (invert_rigid(cameras)[:, :3, 3] for cameras in (disturbed, found.extrinsics))
    furthest = torch.linalg.vector_norm(before - before[1], dim=-1).argmax()
    distances = [torch.linalg.vector_norm(centres[furthest] - centres[1]) for centres in (before, after)]
    torch.testing.assert_close(*distances)


def test_wrong_and_missing_observations(scene, generator):
    _, extrinsics, disturbed, uv = scene
    uv = uv + 0.3 * torch.randn(uv.shape, generator=generator)
    uv[:, ::10] += 40 * torch.randn(uv[:, ::10].shape, generator=generator)
    uv[1, 5:30] = math.nan
    uv[1:, 2] = math.nan  # seen by the reference only
    weights = torch.ones(4, 80)
    weights[3, 40:50] = 0
    robust = adjust_bundle(uv, INTRINSICS.expand(4, 3, 3), disturbed, weights=weights)
    linear = adjust_bundle(uv, INTRINSICS.expand(4, 3, 3), disturbed, weights=weights, loss='linear')
    assert not robust.valid[2] and (robust.points[2] == 0).all() and robust.valid.sum() >= 70
    assert not robust.used[1, 5:30].any() and not robust.used[3, 40:50].any()
    assert (robust.residuals[~robust.used] == 0).all()
    assert robust.residuals[robust.used].median() < 0.6
    angle, distance = pose_errors(robust.extrinsics, extrinsics)
    assert angle < 4e-3 and distance < 4e-3
    assert distance < pose_errors(linear.extrinsics, extrinsics)[1] / 3


def test_sparsity_covers_the_derivatives(scene):
    points, _, disturbed, uv = (tensor.numpy() for tensor in scene)
    used = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)).numpy() > 0.3
    used[:2] = True
    problem = _Problem(uv[:, :6], INTRINSICS.expand(4, 3, 3).numpy(), disturbed, used.astype(float), used, 1)
    dense = approx_fprime(problem.start(points[:6]), problem.residuals, 1e-6)
    assert dense.shape == problem.sparsity().shape
    outside = dense[problem.sparsity().toarray() == 0]
    assert abs(outside).max() == 0
    assert (dense != 0).sum() > 0.85 * problem.sparsity().nnz


def test_errors_say_what_is_expected(scene):
    _, _, disturbed, uv = scene
    intrinsics = INTRINSICS.expand(4, 3, 3)
    alone = uv.clone()
    alone[2, 4:] = math.nan
    with pytest.raises(ValueError, match='camera 2 shares 4 points with the other cameras, at least 6'):
        adjust_bundle(alone, intrinsics, disturbed)
    with pytest.raises(ValueError, match=r'points_2d \(V, N, 2\).*\(3, 3, 3\)'):
        adjust_bundle(uv, intrinsics[:3], disturbed)
    with pytest.raises(ValueError, match="got 'l2'"):
        adjust_bundle(uv, intrinsics, disturbed, loss='l2')
    with pytest.raises(ValueError, match='one of the 4 cameras, got 4'):
        adjust_bundle(uv, intrinsics, disturbed, reference=4)
