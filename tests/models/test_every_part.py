"""Builds every registered part, runs it forward and backward, and looks at the gradient of every parameter."""

import subprocess
import sys

import pytest
import torch

import handpose.models as models
from handpose.registry import MODELS

B, T = 2, 4
SIZES = dict(channels=8, num_layers=2, num_heads=2, feedforward_channels=16)
POINTS = (B, T, 21, 3)

# name: (arguments, shapes of the inputs)
PARTS = {
    'ImageNormalizer': ({}, [(B, T, 3, 8, 8)]),
    'ResNetFPN': (dict(depth=18, out_channels=8, base_channels=4), [(B, 3, 64, 64)]),
    'PooledResNet': (dict(depth=18, base_channels=4), [(B, 3, 64, 64)]),
    'SpatialTransformer': (SIZES, [(B, 8, 4, 4)]),
    'TemporalTransformer': (SIZES, [(B, T, 8)]),
    'WindowedTransformer': (dict(window=3, **SIZES), [(B, T, 8)]),
    'HandRegressionHead': (dict(in_channels=8, hidden_channels=(16, 12)), [(B, T, 8)]),
    'DynamicFusionHead': (dict(in_channels=8, hidden_channels=(16, 12), distance_discount=True), [(B, T, 8)]),
    'MotionDiscriminator': (dict(in_channels=8, hidden_channels=16), [(B, T, 8)]),
    'DeformableTemporalConv': (dict(channels=8, groups=2, initial_modulation=0.1), [(B, T, 8)]),
    'DynamicTemporalConv': (dict(channels=8, groups=2, kernel_size=3, initial_modulation=0.1), [(B, T, 5, 8)]),
    'DynamicSpatioTemporalBlock': (
        dict(channels=8, num_heads=2, groups=2, initial_modulation=0.1),
        [(B, T, 5, 8), (B, 3, 8)],
    ),
    'GlobalTemporalBlock': (dict(channels=8, num_heads=2, groups=2, initial_modulation=0.1), [(B, T, 5, 8)]),
    'HandPriorMemory': (dict(channels=8, num_heads=2, num_tokens=3), [(B, T, 8)]),
    'MotionRefinementHead': (dict(channels=8), [(B, T, 21, 8), POINTS]),
    'Pose25DHead': (dict(channels=8), [(B, T, 8), (B, T, 3, 3)]),
    'ObjectHead': (dict(channels=8, num_objects=5), [(B, T, 8)]),
    'ActionTokenizer': (dict(channels=8, num_objects=5), [(B, T, 8), (B, T, 2, 21, 2), (B, T, 5)]),
    'ActionHead': (dict(num_actions=6, **SIZES), [(B, T, 8)]),
    'SmoothL1KeypointLoss': ({}, [POINTS, POINTS]),
    'AccelerationLoss': ({}, [POINTS, POINTS]),
    'MaxMSELoss': ({}, [POINTS, POINTS]),
    'HandPoseLoss': ({}, [(B, T, 16, 3, 3), (B, T, 16, 3, 3)]),
    'HandShapeLoss': ({}, [(B, 10), (B, 10)]),
    'Joints2DLoss': ({}, [(B, 21, 2), (B, 21, 2)]),
    'PointMSELoss': ({}, [POINTS, POINTS]),
    'MotionLoss': (dict(base=dict(type='MaxMSELoss')), [POINTS, POINTS, POINTS]),
    'SmoothnessLoss': ({}, [POINTS]),
}


def test_every_registered_part_is_here():
    rooms = tuple(f'handpose.models.{room}' for room in ('layers', 'backbones', 'necks', 'heads', 'losses'))
    registered = {name for name, part in MODELS.module_dict.items() if part.__module__.startswith(rooms)}
    assert registered == set(PARTS)
    assert registered <= set(models.__all__)


@pytest.mark.parametrize('name', PARTS)
def test_forward_and_backward(name):
    if 'ResNet' in name:
        pytest.importorskip('mmcv')
    arguments, shapes = PARTS[name]
    torch.manual_seed(0)
    part = MODELS.build(dict(type=f'handpose.{name}', **arguments))
    inputs = [torch.rand(shape, requires_grad=True) for shape in shapes]
    outputs = part(*inputs)
    outputs = [outputs] if torch.is_tensor(outputs) else [x for x in outputs if x is not None]
    sum((x * torch.randn_like(x)).sum() for x in outputs).backward()
    for label, x in [*part.named_parameters(), *((f'input {i}', x) for i, x in enumerate(inputs))]:
        assert x.grad is not None, label
        assert x.grad.isfinite().all(), label
        assert x.grad.abs().max() > 1e-9, label


def test_importing_the_models_stays_light():
    script = (
        'import sys, handpose.models;'
        'heavy = {"mmcv", "smplx", "matplotlib", "scipy"} & set(sys.modules);'
        'sys.exit(f"imported {heavy}" if heavy else 0)'
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
