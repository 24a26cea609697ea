"""Heads of SVEgoNet: decoding against numpy, means near borders, sizes, identities and depths."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from handpose.models import Distribution25DHead, HandIdentityHead, Heatmap25DHead, WristDepthHead, identity_scores
from handpose.models.heads.joints_25d_heads import decode_argmax, decode_soft_argmax, mean_positions


def gaussians(positions, shape, sigma):
    """Volumes (N, Z, Y, X) around positions (N, 3) in [0, 1], in float64 numpy."""
    cells = [np.arange(n) + 0.5 for n in shape]
    lines = [np.exp(-0.5 * ((c - positions[:, 2 - a, None] * len(c)) / sigma) ** 2) for a, c in enumerate(cells)]
    return np.einsum('nz,ny,nx->nzyx', *lines)


@pytest.mark.parametrize('shape', [(64, 64, 64), (5, 7, 9)])
def test_argmax_finds_the_cells_of_gaussians(shape):
    rng = np.random.default_rng(0)
    index = np.stack([rng.integers(0, n, 12) for n in shape], -1)  # z, y, x
    index[:2] = [0, 0, 0], np.array(shape) - 1
    truth = ((index + 0.5) / shape)[:, ::-1]
    volume = 255 * gaussians(truth, shape, 2.5) + rng.normal(0, 0.5, (12, *shape))
    found = decode_argmax(torch.from_numpy(volume.astype(np.float32)))
    expected = [np.unravel_index(v.argmax(), shape) for v in volume.astype(np.float32)]
    np.testing.assert_allclose(found, (np.array(expected)[:, ::-1] + 0.5) / np.array(shape)[::-1], rtol=1e-6)
    if shape == (64, 64, 64):
        assert (np.array(expected) - index <= 1).all()


def test_argmax_is_off_by_up_to_half_a_cell():
    """Of 64 cells over 400 mm, 6.25 mm each: 1.8 mm root mean square along an axis."""
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.1, 0.9, (200, 3))
    volume = torch.from_numpy(gaussians(truth, (64, 64, 64), 2.5).astype(np.float32))
    error = 400 * (decode_argmax(volume).double().numpy() - truth)
    assert abs(error).max() <= 3.13 and np.sqrt((error**2).mean()) == pytest.approx(6.25 / np.sqrt(12), rel=0.05)


def test_soft_argmax_is_the_mean_of_the_softmax():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (3, 4, 5, 6))
    shares = np.exp(logits) / np.exp(logits).sum((1, 2, 3), keepdims=True)
    centres = [(np.arange(n) + 0.5) / n for n in (4, 5, 6)]
    expected = np.stack([np.einsum('nzyx,zyx->n', shares, np.broadcast_to(c, (4, 5, 6))) for c in (
        centres[2], centres[1][:, None], centres[0][:, None, None])], -1)  # fmt: skip
    volume = torch.from_numpy(logits)
    np.testing.assert_allclose(decode_soft_argmax(volume), expected, rtol=1e-12)
    assert decode_soft_argmax(volume.half()).dtype == torch.float32
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(decode_soft_argmax(volume.float()), decode_soft_argmax(volume.float()))


def test_soft_argmax_near_borders():
    """Heatmaps of one shape, which a border cuts, are read too far inside; two neighbouring cells reach any place."""
    n = 64
    cut = torch.log(torch.from_numpy(gaussians(np.full((1, 3), 0.5 / n), (n, n, n), 2.5)))
    assert (decode_soft_argmax(cut) * n - 0.5 > 1.5).all()
    places = torch.linspace(0.5 / n, 1 - 0.5 / n, 400, dtype=torch.float64)
    cell = (places * n - 0.5).floor().clamp(0, n - 2).long()
    right = places * n - 0.5 - cell
    shares = torch.zeros(400, n, dtype=torch.float64)
    shares.scatter_(1, cell[:, None], (1 - right)[:, None]).scatter_(1, cell[:, None] + 1, right[:, None])
    found = mean_positions([shares.clamp_min(1e-30).log()])[:, 0]
    torch.testing.assert_close(found, places, atol=1e-12, rtol=0)


def test_positions_are_x_y_z():
    """One hot voxel and three hot cells at the same place give the same position."""
    volume = torch.full((1, 2, 21, 4, 5, 6), -50.0)
    volume[..., 3, 1, 2] = 50
    lines = [F.one_hot(torch.tensor(i), n) * 100.0 for i, n in ((2, 6), (1, 5), (3, 4))]
    expected = torch.tensor([2.5 / 6, 1.5 / 5, 3.5 / 4]).expand(1, 2, 21, 3)
    for found in (decode_argmax(volume), decode_soft_argmax(volume), mean_positions(lines).expand(1, 2, 21, 3)):
        torch.testing.assert_close(found, expected)


def test_sizes_as_published():
    """Two stacks of three transposed convolutions; 42 volumes of 64^3 numbers, 44 MB an image; distributions 0.1 MB."""
    with torch.device('meta'):
        heatmaps, distributions = Heatmap25DHead(), Distribution25DHead()
        maps = torch.empty(2, 2048, 8, 8)
    found = heatmaps(maps)
    assert [m.shape for m in found.maps] == [(2, 2, 21, 64, 64, 64)] and found.positions.shape == (2, 2, 21, 3)
    assert found.maps[0][0].numel() * 4 == 44_040_192
    stack = 16 * 256 * (2048 + 256 + 256) + 3 * 2 * 256
    assert sum(p.numel() for p in heatmaps.parameters()) == 2 * (stack + 257 * 21 * 64)
    found = distributions(maps)
    assert [m.shape for m in found.maps] == [(2, 2, 21, 256), (2, 2, 21, 256), (2, 2, 21, 64)]
    assert sum(m[0].numel() * 4 for m in found.maps) == 96_768
    linear = sum((128 + 1) * n for n in (256, 256, 64))
    assert sum(p.numel() for p in distributions.parameters()) == (9 * 2048 + 1) * 84 + linear


def test_shared_transposed_convolutions_and_one_hand():
    maps = torch.randn(2, 8, 4, 4)
    shared = Heatmap25DHead(8, (6,), depth_cells=5, separate=False, decode='soft_argmax')
    assert shared(maps).maps[0].shape == (2, 2, 21, 5, 8, 8) and len(shared.upsampling) == 1
    assert Heatmap25DHead(8, (), depth_cells=5, num_hands=1)(maps).maps[0].shape == (2, 1, 21, 5, 4, 4)
    assert not Heatmap25DHead(8, ()).differentiable and shared.differentiable


def test_heads_of_another_size():
    with pytest.raises(ValueError, match=r'built for maps of \(8, 8\), got \(4, 4\).*map_size'):
        Distribution25DHead(8)(torch.randn(1, 8, 4, 4))
    with pytest.raises(ValueError, match="decode must be one of 'argmax', 'soft_argmax'"):
        Heatmap25DHead(decode='mean')
    with pytest.raises(ValueError, match="classes must be one of 'exclusive', 'independent'"):
        HandIdentityHead(classes='both')


def test_scores_of_hands():
    logits = torch.tensor([[0.3, -1.0, 2.0], [4.0, 0.0, -3.0]])
    left, right, both = (logits.exp() / logits.exp().sum(1, keepdim=True)).T
    torch.testing.assert_close(identity_scores(logits), torch.stack([left + both, right + both], -1))
    torch.testing.assert_close(identity_scores(logits[:, :2]), 1 / (1 + (-logits[:, :2]).exp()))
    with pytest.raises(ValueError, match='2 or 3 classes, got 4'):
        identity_scores(torch.zeros(1, 4))
    assert HandIdentityHead(8)(torch.zeros(3, 8)).shape == (3, 3)
    assert HandIdentityHead(8, classes='independent')(torch.zeros(3, 8)).shape == (3, 2)


def test_depth_is_in_proportion_to_the_focal_length():
    head, features = WristDepthHead(8, reference=0.2), torch.randn(4, 8)
    depth = head(features, torch.tensor([1.0, 2, 1, 2]))
    torch.testing.assert_close(depth, torch.tensor([[1.0], [2], [1], [2]]) * 0.2 * head.layers(features).exp())
    assert depth.shape == (4, 2) and (depth > 0).all()
