"""Keeping float32 where half precision would lose positions."""

from contextlib import nullcontext

import torch


def without_autocast(tensor: torch.Tensor):
    """A context in which autocast does not touch what happens on the tensor's device (some devices have none)."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
