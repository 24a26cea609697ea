"""Clips of hands that move smoothly, for models that forecast."""

import torch

from handpose.hands import ProceduralHand
from handpose.structures import HandSequence

HAND = ProceduralHand()


def smooth_clip(num_frames=32, sides=(0, 1), seed=0, action=None, frame='camera', fps=30.0, start=0):
    """Hands that turn, drift and bend their fingers along sines; H = len(sides).

    Args:
        action: label; also sets the pace of the fingers and the direction of the drift.
        start: frame of the motion at which the clip begins.
    """
    draw = torch.Generator().manual_seed(seed)
    hands = len(sides)
    time = (start + torch.arange(num_frames, dtype=torch.float32))[:, None, None, None] / fps
    pace = 1.5 + (0 if action is None else 2.0 * action)
    size, phase = torch.rand(2, hands, 16, 3, generator=draw)
    pose = 0.5 * size * torch.sin(pace * time + 6 * phase)  # (T, H, 16, 3)
    direction = torch.randn(hands, 3, generator=draw) * (1 if action is None else (-1) ** action)
    transl = (
        torch.tensor([0.0, 0.0, 0.6]) + 0.08 * direction * torch.sin(time[..., 0]) + 0.2 * torch.tensor(sides)[:, None]
    )
    shape = torch.zeros(num_frames, hands, 10)
    joints = HAND(pose, shape, transl, torch.tensor(sides).expand(num_frames, -1)).joints
    ones = torch.ones(num_frames, hands, dtype=torch.bool)
    return HandSequence(
        meta=dict(dataset='smooth', sequence=str(seed), frame_indices=list(range(num_frames)), fps=fps),
        frame=frame,
        frame_valid=ones[:, 0].clone(),
        timestamps=(start + torch.arange(num_frames, dtype=torch.float64)) / fps,
        hand_side=torch.tensor(sides),
        hand_valid=ones,
        joints_3d=joints,
        joints_valid=ones[..., None].repeat(1, 1, 21),
        action_label=None if action is None else torch.tensor(action),
    ).validate()


def smooth_batch(clips=4, num_frames=32, sides=(0, 1), actions=2):
    """B clips of different motions with actions 0, 1, 0, ...; None leaves the actions out."""
    return HandSequence.stack(
        [smooth_clip(num_frames, sides, seed, None if actions is None else seed % actions) for seed in range(clips)]
    )


def split(batch, observed):
    """The first frames of a batch, and the joints of those after."""
    first = HandSequence.stack([clip.select_frames(range(observed)) for clip in batch.unstack()])
    return first, batch.joints_3d[:, observed:]


def with_future(batch, num_frames=4):
    """The batch, each clip with its last frames again as a true future: what a test asks for."""
    clips = []
    for clip in batch.unstack():
        last = clip.select_frames(range(len(clip.frame_valid) - num_frames, len(clip.frame_valid)))
        clips.append(clip.replace(future=HandSequence.stack([last])))
    return HandSequence.stack(clips)
