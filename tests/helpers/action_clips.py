"""Small HTTs, and clips as they see them: random images with joints in front of the camera, objects and an action."""

import torch

from handpose.geometry import project_points
from handpose.registry import MODELS
from handpose.structures import HandSequence

OBJECTS, ACTIONS, WIDTH, HEIGHT = 5, 7, 64, 48
BLOCK = dict(channels=32, num_layers=2, num_heads=4, feedforward_channels=48)


def model_config(hands=2, window=4, inputs=('image', 'pose', 'object'), detach=False, position='per_layer', **options):
    """A small HTT: each option of the paper's tables by its name, the rest are the estimator's own arguments."""
    shared = dict(channels=32)
    return {
        'type': 'HTT',
        'backbone': dict(type='PooledResNet', depth=18, base_channels=4),
        'pose_block': dict(type='WindowedTransformer', window=window, position=position, **BLOCK),
        'pose_head': dict(type='Pose25DHead', num_hands=hands, image_size=(WIDTH, HEIGHT), **shared),
        'object_head': dict(type='ObjectHead', num_objects=OBJECTS, **shared),
        'tokenizer': dict(
            type='ActionTokenizer', num_hands=hands, num_objects=OBJECTS, inputs=inputs, detach=detach, **shared
        ),
        'action_head': dict(type='ActionHead', num_actions=ACTIONS, position=position, **BLOCK),
        'loss': dict(type='HTTLoss'),
        'num_frames': 8,
        'frame_step': 2,
        **options,
    }


def frame_config(hands=2, **options):
    """A small image estimator F of the same images and objects."""
    return {
        'type': 'FrameHandObject',
        'backbone': dict(type='PooledResNet', depth=18, base_channels=4),
        'pose_head': dict(type='Pose25DHead', num_hands=hands, image_size=(WIDTH, HEIGHT), channels=32),
        'object_head': dict(type='MLP', in_channels=32, channels=(48, 512), activation='leaky_relu'),
        'object_names': ['milk', 'book', 'spray', 'chips', 'cocoa'],
        'loss': dict(type='FrameHandObjectLoss'),
        **options,
    }


def build(**options):
    torch.manual_seed(0)
    return MODELS.build(model_config(**options))


def make_batch(clips=2, frames=8, hands=2, seed=0):
    """(B, T, 1, H, ...): everything annotated, no frame missing."""
    draw = torch.Generator().manual_seed(seed)
    camera = torch.tensor([[60.0, 0, 30], [0, 58, 25], [0, 0, 1]]).expand(clips, frames, 1, 3, 3).contiguous()
    joints = torch.randn(clips, frames, hands, 21, 3, generator=draw) * 0.05 + torch.tensor([0, 0, 0.5])
    ones = torch.ones(clips, frames, hands, 21, dtype=torch.bool)
    return HandSequence(
        meta=[
            {'dataset': 'random', 'sequence': f'clip {i}', 'frame_indices': list(range(frames))} for i in range(clips)
        ],
        batched=True,
        frame_valid=ones[:, :, 0, 0].clone(),
        hand_side=torch.arange(2 - hands, 2).expand(clips, -1).contiguous(),
        hand_valid=ones[..., 0].clone(),
        images=torch.randint(0, 256, (clips, frames, 1, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=draw),
        intrinsics=camera,
        extrinsics=torch.eye(4).expand(clips, frames, 1, 4, 4).contiguous(),
        joints_3d=joints,
        joints_valid=ones,
        joints_2d=project_points(joints, camera)[:, :, None],
        joints_2d_valid=ones[:, :, None].clone(),
        object_label=torch.randint(0, OBJECTS, (clips, frames), generator=draw),
        action_label=torch.randint(0, ACTIONS, (clips,), generator=draw),
    ).validate()


def inputs_of(batch):
    """What HTT's forward pass takes of a batch: images, intrinsics and frame_valid."""
    return batch.images[:, :, 0], batch.intrinsics[:, :, 0], batch.frame_valid


def summed(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


def give_plausible_hands(estimator, left=(0, 0)):
    """Makes an HTT give flat open hands 0.4 m away in every frame, for a focal length of half the width.

    Args:
        left: what the left hand is moved by, as a share of the image's width and height.
    """
    head = estimator.pose_head
    size = torch.tensor(head.image_size)
    hand = torch.zeros(21, 2)
    for finger in range(5):
        for k in range(4):
            hand[1 + 4 * finger + k] = torch.tensor([0.02 * (finger - 2), -0.06 - 0.03 * k])
    raw = torch.zeros(2, 21, 3)
    raw[..., :2] = hand * (size[0] / 2) / 0.4 / head.pixel_scale
    raw[0, :, :2] += torch.tensor(left) * size / head.pixel_scale
    torch.nn.init.zeros_(head.mlp[-1].weight)
    head.mlp[-1].bias.data = raw.flatten()
