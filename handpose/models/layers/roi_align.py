"""RoI align without compiled operators: two small matrix products.

Bilinear interpolation and the mean over the samples of a bin both factor into a row and a column part. So a
channel of the output is `rows @ map @ columns^T`, and each row of `rows` holds the interpolation weights of one
bin. The backward pass has no scatter-add: it is deterministic on every device, and no map is copied per box.

Legend: N maps, M boxes of one map, C channels, h w the map, o p the output's height and width, s samples a bin.
"""

import torch
from torch import Tensor

from handpose.models.layers.precision import without_autocast


def roi_align(
    features: Tensor,
    boxes: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = -1,
    aligned: bool = False,
    most_samples: int | None = None,
) -> Tensor:
    """Resamples the content of boxes to a fixed size (Mask R-CNN; the semantics of torchvision's operator).

    Differentiable in the features and, where sampling_ratio is positive or boxes keep their sample count, in
    the boxes. Box arithmetic runs in float32 at least.

    Args:
        features: (N, C, h, w).
        boxes: (N, 4) for one box a map or (N, M, 4) for several, xyxy in image pixels.
        output_size: (o, p), or one number for both.
        spatial_scale: map cells per image pixel, 0.25 for a stride of 4.
        sampling_ratio: samples along each side of a bin; -1 takes ceil(box size / output size) for every box,
            which reads the largest count back from the device.
        aligned: shifts boxes by half a cell (pixel centres at +0.5). If False, boxes are at least one cell wide.
        most_samples: with sampling_ratio=-1, a bound of the samples of a box, so that no number is read back; a box
            that needs more gets this many.

    Returns:
        (N, C, o, p), or (N, M, C, o, p) for several boxes a map.

    Raises:
        ValueError: boxes that do not fit the features, or a sampling_ratio that is neither -1 nor positive.
    """
    if boxes.ndim not in (2, 3) or boxes.shape[-1] != 4 or boxes.shape[0] != features.shape[0]:
        expected = f'({len(features)}, 4) or ({len(features)}, M, 4)'
        raise ValueError(f'boxes must have the shape {expected} for these features, got {tuple(boxes.shape)}')
    if sampling_ratio != -1 and sampling_ratio < 1:
        raise ValueError(f'sampling_ratio must be -1 or at least 1, got {sampling_ratio}')
    height, width = (output_size, output_size) if isinstance(output_size, int) else output_size
    with without_autocast(features):
        edges = boxes.to(torch.promote_types(features.dtype, torch.float32)) * spatial_scale - 0.5 * aligned
        edges = edges.reshape(boxes.shape[0], -1, 4)
        columns, rows = (
            _bin_weights(edges[..., axis], edges[..., axis + 2], bins, cells, sampling_ratio, aligned, most_samples)
            for axis, bins, cells in ((0, width, features.shape[3]), (1, height, features.shape[2]))
        )
        out = torch.einsum('nchw,nmpw->nmchp', features, columns.to(features.dtype))
        out = torch.einsum('nmchp,nmoh->nmcop', out, rows.to(features.dtype))
    return out if boxes.ndim == 3 else out.squeeze(1)


def _bin_weights(
    start: Tensor, end: Tensor, bins: int, cells: int, sampling_ratio: int, aligned: bool, most_samples: int | None
) -> Tensor:
    """Interpolation weights of each bin along one axis: (N, M) edges in cells -> (N, M, bins, cells)."""
    size = end - start if aligned else (end - start).clamp_min(1)
    if sampling_ratio == -1:
        count = (size.detach() / bins).ceil().clamp(1, most_samples)
        longest = int(count.max()) if most_samples is None else most_samples
        sample = torch.arange(longest, device=start.device)
    else:
        count = torch.full_like(size, sampling_ratio)
        sample = torch.arange(sampling_ratio, device=start.device)
    count = count[..., None, None]
    within_bin = (sample + 0.5) / count
    bin_index = torch.arange(bins, device=start.device)[:, None]
    position = start[..., None, None] + (bin_index + within_bin) * (size / bins)[..., None, None]
    counted = (sample < count) & (position >= -1) & (position <= cells)
    distance = position.clamp(0, cells - 1)[..., None] - torch.arange(cells, device=start.device)
    hat = (1 - distance.abs()).clamp_min(0)
    return (hat * (counted / count)[..., None]).sum(-2)
