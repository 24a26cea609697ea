"""What sweeps read: random hands in front of any number of cameras, with or without images."""

import torch

from handpose.geometry import boxes_from_points, look_at, project_points
from handpose.hands import ProceduralHand
from handpose.structures import HandSequence


def hand_batch(
    clips: int, frames: int, hands: int = 1, views: int = 1, image_size: tuple[int, int] | None = None
) -> HandSequence:
    """Makes a batch of hands that move at random, with the inputs of every system.

    Args:
        clips: B.
        frames: T.
        hands: H, 1 (right) or 2.
        views: K; several cameras stand on a ring and the frame is 'world', one has the frame 'camera'.
        image_size: (width, height) of images of noise, pixels; None means no images.
    """
    draw = torch.Generator().manual_seed(0)
    shape = (clips, frames, hands, 21)
    places = 0.04 * torch.randn(clips, 1, hands, 21, 3, generator=draw)
    joints = places + 0.002 * torch.randn(clips, frames, hands, 1, 3, generator=draw).cumsum(1).clamp(-0.05, 0.05)
    width, height = image_size or (64, 64)
    focal = 1.1 * min(width, height)
    camera = torch.tensor([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]])
    intrinsics = camera.expand(clips, frames, views, 3, 3).contiguous()
    extrinsics = _ring(views).expand(clips, frames, views, 4, 4).contiguous()
    if views == 1:
        joints = joints + torch.tensor([0, 0, 0.7])
        extrinsics = torch.eye(4).expand_as(extrinsics).contiguous()
    pixels = project_points(joints[:, :, None], intrinsics[:, :, :, None], extrinsics[:, :, :, None])
    valid = torch.ones(shape, dtype=torch.bool)
    images = None
    if image_size is not None:
        images = torch.randint(256, (clips, frames, views, 3, height, width), generator=draw, dtype=torch.uint8)
    return HandSequence(
        meta=[_meta(clip, frames, views) for clip in range(clips)],
        frame='camera' if views == 1 else 'world',
        batched=True,
        frame_valid=valid[:, :, 0, 0].clone(),
        timestamps=(torch.arange(frames).double() / 30).expand(clips, -1).clone(),
        hand_side=torch.arange(2 - hands, 2).expand(clips, -1).contiguous(),
        hand_valid=valid[..., 0].clone(),
        images=images,
        intrinsics=intrinsics,
        extrinsics=extrinsics,
        boxes=boxes_from_points(pixels),
        joints_3d=joints,
        joints_valid=valid,
        joints_2d=pixels,
        joints_2d_valid=valid[:, :, None].expand(pixels.shape[:-1]).clone(),
        input_joints_3d=joints + 0.005 * torch.randn(*shape, 3, generator=draw),
        input_confidence=torch.rand(shape, generator=draw),
        input_valid=valid[..., 0].clone(),
    ).validate()


def _ring(count: int) -> torch.Tensor:
    """Extrinsics (K, 4, 4) of cameras around the origin that look at it."""
    angles = torch.arange(count) * (2 * torch.pi / count) + 0.3
    eyes = torch.stack([0.7 * angles.cos(), 0.7 * angles.sin(), torch.full_like(angles, 0.5)], -1)
    return look_at(eyes, torch.zeros(3), torch.tensor([0.0, 0, 1]))


def _meta(clip: int, frames: int, views: int) -> dict[str, object]:
    return {
        'dataset': 'random',
        'sequence': f'clip {clip}',
        'cameras': [str(view) for view in range(views)],
        'frame_indices': list(range(frames)),
        'fps': 30.0,
        'hand_model': ProceduralHand().name,
    }
