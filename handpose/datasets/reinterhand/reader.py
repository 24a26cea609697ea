"""Re:InterHand (Moon et al., NeurIPS 2023): two interacting hands, relighted; docs/data/pose_datasets.md.

Legend: N annotated frames of a segment, T frames of a sample.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from handpose.datasets.base import DatasetError, Track, VideoDataset
from handpose.datasets.io.cameras import choose_cameras
from handpose.datasets.io.hand_models import HandModelOptions, read_hand_model_name
from handpose.datasets.io.plausibility import plausible_joints
from handpose.datasets.io.pose_recordings import (
    Recording,
    camera_clip,
    check_cameras_see,
    commonest_step,
    fitted_hands,
    official_indices,
    timeline,
    without_other_rates,
)
from handpose.datasets.reinterhand import layout
from handpose.datasets.sampling import Frames
from handpose.hands.sides import Side
from handpose.registry import DATASETS
from handpose.structures import HandSequence
from handpose.text import did_you_mean

SIDES = tuple(Side)
FPS = 30.0
TEST_CAPTURES = ('RNS217', 'NKC880', 'QZX685')  # as in the code of InterWild; the dataset states no split


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class ReInterHand(HandModelOptions, VideoDataset):
    """Re:InterHand's pose sequences (H = 2, K = 1), in metres and the camera's frame, OpenCV axes, without images.

    A track is one segment of one capture, seen from one of the cameras outside (those on the head are fisheye and are
    not read). `meta['frame_indices']` count at 30 frames a second; `meta['official_indices']` are Re:InterHand's own
    frame numbers, -1 where nothing is annotated. Labels of a segment are read when one of its samples is first asked
    for, and kept. `hand_shape` is the mean over a sample's frames (the files repeat each subject's).

    Args:
        data_root: folder with the captures ('m--20221215--0949--RNS217--...').
        split: 'train', 'val' or 'test'. 'val', which the dataset does not have, is made of the captures in `held_out`,
            which 'train' then leaves out.
        test_captures: captures by the fourth part of their name ('RNS217') or by all of it.
        held_out: captures, as in `test_captures`.
        joints: where 3D joints are from: 'orig_fits' (24 a hand, of which 21 are used; the official loader's), or
            'keypoints_orig' (InterHand2.6M's 42).
        cameras: names; or how many of each capture's cameras to take, evenly; None means all, about twenty.
        labels: see `HandModelOptions`, as `hand_model`; for MANO, with left_shapedirs='fixed', as they were fitted.
        sampling: see `VideoDataset`, as all other options.

    Raises:
        DatasetError: a missing root, file or key, another hand model, an unknown option or capture, an empty split.
    """

    name = 'reinterhand'
    choices = {'split': ('train', 'val', 'test'), 'joints': layout.SOURCES}

    test_captures: Sequence[str] = TEST_CAPTURES
    held_out: Sequence[str] = ()
    joints: str = 'orig_fits'
    cameras: int | Sequence[str] | None = None

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`."""
        folders = self._folders_of_split(layout.capture_folders(self.root))
        self.open_hand_model(read_hand_model_name(self.root), self.root)
        self.captures = [layout.read_capture(folder, self.joints) for folder in folders]
        self._check_steps()
        self._recordings: dict[str, Recording] = {}  # by the segment's name
        where = f'{self.root}/*/{layout.CAMERAS}'
        cameras = choose_cameras([c.cameras for c in self.captures], self.cameras, where)
        return [
            Track(
                name=f'{name}/{camera}',
                sequence=name,
                cameras=(camera,),
                fps=FPS,
                annotated=timeline(numbers, layout.FRAME_STEP) >= 0,
                first_number=int(numbers[0]) // layout.FRAME_STEP,
                source=(self.captures[capture], numbers),
            )
            for capture, name, numbers in self._list_segments()
            for camera in cameras[capture]
        ]

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        return (
            f'split {self.split!r} of {self.root} has no frame with joints in {self.joints} among {len(self.captures)} '
            f'captures ({", ".join(c.folder.name for c in self.captures)}); unpack {self.joints}'
        )

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        capture, numbers = track.source
        if track.sequence not in self._recordings:
            self._recordings[track.sequence] = self._read_segment(capture, track.sequence, numbers)
        recording = self._recordings[track.sequence]
        camera = capture.cameras[track.cameras[0]]
        meta = {'hand_model': self.hand_model_name, 'official_indices': official_indices(recording, frames)}
        return camera_clip(recording, frames, [camera], SIDES, self.model).replace(meta=meta)

    def _list_segments(self) -> list[tuple[int, str, NDArray]]:
        """The segments that have frames with joints: (capture's place, name, frame numbers); the log counts others."""
        segments, empty = [], []
        listed = {(p, name): n for p, capture in enumerate(self.captures) for name, n in capture.segments.items()}
        for place, name in without_other_rates(listed, layout.FRAME_STEP, f'{self.root}/*/{layout.FRAME_LIST}'):
            capture, numbers = self.captures[place], listed[place, name]
            numbers = numbers[[any(n in present for present in capture.present) for n in numbers.tolist()]]
            if len(numbers):
                segments.append((place, f'{capture.folder.name}/{name}', numbers))
            else:
                empty.append(f'{capture.folder.name}/{name}')
        if empty:
            message = f'{len(empty)} segments have no file in {self.joints}, the first is {empty[0]}'
            print_log(f'Skipped: {message}', logger='current', level=logging.WARNING)
        return segments

    def _read_segment(self, capture: layout.ReInterHandCapture, name: str, numbers: NDArray) -> Recording:
        """Reads the labels of a segment's frames (N,)."""
        joints, valid = layout.read_joints(capture, numbers, self.joints)
        valid = plausible_joints(joints, valid, f'{capture.folder}, {self.joints}, {name}', 'millimetres')
        valid &= valid[..., :1]  # a hand without a wrist is absent
        joints = np.where(valid[..., None], joints, np.float32(0))
        hands = None
        if self.model is not None:
            values, fitted = layout.read_mano(capture, numbers)
            where = f'{capture.folder / layout.MANO_FOLDER}, {name}'
            hands = fitted_hands(self.model, values, fitted, joints, valid, SIDES, where)
        recording = Recording(name, numbers, timeline(numbers, layout.FRAME_STEP), joints, valid, hands)
        check_cameras_see(recording, capture.cameras, f'{capture.folder / layout.CAMERAS}, {name}')
        return recording

    def _folders_of_split(self, folders: list[Path]) -> list[Path]:
        test, held_out = list(self.test_captures), list(self.held_out)
        names = {name for folder in folders for name in (layout.capture_id(folder), folder.name)}
        for entry in held_out:
            if entry not in names:
                raise DatasetError(f'held_out names {entry!r}, which {self.root} lacks.{did_you_mean(entry, names)}')
        if both := sorted(set(held_out) & set(test)):
            raise DatasetError(f'{both[0]!r} is in held_out and in test_captures; a capture can be in one of them')
        if self.split == 'val' and not held_out:
            raise DatasetError(
                "Re:InterHand has no validation split; name captures to hold out, e.g. held_out=['TRO760']"
            )
        named = {'train': test + held_out, 'val': held_out, 'test': test}[self.split]
        is_named = [bool({layout.capture_id(folder), folder.name} & set(named)) for folder in folders]
        chosen = [f for f, is_in in zip(folders, is_named, strict=True) if is_in != (self.split == 'train')]
        if not chosen:
            raise DatasetError(
                f'split {self.split!r} has no capture in {self.root}, which holds '
                f'{", ".join(layout.capture_id(folder) for folder in folders)}; test_captures are '
                f'{", ".join(test)}, held_out {", ".join(held_out) or "none"}'
            )
        return chosen

    def _check_steps(self) -> None:
        """Refuses frame numbers whose most frequent step is not that of 30 frames a second."""
        step = commonest_step([numbers for capture in self.captures for numbers in capture.segments.values()])
        if step not in (None, layout.FRAME_STEP):
            raise DatasetError(
                f'frame numbers of {self.captures[0].folder / layout.FRAME_LIST} and the like mostly rise by {step}; '
                f'those of frame_list.txt, 30 a second, rise by {layout.FRAME_STEP} (is it frame_list_orig.txt?)'
            )
