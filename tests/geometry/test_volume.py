import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from handpose.geometry import look_at, project_points, rotvec_to_rotmat
from handpose.geometry.triangulation import projection_matrices
from handpose.geometry.volume import (
    RunningViewSoftmax,
    cube_indices,
    cube_voxels,
    fuse_views,
    sample_features,
    unproject_features,
)

SIZE = (48, 32)  # pixels, not square


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(1)


@pytest.fixture
def views(generator):
    """Features (2, 3, 4, 8, 12) at stride 4, voxels (2, 5, 5, 5, 3) and projections (2, 3, 3, 4), float64."""
    features = torch.randn(2, 3, 4, 8, 12, generator=generator).double()
    rotmat = rotvec_to_rotmat(torch.randn(2, 3, generator=generator).double())
    voxels = cube_voxels(0.05 * torch.randn(2, 3, generator=generator).double(), 0.3, 5, rotmat)
    eyes = torch.tensor([[0.5, 0.0, 0.1], [-0.2, 0.5, 0.2], [0.3, -0.4, 0.3]]).double()
    extrinsics = look_at(eyes, torch.zeros(3).double(), torch.tensor([0.0, 0.0, 1.0]).double())
    intrinsics = torch.tensor([[50.0, 0.0, 23.5], [0.0, 50.0, 15.5], [0.0, 0.0, 1.0]]).double()
    return features, voxels, projection_matrices(intrinsics, extrinsics).expand(2, 3, 3, 4)


def stacked_fusion(features, voxels, projections, view_valid=None):
    """All views at once, softmax with minus infinity where a view does not see the voxel."""
    found = [unproject_features(features[:, v], voxels, projections[:, v], SIZE) for v in range(features.shape[1])]
    values = torch.stack([f for f, _ in found])
    seen = torch.stack([s for _, s in found]).unsqueeze(2)
    if view_valid is not None:
        seen = seen & view_valid.T[:, :, None, None, None, None]
    weights = torch.where(seen, values, -torch.inf).softmax(0).nan_to_num(0.0)
    return (values * weights).sum(0)


def test_voxels_are_the_centres_of_the_cells():
    voxels = cube_voxels(torch.tensor([1.0, 2.0, 3.0]).double(), 0.3, 3)
    assert voxels.shape == (3, 3, 3, 3)
    torch.testing.assert_close(voxels[0, 1, 2], torch.tensor([0.9, 2.0, 3.1]).double())
    torch.testing.assert_close(voxels.mean((0, 1, 2)), torch.tensor([1.0, 2.0, 3.0]).double())


def test_a_rotated_cube_turns_about_its_centre():
    rotmat = rotvec_to_rotmat(torch.tensor([0.0, 0.0, math.pi / 2]).double())
    centre = torch.tensor([0.1, 0.2, 0.3]).double()
    voxels = cube_voxels(centre, 0.2, 2, rotmat)
    torch.testing.assert_close(voxels[1, 0, 0] - centre, torch.tensor([0.05, 0.05, -0.05]).double())


def test_indices_undo_voxels(generator):
    centres = torch.randn(4, 3, generator=generator).double()
    rotmat = rotvec_to_rotmat(torch.randn(4, 3, generator=generator).double())
    voxels = cube_voxels(centres, 0.3, 6, rotmat)
    indices = cube_indices(voxels.flatten(1, 3), centres, 0.3, 6, rotmat).unflatten(1, (6, 6, 6))
    expected = torch.stack(torch.meshgrid(*[torch.arange(6.0).double()] * 3, indexing='ij'), -1)
    torch.testing.assert_close(indices, expected.expand_as(indices))


@pytest.mark.parametrize('stride', [1, 4])
def test_a_linear_image_is_sampled_exactly_at_any_stride(stride, generator):
    """Cells hold the mean of the pixels they cover: then they give back pixel coordinates. The map is not square."""
    width, height = SIZE
    columns = torch.arange(width).double().unflatten(0, (-1, stride)).mean(-1)
    rows = torch.arange(height).double().unflatten(0, (-1, stride)).mean(-1)
    maps = torch.stack(torch.broadcast_tensors(columns[None, :], rows[:, None]))[None]
    low, high = torch.tensor([stride, stride]), torch.tensor([width - stride - 1, height - stride - 1])
    uv = low + torch.rand(1, 50, 2, generator=generator).double() * (high - low)
    values, inside = sample_features(maps, uv, SIZE)
    assert inside.all()
    torch.testing.assert_close(values[0].T, uv[0])


def test_sampling_equals_scipy_up_to_the_border(generator):
    maps = torch.randn(1, 3, *SIZE[::-1], generator=generator).double()
    uv = torch.rand(1, 60, 2, generator=generator).double() * torch.tensor(SIZE) - 0.5
    values, inside = sample_features(maps, uv, SIZE)
    assert inside.all()
    for channel in range(3):
        expected = map_coordinates(maps[0, channel].numpy(), uv[0].flip(-1).T.numpy(), order=1, mode='nearest')
        np.testing.assert_allclose(values[0, channel], expected, atol=1e-12)


def test_outside_is_zero_and_not_seen():
    maps = torch.ones(1, 1, 4, 6)
    uv = torch.tensor([[[-0.6, 1.0], [SIZE[0] - 0.4, 1.0], [3.0, -0.6], [3.0, SIZE[1] - 0.4], [math.nan, 1.0]]])
    values, inside = sample_features(maps, uv, SIZE)
    assert not inside.any() and (values == 0).all()
    assert sample_features(maps, torch.tensor([[[-0.5, -0.5], [47.5, 31.5]]]), SIZE)[1].all()


def test_unprojection_samples_at_the_projected_voxels(views):
    features, voxels, projections = views
    values, seen = unproject_features(features[:, 0], voxels, projections[:, 0], SIZE)
    eye = torch.eye(3).double()
    extrinsics = torch.cat([projections[:, 0], torch.tensor([0.0, 0.0, 0.0, 1.0]).double().expand(2, 1, 4)], 1)
    uv = project_points(voxels.flatten(1, 3), eye, extrinsics)
    expected, inside = sample_features(features[:, 0], uv, SIZE)
    assert 0.2 < inside.float().mean() < 1
    torch.testing.assert_close(values.flatten(2), expected)
    assert torch.equal(seen.flatten(1), inside)


def test_voxels_behind_the_camera_are_not_seen(views):
    features, voxels, projections = views
    values, seen = unproject_features(features[:, 0], voxels, -projections[:, 0], SIZE)
    assert not seen.any() and (values == 0).all()


@pytest.mark.parametrize('scale', [1.0, 500.0])
def test_fusion_one_view_at_a_time_equals_the_stack(views, scale):
    features, voxels, projections = views
    fused = fuse_views(features * scale, voxels, projections, SIZE)
    expected = stacked_fusion(features * scale, voxels, projections)
    assert 0 < (expected == 0).float().mean() < 0.5
    torch.testing.assert_close(fused, expected)


def test_order_of_views_does_not_matter(views):
    features, voxels, projections = views
    order = torch.tensor([2, 0, 1])
    shuffled = fuse_views(features[:, order], voxels, projections[:, order], SIZE)
    torch.testing.assert_close(shuffled, fuse_views(features, voxels, projections, SIZE))


def test_masked_views_have_no_influence(views):
    features, voxels, projections = views
    view_valid = torch.tensor([[True, False, True], [True, True, True]])
    broken = features.clone()
    broken[0, 1] = math.nan
    fused = fuse_views(broken, voxels, projections, SIZE, view_valid)
    torch.testing.assert_close(fused, stacked_fusion(features, voxels, projections, view_valid))
    two = fuse_views(features[:1, [0, 2]], voxels[:1], projections[:1, [0, 2]], SIZE)
    torch.testing.assert_close(fused[:1], two)
    assert (fuse_views(broken, voxels, projections, SIZE, torch.zeros(2, 3, dtype=torch.bool)) == 0).all()


def test_negative_features_are_not_pulled_to_zero_by_views_that_see_nothing():
    """Features -2 and -3, and a view that does not see the voxel: -2.27, not -0.19."""
    softmax = RunningViewSoftmax(torch.zeros(1))
    for value, seen in ((-2.0, True), (0.0, False), (-3.0, True)):
        softmax.add(torch.tensor([value]), torch.tensor([seen]))
    expected = (-2 * math.exp(-2) - 3 * math.exp(-3)) / (math.exp(-2) + math.exp(-3))
    assert softmax.fused().item() == pytest.approx(expected, abs=1e-6)
    assert softmax.log_normalizer().item() == pytest.approx(math.log(math.exp(-2) + math.exp(-3)), abs=1e-6)


def test_gradients_equal_those_of_the_stack(views):
    _, voxels, projections = views
    view_valid = torch.tensor([[True, False, True], [True, True, True]])
    results = []
    for fusion in (
        lambda *inputs: fuse_views(*inputs, SIZE, view_valid),
        lambda *inputs: stacked_fusion(*inputs, view_valid),
    ):
        inputs = [tensor.clone().requires_grad_() for tensor in (views[0], voxels, projections)]
        fusion(*inputs).square().sum().backward()
        results.append([tensor.grad for tensor in inputs])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
    assert (results[0][0][0, 1] == 0).all() and results[0][0].abs().sum() > 0


def test_half_precision_features_are_fused_in_float32(views):
    features, voxels, projections = (tensor.float() for tensor in views)
    fused = fuse_views(features.bfloat16(), voxels, projections, SIZE)
    assert fused.dtype == torch.bfloat16
    expected = fuse_views(features.bfloat16().float(), voxels, projections, SIZE)
    assert torch.equal(fused, expected.bfloat16())


@pytest.mark.parametrize('training', [False, True])
def test_tensors_kept_for_the_volumes_do_not_grow_with_the_views(training):
    def most_kept(count):
        features = torch.randn(1, count, 2, 4, 4, requires_grad=training)
        voxels = cube_voxels(torch.tensor([[0.0, 0.0, 1.0]]), 0.3, 6)
        projections = torch.tensor([[50.0, 0, 23.5, 0], [0, 50.0, 15.5, 0], [0, 0, 1, 0]]).expand(1, count, 3, 4)
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
            fuse_views(features, voxels, projections, SIZE)
        return sum(kept) - features.numel() * training - projections.numel() * training - count * training

    assert most_kept(12) == most_kept(2)


def test_errors_say_what_is_expected(views):
    features, voxels, projections = views
    with pytest.raises(ValueError, match=r'projections \(B, V, 3, 4\)'):
        fuse_views(features, voxels, projections[:, :2], SIZE)
    with pytest.raises(ValueError, match='positive size in metres'):
        cube_voxels(torch.zeros(3), 0.0, 4)
