"""HanCo (Zimmermann et al., GCPR 2021): a right hand and eight cameras; docs/pose_datasets.md."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

from handpose.datasets.base import DatasetError, check_choice, hand_model_of
from handpose.datasets.dexycb.layout import read_hand_model_name
from handpose.datasets.hanco import layout as layout
from handpose.datasets.io.plausibility import plausible_joints
from handpose.datasets.io.pose_recordings import (
    HandParameters,
    Recording,
    camera_clip,
    check_cameras,
    check_cameras_see,
    choose_cameras,
    complete_pose,
    model_wrist,
    timeline,
    usable_fits,
    with_numbers,
)
from handpose.datasets.io.pose_sequences import PoseSequences
from handpose.registry import DATASETS

SIDES = (1,)


class Sequence(NamedTuple):
    """The frames of a sequence that count: `numbers` (N,), and `rows` (T,), which of them is where on its timeline."""

    number: int
    numbers: np.ndarray
    rows: np.ndarray


@DATASETS.register_module()
class HanCo(PoseSequences):
    """HanCo's pose sequences (H = 1, right, K = 1), in metres and the camera's frame, OpenCV axes, without pictures.

    A track is one sequence, seen from one camera. Intrinsics change with the frame: pictures were cut out around the
    hand. Labels of a sequence are read when one of its clips is first asked for, and kept. `hand_shape` is the mean
    over a clip's frames.

    Args:
        data_root: folder with `meta.json`, `xyz`, `calib` and, for `labels='full'`, `shape`.
        split: 'train', 'val' or 'test'. 'val', which the data set does not have, is made of the last `held_out`
            sequences for training, which 'train' then leaves out.
        train_sequences: sequences below this number are for training, the others for testing.
        held_out: how many of the training sequences 'val' gets.
        annotated: frames that count: 'all' that have joints; 'has_fit', those with a MANO fit; 'is_valid', those whose
            fit was validated.
        cameras: names ('cam0'); or how many to take, evenly; None: all.
        hand_model: the `HandModel` of the labels, or its config; default ProceduralHand. Must be the one that the
            data was made with (`<data_root>/hand_model.yml`; 'mano' where there is no such file).
        labels: 'full' (MANO parameters of frames with a fit too), or 'joints_only'.
        fps: the recordings' rate, which HanCo does not state; 30 is assumed.
        mode, num_frames, clip_stride, pipeline, seed: as in `PoseSequences`.

    Raises:
        DatasetError: a missing root, file or key, another hand model, an unknown option, an empty split.
    """

    def __init__(
        self,
        data_root,
        split='train',
        train_sequences=1200,
        held_out=0,
        annotated='all',
        cameras=None,
        hand_model=None,
        labels='full',
        fps=30.0,
        mode='clips',
        num_frames=27,
        clip_stride=9,
        pipeline=(),
        seed=0,
    ):
        for name, value, choices in (
            ('split', split, ('train', 'val', 'test')),
            ('annotated', annotated, layout.ANNOTATED),
            ('labels', labels, ('full', 'joints_only')),
        ):
            check_choice(name, value, choices)
        super().__init__(mode=mode, num_frames=num_frames, clip_stride=clip_stride, pipeline=pipeline, seed=seed)
        self.root, self.split, self.labels, self.fps = Path(data_root), split, labels, float(fps)
        self._meta = layout.read_meta(self.root)
        self.hand_model_name = read_hand_model_name(self.root)
        self._hand_model = hand_model_of(self.hand_model_name, hand_model, self.root) if labels == 'full' else None
        numbers = self._numbers_of_split(train_sequences, held_out)
        self.sequences = self._find_sequences(numbers, annotated)
        self._read = {}  # sequence's place: (Recording, its cameras)
        self.tracks = self._list_tracks(cameras)
        self.list_clips(len(self.tracks))
        if not len(self):
            raise DatasetError(
                f'none of the {len(numbers)} sequences of split {split!r} has a frame with joints in {self.root}/xyz '
                f'and annotated={annotated!r}; unpack HanCo_xyz there, or choose other options'
            )

    def annotated(self, track):
        """(T,) bool: which frames of a track have the hand."""
        return self.sequences[self.tracks[track][0]].rows >= 0

    def track_name(self, track):
        """Names a track: sequence and camera."""
        place, camera = self.tracks[track]
        return f'{self.sequences[place].number:04d}/cam{camera}'

    def read_frames(self, track, frames):
        """The clip made of the frames `frames` of a track; see `PoseSequences`."""
        place, camera = self.tracks[track]
        if place not in self._read:
            self._read[place] = self._read_sequence(self.sequences[place])
        recording, cameras = self._read[place]
        clip = camera_clip(recording, frames, cameras[camera], SIDES, self._hand_model)
        meta = {
            'dataset': 'hanco',
            'cameras': [f'cam{camera}'],
            'hand_model': self.hand_model_name,
            'split': self.split,
        }
        return with_numbers(clip, recording, frames, 1, self.fps, meta)

    def _numbers_of_split(self, train_sequences, held_out):
        """The numbers of the split's sequences."""
        count = len(self._meta['has_fit'])
        trained = min(train_sequences, count)
        if not 0 <= held_out < max(trained, 1):
            raise DatasetError(
                f'held_out must be at least 0 and leave some of the {trained} sequences below train_sequences='
                f'{train_sequences} to train on, got {held_out}'
            )
        if self.split == 'val' and not held_out:
            raise DatasetError(
                'HanCo has no validation split; say how many training sequences to hold out: held_out=100'
            )
        part = {'train': (0, trained - held_out), 'val': (trained - held_out, trained), 'test': (trained, count)}
        numbers = range(*part[self.split])
        if not numbers:
            raise DatasetError(
                f'split {self.split!r} has no sequence: {self.root}/meta.json names {count}, and those below '
                f'train_sequences={train_sequences} are for training'
            )
        return numbers

    def _find_sequences(self, numbers, annotated):
        """The split's sequences that have frames which count."""
        sequences, empty = [], []
        for number in numbers:
            count = len(self._meta['has_fit'][number])
            wanted = layout.frames_with_joints(self.root, number, count)
            empty += [] if wanted.any() else [number]
            if annotated != 'all':
                wanted &= self._meta[annotated][number]
            frames = np.flatnonzero(wanted)
            if len(frames):
                sequences.append(Sequence(number, frames, timeline(frames, 1)))
        if empty:
            sentence = (
                f'{len(empty)} of {len(numbers)} sequences of {self.root}/xyz have no file, the first is {empty[0]:04d}'
            )
            print_log(f'Skipped: {sentence}', logger='current', level=logging.WARNING)
        return sequences

    def _list_tracks(self, cameras):
        """The tracks: (sequence's place, camera's number). All sequences have the cameras of the first."""
        if not self.sequences:
            return []
        first = self.sequences[0]
        names = [f'cam{i}' for i in range(len(layout.read_cameras(self.root, first.number, first.numbers[:1])))]
        (chosen,) = choose_cameras([names], cameras, f'{self.root}/calib')
        return [(place, int(name[3:])) for place in range(len(self.sequences)) for name in chosen]

    def _read_sequence(self, sequence):
        """Reads the labels of a sequence's frames: a Recording, and its cameras."""
        number, frames = sequence.number, sequence.numbers
        joints = layout.read_joints(self.root, number, frames)[:, None]
        where = f'{self.root}/xyz/{number:04d}'
        valid = plausible_joints(joints, np.ones(joints.shape[:3], bool), where)
        joints = np.where(valid[..., None], joints, np.float32(0))
        hands = None
        if self.labels == 'full':
            fitted = self._meta['has_fit'][number][frames]
            values = layout.read_mano(self.root, number, frames, fitted)[:, None]
            pose, shape, transl = values[..., :48], values[..., 48:58], values[..., 58:]
            wrist = model_wrist(self._hand_model, shape, transl, SIDES)
            hands = HandParameters(complete_pose(self._hand_model, pose, SIDES), shape, wrist, fitted[:, None])
            hands = usable_fits(hands, joints, valid, f'{self.root}/shape/{number:04d}')
        recording = Recording(f'{number:04d}', frames, sequence.rows, joints, valid, hands)
        cameras = layout.read_cameras(self.root, number, frames)
        named = {f'cam{i}': camera for i, camera in enumerate(cameras)}
        check_cameras(named, f'{self.root}/calib/{number:04d}')
        check_cameras_see(recording, named, f'{self.root}/calib/{number:04d}')
        return recording, cameras
