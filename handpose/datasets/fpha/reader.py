"""FPHA (Garcia-Hernando et al., CVPR 2018): a right hand and an action, egocentric; docs/action_datasets.md."""

import logging
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from handpose.datasets.base import DatasetError, check_choice
from handpose.datasets.fpha import layout as layout
from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.io.action_labels import taxonomy_of
from handpose.datasets.io.action_videos import ActionVideos, Segment, VideoLabels, check_names
from handpose.datasets.io.plausibility import check_view, plausible_joints
from handpose.datasets.io.pose_recordings import Recording
from handpose.registry import DATASETS

TRAINING_SUBJECTS = ('Subject_1', 'Subject_3', 'Subject_4')


@DATASETS.register_module()
class FPHA(ActionVideos):
    """FPHA's videos as clips of the right hand and the colour camera (H = 1, K = 1), in metres and pixels, OpenCV axes.

    Joints are brought from the depth camera's frame to the colour camera's. Every frame is annotated. The three
    recordings whose skeleton files are empty in the data set itself are left out, as it says. There are no hand-model
    parameters. All skeleton files of the split are read at opening.

    Args:
        data_root: folder with `data_split_action_recognition.txt`, `Hand_pose_annotation_v1` and `Video_files`.
        split: 'train' or 'test'; or 'val', which FPHA does not have: the training videos of the subjects in
            `held_out`, which 'train' then leaves out.
        protocol: 'actions', the official split of the videos, 600 to 575, which HTT uses for poses too; or 'subjects',
            where subjects 1, 3 and 4 are for training.
        held_out: names of subjects ('Subject_6').
        pictures: 'Video_files', or 'Video_files_480', a copy at another size. The size is read from the files, and
            the intrinsics follow it.
        taxonomy: None, FPHA's actions; or the path of a YAML list of own ones, see `read_taxonomy`.
        mode, num_frames, spacing, window, clip_stride, starts, packed: as in `ActionVideos`.
        pipeline, seed: as in `VideoDataset`.
        on_broken: 'error', or 'skip': see `ActionVideos`; a video whose skeleton file cannot be read is then left out.

    Raises:
        DatasetError: a missing root, list or file, an unknown option or subject, an empty split.
    """

    sides = (1,)
    picture_prefix = 'color_'

    def __init__(
        self,
        data_root,
        split='train',
        protocol='actions',
        held_out=(),
        pictures='Video_files',
        taxonomy=None,
        mode='clips',
        num_frames=128,
        spacing=2,
        window=16,
        clip_stride=1,
        starts='all',
        packed=None,
        pipeline=(),
        seed=0,
        on_broken='error',
    ):
        for name, value, choices in (
            ('split', split, ('train', 'val', 'test')),
            ('protocol', protocol, ('actions', 'subjects')),
            ('pictures', pictures, layout.PICTURES),
        ):
            check_choice(name, value, choices)
        super().__init__(
            taxonomy=taxonomy_of(taxonomy, FPHA_ACTIONS),
            mode=mode,
            num_frames=num_frames,
            spacing=spacing,
            window=window,
            clip_stride=clip_stride,
            starts=starts,
            packed=packed,
            pipeline=pipeline,
            seed=seed,
            on_broken=on_broken,
        )
        layout.check_root(data_root)
        self.root, self.split, self.pictures = Path(data_root), split, pictures
        self._joints = {}
        for number, (recording, action) in enumerate(self._listed(protocol, held_out), 1):
            joints = self._read_skeleton(recording)
            if joints is not None:
                self._joints[recording] = joints
                self.segments.append(Segment(recording, number, action, 0, len(joints[0])))
        self.list_samples()

    def picture_folder(self, recording):
        """See `ActionVideos.picture_folder`."""
        return f'{self.root}/{self.pictures}/{recording}/color'

    def video_name(self, segment):
        """Names a segment, which is a whole recording: subject, action and repetition."""
        return segment.recording

    def meta(self, segment):
        """See `ActionVideos.meta`."""
        return {
            'dataset': 'fpha',
            'cameras': ['color'],
            'fps': layout.FPS,
            'hand_model': None,
            'subject': segment.recording.split('/')[0],
        }

    def read_labels(self, segment, index):
        """See `ActionVideos.read_labels`."""
        joints, valid = (values[:, None] for values in self._joints[segment.recording])
        rows = np.arange(len(joints))
        recording = Recording(segment.recording, rows, rows, joints, valid)
        return VideoLabels(recording, layout.COLOUR_CAMERA, layout.COLOUR_SIZE)

    def _listed(self, protocol, held_out):
        """The split's (recording, action), in the order of the list."""
        parts = layout.read_splits(self.root, self.taxonomy)
        if protocol == 'subjects':
            together = parts['train'] + parts['test']
            parts = {'train': [], 'test': []}
            for recording, action in together:
                trained = recording.split('/')[0] in TRAINING_SUBJECTS
                parts['train' if trained else 'test'].append((recording, action))
        if self.split == 'test':
            return parts['test']
        subjects = sorted({recording.split('/')[0] for recording, _ in parts['train']})
        check_names('held_out', held_out, subjects, 'the training part')
        if self.split == 'val' and not held_out:
            raise DatasetError(f'FPHA has no validation split; name subjects to hold out: held_out={subjects[-1:]}')
        if self.split == 'train' and held_out and set(held_out) == set(subjects):
            raise DatasetError('held_out takes every subject of the training part, so none is left to train on')
        wanted = self.split == 'val'
        return [entry for entry in parts['train'] if (entry[0].split('/')[0] in held_out) == wanted]

    def _read_skeleton(self, recording):
        """The joints (V, 21, 3) of a recording and which are valid (V, 21).

        None for the recordings known to be empty, and for broken ones under 'skip'.
        """
        path = layout.skeleton_folder(self.root) / recording / 'skeleton.txt'
        try:
            joints = layout.read_skeleton(path)
            valid = plausible_joints(joints, np.ones(joints.shape[:2], bool), path, 'millimetres')
            check_view(joints[valid[:, 0], 0], path)
            return np.where(valid[..., None], joints, np.float32(0)), valid
        except DatasetError as error:
            known_empty = recording in layout.EMPTY and isinstance(error, layout.EmptyFile)
            if self.on_broken == 'error' and not known_empty:
                raise
            self._left_out.append(str(error))
            print_log(f'Skipped: {error}', logger='current', level=logging.WARNING)
        return None
