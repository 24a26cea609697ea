"""Shuffled frames: labels go with their frames, padding stays where it was."""

import numpy as np
import torch

from handpose.datasets.transforms import ShuffleFrames
from handpose.structures import HandSequence


def clip(valid):
    count = len(valid)
    joints = torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(count, 1, 21, 3).clone()
    ones = torch.tensor(valid)
    return HandSequence(
        meta=dict(frame_indices=list(range(count)), paths=[str(i) for i in range(count)]),
        frame_valid=ones,
        timestamps=torch.arange(count, dtype=torch.float64),
        hand_side=torch.tensor([1]),
        joints_3d=joints,
        joints_valid=ones[:, None, None].expand(count, 1, 21).clone(),
        action_label=torch.tensor(3),
    ).validate()


def test_labels_go_with_their_frames():
    shuffled = ShuffleFrames()(clip([True] * 12), np.random.default_rng(0)).validate()
    numbers = shuffled.joints_3d[:, 0, 0, 0].int().tolist()
    assert numbers != sorted(numbers) and sorted(numbers) == list(range(12))
    assert shuffled.meta['frame_indices'] == numbers and shuffled.meta['paths'] == [str(n) for n in numbers]
    assert (shuffled.timestamps.diff() > 0).all() and shuffled.action_label == 3


def test_padding_stays_at_the_end():
    valid = [True] * 9 + [False] * 3
    for seed in range(5):
        shuffled = ShuffleFrames()(clip(valid), np.random.default_rng(seed))
        assert shuffled.frame_valid.tolist() == valid and shuffled.meta['frame_indices'][9:] == [9, 10, 11]
