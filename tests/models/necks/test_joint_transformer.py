"""The transformer on joint sequences: padding, and the shapes that it takes."""

import pytest
import torch

from handpose.models import JointTransformer

SIZES = dict(channels=8, num_layers=1, num_heads=2, feedforward_channels=16, window=4)


def test_padding_changes_nothing():
    torch.manual_seed(0)
    model = JointTransformer(**SIZES).eval()
    points, valid = torch.randn(2, 6, 2, 21, 3), torch.ones(2, 10, dtype=torch.bool)
    valid[:, 6:] = False
    padded = torch.cat([points, 9 * torch.randn(2, 4, 2, 21, 3)], 1)
    alone = model(points)
    assert alone.shape == (2, model.out_channels)
    torch.testing.assert_close(model(padded, valid), alone, atol=1e-5, rtol=1e-5)
    assert (model(padded) - alone).abs().max() > 1e-3


def test_other_joints_and_wrong_shapes():
    assert JointTransformer(joint_order='mano', num_hands=1, **SIZES)(torch.randn(2, 3, 1, 16, 3)).shape == (2, 8)
    with pytest.raises(ValueError, match=r'must be \(B, T, 2, 21, 3\), got \(2, 3, 1, 21, 3\)'):
        JointTransformer(**SIZES)(torch.randn(2, 3, 1, 21, 3))
