"""The decoder query and the position codes of Deformer's published code, against references of torch's own layers."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from handpose.models import QueryDecoder, SpatialTransformer, TemporalTransformer, sine_position_1d, sine_position_2d


def torch_attention(ours):
    theirs = nn.MultiheadAttention(ours.query.in_features, ours.num_heads, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros_like(ours.query.bias), ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    return theirs


def detr_decoder(ours, memory, position):
    """The target starts at zero; the learned query joins the queries (and keys of self-attention) of every layer."""
    code = ours.query.expand(len(memory), -1, -1)
    target = torch.zeros_like(code)
    for layer in ours.layers:
        query = target + code
        update, _ = torch_attention(layer.self_attention)(query, query, target)
        target = layer.self_norm(target + update)
        update, _ = torch_attention(layer.cross_attention)(target + code, memory + position, memory)
        target = layer.cross_norm(target + update)
        hidden = F.relu(layer.feedforward.layers[0](target))
        target = layer.feedforward.norm(target + layer.feedforward.layers[3](hidden))
    return ours.norm(target)


@pytest.mark.parametrize('num_queries', [1, 3])
def test_query_as_code_is_the_decoder_of_detr(num_queries):
    torch.manual_seed(0)
    decoder = QueryDecoder(12, 3, 3, 16, 0.0, num_queries, self_attention=True, query_role='code').double()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    memory, position = torch.randn(2, 5, 12).double(), torch.randn(5, 12).double()
    expected = detr_decoder(decoder, memory, position)
    torch.testing.assert_close(decoder(memory, position), expected, atol=1e-10, rtol=0)
    decoder.query_role = 'input'
    assert (decoder(memory, position) - expected).abs().max() > 0.01


def test_cumulative_positions_end_at_two_pi():
    code = sine_position_1d(5, 6, position='cumulative')
    grid = sine_position_2d(2, 3, 8, position='cumulative')
    for t in range(5):
        for i in range(3):
            angle = 2 * math.pi * (t + 1) / 5 / 10000 ** (2 * i / 6)
            assert code[t, 2 * i : 2 * i + 2].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)
    for row in range(2):
        for column in range(3):
            for half, place in enumerate([(row + 1) / 2, (column + 1) / 3]):
                for i in range(2):
                    angle = 2 * math.pi * place / 10000 ** (2 * i / 4)
                    found = grid[row * 3 + column, 4 * half + 2 * i : 4 * half + 2 * i + 2].tolist()
                    assert found == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)


@pytest.mark.parametrize('build', [SpatialTransformer, TemporalTransformer])
@pytest.mark.parametrize('options', [{'query_role': 'key'}, {'position': 'learned'}])
def test_unknown_options(build, options):
    with pytest.raises(ValueError, match='must be one of'):
        build(16, 1, 2, 16, **options)
