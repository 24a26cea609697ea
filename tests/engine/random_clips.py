"""A dataset of random clips, so that the runner is tested without files."""

from dataclasses import dataclass

import numpy as np
import torch

from handpose.datasets import Track, VideoDataset
from handpose.registry import DATASETS
from handpose.structures import HandSequence


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class RandomClips(VideoDataset):
    """Clips that the index alone decides; the pipeline draws from (seed, epoch, index) as in every dataset."""

    name = 'random'
    data_root: str = '.'
    length: int = 8
    frames: int = 3
    size: int = 32

    def list_tracks(self):
        for index in range(self.length):
            yield Track(str(index), str(index), ('0',), 30.0, np.ones(self.frames, bool), source=index)

    def read_frames(self, track, frames):
        index, length, size = track.source, self.frames, self.size
        draw = torch.Generator().manual_seed(index)
        ones = torch.ones(length, 1, dtype=torch.bool)
        return HandSequence(
            hand_side=torch.tensor([index % 2]),
            hand_valid=ones,
            images=torch.randint(0, 256, (length, 1, 3, size, size), generator=draw, dtype=torch.uint8),
            boxes=torch.tensor([0.2, 0.2, 0.8, 0.8]).expand(length, 1, 1, 4) * size,
            joints_3d=torch.randn(length, 1, 21, 3, generator=draw) * 0.05,
            joints_valid=ones[..., None].expand(-1, -1, 21),
            joints_2d=torch.rand(length, 1, 1, 21, 2, generator=draw) * size,
            joints_2d_valid=ones[:, None, :, None].expand(-1, -1, -1, 21),
            hand_pose=torch.randn(length, 1, 16, 3, generator=draw) * 0.2,
            hand_shape=torch.zeros(1, 10),
            hand_transl=torch.zeros(length, 1, 3),
            hand_pose_valid=ones,
        )
