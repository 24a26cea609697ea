"""Cameras on a ring around a table, hands as coloured dots in their images, and a small MVExoNet."""

import torch

from handpose.geometry import boxes_from_points, look_at, project_points, transform_points
from handpose.structures import HandSequence

WIDTH, HEIGHT = 96, 80


def small_config(**options):
    """An MVExoNet of 16 voxels along an edge."""
    return {
        'type': 'MVExoNet',
        'backbone': dict(type='EfficientNet', variant=(0.25, 0.4), strides=(4, 8)),
        'volume_network': dict(type='V2VNet', in_channels=4, channels=(8, 8, 8), stem_channels=4, stem_kernel=3),
        'loss': dict(type='MVExoNetLoss'),
        'crop_size': 32,
        'resolution': 16,
        **options,
    }


def ring_of_cameras(count, height=0.5, radius=0.7):
    """Intrinsics (K, 3, 3) and extrinsics (K, 4, 4), world to camera, that look at the origin; z points up."""
    angles = torch.arange(count) * (2 * torch.pi / count) + 0.3
    eyes = torch.stack([radius * angles.cos(), radius * angles.sin(), torch.full_like(angles, height)], -1)
    extrinsics = look_at(eyes, torch.zeros(3), torch.tensor([0.0, 0, 1]))
    intrinsics = torch.tensor([[110.0, 0, 47.0], [0, 105.0, 39.0], [0, 0, 1]]).expand(count, 3, 3).contiguous()
    return intrinsics, extrinsics


def random_hands(frames, hands, draw, spread=0.04):
    """(T, H, 21, 3) metres: fingers as straight rays from a wrist, left and right of the origin."""
    wrist = torch.randn(frames, hands, 1, 3, generator=draw) * 0.02
    wrist[..., 0] += torch.linspace(-0.06, 0.06, hands)[:, None] if hands == 2 else 0.0
    bases = torch.randn(frames, hands, 5, 3, generator=draw) * spread
    steps = torch.tensor([0.7, 1.0, 1.3, 1.6])[:, None]
    fingers = (bases[..., None, :] * steps).flatten(-3, -2)
    return torch.cat([wrist, wrist + fingers], -2)


def draw_dots(images, uv, colours):
    """Paints 3 x 3 pixels around each point: images (..., 3, h, w), uv (..., N, 2), colours (N, 3)."""
    flat, points = images.flatten(0, -4), uv.flatten(0, -3)
    for image, pixels in zip(flat, points.round().long(), strict=True):
        for (u, v), colour in zip(pixels.tolist(), colours, strict=True):
            if 1 <= u < WIDTH - 1 and 1 <= v < HEIGHT - 1:
                image[:, v - 1 : v + 2, u - 1 : u + 2] = colour[:, None, None]


def multi_view_batch(clips=2, frames=2, cameras=4, hands=2, seed=0):
    """(B, T, K, H, ...) in the world frame: everything annotated, all hands in all views."""
    draw = torch.Generator().manual_seed(seed)
    intrinsics, extrinsics = (x.expand(clips, frames, *x.shape).contiguous() for x in ring_of_cameras(cameras))
    joints = torch.stack([random_hands(frames, hands, draw) for _ in range(clips)])
    uv = project_points(joints[:, :, None], intrinsics[:, :, :, None], extrinsics[:, :, :, None])
    assert (transform_points(joints[:, :, None], extrinsics[:, :, :, None])[..., 2] > 0.1).all()
    images = torch.full((clips, frames, cameras, 3, HEIGHT, WIDTH), 40, dtype=torch.uint8)
    colours = torch.randint(60, 256, (hands * 21, 3), dtype=torch.uint8, generator=draw)
    draw_dots(images, uv.flatten(3, 4), colours)
    valid = torch.ones(clips, frames, hands, 21, dtype=torch.bool)
    return HandSequence(
        meta=[{'dataset': 'dots', 'sequence': f'clip {i}', 'frame_indices': list(range(frames))} for i in range(clips)],
        frame='world',
        batched=True,
        frame_valid=valid[:, :, 0, 0].clone(),
        hand_side=torch.arange(2 - hands, 2).expand(clips, -1).contiguous(),
        hand_valid=valid[..., 0].clone(),
        images=images,
        intrinsics=intrinsics,
        extrinsics=extrinsics,
        boxes=boxes_from_points(uv),
        joints_3d=joints,
        joints_valid=valid,
        joints_2d=uv,
        joints_2d_valid=valid[:, :, None].expand(uv.shape[:-1]).clone(),
        input_joints_3d=joints + 0.01 * torch.randn(joints.shape, generator=draw),
        input_valid=valid[..., 0].clone(),
    ).validate()
