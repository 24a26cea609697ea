"""Keeping float32 where half precision would lose positions."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(tensor: Tensor) -> AbstractContextManager[None]:
    """A context in which autocast is off on the tensor's device; it does nothing on devices without autocast."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if _has_autocast(device) else nullcontext()


@torch.compiler.assume_constant_result
def _has_autocast(device: str) -> bool:
    # The torch.compile of torch 2.11 cannot follow the question: it would break its graph at each of these contexts and
    # compile the rest of the function again in every call. So it asks once, while it compiles.
    return torch.amp.is_autocast_available(device)


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor as float32, unless it is float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
