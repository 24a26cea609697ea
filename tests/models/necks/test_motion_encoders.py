"""The trunks of DSTformer and PDTM on their own, against the refiners built from them."""

import pytest
import torch

from handpose.registry import MODELS

N, T, J, C = 2, 9, 21, 16
SIZES = dict(channels=C, depth=2, num_heads=2)
CONVOLUTION = dict(groups=4, kernel_size=4)
VALID = torch.arange(T) < torch.tensor([[T], [6]])
HAND = dict(type='ProceduralHand')
OPTIONS = [
    ('DSTformer', {}),
    ('PDTM', CONVOLUTION),
    ('PDTM', dict(CONVOLUTION, global_mode='parallel')),
    ('PDTM', dict(CONVOLUTION, global_mode='replace', memory_tokens=0)),
    ('PDTM', dict(CONVOLUTION, memory_update='vit_token')),
]


@pytest.mark.parametrize(('name', 'options'), OPTIONS)
@torch.no_grad()
def test_a_refiner_is_its_encoder_and_a_head(name, options):
    torch.manual_seed(0)
    refiner = MODELS.build(dict(type=name, frame_rate=30.0, num_frames=T, hand_model=HAND, **SIZES, **options))
    encoder = MODELS.build(dict(type=f'{name}Encoder', max_frames=T, **SIZES, **options))
    left_over = encoder.load_state_dict(refiner.state_dict(), strict=False)
    assert not left_over.missing_keys
    assert all(key.split('.')[0] in ('head', 'shape', 'hand_model') for key in left_over.unexpected_keys)
    motion = torch.randn(N, T, J, 3)
    broken = motion.masked_fill(~VALID[..., None, None], torch.nan)  # the encoder ignores padding by itself
    features, memory = encoder(broken, VALID)
    refined, update = refiner(motion, VALID), refiner.head(features, motion)
    torch.testing.assert_close((motion + update.joints)[VALID], refined.joints[VALID])
    torch.testing.assert_close(update.pose[VALID], refined.pose[VALID])
    if memory is not None:
        assert memory.shape == (N, 8, C)
        torch.testing.assert_close(refiner.shape(memory.flatten(1)), refined.shape)


@pytest.mark.parametrize(('num_joints', 'num_coordinates'), [(17, 2), (22, 3), (1, 3)])
@pytest.mark.parametrize('name', ['DSTformerEncoder', 'PDTMEncoder'])
def test_any_skeleton(name, num_joints, num_coordinates):
    options = CONVOLUTION if name == 'PDTMEncoder' else {}
    skeleton = dict(num_joints=num_joints, num_coordinates=num_coordinates, with_confidence=True, unit=100.0)
    encoder = MODELS.build(dict(type=name, **SIZES, **skeleton, **options))
    joints = 100 * torch.randn(N, T, num_joints, num_coordinates)
    valid, confidence = torch.rand(N, T, num_joints) < 0.8, torch.rand(N, T, num_joints)
    broken = joints.masked_fill(~(valid & VALID[..., None])[..., None], torch.nan).requires_grad_()
    features = encoder(broken, VALID, valid, confidence).features
    assert features.shape == (N, T, num_joints, C) and features.isfinite().all()
    short = encoder(broken[1:, :6], None, valid[1:, :6], confidence[1:, :6]).features
    torch.testing.assert_close(features[1, :6], short[0], atol=1e-5, rtol=1e-4)  # padding is not there
    features[VALID].square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


def test_options_that_do_not_fit():
    for options, message in [
        (dict(global_mode='both'), "global_mode must be one of 'serial', 'parallel', 'replace', got 'both'"),
        (dict(memory_update='never'), "memory_update must be one of .* got 'never'"),
        (dict(global_mode='replace'), 'memory is updated from the global temporal block'),
    ]:
        with pytest.raises(ValueError, match=message):
            MODELS.build(dict(type='PDTMEncoder', **SIZES, **CONVOLUTION, **options))
