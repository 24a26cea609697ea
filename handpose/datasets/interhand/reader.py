"""InterHand2.6M (Moon et al., ECCV 2020): one or two hands of a person among many cameras; docs/pose_datasets.md."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from handpose.datasets.base import DatasetError, check_choice, hand_model_of
from handpose.datasets.dexycb.layout import read_hand_model_name
from handpose.datasets.interhand import layout as layout
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
from handpose.registry import DATASETS

SIDES = (0, 1)
HAND_TYPES = {'all': layout.HAND_TYPES, 'single': ('right', 'left'), 'interacting': ('interacting',)}


@DATASETS.register_module()
class InterHand26M(PoseSequences):
    """InterHand2.6M's pose sequences (H = 2, K = 1), in metres and the camera's frame, OpenCV axes, without pictures.

    A track is one sequence of one capture, seen from one camera. `meta['frame_indices']` count at the release's rate;
    frames that nobody annotated have their masks False, and `meta['official_indices']`, InterHand2.6M's own frame
    numbers, -1 there; `meta['hand_types']` say 'right', 'left' or 'interacting' of each frame, None there. A hand whose
    wrist is not annotated counts as absent, as in the official evaluation.
    `hand_shape` is one for a clip: the mean of its annotated frames' (the files have one for every frame).

    Args:
        data_root: folder with `annotations`.
        split: 'train', 'val' or 'test'.
        fps: 30 or 5, which of the two releases it is; their frame numbers differ in their steps.
        cameras: names ('400026'); or how many of each capture's cameras to take, evenly; None: all, about a hundred.
        hand_type: 'all', 'single' or 'interacting': frames of another kind count as not annotated.
        joint_valid: 'annotated': joints that were annotated, wherever they are; 'image': those inside the camera's
            picture alone, and only frames that have one. 'image' reads data.json, which takes gigabytes of memory.
        hand_model: the `HandModel` of the labels, or its config; default ProceduralHand. Must be the one that the
            data was made with (`<data_root>/hand_model.yml`; 'mano' where there is no such file). For MANO: with
            left_shapedirs='fixed', as the labels were fitted.
        labels: 'full' (NeuralAnnot's MANO parameters too), or 'joints_only'.
        annotations: how the files' names begin, under `data_root`; `{split}` stands for the split.
        mode, num_frames, clip_stride, pipeline, seed: as in `PoseSequences`.

    Raises:
        DatasetError: a missing root, file or key, another hand model or release, an unknown option, an empty split.
    """

    def __init__(
        self,
        data_root,
        split='train',
        fps=30,
        cameras=None,
        hand_type='all',
        joint_valid='annotated',
        hand_model=None,
        labels='full',
        annotations='annotations/{split}/InterHand2.6M_{split}',
        mode='clips',
        num_frames=27,
        clip_stride=9,
        pipeline=(),
        seed=0,
    ):
        for name, value, choices in (
            ('split', split, layout.SPLITS),
            ('fps', fps, tuple(layout.STEPS)),
            ('hand_type', hand_type, tuple(HAND_TYPES)),
            ('joint_valid', joint_valid, ('annotated', 'image')),
            ('labels', labels, ('full', 'joints_only')),
        ):
            check_choice(name, value, choices)
        super().__init__(mode=mode, num_frames=num_frames, clip_stride=clip_stride, pipeline=pipeline, seed=seed)
        self.root, self.split, self.fps, self.labels = Path(data_root), split, fps, labels
        self.hand_type, self._step = hand_type, layout.STEPS[fps][split]
        self._prefix = annotations.format(split=split)
        captures = layout.read_cameras(self._file('camera'))
        self.hand_model_name = read_hand_model_name(self.root)
        self._hand_model = hand_model_of(self.hand_model_name, hand_model, self.root) if labels == 'full' else None
        sequences = layout.read_joints(self._file('joint_3d'), lambda: layout.read_sequence_names(self._file('data')))
        self._check_rate(sequences)
        numbers = {key: frames.numbers for key, frames in sequences.items()}
        kept = without_other_rates(numbers, self._step, self._file('joint_3d'))
        sequences = {key: sequences[key] for key in kept}
        visible = layout.read_visible(self._file('data'), sequences) if joint_valid == 'image' else None
        self.recordings = self._make_recordings(sequences)
        self._kinds = [frames.kinds for frames in sequences.values()]  # of each recording
        # (recording, camera's name, Camera, joints inside its picture or None)
        self.tracks = self._list_tracks(sequences, captures, cameras, visible)
        self.list_clips(len(self.tracks))
        if not len(self):
            raise DatasetError(
                f'split {split!r} of {self.root} has no annotated frame with hand_type={hand_type!r} and joint_valid='
                f'{joint_valid!r} among {len(self.recordings)} sequences; choose other options'
            )

    def annotated(self, track):
        """(T,) bool: which frames of a track have any hand."""
        recording = self._recording(track)
        return (recording.rows >= 0) & recording.joints_valid.any((1, 2))[recording.rows]

    def track_name(self, track):
        """Names a track: capture, sequence and camera."""
        return f'{self.recordings[self.tracks[track][0]].name}/cam{self.tracks[track][1]}'

    def read_frames(self, track, frames):
        """The clip made of the frames `frames` of a track; see `PoseSequences`."""
        _, name, camera, _ = self.tracks[track]
        recording = self._recording(track)
        clip = camera_clip(recording, frames, camera, SIDES, self._hand_model)
        meta = {
            'dataset': 'interhand',
            'cameras': [name],
            'hand_model': self.hand_model_name,
            'split': self.split,
            'hand_types': self._hand_types(track, frames),
        }
        return with_numbers(clip, recording, frames, self._step, self.fps, meta)

    def _hand_types(self, track, frames):
        """What the annotation says of each frame: 'right', 'left', 'interacting', or None where there is none."""
        number = self.tracks[track][0]
        rows, kinds = self.recordings[number].rows[frames], self._kinds[number]
        return [layout.HAND_TYPES[kinds[row]] if row >= 0 else None for row in rows.tolist()]

    def _file(self, name):
        return layout.find_file(self.root, self._prefix, name)

    def _recording(self, track):
        """A track's recording, its joints those that count for its camera."""
        number, _, _, inside = self.tracks[track]
        recording = self.recordings[number]
        if inside is None:
            return recording
        valid = recording.joints_valid & inside
        return replace(recording, joints_valid=valid & valid[..., layout.WRIST : layout.WRIST + 1])

    def _check_rate(self, sequences):
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

    def _make_recordings(self, sequences):
        if self.labels == 'full':
            parameters = layout.read_mano(self._file('MANO_NeuralAnnot'), sequences)
        recordings = []
        for key, frames in sequences.items():
            wanted = np.isin(frames.kinds, [layout.HAND_TYPES.index(kind) for kind in HAND_TYPES[self.hand_type]])
            hands = None
            if self.labels == 'full':
                pose, shape, transl, valid = parameters.pop(key)
                wrist = model_wrist(self._hand_model, shape, transl, SIDES)
                hands = HandParameters(complete_pose(self._hand_model, pose, SIDES), shape, wrist, valid)
                where = f'{self._file("MANO_NeuralAnnot")}, capture {key[0]}, {key[1]}'
                hands = usable_fits(hands, frames.joints, frames.valid, where)
            recordings.append(
                Recording(
                    name=f'Capture{key[0]}/{key[1]}',
                    numbers=frames.numbers,
                    rows=timeline(frames.numbers, self._step),
                    joints=frames.joints,
                    joints_valid=frames.valid & wanted[:, None, None],
                    hands=hands,
                )
            )
        return recordings

    def _list_tracks(self, sequences, captures, cameras, visible):
        """The tracks, by sequence and camera."""
        path, tracks = self._file('camera'), []
        if missing := sorted({key[0] for key in sequences} - set(captures)):
            raise DatasetError(f'{path} has no capture {missing[0]!r}, which joint_3d.json has; unpack both again')
        chosen = dict(zip(captures, choose_cameras(captures.values(), cameras, path), strict=True))
        for number, key in enumerate(sequences):
            used = {name: captures[key[0]][name] for name in chosen[key[0]]}
            check_cameras_see(self.recordings[number], used, f'{path}, {self.recordings[number].name}')
            for name in chosen[key[0]]:
                inside = None if visible is None else visible[key].get(name)
                if visible is None or inside is not None:
                    tracks.append((number, name, captures[key[0]][name], inside))
        return tracks
