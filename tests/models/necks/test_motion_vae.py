"""The transformer VAE of G-HTT's blocks, its losses, and the aggregator of object features."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from handpose.geometry import make_rigid, rotvec_to_rotmat
from handpose.models import (
    ContrastiveActionLoss,
    GaussianKLLoss,
    LatentDistribution,
    MotionVAEDecoder,
    MotionVAEEncoder,
    ObjectAggregator,
    TrajectoryLoss,
)

SIZES = dict(channels=16, num_layers=2, num_heads=2, feedforward_channels=32, dropout=0.0)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_tokens_that_are_not_valid_have_no_influence():
    encoder, tokens = MotionVAEEncoder(**SIZES), torch.randn(2, 5, 16)
    valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    changed = torch.where(valid[..., None], tokens, 9.0)
    first, second = encoder(tokens, valid), encoder(changed, valid)
    torch.testing.assert_close(first.mean, second.mean)
    torch.testing.assert_close(first.features[valid], second.features[valid])
    short = encoder(tokens[1:, :3])
    torch.testing.assert_close(short.mean[0], first.mean[1])


def test_samples_have_the_stated_standard_deviation():
    log_variance = torch.tensor([[-2.0, 0.0, 1.0]]).expand(20_000, 3)
    latent = LatentDistribution(torch.ones(20_000, 3), log_variance, torch.zeros(0))
    generator = torch.Generator().manual_seed(0)
    for scale in (1.0, 5.0):
        sample = latent.sample(scale, generator)
        expected = scale * (0.5 * log_variance[0]).exp()
        torch.testing.assert_close(sample.std(0), expected, rtol=0.03, atol=0)
    torch.testing.assert_close(latent.sample(0.0), latent.mean)


def test_decoder_works_with_and_without_skip_memory():
    decoder, latent, queries = MotionVAEDecoder(**SIZES), torch.randn(2, 16), torch.randn(2, 4, 16)
    alone, memory = decoder(latent, queries), torch.randn(2, 3, 16)
    hidden = decoder(latent, queries, None, memory, torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(alone, hidden)
    assert not torch.allclose(alone, decoder(latent, queries, None, memory))
    padded = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
    torch.testing.assert_close(decoder(latent[1:], queries[1:, :2])[0], decoder(latent, queries, padded)[1, :2])


def test_kl_is_that_of_torch_and_zero_for_the_standard_normal():
    mean, log_variance = torch.randn(4, 6), torch.randn(4, 6)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(GaussianKLLoss()(mean, log_variance), expected.mean())
    torch.testing.assert_close(GaussianKLLoss('batch_mean')(mean, log_variance), expected.sum(-1).mean())
    torch.testing.assert_close(GaussianKLLoss('sum', 2.0)(mean, log_variance), 2 * expected.sum())
    assert GaussianKLLoss()(torch.zeros(2, 3), torch.zeros(2, 3)) == 0
    with pytest.raises(ValueError, match="reduction must be one of 'mean', 'batch_mean', 'sum', got 'none'"):
        GaussianKLLoss('none')


def test_contrastive_loss_by_hand():
    latent, table = torch.randn(3, 6), torch.randn(5, 6)
    label = torch.tensor([2, -1, 4])
    cosine = torch.nn.functional.cosine_similarity(latent[:, None], table[None], dim=-1)
    expected = sum(
        (latent[b] - table[label[b]]).abs().sum()
        - (cosine[b, label[b]] / 0.07).exp().div((cosine[b] / 0.07).exp().sum()).log()
        for b in (0, 2)
    )
    torch.testing.assert_close(ContrastiveActionLoss()(latent, table, label), expected / 2)
    assert ContrastiveActionLoss()(latent, table, torch.full((3,), -1)) == 0
    with torch.autocast('cpu', torch.bfloat16):
        assert ContrastiveActionLoss()(latent, table, label).dtype == torch.float32
    latent = torch.zeros(1, 6, requires_grad=True)
    ContrastiveActionLoss()(latent, table, torch.tensor([0])).backward()
    assert latent.grad.isfinite().all()


def test_trajectory_loss_counts_metres_by_its_scale_and_what_is_valid():
    target = make_rigid(rotvec_to_rotmat(torch.randn(2, 4, 2, 3)), torch.randn(2, 4, 2, 3))
    shifted = target.clone()
    shifted[..., 0, 3] += 0.01
    assert TrajectoryLoss()(target, target) == 0
    torch.testing.assert_close(TrajectoryLoss(10.0)(shifted, target), torch.tensor(2 * 0.1))
    valid = torch.zeros(2, 4, 2, dtype=torch.bool)
    valid[0, 0, 0] = True
    torch.testing.assert_close(TrajectoryLoss(10.0)(shifted, target, valid), torch.tensor(0.1 / 8))
    assert TrajectoryLoss()(shifted, target, torch.zeros_like(valid)) == 0


def test_untrained_aggregator_is_near_the_mean_of_valid_frames():
    features, valid = torch.randn(2, 5, 16), torch.tensor([[True] * 5, [True, False, True, False, False]])
    aggregator = ObjectAggregator(16, 1, 2, 32, 0.0)
    result = aggregator(torch.where(valid[..., None], features, 100.0), valid)
    means = torch.stack([features[b][valid[b]].mean(0) for b in range(2)])
    torch.testing.assert_close(result, means, atol=0.05, rtol=0)
