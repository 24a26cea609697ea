from dataclasses import dataclass

import numpy as np
import torch

from handpose.datasets import Track, VideoDataset
from handpose.registry import DATASETS
from handpose.structures import HandSequence


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class TinyHands(VideoDataset):
    """Right hands: <split>/<sequence>/ with camera.npy (3, 3), joints.npy (N, 21, 3) in metres, 0000.png, ..."""

    name = 'tiny_hands'
    choices = {'split': ('train', 'test')}
    fps: float = 25.0

    def list_tracks(self):
        for folder in sorted((self.root / self.split).iterdir()):
            joints = torch.from_numpy(np.load(folder / 'joints.npy'))
            annotated = joints.isfinite().all(-1).all(-1).numpy()
            yield Track(f'{folder}', folder.name, ('0',), self.fps, annotated, source=(folder, joints))

    def frame_paths(self, track, frames):
        return [[f'{track.source[0]}/{frame:04d}.png'] for frame in frames]

    def read_frames(self, track, frames):
        folder, joints = track.source
        valid = torch.from_numpy(track.annotated[frames])[:, None]
        camera = torch.from_numpy(np.load(folder / 'camera.npy')).float()
        return HandSequence(
            hand_side=torch.tensor([1]),
            hand_valid=valid,
            intrinsics=camera.repeat(len(frames), 1, 1, 1),
            joints_3d=joints[frames, None].nan_to_num(),
            joints_valid=valid[..., None].repeat(1, 1, 21),
        )
