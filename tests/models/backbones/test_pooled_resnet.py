import hashlib

import pytest
import torch
from torch import nn

from handpose.engine.training import checkpoint_activations
from handpose.models import PooledResNet, ResNetFPN

pytest.importorskip('mmcv')


def small(**options):
    torch.manual_seed(0)
    return PooledResNet(**{'base_channels': 4, **options})


def test_published_size():
    """A ResNet-18 without its classifier, as HTT counts it."""
    model = PooledResNet()
    assert sum(p.numel() for p in model.parameters()) == 11_176_512
    assert model.out_channels == 512
    assert PooledResNet(50, 4).out_channels == 128


def test_feature_is_the_mean_of_the_last_stage():
    model, images = small().eval(), torch.randn(3, 3, 64, 96)
    x = model.resnet.maxpool(model.resnet.relu(model.resnet.bn1(model.resnet.conv1(images))))
    for stage in (model.resnet.layer1, model.resnet.layer2, model.resnet.layer3, model.resnet.layer4):
        x = stage(x)
    assert x.shape == (3, 32, 2, 3)
    torch.testing.assert_close(model(images), torch.stack([x[:, :, i, j] for i in range(2) for j in range(3)]).mean(0))
    assert model(torch.randn(1, 3, 90, 160)).shape == (1, 32)


def test_soft_argmax_says_where():
    """A map that moves moves the feature, whose mean stays; and the size of the image does not matter."""
    model = small(pooling='soft_argmax').eval()
    assert model.out_channels == 32 and model(torch.randn(2, 3, 64, 96)).shape == (2, 32)
    model.mix = nn.Identity()
    model.resnet.forward = lambda images: [images]
    maps = torch.zeros(2, 32, 4, 6)
    maps[0, :, 0, 1], maps[1, :, 2, 4] = 50, 50
    mean, places = model(maps).split((32, 64), 1)
    torch.testing.assert_close(mean, torch.full((2, 32), 50 / 24))
    expected = torch.tensor([[1.5 / 6, 0.5 / 4], [4.5 / 6, 2.5 / 4]]) - 0.5
    torch.testing.assert_close(places.unflatten(1, (32, 2)), expected[:, None].expand(2, 32, 2))
    with pytest.raises(ValueError, match=r"pooling must be one of .*'mean', 'soft_argmax'.*got 'max'"):
        small(pooling='max')


def test_weights_of_the_same_resnet_fit_both_backbones(tmp_path):
    path = tmp_path / 'resnet.pth'
    pyramid = ResNetFPN(depth=18, out_channels=8, base_channels=4)
    torch.save({**pyramid.resnet.state_dict(), 'fc.weight': torch.zeros(3)}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    model = small(pretrained=dict(path=str(path), sha256=sha256), norm_eval=True, frozen_stages=1)
    model.init_weights()
    torch.testing.assert_close(model.resnet.state_dict(), pyramid.resnet.state_dict())
    model.train()
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    frozen = {name.split('.')[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'conv1', 'bn1', 'layer1'}
    with pytest.raises(ValueError, match='random weights'):
        small(norm_eval=True)


@pytest.mark.parametrize('kind', [PooledResNet, ResNetFPN])
def test_stem_and_blocks_are_recomputed(kind):
    """Gradients and running statistics stay as they are; of the stem only its input is kept."""

    def step(recompute):
        torch.manual_seed(0)
        model, kept = kind(depth=18, base_channels=4), []
        if recompute:
            checkpoint_activations(model)
        images = torch.randn(4, 3, 64, 64)
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(tuple(x.shape)) or x, lambda x: x):
            out = model.train()(images)
        stem = kept.count((4, 4, 32, 32))
        out.square().sum().backward()
        return stem, {name: p.grad for name, p in model.named_parameters()} | dict(model.named_buffers())

    (inside, plain), (left, recomputed) = step(False), step(True)
    assert inside > 0 and left == 0
    assert all(torch.equal(recomputed[name], value) for name, value in plain.items())
