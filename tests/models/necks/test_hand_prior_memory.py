"""The hand prior memory against cross-attention written out, in float64."""

import pytest
import torch
from torch.nn import functional as F

from handpose.models import HandPriorMemory

N, T, M, C, HEADS = 3, 7, 4, 8, 2


def make(depth=2):
    memory = HandPriorMemory(C, HEADS, M, depth).double()
    for parameter in memory.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return memory


def cross_attention(layer, query, seen):
    """query (M, C), seen (T, C) -> (M, C), head by head."""
    size, heads = C // HEADS, []
    for part in torch.arange(C).split(size):
        scores = layer.query(query)[:, part] @ layer.key(seen)[:, part].T / size**0.5
        heads.append(scores.softmax(-1) @ layer.value(seen)[:, part])
    return layer.out(torch.cat(heads, -1))


@pytest.mark.parametrize('block', [0, 1])
@torch.no_grad()
def test_update_is_cross_attention_to_the_frames_that_are_valid(block):
    part, features, before = make(), *(torch.randn(N, rows, C, dtype=torch.float64) for rows in (T, M))
    valid = torch.rand(N, T) < 0.6
    valid[:, 2] = True
    found = part(features, before, block, valid)
    for n in range(N):
        query = F.layer_norm(before[n], (C,), part.query_norms[block].weight, part.query_norms[block].bias)
        norm = part.feature_norms[block]
        seen = F.layer_norm(features[n][valid[n]], (C,), norm.weight, norm.bias)
        wanted = before[n] + cross_attention(part.attentions[block], query, seen)
        torch.testing.assert_close(found[n], wanted, rtol=1e-11, atol=1e-12)


@torch.no_grad()
def test_every_hand_starts_from_the_learned_tokens():
    part, features = make(), torch.randn(N, T, C, dtype=torch.float64)
    start = part.start(N)
    assert start.shape == (N, M, C) and all(torch.equal(one, part.tokens) for one in start)
    torch.testing.assert_close(part(features), part(features, start))


@torch.no_grad()
def test_does_not_depend_on_the_order_of_frames():
    """What stays the same in a sequence is no matter of when: keys have no code of the frame here."""
    part, features = make(), torch.randn(N, T, C, dtype=torch.float64)
    torch.testing.assert_close(part(features), part(features[:, torch.randperm(T)]))


def test_without_a_valid_frame_it_is_finite_and_all_tokens_learn():
    part, features = make(), torch.randn(N, T, C, dtype=torch.float64)
    out = part(features, None, 1, torch.zeros(N, T, dtype=torch.bool))
    out.square().sum().backward()
    assert out.isfinite().all() and (part.tokens.grad.abs().amax(1) > 0).all()
