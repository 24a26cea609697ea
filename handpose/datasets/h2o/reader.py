"""H2O (Kwon et al., ICCV 2021): two hands, an object and an action, seen from the head.

docs/data/action_datasets.md describes it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.base import DatasetError
from handpose.datasets.h2o import layout
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.h2o.poses import H2OPoses
from handpose.datasets.io.action_videos import ActionSegment, ActionVideos, SegmentLabels
from handpose.datasets.io.hand_models import HandModelOptions, read_hand_model_name
from handpose.datasets.io.plausibility import check_intrinsics, check_view, plausible_joints
from handpose.datasets.io.pose_recordings import RecordedHands, Recording, model_wrist, usable_fits
from handpose.registry import DATASETS

__all__ = ['H2O', 'H2OPoses']


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class H2O(HandModelOptions, ActionVideos):
    """H2O's action segments: both hands and one camera (H = 2, K = 1), in metres and pixels, OpenCV axes.

    A hand whose flag in the files is 0 is absent: its masks are False. The official test list has no actions, so
    `action_label` and `verb_label` are -1 there, and `object_label` too unless `objects='obj_pose'`. Labels of a
    segment are read when one of its samples is first asked for, and kept.

    Args:
        data_root: folder with `label_split` and `subject1` to `subject4`.
        split: 'train', 'val' or 'test': the list `label_split/action_<split>.txt`.
        camera: 'cam4', the egocentric one, or 'cam0' to 'cam3', which stand still.
        images: the folder of images in a camera's folder: 'rgb', 'rgb256' or 'rgb480_270', PNG or JPEG. Their size is
            read from the files, and the intrinsics follow it.
        objects: where `object_label` comes from: 'action', the noun of the action in every frame, as published with
            HTT; or 'obj_pose', the files that say it frame by frame.
        labels: 'joints_only', or 'full': MANO's parameters too; see `HandModelOptions`, as `hand_model`.
        on_broken: with 'skip', a label file that is missing or cannot be read leaves its frame without hands; see
            `ActionVideos`, as all other options.

    Raises:
        DatasetError: a missing root, list or file, another hand model, an unknown option.
    """

    name = 'h2o'
    official_taxonomy = H2O_ACTIONS
    choices = {
        'split': layout.SPLITS,
        'camera': layout.CAMERAS,
        'images': layout.IMAGE_FOLDERS,
        'objects': ('action', 'obj_pose'),
    }

    labels: str = 'joints_only'
    camera: str = layout.EGOCENTRIC
    images: str = 'rgb'
    objects: str = 'action'

    def list_segments(self) -> list[ActionSegment]:
        """See `ActionVideos.list_segments`."""
        layout.check_root(self.root)
        self.open_hand_model(read_hand_model_name(self.root), self.root)
        return layout.read_segments(self.root / layout.LIST_FOLDER / f'action_{self.split}.txt', self.actions)

    @property
    def camera_id(self) -> str:
        """See `ActionVideos`."""
        return self.camera

    def image_folder(self, recording: str) -> str:
        """See `ActionVideos.image_folder`."""
        return f'{self.root}/{recording}/{self.camera}/{self.images}'

    def read_segment(self, segment: ActionSegment) -> SegmentLabels:
        """See `ActionVideos.read_segment`."""
        folder, numbers = self.root / segment.recording / self.camera, np.arange(segment.first, segment.stop)
        matrix, size = layout.read_camera(folder)
        joints, valid = self._read(folder / 'hand_pose', numbers, layout.read_joints, layout.NO_JOINTS)
        check_intrinsics(matrix, folder / layout.CAMERA_FILE, size)
        joints_valid = plausible_joints(joints, np.repeat(valid[..., None], 21, -1), folder / 'hand_pose')
        check_view(joints[joints_valid[..., 0], 0], folder / 'hand_pose')
        hands = objects = None
        if self.model is not None:
            where = layout.mano_folder(folder)
            pose, shape, transl, fitted = self._read(where, numbers, layout.read_mano, layout.NO_MANO)
            hands = RecordedHands(pose, shape, model_wrist(self.model, shape, transl, self.sides), fitted)
            hands = usable_fits(hands, joints, joints_valid, where)
        if self.objects == 'obj_pose':
            read = functools.partial(layout.read_object, count=len(self.actions.objects))
            (objects,) = self._read(folder / 'obj_pose', numbers, read, layout.NO_OBJECT)
        rows, name = np.arange(len(numbers)), self.segment_name(segment)
        recording = Recording(name, numbers, rows, joints.astype(np.float32), joints_valid, hands)
        return SegmentLabels(recording, matrix, size, objects, self.model, self.hand_model_name)

    def _read(self, folder: Path, numbers: NDArray, read: Callable[[str], Any], absent: Any) -> list[NDArray]:
        """What `read` finds in the files of frames (N,), as arrays (N, ...); `absent` where on_broken='skip' must."""
        rows = []
        for number in numbers.tolist():
            try:
                rows.append(read(f'{folder}/{number:06d}.txt'))
            except DatasetError as error:
                self.report_broken(error)
                rows.append(absent)
        return [np.stack(column) for column in zip(*rows, strict=True)]
