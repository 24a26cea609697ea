"""Product quantization: nearest entries, gradients, and codebooks that follow the features."""

import pytest
import torch

from handpose.models import VectorQuantizer


def make(**options):
    torch.manual_seed(0)
    return VectorQuantizer(**dict(channels=6, num_codebooks=2, num_codes=5) | options)


def test_each_part_becomes_the_nearest_entry_of_its_codebook():
    quantizer = make().eval()
    features = torch.randn(3, 4, 6)
    quantized = quantizer(features)
    parts = features.unflatten(-1, (2, 3))
    for g in range(2):
        distance = torch.cdist(parts[:, :, g].double(), quantizer.codebooks[g].double())
        assert torch.equal(quantized.codes[..., g], distance.argmin(-1))
        entries = quantizer.codebooks[g][quantized.codes[..., g]]
        torch.testing.assert_close(quantized.features.unflatten(-1, (2, 3))[:, :, g], entries)
    torch.testing.assert_close(quantizer.decode(quantized.codes), quantized.features)
    assert torch.equal(quantizer.encode(features), quantized.codes)
    expected = (features - quantized.features).square().mean()
    torch.testing.assert_close(quantized.commitment, expected)


def test_gradients_pass_as_if_nothing_was_replaced_and_the_commitment_pulls():
    quantizer = make().eval()
    features = torch.randn(2, 3, 6, requires_grad=True)
    quantized = quantizer(features)
    weight = torch.randn(2, 3, 6)
    (grad,) = torch.autograd.grad((quantized.features * weight).sum(), features, retain_graph=True)
    torch.testing.assert_close(grad, weight)
    (grad,) = torch.autograd.grad(quantized.commitment, features)
    torch.testing.assert_close(grad, 2 * (features - quantized.features).detach() / 36)


def test_perplexity_is_that_of_the_valid_tokens():
    quantizer = make(num_codebooks=1, channels=2).eval()
    quantizer.codebooks[0] = torch.arange(5.0)[:, None].expand(-1, 2)
    features = torch.tensor([0.0, 0.0, 3.0, 4.0])[None, :, None].expand(1, 4, 2)
    share = torch.tensor([0.5, 0.25, 0.25])
    torch.testing.assert_close(quantizer(features).perplexity, (-(share * share.log()).sum()).exp()[None])
    valid = torch.tensor([[True, True, False, False]])
    torch.testing.assert_close(quantizer(features, valid).perplexity, torch.ones(1))
    assert quantizer(features, torch.zeros(1, 4, dtype=torch.bool)).commitment == 0


def test_entries_follow_the_running_mean_of_what_they_replace():
    quantizer = make(num_codebooks=1, channels=2, num_codes=2, decay=0.5, dead_below=0.0).train()
    quantizer.codebooks[0] = torch.tensor([[0.0, 0.0], [10.0, 10.0]])
    features = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]])
    quantizer(features)
    torch.testing.assert_close(quantizer.codebooks[0], torch.tensor([[0.5, 0.5], [9.0, 9.0]]))
    quantizer(features + 1)
    # sums 0.25 a + 0.5 b over counts 0.25 + 0.5
    torch.testing.assert_close(quantizer.codebooks[0, 1], torch.full((2,), (0.25 * 9 + 0.5 * 10) / 0.75))
    before = quantizer.codebooks.clone()
    quantizer.eval()(features)
    assert torch.equal(quantizer.codebooks, before)


def test_dead_entries_start_anew_at_features():
    """One entry moves to the mean of the batch, the others to one feature each."""
    quantizer = make(num_codes=13).train()
    quantizer.codebooks += 100
    features = torch.randn(3, 4, 6)
    quantizer(features)
    quantized = quantizer.eval()(features)
    assert quantized.commitment < 1e-12
    torch.testing.assert_close(quantized.perplexity, torch.full((2,), 12.0))


def test_half_precision_keeps_the_codes():
    quantizer = make().eval()
    features = torch.randn(2, 8, 6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(quantizer.encode(features), quantizer.encode(features.clone()))
        found = quantizer(features).codes
    assert torch.equal(found, quantizer(features).codes)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(channels=7), 'channels must be a multiple of num_codebooks'),
        (dict(num_codes=0), 'num_codes at least 1'),
        (dict(decay=1.0), 'decay must be at least 0 and below 1, got 1.0'),
    ],
)
def test_settings_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
