"""Clips of joints as models of two-hand motion see them, and random pieces of them for training.

Legend: B clips, T frames, T' frames of the longest crop, H hands, J joints.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from handpose.models.estimators.forecaster import two_hands
from handpose.structures import HandSequence, SequenceError, sample_name


class JointClips(NamedTuple):
    """Clips as models of motion see them."""

    joints: Tensor  # (B, T, H, J, 3), metres
    joints_valid: Tensor  # (B, T, H, J) bool
    frame_valid: Tensor  # (B, T) bool, False for padding


def random_crops(clips: JointClips, min_frames: int, max_frames: int, seed: int) -> JointClips:
    """Takes a piece of random length at a random place of each clip.

    Args:
        clips: with padding at their ends.
        min_frames: the least length; a shorter clip is taken whole.
        max_frames: the greatest length.
        seed: of the draws; training gives the iteration.

    Returns:
        Clips of T' frames, padded where shorter; what is padding repeats the last frame and is not valid.

    Raises:
        SequenceError: a clip without any frame that is not padding.
    """
    device = clips.frame_valid.device
    position = torch.arange(1, clips.frame_valid.shape[1] + 1, device=device)
    lengths = (clips.frame_valid * position).amax(1).cpu()  # to the last frame that is not padding
    if not lengths.all():
        raise SequenceError('a clip has no frame that is not padding: leave it out of the training data')
    draw = torch.Generator().manual_seed(seed)
    low, high = lengths.clamp(max=min_frames), lengths.clamp(max=max_frames)
    count = low + (torch.rand(len(lengths), generator=draw) * (high - low + 1)).long().minimum(high - low)
    start = (torch.rand(len(lengths), generator=draw) * (lengths - count + 1)).long().minimum(lengths - count)
    frame = torch.arange(int(count.max()))
    index = (start[:, None] + frame.minimum(count[:, None] - 1)).to(device)
    inside = (frame < count[:, None]).to(device)
    rows = torch.arange(len(index), device=device)[:, None]
    return JointClips(
        clips.joints[rows, index],
        clips.joints_valid[rows, index] & inside[..., None, None],
        clips.frame_valid[rows, index] & inside,
    )


def two_hand_clips(batch: HandSequence, mirror_single: bool = False) -> JointClips:
    """The true joints of a batch, each hand in the place of its side: H = 2, left 0 and right 1.

    Args:
        batch: (B, T, H, ...) of one or two hands.
        mirror_single: shows single left hands (H = 1) in a mirror, as right ones.

    Returns:
        Clips; a hand that the batch lacks is not valid.

    Raises:
        SequenceError: joints relative to the wrist, which tell nothing of the hand's own motion, or a field is absent.
    """
    check_still_frame(batch)
    joints, joints_valid = batch.require('joints_3d'), batch.require('joints_valid')
    hands = two_hands(joints, joints_valid, batch.require('hand_side'), mirror_single)
    frame_valid = batch.frame_valid
    if frame_valid is None:
        frame_valid = torch.ones(joints.shape[:2], dtype=torch.bool, device=joints.device)
    return JointClips(hands.joints, hands.valid & frame_valid[..., None, None], frame_valid)


def check_still_frame(batch: HandSequence) -> None:
    """Raises SequenceError for joints relative to the wrist."""
    if batch.frame == 'wrist':
        raise SequenceError(
            f'{sample_name(batch.meta[0])}: models of two-hand motion need joints in a frame that stands still, '
            f"'camera' or 'world', got a batch in the 'wrist' frame: leave out what makes joints relative to the wrist"
        )


def whole_steps(clips: JointClips, frames: int) -> JointClips:
    """Clips padded at their ends to a multiple of `frames` frames.

    Args:
        clips: of T frames.
        frames: in a step.

    Returns:
        Clips of which the added frames repeat the last one and are not valid.
    """
    missing = -clips.frame_valid.shape[1] % frames
    if not missing:
        return clips
    joints = torch.cat([clips.joints, clips.joints[:, -1:].expand(-1, missing, -1, -1, -1)], 1)
    joints_valid = F.pad(clips.joints_valid, (0, 0, 0, 0, 0, missing))
    return JointClips(joints, joints_valid, F.pad(clips.frame_valid, (0, missing)))
