"""HanCo (Zimmermann et al., GCPR 2021): a right hand and eight cameras; docs/data/pose_datasets.md.

Legend: N annotated frames of a sequence, T frames of a sample.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from handpose.datasets.base import DatasetError, Track, VideoDataset
from handpose.datasets.hanco import layout
from handpose.datasets.io.cameras import choose_cameras
from handpose.datasets.io.hand_models import HandModelOptions, read_hand_model_name
from handpose.datasets.io.plausibility import plausible_joints
from handpose.datasets.io.pose_recordings import (
    Camera,
    Recording,
    camera_clip,
    check_cameras,
    check_cameras_see,
    fitted_hands,
    official_indices,
    timeline,
)
from handpose.datasets.sampling import Frames
from handpose.hands.sides import Side
from handpose.registry import DATASETS
from handpose.structures import HandSequence

SIDES = (Side.RIGHT,)


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class HanCo(HandModelOptions, VideoDataset):
    """HanCo's pose sequences (H = 1, right, K = 1), in metres and the camera's frame, OpenCV axes, without images.

    A track is one sequence, seen from one camera. Intrinsics change with the frame: images were cut out around the
    hand. Labels of a sequence are read when one of its samples is first asked for, and kept. `hand_shape` is the mean
    over a sample's frames.

    Args:
        data_root: folder with `meta.json`, `xyz`, `calib` and, for `labels='full'`, `shape`.
        split: 'train', 'val' or 'test'. 'val', which the dataset does not have, is made of the last `held_out`
            sequences for training, which 'train' then leaves out.
        train_sequences: sequences below this number are for training, the others for testing.
        held_out: how many of the training sequences 'val' gets.
        annotated: frames that count: 'all' that have joints; 'has_fit', those with a MANO fit; 'is_valid', those whose
            fit was validated.
        cameras: names ('cam0'); or how many to take, evenly; None means all.
        fps: the recordings' rate, which HanCo does not state; 30 is assumed.
        labels: see `HandModelOptions`, as `hand_model`; 'full' gives MANO parameters of frames with a fit.
        sampling: see `VideoDataset`, as all other options.

    Raises:
        DatasetError: a missing root, file or key, another hand model, an unknown option, an empty split.
    """

    name = 'hanco'
    choices = {'split': ('train', 'val', 'test'), 'annotated': layout.ANNOTATED}

    train_sequences: int = 1200
    held_out: int = 0
    annotated: str = 'all'
    cameras: int | Sequence[str] | None = None
    fps: float = 30.0

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`."""
        self._flags = layout.read_meta(self.root)
        self.open_hand_model(read_hand_model_name(self.root), self.root)
        self._recordings: dict[int, tuple[Recording, list[Camera]]] = {}  # by the sequence's number
        numbers = self._numbers_of_split()
        self._num_sequences = len(numbers)
        frames = self._frames_of(numbers)
        if not frames:
            return []
        # All sequences have the cameras of the first.
        first = next(iter(frames))
        names = [f'cam{i}' for i in range(len(layout.read_cameras(self.root, first, frames[first][:1])))]
        (chosen,) = choose_cameras([names], self.cameras, f'{self.root}/calib')
        return [
            Track(
                name=f'{number:04d}/{camera}',
                sequence=f'{number:04d}',
                cameras=(camera,),
                fps=float(self.fps),
                annotated=timeline(annotated, 1) >= 0,
                first_number=int(annotated[0]),
                source=(number, annotated, names.index(camera)),
            )
            for number, annotated in frames.items()
            for camera in chosen
        ]

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        return (
            f'none of the {self._num_sequences} sequences of split {self.split!r} has a frame with joints in '
            f'{self.root}/xyz and annotated={self.annotated!r}; unpack HanCo_xyz there, or choose other options'
        )

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        number, annotated, camera = track.source
        if number not in self._recordings:
            self._recordings[number] = self._read_sequence(number, annotated)
        recording, cameras = self._recordings[number]
        meta = {'hand_model': self.hand_model_name, 'official_indices': official_indices(recording, frames)}
        return camera_clip(recording, frames, [cameras[camera]], SIDES, self.model).replace(meta=meta)

    def _numbers_of_split(self) -> range:
        """The numbers of the split's sequences."""
        count = len(self._flags['has_fit'])
        trained = min(self.train_sequences, count)
        if not 0 <= self.held_out < max(trained, 1):
            raise DatasetError(
                f'held_out must be at least 0 and leave some of the {trained} sequences below train_sequences='
                f'{self.train_sequences} to train on, got {self.held_out}'
            )
        if self.split == 'val' and not self.held_out:
            raise DatasetError(
                'HanCo has no validation split; say how many training sequences to hold out: held_out=100'
            )
        left = trained - self.held_out
        numbers = range(*{'train': (0, left), 'val': (left, trained), 'test': (trained, count)}[self.split])
        if not numbers:
            raise DatasetError(
                f'split {self.split!r} has no sequence: {self.root}/meta.json names {count}, and those below '
                f'train_sequences={self.train_sequences} are for training'
            )
        return numbers

    def _frames_of(self, numbers: range) -> dict[int, NDArray]:
        """{sequence: its frames (N,) that count}, of those that have any."""
        found, empty = {}, []
        for number in numbers:
            wanted = layout.frames_with_joints(self.root, number, len(self._flags['has_fit'][number]))
            empty += [] if wanted.any() else [number]
            if self.annotated != 'all':
                wanted &= self._flags[self.annotated][number]
            if wanted.any():
                found[number] = np.flatnonzero(wanted)
        if empty:
            message = (
                f'{len(empty)} of {len(numbers)} sequences of {self.root}/xyz have no file, the first is {empty[0]:04d}'
            )
            print_log(f'Skipped: {message}', logger='current', level=logging.WARNING)
        return found

    def _read_sequence(self, number: int, frames: NDArray) -> tuple[Recording, list[Camera]]:
        """Reads the labels and the cameras of a sequence's frames (N,)."""
        joints = layout.read_joints(self.root, number, frames)[:, None]
        valid = plausible_joints(joints, np.ones(joints.shape[:3], bool), f'{self.root}/xyz/{number:04d}')
        joints = np.where(valid[..., None], joints, np.float32(0))
        hands = None
        if self.model is not None:
            fitted = self._flags['has_fit'][number][frames]
            values = layout.read_mano(self.root, number, frames, fitted)[:, None]
            where = f'{self.root}/shape/{number:04d}'
            hands = fitted_hands(self.model, values, fitted[:, None], joints, valid, SIDES, where)
        recording = Recording(f'{number:04d}', frames, timeline(frames, 1), joints, valid, hands)
        cameras = layout.read_cameras(self.root, number, frames)
        named = {f'cam{i}': camera for i, camera in enumerate(cameras)}
        check_cameras(named, f'{self.root}/calib/{number:04d}')
        check_cameras_see(recording, named, f'{self.root}/calib/{number:04d}')
        return recording, cameras
