"""Linear layers and 1x1 convolutions by oneDNN, on the CPUs where torch's own choice is slower.

For float32 matrix products torch calls MKL, which runs its AVX-512 kernels on Intel's processors alone; oneDNN, which
torch also contains and uses for most convolutions, runs them on AMD's as well. Results agree to rounding.

Legend: N images, h w their size, C channels of the input, C' of the output; leading axes are written `...`.
"""

import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST = 2**20  # multiplications below which calling oneDNN costs more than it saves


@runtime_checkable
class LinearUser(Protocol):
    """A module that calls a linear function by itself, as a part of an `nn.Linear`.

    Attributes:
        linear: the function, `F.linear` or one with the same arguments and result.
    """

    linear: Callable[..., Tensor]


@cache
def is_onednn_faster() -> bool:
    """Whether this is a processor on which MKL leaves AVX-512 unused: one of AMD's that has it."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    processors = Path('/proc/cpuinfo')
    name = processors.read_text(encoding='utf-8') if processors.is_file() else platform.processor()
    return 'AuthenticAMD' in name and torch.backends.cpu.get_cpu_capability() == 'AVX512'


def use_onednn(module: nn.Module) -> None:
    """Lets the linear layers and 1x1 convolutions of a module use oneDNN, in place; on other processors does nothing.

    Parameters and their names stay as they are. What oneDNN does not take (other devices and precisions, autocast,
    compiled and exported graphs, small products) is computed as before.

    Args:
        module: of any kind; layers of subclasses of `nn.Linear` and `nn.Conv2d` stay as they are.
    """
    if not is_onednn_faster():
        return
    for part in module.modules():
        # Another class and the same object, so that hooks and other references to the layer stay valid.
        if type(part) is nn.Linear:
            part.__class__ = _OneDNNLinear
        elif type(part) is nn.Conv2d and _is_pointwise(part):
            part.__class__ = _OneDNNPointwiseConv2d
        elif isinstance(part, LinearUser) and part.linear is F.linear:  # and no layer of this name
            part.linear = onednn_linear


class _OneDNNLinear(nn.Linear):
    """`nn.Linear` by `onednn_linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., C) -> (..., C'); see `onednn_linear`."""
        return onednn_linear(input, self.weight, self.bias)


class _OneDNNPointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution that is a linear layer where the channels are last in memory."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h, w)."""
        pixels = input.movedim(-3, -1)
        if not pixels.is_contiguous() or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return super().forward(input)
        return onednn_linear(pixels, self.weight.flatten(1), self.bias).movedim(-1, -3)


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, by oneDNN where it is faster and takes the arguments; second derivatives are not available then.

    Args:
        x: (..., C).
        weight: (C', C).
        bias: (C',), or None.

    Returns:
        (..., C').
    """
    if not _takes(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _LinearFunction.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return _product(x, weight, bias)


def _takes(x: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False  # a graph has its own choice of kernels
    if x.device.type != 'cpu' or x.dtype != torch.float32 or weight.dtype != torch.float32 or x.ndim < 2:
        return False
    if torch.is_autocast_enabled('cpu') or not torch.backends.mkldnn.enabled:
        return False
    return x.shape[-1] == weight.shape[1] and x.numel() * len(weight) >= SMALLEST


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, 'none', [], '')


class _LinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(..., C), (C', C) and (C',) or None -> (..., C'); see `onednn_linear`."""
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        rows = gradient.flatten(0, -2)
        of_x = of_weight = of_bias = None
        # Transposed operands need no copy: oneDNN reads them as they are.
        if ctx.needs_input_grad[0]:
            of_x = torch.ops.mkldnn._linear_pointwise(gradient, weight.t(), None, 'none', [], '')
        if ctx.needs_input_grad[1]:
            inputs = x.contiguous().flatten(0, -2)
            of_weight = torch.ops.mkldnn._linear_pointwise(rows.t(), inputs.t(), None, 'none', [], '')
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        return of_x, of_weight, of_bias


def _is_pointwise(part: nn.Conv2d) -> bool:
    plain = part.kernel_size == part.stride == (1, 1) and part.groups == 1
    return plain and part.padding in ((0, 0), 'valid')
