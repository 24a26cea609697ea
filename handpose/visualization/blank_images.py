"""Blank images for clips of poses without images, from a virtual camera that follows the hands."""

import torch

from handpose.geometry.rigid import transform_points
from handpose.structures import HandSequence

SIZE = 320  # pixels
MARGIN = 1.5  # how much larger the view is than the hands are at most
PAPER = 235  # grey
DISTANCE = 1.0  # metres between a virtual camera and the nearest joint


def with_blank_images(clip: HandSequence) -> HandSequence:
    """Gives a clip without images blank ones (T, 1, 3, h, w), and intrinsics that keep its hands in the middle.

    The camera stands where the clip's does; in the frame of the world without a camera, it looks at the plane in which
    the hands move most. It turns to the true hands in every frame and keeps one scale. A clip with images is returned
    as it is, and so is one without camera coordinates (joints behind the camera, or frame 'wrist').
    """
    if clip.images is not None or clip.joints_3d is None or clip.frame == 'wrist':
        return clip
    if clip.frame == 'world' and clip.extrinsics is None and clip.require('joints_valid').any():
        clip = clip.replace(extrinsics=_virtual_camera(clip))
    joints = clip.require('joints_3d').double()  # (T, H, J, 3)
    if clip.extrinsics is not None:
        joints = transform_points(joints, clip.extrinsics[:, 0, None].double())
    valid = clip.require('joints_valid')
    if not valid.any() or (joints[..., 2][valid] <= 0).any():
        return clip
    directions = (joints[..., :2] / joints[..., 2:].clamp_min(1e-6)).flatten(1, 2)  # (T, H * J, 2)
    annotated = valid.flatten(1)[..., None]
    low = directions.masked_fill(~annotated, torch.inf).amin(1)
    high = directions.masked_fill(~annotated, -torch.inf).amax(1)
    visible = valid.flatten(1).any(1)
    extent = (high - low)[visible].max()
    centre = torch.zeros_like(low)
    centre[visible] = (low + high)[visible] / 2
    focal = SIZE / (MARGIN * extent)
    intrinsics = torch.eye(3).repeat(len(centre), 1, 1, 1)
    intrinsics[:, 0, 0, 0] = intrinsics[:, 0, 1, 1] = focal
    intrinsics[:, 0, :2, 2] = (SIZE / 2 - focal * centre).float()
    images = torch.full((1, 1, 3, SIZE, SIZE), PAPER, dtype=torch.uint8).expand(len(centre), -1, -1, -1, -1)
    return clip.replace(images=images, intrinsics=intrinsics)


def _virtual_camera(clip: HandSequence) -> torch.Tensor:
    """Extrinsics (T, 1, 4, 4) of a camera that sees all hands of a clip from afar, along the axis they move least."""
    points = clip.require('joints_3d')[clip.require('joints_valid')].double()
    centre = points.mean(0)
    axes = torch.linalg.svd(points - centre, full_matrices=False).Vh  # rows: from the largest extent to the smallest
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # the same signs on every machine
    axes[2] = torch.linalg.cross(axes[0], axes[1])
    depth = ((points - centre) @ axes[2]).abs().max() + DISTANCE
    extrinsics = torch.eye(4, dtype=torch.float64)
    extrinsics[:3, :3] = axes
    extrinsics[:3, 3] = -axes @ centre + torch.tensor([0.0, 0.0, 1.0]) * depth
    return extrinsics.float().expand(len(clip.require('joints_3d')), 1, 4, 4)
