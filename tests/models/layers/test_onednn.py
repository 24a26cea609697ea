"""Linear layers by oneDNN: the numbers of torch's own, and torch's own for everything that oneDNN does not take."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from handpose.models import FusedSelfAttention
from handpose.models.layers import onednn
from handpose.models.layers.onednn import _OneDNNLinear, _OneDNNPointwiseConv2d, onednn_linear, use_onednn

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason='this torch has no oneDNN')
ROWS, SIZE = 300, 64  # 300 * 64 * 64 multiplications are enough for oneDNN


@pytest.fixture(autouse=True)
def faster(monkeypatch):
    """As on a processor where oneDNN is faster."""
    monkeypatch.setattr(onednn, 'is_onednn_faster', lambda: True)


@pytest.fixture
def calls(monkeypatch):
    """Counts the products that oneDNN computes."""
    count, product = [], onednn._product
    monkeypatch.setattr(onednn, '_product', lambda *inputs: count.append(1) or product(*inputs))
    return count


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


INPUTS = {
    'rows': lambda: numbers(ROWS, SIZE),
    'leading axes': lambda: numbers(3, ROWS // 3, SIZE),
    'transposed': lambda: numbers(3, SIZE, ROWS // 3).transpose(1, 2),
    'strided': lambda: numbers(ROWS, 2 * SIZE)[:, ::2],
    'expanded': lambda: numbers(1, SIZE).expand(ROWS, SIZE),
}


@pytest.mark.parametrize('name', INPUTS)
@pytest.mark.parametrize('with_bias', [True, False])
def test_same_numbers_and_gradients(name, with_bias, calls):
    """Against float64."""
    x, weight = INPUTS[name](), numbers(SIZE, SIZE)
    inputs = [x, weight, *([numbers(SIZE)] if with_bias else [])]
    direction = numbers(*x.shape)

    def run(function, inputs):
        inputs = [value.detach().requires_grad_() for value in inputs]
        out = function(*inputs)
        return [out, *torch.autograd.grad(out, inputs, direction.to(out.dtype))]

    expected = run(F.linear, [value.double() for value in inputs])
    found = run(onednn_linear, inputs)
    assert len(calls) == 1
    for value, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())
    with torch.no_grad():
        torch.testing.assert_close(onednn_linear(*inputs), found[0], rtol=0, atol=0)


def test_gradients_that_are_expanded_or_not_wanted():
    x, weight = numbers(ROWS, SIZE), numbers(SIZE, SIZE).requires_grad_()
    onednn_linear(x, weight).sum().backward()  # the gradient of a sum has no memory of its own
    torch.testing.assert_close(weight.grad, x.sum(0).expand(SIZE, -1), rtol=1e-4, atol=1e-4)
    assert x.grad is None


@pytest.mark.parametrize(
    'x, weight',
    [
        (numbers(ROWS, SIZE).double(), numbers(SIZE, SIZE).double()),
        (numbers(ROWS, SIZE).bfloat16(), numbers(SIZE, SIZE).bfloat16()),
        (numbers(2, SIZE), numbers(SIZE, SIZE)),
        (numbers(0, SIZE), numbers(SIZE, SIZE)),
        (numbers(2048), numbers(1024, 2048)),
        (numbers(ROWS, SIZE).to('meta'), numbers(SIZE, SIZE).to('meta')),
    ],
    ids=['float64', 'bfloat16', 'few rows', 'no rows', 'one row', 'another device'],
)
def test_what_it_leaves_to_torch(x, weight, calls):
    assert onednn_linear(x, weight).shape == (*x.shape[:-1], len(weight)) and not calls


def test_autocast_and_torchs_own_switch_are_obeyed(calls):
    x, weight = numbers(ROWS, SIZE), numbers(SIZE, SIZE)
    with torch.autocast('cpu', torch.bfloat16):
        assert onednn_linear(x, weight).dtype == torch.bfloat16
    with torch.backends.mkldnn.flags(enabled=False):
        onednn_linear(x, weight)
    assert not calls


def test_graphs_have_torchs_own_operators(calls):
    layer = nn.Sequential(nn.Linear(SIZE, SIZE))
    use_onednn(layer)
    exported = torch.export.export(layer, (numbers(ROWS, SIZE),))
    torch.jit.trace(layer, numbers(ROWS, SIZE), check_trace=False)
    assert not calls
    assert not any('mkldnn' in str(node.target) for node in exported.graph.nodes)


def test_a_mismatch_has_torchs_error_message():
    with pytest.raises(RuntimeError, match='shapes cannot be multiplied'):
        onednn_linear(numbers(ROWS, SIZE), numbers(SIZE, SIZE + 1))


def test_which_layers_use_it():
    class Own(nn.Linear):
        pass

    module = nn.ModuleList(
        [
            nn.Linear(4, 4),
            Own(4, 4),
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 4, 3),
            nn.Conv2d(4, 4, 1, stride=2),
            nn.Conv2d(4, 4, 1, groups=2),
            nn.Conv2d(4, 4, 1, padding=1),
            FusedSelfAttention(8, 2),
        ]
    )
    before = {name: value.clone() for name, value in module.state_dict().items()}
    use_onednn(module)
    used = [type(part) in (_OneDNNLinear, _OneDNNPointwiseConv2d) for part in module]
    assert used == [True, False, True, False, False, False, False, False]
    assert module[7].linear is onednn_linear and type(module[7].out) is _OneDNNLinear
    after = module.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize('layout', [torch.channels_last, torch.contiguous_format])
def test_pointwise_convolution(layout, calls):
    """Channels-last it is a product, without a copy; otherwise it stays a convolution."""
    plain, x = nn.Conv2d(SIZE, SIZE, 1), numbers(2, SIZE, 16, 16)
    fast = nn.Sequential(nn.Conv2d(SIZE, SIZE, 1))
    fast[0].load_state_dict(plain.state_dict())
    use_onednn(fast)
    for module in (plain, fast):
        module.zero_grad()
        module(x.to(memory_format=layout)).square().sum().backward()
    assert len(calls) == (layout is torch.channels_last)
    for found, expected in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-3)
    assert fast(x.to(memory_format=layout)).is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    'vendor, capability, has_mkl, expected',
    [
        ('AuthenticAMD', 'AVX512', True, True),
        ('GenuineIntel', 'AVX512', True, False),
        ('AuthenticAMD', 'AVX2', True, False),
        ('AuthenticAMD', 'AVX512', False, False),
    ],
)
def test_processors(monkeypatch, vendor, capability, has_mkl, expected):
    monkeypatch.undo()
    monkeypatch.setattr(onednn.Path, 'is_file', lambda path: True)
    monkeypatch.setattr(onednn.Path, 'read_text', lambda path, encoding: f'processor: 0\nvendor_id: {vendor}\n')
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, 'is_available', lambda: has_mkl)
    assert onednn.is_onednn_faster.__wrapped__() is expected


def test_a_layer_of_the_name_linear_is_no_function():
    module = nn.Module()
    module.linear = nn.Linear(SIZE, SIZE)
    use_onednn(module)
    assert type(module.linear) is onednn._OneDNNLinear


def test_other_processors_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(onednn, 'is_onednn_faster', lambda: False)
    layer = nn.Sequential(nn.Linear(4, 4))
    use_onednn(layer)
    assert type(layer[0]) is nn.Linear
