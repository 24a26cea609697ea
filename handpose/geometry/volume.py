"""Cubes of voxels in space: image features of several views, sampled at the voxels and fused.

Shapes: B batch, V views, C channels, D voxels along an edge of the cube. A cube is cut into D x D x D cells and a voxel
is the centre of its cell, as a pixel is of its own: `voxels[..., i, j, k, :]` is the i-th along the cube's x axis, the
j-th along y and the k-th along z.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from handpose.geometry.rotations import small_matmul
from handpose.geometry.tracing import is_exporting

_NOT_SEEN = -1e30  # below every feature; minus infinity would give NaN as a difference
_LEAST_DEPTH = 1e-6  # a voxel closer to the camera's plane, or behind it, is not seen


def cube_voxels(centres: Tensor, size: float, resolution: int, rotmat: Tensor | None = None) -> Tensor:
    """Computes the voxels of cubes.

    Args:
        centres: (..., 3) centres of the cubes, world, metres.
        size: length of an edge, metres.
        resolution: D.
        rotmat: (..., 3, 3), the columns are the cube's axes in the world; None for the world's axes.

    Returns:
        (..., D, D, D, 3) world, metres, the outermost voxels half a cell inside the faces.

    Raises:
        ValueError: a size that is not positive or a resolution below 1.
    """
    _check_cube(size, resolution)
    steps = ((torch.arange(resolution, device=centres.device) + 0.5) / resolution - 0.5).to(centres.dtype) * size
    grid = torch.stack(torch.meshgrid(steps, steps, steps, indexing='ij'), -1).flatten(0, 2)
    if rotmat is not None:
        grid = small_matmul(grid, rotmat.mT)
    return (grid + centres.unsqueeze(-2)).unflatten(-2, (resolution,) * 3)


def cube_indices(points: Tensor, centres: Tensor, size: float, resolution: int, rotmat: Tensor | None = None) -> Tensor:
    """Computes where points lie in cubes: the inverse of `cube_voxels`.

    Args:
        points: (..., N, 3) world, metres.
        centres: (..., 3) centres of the cubes, world, metres.
        size: length of an edge, metres.
        resolution: D.
        rotmat: (..., 3, 3) as given to `cube_voxels`.

    Returns:
        (..., N, 3) fractional indices (i, j, k); voxel centres are whole numbers, the cube spans -0.5 to D - 0.5.

    Raises:
        ValueError: a size that is not positive or a resolution below 1.
    """
    _check_cube(size, resolution)
    offsets = points - centres.unsqueeze(-2)
    if rotmat is not None:
        offsets = small_matmul(offsets, rotmat)
    return (offsets / size + 0.5) * resolution - 0.5


def sample_features(features: Tensor, uv: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Samples feature maps at pixels of the image, bilinearly.

    Pixel centres are whole numbers, so pixel u of an image w pixels wide lies at (u + 0.5) / w of its width, and at the
    same fraction of the width of a map that covers the image at any stride. Within half a cell of the border the
    values of the outermost cells are used.

    Args:
        features: (B, C, h, w).
        uv: (B, N, 2) pixels of the image.
        image_size: (w, h) of the image that the maps cover, pixels. Where the image was padded to a multiple of the
            stride, the padded size.

    Returns:
        Values (B, C, N), 0 outside the image, and inside (B, N) bool. NaN pixels are outside.
    """
    extent = uv.new_tensor(image_size)
    fractions = (uv + 0.5) / extent
    inside = ((fractions >= 0) & (fractions <= 1)).all(-1)
    grid = torch.where(inside.unsqueeze(-1), 2 * fractions - 1, 0.0).unsqueeze(-2)  # (B, N, 1, 2)
    dtype = torch.promote_types(features.dtype, grid.dtype)
    values = functional.grid_sample(features.to(dtype), grid.to(dtype), padding_mode='border', align_corners=False)
    return values.squeeze(-1) * inside.unsqueeze(-2), inside


def unproject_features(
    features: Tensor, voxels: Tensor, projections: Tensor, image_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Samples the feature maps of one view at the voxels' projections.

    Args:
        features: (B, C, h, w).
        voxels: (B, D, D, D, 3) world, metres.
        projections: (B, 3, 4) from `projection_matrices`, for pixels of the image.
        image_size: (w, h) of the image that the maps cover, pixels.

    Returns:
        Values (B, C, D, D, D), and seen (B, D, D, D) bool: in front of the camera and inside the image. 0 where not
        seen.
    """
    shape = voxels.shape[1:-1]
    values, seen = _sample_view(features, voxels.flatten(1, -2), projections, image_size)
    return values.unflatten(-1, shape), seen.unflatten(-1, shape)


class RunningViewSoftmax:
    """Fuses views one at a time: sum_v F_v softmax_v(F_v), per channel and voxel.

    Source: AssemblyHands (Ohkawa et al., CVPR 2023), section 4.2, after Iskakov et al., Learnable triangulation of
    human pose, ICCV 2019, section 3.2; views that do not see a voxel have no weight. A running maximum and running
    sums replace the stack of all views, so memory does not grow with their number. Where gradients are recorded,
    autograd keeps every view: use `fuse_views` there.

    Args:
        values: (..., C, *voxels) features of the first view, only for shape, dtype and device.
    """

    def __init__(self, values: Tensor) -> None:
        dtype = torch.promote_types(values.dtype, torch.float32)
        self._maximum = torch.full_like(values, _NOT_SEEN, dtype=dtype)
        self._weight_sum = torch.zeros_like(values, dtype=dtype)
        self._value_sum = torch.zeros_like(values, dtype=dtype)

    def add(self, values: Tensor, seen: Tensor) -> None:
        """Adds a view.

        Args:
            values: features of the view, of the shape given at the start.
            seen: bool of a shape that broadcasts to it, False where the view has no say.
        """
        hidden = ~seen
        values = values.to(self._maximum.dtype).masked_fill(hidden, _NOT_SEEN)
        maximum = torch.maximum(self._maximum, values)
        decay = (self._maximum - maximum).exp_()
        weight = (values - maximum).exp_().masked_fill(hidden, 0.0)
        self._weight_sum = torch.addcmul(weight, self._weight_sum, decay)
        self._value_sum = torch.addcmul(weight * values, self._value_sum, decay)
        self._maximum = maximum

    def fused(self) -> Tensor:
        """Returns the fused features of the views added so far, 0 where none sees the voxel."""
        return self._value_sum / torch.where(self._weight_sum > 0, self._weight_sum, 1.0)

    def log_normalizer(self) -> Tensor:
        """Returns log sum_v exp(F_v); minus infinity where none sees the voxel."""
        return self._maximum + self._weight_sum.log()


def fuse_views(
    features: Tensor,
    voxels: Tensor,
    projections: Tensor,
    image_size: tuple[int, int],
    view_valid: Tensor | None = None,
) -> Tensor:
    """Samples the feature maps of all views at the voxels and fuses them: sum_v F_v softmax_v(F_v).

    Per channel and voxel, over the views that see the voxel (AssemblyHands, section 4.2). One view at a time, forward
    and backward: the backward pass samples each view again, as checkpointing does, so memory for the volumes does not
    grow with the number of views in training either. Computed in float32 under autocast.

    Args:
        features: (B, V, C, h, w).
        voxels: (B, D, D, D, 3) world, metres, from `cube_voxels`.
        projections: (B, V, 3, 4) from `projection_matrices`, for pixels of the image.
        image_size: (w, h) of the images that the maps cover, pixels.
        view_valid: (B, V) bool, False for views to leave out (their maps may hold anything); None for all.

    Returns:
        (B, C, D, D, D) in the dtype of `features`, 0 where no view sees the voxel. Differentiable in `features`,
        `voxels` and `projections`.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    batch, views = features.shape[:2]
    if features.ndim != 5 or voxels.ndim != 5 or tuple(projections.shape) != (batch, views, 3, 4):
        raise ValueError(
            'fuse_views expects features (B, V, C, h, w), voxels (B, D, D, D, 3) and projections (B, V, 3, 4), got '
            f'{tuple(features.shape)}, {tuple(voxels.shape)} and {tuple(projections.shape)}'
        )
    if view_valid is None:
        view_valid = torch.ones(batch, views, dtype=torch.bool, device=features.device)
    flat = voxels.flatten(1, 3)
    if is_exporting():  # any number of views, and no gradient
        fused = _fuse_at_once(features, flat, projections, view_valid, image_size)
        return fused.to(features.dtype).unflatten(-1, voxels.shape[1:4])
    fused = _FusedViews.apply(features, flat, projections, view_valid, tuple(image_size))
    return fused.to(features.dtype).unflatten(-1, voxels.shape[1:4])


def _check_cube(size: float, resolution: int) -> None:
    if not size > 0 or resolution < 1:
        raise ValueError(
            f'a cube needs a positive size in metres and at least one voxel along an edge, got size {size} '
            f'and resolution {resolution}'
        )


def _sample_view(
    features: Tensor, voxels: Tensor, projections: Tensor, image_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Values (B, C, N) and seen (B, N) of voxels (B, N, 3)."""
    homogeneous = small_matmul(voxels, projections[..., :3].mT) + projections[..., None, :, 3]
    in_front = homogeneous[..., 2:] > _LEAST_DEPTH
    uv = homogeneous[..., :2] / torch.where(in_front, homogeneous[..., 2:], 1.0)
    uv = torch.where(in_front, uv, -torch.inf)
    return sample_features(features, uv, image_size)


def _fuse_at_once(
    features: Tensor, voxels: Tensor, projections: Tensor, view_valid: Tensor, image_size: tuple[int, int]
) -> Tensor:
    """`fuse_views` on voxels (B, N, 3) with all views in memory: without a loop, whose length would be fixed."""
    views = features.shape[1]
    maps = torch.where(view_valid[..., None, None, None], features, 0.0).flatten(0, 1)
    points = voxels[:, None].expand(-1, views, -1, -1).flatten(0, 1)
    values, seen = _sample_view(maps, points, projections.flatten(0, 1), image_size)
    values, seen = (x.unflatten(0, view_valid.shape) for x in (values, seen[:, None]))
    hidden = ~(seen & view_valid[..., None, None])
    weights = values.masked_fill(hidden, _NOT_SEEN).softmax(1).masked_fill(hidden, 0.0)
    return (weights * values).sum(1)


class _FusedViews(torch.autograd.Function):
    """`fuse_views` on voxels (B, N, 3), with a backward pass that samples each view again.

    With p_v = exp(F_v - log sum_u exp(F_u)), the derivative of the result by F_v is p_v (1 + F_v - result).
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        voxels: Tensor,
        projections: Tensor,
        view_valid: Tensor,
        image_size: tuple[int, int],
    ) -> Tensor:
        batch, views, channels = features.shape[:3]
        dtype = torch.promote_types(features.dtype, voxels.dtype)
        softmax = RunningViewSoftmax(features.new_empty(batch, channels, voxels.shape[1], dtype=dtype))
        for view in range(views):
            softmax.add(*_masked_view(features, voxels, projections, view_valid, image_size, view))
        fused = softmax.fused()
        ctx.image_size = image_size
        ctx.save_for_backward(features, voxels, projections, view_valid, fused, softmax.log_normalizer())
        return fused

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_fused: Tensor) -> tuple[Tensor | None, ...]:
        features, voxels, projections, view_valid, fused, log_normalizer = ctx.saved_tensors
        inputs = [features, voxels, projections]
        needed = [index for index in range(3) if ctx.needs_input_grad[index]]
        grads = {index: torch.zeros_like(inputs[index]) for index in needed}
        for view in range(features.shape[1]):
            # Only this view's slices, so that autograd allocates no gradient of the size of all views.
            leaves = [features[:, view : view + 1], voxels, projections[:, view : view + 1]]
            with torch.enable_grad():
                leaves = [leaf.detach().requires_grad_(i in needed) for i, leaf in enumerate(leaves)]
                maps, points, cameras = leaves
                values, seen = _masked_view(maps, points, cameras, view_valid[:, view : view + 1], ctx.image_size, 0)
            with torch.no_grad():
                weights = (values - log_normalizer).exp_().masked_fill_(~seen, 0.0)
                grad_values = weights.mul_(grad_fused).mul_((values - fused).add_(1))
            found = torch.autograd.grad(values, [leaves[i] for i in needed], grad_values.to(values.dtype))
            for index, grad in zip(needed, found, strict=True):
                target = grads[index] if index == 1 else grads[index][:, view : view + 1]
                target += grad
        return grads.get(0), grads.get(1), grads.get(2), None, None


def _masked_view(
    features: Tensor,
    voxels: Tensor,
    projections: Tensor,
    view_valid: Tensor,
    image_size: tuple[int, int],
    view: int,
) -> tuple[Tensor, Tensor]:
    """Values (B, C, N) of one view, 0 where it is not valid, and seen (B, 1, N)."""
    valid = view_valid[:, view, None]
    maps = torch.where(valid[..., None, None], features[:, view], 0.0)
    with torch.autocast(features.device.type, enabled=False):
        values, seen = _sample_view(maps, voxels, projections[:, view], image_size)
    return values, (seen & valid).unsqueeze(1)
