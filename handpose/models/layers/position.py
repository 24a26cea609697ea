"""Sine position codes, which attention adds to its queries and keys."""

import math

import torch


def sine_position_1d(length: int, channels: int, device: torch.device | str | None = None) -> torch.Tensor:
    """Position code of a sequence: (length, channels), float32.

    Channel 2i is sin(t / 10000^(2i / channels)) and channel 2i + 1 its cosine; t counts frames from 0.

    Raises:
        ValueError: an odd number of channels.
    """
    return _sine_code(torch.arange(length, dtype=torch.float32, device=device), channels)


def sine_position_2d(height: int, width: int, channels: int, device: torch.device | str | None = None) -> torch.Tensor:
    """Position code of a grid: (height * width, channels), float32, rows first.

    The first half of the channels codes y, the second half x. Cell centres are scaled to (0, 2 pi), so the
    code means the same place of the region at any resolution.

    Raises:
        ValueError: the number of channels is not a multiple of 4.
    """
    if channels % 4:
        raise ValueError(f'a 2D sine code needs a multiple of 4 channels, got {channels}')
    y, x = (
        _sine_code((torch.arange(n, dtype=torch.float32, device=device) + 0.5) * (2 * math.pi / n), channels // 2)
        for n in (height, width)
    )
    code = torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], dim=-1)
    return code.flatten(0, 1)


def _sine_code(position, channels):
    if channels % 2:
        raise ValueError(f'a sine code needs an even number of channels, got {channels}')
    exponent = torch.arange(0, channels, 2, dtype=torch.float32, device=position.device) / channels
    angle = position[:, None] / 10000**exponent
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
