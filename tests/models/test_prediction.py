"""Preparing for prediction changes no result, folds what can be folded, and cannot reach training by accident."""

import copy

import pytest
import torch
from torch import nn

from handpose.models.layers import onednn
from handpose.models.prediction import FoldedNorm, fold_batch_norm, prepare_for_prediction
from handpose.registry import MODELS

IMAGES = (2, 3, 64, 64)
# name: config, input, and how many batch normalizations follow on something else than a convolution
NETWORKS = {
    'ResNet-18': (dict(type='PooledResNet', base_channels=8), IMAGES, 0),
    'ResNet-50': (dict(type='ResNetMap', depth=50, base_channels=8), IMAGES, 0),
    'ResNetFPN': (dict(type='ResNetFPN', depth=18, out_channels=16, base_channels=8), IMAGES, 0),
    'EfficientNet': (dict(type='EfficientNet', variant=(0.25, 0.4)), IMAGES, 0),
    'V2V': (dict(type='V2VNet', in_channels=3, out_channels=2, channels=(4, 6), stem_channels=4), (1, 3, 4, 6, 8), 0),
    'MS-G3D': (  # its input norm, and the norm after the maximum over frames of each of its 6 temporal convolutions
        dict(type='MSG3D', channels=(6, 12), gcn_scales=3, g3d_scales=2, windows=(3,)),
        (2, 8, 2, 21, 3),
        7,
    ),
    'heatmaps': (dict(type='Heatmap25DHead', in_channels=8, deconv_channels=(8, 4), depth_cells=4), (2, 8, 4, 4), 0),
}


def build(name, dtype=torch.float64):
    """A network whose statistics and factors are not those of the start, and its input."""
    config, shape, _ = NETWORKS[name]
    torch.manual_seed(0)
    network = MODELS.build(config).to(dtype)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight)  # heatmaps start flat, and rounding would decide where their maximum is
    return network.eval(), torch.randn(shape, dtype=dtype)


def tensors(output):
    if isinstance(output, torch.Tensor):
        return [output]
    return [value for part in output if part is not None for value in tensors(part)]


def norms(network):
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize('name', NETWORKS)
@torch.no_grad()
def test_folding_is_exact(name):
    network, x = build(name)
    expected, before = tensors(network(x)), len(norms(network))
    folded = copy.deepcopy(network)
    assert fold_batch_norm(folded) == before - NETWORKS[name][2]
    assert len(norms(folded)) == NETWORKS[name][2]
    for found, wanted in zip(tensors(folded(x)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10 * wanted.abs().max().item())


@pytest.mark.parametrize('name', NETWORKS)
@torch.no_grad()
def test_everything_together_in_float32(name, monkeypatch):
    """With oneDNN too, whichever processor this is; compared with float64."""
    monkeypatch.setattr(onednn, 'is_onednn_faster', lambda: torch.backends.mkldnn.is_available())
    reference, x = build(name)
    network, _ = build(name)
    prepared = prepare_for_prediction(network.float())
    for found, wanted in zip(tensors(prepared(x.float())), tensors(reference(x)), strict=True):
        torch.testing.assert_close(found.double(), wanted.double(), rtol=0, atol=2e-5 * wanted.abs().max().item())


def test_backbones_compute_channels_last_and_others_do_not():
    backbone, x = build('ResNetFPN', torch.float32)
    assert prepare_for_prediction(backbone)(x).is_contiguous(memory_format=torch.channels_last)
    graph, _ = build('MS-G3D', torch.float32)
    prepare_for_prediction(graph)
    assert all(p.is_contiguous() for p in graph.parameters())


def test_folded_weights_are_neither_trained_nor_saved():
    network, _ = build('ResNet-18')
    prepare_for_prediction(network)
    assert any(isinstance(module, FoldedNorm) for module in network.modules())
    network.eval()
    with pytest.raises(ValueError, match='cannot be trained: build it again'):
        network.train()
    with pytest.raises(ValueError, match=r"weights of 'resnet.bn1' were folded .* save the estimator before"):
        network.state_dict()


def test_without_folding_weights_stay_as_they_are():
    network, x = build('ResNet-18', torch.float32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    prepare_for_prediction(network, fold=False)
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[name], before[name]) for name in before)
    network.train()(x).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_statistics_of_the_batch_cannot_be_folded():
    network, _ = build('ResNet-18')
    with pytest.raises(ValueError, match="'bn1' of ResNetStages is in training mode"):
        fold_batch_norm(network.train())
    counted = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    assert fold_batch_norm(counted) == 0 and isinstance(counted[1], nn.BatchNorm2d)
