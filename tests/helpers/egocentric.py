"""Egocentric frames of two hands as coloured dots, and a small SVEgoNet."""

import torch
from multi_view import random_hands

from handpose.geometry import boxes_from_points, project_points
from handpose.structures import HandSequence

WIDTH, HEIGHT = 120, 90
SMALL_HEADS = {
    'argmax': dict(
        joint_head=dict(type='Heatmap25DHead', in_channels=8, deconv_channels=(8,), depth_cells=6),
        loss=dict(type='SVEgoNetLoss', joint_loss=dict(type='GaussianHeatmapLoss', sigma=1.0)),
    ),
    'soft_argmax': dict(
        joint_head=dict(
            type='Heatmap25DHead',
            in_channels=8,
            deconv_channels=(),
            depth_cells=8,
            decode='soft_argmax',
            separate=False,
        ),
        loss=dict(type='SVEgoNetLoss', joint_loss=None, position_weight=1.0),
    ),
    'distribution': dict(
        joint_head=dict(type='Distribution25DHead', in_channels=8, map_size=(8, 8), cells=(16, 16, 12)),
        loss=dict(type='SVEgoNetLoss', joint_loss=dict(type='CoordinateDistributionLoss', radius=2)),
    ),
}


def small_config(head='distribution', **options):
    """An SVEgoNet of crops of 32 pixels, with one of `SMALL_HEADS`."""
    return {
        'type': 'SVEgoNet',
        'backbone': dict(type='ResNetFPN', depth=18, base_channels=4, out_channels=8, activation='relu'),
        'identity_head': dict(type='HandIdentityHead', in_channels=8, hidden_channels=6),
        'wrist_depth_head': dict(type='WristDepthHead', in_channels=8, hidden_channels=6),
        'crop_size': 32,
        'min_box': 20.0,
        **SMALL_HEADS[head],
        **options,
    }


def egocentric_batch(clips=2, frames=2, seed=0, hands=2, between=0.16):
    """(B, T, 1, H, ...) in the camera's frame: everything annotated, hands 0.4 m away and `between` m apart."""
    draw = torch.Generator().manual_seed(seed)
    joints = torch.stack([random_hands(frames, 2, draw, spread=0.03) for _ in range(clips)])
    shift = torch.tensor([0.5 * between - 0.06, 0.0, 0.0])
    joints = joints + torch.tensor([0.0, 0.0, 0.4]) + torch.stack([-shift, shift])[:, None]
    joints = joints[:, :, 2 - hands :]
    intrinsics = torch.tensor([[150.0, 0, 59.5], [0, 145.0, 44.5], [0, 0, 1]]).expand(clips, frames, 1, 3, 3)
    uv = project_points(joints[:, :, None], intrinsics[:, :, :, None])
    images = torch.full((clips, frames, 1, 3, HEIGHT, WIDTH), 40, dtype=torch.uint8)
    colours = torch.randint(60, 256, (hands * 21,), dtype=torch.uint8, generator=draw)
    for image, pixels in zip(images.flatten(0, 2), uv.flatten(0, 2).flatten(1, 2).round().long(), strict=True):
        for (u, v), colour in zip(pixels.tolist(), colours, strict=True):
            if 1 <= u < WIDTH - 1 and 1 <= v < HEIGHT - 1:
                image[:, v - 1 : v + 2, u - 1 : u + 2] = colour
    valid = torch.ones(clips, frames, hands, 21, dtype=torch.bool)
    return HandSequence(
        meta=[{'dataset': 'dots', 'sequence': f'clip {i}', 'frame_indices': list(range(frames))} for i in range(clips)],
        batched=True,
        frame_valid=valid[:, :, 0, 0].clone(),
        hand_side=torch.arange(2 - hands, 2).expand(clips, -1).contiguous(),
        hand_valid=valid[..., 0].clone(),
        images=images,
        intrinsics=intrinsics.contiguous(),
        boxes=boxes_from_points(uv),
        joints_3d=joints.contiguous(),
        joints_valid=valid,
        joints_2d=uv,
        joints_2d_valid=valid[:, :, None].clone(),
        input_joints_3d=joints.clone(),
        input_valid=valid[..., 0].clone(),
    ).validate()
