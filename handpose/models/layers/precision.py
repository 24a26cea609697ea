"""Keeping float32 where half precision would lose positions."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

# Asked beforehand, as the torch.compile of torch 2.11 cannot follow the question: it would break its graph at each of
# these contexts and compile the rest of the function again in every call.
_WITH_AUTOCAST = frozenset(
    device for device in ('cpu', 'cuda', 'mps', 'xpu', 'hpu', 'mtia') if torch.amp.is_autocast_available(device)
)


def without_autocast(tensor: Tensor) -> AbstractContextManager[None]:
    """A context in which autocast is off on the tensor's device; it does nothing on devices without autocast."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if device in _WITH_AUTOCAST else nullcontext()


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor as float32, unless it is float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
