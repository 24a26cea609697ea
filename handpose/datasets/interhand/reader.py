"""InterHand2.6M (Moon et al., ECCV 2020): one or two hands of a person among many cameras; docs/data/pose_datasets.md.

Legend: N annotated frames of a sequence, T frames of a sample, K cameras.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from handpose.datasets.base import DatasetError, Track, VideoDataset
from handpose.datasets.interhand import layout
from handpose.datasets.io.cameras import choose_cameras, group_cameras
from handpose.datasets.io.hand_models import HandModelOptions, read_hand_model_name
from handpose.datasets.io.pose_recordings import (
    Camera,
    Recording,
    camera_clip,
    check_cameras_see,
    commonest_step,
    fitted_hands,
    official_indices,
    timeline,
    without_other_rates,
)
from handpose.datasets.sampling import Frames
from handpose.hands.sides import Side
from handpose.registry import DATASETS
from handpose.structures import HandSequence

SIDES = tuple(Side)
HAND_TYPES = {'all': layout.HAND_TYPES, 'single': ('right', 'left'), 'interacting': ('interacting',)}


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class InterHand26M(HandModelOptions, VideoDataset):
    """InterHand2.6M's pose sequences (H = 2), in metres and the camera's frame, OpenCV axes, without images.

    A track is one sequence of one capture, seen from K cameras. `meta['frame_indices']` count at the release's rate;
    frames that nobody annotated have their masks False, and `meta['official_indices']`, InterHand2.6M's own frame
    numbers, -1 there; `meta['hand_types']` say 'right', 'left' or 'interacting' of each frame, None there. A hand whose
    wrist is not annotated counts as absent, as in the official evaluation.
    `hand_shape` is one for a sample: the mean of its annotated frames' (the files have one for every frame).

    Args:
        data_root: folder with `annotations`.
        split: 'train', 'val' or 'test'.
        fps: 30 or 5, which of the two releases it is; their frame numbers differ in their steps.
        cameras: names ('400026'); or how many of each capture's cameras to take, evenly; None means all, about a
            hundred.
        cameras_per_clip: K; cameras are grouped in their order.
        hand_type: 'all', 'single' or 'interacting': frames of another kind count as not annotated.
        joint_valid: 'annotated': joints that were annotated, wherever they are; 'image': those inside the image of
            camera 0 alone, and only frames that have one. 'image' reads data.json, which takes gigabytes of memory.
        annotations: how the files' names begin, under `data_root`; `{split}` stands for the split.
        labels: see `HandModelOptions`, as `hand_model`; 'full' gives NeuralAnnot's MANO parameters. For MANO, with
            left_shapedirs='fixed', as they were fitted.
        sampling: see `VideoDataset`, as all other options.

    Raises:
        DatasetError: a missing root, file or key, another hand model or release, an unknown option, an empty split.
    """

    name = 'interhand'
    choices = {
        'split': layout.SPLITS,
        'fps': tuple(layout.STEPS),
        'hand_type': tuple(HAND_TYPES),
        'joint_valid': ('annotated', 'image'),
    }

    fps: int = 30
    cameras: int | Sequence[str] | None = None
    cameras_per_clip: int = 1
    hand_type: str = 'all'
    joint_valid: str = 'annotated'
    annotations: str = 'annotations/{split}/InterHand2.6M_{split}'

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`."""
        self._step = layout.STEPS[self.fps][self.split]
        self._cameras = layout.read_cameras(self._file('camera'))
        self.open_hand_model(read_hand_model_name(self.root), self.root)
        sequences = layout.read_joints(self._file('joint_3d'), lambda: layout.read_sequence_names(self._file('data')))
        self._check_rate(sequences)
        numbers = {key: frames.numbers for key, frames in sequences.items()}
        kept = without_other_rates(numbers, self._step, self._file('joint_3d'))
        sequences = {key: sequences[key] for key in kept}
        in_image = layout.read_visible(self._file('data'), sequences) if self.joint_valid == 'image' else None
        self.recordings = self._make_recordings(sequences)
        self._hand_types = {key: frames.kinds for key, frames in sequences.items()}
        return self._make_tracks(in_image)

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        return (
            f'split {self.split!r} of {self.root} has no annotated frame with hand_type={self.hand_type!r} and '
            f'joint_valid={self.joint_valid!r} among {len(self.recordings)} sequences; choose other options'
        )

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        key, recording = track.source
        rows, types = recording.rows[frames], self._hand_types[key]
        meta = {
            'hand_model': self.hand_model_name,
            'official_indices': official_indices(recording, frames),
            'hand_types': [layout.HAND_TYPES[types[row]] if row >= 0 else None for row in rows.tolist()],
        }
        cameras = [self._cameras[key[0]][name] for name in track.cameras]
        return camera_clip(recording, frames, cameras, SIDES, self.model).replace(meta=meta)

    def _file(self, name: str) -> Path:
        return layout.find_file(self.root, self.annotations.format(split=self.split), name)

    def _check_rate(self, sequences: dict[layout.Key, layout.AnnotatedFrames]) -> None:
        """Refuses frame numbers whose most frequent step is not that of the release that `fps` names."""
        found = commonest_step([frames.numbers for frames in sequences.values()])
        if found not in (None, self._step):
            other = next((rate for rate, step in layout.STEPS.items() if step[self.split] == found), None)
            hint = (
                f'that is the release of {other} frames a second: fps={other}' if other else 'is this all of a release?'
            )
            raise DatasetError(
                f'{self._file("joint_3d")}: frame numbers mostly rise by {found}, but those of split {self.split!r} at '
                f'{self.fps} frames a second rise by {self._step}; {hint}'
            )

    def _make_recordings(self, sequences: dict[layout.Key, layout.AnnotatedFrames]) -> dict[layout.Key, Recording]:
        parameters = {}
        if self.model is not None:
            parameters = layout.read_mano(self._file('MANO_NeuralAnnot'), sequences)
        recordings = {}
        types = [layout.HAND_TYPES.index(kind) for kind in HAND_TYPES[self.hand_type]]
        for key, frames in sequences.items():
            hands = None
            if self.model is not None:
                where = f'{self._file("MANO_NeuralAnnot")}, capture {key[0]}, {key[1]}'
                values, fitted = parameters.pop(key)
                hands = fitted_hands(self.model, values, fitted, frames.joints, frames.valid, SIDES, where)
            recordings[key] = Recording(
                name=f'Capture{key[0]}/{key[1]}',
                numbers=frames.numbers,
                rows=timeline(frames.numbers, self._step),
                joints=frames.joints,
                joints_valid=frames.valid & np.isin(frames.kinds, types)[:, None, None],
                hands=hands,
            )
        return recordings

    def _make_tracks(self, in_image: dict[layout.Key, dict] | None) -> list[Track]:
        """The tracks, by sequence and cameras."""
        path = self._file('camera')
        if missing := sorted({key[0] for key in self.recordings} - set(self._cameras)):
            raise DatasetError(f'{path} has no capture {missing[0]!r}, which joint_3d.json has; unpack both again')
        names = choose_cameras(list(self._cameras.values()), self.cameras, path)
        chosen = dict(zip(self._cameras, names, strict=True))
        views = []
        for key, recording in self.recordings.items():
            used: dict[str, Camera] = {name: self._cameras[key[0]][name] for name in chosen[key[0]]}
            check_cameras_see(recording, used, f'{path}, {recording.name}')
            views.append([name for name in used if in_image is None or name in in_image[key]])
        groups = group_cameras(views, self.cameras_per_clip, path)
        return [
            self._track(key, cameras, None if in_image is None else in_image[key][cameras[0]])
            for key, of_sequence in zip(self.recordings, groups, strict=True)
            for cameras in of_sequence
        ]

    def _track(self, key: layout.Key, cameras: tuple[str, ...], in_image: np.ndarray | None) -> Track:
        """A track; joints that are not `in_image` (N, 2, 21) do not count, nor do those of a hand without its wrist."""
        recording = self.recordings[key]
        if in_image is not None:
            valid = np.asarray(recording.joints_valid & in_image)
            recording = replace(recording, joints_valid=valid & valid[..., layout.WRIST : layout.WRIST + 1])
        return Track(
            name=f'{recording.name}/cam{"+".join(cameras)}',
            sequence=recording.name,
            cameras=cameras,
            fps=float(self.fps),
            annotated=(recording.rows >= 0) & np.asarray(recording.joints_valid.any((1, 2)))[recording.rows],
            first_number=int(recording.numbers[0]) // self._step,
            source=(key, recording),
        )
