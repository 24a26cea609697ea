"""Deformable sampling against the form that is written down, in float64."""

import pytest
import torch
from deformable_reference import gather_sample_1d

from handpose.models.layers.deformable_sampling import BLOCK, deformable_sample_1d


def draw(n=2, t=9, g=3, d=4, k=8, reach=2.0, dtype=torch.float64):
    """Values, offsets that are no whole numbers, and modulation."""
    values, modulation = torch.randn(n, t, g, d, dtype=dtype), torch.randn(n, t, g, k, dtype=dtype)
    return [x.requires_grad_() for x in (values, reach * (2 * torch.rand(n, t, g, k, dtype=dtype) - 1), modulation)]


@pytest.mark.parametrize('padding', ['zeros', 'replicate'])
@pytest.mark.parametrize('num_frames', [1, 2, 7, 27, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
@pytest.mark.parametrize('num_taps', [1, 7, 8])
@pytest.mark.parametrize('reach, max_offset', [(2.0, 2.0), (2.0, None), (40.0, None)])
def test_value_and_gradients_are_those_of_the_reference(padding, num_frames, num_taps, reach, max_offset):
    inputs = draw(t=num_frames, k=num_taps, reach=reach)
    mine = deformable_sample_1d(*inputs, padding, max_offset)
    reference = gather_sample_1d(*inputs, padding)
    torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(mine)
    for a, b in zip(torch.autograd.grad((mine * weight).sum(), inputs),
                    torch.autograd.grad((reference * weight).sum(), inputs), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradcheck():
    assert torch.autograd.gradcheck(deformable_sample_1d, draw(n=1, t=5, g=2, d=2, k=3))


def test_taps_of_an_even_kernel():
    """Four taps at -1, 0, 1 and 2: a single one in the values shows where each tap looks."""
    values = torch.zeros(1, 9, 1, 1)
    values[0, 4] = 1.0
    modulation = torch.tensor([1.0, 10.0, 100.0, 1000.0]).expand(1, 9, 1, 4)
    out = deformable_sample_1d(values, torch.zeros(1, 9, 1, 4), modulation)[0, :, 0, 0]
    assert out.tolist() == [0, 0, 1000, 100, 10, 1, 0, 0, 0]


def test_half_a_frame_outside_counts_half_with_zeros_and_whole_with_replicate():
    values, offsets, modulation = torch.ones(1, 4, 1, 1), torch.full((1, 4, 1, 1), -0.5), torch.ones(1, 4, 1, 1)
    assert deformable_sample_1d(values, offsets, modulation)[0, 0] == 0.5
    assert deformable_sample_1d(values, offsets, modulation, 'replicate')[0, 0] == 1.0


def test_gradient_at_a_whole_position_looks_ahead():
    values, offsets, modulation = draw(n=1, t=5, g=1, d=1, k=1)
    offsets = torch.zeros_like(offsets, requires_grad=True)
    gradient = torch.autograd.grad(deformable_sample_1d(values, offsets, torch.ones_like(modulation)).sum(), offsets)[0]
    torch.testing.assert_close(gradient[0, :4, 0, 0], values[0, 1:, 0, 0] - values[0, :4, 0, 0])


def test_positions_stay_float32_under_autocast():
    """bfloat16 has steps of an eighth of a frame at frame 20; values may be rounded, places may not."""
    values = torch.arange(27.0).reshape(1, 27, 1, 1)
    offsets, modulation = torch.full((1, 27, 1, 1), 0.06), torch.ones(1, 27, 1, 1)
    with torch.autocast('cpu', torch.bfloat16):
        out = deformable_sample_1d(values, offsets, modulation)
    torch.testing.assert_close(out[0, :26, 0, 0], torch.arange(26.0) + 0.06)
    half = deformable_sample_1d((values < 13).to(torch.bfloat16), offsets, modulation.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16 and abs(float(half[0, 12]) - 0.94) < 0.004


def test_keeps_at_most_a_fifth_of_the_reference_for_the_backward_pass():
    def kept(sample):
        sizes = {}

        def pack(x):
            sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            out = sample(*draw(n=21, t=27, g=16, d=32, k=8, dtype=torch.float32))
        assert out.requires_grad
        return sum(sizes.values())

    assert kept(deformable_sample_1d) <= kept(gather_sample_1d) / 5


def test_long_sequences_keep_memory_in_proportion_to_their_length():
    def kept(num_frames):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            deformable_sample_1d(*draw(n=1, t=num_frames), max_offset=2.0)
        return sum(sizes)

    assert kept(16 * BLOCK) < 1.1 * 4 * kept(4 * BLOCK)


@pytest.mark.parametrize(
    'shapes, words',
    [
        ([(1, 4, 2, 3), (1, 4, 2, 5), (1, 4, 2, 6)], r'values must be \(N, T, G, D\)'),
        ([(1, 4, 2, 3), (1, 5, 2, 5), (1, 5, 2, 5)], r'got \(1, 4, 2, 3\), \(1, 5, 2, 5\)'),
    ],
)
def test_shapes_that_do_not_fit(shapes, words):
    with pytest.raises(ValueError, match=words):
        deformable_sample_1d(*(torch.zeros(shape) for shape in shapes))


def test_unknown_padding():
    with pytest.raises(ValueError, match=r"padding must be one of .* got 'edge'"):
        deformable_sample_1d(*draw(), padding='edge')
