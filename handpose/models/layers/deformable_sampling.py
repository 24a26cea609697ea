"""Deformable sampling along time, which PDTM's dynamic temporal convolution is made of (its Eq. 2).

Legend: N sequences, T frames, G groups, D channels of a group, K taps of the kernel.
"""

import torch
from torch import Tensor

from handpose.models.layers.checks import check_option
from handpose.models.layers.precision import without_autocast

PADDINGS = ('zeros', 'replicate')
BLOCK = 64  # frames: longer sequences are processed in blocks of this size, so that the cost grows linearly with T


def deformable_sample_1d(
    values: Tensor,
    offsets: Tensor,
    modulation: Tensor,
    padding: str = 'zeros',
    max_offset: float | None = None,
) -> Tensor:
    """Weighted sums of K interpolated values for every frame and group.

    Tap k of frame t lies at t + k - (K - 1) // 2 + offset (an even kernel reaches one frame farther ahead); between two
    frames it is interpolated linearly. At whole positions the gradient of an offset is that towards the later frame.

    The taps of a group become a row of a (T, T) matrix that multiplies the values, so no tensor K times as large as the
    values is ever made. Positions are float32 at least, under autocast too.

    Args:
        values: (N, T, G, D).
        offsets: (N, T, G, K), frames.
        modulation: (N, T, G, K), the weight of each tap.
        padding: 'zeros', frames outside the sequence count as zero; 'replicate', positions are clipped to it.
        max_offset: an upper bound of the offsets' absolute values, which the caller guarantees. Only sequences longer
            than `BLOCK` need it; None reads it from the offsets (on a GPU that waits for the device).

    Returns:
        (N, T, G, D) in the dtype of the values.

    Raises:
        ValueError: shapes that do not fit, or an unknown padding.
    """
    check_option('padding', padding, PADDINGS)
    _check_shapes(values, offsets, modulation)
    num_frames, num_taps = values.shape[1], offsets.shape[-1]
    with without_autocast(values):
        dtype = torch.promote_types(values.dtype, torch.float32)
        taps = torch.arange(num_taps, device=values.device, dtype=dtype) - (num_taps - 1) // 2
        frames = torch.arange(num_frames, device=values.device, dtype=dtype)
        position = offsets.transpose(1, 2).to(dtype) + (frames[:, None] + taps)  # (N, G, T, K)
        if padding == 'replicate':
            position = position.clamp(0, num_frames - 1)
        weights = modulation.transpose(1, 2).to(dtype)
        values_ngtd = values.transpose(1, 2)
        if num_frames <= BLOCK:
            out = _interpolation_matrix(position, weights, num_frames).to(values.dtype) @ values_ngtd
        else:
            reach = max_offset if max_offset is not None else float(offsets.detach().abs().amax())
            out = _sample_in_blocks(values_ngtd, position, weights, (num_taps - 1) // 2 + 1 + int(-(-reach // 1)))
    return out.transpose(1, 2)


def _interpolation_matrix(position: Tensor, weights: Tensor, width: int) -> Tensor:
    """The matrix (..., T, width) of linear interpolation: position (..., T, K) in columns, weights (..., T, K)."""
    low = position.detach().floor()
    above = weights * (position - low)
    # One more column on each side takes what falls outside.
    first = (low.long() + 1).clamp_(0, width + 1)
    second = (low.long() + 2).clamp_(0, width + 1)
    matrix = weights.new_zeros(*weights.shape[:-1], width + 2)
    matrix = matrix.scatter_add(-1, first, weights - above).scatter_add(-1, second, above)
    return matrix[..., 1:-1]


def _sample_in_blocks(values: Tensor, position: Tensor, weights: Tensor, reach: int) -> Tensor:
    """Multiplies blocks of frames with the frames they can reach: (N, G, T, D), (N, G, T, K) -> (N, G, T, D)."""
    num_frames = values.shape[2]
    missing = -num_frames % BLOCK
    count, width = (num_frames + missing) // BLOCK, BLOCK + 2 * reach + 1
    padded = torch.nn.functional.pad(values, (0, 0, reach, missing + reach + 1))
    windows = padded.unfold(2, width, BLOCK)  # (N, G, count, D, width)
    position, weights = (
        torch.nn.functional.pad(x, (0, 0, 0, missing)).unflatten(2, (count, BLOCK)) for x in (position, weights)
    )
    starts = torch.arange(count, device=values.device, dtype=position.dtype) * BLOCK - reach
    matrix = _interpolation_matrix(position - starts[:, None, None], weights, width).to(values.dtype)
    return (matrix @ windows.transpose(-1, -2)).flatten(2, 3)[:, :, :num_frames]


def _check_shapes(values: Tensor, offsets: Tensor, modulation: Tensor) -> None:
    fits = values.ndim == offsets.ndim == 4 and offsets.shape[:3] == values.shape[:3]
    if not fits or offsets.shape != modulation.shape:
        shapes = ', '.join(str(tuple(x.shape)) for x in (values, offsets, modulation))
        raise ValueError(f'values must be (N, T, G, D), offsets and modulation both (N, T, G, K), got {shapes}')
