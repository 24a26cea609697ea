"""`TemporalKernel`, and refiners of windows that use it instead of a regression of joints."""

import numpy as np
import pytest
import torch

from handpose.models import PDTM, DSTformer, TemporalKernel

SIZES = dict(frame_rate=30.0, num_frames=9, stride=4, channels=16, depth=1, num_heads=2)


def random_input(seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 9, 21, 16, generator=generator, dtype=torch.float64)
    return features, torch.randn(2, 9, 21, 3, generator=generator, dtype=torch.float64)


@torch.no_grad()
def test_starts_as_a_gaussian_filter():
    features, motion = random_input()
    frame = np.arange(9)
    weights = np.exp(-((frame - frame[:, None]) ** 2) / (2 * 1.5**2))
    expected = np.einsum('ts,nsjc->ntjc', weights / weights.sum(1, keepdims=True), motion.numpy())
    np.testing.assert_allclose(TemporalKernel(16).double()(features, motion), expected, atol=1e-6)


@torch.no_grad()
def test_is_a_convex_mean_of_the_frames_to_use():
    kernel = TemporalKernel(16).double()
    for parameter in kernel.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    features, motion = random_input()
    valid = torch.arange(9).expand(2, -1) < 6
    other = torch.where(valid[..., None, None], motion, 100.0)
    refined = kernel(features, other, valid)
    assert (refined <= motion[:, :6].amax(1, keepdim=True) + 1e-12).all()
    assert (refined >= motion[:, :6].amin(1, keepdim=True) - 1e-12).all()
    assert (refined[:, 1:] - refined[:, :-1]).abs().max() > 1e-3
    still = motion[:, :1].expand(-1, 9, -1, -1)
    torch.testing.assert_close(kernel(features, still), still)


@pytest.mark.parametrize('kind', [PDTM, DSTformer])
def test_refiners_of_windows_with_a_kernel(kind):
    torch.manual_seed(0)
    options = dict(groups=4, memory_tokens=0) if kind is PDTM else {}
    model = kind(**SIZES, **options, head=dict(joint_regression='kernel'), partial_skeletons=True)
    motion = 0.1 * random_input()[1].float()
    refined = model(motion)
    assert refined.pose is None and refined.shape is None
    assert (refined.joints <= motion.amax(1, keepdim=True) + 1e-6).all()
    refined.joints.square().sum().backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert not unused


@torch.no_grad()
@pytest.mark.parametrize('kind', [PDTM, DSTformer])
def test_missing_joints_have_no_influence_on_others(kind):
    torch.manual_seed(0)
    options = dict(groups=4, memory_tokens=0) if kind is PDTM else {}
    model = kind(**SIZES, **options, partial_skeletons=True).eval()
    joints, given = 0.1 * random_input()[1].float().transpose(0, 1), torch.ones(9, 2, 21, dtype=torch.bool)
    given[:, :, [4, 9]] = False
    other = torch.where(given[..., None], joints, torch.nan)
    sides, times = torch.ones(2), torch.arange(9) / 30.0
    found, changed = (model.refine(x, given, sides, times=times).joints for x in (joints, other))
    torch.testing.assert_close(found, changed)
    assert (found[:, :, [4, 9]] == 0).all() and found[:, :, 5].abs().min() > 0
    with pytest.raises(ValueError, match='needs all 21 joints'):
        kind(**SIZES, **options).refine(joints, given, sides, times=times)
