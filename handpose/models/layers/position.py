"""Sine position encodings, which attention adds to its queries and keys.

In the published code of Deformer a position is a cumulative count from 1, divided by the number of positions and
multiplied by 2 pi: (0, 2 pi]. Here that is `'cumulative'`; the defaults are the index of a frame and the centre of a
cell.
"""

import math

import torch
from torch import Tensor

from handpose.models.layers.checks import check_option

POSITIONS_1D = ('index', 'cumulative')
POSITIONS_2D = ('cell_centre', 'cumulative')


def sine_position_1d(
    length: int, channels: int, device: torch.device | str | None = None, position: str = 'index'
) -> Tensor:
    """Position encoding of a sequence.

    Channel 2i is sin(p / 10000^(2i / channels)) and channel 2i + 1 its cosine.

    Args:
        length: number of frames.
        channels: size of the encoding, even.
        device: of the result.
        position: p of frame t = 0, 1, ...: 'index' is t; 'cumulative' is 2 pi (t + 1) / length (Deformer's published
            code), so that the encoding of a frame depends on the length of the sequence.

    Returns:
        (length, channels), float32.

    Raises:
        ValueError: an odd number of channels, or an unknown position.
    """
    check_option('position', position, POSITIONS_1D)
    index = torch.arange(length, dtype=torch.float32, device=device)
    return _sine_encoding(index if position == 'index' else (index + 1) * (2 * math.pi / length), channels)


def sine_position_2d(
    height: int,
    width: int,
    channels: int,
    device: torch.device | str | None = None,
    position: str = 'cell_centre',
) -> Tensor:
    """Position encoding of a grid; the first half of the channels encodes y, the second half x.

    Args:
        height: number of rows.
        width: number of columns.
        channels: size of the encoding, a multiple of 4.
        device: of the result.
        position: of column i = 0, 1, ... (rows alike): 'cell_centre' is 2 pi (i + 0.5) / width, the same position in
            the region at any resolution; 'cumulative' is 2 pi (i + 1) / width (Deformer's published code).

    Returns:
        (height * width, channels), float32, row by row.

    Raises:
        ValueError: the number of channels is not a multiple of 4, or an unknown position.
    """
    if channels % 4:
        raise ValueError(f'a 2D sine position encoding needs a multiple of 4 channels, got {channels}')
    check_option('position', position, POSITIONS_2D)
    offset = 0.5 if position == 'cell_centre' else 1.0
    y, x = (
        _sine_encoding(
            (torch.arange(n, dtype=torch.float32, device=device) + offset) * (2 * math.pi / n), channels // 2
        )
        for n in (height, width)
    )
    encoding = torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], dim=-1)
    return encoding.flatten(0, 1)


def _sine_encoding(position: Tensor, channels: int) -> Tensor:
    """Positions (L,) -> (L, channels)."""
    if channels % 2:
        raise ValueError(f'a sine position encoding needs an even number of channels, got {channels}')
    exponent = torch.arange(0, channels, 2, dtype=torch.float32, device=position.device) / channels
    angle = position[:, None] / 10000**exponent
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
