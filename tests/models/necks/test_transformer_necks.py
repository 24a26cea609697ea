import pytest
import torch

from handpose.models import SpatialTransformer, TemporalTransformer


def size(model):
    return sum(p.numel() for p in model.parameters()) / 1e6


def test_published_sizes():
    code = SpatialTransformer(heatmap_to_decoder=False, query_self_attention=True)
    # 3.17 M without the 0.14 M of the heatmap branch in the published code.
    assert size(code) == pytest.approx(3.17 + 0.14, abs=0.015)
    assert size(TemporalTransformer(query_self_attention=True)) == pytest.approx(1.19 + 1.98, abs=0.015)


def test_joints_are_the_mean_of_their_heatmap():
    neck = SpatialTransformer(16, 1, 2, 16, num_joints=5).eval()
    out = neck(torch.randn(3, 16, 4, 6))
    assert out.feature.shape == (3, 16)
    assert out.heatmaps.shape == (3, 5, 4, 6)
    torch.testing.assert_close(out.heatmaps.sum((2, 3)), torch.ones(3, 5))
    y, x = torch.meshgrid((torch.arange(4) + 0.5) / 4, (torch.arange(6) + 0.5) / 6, indexing='ij')
    expected = torch.stack([(out.heatmaps * x).sum((2, 3)), (out.heatmaps * y).sum((2, 3))], -1)
    torch.testing.assert_close(out.joints_2d, expected)


def test_heatmap_option_decides_what_the_decoder_sees():
    region = torch.randn(2, 16, 4, 4)
    for joined in (True, False):
        neck = SpatialTransformer(16, 1, 2, 16, heatmap_to_decoder=joined)
        neck(region).feature.square().sum().backward()
        assert (neck.heatmap[0].weight.grad is not None) == joined


def test_temporal_padding_is_not_seen():
    neck = TemporalTransformer(16, 2, 2, 16).eval()
    clip = torch.randn(2, 7, 16)
    valid = torch.arange(7).expand(2, 7) < 5
    out = neck(clip, valid)
    short = neck(clip[:, :5])
    torch.testing.assert_close(out.features[:, :5], short.features)
    torch.testing.assert_close(out.shape_feature, short.shape_feature)
    nothing = neck(clip, torch.zeros_like(valid))
    assert nothing.features.isfinite().all()
    assert nothing.shape_feature.isfinite().all()


def test_order_of_the_frames_matters():
    neck = TemporalTransformer(16, 1, 2, 16).eval()
    clip = torch.randn(1, 5, 16)
    assert not torch.allclose(neck(clip.flip(1)).features.flip(1), neck(clip).features, atol=1e-3)
