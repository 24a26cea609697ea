"""MS-G3D: published sizes, what hands share, lengths, and padding."""

import pytest
import torch

from handpose.models import MSG3D, MultiScaleTemporalConv

SMALL = dict(channels=(6, 12), gcn_scales=3, g3d_scales=2, windows=(3,))


@pytest.mark.parametrize(
    'options, with_biases',
    [
        # Liu et al.'s code with 13 scales, with the biases that batch normalization removes.
        (dict(gcn_scales=13, empty_scales=True, joint_order='assembly101'), 3_053_973),
        (dict(), 2_863_209),
    ],
)
def test_published_size(options, with_biases):
    """3.05 M parameters with a classifier of 6 classes, and 3.58 M with 1,380."""
    with torch.device('meta'):
        model = MSG3D(**options)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    count = sum(p.numel() for p in model.parameters()) + 6 * (384 + 1)
    assert count + sum(m.out_channels for m in convolutions) == with_biases
    assert round(count / 1e6, 2) == round(with_biases / 1e6, 2)
    assert model.out_channels == 384


def test_shapes_and_gradients_of_odd_lengths():
    model = MSG3D(**SMALL)
    for frames in (1, 2, 5, 8):
        points = torch.randn(2, frames, 2, 21, 3)
        assert model.feature_maps(points).shape == (2, -(-frames // 2), 2, 21, 12)
        assert model(points).shape == (2, 12)
    with pytest.raises(ValueError, match=r'2 hands of 21 joints, got \(1, 21\)'):
        model(points[:, :, :1])
    with pytest.raises(ValueError, match='must be one of'):
        MSG3D(pool='some')


def test_hands_share_the_weights():
    """With an equal normalization of both hands, swapping them changes nothing; neither sees the other."""
    torch.manual_seed(0)
    model = MSG3D(**SMALL).eval()
    points = torch.randn(2, 6, 2, 21, 3)
    torch.testing.assert_close(model(points.flip(2)), model(points))
    changed = points.clone()
    changed[:, :, 0] += 1
    before, after = model.feature_maps(points), model.feature_maps(changed)
    assert torch.equal(before[:, :, 1], after[:, :, 1]) and not torch.equal(before[:, :, 0], after[:, :, 0])


def test_padding_can_be_left_out_of_the_mean():
    torch.manual_seed(0)
    points, valid = torch.randn(1, 9, 2, 21, 3), torch.ones(1, 9, dtype=torch.bool)
    valid[:, 5:] = False
    model = MSG3D(pool='valid', **SMALL).eval()
    maps = model.feature_maps(points)
    torch.testing.assert_close(model(points, valid), maps[:, :3].mean((1, 2, 3)))
    torch.testing.assert_close(model(points), maps.mean((1, 2, 3)))
    published = MSG3D(**SMALL).eval()
    published.load_state_dict(model.state_dict())
    torch.testing.assert_close(published(points, valid), maps.mean((1, 2, 3)))


def test_isolated_nodes_and_half_precision_give_no_nan():
    torch.manual_seed(0)
    model = MSG3D(**SMALL | dict(gcn_scales=13, empty_scales=True, joint_order='assembly101')).eval()
    points = torch.randn(1, 4, 2, 21, 3)
    expected = model(points)
    assert expected.isfinite().all()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(model(points.bfloat16().float()), model(points.bfloat16()))
        assert torch.equal(model(points), expected)


def test_temporal_convolution():
    with pytest.raises(ValueError, match='multiple of 6'):
        MultiScaleTemporalConv(3, 8)
    layer = MultiScaleTemporalConv(3, 6, relu=False).double().eval()
    x = torch.randn(1, 3, 7, 21, dtype=torch.double)
    found = layer(x)
    norm = (1 + 1e-5) ** 0.5  # of batch normalization before training
    for branch, dilation in enumerate((1, 2, 3, 4)):
        point_wise, convolution, _ = layer.branches[branch]
        reduce, over_frames = point_wise[0].weight[0, :, 0, 0], convolution.weight[0, 0, :, 0]
        reduced = torch.einsum('c,nctj->ntj', reduce, x).div(norm).relu()
        residual = torch.einsum('c,nctj->ntj', layer.residual[0].weight[branch, :, 0, 0], x) / norm
        for t in range(7):
            taps = [(w, t + (i - 1) * dilation) for i, w in enumerate(over_frames)]
            expected = sum(w * reduced[:, s] for w, s in taps if 0 <= s < 7) / norm + residual[:, t]
            torch.testing.assert_close(found[:, branch, t], expected)
