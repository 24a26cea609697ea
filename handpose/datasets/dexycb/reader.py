"""DexYCB (Chao et al., CVPR 2021): one hand grasping an object, seen by eight cameras; https://dex-ycb.github.io."""

import logging
from itertools import product
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log

from handpose.datasets.base import (
    DatasetError,
    VideoDataset,
    check_choice,
    check_clips,
    hand_model_of,
    nearest_known,
    to_world,
)
from handpose.datasets.dexycb import layout as layout
from handpose.datasets.dexycb.index import BROKEN, HAND, open_index
from handpose.datasets.dexycb.splits import SETUPS, SPLITS, in_split
from handpose.registry import DATASETS, did_you_mean
from handpose.structures import HandSequence, centred_windows


@DATASETS.register_module()
class DexYCB(VideoDataset):
    """DexYCB's videos as clips of one hand and one camera (H = 1, K = 1), in metres and pixels, OpenCV axes.

    `meta['official_indices']` number the frames as official result files do; DexYCB's own have them only where the
    whole split is on disk.
    A frame without a hand has its masks False and the box of the nearest frame with one. `boxes` are the tight boxes
    of the 21 projected joints; `object_boxes` those of the grasped object's visible pixels in `seg`, without area
    (all zeros) where none is visible. `occlusion` is described at `dexycb_layout.read_label`.
    Padding (repeated frames of a clip near the end of its track) has every mask False.

    Args:
        data_root: folder with `calibration` and the subjects' folders. Where only some sequences of a subject are on
            disk, `<data_root>/sequence_names.txt` must name all of them ('subject/sequence', one a line): s0 and s3 go
            by a sequence's position among all.
        setup: 's0' to 's3' as published, or 'all': every sequence and camera, whatever the split.
        split: 'train', 'val' or 'test'.
        hand_model: the `HandModel` of the labels, or its config; default ProceduralHand. Must be the one that the
            data was made with (`<data_root>/hand_model.yml`; 'mano' where there is no such file).
        labels: 'full', or 'joints_only': no hand-model parameters, so neither MANO's files nor mano.yml are needed.
        mode: 'clips' (training), a window around each annotated frame, `centred_windows` saying what happens at the
            ends; or 'tracks' (testing), all frames of one camera from the first annotated to the last.
        num_frames: frames in a clip, odd. gap: from one frame of a clip to the next.
        clip_stride: take every n-th annotated frame of a track as the centre of a clip.
        frame: 'camera', or 'world' (the recording's master camera; needs the extrinsics).
        pipeline: transforms or their configs.
        fps: the recordings' rate; None takes what meta.yml says (rendered recordings), else 30, the nominal rate of
            DexYCB's cameras, which states none.
        cameras: serials to keep, default all.
        partial: frames whose image or label file is missing count as not recorded; otherwise `on_broken` decides.
        on_broken: 'error', or 'skip': leave out frames that cannot be read and list them in `skipped`.
        cache_dir: where the index of the labels goes when `data_root` cannot be written.
        packed: as in `VideoDataset`.
        seed: of the random draws.

    Raises:
        DatasetError: missing root, files, hand model or camera, an unknown option, an empty split.
    """

    def __init__(
        self,
        data_root,
        setup='s0',
        split='train',
        hand_model=None,
        labels='full',
        mode='clips',
        num_frames=7,
        gap=10,
        clip_stride=1,
        frame='camera',
        pipeline=(),
        fps=None,
        cameras=None,
        partial=False,
        on_broken='error',
        cache_dir=None,
        packed=None,
        seed=0,
    ):
        for name, value, choices in (
            ('setup', setup, SETUPS),
            ('split', split, SPLITS),
            ('labels', labels, ('full', 'joints_only')),
            ('mode', mode, ('clips', 'tracks')),
            ('frame', frame, ('camera', 'world')),
        ):
            check_choice(name, value, choices)
        if fps is not None and not fps > 0:
            raise DatasetError(f'fps must be a positive number or None, got {fps}')
        check_clips(mode, num_frames, gap, clip_stride)
        super().__init__(pipeline=pipeline, seed=seed, on_broken=on_broken, keep_rest=mode == 'tracks', packed=packed)
        layout.check_root(data_root)
        self.root = Path(data_root)
        self.setup, self.split, self.mode, self.frame, self.fps = setup, split, mode, frame, fps
        self.num_frames, self.gap = num_frames, gap
        self.labels, self.partial = labels, partial
        self.hand_model_name = layout.read_hand_model_name(self.root)
        if labels == 'full':
            self._pose_mean, self._pose_basis = self._hand_pose_space(hand_model)
        self.intrinsics = layout.read_intrinsics(self.root)
        self._serial_order = self._order_of_serials()
        self.index = open_index(self.root, self.intrinsics, cache_dir)
        self._usable = self._usable_frames(self._split_tracks(cameras))
        self._items = self._list_items(clip_stride)
        self._betas, self._extrinsics = self._read_calibration()
        self.finish_opening()

    def __len__(self):
        return len(self._items)

    @property
    def skipped(self):
        """Sentences about the frames, and names of the samples, that `on_broken='skip'` left out so far."""
        return [self._trouble(row) for row in self._left_out] + super().skipped

    def sample_name(self, index):
        """Names sample `index`: sequence, camera and, for a clip, its centre frame."""
        track, frame = self._locate(index)
        name = f'{self._sequence(track).name} camera {self.index.track_serial[track]}'
        return name if frame is None else f'{name} frame {frame}'

    def image_paths(self):
        """See `VideoDataset.image_paths`."""
        found = []
        for track in np.unique(self._tracks()).tolist():
            start, stop = self.index.track_start[track : track + 2]
            where = (self.root, self._sequence(track).name, self.index.track_serial[track])
            found += [layout.image_path(*where, f) for f in np.flatnonzero(self._usable[start:stop]).tolist()]
        return found

    def read(self, index):
        """Returns sample `index` without images; `meta['paths']` names them."""
        track, centre = self._locate(index)
        start, stop = self.index.track_start[track : track + 2]
        hand = self.index.status[start:stop] == HAND
        if centre is None:
            annotated = np.flatnonzero(hand)
            frames = np.arange(annotated[0], annotated[-1] + 1)
            frames = frames[self._usable[start:stop][frames]]
            valid = np.ones(len(frames), bool)
        else:
            usable = hand & self._usable[start:stop]
            window, valid = centred_windows(stop - start, self.num_frames, self.gap, usable, [centre])
            frames, valid = window[0], valid[0]
        return self._make_sample(track, frames, valid)

    def _make_sample(self, track, frames, frame_valid):
        """Gathers the labels of the frames (T,) of one track."""
        sequence, serial = self._sequence(track), self.index.track_serial[track]
        matrix, size = self.intrinsics[serial]
        rows = self.index.track_start[track] + frames
        records = self.index.track_labels(track)[frames]
        hand = self.index.status[rows] == HAND
        annotated = torch.from_numpy(hand & frame_valid)[:, None]
        num_frames, fps = len(frames), float(self.fps or sequence.fps or layout.FPS)
        numbers = self._official_start[track] + frames
        sample = HandSequence(
            meta={
                'dataset': 'dexycb',
                'sequence': sequence.name,
                'cameras': [serial],
                'frame_indices': frames.tolist(),
                **({'official_indices': numbers.tolist()} if self._split_is_whole else {}),
                'paths': [layout.image_path(self.root, sequence.name, serial, f) for f in frames],
                'fps': fps,
                'hand_model': self.hand_model_name,
                'image_size': size,
                'setup': self.setup,
                'split': self.split,
            },
            frame='camera',
            frame_valid=torch.from_numpy(frame_valid),
            timestamps=torch.from_numpy(frames / fps),
            hand_side=torch.tensor([int(sequence.hand_side == 'right')]),
            hand_valid=annotated,
            intrinsics=torch.from_numpy(matrix).expand(num_frames, 1, 3, 3).clone(),
            extrinsics=torch.eye(4).expand(num_frames, 1, 4, 4).clone(),
            boxes=torch.from_numpy(_hand_boxes(records['joint_2d'], hand))[:, None, None],
            object_boxes=torch.from_numpy(records['object_box'])[:, None],
            joints_3d=torch.from_numpy(records['joint_3d'])[:, None],
            joints_valid=annotated[..., None].repeat(1, 1, 21),
            joints_2d=torch.from_numpy(records['joint_2d'])[:, None, None],
            joints_2d_valid=annotated[:, None, :, None].repeat(1, 1, 1, 21),
            occlusion=torch.from_numpy(records['occlusion'])[:, None, None],
        )
        if self.labels == 'full':
            sample = self._with_hand_parameters(sample, sequence, records['pose_m'])
        return sample if self.frame == 'camera' else to_world(sample, self._extrinsics[sequence.extrinsics][serial])

    def _with_hand_parameters(self, sample, sequence, pose_m):
        """Adds hand pose, shape and translation. pose_m (T, 51): wrist rotvec, 45 coefficients, translation."""
        pose_m = torch.from_numpy(pose_m)
        side = int(sample.hand_side[0])
        fingers = self._pose_mean[side] + pose_m[:, 3:48] @ self._pose_basis[side]
        return sample.replace(
            hand_pose=torch.cat([pose_m[:, :3], fingers], 1).reshape(-1, 1, 16, 3),
            hand_shape=torch.from_numpy(self._betas[sequence.mano_calib]).clone()[None],
            hand_transl=pose_m[:, None, 48:],
            hand_pose_valid=sample.hand_valid & (pose_m != 0).any(1)[:, None],
        )

    def _sequence(self, track):
        return self.index.sequences[self.index.track_sequence[track]]

    def _locate(self, index):
        """Returns (track, centre frame of the clip or None) of sample `index`."""
        item = int(self._items[index])
        if self.mode == 'tracks':
            return item, None
        track = int(np.searchsorted(self.index.track_start, item, side='right')) - 1
        return track, item - int(self.index.track_start[track])

    def _tracks(self):
        """The tracks of all samples."""
        if self.mode == 'tracks':
            return self._items
        return np.unique(np.searchsorted(self.index.track_start, self._items, side='right') - 1)

    def _hand_pose_space(self, hand_model):
        """Returns the mean (2, 45) and the basis (2, 45, 45) of the left and the right hand's finger pose."""
        model = hand_model_of(self.hand_model_name, hand_model, self.root)
        spaces = [(model.pose_mean_of(side).float(), model.pose_basis_of(side).float()) for side in (0, 1)]
        return tuple(torch.stack(parts) for parts in zip(*spaces, strict=True))

    def _order_of_serials(self):
        """The number of each camera in the splits of s2: the published order, or sorted serials for other cameras."""
        official = set(self.intrinsics) <= set(layout.SERIALS)
        return {serial: i for i, serial in enumerate(layout.SERIALS if official else sorted(self.intrinsics))}

    def _split_tracks(self, cameras):
        """Returns (M,) bool: the tracks of the split and of the wanted cameras."""
        for serial in cameras or ():
            if serial not in self.intrinsics:
                known = ', '.join(sorted(self.intrinsics))
                near = did_you_mean(serial, self.intrinsics)
                raise DatasetError(f'{self.root} has no camera {serial!r} (it has: {known}).{near}')
        self._check_complete_subjects()
        tracks = np.array(
            [
                in_split(self.setup, self.split, s.subject, s.position, self._serial_order[serial])
                for s in self.index.sequences
                for serial in s.serials
            ]
        )
        self._official_start = self._official_starts(tracks)
        self._split_is_whole = self.hand_model_name != 'mano' or self._holds_official_split()
        return tracks & np.array([not cameras or serial in cameras for serial in self.index.track_serial])

    def _official_starts(self, tracks):
        """The number (M,) that the first frame of each track of the split has in official result files.

        They number all frames of a split: subject, sequence, camera (in the published order), frame.
        """
        order = np.lexsort(([self._serial_order[s] for s in self.index.track_serial], self.index.track_sequence))
        order = order[tracks[order]]
        lengths = np.diff(self.index.track_start)[order]
        starts = np.full(len(tracks), -1)
        starts[order] = np.cumsum(lengths) - lengths
        return starts

    def _holds_official_split(self):
        """Whether every subject, position and camera of the published split is on disk: numbers count them all."""
        present = {
            (s.subject, s.position, self._serial_order[serial]) for s in self.index.sequences for serial in s.serials
        }
        every = product(range(layout.SUBJECTS), range(layout.SEQUENCES_PER_SUBJECT), range(len(layout.SERIALS)))
        return all(track in present for track in every if in_split(self.setup, self.split, *track))

    def _check_complete_subjects(self):
        """Positions decide s0 and s3, so a subject with sequences missing would get other splits than published."""
        if self.setup not in ('s0', 's3') or self.hand_model_name != 'mano':
            return
        listed = layout.read_sequence_list(self.root)
        if listed is None:
            subjects = [s.name.split('/')[0] for s in self.index.sequences]
            counts = {subject: subjects.count(subject) for subject in sorted(set(subjects))}
        else:
            counts = {subject: len(names) for subject, names in sorted(listed.items())}
        for subject, count in counts.items():
            if count != layout.SEQUENCES_PER_SUBJECT:
                where = self.root if listed is None else self.root / layout.SEQUENCE_LIST
                raise DatasetError(
                    f'{where}: {subject} has {count} of its {layout.SEQUENCES_PER_SUBJECT} sequences, so the splits of '
                    f'{self.setup} would differ from the published ones; complete it, name all its sequences in '
                    f"{self.root}/{layout.SEQUENCE_LIST}, or use setup='all'"
                )

    def _usable_frames(self, tracks):
        """Returns (N,) bool: the readable frames of the chosen tracks; raises or keeps account of the others."""
        status = self.index.status
        chosen = np.repeat(tracks, np.diff(self.index.track_start))
        wrong = status == BROKEN if self.partial else status <= BROKEN
        self._left_out = np.flatnonzero(chosen & wrong)
        if len(self._left_out):
            sentence = f'{len(self._left_out)} frames of the split cannot be read: {self._trouble(self._left_out[0])}'
            if self.on_broken == 'error':
                raise DatasetError(f"{sentence}; on_broken='skip' leaves such frames out")
            print_log(f'Skipped: {sentence}', logger='current', level=logging.WARNING)
        return chosen & (status > BROKEN)

    def _trouble(self, row):
        """A sentence about a frame that the index could not read."""
        if row in self.index.broken:
            return self.index.broken[row]
        return f'{self._missing_file(row)} is missing; unpack the data set again, or read it with partial=True'

    def _missing_file(self, row):
        track = int(np.searchsorted(self.index.track_start, row, side='right')) - 1
        where = (self.root, self._sequence(track).name, self.index.track_serial[track])
        frame = int(row - self.index.track_start[track])
        label = layout.label_path(*where, frame)
        return label if not Path(label).exists() else layout.image_path(*where, frame)

    def _list_items(self, clip_stride):
        """Returns the samples: frames to centre clips on, or tracks."""
        starts = self.index.track_start
        annotated = self._usable & (self.index.status == HAND)
        before = np.concatenate([[0], np.cumsum(annotated)])
        if self.mode == 'tracks':
            items = np.flatnonzero(before[starts[1:]] > before[starts[:-1]])
        else:
            rank = before[:-1] - np.repeat(before[starts[:-1]], np.diff(starts))
            items = np.flatnonzero(annotated & (rank % clip_stride == 0))
        if not len(items):
            subjects = sorted({s.subject + 1 for s in self.index.sequences})
            raise DatasetError(
                f'split {self.split!r} of setup {self.setup!r} has no annotated frame in {self.root}, which holds '
                f'{len(self.index.sequences)} sequences of subjects {subjects} from cameras '
                f"{sorted(set(self.index.track_serial))}; choose another split, or setup='all'"
            )
        return items

    def _read_calibration(self):
        """Reads the hand shapes and camera poses that the options ask for, and no others."""
        sequences = [self.index.sequences[i] for i in np.unique(self.index.track_sequence[self._tracks()])]
        betas, extrinsics = {}, {}
        if self.labels == 'full':
            betas = {name: layout.read_betas(self.root, name) for name in {s.mano_calib for s in sequences}}
        if self.frame == 'world':
            extrinsics = {name: layout.read_extrinsics(self.root, name) for name in {s.extrinsics for s in sequences}}
            for sequence in sequences:
                missing = sorted(set(sequence.serials) - set(extrinsics[sequence.extrinsics]))
                if missing:
                    raise DatasetError(
                        f'{self.root}/calibration/extrinsics_{sequence.extrinsics}/extrinsics.yml has no camera '
                        f'{missing[0]}, which {sequence.name} was recorded with; unpack the calibration again'
                    )
        return betas, extrinsics


def _hand_boxes(joints_2d, hand):
    """Tight boxes (T, 4) of joints (T, 21, 2); frames without a hand get the box of the nearest frame with one."""
    boxes = np.concatenate([joints_2d.min(1), joints_2d.max(1)], 1)
    return boxes[nearest_known(hand)]
