"""HO3D v2 and v3 (Hampali et al., CVPR 2020): a right hand and an object, one to five cameras; docs/ho3d.md."""

import logging
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log

from handpose.datasets.base import (
    BrokenFrames,
    DatasetError,
    VideoDataset,
    check_choice,
    check_clips,
    hand_model_of,
    nearest_known,
    to_world,
)
from handpose.datasets.dexycb.layout import read_hand_model_name
from handpose.datasets.ho3d import layout as layout
from handpose.geometry.camera import project_points
from handpose.registry import DATASETS, did_you_mean
from handpose.structures import HandSequence, centred_windows

RIGHT = 1


@DATASETS.register_module()
class HO3D(VideoDataset):
    """HO3D's videos as clips of a right hand and one camera (H = 1, K = 1), in metres and pixels, OpenCV axes.

    A frame without annotation (not in the list) has its masks False, and camera and box of the nearest annotated one.
    `boxes` are the tight boxes of the 21 projected joints, in the evaluation part the ones that HO3D gives;
    `object_boxes` those of the projected corners of the object's own box, without area where it is unknown.
    The evaluation part knows the wrist alone (`joints_valid`), and no hand-model parameters. Padding (repeated frames
    of a clip) has every mask False. Labels are read when a clip is asked for; nothing is cached.

    Args:
        data_root: folder with `train`, `evaluation`, `train.txt` and `evaluation.txt`.
        split: 'train', or 'val', which HO3D does not have: the sequences of its training part in `held_out`, which
            'train' then leaves out; or 'evaluation'.
        version: 2 or 3; None takes the one that the pictures' format says (2 PNG, 3 JPEG).
        held_out: names of sequences of the training part ('SM2'), or of recordings, which stand for all their cameras
            ('SiBF1' for SiBF10 to SiBF14).
        hand_model: the `HandModel` of the labels, or its config; default ProceduralHand. Must be the one that the
            data was made with (`<data_root>/hand_model.yml`; 'mano' where there is no such file).
        labels: 'full', or 'joints_only': no hand-model parameters, so MANO's files are not needed.
        truth_file: of the evaluation part's joints, `evaluation_xyz.json` as HO3D released it later, in `data_root`
            or elsewhere; None: they stay unknown.
        mode: 'clips' (training), a window around each annotated frame; or 'tracks' (testing), all frames of a sequence
            from the first annotated to the last.
        num_frames: frames in a clip, odd. gap: from one frame of a clip to the next, in frame numbers.
        clip_stride: take every n-th annotated frame of a sequence as the centre of a clip.
        frame: 'camera', or 'world' (the reference camera of a recording; needs version 3's calibration).
        pipeline: transforms or their configs.
        fps: the recordings' rate, which HO3D does not state; 30 is assumed.
        on_broken: 'error', or 'skip': listed frames that are missing or unreadable count as not annotated and are
            named in `skipped`.
        packed: as in `VideoDataset`.
        seed: of the random draws.

    Raises:
        DatasetError: missing root, list, files or calibration, another version or hand model, an unknown option.
    """

    def __init__(
        self,
        data_root,
        split='train',
        version=None,
        held_out=(),
        hand_model=None,
        labels='full',
        truth_file=None,
        mode='clips',
        num_frames=7,
        gap=10,
        clip_stride=1,
        frame='camera',
        pipeline=(),
        fps=30.0,
        on_broken='error',
        packed=None,
        seed=0,
    ):
        for name, value, choices in (
            ('split', split, ('train', 'val', 'evaluation')),
            ('version', version, (None, 2, 3)),
            ('labels', labels, ('full', 'joints_only')),
            ('mode', mode, ('clips', 'tracks')),
            ('frame', frame, ('camera', 'world')),
        ):
            check_choice(name, value, choices)
        check_clips(mode, num_frames, gap, clip_stride)
        super().__init__(pipeline=pipeline, seed=seed, on_broken=on_broken, keep_rest=mode == 'tracks', packed=packed)
        layout.check_root(data_root)
        self.root, self.split, self.labels, self.mode = Path(data_root), split, labels, mode
        self.part = 'evaluation' if split == 'evaluation' else 'train'
        self.num_frames, self.gap, self.frame, self.fps = num_frames, gap, frame, float(fps)
        self._check_evaluation(truth_file)
        lists = layout.read_list(self.root, self.part)
        self.version = self._check_version(version, next(iter(lists)))
        self.hand_model_name = read_hand_model_name(self.root)
        self._hand_model = hand_model_of(self.hand_model_name, hand_model, self.root) if labels == 'full' else None
        self._truth = self._read_truth(truth_file, sum(map(len, lists.values())))
        self.tracks, self._missing = self._find_tracks(self._wanted(list(lists), held_out), lists)
        self._to_world = self._read_calibration() if frame == 'world' else {}
        self._items = [
            (number, centre)
            for number, track in enumerate(self.tracks)
            for centre in (sorted(track.lines)[::clip_stride] if mode == 'clips' else [None])
        ]
        self.finish_opening()

    def __len__(self):
        return len(self._items)

    @property
    def skipped(self):
        """Sentences about missing frames, and names of the samples, that `on_broken='skip'` left out so far."""
        return self._missing + super().skipped

    def sample_name(self, index):
        """Names sample `index`: sequence and, for a clip, its centre frame."""
        number, centre = self._items[index]
        name = self.tracks[number].name
        return name if centre is None else f'{name} frame {centre}'

    def image_paths(self):
        """See `VideoDataset.image_paths`."""
        found = []
        for track in self.tracks:
            first, last = min(track.lines), max(track.lines)
            shown = (f for f in track.frames if first <= f <= last)
            found += [layout.image_path(self.root, self.part, track.name, f, self.version) for f in shown]
        return found

    def read(self, index):
        """Returns sample `index` without images; `meta['paths']` names them."""
        number, centre = self._items[index]
        track = self.tracks[number]
        if centre is None:
            first, last = min(track.lines), max(track.lines)
            frames = np.array([f for f in track.frames if first <= f <= last])
            valid = np.ones(len(frames), bool)
        else:
            usable = np.zeros(max(track.lines) + 1, bool)
            usable[list(track.lines)] = True
            window, valid = centred_windows(len(usable), self.num_frames, self.gap, usable, [centre], across_gaps=True)
            frames, valid = window[0], valid[0]
        return self._make_sample(track, frames, valid, self._read_frames(track, frames, index))

    def _read_frames(self, track, frames, index):
        """Reads the labels of the frames (T,) of a track: (T,) records of `layout.FRAME`."""
        records = {}
        for frame in frames.tolist():
            if frame in records:
                continue
            records[frame] = np.zeros((), layout.FRAME)
            if frame not in track.lines:
                continue
            path = layout.label_path(self.root, self.part, track.name, frame)
            try:
                records[frame] = layout.read_label(path, self.part, self.labels)
            except DatasetError as error:
                if self.on_broken == 'error':
                    raise
                self._report(index, error)
            if self._truth is not None:
                records[frame]['joints'] = self._truth[track.lines[frame]]
        records = np.stack([records[frame] for frame in frames.tolist()])
        if not records['annotated'].any():
            raise BrokenFrames(f'{self.sample_name(index)}: no label file of its listed frames holds an annotation')
        return records

    def _make_sample(self, track, frames, frame_valid, records):
        """Gathers the labels `records` (T,) of the frames (T,) of one track."""
        recording, camera = layout.recording_and_camera(track.name)
        annotated = records['annotated'] & frame_valid
        nearest = nearest_known(records['annotated'])
        joints = torch.from_numpy(records['joints'])[:, None]
        intrinsics = torch.from_numpy(records['camera'][nearest])[:, None]
        hand_valid = torch.from_numpy(annotated)[:, None]
        joints_valid = hand_valid[..., None].repeat(1, 1, 21)
        if self.part == 'evaluation' and self._truth is None:
            joints_valid[..., 1:] = False
        seen = project_points(joints, intrinsics)
        sample = HandSequence(
            meta={
                'dataset': 'ho3d',
                'version': self.version,
                'sequence': track.name,
                'cameras': [camera],
                'frame_indices': frames.tolist(),
                'official_indices': [track.lines.get(frame, -1) for frame in frames.tolist()],
                'paths': [layout.image_path(self.root, self.part, track.name, f, self.version) for f in frames],
                'fps': self.fps,
                'hand_model': self.hand_model_name,
                'recording': recording,
                'split': self.split,
            },
            frame='camera',
            frame_valid=torch.from_numpy(frame_valid),
            timestamps=torch.from_numpy(frames / self.fps),
            hand_side=torch.tensor([RIGHT]),
            hand_valid=hand_valid,
            intrinsics=intrinsics.clone(),
            extrinsics=torch.eye(4).expand(len(frames), 1, 4, 4).clone(),
            boxes=torch.from_numpy(records['box'][nearest])[:, None, None],
            object_boxes=torch.from_numpy(records['object_box'])[:, None],
            joints_3d=joints,
            joints_valid=joints_valid,
            joints_2d=torch.where(joints_valid[..., None], seen, torch.zeros_like(seen))[:, None],
            joints_2d_valid=joints_valid[:, None].clone(),
            occlusion=torch.from_numpy(np.where(records['annotated'], records['occlusion'], np.nan))[:, None, None],
        )
        if self.labels == 'full':
            sample = self._with_hand_parameters(sample, records)
        if self.frame == 'camera':
            return sample
        # HO3D's joints need not be exactly those that the model computes.
        rest = self._rest_wrist(sample.hand_shape) if self.labels == 'full' else None
        return to_world(sample, self._to_world[track.name], rest)

    def _with_hand_parameters(self, sample, records):
        """Adds hand pose, shape (the mean over the clip's frames) and translation."""
        shape = torch.from_numpy(records['shape'])
        known = torch.from_numpy(records['annotated'])
        mean = shape[known].mean(0, keepdim=True)
        # The model turns about its own wrist at rest (J0), so changing the axes F takes t to F (J0 + t) - J0; the
        # last J0 is that of the mean shape, which the clip's hand has.
        wrist = self._rest_wrist(shape) + torch.from_numpy(records['transl'])
        transl = torch.from_numpy(layout.FLIP) * wrist - self._rest_wrist(mean)
        return sample.replace(
            hand_pose=torch.from_numpy(records['pose'])[:, None],
            hand_shape=mean,
            hand_transl=torch.where(known[:, None], transl, 0.0).float()[:, None],
            hand_pose_valid=sample.hand_valid.clone(),
        )

    def _rest_wrist(self, shape):
        """The model's wrist at rest (N, 3) of shapes (N, 10), float64."""
        return self._hand_model.rest_wrist(shape, torch.tensor(RIGHT)).double()

    def _check_evaluation(self, truth_file):
        if self.split == 'evaluation' and self.labels == 'full':
            raise DatasetError(
                'the evaluation part of HO3D holds the wrist and a box alone, no meshes or hand-model parameters; read '
                "it with labels='joints_only', and score meshes by a submission file (docs/ho3d.md)"
            )
        if truth_file is not None and self.split != 'evaluation':
            raise DatasetError(f'truth_file is of the evaluation part; split {self.split!r} has its own labels')

    def _check_version(self, version, sequence):
        found = layout.find_version(self.root, self.part, sequence)
        if version not in (None, found):
            raise DatasetError(
                f'{self.root} holds {layout.SUFFIX[found]} pictures, as HO3D version {found} does, but version='
                f'{version} was asked for; the two differ in labels and splits and must not be mixed'
            )
        return found

    def _read_truth(self, truth_file, count):
        return None if truth_file is None else layout.read_truth(self.root / truth_file, count)

    def _wanted(self, names, held_out):
        """The sequences of the split, in the order of the list."""
        if self.split == 'evaluation':
            return names
        if self.split == 'val' and not held_out:
            raise DatasetError(
                'HO3D has no validation split; name sequences of its training part to hold out, e.g. '
                f"held_out=['{layout.recording_and_camera(names[-1])[0]}']"
            )
        known = {part for name in names for part in (name, layout.recording_and_camera(name)[0])}
        for entry in held_out:
            if entry not in known:
                near = did_you_mean(entry, known)
                raise DatasetError(f'held_out names {entry!r}, which the training part of {self.root} lacks.{near}')
        chosen = [name for name in names if {name, layout.recording_and_camera(name)[0]} & set(held_out)]
        if self.split == 'val':
            return chosen
        if len(chosen) == len(names):
            raise DatasetError(f'held_out takes every sequence of {self.root}/train.txt, so none is left to train on')
        return [name for name in names if name not in chosen]

    def _find_tracks(self, names, lists):
        """The tracks of the split that have annotated frames, and sentences about listed frames that are missing."""
        tracks, missing = [], []
        for name in names:
            track, sentences = layout.find_track(self.root, self.part, name, lists[name], self.version)
            missing += sentences
            tracks += [track] if track.lines else []
        if missing:
            sentence = f'{len(missing)} listed frames cannot be read: {missing[0]}'
            if self.on_broken == 'error' or not tracks:
                raise DatasetError(f"{sentence}; unpack it again, or leave such frames out by on_broken='skip'")
            print_log(f'Skipped: {sentence}', logger='current', level=logging.WARNING)
        return tracks, missing

    def _read_calibration(self):
        """{sequence: (4, 4) camera to the reference camera of its recording}."""
        found = {}
        for track in self.tracks:
            recording, camera = layout.recording_and_camera(track.name)
            matrices = layout.read_calibration(self.root, recording)
            if camera not in matrices:
                raise DatasetError(f'{self.root}/calibration/{recording} has no camera {camera}, that of {track.name}')
            found[track.name] = matrices[camera]
        return found
