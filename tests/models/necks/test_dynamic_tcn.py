"""The dynamic temporal convolution against Eq. 2 of PDTM written as loops, in float64."""

import math

import pytest
import torch

from handpose.models import DeformableTemporalConv, DynamicTemporalConv
from handpose.models.necks import dynamic_tcn

N, C, G = 2, 6, 3
EXACT = dict(rtol=1e-11, atol=1e-12)


def make(kernel_size=4, std=0.5, **options):
    layer = DeformableTemporalConv(C, G, kernel_size, **options).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return layer


def value_at(track, position, padding):
    """What a track (T, C') is at a place between frames."""
    position = min(max(position, 0.0), len(track) - 1.0) if padding == 'replicate' else position
    low = math.floor(position)
    total = torch.zeros_like(track[0])
    for frame, share in ((low, 1 - (position - low)), (low + 1, position - low)):
        if 0 <= frame < len(track):
            total = total + share * track[frame]
    return total


def equation_2(layer, x, valid=None):
    """x (T, C) of one sequence -> (T, C): sums over groups and taps, with the paper's w_g as columns of `out`."""
    kernel, size = layer.kernel_size, C // G
    values = x if isinstance(layer.value, torch.nn.Identity) else x @ layer.value.weight.T + layer.value.bias
    values = values if valid is None else values * valid[:, None]
    raw = x @ layer.offset_and_modulation.weight.T + layer.offset_and_modulation.bias
    out = layer.out.bias.repeat(len(x), 1)
    for t in range(len(x)):
        for g in range(G):
            for k in range(kernel):
                offset = layer.max_offset * math.tanh(raw[t, g * kernel + k])
                modulation = raw[t, (G + g) * kernel + k]
                place = t + k - (kernel - 1) // 2 + offset
                taken = value_at(values[:, g * size : (g + 1) * size], place, layer.padding)
                out[t] = out[t] + layer.out.weight[:, g * size : (g + 1) * size] @ (modulation * taken)
    return out


@pytest.mark.parametrize('kernel_size', [1, 3, 4, 8])
@pytest.mark.parametrize('num_frames', [1, 2, 9])
@pytest.mark.parametrize('padding', ['zeros', 'replicate'])
@pytest.mark.parametrize('value_projection', [True, False])
@torch.no_grad()
def test_is_equation_2(kernel_size, num_frames, padding, value_projection):
    layer = make(kernel_size, padding=padding, value_projection=value_projection)
    x = torch.randn(N, num_frames, C, dtype=torch.float64)
    wanted = torch.stack([equation_2(layer, track) for track in x])
    torch.testing.assert_close(layer(x), wanted, **EXACT)


@torch.no_grad()
def test_long_sequences_are_the_same_equation():
    layer, x = make(3), torch.randn(1, 70, C, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[0], equation_2(layer, x[0]), **EXACT)


@torch.no_grad()
def test_joints_are_sequences_of_their_own():
    layer, x = make(), torch.randn(N, 5, 4, C, dtype=torch.float64)
    valid = torch.tensor([[True] * 5, [True, True, False, True, False]])
    for mask in (None, valid):
        wanted = torch.stack([layer(x[:, :, joint], mask) for joint in range(4)], 2)
        torch.testing.assert_close(layer(x, mask), wanted, **EXACT)


@torch.no_grad()
def test_padded_frames_are_looked_up_as_zero_and_have_no_influence():
    layer, x = make(8), torch.randn(1, 9, C, dtype=torch.float64)
    valid = torch.arange(9)[None] < 6
    torch.testing.assert_close(layer(x, valid)[0], equation_2(layer, x[0], valid[0]), **EXACT)
    other = x.clone()
    other[:, 6:] = 1000 * torch.randn(1, 3, C)
    torch.testing.assert_close(layer(x, valid)[:, :6], layer(other, valid)[:, :6], **EXACT)
    torch.testing.assert_close(layer(x, valid)[:, :6], layer(x[:, :6]), **EXACT)  # as if they were not there


@torch.no_grad()
def test_offsets_stay_within_two_frames(monkeypatch):
    seen = []
    real = dynamic_tcn.deformable_sample_1d
    monkeypatch.setattr(dynamic_tcn, 'deformable_sample_1d', lambda *inputs: seen.append(inputs) or real(*inputs))
    make(std=100.0)(torch.randn(N, 7, C, dtype=torch.float64))
    _, offsets, modulation, _, bound = seen[0]
    assert offsets.abs().max() <= 2 and offsets.abs().max() > 1.99 and bound == 2
    assert modulation.abs().max() > 2  # the modulation has no bound


def test_starts_as_a_residual_branch_that_adds_nothing_and_learns():
    branch = DynamicTemporalConv(C, groups=G)
    x = torch.randn(N, 9, 4, C)
    assert torch.equal(x + branch(x), x)
    optimizer = torch.optim.Adam(branch.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        (branch(x) - x).square().mean().backward()
        optimizer.step()
    for name, parameter in branch.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_a_moving_average_to_start_from():
    """With every m at 1 / K, the layers the identity and no offset, each frame is the mean of what the taps see."""
    layer = DeformableTemporalConv(C, G, 3, value_projection=False, initial_modulation=1 / 3, padding='replicate')
    torch.nn.init.eye_(layer.out.weight)
    x = torch.randn(1, 6, C)
    around = torch.cat([x[:, :1], x, x[:, -1:]], 1)
    torch.testing.assert_close(layer(x), (around[:, :-2] + x + around[:, 2:]) / 3)


@torch.no_grad()
def test_hand_level_is_the_mean_over_joints():
    branch = DynamicTemporalConv(C, 'hand', G, initial_modulation=0.5).double()
    x, valid = torch.randn(N, 5, 4, C, dtype=torch.float64), torch.rand(N, 5) > 0.3
    wanted = branch.convolution(branch.norm(x.mean(2)), valid)
    torch.testing.assert_close(branch(x, valid), wanted[:, :, None], **EXACT)


@torch.no_grad()
def test_places_stay_float32_under_autocast(monkeypatch):
    seen = []
    real = dynamic_tcn.deformable_sample_1d
    monkeypatch.setattr(dynamic_tcn, 'deformable_sample_1d', lambda *inputs: seen.append(inputs) or real(*inputs))
    layer, x = DeformableTemporalConv(C, G), torch.randn(1, 27, C)
    torch.nn.init.normal_(layer.offset_and_modulation.weight)
    with torch.autocast('cpu', torch.bfloat16):
        out = layer(x)
        layer(x.bfloat16())
    for values, offsets, modulation, *_ in seen:
        assert (offsets.dtype, modulation.dtype, values.dtype) == (torch.float32, torch.float32, torch.bfloat16)
    torch.testing.assert_close(out.float(), layer(x), rtol=0.05, atol=0.05)


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match='multiple of groups, got 6 and 4'):
        DeformableTemporalConv(6, 4)
    with pytest.raises(ValueError, match=r"level must be one of .* got 'finger'"):
        DynamicTemporalConv(6, 'finger', 3)
    with pytest.raises(ValueError, match='padding must be one of'):
        DeformableTemporalConv(6, 3, padding='reflect')(torch.zeros(1, 2, 6))
