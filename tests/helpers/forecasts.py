"""Clips with ground-truth and sampled futures, and a reader of random tracks, for tests of forecasting."""

from dataclasses import dataclass

import numpy as np
import torch

from handpose.datasets import Track, VideoDataset
from handpose.structures import HandSequence

FPS = 30.0


def moving_hands(num_frames, hands=2, seed=0):
    """Joints (T, H, 21, 3) float32 of smooth random motion half a metre from the camera."""
    draw = np.random.default_rng(seed)
    path = 0.01 * draw.normal(size=(num_frames, hands, 1, 3)).cumsum(0)
    shape = 0.04 * draw.normal(size=(hands, 21, 3)) + 0.004 * draw.normal(size=(num_frames, hands, 21, 3)).cumsum(0)
    return (path + shape + [0, 0, 0.5]).astype(np.float32)


def clip_of(joints, first=0, valid=None, sequence='s', frame='camera', cameras=('0',)):
    """A clip of joints (T, H, 21, 3), one right hand or left and right, from frame number `first` on."""
    joints = torch.as_tensor(joints, dtype=torch.float32)
    frames, hands = joints.shape[:2]
    valid = torch.ones(frames, hands, 21, dtype=torch.bool) if valid is None else torch.as_tensor(valid)
    numbers = list(range(first, first + frames))
    return HandSequence(
        meta=dict(dataset='test', sequence=sequence, cameras=list(cameras), frame_indices=numbers, fps=FPS),
        frame=frame,
        frame_valid=torch.ones(frames, dtype=torch.bool),
        timestamps=torch.tensor(numbers, dtype=torch.float64) / FPS,
        hand_side=torch.tensor([1] if hands == 1 else [0, 1]),
        hand_valid=valid.any(-1),
        joints_3d=joints,
        joints_valid=valid,
    )


def forecast_pair(truth, samples, num_observed=16, first=0, valid=None, **changes):
    """(prediction, target) of a clip: truth (16 + T, H, 21, 3), samples (S, T, H, 21, 3), valid as truth."""
    whole = clip_of(truth, first, valid, **changes)
    observed = whole.select_frames(range(num_observed))
    after = whole.select_frames(range(num_observed, len(truth)))
    sampled = [clip_of(joints, first + num_observed, **changes) for joints in samples]
    target = observed.replace(future=HandSequence.stack([after]))
    return observed.replace(future=HandSequence.stack(sampled)), target


@dataclass(eq=False, repr=False)
class RandomTracks(VideoDataset):
    """Tracks of random motion of two hands, not registered: `lengths` frames, numbered from 100."""

    name = 'RandomTracks'
    lengths: tuple[int, ...] = (40, 16, 61)
    unreadable: tuple[int, ...] = ()

    def list_tracks(self):
        tracks = []
        for number, length in enumerate(self.lengths):
            readable = np.ones(length, bool)
            readable[[frame for frame in self.unreadable if frame < length]] = False
            every = np.ones(length, bool)
            tracks.append(Track(str(number), str(number), ('0',), FPS, every, readable, (0, length), 100, number))
        return tracks

    def read_frames(self, track, frames):
        assert track.readable[frames].all()
        joints = moving_hands(len(track.annotated), seed=track.source)[frames]
        return clip_of(joints).replace(meta={}, frame_valid=None, action_label=torch.tensor(track.source))
