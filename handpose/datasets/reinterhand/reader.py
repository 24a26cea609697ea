"""Re:InterHand (Moon et al., NeurIPS 2023): two interacting hands, relighted; docs/pose_datasets.md."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

from handpose.datasets.base import DatasetError, check_choice, hand_model_of
from handpose.datasets.dexycb.layout import read_hand_model_name
from handpose.datasets.io.plausibility import plausible_joints
from handpose.datasets.io.pose_recordings import (
    HandParameters,
    Recording,
    camera_clip,
    check_cameras_see,
    choose_cameras,
    commonest_step,
    complete_pose,
    model_wrist,
    timeline,
    usable_fits,
    with_numbers,
    without_other_rates,
)
from handpose.datasets.io.pose_sequences import PoseSequences
from handpose.datasets.reinterhand import layout as layout
from handpose.registry import DATASETS, did_you_mean

SIDES = (0, 1)
FPS = 30.0
TEST_CAPTURES = ('RNS217', 'NKC880', 'QZX685')  # as in the code of InterWild; the data set states no split


class Segment(NamedTuple):
    """`numbers` (N,) of a segment's frames with joints, and `rows` (T,), which of them is where on its timeline."""

    name: str
    capture: int
    numbers: np.ndarray
    rows: np.ndarray


@DATASETS.register_module()
class ReInterHand(PoseSequences):
    """Re:InterHand's pose sequences (H = 2, K = 1), in metres and the camera's frame, OpenCV axes, without pictures.

    A track is one segment of one capture, seen from one of the cameras outside (those on the head are fisheye and are
    not read). `meta['frame_indices']` count at 30 frames a second; `meta['official_indices']` are Re:InterHand's own
    frame numbers, -1 where nothing is annotated. Labels of a segment are read when one of its clips is first asked
    for, and kept. `hand_shape` is the mean over a clip's frames (the files repeat each subject's).

    Args:
        data_root: folder with the captures ('m--20221215--0949--RNS217--...').
        split: 'train', 'val' or 'test'. 'val', which the data set does not have, is made of the captures in `held_out`,
            which 'train' then leaves out.
        test_captures, held_out: captures by the fourth part of their name ('RNS217') or by all of it.
        joints: where 3D joints are from: 'orig_fits' (24 a hand, of which 21 are used; the official loader's), or
            'keypoints_orig' (InterHand2.6M's 42).
        cameras: names; or how many of each capture's cameras to take, evenly; None: all, about twenty.
        hand_model: the `HandModel` of the labels, or its config; default ProceduralHand. Must be the one that the
            data was made with (`<data_root>/hand_model.yml`; 'mano' where there is no such file). For MANO: with
            left_shapedirs='fixed', as the labels were fitted.
        labels: 'full' (MANO parameters too), or 'joints_only'.
        mode, num_frames, clip_stride, pipeline, seed: as in `PoseSequences`.

    Raises:
        DatasetError: a missing root, file or key, another hand model, an unknown option or capture, an empty split.
    """

    def __init__(
        self,
        data_root,
        split='train',
        test_captures=TEST_CAPTURES,
        held_out=(),
        joints='orig_fits',
        cameras=None,
        hand_model=None,
        labels='full',
        mode='clips',
        num_frames=27,
        clip_stride=9,
        pipeline=(),
        seed=0,
    ):
        for name, value, choices in (
            ('split', split, ('train', 'val', 'test')),
            ('joints', joints, layout.SOURCES),
            ('labels', labels, ('full', 'joints_only')),
        ):
            check_choice(name, value, choices)
        super().__init__(mode=mode, num_frames=num_frames, clip_stride=clip_stride, pipeline=pipeline, seed=seed)
        self.root, self.split, self.source, self.labels = Path(data_root), split, joints, labels
        folders = self._folders_of_split(layout.capture_folders(self.root), list(test_captures), list(held_out))
        self.hand_model_name = read_hand_model_name(self.root)
        self._hand_model = hand_model_of(self.hand_model_name, hand_model, self.root) if labels == 'full' else None
        self.captures = [layout.read_capture(folder, joints) for folder in folders]
        self._check_steps()
        self.segments = self._list_segments()
        self._read = {}  # segment's number: Recording
        names = choose_cameras([c.cameras for c in self.captures], cameras, f'{self.root}/*/{layout.CAMERAS}')
        # (segment's number, camera's name)
        self.tracks = [(n, camera) for n, segment in enumerate(self.segments) for camera in names[segment.capture]]
        self.list_clips(len(self.tracks))
        if not len(self):
            raise DatasetError(
                f'split {split!r} of {self.root} has no frame with joints in {joints} among {len(self.captures)} '
                f'captures ({", ".join(c.folder.name for c in self.captures)}); unpack {joints}'
            )

    def annotated(self, track):
        """(T,) bool: which frames of a track have joints of any hand."""
        return self.segments[self.tracks[track][0]].rows >= 0

    def track_name(self, track):
        """Names a track: capture, segment and camera."""
        number, camera = self.tracks[track]
        return f'{self.segments[number].name}/{camera}'

    def read_frames(self, track, frames):
        """The clip made of the frames `frames` of a track; see `PoseSequences`."""
        number, camera = self.tracks[track]
        if number not in self._read:
            self._read[number] = self._read_segment(self.segments[number])
        recording = self._read[number]
        capture = self.captures[self.segments[number].capture]
        clip = camera_clip(recording, frames, capture.cameras[camera], SIDES, self._hand_model)
        meta = {
            'dataset': 'reinterhand',
            'cameras': [camera],
            'hand_model': self.hand_model_name,
            'split': self.split,
        }
        return with_numbers(clip, recording, frames, layout.FRAME_STEP, FPS, meta)

    def _list_segments(self):
        """The segments that have frames with joints; the log says how many have none."""
        segments, empty = [], []
        numbers = {(p, name): v for p, capture in enumerate(self.captures) for name, v in capture.segments.items()}
        kept = without_other_rates(numbers, layout.FRAME_STEP, f'{self.root}/*/{layout.FRAME_LIST}')
        for place, capture in enumerate(self.captures):
            for name, listed in capture.segments.items():
                if (place, name) not in kept:
                    continue
                numbers = listed[[any(n in present for present in capture.present) for n in listed.tolist()]]
                if not len(numbers):
                    empty.append(f'{capture.folder.name}/{name}')
                else:
                    rows = timeline(numbers, layout.FRAME_STEP)
                    segments.append(Segment(f'{capture.folder.name}/{name}', place, numbers, rows))
        if empty:
            sentence = f'{len(empty)} segments have no file in {self.source}, the first is {empty[0]}'
            print_log(f'Skipped: {sentence}', logger='current', level=logging.WARNING)
        return segments

    def _read_segment(self, segment):
        """Reads the labels of a segment's frames: a Recording."""
        capture = self.captures[segment.capture]
        joints, valid = layout.read_joints(capture, segment.numbers, self.source)
        valid = plausible_joints(joints, valid, f'{capture.folder}, {self.source}, {segment.name}', 'millimetres')
        valid &= valid[..., :1]  # a hand without a wrist is absent
        joints = np.where(valid[..., None], joints, np.float32(0))
        hands = None
        if self.labels == 'full':
            values, fitted = layout.read_mano(capture, segment.numbers)
            pose, shape, transl = values[..., :48], values[..., 48:58], values[..., 58:]
            wrist = model_wrist(self._hand_model, shape, transl, SIDES)
            hands = HandParameters(complete_pose(self._hand_model, pose, SIDES), shape, wrist, fitted)
            hands = usable_fits(hands, joints, valid, f'{capture.folder / layout.MANO_FOLDER}, {segment.name}')
        recording = Recording(segment.name, segment.numbers, segment.rows, joints, valid, hands)
        check_cameras_see(recording, capture.cameras, f'{capture.folder / layout.CAMERAS}, {segment.name}')
        return recording

    def _folders_of_split(self, folders, test_captures, held_out):
        names = {name for folder in folders for name in (layout.capture_id(folder), folder.name)}
        for entry in held_out:
            if entry not in names:
                raise DatasetError(f'held_out names {entry!r}, which {self.root} lacks.{did_you_mean(entry, names)}')
        if both := sorted(set(held_out) & set(test_captures)):
            raise DatasetError(f'{both[0]!r} is in held_out and in test_captures; a capture can be in one of them')
        if self.split == 'val' and not held_out:
            raise DatasetError(
                "Re:InterHand has no validation split; name captures to hold out, e.g. held_out=['TRO760']"
            )
        part = {'train': test_captures + held_out, 'val': held_out, 'test': test_captures}[self.split]
        inside = [bool({layout.capture_id(folder), folder.name} & set(part)) for folder in folders]
        chosen = [f for f, known in zip(folders, inside, strict=True) if known != (self.split == 'train')]
        if not chosen:
            raise DatasetError(
                f'split {self.split!r} has no capture in {self.root}, which holds '
                f'{", ".join(layout.capture_id(folder) for folder in folders)}; test_captures are '
                f'{", ".join(test_captures)}, held_out {", ".join(held_out) or "none"}'
            )
        return chosen

    def _check_steps(self):
        """Refuses frame numbers whose most frequent step is not that of 30 frames a second."""
        found = commonest_step([numbers for capture in self.captures for numbers in capture.segments.values()])
        if found not in (None, layout.FRAME_STEP):
            raise DatasetError(
                f'frame numbers of {self.captures[0].folder / layout.FRAME_LIST} and the like mostly rise by {found}; '
                f'those of frame_list.txt, 30 a second, rise by {layout.FRAME_STEP} (is it frame_list_orig.txt?)'
            )
