"""Joints from volumes of logits.

Legend: X Y Z voxels of a cube along its own axes; a voxel is the centre of its cell (see handpose/geometry/volume.py).
"""

import torch
from torch import Tensor

from handpose.geometry import small_matmul
from handpose.models.layers.precision import at_least_float32, without_autocast


def soft_argmax_3d(heatmaps: Tensor) -> Tensor:
    """The mean position under each volume, in [0, 1] along the axes of the cube.

    Cell centres lie at +0.5: a uniform volume gives (0.5, 0.5, 0.5), a single hot cell gives its centre. Runs in
    float32 at least, under autocast too.

    Args:
        heatmaps: (..., X, Y, Z), each summing to 1.

    Returns:
        (..., 3).
    """
    volumes = at_least_float32(heatmaps)
    means = []
    for axis in (-3, -2, -1):
        count = volumes.shape[axis]
        centres = (torch.arange(count, dtype=volumes.dtype, device=volumes.device) + 0.5) / count
        others = tuple(other for other in (-3, -2, -1) if other != axis)
        means.append((volumes.sum(others) * centres).sum(-1))
    return torch.stack(means, -1)


def volumetric_soft_argmax(logits: Tensor, centres: Tensor, size: float, rotmat: Tensor | None = None) -> Tensor:
    """The mean position of the voxels under the softmax of each volume (Iskakov et al., ICCV 2019, Eq. 8 and 9).

    The mean is taken along the axes of the cube and only then moved into the world, so that it is as precise far from
    the world's origin as near it.

    Args:
        logits: (..., J, X, Y, Z).
        centres: (..., 3) of the cubes, metres, world.
        size: length of an edge of the cubes, metres.
        rotmat: (..., 3, 3), the columns are the cubes' axes in the world; None for the world's axes.

    Returns:
        (..., J, 3), metres, world.
    """
    with without_autocast(logits):
        shape = logits.shape[-3:]
        heatmaps = at_least_float32(logits).flatten(-3).softmax(-1).unflatten(-1, shape)
        offsets = (soft_argmax_3d(heatmaps) - 0.5) * size  # (..., J, 3)
        if rotmat is not None:
            offsets = small_matmul(offsets, rotmat.to(offsets.dtype).mT)
        return centres.unsqueeze(-2) + offsets
