"""Recorded hands of a motion file as clips or tracks of poses, as one camera would see them; no pictures.

Legend: T frames, J0 the wrist of the hand model at rest.
"""

from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handpose.datasets.base import DatasetError, check_choice, hand_model_of
from handpose.datasets.dexycb.splits import SETUPS, SPLITS, in_split
from handpose.datasets.io.pose_sequences import PoseSequences
from handpose.datasets.motion.motion_file import read_motion
from handpose.geometry.rigid import transform_points
from handpose.registry import DATASETS, did_you_mean
from handpose.structures import HandSequence

WORLD = 'world'  # the camera of a file that has none


@DATASETS.register_module()
class MotionClips(PoseSequences):
    """A motion file (docs/motion_file.md) as clips or tracks of one hand and one camera (H = 1, K = 1), camera frame.

    A track is a sequence seen by a camera. A file without cameras gives one track a sequence, and its world is taken as
    the camera. Frames without a hand are masked out.

    Args:
        motion: the file.
        setup: 's0' to 's3' as published for DexYCB, by subject and position among the subject's sequences
            (`RecordedMotion.position_of`), or 'all': every sequence and camera, whatever the split.
        split: 'train', 'val' or 'test'.
        cameras: serials to keep, default all.
        labels: 'full', or 'joints_only': no hand-model parameters.
        hand_model: the `HandModel` of the file's parameters, or its config; default ProceduralHand. Only for 'full'.
        mode, num_frames, clip_stride, pipeline, seed: as in `PoseSequences`.

    Raises:
        DatasetError: a file, camera or option that is not as it should be, a file without hand parameters when the
            labels are 'full', or an empty split.
    """

    def __init__(
        self,
        motion,
        setup='s0',
        split='train',
        cameras=None,
        labels='full',
        hand_model=None,
        mode='clips',
        num_frames=27,
        clip_stride=9,
        pipeline=(),
        seed=0,
    ):
        for name, value, choices in (
            ('setup', setup, SETUPS),
            ('split', split, SPLITS),
            ('labels', labels, ('full', 'joints_only')),
        ):
            check_choice(name, value, choices)
        super().__init__(mode=mode, num_frames=num_frames, clip_stride=clip_stride, pipeline=pipeline, seed=seed)
        self.path, self.labels = Path(motion), labels
        self.motion = read_motion(motion)
        self._tracks = self._split_tracks(setup, split, self._chosen_cameras(cameras))
        if not self._tracks:
            raise DatasetError(
                f'split {split!r} of setup {setup!r} has none of the {len(self.motion.sequence_names)} sequences in '
                f"{motion}; choose another split, or setup='all'"
            )
        self._rest_wrists = self._wrists_at_rest(hand_model) if labels == 'full' else None
        self.list_clips(len(self._tracks))

    def annotated(self, track):
        """See `PoseSequences`."""
        return self.motion.frame_valid[self.motion.frames_of(self._tracks[track][0])]

    def track_name(self, track):
        """See `PoseSequences`."""
        sequence, camera = self._tracks[track]
        return f'{self.motion.sequence_names[sequence]} camera {self._serials[camera]}'

    def read_frames(self, track, frames):
        """See `PoseSequences`."""
        sequence, camera = self._tracks[track]
        motion, start = self.motion, self.motion.frames_of(sequence).start
        rows = start + frames
        valid = torch.from_numpy(motion.frame_valid[rows])
        matrix = torch.eye(4, dtype=torch.float64)
        camera_fields = {}
        if motion.camera_serials is not None:
            matrix = torch.from_numpy(np.asarray(motion.camera_extrinsics[sequence, camera], np.float64))
            intrinsics = torch.from_numpy(np.asarray(motion.camera_intrinsics[camera], np.float32))
            camera_fields = {'intrinsics': intrinsics.expand(len(rows), 1, 3, 3).clone()}
        joints = torch.from_numpy(motion.joints[rows].astype(np.float64))
        joints = transform_points(torch.where(valid[:, None, None], joints, 0), matrix).float()
        return HandSequence(
            meta={
                'dataset': type(self).__name__,
                'sequence': motion.sequence_names[sequence],
                'cameras': [self._serials[camera]],
                'frame_indices': frames.tolist(),
                'fps': motion.fps,
                'hand_model': motion.hand_model if self.labels == 'full' else None,
            },
            frame='camera',
            frame_valid=torch.ones(len(rows), dtype=torch.bool),
            timestamps=torch.from_numpy(frames / motion.fps),
            hand_side=torch.tensor([int(motion.hand_side[sequence])]),
            hand_valid=valid[:, None],
            extrinsics=torch.eye(4).expand(len(rows), 1, 4, 4).clone(),
            joints_3d=torch.where(valid[:, None, None], joints, 0)[:, None],
            joints_valid=valid[:, None, None].expand(-1, 1, 21).clone(),
            **camera_fields,
            **self._hand_fields(sequence, rows, valid, matrix),
        )

    def _hand_fields(self, sequence, rows, valid, matrix):
        """The hand-model parameters moved from the world to the camera by `matrix` (4, 4) float64."""
        if self._rest_wrists is None:
            return {}
        motion = self.motion
        pose, transl = (torch.from_numpy(v[rows].astype(np.float64)) for v in (motion.hand_pose, motion.hand_transl))
        pose = torch.where(valid[:, None, None], pose, 0)
        turned = Rotation.from_matrix(matrix[:3, :3].numpy()) * Rotation.from_rotvec(pose[:, 0].numpy())
        pose[:, 0] = torch.where(valid[:, None], torch.from_numpy(turned.as_rotvec()), 0)
        # The model turns about its own wrist J0, so R (transl + J0) + t - J0 is its translation in the camera.
        rest = self._rest_wrists[sequence]
        transl = torch.where(valid[:, None], transform_points(transl + rest, matrix) - rest, 0)
        return {
            'hand_pose': pose.float()[:, None],
            'hand_shape': torch.from_numpy(self.motion.hand_shape[sequence].astype(np.float32))[None],
            'hand_transl': transl.float()[:, None],
            'hand_pose_valid': valid[:, None],
        }

    def _chosen_cameras(self, cameras):
        """Numbers of the wanted cameras; sets the serials."""
        known = self.motion.camera_serials
        self._serials = [WORLD] if known is None else known
        for serial in cameras or ():
            if serial not in self._serials:
                raise DatasetError(
                    f'{self.path} has no camera {serial!r} (it has: {", ".join(known or ["none"])}).'
                    f'{did_you_mean(serial, self._serials)}'
                )
        return [number for number, serial in enumerate(self._serials) if not cameras or serial in cameras]

    def _split_tracks(self, setup, split, cameras):
        """[(sequence, camera)] of the split."""
        tracks = []
        for sequence in range(len(self.motion.sequence_names)):
            subject, position = self.motion.position_of(sequence)
            tracks += [(sequence, c) for c in cameras if in_split(setup, split, subject, position, c)]
        return tracks

    def _wrists_at_rest(self, hand_model):
        """J0 (S, 3) float64 of every sequence's hand."""
        motion = self.motion
        if motion.hand_model is None:
            raise DatasetError(
                f"{self.path} has no hand-model parameters, which labels='full' needs: run "
                f"handpose fit-motion {self.path} -o FITTED.npz, or use labels='joints_only'"
            )
        model = hand_model_of(motion.hand_model, hand_model, self.path)
        with torch.no_grad():
            shape = torch.from_numpy(np.asarray(motion.hand_shape, np.float32))
            return model.rest_wrist(shape, torch.from_numpy(motion.hand_side)).double()
