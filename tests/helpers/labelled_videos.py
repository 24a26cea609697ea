"""Labelled videos for the small HTT of tests/models/estimators/action_clips.py; every frame has a grey of its own."""

import torch
from action_clips import HEIGHT, WIDTH, make_batch

from handpose.structures import HandSequence

NAMES = ['open milk', 'close milk', 'pour milk', 'place milk', 'read book', 'spray spray', 'put_in cocoa']


def make_video(frames=21, missing=()) -> HandSequence:
    """A clip of two hands with a label; `missing` frames are not valid."""
    (video,) = make_batch(clips=1, frames=frames).unstack()
    valid = torch.ones(frames, dtype=torch.bool)
    valid[list(missing)] = False
    grey = (40 + 8 * torch.arange(frames)).clamp_max(250).to(torch.uint8)
    meta = dict(dataset='h2o', sequence='subject4/h1/0/000003', cameras=['cam4'], fps=30.0)
    return video.replace(
        meta={**meta, 'frame_indices': list(range(3, 3 + frames))},
        frame_valid=valid,
        joints_valid=video.joints_valid & valid[:, None, None],
        images=grey[:, None, None, None, None].expand(-1, 1, 3, HEIGHT, WIDTH).clone(),
        action_label=torch.tensor(2),
    )
