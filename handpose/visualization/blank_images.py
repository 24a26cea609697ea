"""Blank images for clips of poses without images, from a virtual camera that follows the hands."""

import torch

from handpose.geometry.rigid import transform_points
from handpose.structures import HandSequence

SIZE = 320  # pixels
MARGIN = 1.5  # how much larger the view is than the hands are at most
PAPER = 235  # grey


def with_blank_images(clip: HandSequence) -> HandSequence:
    """Gives a clip without images blank ones (T, 1, 3, h, w), and intrinsics that keep its hands in the middle.

    The camera stands where the clip's does; it turns to the true hands in every frame and keeps one scale. A clip with
    images is returned as it is, and so is one without camera coordinates (joints behind the camera, or frame 'wrist').
    """
    if clip.images is not None or clip.joints_3d is None or clip.frame == 'wrist':
        return clip
    joints = clip.joints_3d.double()  # (T, H, J, 3)
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
