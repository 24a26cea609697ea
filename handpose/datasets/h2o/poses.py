"""H2O's poses without its images, from any of its five cameras; docs/data/action_datasets.md."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handpose.datasets.base import DatasetError
from handpose.datasets.h2o import layout
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.io.action_labels import ActionTaxonomy, taxonomy_of
from handpose.datasets.io.action_videos import ActionSegment
from handpose.datasets.io.errors import check_choice
from handpose.datasets.io.plausibility import check_extrinsics, check_view, plausible_joints
from handpose.datasets.io.pose_segments import (
    HandJoints,
    LabelledRecording,
    LabelledSegment,
    PoseSegments,
    object_of,
)
from handpose.files.reading import visible_names
from handpose.registry import DATASETS

FRAMES = ('world', 'camera')


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class H2OPoses(PoseSegments):
    """H2O's hand poses: both hands, metres, without images; the download mode `pose` is enough.

    A recording is read once for each camera, since each has label files of its own. In frame 'world' the motion is that
    of the hands alone, whichever camera saw them, and the cameras differ only where their annotations do. In frame
    'camera' the fixed cameras, 'cam0' to 'cam3', give four views of each motion; the egocentric one, 'cam4', moves with
    the head, and so do the joints in its frame. Poses of a recording are read when first asked for, and kept.

    The lists of segments are those of `H2O`, whose test list has no actions (-1). Untrimmed recordings are read from
    the first to the last frame that has a file.

    Args:
        data_root: folder with `label_split` and `subject1` to `subject4`.
        split: 'train', 'val' or 'test'.
        cameras: which of 'cam0' to 'cam4'.
        frame: 'world', by the camera's pose in every frame (`cam_pose`), or 'camera', that of each camera.
        segments: 'trimmed' actions or 'untrimmed' recordings; see `PoseSegments`.
        on_broken: with 'skip', a frame whose label file is missing or cannot be read has no hands; see `PoseSegments`,
            as all other options.

    Raises:
        DatasetError: a missing root, list, camera or file, cameras that are no rigid motion, an unknown option.
    """

    name = 'h2o'
    choices = {**PoseSegments.choices, 'split': layout.SPLITS, 'frame': FRAMES}

    cameras: Sequence[str] = (layout.EGOCENTRIC,)
    frame: str = 'world'

    @property
    def coordinate_frame(self) -> str:
        """See `PoseSegments`."""
        return self.frame

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy:
        """See `VideoDataset.configured_taxonomy`."""
        return taxonomy_of(config.get('taxonomy'), H2O_ACTIONS)

    def list_recordings(self) -> list[LabelledRecording]:
        """See `PoseSegments.list_recordings`; looks for every label file."""
        if isinstance(self.cameras, str) or not self.cameras:
            raise DatasetError(f'cameras must be a list of {", ".join(layout.CAMERAS)}, got {self.cameras!r}')
        for camera in self.cameras:
            check_choice('cameras', camera, layout.CAMERAS)
        layout.check_root(self.root)
        actions = self.configured_taxonomy({'taxonomy': self.taxonomy})
        by_recording: dict[str, list[ActionSegment]] = defaultdict(list)
        path = self.root / layout.LIST_FOLDER / f'action_{self.split}.txt'
        for segment in layout.read_segments(path, actions):
            by_recording[segment.recording].append(segment)
        recordings: list[LabelledRecording] = []
        missing: list[str] = []
        for recording, segments in by_recording.items():
            for camera in self.cameras:
                found, lost = self._recording(recording, camera, segments, actions)
                recordings.append(found)
                missing += lost
        self.leave_out(missing, 'missing label files')
        return recordings

    def read_recording(self, recording: LabelledRecording) -> HandJoints:
        """See `PoseSegments.read_recording`."""
        folder, numbers = recording.source, recording.first_number + np.flatnonzero(recording.annotated)
        joints, valid = np.zeros((len(numbers), 2, 21, 3)), np.zeros((len(numbers), 2), bool)
        poses = np.tile(np.eye(4), (len(numbers), 1, 1))
        for row, number in enumerate(numbers.tolist()):
            try:
                joints[row], valid[row] = layout.read_joints(folder / 'hand_pose' / f'{number:06d}.txt')
                if self.frame == 'world':
                    poses[row] = layout.read_camera_pose(folder / 'cam_pose' / f'{number:06d}.txt')
            except DatasetError as error:
                self.report_broken(error)
                valid[row] = False
        joints_valid = plausible_joints(joints, np.repeat(valid[..., None], 21, -1), folder / 'hand_pose')
        check_view(joints[joints_valid[..., 0], 0], folder / 'hand_pose')
        if self.frame == 'world':
            check_extrinsics(poses, folder / 'cam_pose')
            joints = joints @ poses[:, None, :3, :3].swapaxes(-1, -2) + poses[:, None, None, :3, 3]
        placed = np.zeros((len(recording.annotated), 2, 21, 3), np.float32)
        placed_valid = np.zeros(placed.shape[:3], bool)
        placed[recording.annotated], placed_valid[recording.annotated] = joints, joints_valid
        return HandJoints(placed, placed_valid)

    def _recording(
        self, recording: str, camera: str, segments: list[ActionSegment], actions: ActionTaxonomy
    ) -> tuple[LabelledRecording, list[str]]:
        """A recording as one camera sees it, and a message for each frame of its actions that has no label file."""
        folder = self.root / recording / camera
        if not (folder / 'hand_pose').is_dir():
            raise DatasetError(
                f'{folder} has no folder hand_pose; unpack this camera of H2O (download mode `pose` or `all`), or '
                f'leave it out by the option cameras'
            )
        present = numbered_files(folder / 'hand_pose')
        first = min([*present, *(segment.first for segment in segments)])
        stop = max([number + 1 for number in present] + [segment.stop for segment in segments])
        annotated = np.zeros(stop - first, bool)
        annotated[np.array(sorted(present), int) - first] = True
        missing = [
            f'{folder}/hand_pose has no file of frame {number}, in which segment {segment.number} is annotated'
            for segment in segments
            for number in range(segment.first, segment.stop)
            if not annotated[number - first]
        ]
        labelled = [
            LabelledSegment(s.number, s.action, object_of(actions, s.action), s.first - first, s.stop - first)
            for s in segments
        ]
        return LabelledRecording(
            name=f'{recording}/{camera}',
            annotated=annotated,
            fps=layout.FPS,
            segments=labelled,
            cameras=(camera,),
            first_number=first,
            meta={'recording': recording, 'subject': recording.split('/')[0]},
            source=folder,
        ), missing


def numbered_files(folder: Path) -> set[int]:
    """The numbers of the files `<number>.txt` in a folder."""
    stems = (name.removesuffix('.txt') for name in visible_names(folder) if name.endswith('.txt'))
    return {int(stem) for stem in stems if stem.isdigit()}
