"""Sine position codes, which attention adds to its queries and keys.

In the published code of Deformer a position is a cumulative count from 1, divided by the number of positions and
multiplied by 2 pi: (0, 2 pi]. Here that is `'cumulative'`; the defaults are the plain index of a frame and the centre
of a cell.
"""

import math

import torch

POSITIONS_1D = ('index', 'cumulative')
POSITIONS_2D = ('cell_centre', 'cumulative')


def sine_position_1d(
    length: int, channels: int, device: torch.device | str | None = None, position: str = 'index'
) -> torch.Tensor:
    """Position code of a sequence: (length, channels), float32.

    Channel 2i is sin(p / 10000^(2i / channels)) and channel 2i + 1 its cosine.

    Args:
        length: number of frames.
        channels: size of the code, even.
        device: of the result.
        position: p of frame t = 0, 1, ...: 'index' is t; 'cumulative' is 2 pi (t + 1) / length (Deformer's published
            code), so that the code of a frame depends on the length of the sequence.

    Raises:
        ValueError: an odd number of channels, or an unknown position.
    """
    _check_position(position, POSITIONS_1D)
    index = torch.arange(length, dtype=torch.float32, device=device)
    return _sine_code(index if position == 'index' else (index + 1) * (2 * math.pi / length), channels)


def sine_position_2d(
    height: int,
    width: int,
    channels: int,
    device: torch.device | str | None = None,
    position: str = 'cell_centre',
) -> torch.Tensor:
    """Position code of a grid: (height * width, channels), float32, rows first.

    The first half of the channels codes y, the second half x.

    Args:
        height: number of rows.
        width: number of columns.
        channels: size of the code, a multiple of 4.
        device: of the result.
        position: of column i = 0, 1, ... (rows alike): 'cell_centre' is 2 pi (i + 0.5) / width, the same place of the
            region at any resolution; 'cumulative' is 2 pi (i + 1) / width (Deformer's published code).

    Raises:
        ValueError: the number of channels is not a multiple of 4, or an unknown position.
    """
    if channels % 4:
        raise ValueError(f'a 2D sine code needs a multiple of 4 channels, got {channels}')
    _check_position(position, POSITIONS_2D)
    offset = 0.5 if position == 'cell_centre' else 1.0
    y, x = (
        _sine_code((torch.arange(n, dtype=torch.float32, device=device) + offset) * (2 * math.pi / n), channels // 2)
        for n in (height, width)
    )
    code = torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], dim=-1)
    return code.flatten(0, 1)


def _check_position(position, known):
    if position not in known:
        raise ValueError(f'position must be one of {", ".join(map(repr, known))}, got {position!r}')


def _sine_code(position, channels):
    if channels % 2:
        raise ValueError(f'a sine code needs an even number of channels, got {channels}')
    exponent = torch.arange(0, channels, 2, dtype=torch.float32, device=position.device) / channels
    angle = position[:, None] / 10000**exponent
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
