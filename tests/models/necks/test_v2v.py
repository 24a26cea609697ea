"""V2VNet: the published size, its levels, and what it depends on."""

import pytest
import torch

from handpose.models import V2VNet


def small(**options):
    torch.manual_seed(0)
    return V2VNet(**{'in_channels': 3, 'out_channels': 2, 'channels': (4, 6, 8), 'stem_channels': 5, **options})


def test_size_of_learnable_triangulation():
    """11.94 million for 32 channels and 21 joints."""
    with torch.device('meta'):
        model = V2VNet(32, 21)
    assert model.divisor == 32
    assert sum(p.numel() for p in model.parameters()) == 11_939_925


def test_sizes():
    assert small()(torch.randn(2, 3, 8, 12, 4)).shape == (2, 2, 8, 12, 4)
    flat = small(channels=(4,))  # without any pooling
    assert flat.divisor == 1 and flat(torch.randn(1, 3, 5, 3, 2)).shape == (1, 2, 5, 3, 2)


def test_levels_widen_what_a_voxel_sees():
    """The logit of one voxel depends on a larger part of the volume the more levels there are."""
    seen = []
    for channels in ((4,), (4, 4), (4, 4, 4)):
        volume = torch.randn(1, 3, 64, 4, 4, requires_grad=True)
        small(channels=channels).eval()(volume)[0, :, 32].sum().backward()
        seen.append(int((volume.grad.abs().sum((0, 1, 3, 4)) > 0).sum()))
    assert seen[0] < seen[1] < seen[2]
    # By hand: the stem has 7 voxels, and the four residual blocks at full resolution add 4 each.
    assert seen[0] == 7 + 4 * 4 + 4


def test_every_parameter_learns():
    model = small()
    model(torch.randn(2, 3, 8, 8, 8)).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_bad_input():
    with pytest.raises(ValueError, match=r'2 levels of pooling need volumes of a multiple of 4 voxels.*\(8, 6, 8\)'):
        small()(torch.zeros(1, 3, 8, 6, 8))
    with pytest.raises(ValueError, match=r'volume must have the shape \(N, X, Y, Z, C\) with C = 3'):
        small()(torch.zeros(1, 4, 8, 8, 8))
    with pytest.raises(ValueError, match='stem_kernel odd'):
        small(stem_kernel=4)
