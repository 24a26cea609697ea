"""HO3D v2 and v3 (Hampali et al., CVPR 2020): a right hand and an object, one to five cameras; docs/data/ho3d.md.

Legend: T frames of a sample, K cameras.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.datasets.base import BrokenFrames, DatasetError, Track, VideoDataset
from handpose.datasets.ho3d import layout
from handpose.datasets.io.cameras import from_first_camera, group_cameras
from handpose.datasets.io.hand_models import HandModelOptions, read_hand_model_name
from handpose.datasets.io.label_frames import nearest_valid, to_world
from handpose.datasets.sampling import Frames
from handpose.geometry.camera import project_points
from handpose.hands.sides import Side
from handpose.registry import DATASETS
from handpose.structures import HandSequence
from handpose.text import did_you_mean


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class HO3D(HandModelOptions, VideoDataset):
    """HO3D's videos: a right hand (H = 1) and one or several cameras, in metres and pixels, OpenCV axes.

    A track is one sequence, which is one camera's view; or, with several cameras, one recording. A frame without
    annotation (not in the list) has its masks False, and camera and box of the nearest annotated one. `boxes` are the
    tight boxes of the 21 projected joints, in the evaluation part the ones that HO3D gives; `object_boxes` those of the
    projected corners of the object's own box, without area where it is unknown. The evaluation part has the wrist alone
    (`joints_valid`), and no hand-model parameters. Labels are read when a sample is asked for; nothing is cached.

    Args:
        data_root: folder with `train`, `evaluation`, `train.txt` and `evaluation.txt`.
        split: 'train', or 'val', which HO3D does not have: the sequences of its training part in `held_out`, which
            'train' then leaves out; or 'evaluation'.
        version: 2 or 3; None takes the one that the images' format says (2 PNG, 3 JPEG).
        held_out: names of sequences of the training part ('SM2'), or of recordings, which stand for all their cameras
            ('SiBF1' for SiBF10 to SiBF14).
        truth_file: of the evaluation part's joints, `evaluation_xyz.json` as HO3D released it later, in `data_root` or
            elsewhere; None means they stay unknown.
        frame: 'camera', or 'world' (the reference camera of a recording; needs version 3's calibration).
        fps: the recordings' rate, which HO3D does not state; 30 is assumed.
        cameras_per_clip: K; the cameras of a recording are grouped in their order. K > 1 needs version 3's calibration.
        labels: see `HandModelOptions`, as `hand_model`; the evaluation part has 'joints_only'.
        on_broken: see `VideoDataset`, as all other options; with 'skip', listed frames that are missing or unreadable
            count as not annotated.

    Raises:
        DatasetError: missing root, list, files or calibration, another version or hand model, an unknown option.
    """

    name = 'ho3d'
    choices = {
        'split': ('train', 'val', 'evaluation'),
        'version': (None, 2, 3),
        'frame': ('camera', 'world'),
    }

    version: int | None = None
    held_out: Sequence[str] = ()
    truth_file: str | None = None
    frame: str = 'camera'
    fps: float = 30.0
    cameras_per_clip: int = 1

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`."""
        self.part = 'evaluation' if self.split == 'evaluation' else 'train'
        layout.check_root(self.root)
        self._check_evaluation()
        lists = layout.read_list(self.root, self.part)
        self.version = self._checked_version(next(iter(lists)))
        self.open_hand_model(read_hand_model_name(self.root), self.root)
        self._truth = None
        if self.truth_file is not None:
            self._truth = layout.read_truth(self.root / self.truth_file, sum(map(len, lists.values())))
        sequences = self._find_sequences(self._wanted(list(lists)), lists)
        self._to_world = {}
        if self.frame == 'world' or self.cameras_per_clip > 1:
            self._to_world = {s.name: layout.read_camera_to_world(self.root, s.name) for s in sequences}
        return [self._track(group) for group in self._groups(sequences)]

    def frame_paths(self, track: Track, frames: Frames) -> list[list[str]]:
        """See `VideoDataset.frame_paths`."""
        return [
            [layout.image_path(self.root, self.part, view.name, frame, self.version) for view in track.source]
            for frame in frames.tolist()
        ]

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        records = np.stack([self._read_records(view, frames) for view in track.source], 1)
        annotated = records['annotated']
        if not annotated.all(1).any():
            raise BrokenFrames(f'{track.name}: no label file of the frames {frames.tolist()} holds an annotation')
        nearest = np.stack([nearest_valid(annotated[:, k]) for k in range(annotated.shape[1])], 1)
        cameras = np.arange(annotated.shape[1])
        first = track.source[0]
        joints = torch.from_numpy(records['joints'][:, :1])
        intrinsics = torch.from_numpy(records['camera'][nearest, cameras])
        hand_valid = torch.from_numpy(annotated[:, :1])
        joints_valid = self._annotated_joints(hand_valid)
        joints_2d = project_points(torch.from_numpy(records['joints']), intrinsics)
        joints_2d_valid = self._annotated_joints(torch.from_numpy(annotated))
        sample = HandSequence(
            meta={
                'version': self.version,
                'recording': layout.recording_and_camera(first.name)[0],
                'official_indices': [first.lines.get(frame, -1) for frame in frames.tolist()],
                'hand_model': self.hand_model_name,
            },
            hand_side=torch.tensor([Side.RIGHT]),
            hand_valid=hand_valid,
            intrinsics=intrinsics,
            extrinsics=self._from_camera_0(track).expand(len(frames), -1, 4, 4).clone(),
            boxes=torch.from_numpy(records['box'][nearest, cameras])[:, :, None],
            object_boxes=torch.from_numpy(records['object_box']),
            joints_3d=joints,
            joints_valid=joints_valid,
            joints_2d=joints_2d[:, :, None],
            joints_2d_valid=joints_2d_valid[:, :, None].clone(),
            occlusion=torch.from_numpy(np.where(annotated, records['occlusion'], np.nan))[..., None],
        )
        if self.labels == 'full':
            sample = self._with_hand_parameters(sample, records[:, 0])
        if self.frame == 'camera':
            return sample
        # HO3D's joints need not be exactly those that the model computes.
        rest = None if sample.hand_shape is None else self._rest_wrist(sample.hand_shape)
        return to_world(sample, self._to_world[first.name], rest)

    def read(self, index: int) -> HandSequence:
        """See `VideoDataset.read`; the pixels of joints without a label, those of padding included, are zeros."""
        sample = super().read(index)
        assert sample.joints_2d is not None and sample.joints_2d_valid is not None
        return sample.replace(joints_2d=torch.where(sample.joints_2d_valid[..., None], sample.joints_2d, 0.0))

    def _read_records(self, view: layout.SequenceFiles, frames: Frames) -> NDArray:
        """Reads the labels of the frames (T,) of one camera: (T,) records of `layout.FRAME`."""
        records = {}
        for frame in dict.fromkeys(frames.tolist()):
            records[frame] = np.zeros((), layout.FRAME)
            if frame not in view.lines:
                continue
            path = layout.label_path(self.root, self.part, view.name, frame)
            try:
                records[frame] = layout.read_label(path, self.part, self.labels)
            except DatasetError as error:
                self.report_broken(error)
            if self._truth is not None:
                records[frame]['joints'] = self._truth[view.lines[frame]]
        return np.stack([records[frame] for frame in frames.tolist()])

    def _annotated_joints(self, hand: Tensor) -> Tensor:
        """Which joints (..., 21) of annotated hands (...) have labels: in the evaluation part the wrist alone."""
        valid = hand[..., None].repeat(*[1] * hand.ndim, 21)
        if self.part == 'evaluation' and self._truth is None:
            valid[..., 1:] = False
        return valid

    def _with_hand_parameters(self, sample: HandSequence, records: NDArray) -> HandSequence:
        """Adds hand pose, shape (the mean over the clip's frames) and translation."""
        shape = torch.from_numpy(records['shape'])
        annotated = torch.from_numpy(records['annotated'])
        mean = shape[annotated].mean(0, keepdim=True)
        # The model turns about its own wrist at rest (J0), so changing the axes F takes t to F (J0 + t) - J0; the
        # last J0 is that of the mean shape, which the clip's hand has.
        wrist = self._rest_wrist(shape) + torch.from_numpy(records['transl'])
        transl = torch.from_numpy(layout.FLIP) * wrist - self._rest_wrist(mean)
        return sample.replace(
            hand_pose=torch.from_numpy(records['pose'])[:, None],
            hand_shape=mean,
            hand_transl=torch.where(annotated[:, None], transl, 0.0).float()[:, None],
            hand_pose_valid=annotated[:, None].clone(),
        )

    def _rest_wrist(self, shape: Tensor) -> Tensor:
        """The model's wrist at rest (N, 3) of shapes (N, 10), float64."""
        assert self.model is not None
        return self.model.rest_wrist(shape, torch.tensor(Side.RIGHT)).double()

    def _from_camera_0(self, track: Track) -> Tensor:
        """(K, 4, 4) from the frame of camera 0 to each camera's."""
        if len(track.source) == 1:  # version 2 has no calibration
            return torch.eye(4)[None]
        return from_first_camera([self._to_world[view.name] for view in track.source])

    def _groups(self, sequences: list[layout.SequenceFiles]) -> list[tuple[layout.SequenceFiles, ...]]:
        """The sequences that are seen together, in the order of the list."""
        recordings: dict[str, dict[str, layout.SequenceFiles]] = {}
        for sequence in sequences:
            recordings.setdefault(layout.recording_and_camera(sequence.name)[0], {})[sequence.name] = sequence
        groups = group_cameras([list(views) for views in recordings.values()], self.cameras_per_clip, self.root)
        found = {group[0]: group for of_recording in groups for group in of_recording}
        by_name = {sequence.name: sequence for sequence in sequences}
        return [tuple(by_name[name] for name in found[s.name]) for s in sequences if s.name in found]

    def _track(self, views: tuple[layout.SequenceFiles, ...]) -> Track:
        size = max(max(*view.lines, *view.frames) for view in views) + 1
        annotated, readable = np.ones(size, bool), np.ones(size, bool)
        for view in views:
            annotated &= np.isin(np.arange(size), list(view.lines))
            readable &= np.isin(np.arange(size), view.frames)
        first = views[0].name
        return Track(
            name=first if len(views) == 1 else '+'.join(view.name for view in views),
            sequence=first,
            cameras=tuple(layout.recording_and_camera(view.name)[1] for view in views),
            fps=float(self.fps),
            annotated=annotated,
            readable=readable,
            source=views,
        )

    def _check_evaluation(self) -> None:
        if self.split == 'evaluation' and self.labels == 'full':
            raise DatasetError(
                'the evaluation part of HO3D holds the wrist and a box alone, no meshes or hand-model parameters; read '
                "it with labels='joints_only', and score meshes by a submission file (docs/data/ho3d.md)"
            )
        if self.truth_file is not None and self.split != 'evaluation':
            raise DatasetError(f'truth_file is of the evaluation part; split {self.split!r} has its own labels')

    def _checked_version(self, sequence: str) -> int | None:
        found = layout.find_version(self.root, self.part, sequence)
        if self.version not in (None, found):
            raise DatasetError(
                f'{self.root} holds {layout.SUFFIX[found]} images, as HO3D version {found} does, but version='
                f'{self.version} was asked for; the two differ in labels and splits and must not be mixed'
            )
        return found

    def _wanted(self, names: list[str]) -> list[str]:
        """The sequences of the split, in the order of the list."""
        if self.split == 'evaluation':
            return names
        if self.split == 'val' and not self.held_out:
            raise DatasetError(
                'HO3D has no validation split; name sequences of its training part to hold out, e.g. '
                f"held_out=['{layout.recording_and_camera(names[-1])[0]}']"
            )
        known = {part for name in names for part in (name, layout.recording_and_camera(name)[0])}
        for entry in self.held_out:
            if entry not in known:
                near = did_you_mean(entry, known)
                raise DatasetError(f'held_out names {entry!r}, which the training part of {self.root} lacks.{near}')
        held_out = [name for name in names if {name, layout.recording_and_camera(name)[0]} & set(self.held_out)]
        if self.split == 'val':
            return held_out
        if len(held_out) == len(names):
            raise DatasetError(f'held_out takes every sequence of {self.root}/train.txt, so none is left to train on')
        return [name for name in names if name not in held_out]

    def _find_sequences(self, names: list[str], lists: dict[str, dict[int, int]]) -> list[layout.SequenceFiles]:
        """The sequences of the split that have annotated frames."""
        sequences, missing = [], []
        for name in names:
            files, messages = layout.find_files(self.root, self.part, name, lists[name], self.version)
            missing += messages
            sequences += [files] if files.lines else []
        if missing and not sequences:
            raise DatasetError(f'none of the {len(missing)} listed frames is there: {missing[0]}; unpack HO3D again')
        self.leave_out(missing, 'listed frames without files')
        return sequences
