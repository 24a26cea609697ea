"""A dataset of random clips, so that the runner is tested without files."""

import numpy as np
import torch

from handpose.datasets.base import VideoDataset
from handpose.datasets.sampling import ClipSampling, Track
from handpose.registry import DATASETS
from handpose.structures import HandSequence


@DATASETS.register_module()
class RandomClips(VideoDataset):
    """Clips that the index alone decides; the pipeline draws from (seed, epoch, index) as in every dataset."""

    name = 'random'

    def __init__(self, length=8, frames=3, size=32, pipeline=()):
        self.length, self.frames, self.size = length, frames, size
        super().__init__('random', sampling=ClipSampling(frames), pipeline=pipeline)

    def list_tracks(self):
        annotated = np.ones(self.frames, bool)
        return [Track(str(i), str(i), ('0',), 30.0, annotated, source=i) for i in range(self.length)]

    def read_frames(self, track, numbers):
        index = track.source
        draw = torch.Generator().manual_seed(index)
        frames, size = self.frames, self.size
        ones = torch.ones(frames, 1, dtype=torch.bool)
        return HandSequence(
            frame_valid=ones[:, 0],
            hand_side=torch.tensor([index % 2]),
            hand_valid=ones,
            images=torch.randint(0, 256, (frames, 1, 3, size, size), generator=draw, dtype=torch.uint8),
            boxes=torch.tensor([0.2, 0.2, 0.8, 0.8]).expand(frames, 1, 1, 4) * size,
            joints_3d=torch.randn(frames, 1, 21, 3, generator=draw) * 0.05,
            joints_valid=ones[..., None].expand(-1, -1, 21),
            joints_2d=torch.rand(frames, 1, 1, 21, 2, generator=draw) * size,
            joints_2d_valid=ones[:, None, :, None].expand(-1, -1, -1, 21),
            hand_pose=torch.randn(frames, 1, 16, 3, generator=draw) * 0.2,
            hand_shape=torch.zeros(1, 10),
            hand_transl=torch.zeros(frames, 1, 3),
            hand_pose_valid=ones,
        )
