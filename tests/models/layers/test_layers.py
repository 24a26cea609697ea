import math

import pytest
import torch
from torch import nn

from handpose.models import (
    ImageNormalizer,
    MultiHeadAttention,
    QueryDecoder,
    TransformerEncoder,
    sine_position_1d,
    sine_position_2d,
    soft_argmax_2d,
)


def test_sine_codes_equal_the_formula():
    code = sine_position_1d(5, 6)
    grid = sine_position_2d(2, 3, 8)
    for t in range(5):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            assert code[t, 2 * i : 2 * i + 2].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)
    for row in range(2):
        for column in range(3):
            for half, place in enumerate([(row + 0.5) / 2, (column + 0.5) / 3]):
                for i in range(2):
                    angle = 2 * math.pi * place / 10000 ** (2 * i / 4)
                    found = grid[row * 3 + column, 4 * half + 2 * i : 4 * half + 2 * i + 2].tolist()
                    assert found == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)


def test_attention_equals_torchs_own():
    ours = MultiHeadAttention(12, 3).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros(12), ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    query, key, value = torch.randn(2, 4, 12).double(), torch.randn(2, 5, 12).double(), torch.randn(2, 5, 12).double()
    valid = torch.tensor([[True] * 5, [True, False, True, True, False]])
    expected, _ = theirs(query, key, value, key_padding_mask=~valid)
    torch.testing.assert_close(ours(query, key, value, valid), expected)


def test_encoder_layer_equals_torchs_own():
    ours = TransformerEncoder(8, 1, 2, 16, 0.0).double()
    theirs = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True).double()
    layer = ours.layers[0]
    attention, feedforward = layer.attention, layer.feedforward
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(
            torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
        )
        theirs.self_attn.in_proj_bias.copy_(torch.cat([attention.query.bias, torch.zeros(8), attention.value.bias]))
        theirs.self_attn.out_proj.load_state_dict(attention.out.state_dict())
        theirs.linear1.load_state_dict(feedforward.layers[0].state_dict())
        theirs.linear2.load_state_dict(feedforward.layers[3].state_dict())
    tokens = torch.randn(2, 5, 8).double()
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_without_any_valid_key_all_is_finite():
    encoder, decoder = TransformerEncoder(8, 2, 2, 8), QueryDecoder(8, 2, 2, 8)
    tokens = torch.randn(2, 5, 8, requires_grad=True)
    valid = torch.tensor([[True] * 5, [False] * 5])
    out = decoder(encoder(tokens, sine_position_1d(5, 8), valid), sine_position_1d(5, 8), valid)
    out.square().sum().backward()
    assert out.isfinite().all()
    assert tokens.grad.isfinite().all()


def test_position_reaches_queries_and_keys_but_not_values():
    attention_sum = QueryDecoder(8, 1, 2, 8, 0.0)
    memory = torch.randn(1, 1, 8).expand(1, 5, 8)
    # All values alike: wherever the attention goes, the result is the same.
    torch.testing.assert_close(attention_sum(memory), attention_sum(memory, torch.randn(5, 8)))


def test_soft_argmax_closed_forms():
    uniform = torch.full((3, 5), 1 / 15)
    corner, cell = torch.zeros(3, 5), torch.zeros(3, 5)
    corner[0, 4] = 1
    cell[1, 0], cell[2, 0] = 0.25, 0.75
    found = soft_argmax_2d(torch.stack([uniform, corner, cell]))
    expected = torch.tensor([[0.5, 0.5], [0.9, 1 / 6], [0.1, (0.25 * 1.5 + 0.75 * 2.5) / 3]])
    torch.testing.assert_close(found, expected)


def test_image_normalizer():
    normalizer = ImageNormalizer((10, 20, 30), (2, 4, 5))
    images = torch.tensor([[12, 16, 40], [255, 0, 30]], dtype=torch.uint8)[:, :, None, None]
    expected = torch.tensor([[1.0, -1, 2], [122.5, -5, 0]])
    for x in (images, images.float()):
        torch.testing.assert_close(normalizer(x).flatten(1), expected)
    assert set(normalizer.state_dict()) == {'mean', 'std'}
    with pytest.raises(ValueError, match='three numbers'):
        ImageNormalizer((0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ('build', 'match'),
    [
        (lambda: MultiHeadAttention(10, 4), 'multiple'),
        (lambda: sine_position_2d(2, 2, 6), 'multiple of 4'),
        (lambda: sine_position_1d(2, 3), 'even'),
    ],
)
def test_errors(build, match):
    with pytest.raises(ValueError, match=match):
        build()
