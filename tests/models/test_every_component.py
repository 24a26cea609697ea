"""Builds every component by name, runs it forward and backward, and checks the gradient of every parameter."""

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import handpose.models as models
from handpose.registry import MODELS

B, T = 2, 4
SIZES = dict(channels=8, num_layers=2, num_heads=2, feedforward_channels=16)
POINTS = (B, T, 21, 3)

# name: (arguments, shapes of the inputs; None leaves one out)
COMPONENTS = {
    'ImageNormalizer': ({}, [(B, T, 3, 8, 8)]),
    'MLP': (dict(in_channels=8, channels=(6, 4)), [(B, 8)]),
    'FeedForward': (dict(channels=8), [(B, 8)]),
    'BranchFusion': (dict(channels=8), [(B, 8), (B, 8)]),
    'FusedSelfAttention': (dict(channels=8, num_heads=2), [(B, T, 5, 8), (B, 3, 8)]),
    'MultiHeadAttention': (dict(channels=8, num_heads=2), [(B, 3, 8), (B, T, 8), (B, T, 8)]),
    'TransformerEncoder': (SIZES, [(B, T, 8), (T, 8)]),
    'QueryDecoder': (SIZES, [(B, T, 8), (T, 8)]),
    'PreNormEncoder': (SIZES, [(B, T, 8)]),
    'MotionEmbedding': (dict(channels=8, max_frames=T, num_joints=5, num_coordinates=2), [(B, T, 5, 2)]),
    'ResNetStages': (dict(depth=18, base_channels=4), [(B, 3, 64, 64)]),
    'ResNetFPN': (dict(depth=18, out_channels=8, base_channels=4), [(B, 3, 64, 64)]),
    'ResNetMap': (dict(depth=18, base_channels=4), [(B, 3, 64, 64)]),
    'PooledResNet': (dict(depth=18, base_channels=4), [(B, 3, 64, 64)]),
    'EfficientNet': (dict(variant=(0.25, 0.4), strides=(2, 8)), [(B, 3, 64, 64)]),
    'V2VNet': (dict(in_channels=3, out_channels=2, channels=(4, 6), stem_channels=4), [(B, 3, 4, 6, 8)]),
    'SpatialTransformer': (SIZES, [(B, 8, 4, 4)]),
    'TemporalTransformer': (SIZES, [(B, T, 8)]),
    'WindowedTransformer': (dict(window=3, **SIZES), [(B, T, 8)]),
    'MotionVAEEncoder': (SIZES, [(B, T, 8)]),
    'MotionVAEDecoder': (SIZES, [(B, 8), (B, 3, 8), None, (B, T, 8)]),
    'MultiScaleGraphConv': (dict(in_channels=3, out_channels=4, num_scales=3), [(B, 3, T, 21)]),
    'WindowedGraphConv': (dict(in_channels=3, out_channels=4, num_scales=2), [(B, 3, T, 21)]),
    'MultiScaleTemporalConv': (dict(in_channels=3, out_channels=6, stride=2), [(B, 3, T, 21)]),
    'MSG3D': (dict(channels=(6, 12), gcn_scales=3, g3d_scales=2, windows=(3,)), [(B, 2 * T, 2, 21, 3)]),
    'JointTransformer': (dict(window=3, **SIZES), [(B, T, 2, 21, 3)]),
    'ObjectAggregator': (SIZES, [(B, T, 8)]),
    'FeatureNormalizer': (dict(num_features=8), [(B, T, 8)]),
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
    'DSTformerEncoder': (dict(channels=8, depth=2, num_heads=2), [POINTS]),
    'PDTMEncoder': (dict(channels=8, depth=1, num_heads=2, groups=2), [POINTS]),
    'MotionRefinementHead': (dict(channels=8), [(B, T, 21, 8), POINTS]),
    'HandIdentityHead': (dict(in_channels=8, hidden_channels=6), [(B, 8)]),
    'WristDepthHead': (dict(in_channels=8, hidden_channels=6), [(B, 8), (B,)]),
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
    'GaussianKLLoss': ({}, [(B, 8), (B, 8)]),
    'TrajectoryLoss': ({}, [(B, T, 2, 4, 4), (B, T, 2, 4, 4)]),
}


FOLDERS = tuple(f'handpose.models.{folder}' for folder in ('layers', 'backbones', 'necks', 'heads', 'losses'))


def public_modules():
    """{name: class} of the public nn.Modules that are defined in these folders."""
    found = {}
    for info in pkgutil.walk_packages(models.__path__, 'handpose.models.'):
        if info.name.startswith(FOLDERS):
            module = importlib.import_module(info.name)
            classes = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == info.name]
            found.update({c.__name__: c for c in classes if issubclass(c, nn.Module) and c.__name__[0] != '_'})
    return found


def test_every_component_has_a_name_in_the_registry_and_a_test():
    registered = {name for name, c in MODELS.module_dict.items() if c.__module__.startswith(FOLDERS)}
    assert set(public_modules()) == registered >= set(COMPONENTS)
    assert set(COMPONENTS) <= set(models.__all__)
    tests = '\n'.join(path.read_text() for path in Path(__file__).parent.rglob('test_*.py'))
    assert [name for name in sorted(registered) if name not in tests] == []


@pytest.mark.parametrize('name', COMPONENTS)
def test_forward_and_backward(name):
    if 'ResNet' in name:
        pytest.importorskip('mmcv')
    arguments, shapes = COMPONENTS[name]
    torch.manual_seed(0)
    component = MODELS.build(json.loads(json.dumps(dict(type=f'handpose.{name}', **arguments))))  # plain values
    with torch.no_grad():  # the last layers of some branches start at zero
        for p in component.parameters():
            p.add_(0.01 * torch.randn_like(p))
    inputs = [None if shape is None else torch.rand(shape, requires_grad=True) for shape in shapes]
    outputs = component(inputs) if name == 'BranchFusion' else component(*inputs)
    outputs = [outputs] if torch.is_tensor(outputs) else [x for x in outputs if x is not None]
    sum((x * torch.randn_like(x)).sum() for x in outputs).backward()
    for label, x in [
        *component.named_parameters(),
        *((f'input {i}', x) for i, x in enumerate(inputs) if x is not None),
    ]:
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
