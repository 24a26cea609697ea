"""Fused attention with memory tokens against attention written out, in float64."""

import pytest
import torch
from attention_reference import attention_over, softmax_attention

from handpose.models.layers.fused_attention import BranchFusion, FeedForward, FusedSelfAttention

N, T, J, M, C = 2, 5, 3, 4, 8
EXACT = dict(rtol=1e-11, atol=1e-12)


@pytest.fixture
def layer():
    layer = FusedSelfAttention(C, 2).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def features():
    return torch.randn(N, T, J, C, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize('over_time', [True, False])
@pytest.mark.parametrize('with_memory', [True, False])
@pytest.mark.parametrize('masked', [True, False])
def test_is_softmax_attention_over_tokens_and_memory(layer, over_time, with_memory, masked):
    if masked and not over_time:
        pytest.skip('joints are never padding')
    x = features()
    memory = torch.randn(N, M, C, dtype=torch.float64, requires_grad=True) if with_memory else None
    valid = torch.tensor([[True] * 3 + [False] * 2, [False, True, True, True, True]]) if masked else None
    found, wanted = layer(x, memory, valid, over_time), attention_over(layer, x, over_time, memory, valid)
    torch.testing.assert_close(found, wanted, **EXACT)
    weight = torch.randn_like(found)
    inputs = [value for value in (x, memory, *layer.parameters()) if value is not None]
    for a, b in zip(torch.autograd.grad((found * weight).sum(), inputs),
                    torch.autograd.grad((wanted * weight).sum(), inputs), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, **EXACT)


def test_memory_is_what_full_attention_over_all_tokens_says_without_its_rows(layer):
    """Memory as keys and values alone answers the tokens as if it were among them."""
    x, memory = features(), torch.randn(N, M, C, dtype=torch.float64)
    for joint in range(J):
        together = torch.cat([x[:, :, joint], memory], 1)[:, :, None]
        torch.testing.assert_close(layer(together)[:, :T, 0], layer(x, memory)[:, :, joint], **EXACT)
    for frame in range(T):
        together = torch.cat([x[:, frame], memory], 1)[:, None]
        answer = layer(together, over_time=False)[:, 0, :J]
        torch.testing.assert_close(answer, layer(x, memory, over_time=False)[:, frame], **EXACT)


def test_what_is_masked_is_not_seen(layer):
    x, valid = features().detach(), torch.tensor([[True, True, True, False, False]] * N)
    other = x.clone()
    other[:, 3:] = 100 * torch.randn(N, 2, J, C)
    torch.testing.assert_close(layer(x, None, valid)[:, :3], layer(other, None, valid)[:, :3], **EXACT)


def test_nothing_valid_is_finite(layer):
    """Without any valid key a hand sees all of them; with memory it sees the memory alone."""
    x, memory, nothing = features(), torch.randn(N, M, C, dtype=torch.float64), torch.zeros(N, T, dtype=torch.bool)
    torch.testing.assert_close(layer(x, None, nothing), layer(x), **EXACT)
    wanted = softmax_attention(layer, x[0, :, 1], memory[0], nothing[0])
    found = layer(x, memory, nothing)
    torch.testing.assert_close(found[0, :, 1], wanted, **EXACT)
    found.sum().backward()
    assert x.grad.isfinite().all()


def test_half_precision_stays_finite():
    layer = FusedSelfAttention(C, 2)
    with torch.autocast('cpu', torch.bfloat16):
        out = layer(torch.randn(N, T, J, C), torch.randn(N, M, C), torch.rand(N, T) > 0.5)
    assert out.isfinite().all() and out.dtype == torch.bfloat16


def test_channels_must_fit_the_heads():
    with pytest.raises(ValueError, match='multiple of num_heads, got 8 and 3'):
        FusedSelfAttention(8, 3)


def test_perceptron():
    layer = FeedForward(C, ratio=2.0).double()
    norm, first, _, second = layer.layers
    x = features()
    hidden = (torch.nn.functional.layer_norm(x, (C,), norm.weight, norm.bias) @ first.weight.T) + first.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    assert first.out_features == 2 * C
    torch.testing.assert_close(layer(x), hidden @ second.weight.T + second.bias, **EXACT)


@pytest.mark.parametrize('count', [2, 3])
def test_fusion_weighs_branches_by_all_of_them(count):
    fusion = BranchFusion(C, count).double()
    branches = [features() for _ in range(count)]
    torch.testing.assert_close(fusion(branches), sum(branches) / count, **EXACT)  # the mean at the start
    torch.nn.init.normal_(fusion.weighting.weight)
    scores = torch.cat(branches, -1) @ fusion.weighting.weight.T + fusion.weighting.bias
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    wanted = sum(weights[..., i, None] * branches[i] for i in range(count))
    torch.testing.assert_close(fusion(branches), wanted, **EXACT)
