"""EfficientNet: published sizes, names and shapes; weights of a larger network; bad input."""

import pytest
import torch
from torch import nn

from handpose.engine.training import checkpoint_activations
from handpose.models import EfficientNet

# Parameters of the published networks with their classifiers of 1000 classes, and channels before it.
PUBLISHED = {
    'b0': (5_288_548, 1280),
    'b1': (7_794_184, 1280),
    'b2': (9_109_994, 1408),
    'b3': (12_233_232, 1536),
    'b4': (19_341_616, 1792),
}
TINY = (0.25, 0.4)


@pytest.mark.parametrize('variant', PUBLISHED)
def test_published_sizes(variant):
    with torch.device('meta'):
        model = EfficientNet(variant)
    total, head = PUBLISHED[variant]
    classifier = model.channels[-1] * head + 2 * head + 1000 * (head + 1)
    assert sum(p.numel() for p in model.parameters()) == total - classifier


def test_maps():
    """Map sizes are rounded up, as those of other backbones; stages after the last map are left out."""
    model = EfficientNet('b0', (2, 4, 8, 16, 32)).eval()
    assert model.channels == [16, 24, 40, 112, 320]
    with torch.no_grad():
        maps = model(torch.randn(2, 3, 66, 96))
        assert [tuple(x.shape) for x in maps] == [
            (2, 16, 33, 48),
            (2, 24, 17, 24),
            (2, 40, 9, 12),
            (2, 112, 5, 6),
            (2, 320, 3, 3),
        ]
        fine = EfficientNet('b0', (8,)).eval()
        assert len(fine.blocks) == 3 and fine.channels == [40]
        fine.load_state_dict({name: model.state_dict()[name] for name in fine.state_dict()})
        images = torch.randn(1, 3, 32, 64)
        torch.testing.assert_close(fine(images)[0], model(images)[2])


def test_names_and_shapes_of_timm():
    """One parameter of each kind, as timm's efficientnet_b0 has them."""
    shapes = {name: tuple(value.shape) for name, value in EfficientNet('b0').state_dict().items()}
    expected = {
        'conv_stem.weight': (32, 3, 3, 3),
        'bn1.running_mean': (32,),
        'blocks.0.0.conv_dw.weight': (32, 1, 3, 3),
        'blocks.0.0.se.conv_reduce.weight': (8, 32, 1, 1),
        'blocks.0.0.se.conv_expand.bias': (32,),
        'blocks.0.0.conv_pw.weight': (16, 32, 1, 1),
        'blocks.0.0.bn2.weight': (16,),
        'blocks.1.1.conv_pw.weight': (144, 24, 1, 1),
        'blocks.4.2.conv_dw.weight': (672, 1, 5, 5),
        'blocks.5.3.se.conv_reduce.bias': (48,),
        'blocks.6.0.conv_pwl.weight': (320, 1152, 1, 1),
        'blocks.6.0.bn3.num_batches_tracked': (),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    assert len(shapes) == 352  # timm's 360, less the last convolution, its norm and the classifier


def test_block_against_its_formula():
    """x + project(se(depthwise(expand(x)))) with plain functions, in float64."""
    torch.manual_seed(0)
    block = EfficientNet('b0').blocks[1][1].double().eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 24, 7, 5, dtype=torch.float64)

    def norm(y, bn):
        mean, var = bn.running_mean[:, None, None], bn.running_var[:, None, None]
        return (y - mean) / (var + 1e-5).sqrt() * bn.weight[:, None, None] + bn.bias[:, None, None]

    def silu(y):
        return y / (1 + (-y).exp())

    y = silu(norm(torch.einsum('oi,nihw->nohw', block.conv_pw.weight[..., 0, 0], x), block.bn1))
    padded = torch.zeros(2, 144, 9, 7, dtype=torch.float64)
    padded[..., 1:-1, 1:-1] = y
    weight = block.conv_dw.weight[:, 0]
    y = sum(weight[:, i, j, None, None] * padded[..., i : i + 7, j : j + 5] for i in range(3) for j in range(3))
    y = silu(norm(y, block.bn2))
    squeezed = silu(y.mean((2, 3)) @ block.se.conv_reduce.weight[..., 0, 0].T + block.se.conv_reduce.bias)
    gate = 1 / (1 + (-(squeezed @ block.se.conv_expand.weight[..., 0, 0].T + block.se.conv_expand.bias)).exp())
    y = torch.einsum('oi,nihw->nohw', block.conv_pwl.weight[..., 0, 0], y * gate[..., None, None])
    torch.testing.assert_close(block(x), x + norm(y, block.bn3))


def test_pretrained_weights(tmp_path):
    """Weights with a classifier and with stages that are left out; those of another variant are refused."""
    path = tmp_path / 'efficientnet.pth'
    whole = EfficientNet(TINY, (32,))
    extra = {'conv_head.weight': torch.zeros(3), 'bn2.bias': torch.zeros(3), 'classifier.weight': torch.zeros(3)}
    torch.save({**whole.state_dict(), **extra}, path)
    model = EfficientNet(TINY, (4, 8), pretrained=str(path))
    model.init_weights()
    state = model.state_dict()
    assert all(torch.equal(state[name], whole.state_dict()[name]) for name in state)
    with pytest.raises(ValueError, match="does not fit this EfficientNet; expected weights of timm's"):
        EfficientNet((0.5, 0.4), (4, 8), pretrained=str(path)).init_weights()
    with pytest.raises(FileNotFoundError, match='do not exist'):
        EfficientNet(TINY, pretrained=str(tmp_path / 'none.pth')).init_weights()


def test_without_a_network_it_trains_from_scratch(monkeypatch, caplog):
    def unreachable(url, path, progress):
        raise OSError('no route to host')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', unreachable)
    source = dict(url='https://example.com/weights.pth', sha256='0' * 64)
    model = EfficientNet(TINY, pretrained=source)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.init_weights()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_variance_is_kept_at_the_start():
    """Random weights neither blow features up nor let them vanish, through all stages."""
    torch.manual_seed(0)
    with torch.no_grad():
        maps = EfficientNet('b0', (2, 8, 32))(torch.randn(4, 3, 64, 64))
    assert all(0.1 < x.std() < 10 for x in maps)


def test_blocks_are_recomputed():
    def gradients(recompute):
        torch.manual_seed(0)
        model = EfficientNet(TINY, (8,))
        if recompute:
            checkpoint_activations(model)
        model(torch.randn(2, 3, 32, 32))[0].square().sum().backward()
        return {name: p.grad for name, p in model.named_parameters()} | dict(model.named_buffers())

    plain, recomputed = gradients(False), gradients(True)
    assert all(torch.equal(recomputed[name], value) for name, value in plain.items())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(variant='b9'), "variant must be one of 'b0', .* got 'b9'"),
        (dict(variant=(1.0, 0)), 'two factors above 0'),
        (dict(strides=(16, 8)), r'strides must be some of \(2, 4, 8, 16, 32\), increasing, got \(16, 8\)'),
        (dict(strides=(3,)), 'strides must be some of'),
        (dict(strides=()), 'strides must be some of'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        EfficientNet(**options)
