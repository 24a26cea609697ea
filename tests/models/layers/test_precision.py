"""Contexts without autocast: what they switch off, and that compiled code has them inside its graph."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from handpose.models.layers.precision import at_least_float32, without_autocast


def product(x):
    """What the models do: a part of a function that is computed in float32."""
    y = torch.sin(x)
    with without_autocast(y):
        y = at_least_float32(y) @ at_least_float32(y)
    return y + 1


def test_autocast_is_off_inside_alone():
    x = torch.rand(4, 4)
    with torch.autocast('cpu', torch.bfloat16):
        assert product(x).dtype == torch.float32 and (x @ x).dtype == torch.bfloat16


def test_devices_without_autocast_are_left_alone():
    assert product(torch.rand(4, 4, device='meta')).shape == (4, 4)


@pytest.mark.parametrize('known', [True, False])
def test_compiled_once_and_whole(monkeypatch, known):
    """Also by a torch.compile that cannot follow the question for autocast, as that of torch 2.11."""
    if not known:
        ask = torch._C._is_autocast_available
        monkeypatch.setattr(torch._C, '_is_autocast_available', torch._dynamo.disable(lambda device: ask(device)))
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(product, backend=counter, fullgraph=True)
    x = torch.rand(4, 4)
    for _ in range(3):
        torch.testing.assert_close(compiled(x), product(x))
    with torch.autocast('cpu', torch.bfloat16):
        assert compiled(x).dtype == torch.float32
    assert counter.frame_count == 2  # with and without autocast around
    torch._dynamo.reset()
