"""DexYCB (Chao et al., CVPR 2021): one hand grasping an object, seen by eight cameras; https://dex-ycb.github.io.

Legend: T frames of a sample, K cameras.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.datasets.base import DatasetError, Track, VideoDataset
from handpose.datasets.dexycb import layout, splits
from handpose.datasets.dexycb.index import BROKEN, HAND, open_index
from handpose.datasets.io.cameras import from_first_camera, group_cameras
from handpose.datasets.io.hand_models import HandModelOptions, read_hand_model_name
from handpose.datasets.io.label_frames import nearest_valid, to_world
from handpose.datasets.sampling import Frames
from handpose.hands import HandModel
from handpose.registry import DATASETS
from handpose.structures import HandSequence
from handpose.text import did_you_mean


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class DexYCB(HandModelOptions, VideoDataset):
    """DexYCB's videos: one hand (H = 1) and one or several cameras, in metres and pixels, OpenCV axes.

    A track is one sequence seen by K cameras; its frames are annotated where all of them see the hand.
    `meta['official_indices']` number the frames (of camera 0) as official result files do; DexYCB's own have them only
    where the whole split is on disk. A frame without a hand has its masks False and the box of the nearest frame with
    one. `boxes` are the tight boxes of the 21 projected joints; `object_boxes` those of the grasped object's visible
    pixels in `seg`, without area (all zeros) where none is visible. `occlusion`: see `layout.read_label`.

    Args:
        data_root: folder with `calibration` and the subjects' folders. Where only some sequences of a subject are on
            disk, `<data_root>/sequence_names.txt` must name all of them ('subject/sequence', one a line): s0 and s3 go
            by a sequence's position among all.
        split: 'train', 'val' or 'test'.
        setup: 's0' to 's3' as published, or 'all': every sequence and camera, whatever the split.
        frame: 'camera', or 'world' (the recording's master camera; needs the extrinsics).
        fps: the recordings' rate; None takes what meta.yml says (rendered recordings), else 30, the nominal rate of
            DexYCB's cameras, which states none.
        cameras: serials to keep, default all.
        cameras_per_clip: K; cameras are grouped in their order. K > 1 needs the extrinsics.
        partial: frames whose image or label file is missing count as not recorded; otherwise `on_broken` decides.
        cache_dir: where the index of the labels goes when `data_root` cannot be written.
        labels: see `HandModelOptions`, as `hand_model`; 'full' needs the calibrated hand shapes.
        on_broken: see `VideoDataset`, as all other options; 'skip' leaves out frames that cannot be read.

    Raises:
        DatasetError: missing root, files, hand model or camera, an unknown option, an empty split.
    """

    name = 'dexycb'
    choices = {'setup': splits.SETUPS, 'split': splits.SPLITS, 'frame': ('camera', 'world')}

    setup: str = 's0'
    frame: str = 'camera'
    fps: float | None = None
    cameras: Sequence[str] | None = None
    cameras_per_clip: int = 1
    partial: bool = False
    cache_dir: str | None = None

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`."""
        if self.fps is not None and not self.fps > 0:
            raise DatasetError(f'fps must be a positive number or None, got {self.fps}')
        layout.check_root(self.root)
        self.open_hand_model(read_hand_model_name(self.root), self.root)
        self._pose_space = None if self.model is None else _pose_space(self.model)
        self.intrinsics = layout.read_intrinsics(self.root)
        self.index = open_index(self.root, self.intrinsics, self.cache_dir)
        chosen = self._chosen_tracks()
        status = self.index.status
        unreadable = status == BROKEN if self.partial else status <= BROKEN
        rows = np.flatnonzero(np.repeat(chosen, np.diff(self.index.track_start)) & unreadable)
        messages = [self._problem(int(row)) for row in rows]
        self.leave_out(messages, 'unreadable frames in the split')
        tracks = [self._track(numbers) for numbers in self._groups(chosen)]
        tracks = [track for track in tracks if track.annotated.any()]
        self._read_calibration(tracks)
        return tracks

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        subjects = sorted({s.subject + 1 for s in self.index.sequences})
        return (
            f'split {self.split!r} of setup {self.setup!r} has no annotated frame in {self.root}, which holds '
            f'{len(self.index.sequences)} sequences of subjects {subjects} from cameras '
            f"{sorted(set(self.index.track_serial))}; choose another split, or setup='all'"
        )

    def frame_paths(self, track: Track, frames: Frames) -> list[list[str]]:
        """See `VideoDataset.frame_paths`."""
        return [
            [layout.image_path(self.root, track.sequence, serial, frame) for serial in track.cameras]
            for frame in frames.tolist()
        ]

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        numbers, num_frames = track.source, len(frames)
        sequence = self.index.sequences[self.index.track_sequence[numbers[0]]]
        records = np.stack([self.index.track_labels(number)[frames] for number in numbers], 1)
        hand = np.stack([self.index.status[self.index.track_start[number] + frames] == HAND for number in numbers], 1)
        sizes = [self.intrinsics[serial][1] for serial in track.cameras]
        intrinsics = torch.from_numpy(np.stack([self.intrinsics[serial][0] for serial in track.cameras]))
        extrinsics = self._from_camera_0(sequence, track.cameras)
        hand_valid = torch.from_numpy(hand[:, :1])
        meta = {
            'hand_model': self.hand_model_name,
            'setup': self.setup,
            **({'image_size': sizes[0]} if len(sizes) == 1 else {'image_sizes': sizes}),
        }
        if self._has_official_numbers:
            meta['official_indices'] = (self._official_start[numbers[0]] + frames).tolist()
        sample = HandSequence(
            meta=meta,
            hand_side=torch.tensor([int(sequence.hand_side == 'right')]),
            hand_valid=hand_valid,
            intrinsics=intrinsics.expand(num_frames, -1, 3, 3).clone(),
            extrinsics=extrinsics.expand(num_frames, -1, 4, 4).clone(),
            boxes=torch.from_numpy(_hand_boxes(records['joint_2d'], hand))[:, :, None],
            object_boxes=torch.from_numpy(records['object_box']),
            joints_3d=torch.from_numpy(records['joint_3d'][:, :1]),
            joints_valid=hand_valid[..., None].repeat(1, 1, 21),
            joints_2d=torch.from_numpy(records['joint_2d'])[:, :, None],
            joints_2d_valid=torch.from_numpy(hand)[:, :, None, None].repeat(1, 1, 1, 21),
            occlusion=torch.from_numpy(records['occlusion'])[..., None],
        )
        if self._pose_space is not None:
            sample = self._with_hand_parameters(sample, sequence, records['pose_m'][:, 0], hand_valid)
        if self.frame == 'camera':
            return sample
        return to_world(sample, self._extrinsics[sequence.extrinsics][track.cameras[0]])

    def _with_hand_parameters(
        self, sample: HandSequence, sequence: layout.SequenceInfo, pose_m: NDArray, hand_valid: Tensor
    ) -> HandSequence:
        """Adds hand pose, shape and translation. pose_m (T, 51): wrist rotvec, 45 coefficients, translation."""
        assert self._pose_space is not None
        mean, basis = self._pose_space
        values = torch.from_numpy(pose_m)
        side = int(sequence.hand_side == 'right')
        fingers = mean[side] + values[:, 3:48] @ basis[side]
        return sample.replace(
            hand_pose=torch.cat([values[:, :3], fingers], 1).reshape(-1, 1, 16, 3),
            hand_shape=torch.from_numpy(self._betas[sequence.mano_calib]).clone()[None],
            hand_transl=values[:, None, 48:],
            hand_pose_valid=hand_valid & (values != 0).any(1)[:, None],
        )

    def _chosen_tracks(self) -> NDArray[np.bool_]:
        """(M,), the index's tracks of the split and of the chosen cameras."""
        for serial in self.cameras or ():
            if serial not in self.intrinsics:
                raise DatasetError(
                    f'{self.root} has no camera {serial!r} (it has: {", ".join(sorted(self.intrinsics))}).'
                    f'{did_you_mean(serial, self.intrinsics)}'
                )
        numbers = splits.camera_numbers(list(self.intrinsics))
        official = self.hand_model_name == 'mano'
        if official:
            splits.check_complete_subjects(self.root, self.index, self.setup)
        tracks = splits.split_tracks(self.index, numbers, self.setup, self.split)
        self._official_start = splits.official_starts(self.index, tracks, numbers)
        self._has_official_numbers = not official or splits.is_official_split(
            self.index, numbers, self.setup, self.split
        )
        return tracks & np.array([not self.cameras or serial in self.cameras for serial in self.index.track_serial])

    def _groups(self, chosen: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        """The index's tracks that are seen together, in order."""
        views: dict[int, dict[str, int]] = {}
        for number in np.flatnonzero(chosen).tolist():
            views.setdefault(int(self.index.track_sequence[number]), {})[self.index.track_serial[number]] = number
        groups = group_cameras([list(view) for view in views.values()], self.cameras_per_clip, self.root)
        return [
            tuple(view[serial] for serial in group)
            for view, of_sequence in zip(views.values(), groups, strict=True)
            for group in of_sequence
        ]

    def _track(self, numbers: tuple[int, ...]) -> Track:
        sequence = self.index.sequences[self.index.track_sequence[numbers[0]]]
        serials = tuple(self.index.track_serial[number] for number in numbers)
        starts = self.index.track_start
        status = np.stack([self.index.status[starts[number] : starts[number + 1]] for number in numbers])
        return Track(
            name=f'{sequence.name} camera {"+".join(serials)}',
            sequence=sequence.name,
            cameras=serials,
            fps=float(self.fps or sequence.fps or layout.FPS),
            annotated=(status == HAND).all(0),
            readable=np.asarray((status > BROKEN).all(0)),
            source=numbers,
        )

    def _problem(self, row: int) -> str:
        """A message about a frame that the index could not read."""
        if row in self.index.broken:
            return self.index.broken[row]
        track = int(np.searchsorted(self.index.track_start, row, side='right')) - 1
        sequence = self.index.sequences[self.index.track_sequence[track]]
        where = (self.root, sequence.name, self.index.track_serial[track], int(row - self.index.track_start[track]))
        path = layout.label_path(*where)
        path = layout.image_path(*where) if Path(path).exists() else path
        return f'{path} is missing; unpack the dataset again, or read it with partial=True'

    def _read_calibration(self, tracks: list[Track]) -> None:
        """Reads the hand shapes and camera poses that the options ask for, and no others."""
        sequences = [self.index.sequences[self.index.track_sequence[track.source[0]]] for track in tracks]
        self._betas, self._extrinsics = {}, {}
        if self.labels == 'full':
            self._betas = {name: layout.read_betas(self.root, name) for name in {s.mano_calib for s in sequences}}
        if self.frame == 'world' or self.cameras_per_clip > 1:
            names = {s.extrinsics for s in sequences}
            self._extrinsics = {name: layout.read_extrinsics(self.root, name) for name in names}
            for sequence in sequences:
                if missing := sorted(set(sequence.serials) - set(self._extrinsics[sequence.extrinsics])):
                    raise DatasetError(
                        f'{self.root}/calibration/extrinsics_{sequence.extrinsics}/extrinsics.yml has no camera '
                        f'{missing[0]}, which {sequence.name} was recorded with; unpack the calibration again'
                    )

    def _from_camera_0(self, sequence: layout.SequenceInfo, cameras: tuple[str, ...]) -> Tensor:
        """(K, 4, 4) from the frame of camera 0 to each camera's."""
        if len(cameras) == 1:  # needs no calibration
            return torch.eye(4)[None]
        return from_first_camera([self._extrinsics[sequence.extrinsics][serial] for serial in cameras])


def _pose_space(model: HandModel) -> tuple[Tensor, Tensor]:
    """The mean (2, 45) and the basis (2, 45, 45) of the left and the right hand's finger pose."""
    means = torch.stack([model.pose_mean_of(side).float() for side in (0, 1)])
    return means, torch.stack([model.pose_basis_of(side).float() for side in (0, 1)])


def _hand_boxes(joints_2d: NDArray, hand: NDArray[np.bool_]) -> NDArray:
    """Tight boxes (T, K, 4) of joints (T, K, 21, 2); where `hand` (T, K) is False, those of the nearest frame."""
    boxes = np.concatenate([joints_2d.min(2), joints_2d.max(2)], 2)
    return np.stack([boxes[nearest_valid(hand[:, k]), k] for k in range(hand.shape[1])], 1)
