"""Crops of single hands, the cameras that saw them, and what is true of them.

Legend: F frames, N crops, H = 2 hands (left, right), J = 21 joints, h w size of the images, s side of a crop.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from handpose.geometry import (
    apply_affine,
    crop_affine,
    crop_squares,
    invert_affine,
    project_points,
    scale_boxes,
    transform_intrinsics,
)

NEAREST = 0.01  # metres; a joint that is nearer to the camera's plane, or behind it, has no place in the image
SAMPLES = 2  # along each side of a pixel of a crop: enough for hands of up to four times its size
SHOWN = 0.5  # share of a hand's joints that must lie in the crop of the other hand to count as shown there


class HandView(NamedTuple):
    """Crops of N hands, each as an image of its own camera."""

    images: Tensor  # (N, 3, s, s), RGB in [0, 255], black outside of the image
    intrinsics: Tensor  # (N, 3, 3), from camera space to pixels of the crop; rotated or mirrored with it


class CropTarget(NamedTuple):
    """What is true of N crops. What is not valid may hold anything finite."""

    positions: Tensor  # (N, H, J, 3), in [0, 1] of the crop and of the range of depth
    valid: Tensor  # (N, H, J, 3) bool, for each coordinate: without its wrist, a hand has no z
    wrist_depth: Tensor  # (N, H), metres
    wrist_valid: Tensor  # (N, H) bool
    shown: Tensor  # (N, H) bool, hands that the crop shows


def crop_affines(boxes: Tensor, scale: float, size: int, angle: Tensor, mirrored: Tensor) -> Tensor:
    """The maps from pixels of the images to pixels of square crops.

    Args:
        boxes: (N, 4) around the hands, pixels.
        scale: factor of their longer sides.
        size: s, pixels.
        angle: (N,) radians by which the squares are rotated, from x towards y.
        mirrored: (N,) bool, crops that are flipped from left to right.

    Returns:
        (N, 2, 3).
    """
    affine = crop_affine(crop_squares(scale_boxes(boxes, scale)), (size, size), angle)
    flip = affine.new_tensor([[-1.0], [1.0]])
    flipped = affine * flip + affine.new_tensor([[0.0, 0.0, size - 1], [0.0, 0.0, 0.0]])
    return torch.where(mirrored[:, None, None], flipped, affine)


def sample_crops(images: Tensor, intrinsics: Tensor, affines: Tensor, size: int) -> HandView:
    """Resamples crops.

    Args:
        images: (N, 3, h, w), the image of each crop, RGB in [0, 255].
        intrinsics: (N, 3, 3) of the images.
        affines: (N, 2, 3), from `crop_affines`.
        size: s, pixels.

    Returns:
        N crops.
    """
    height, width = images.shape[-2:]
    line = (torch.arange(SAMPLES * size, dtype=affines.dtype, device=affines.device) + 0.5) / SAMPLES - 0.5
    y, x = torch.meshgrid(line, line, indexing='ij')
    points = torch.stack([x, y], -1).flatten(0, 1)  # (P, 2), of the crop
    pixels = apply_affine(points, invert_affine(affines))  # (N, P, 2), of the image
    grid = 2 * (pixels + 0.5) / pixels.new_tensor([width, height]) - 1
    grid = grid.unflatten(1, (len(line), len(line)))
    sampled = F.grid_sample(images.to(grid.dtype), grid, padding_mode='zeros', align_corners=False)
    return HandView(F.avg_pool2d(sampled, SAMPLES), transform_intrinsics(intrinsics, affines))


def crop_target(
    joints: Tensor, valid: Tensor, own: Tensor, intrinsics: Tensor, size: int, depth_range: float, other_hand: bool
) -> CropTarget:
    """What a network should say of N crops.

    Args:
        joints: (N, H, J, 3) of both hands, metres, camera.
        valid: (N, H, J) bool.
        own: (N,) int, the hand whose box was cropped.
        intrinsics: (N, 3, 3) of the crops.
        size: s, pixels.
        depth_range: metres from the nearest to the farthest depth that a joint can have, its wrist in the middle.
        other_hand: the other hand counts where the crop shows at least half of its joints; with False, a crop shows
            its own hand alone.

    Returns:
        `CropTarget`; joints of hands that are not shown are not valid.
    """
    joints = torch.where(valid[..., None], joints, 0.0)
    uv = project_points(joints.flatten(1, 2), intrinsics).unflatten(1, valid.shape[1:])  # (N, H, J, 2)
    xy, depth = (uv + 0.5) / size, joints[..., 2]
    z = (depth - depth[..., :1]) / depth_range + 0.5
    in_front = valid & (depth > NEAREST)
    inside = in_front & ((xy >= 0) & (xy <= 1)).all(-1)
    is_own = F.one_hot(own, valid.shape[1]).bool()
    share = inside.sum(-1) / valid.sum(-1).clamp_min(1)
    shown = is_own | ((share >= SHOWN) & other_hand)
    counts = shown[..., None]
    place, has_depth = in_front & counts, in_front & in_front[..., :1] & counts
    return CropTarget(
        positions=torch.where(in_front[..., None], torch.cat([xy, z[..., None]], -1), 0.5),
        valid=torch.stack([place, place, has_depth], -1),
        wrist_depth=torch.where(in_front[..., 0], depth[..., 0], 1.0),
        wrist_valid=in_front[..., 0] & shown,
        shown=shown,
    )
