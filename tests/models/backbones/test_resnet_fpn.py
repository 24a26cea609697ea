import hashlib
import sys

import pytest
import torch
from torch import nn

from handpose.models import ResNetFPN

pytest.importorskip('mmcv')


def small(**options):
    return ResNetFPN(**{'depth': 18, 'out_channels': 8, 'base_channels': 4, **options})


def test_published_size_and_shapes():
    assert sum(p.numel() for p in ResNetFPN().parameters()) == 25_082_176
    model = small().eval()
    assert model(torch.randn(2, 3, 64, 96)).shape == (2, 8, 16, 24)
    assert model(torch.randn(1, 3, 70, 50)).shape == (1, 8, 18, 13)


@pytest.mark.parametrize(('activation', 'kind'), [('relu', nn.ReLU), ('leaky_relu', nn.LeakyReLU)])
def test_activation_everywhere(activation, kind):
    found = {type(m) for m in small(activation=activation).modules() if isinstance(m, nn.ReLU | nn.LeakyReLU)}
    assert found == {kind}


def test_batch_norm_trains_from_scratch():
    model = small()
    model(torch.randn(2, 3, 64, 64) + 5)
    assert all(m.training for m in model.modules())
    assert model.resnet.bn1.running_mean.ne(0).any()
    assert all(p.requires_grad for p in model.parameters())


def weights_file(tmp_path):
    source = small()
    path = tmp_path / 'resnet.pth'
    torch.save({**source.resnet.state_dict(), 'fc.weight': torch.zeros(3)}, path)
    return source, path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_pretrained_file(tmp_path):
    source, path, sha256 = weights_file(tmp_path)
    for pretrained in (str(path), dict(path=str(path), sha256=sha256)):
        model = small(pretrained=pretrained, norm_eval=True, frozen_stages=1)
        model.init_weights()
        torch.testing.assert_close(model.resnet.state_dict(), source.resnet.state_dict())
    model.train()
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    frozen = {name.split('.')[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'conv1', 'bn1', 'layer1'}


def test_pretrained_errors(tmp_path):
    _, path, _ = weights_file(tmp_path)
    cases = [
        (dict(path=str(path), sha256='0' * 64), ValueError, 'sha256'),
        (dict(url='https://example.org/a.pth'), ValueError, 'pretrained must be'),
        (str(tmp_path / 'nowhere.pth'), FileNotFoundError, 'nowhere.pth'),
    ]
    for pretrained, error, match in cases:
        with pytest.raises(error, match=match):
            small(pretrained=pretrained).init_weights()
    with pytest.raises(ValueError, match='does not fit'):
        small(base_channels=8, pretrained=str(path)).init_weights()
    with pytest.raises(ValueError, match='random weights'):
        small(norm_eval=True)
    with pytest.raises(ValueError, match='depth must be one of'):
        small(depth=19)


def test_an_unreachable_url_trains_from_scratch_and_says_so(tmp_path, monkeypatch, caplog):
    def offline(*_, **__):
        raise OSError('no route to host')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    said = []
    monkeypatch.setattr('handpose.models.backbones.resnet.print_log', lambda text, *_: said.append(text))
    url = 'https://example.org/resnet.pth'
    model = small(pretrained=dict(url=url, sha256='a' * 64), norm_eval=True, frozen_stages=2)
    model.init_weights()
    model.train()
    assert url in said[0]
    assert 'from scratch' in said[0]
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def test_without_mmcv_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv.cnn.resnet', None)
    with pytest.raises(ImportError, match=r'pip install "handpose\[mmcv\]"'):
        ResNetFPN()
