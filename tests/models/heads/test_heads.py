import pytest
import torch

from handpose.models import (
    ROTATION_SPACES,
    DynamicFusionHead,
    HandRegressionHead,
    MotionDiscriminator,
    fuse_deformed_poses,
    pose_to_rotmat,
)


def size(model):
    return sum(p.numel() for p in model.parameters()) / 1e6


def test_published_sizes():
    assert size(DynamicFusionHead(298)) == pytest.approx(0.979, abs=5e-4)
    assert size(MotionDiscriminator(46)) == pytest.approx(11.69, abs=5e-3)


@pytest.mark.parametrize('space', ROTATION_SPACES)
def test_training_starts_from_a_plain_hand_at_rest(space):
    fused = DynamicFusionHead(16, rotation_space=space)(torch.randn(2, 7, 16))
    single = HandRegressionHead(16, rotation_space=space)(torch.randn(3, 16))
    for pose in (fused.pose, fused.fused_pose, single.pose):
        rotmat = pose_to_rotmat(pose, space)
        assert (rotmat - torch.eye(3)).abs().max() < 0.05
    assert single.shape.abs().max() < 0.05


def head(**options):
    torch.manual_seed(0)
    return DynamicFusionHead(8, (16, 12), **options)


def test_dynamic_is_the_fusion_of_its_own_predictions():
    features, valid = torch.randn(2, 5, 8), torch.arange(5).expand(2, 5) < 4
    out = head()(features, valid)
    expected = fuse_deformed_poses(*out[:4], valid)
    torch.testing.assert_close(out.fused_pose, expected)
    assert out.weights.shape == (2, 5, 5)


def test_modes_decide_the_votes():
    features = torch.randn(1, 5, 8)
    valid = torch.tensor([[True, True, True, True, False]])
    visible = torch.tensor([[0.5, torch.nan, 0.25, 0.25, 1.0]])
    eye = torch.eye(5)
    assert head(mode='average')(features, valid).weights[0, :, 2].tolist() == [0.25] * 4 + [0]
    votes = head(mode='occlusion')(features, valid, visible).weights[0]
    torch.testing.assert_close(votes[:, 3], torch.tensor([0.375, 0.25, 0.1875, 0.1875, 0]))
    alone = head(mode='centre')(features, valid)
    torch.testing.assert_close(alone.weights[0], eye)
    torch.testing.assert_close(alone.fused_pose, alone.pose)
    full, centre = head()(features, valid), head(targets='centre')(features, valid)
    torch.testing.assert_close(centre.weights[0, :, 2], full.weights[0, :, 2])
    torch.testing.assert_close(centre.weights[0, :, [0, 1, 3, 4]], eye[:, [0, 1, 3, 4]])
    near = head(distance_discount=True)(features, valid).weights / full.weights.clamp_min(1e-9)
    assert near[0, 0, 0] > near[0, 1, 0] > near[0, 2, 0]


def test_bfloat16_autocast_fuses_in_float32():
    with torch.autocast('cpu', torch.bfloat16):
        out = head()(torch.randn(2, 5, 8))
    assert {x.dtype for x in out} == {torch.float32}


def test_errors():
    for options, match in [
        (dict(mode='best'), 'occlusion'),
        (dict(targets='last'), 'targets'),
        (dict(rotation_space='euler'), 'so3_compose'),
    ]:
        with pytest.raises(ValueError, match=match):
            head(**options)
    with pytest.raises(ValueError, match='visibility'):
        head(mode='occlusion')(torch.zeros(1, 2, 8))
