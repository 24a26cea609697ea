"""Windowed attention against a loop over windows and heads, written from the equations, in double precision."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from handpose.models import PreNormEncoder, WindowedTransformer

SIZES = dict(channels=16, num_layers=2, num_heads=4, feedforward_channels=24)
CLOSE = dict(rtol=1e-6, atol=1e-6)  # the library's sine code is float32


def build(**options):
    torch.manual_seed(0)
    return WindowedTransformer(**{**SIZES, 'window': 4, **options}).double().eval()


def clip(num_frames, clips=2, seed=1):
    return torch.randn(clips, num_frames, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sine_code(place, channels):
    pairs = [place / 10000 ** (2 * i / channels) for i in range(channels // 2)]
    code = [f(x) for x in pairs for f in (math.sin, math.cos)]
    return torch.tensor(code, dtype=torch.float64)


def one_window(encoder, tokens, valid, position):
    """Tokens (S, C) of one window -> the answer (S, C) and the last layer's attention (heads, S, S)."""
    code = torch.stack([sine_code(place, tokens.shape[1]) for place in range(len(tokens))])
    if position == 'input':
        tokens, code = tokens + code, torch.zeros_like(code)
    for layer in encoder.layers:
        norm, attention = layer.attention_norm, layer.attention
        normed = F.layer_norm(tokens, tokens.shape[1:], norm.weight, norm.bias)
        query = (normed + code) @ attention.query.weight.T + attention.query.bias
        key = (normed + code) @ attention.key.weight.T
        value = normed @ attention.value.weight.T + attention.value.bias
        size = tokens.shape[1] // attention.num_heads
        answers, weights = [], []
        for head in range(attention.num_heads):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / math.sqrt(size)
            weights.append(scores.masked_fill(~valid, -torch.inf).softmax(-1))
            answers.append(weights[-1] @ value[:, part])
        tokens = tokens + torch.cat(answers, 1) @ attention.out.weight.T + attention.out.bias
        norm, first, last = (layer.feedforward[i] for i in (0, 1, 4))
        hidden = F.layer_norm(tokens, tokens.shape[1:], norm.weight, norm.bias) @ first.weight.T + first.bias
        tokens = tokens + hidden.clamp_min(0) @ last.weight.T + last.bias
    return F.layer_norm(tokens, tokens.shape[1:], encoder.norm.weight, encoder.norm.bias), torch.stack(weights)


@pytest.mark.parametrize('position', ['per_layer', 'input'])
@pytest.mark.parametrize(('num_frames', 'window'), [(8, 4), (12, 3), (7, 4), (9, 4), (3, 4), (6, None)])
def test_every_window_by_itself(num_frames, window, position):
    model, features = build(window=window, position=position), clip(num_frames)
    valid = torch.ones(2, num_frames, dtype=torch.bool)
    valid[0, 2] = valid[1, -1] = False  # missing in the middle, and padding
    out = model(features, valid, return_attention=True)
    window = min(window or num_frames, num_frames)
    for b in range(2):
        for number, start in enumerate(range(0, num_frames, window)):
            frames = slice(start, min(start + window, num_frames))
            seen = valid[b, frames]
            if not seen.any():
                assert out.features[b, frames].isfinite().all()
                continue
            expected, attention = one_window(model.encoder, features[b, frames], seen, position)
            torch.testing.assert_close(out.features[b, frames], expected, **CLOSE)
            count = len(seen)
            got = out.attention[b, number, :, :count, :count]
            torch.testing.assert_close(got, attention, **CLOSE)
            assert not out.attention[b, number, :, :, count:].any()  # what a window has beyond the clip


def test_without_a_mask_it_is_the_same_network():
    model, features = build(), clip(10)
    assert model(features).attention is None
    everything = torch.ones(2, 10, dtype=torch.bool)
    torch.testing.assert_close(model(features).features, model(features, everything).features)


def test_code_at_the_input_is_torchs_own_pre_norm_encoder():
    """The weights of one in the other; torch's keys have a bias, which softmax does not see."""
    model, features = build(position='input', window=None, num_layers=1), clip(6)
    layer = nn.TransformerEncoderLayer(16, 4, 24, 0.0, 'relu', batch_first=True, norm_first=True).double()
    own, state = model.encoder.layers[0], {}
    attention = own.attention
    state['self_attn.in_proj_weight'] = torch.cat([x.weight for x in (attention.query, attention.key, attention.value)])
    state['self_attn.in_proj_bias'] = torch.cat([attention.query.bias, torch.ones(16), attention.value.bias])
    pairs = {'self_attn.out_proj': attention.out, 'norm1': own.attention_norm, 'norm2': own.feedforward[0]}
    pairs |= {'linear1': own.feedforward[1], 'linear2': own.feedforward[4]}
    for name, part in pairs.items():
        state |= {f'{name}.weight': part.weight, f'{name}.bias': part.bias}
    layer.load_state_dict(state)
    code = torch.stack([sine_code(place, 16) for place in range(6)])
    valid = torch.arange(6).expand(2, 6) < 4
    expected = F.layer_norm(layer(features + code, src_key_padding_mask=~valid), (16,))
    torch.testing.assert_close(model(features, valid).features, expected, **CLOSE)


def test_windows_do_not_see_each_other():
    model, features = build(), clip(12)
    changed = features.clone()
    changed[:, 5] += 1.0
    same = (model(features).features == model(changed).features).all(-1)
    assert same.tolist() == [[True] * 4 + [False] * 4 + [True] * 4] * 2
    exchanged = model(features.unflatten(1, (3, 4)).flip(1).flatten(1, 2)).features
    torch.testing.assert_close(exchanged.unflatten(1, (3, 4)).flip(1).flatten(1, 2), model(features).features)


def test_padding_changes_nothing_and_may_fill_windows():
    model, features = build(), clip(6)
    padded = torch.cat([features, torch.full((2, 9, 16), 1e6, dtype=torch.float64)], 1).requires_grad_()
    valid = torch.arange(15).expand(2, 15) < 6
    out = model(padded, valid, return_attention=True)
    torch.testing.assert_close(out.features[:, :6], model(features).features)
    assert out.features.isfinite().all()
    assert out.attention.isfinite().all()
    (gradient,) = torch.autograd.grad(out.features[:, :6].square().sum(), padded)
    assert gradient.isfinite().all()
    assert not gradient[:, 6:].any()
    nothing = model(padded, torch.zeros_like(valid)).features
    assert nothing.isfinite().all()


def test_order_in_a_window_matters():
    for position in ('per_layer', 'input'):
        model, features = build(position=position), clip(4)
        assert not torch.allclose(model(features.flip(1)).features.flip(1), model(features).features, atol=1e-3)


def test_options():
    def size(model):
        return sum(p.numel() for p in model.parameters())

    assert size(WindowedTransformer()) / 1e6 == pytest.approx(6.31, abs=0.01)
    assert size(build()) - size(build(final_norm=False)) == 2 * 16
    dropping = build(dropout=0.5).train()
    features = clip(4)
    assert not torch.equal(dropping(features).features, dropping(features).features)


def test_bfloat16_autocast_adds_up_in_float32():
    model, features = build().float(), clip(8).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        out = model(features, return_attention=True)
    assert out.features.dtype == out.attention.dtype == torch.float32
    expected = model(features.float()).features
    assert (out.features - expected).abs().max() < 0.1


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(window=0), 'window must be at least 1 frame, or None'),
        (dict(position='learned'), "position must be one of .*'per_layer', 'input'.*'learned'"),
        (dict(num_heads=3), 'multiple of num_heads, got 16 and 3'),
        (dict(channels=15, num_heads=3), 'even number of channels, got 15'),
    ],
)
def test_impossible_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        WindowedTransformer(**{**SIZES, **options})


def test_an_encoder_without_layers_only_normalises():
    tokens = clip(3)
    out = PreNormEncoder(16, 0, 4, 24).double()(tokens)
    torch.testing.assert_close(out.features, F.layer_norm(tokens, (16,)))
