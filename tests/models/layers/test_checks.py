"""Masks and features that do not fit are refused with an error that names the argument, in every component."""

import pytest
import torch

from handpose.models import fill_missing, fusion_weights, mean_over_frames
from handpose.models.layers.missing_frames import interpolate_frames
from handpose.registry import MODELS

N, T, J, C = 2, 5, 3, 8
SIZES = dict(channels=C, num_layers=1, num_heads=2, feedforward_channels=16)
BLOCK = dict(channels=C, num_heads=2, groups=2)
CLIP, JOINTS, POINTS = (N, T, C), (N, T, J, C), (N, T, J, 3)

# Components with a mask: name, arguments, shapes of the inputs, the mask's name and its shape.
MASKED = [
    ('MultiHeadAttention', dict(channels=C, num_heads=2), [CLIP] * 3, 'key_valid', (N, T)),
    ('TransformerEncoder', SIZES, [CLIP], 'key_valid', (N, T)),
    ('QueryDecoder', SIZES, [CLIP], 'key_valid', (N, T)),
    ('PreNormEncoder', SIZES, [CLIP], 'valid', (N, T)),
    ('FusedSelfAttention', dict(channels=C, num_heads=2), [JOINTS], 'key_valid', (N, T)),
    ('MotionEmbedding', dict(channels=C, max_frames=T, num_joints=J), [POINTS], 'joints_valid', (N, T, J)),
    ('TemporalTransformer', SIZES, [CLIP], 'frame_valid', (N, T)),
    ('WindowedTransformer', dict(window=2, **SIZES), [CLIP], 'frame_valid', (N, T)),
    ('DeformableTemporalConv', dict(channels=C, groups=2), [CLIP], 'frame_valid', (N, T)),
    ('DeformableTemporalConv', dict(channels=C, groups=2), [JOINTS], 'frame_valid', (N, T)),
    ('DynamicTemporalConv', dict(channels=C, groups=2), [JOINTS], 'frame_valid', (N, T)),
    ('DynamicTemporalConv', dict(channels=C, level='hand', groups=2), [JOINTS], 'frame_valid', (N, T)),
    ('DynamicSpatioTemporalBlock', BLOCK, [JOINTS], 'frame_valid', (N, T)),
    ('GlobalTemporalBlock', BLOCK, [JOINTS], 'frame_valid', (N, T)),
    ('HandPriorMemory', dict(channels=C, num_heads=2), [CLIP], 'frame_valid', (N, T)),
    ('DSTformerEncoder', dict(channels=C, depth=1, num_heads=2, num_joints=J), [POINTS], 'frame_valid', (N, T)),
    ('DSTformerEncoder', dict(channels=C, depth=1, num_heads=2, num_joints=J), [POINTS], 'joints_valid', (N, T, J)),
    ('PDTMEncoder', dict(depth=1, num_joints=J, **BLOCK), [POINTS], 'frame_valid', (N, T)),
    ('PDTMEncoder', dict(depth=1, num_joints=J, **BLOCK), [POINTS], 'joints_valid', (N, T, J)),
    ('DynamicFusionHead', dict(in_channels=C, hidden_channels=(8,)), [CLIP], 'frame_valid', (N, T)),
    ('MotionDiscriminator', dict(in_channels=C, hidden_channels=8), [CLIP], 'frame_valid', (N, T)),
    ('ActionHead', dict(num_actions=4, **SIZES), [CLIP], 'frame_valid', (N, T)),
    ('SmoothL1KeypointLoss', {}, [POINTS] * 2, 'valid', (N, T, J)),
    ('AccelerationLoss', {}, [POINTS] * 2, 'valid', (N, T, J)),
    ('MaxMSELoss', {}, [POINTS] * 2, 'valid', (N, T, J)),
    ('PointMSELoss', {}, [POINTS] * 2, 'valid', (N, T)),
    ('HandPoseLoss', {}, [(N, T, 16, 3, 3)] * 2, 'valid', (N, T)),
    ('HandPoseLoss', dict(base='max_mse'), [(N, T, 16, 3, 3)] * 2, 'valid', (N, T)),
    ('HandShapeLoss', {}, [(N, 10)] * 2, 'valid', (N,)),
    ('Joints2DLoss', {}, [(N, T, J, 2)] * 2, 'valid', (N, T, J)),
    ('MotionLoss', dict(base=dict(type='MaxMSELoss')), [POINTS] * 3, 'valid', (N, T)),
    ('SmoothnessLoss', {}, [POINTS], 'valid', (N, T)),
]
IDS = [f'{name}-{mask}' for name, _, _, mask, _ in MASKED]
NO_LOSS = [case for case in MASKED if not case[0].endswith('Loss')]


def build(name, arguments, shapes):
    return MODELS.build(dict(type=name, **arguments)), [torch.rand(shape) for shape in shapes]


@pytest.mark.parametrize('case', MASKED, ids=IDS)
def test_a_mask_must_be_bool(case):
    name, arguments, shapes, mask, shape = case
    component, inputs = build(name, arguments, shapes)
    component(*inputs, **{mask: torch.ones(shape, dtype=torch.bool)})
    for wrong in (torch.ones(shape), torch.ones(shape, dtype=torch.int64), [True]):
        with pytest.raises(TypeError, match=rf'^{mask} must be a bool tensor.* got .*convert it, as in `{mask} > 0`'):
            component(*inputs, **{mask: wrong})


@pytest.mark.parametrize('case', MASKED, ids=IDS)
def test_a_mask_must_have_the_shape(case):
    name, arguments, shapes, mask, shape = case
    component, inputs = build(name, arguments, shapes)
    for wrong in ((*shape[:-1], shape[-1] + 1), (shape[-1] + 1,), (*shape, 7)):
        with pytest.raises(ValueError, match=rf'^{mask} must have the (shape|leading axes).* got .*\({wrong[0]},'):
            component(*inputs, **{mask: torch.ones(wrong, dtype=torch.bool)})


@pytest.mark.parametrize('case', NO_LOSS, ids=[f'{name}-{len(shapes[0])}' for name, _, shapes, _, _ in NO_LOSS])
def test_features_must_have_all_axes_and_the_channels(case):
    name, arguments, shapes, *_ = case
    component, inputs = build(name, arguments, shapes)
    shape = shapes[0]
    for wrong in (torch.rand(*shape[:-1], shape[-1] + 1), torch.rand(shape[1:])):
        if name == 'DeformableTemporalConv' and shape == JOINTS and wrong.ndim == 3:
            continue  # (T, J, C) might be (N, T, C)
        with pytest.raises(ValueError, match=r'must have the shape \(., .*got \('):
            component(wrong, *inputs[1:])


def test_memory_of_the_wrong_size():
    block, inputs = build('DynamicSpatioTemporalBlock', BLOCK, [JOINTS])
    with pytest.raises(ValueError, match=r'memory must have the shape \(N, M, C\) with C = 8, got \(2, 4, 6\)'):
        block(*inputs, torch.rand(N, 4, 6))
    updating, _ = build('DynamicSpatioTemporalBlock', dict(updates_memory=True, **BLOCK), [])
    with pytest.raises(ValueError, match='updates_memory=True needs memory tokens'):
        updating(*inputs)


def test_attention_over_joints_takes_a_mask_of_joints():
    attention, (x,) = build('FusedSelfAttention', dict(channels=C, num_heads=2), [JOINTS])
    attention(x, None, torch.ones(N, J, dtype=torch.bool), over_time=False)
    with pytest.raises(ValueError, match=r'key_valid must have the shape \(N, J\) = \(2, 3\), got \(2, 5\)'):
        attention(x, None, torch.ones(N, T, dtype=torch.bool), over_time=False)


@pytest.mark.parametrize(
    'call',
    [
        lambda mask: fill_missing(torch.rand(N, T, 3), mask),
        lambda mask: mean_over_frames(torch.rand(N, T, 3), mask),
        lambda mask: interpolate_frames(torch.rand(N, T, 3), mask, torch.arange(T), torch.arange(T)),
        lambda mask: fusion_weights(torch.rand(N, T), mask),
    ],
)
def test_functions_refuse_them_too(call):
    call(torch.ones(N, T, dtype=torch.bool))
    with pytest.raises(TypeError, match='valid must be a bool tensor'):
        call(torch.ones(N, T))
    with pytest.raises(ValueError, match=r'valid must have the shape \(N|B, T\) = \(2, 5\), got \(5,\)'):
        call(torch.ones(T, dtype=torch.bool))
