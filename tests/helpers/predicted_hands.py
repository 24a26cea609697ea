"""Predictions for tests: moving procedural hands with noise."""

import numpy as np
import torch

from handpose.hands import ProceduralHand
from handpose.structures import Predictions


def hand_motion(frames, side='right', seed=0, noise=0.0):
    """(T, 21, 3) metres in camera axes, half a metre away: a hand that waves and bends its fingers."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(frames) / 30
    bend = 0.4 + 0.4 * torch.sin(4 * time)[:, None] * torch.rand(16, generator=generator)
    pose = torch.zeros(frames, 16, 3)
    pose[:, :, 2] = bend * (1 if side == 'right' else -1)
    pose[:, 0] = torch.stack([0.3 * torch.sin(3 * time), 0.2 * torch.cos(2 * time), torch.zeros(frames)], -1)
    transl = torch.stack([0.1 * torch.sin(2 * time), 0.05 * torch.cos(3 * time), 0.5 + 0.05 * torch.sin(time)], -1)
    number = torch.full((frames,), ['left', 'right'].index(side))
    joints = ProceduralHand()(pose, torch.zeros(frames, 10), transl, number).joints
    return (joints + noise * torch.randn(joints.shape, generator=generator)).numpy()


def make_predictions(frames=40, sides=('right',), noise=0.002, missing=(), frame='camera', fps=30.0, **known):
    """`Predictions` of such hands; `missing` are (frame, hand) pairs, or frame numbers for hand 0."""
    joints = np.stack([hand_motion(frames, side, seed, noise) for seed, side in enumerate(sides)], 1)
    if frame == 'wrist':
        joints = joints - joints[:, :, :1]
    valid = np.ones(joints.shape[:2], bool)
    for place in missing:
        valid[place if isinstance(place, tuple) else (place, 0)] = False
    return Predictions(joints, valid, np.arange(frames) / fps, np.array(sides), frame, **known)
