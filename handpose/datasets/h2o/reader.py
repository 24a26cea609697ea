"""H2O (Kwon et al., ICCV 2021): two hands, an object and an action, seen from the head; docs/action_datasets.md."""

import functools
from pathlib import Path

import numpy as np

from handpose.datasets.base import DatasetError, check_choice, hand_model_of
from handpose.datasets.dexycb.layout import read_hand_model_name
from handpose.datasets.h2o import layout as layout
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.io.action_labels import taxonomy_of
from handpose.datasets.io.action_videos import ActionVideos, VideoLabels
from handpose.datasets.io.plausibility import check_intrinsics, check_view, plausible_joints
from handpose.datasets.io.pose_recordings import HandParameters, Recording, model_wrist, usable_fits
from handpose.registry import DATASETS


@DATASETS.register_module()
class H2O(ActionVideos):
    """H2O's action segments as clips of both hands and one camera (H = 2, K = 1), in metres and pixels, OpenCV axes.

    A hand whose flag in the files is 0 is absent: its masks are False. The official test list has no actions, so
    `action_label` and `verb_label` are -1 there, and `object_label` too unless `objects='obj_pose'`. Labels of a
    segment are read when one of its clips is first asked for, and kept.

    Args:
        data_root: folder with `label_split` and `subject1` to `subject4`.
        split: 'train', 'val' or 'test': the list `label_split/action_<split>.txt`.
        camera: 'cam4', the egocentric one, or 'cam0' to 'cam3', which stand still.
        pictures: the folder of pictures in a camera's folder: 'rgb', 'rgb256' or 'rgb480_270', PNG or JPEG. Their size
            is read from the files, and the intrinsics follow it.
        objects: where `object_label` comes from: 'action', the noun of the action in every frame, as published with
            HTT; or 'obj_pose', the files that say it frame by frame.
        labels: 'joints_only', or 'full': MANO's parameters too.
        hand_model: for `labels='full'`, the `HandModel` of the labels, or its config; default ProceduralHand. Must be
            the one that the data was made with (`<data_root>/hand_model.yml`; 'mano' where there is no such file).
        taxonomy: None, H2O's actions; or the path of a YAML list of own ones, see `read_taxonomy`.
        mode, num_frames, spacing, window, clip_stride, starts, packed: as in `ActionVideos`.
        pipeline, seed: as in `VideoDataset`.
        on_broken: 'error', or 'skip': see `ActionVideos`; a label file that is missing or cannot be read then leaves
            its frame without hands.

    Raises:
        DatasetError: a missing root, list or file, another hand model, an unknown option.
    """

    def __init__(
        self,
        data_root,
        split='train',
        camera='cam4',
        pictures='rgb',
        objects='action',
        labels='joints_only',
        hand_model=None,
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
            ('split', split, layout.SPLITS),
            ('camera', camera, layout.CAMERAS),
            ('pictures', pictures, layout.PICTURES),
            ('objects', objects, ('action', 'obj_pose')),
            ('labels', labels, ('joints_only', 'full')),
        ):
            check_choice(name, value, choices)
        super().__init__(
            taxonomy=taxonomy_of(taxonomy, H2O_ACTIONS),
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
        self.root, self.split, self.camera, self.pictures = Path(data_root), split, camera, pictures
        self.objects, self.labels = objects, labels
        self.hand_model_name = read_hand_model_name(self.root)
        if labels == 'full':
            self.hand_model = hand_model_of(self.hand_model_name, hand_model, self.root)
        self.segments = layout.read_segments(self.root / layout.LIST_FOLDER / f'action_{split}.txt', self.taxonomy)
        self.list_samples()

    def picture_folder(self, recording):
        """See `ActionVideos.picture_folder`."""
        return f'{self.root}/{recording}/{self.camera}/{self.pictures}'

    def video_name(self, segment):
        """Names a segment: recording, first and last frame."""
        return f'{segment.recording}/{segment.first:06d}-{segment.stop - 1:06d}'

    def meta(self, segment):
        """See `ActionVideos.meta`."""
        return {
            'dataset': 'h2o',
            'cameras': [self.camera],
            'fps': layout.FPS,
            'hand_model': self.hand_model_name,
            'subject': segment.recording.split('/')[0],
        }

    def read_labels(self, segment, index):
        """See `ActionVideos.read_labels`."""
        folder, numbers = self.root / segment.recording / self.camera, np.arange(segment.first, segment.stop)
        matrix, size = layout.read_camera(folder)
        joints, valid = self._read(folder / 'hand_pose', numbers, layout.read_joints, layout.NO_JOINTS, index)
        check_intrinsics(matrix, folder / layout.CAMERA_FILE, size)
        joints_valid = plausible_joints(joints, np.repeat(valid[..., None], 21, -1), folder / 'hand_pose')
        check_view(joints[joints_valid[..., 0], 0], folder / 'hand_pose')
        hands = objects = None
        if self.labels == 'full':
            place = layout.mano_folder(folder)
            pose, shape, transl, fitted = self._read(place, numbers, layout.read_mano, layout.NO_MANO, index)
            hands = HandParameters(pose, shape, model_wrist(self.hand_model, shape, transl, self.sides), fitted)
            hands = usable_fits(hands, joints, joints_valid, place)
        if self.objects == 'obj_pose':
            count = len(self.taxonomy.objects)
            read = functools.partial(layout.read_object, count=count)
            (objects,) = self._read(folder / 'obj_pose', numbers, read, layout.NO_OBJECT, index)
        name = self.video_name(segment)
        recording = Recording(name, numbers, np.arange(len(numbers)), joints.astype(np.float32), joints_valid, hands)
        return VideoLabels(recording, matrix, size, objects)

    def _read(self, folder, numbers, read, absent, index):
        """What `read` finds in the files of frames (V,), as arrays (V, ...); `absent` where on_broken='skip' must."""
        rows = []
        for number in numbers.tolist():
            try:
                rows.append(read(f'{folder}/{number:06d}.txt'))
            except DatasetError as error:
                if self.on_broken == 'error':
                    raise
                self._report(index, error)
                rows.append(absent)
        return [np.stack(column) for column in zip(*rows, strict=True)]
