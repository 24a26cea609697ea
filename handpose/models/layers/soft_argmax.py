"""Coordinates from heatmaps."""

import torch
from torch import Tensor

from handpose.models.layers.precision import at_least_float32


def soft_argmax_2d(heatmaps: Tensor) -> Tensor:
    """The mean position under each heatmap, in [0, 1] of the region, x first.

    Cell centres lie at +0.5: a uniform heatmap gives (0.5, 0.5), a single hot cell gives its centre. Runs in
    float32 at least, under autocast too.

    Args:
        heatmaps: (..., h, w), each summing to 1.

    Returns:
        (..., 2).
    """
    height, width = heatmaps.shape[-2:]
    maps = at_least_float32(heatmaps)
    x = (torch.arange(width, dtype=maps.dtype, device=maps.device) + 0.5) / width
    y = (torch.arange(height, dtype=maps.dtype, device=maps.device) + 0.5) / height
    return torch.stack([(maps.sum(-2) * x).sum(-1), (maps.sum(-1) * y).sum(-1)], dim=-1)
