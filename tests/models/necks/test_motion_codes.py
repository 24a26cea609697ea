"""The clip VQ-VAE and the transformer over its codes."""

import pytest
import torch

from handpose.models import CodeTransformer, MotionVQVAE, PreNormEncoder

SIZES = dict(channels=16, num_layers=2, num_heads=2, feedforward_channels=32)


def make_vqvae(**options):
    torch.manual_seed(0)
    return MotionVQVAE(**dict(in_channels=6, code_channels=8, num_codes=16, **SIZES) | options)


def make_transformer(**options):
    torch.manual_seed(0)
    return CodeTransformer(**dict(num_actions=3, num_codes=7, max_steps=10, dropout=0.0, **SIZES) | options)


def test_a_causal_encoder_sees_no_later_token():
    torch.manual_seed(0)
    encoder = PreNormEncoder(**SIZES, causal=True)
    tokens = torch.randn(2, 6, 16)
    changed = tokens.clone()
    changed[:, 4:] = torch.randn(2, 2, 16)
    before, after = encoder(tokens).features, encoder(changed).features
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert (after[:, 4:] - before[:, 4:]).abs().max() > 0.1
    torch.testing.assert_close(encoder(tokens[:, :3]).features, before[:, :3])
    with pytest.raises(ValueError, match='a causal encoder takes no mask'):
        encoder(tokens, torch.ones(2, 6, dtype=torch.bool))
    with pytest.raises(ValueError, match='causal attention takes no key_valid'):
        encoder.layers[0].attention(tokens, tokens, tokens, torch.ones(2, 6, dtype=torch.bool), causal=True)


def test_codes_of_the_beginning_do_not_depend_on_what_follows():
    vqvae = make_vqvae().eval()
    motion = torch.randn(2, 12, 6)
    codes = vqvae.encode(motion)
    assert codes.shape == (2, 3, 2)
    assert torch.equal(vqvae.encode(motion[:, :8]), codes[:, :2])
    torch.testing.assert_close(vqvae.decode(codes)[:, :8], vqvae.decode(codes[:, :2]))
    torch.testing.assert_close(vqvae(motion).motion, vqvae.decode(codes), atol=1e-5, rtol=1e-5)


def test_unknown_numbers_may_hold_anything_and_are_told_from_zeros():
    vqvae = make_vqvae().eval()
    motion, valid = torch.randn(2, 8, 6), torch.rand(2, 8, 6) > 0.4
    zeros, nans = motion.masked_fill(~valid, 0.0), motion.masked_fill(~valid, torch.nan)
    torch.testing.assert_close(vqvae._latent(nans, valid), vqvae._latent(zeros, valid))
    assert (vqvae._latent(zeros, valid) - vqvae._latent(zeros, None)).abs().max() > 1e-3


def test_padding_does_not_count_in_the_codebooks():
    motion, valid = torch.randn(2, 8, 6), torch.ones(2, 8, 6, dtype=torch.bool)
    valid[1, 4:] = False
    books, commitments = [], []
    for padding in (0.0, 5.0):
        vqvae = make_vqvae().train()
        commitments.append(vqvae(motion.masked_fill(~valid, padding), valid).quantized.commitment)
        books.append(vqvae.quantizer.codebooks)
    torch.testing.assert_close(books[0], books[1])
    torch.testing.assert_close(commitments[0], commitments[1])


def test_the_vqvae_learns_a_batch():
    vqvae = make_vqvae(decay=0.8).train()
    motion = torch.randn(4, 8, 6).cumsum(1) * 0.3
    optimizer = torch.optim.AdamW(vqvae.parameters(), lr=5e-3)
    errors = []
    for _ in range(120):
        output = vqvae(motion)
        error = (output.motion - motion).abs().mean()
        errors.append(float(error.detach()))
        optimizer.zero_grad()
        (error + 0.25 * output.quantized.commitment).backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in vqvae.parameters())
    assert errors[-1] < 0.2 * errors[0], (errors[0], errors[-1])
    motion = torch.randn(1, 6, 6)
    with pytest.raises(ValueError, match='motion must have a multiple of 4 frames, those of a code, got 6'):
        vqvae(motion)


def test_each_code_is_predicted_from_those_before_it():
    """The second codebook's logits know the first code of the same step, and nothing later."""
    transformer = make_transformer().eval()
    codes, action, length = torch.randint(0, 7, (2, 5, 2)), torch.tensor([0, -1]), torch.tensor([5, 8])
    logits = transformer(codes, action, length)
    assert logits.shape == (2, 5, 2, 7)
    for codebook in range(2):
        changed = codes.clone()
        changed[:, 2, codebook] = (codes[:, 2, codebook] + 1) % 7
        moved = (transformer(changed, action, length) - logits).abs().amax((0, 3)) > 1e-4
        expected = torch.zeros(5, 2, dtype=torch.bool)
        expected[3:] = True
        expected[2, 1] = codebook == 0
        assert torch.equal(moved, expected), codebook
    for change in ((action + 1, length), (action, length - 1)):
        assert (transformer(codes, *change) - logits).abs().amax((1, 2, 3)).min() > 1e-3


def test_samples_follow_the_logits():
    """Empirical frequencies of the first step against its probabilities: the chain rule over both codebooks."""
    transformer = make_transformer(num_codes=3).eval()
    for head in transformer.heads:
        torch.nn.init.normal_(head.weight, std=0.5)
    prompt, count = torch.randint(0, 3, (1, 2, 2)), 20000
    action, length = torch.tensor([1]), torch.tensor([3])
    joint = torch.zeros(3, 3)
    for first in range(3):
        for second in range(3):
            step = torch.tensor([[[first, second]]])
            log = transformer(torch.cat([prompt, step], 1), action, length)[0, 2].log_softmax(-1)
            joint[first, second] = (log[0, first] + log[1, second]).exp()
    torch.testing.assert_close(joint.sum(), torch.tensor(1.0))
    draws = transformer.sample(
        prompt.expand(count, -1, -1), 1, action.expand(count), generator=torch.Generator().manual_seed(0)
    )[:, 2]
    counts = torch.bincount(draws[:, 0] * 3 + draws[:, 1], minlength=9).view(3, 3) / count
    torch.testing.assert_close(counts, joint, atol=0.015, rtol=0)


def test_options_of_sampling():
    transformer = make_transformer().eval()
    prompt, action = torch.randint(0, 7, (2, 3, 2)), torch.tensor([0, 2])

    def sample(seed=0, **options):
        return transformer.sample(prompt, 4, action, generator=torch.Generator().manual_seed(seed), **options)

    codes = sample()
    assert codes.shape == (2, 7, 2) and torch.equal(codes[:, :3], prompt)
    assert torch.equal(codes, sample()) and not torch.equal(codes, sample(seed=1))
    greedy = sample(temperature=0)
    assert torch.equal(greedy, sample(seed=1, top_k=1)) and torch.equal(greedy, sample(temperature=1e-4))
    logits = transformer(greedy, action, torch.tensor([7, 7]))
    assert torch.equal(logits[:, 3:].argmax(-1), greedy[:, 3:])
    with pytest.raises(ValueError, match='at most 10 steps, got 11'):
        transformer.sample(prompt, 8, action)
    with pytest.raises(ValueError, match='action label 3: this CodeTransformer knows 3 actions, 0 to 2, and -1'):
        transformer.sample(prompt, 1, action + 1)
    with pytest.raises(ValueError, match='top_k at least 1'):
        sample(top_k=0)
    with pytest.raises(ValueError, match=r'codes must have the shape \(B, L, 2\), got \(2, 3, 1\)'):
        transformer.sample(prompt[..., :1], 1, action)
    with pytest.raises(ValueError, match=r'action and length must have the shape \(2,\)'):
        transformer.sample(prompt, 1, action[:1])
    with pytest.raises(ValueError, match='at least 1, got 0'):
        make_transformer(num_actions=0)
