"""FPHA (Garcia-Hernando et al., CVPR 2018): a right hand and an action, egocentric; docs/data/action_datasets.md."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from handpose.datasets.base import DatasetError
from handpose.datasets.fpha import layout
from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.io.action_videos import ActionSegment, ActionVideos, SegmentLabels, check_names
from handpose.datasets.io.plausibility import check_view, plausible_joints
from handpose.datasets.io.pose_recordings import Recording
from handpose.registry import DATASETS

TRAINING_SUBJECTS = ('Subject_1', 'Subject_3', 'Subject_4')


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class FPHA(ActionVideos):
    """FPHA's videos: the right hand and the colour camera (H = 1, K = 1), in metres and pixels, OpenCV axes.

    Joints are brought from the depth camera's frame to the colour camera's. Every frame is annotated. The three
    recordings whose skeleton files are empty in the dataset itself are left out, as it says. There are no hand-model
    parameters. All skeleton files of the split are read at opening.

    Args:
        data_root: folder with `data_split_action_recognition.txt`, `Hand_pose_annotation_v1` and `Video_files`.
        split: 'train' or 'test'; or 'val', which FPHA does not have: the training videos of the subjects in
            `held_out`, which 'train' then leaves out.
        protocol: 'actions', the official split of the videos, 600 to 575, which HTT uses for poses too; or 'subjects',
            where subjects 1, 3 and 4 are for training.
        held_out: names of subjects ('Subject_6').
        images: 'Video_files', or 'Video_files_480', a copy at another size. The size is read from the files, and the
            intrinsics follow it.
        on_broken: with 'skip', a video whose skeleton file cannot be read is left out; see `ActionVideos`, as all other
            options.

    Raises:
        DatasetError: a missing root, list or file, an unknown option or subject, an empty split.
    """

    name = 'fpha'
    official_taxonomy = FPHA_ACTIONS
    sides = (1,)
    image_prefix = 'color_'
    fps = layout.FPS
    choices = {
        'split': ('train', 'val', 'test'),
        'protocol': ('actions', 'subjects'),
        'images': layout.IMAGE_FOLDERS,
    }

    protocol: str = 'actions'
    held_out: Sequence[str] = ()
    images: str = 'Video_files'

    @property
    def camera_id(self) -> str:
        """See `ActionVideos.camera_id`."""
        return 'color'

    def list_segments(self) -> list[ActionSegment]:
        """See `ActionVideos.list_segments`."""
        layout.check_root(self.root)
        self._joints: dict[str, tuple[NDArray, NDArray]] = {}
        segments = []
        for number, (recording, action) in enumerate(self._listed(), 1):
            joints = self._read_skeleton(recording)
            if joints is not None:
                self._joints[recording] = joints
                segments.append(ActionSegment(recording, number, action, 0, len(joints[0])))
        return segments

    def image_folder(self, recording: str) -> str:
        """See `ActionVideos.image_folder`."""
        return f'{self.root}/{self.images}/{recording}/color'

    def segment_name(self, segment: ActionSegment) -> str:
        """Names a segment, which is a whole recording: subject, action and repetition."""
        return segment.recording

    def read_segment(self, segment: ActionSegment) -> SegmentLabels:
        """See `ActionVideos.read_segment`."""
        joints, valid = (values[:, None] for values in self._joints[segment.recording])
        rows = np.arange(len(joints))
        recording = Recording(segment.recording, rows, rows, joints, valid)
        return SegmentLabels(recording, layout.COLOUR_CAMERA, layout.COLOUR_SIZE)

    def _listed(self) -> list[tuple[str, int]]:
        """The split's (recording, action), in the order of the list."""
        parts = layout.read_splits(self.root, self.actions)
        if self.protocol == 'subjects':
            together = parts['train'] + parts['test']
            parts = {'train': [], 'test': []}
            for recording, action in together:
                trained = recording.split('/')[0] in TRAINING_SUBJECTS
                parts['train' if trained else 'test'].append((recording, action))
        if self.split == 'test':
            return parts['test']
        subjects = sorted({recording.split('/')[0] for recording, _ in parts['train']})
        check_names('held_out', self.held_out, subjects, 'the training part')
        if self.split == 'val' and not self.held_out:
            raise DatasetError(f'FPHA has no validation split; name subjects to hold out: held_out={subjects[-1:]}')
        if self.split == 'train' and self.held_out and set(self.held_out) == set(subjects):
            raise DatasetError('held_out takes every subject of the training part, so none is left to train on')
        wanted = self.split == 'val'
        return [entry for entry in parts['train'] if (entry[0].split('/')[0] in self.held_out) == wanted]

    def _read_skeleton(self, recording: str) -> tuple[NDArray, NDArray] | None:
        """The joints (N, 21, 3) of a recording and which are valid (N, 21).

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
