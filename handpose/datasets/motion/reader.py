"""Recorded hands of a motion file as one camera would see them; no images.

Legend: N frames of a sequence, T frames of a sample, J0 the wrist of the hand model at rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.datasets.base import DatasetError, Track, VideoDataset
from handpose.datasets.dexycb.splits import SETUPS, SPLITS, in_split
from handpose.datasets.io.hand_models import HandModelOptions
from handpose.datasets.motion.motion_file import read_motion
from handpose.datasets.sampling import Frames
from handpose.geometry.rigid import transform_points
from handpose.registry import DATASETS
from handpose.structures import HandSequence
from handpose.text import did_you_mean

WORLD = 'world'  # the camera of a file that has none


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class MotionClips(HandModelOptions, VideoDataset):
    """A motion file (docs/data/motion_file.md): one hand and one camera (H = 1, K = 1), camera frame, without images.

    A track is a sequence seen by a camera. A file without cameras gives one track a sequence, and its world is taken as
    the camera. Frames without a hand are masked out.

    Args:
        data_root: the motion file.
        split: 'train', 'val' or 'test'.
        setup: 's0' to 's3' as published for DexYCB, by subject and position among the subject's sequences
            (`RecordedMotion.position_of`), or 'all': every sequence and camera, whatever the split.
        cameras: serials to keep, default all.
        labels: see `HandModelOptions`, as `hand_model`.
        sampling: see `VideoDataset`, as all other options.

    Raises:
        DatasetError: a file, camera or option that is not as it should be, a file without hand parameters when the
            labels are 'full', or an empty split.
    """

    name = 'MotionClips'
    choices = {'setup': SETUPS, 'split': SPLITS}

    setup: str = 's0'
    cameras: Sequence[str] | None = None

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`."""
        self.motion = motion = read_motion(self.root)
        self._open_labels()
        serials = [WORLD] if motion.camera_serials is None else motion.camera_serials
        for serial in self.cameras or ():
            if serial not in serials:
                raise DatasetError(
                    f'{self.root} has no camera {serial!r} (it has: {", ".join(motion.camera_serials or ["none"])}).'
                    f'{did_you_mean(serial, serials)}'
                )
        places = motion.positions()
        return [
            Track(
                name=f'{name} camera {serial}',
                sequence=name,
                cameras=(serial,),
                fps=motion.fps,
                annotated=motion.frame_valid[motion.frames_of(number)],
                source=(number, camera),
            )
            for number, name in enumerate(motion.sequence_names)
            for camera, serial in enumerate(serials)
            if (not self.cameras or serial in self.cameras)
            and in_split(self.setup, self.split, *places[number], camera=camera)
        ]

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        return (
            f'split {self.split!r} of setup {self.setup!r} has none of the {len(self.motion.sequence_names)} sequences '
            f"in {self.root}; choose another split, or setup='all'"
        )

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        sequence, camera = track.source
        motion = self.motion
        rows = motion.frames_of(sequence).start + frames
        valid = torch.from_numpy(motion.frame_valid[rows])
        matrix = torch.eye(4, dtype=torch.float64)
        fields: dict[str, Any] = {}
        if motion.camera_extrinsics is not None and motion.camera_intrinsics is not None:
            matrix = torch.from_numpy(np.asarray(motion.camera_extrinsics[sequence, camera], np.float64))
            intrinsics = torch.from_numpy(np.asarray(motion.camera_intrinsics[camera], np.float32))
            fields = {'intrinsics': intrinsics.expand(len(rows), 1, 3, 3).clone()}
        joints = torch.from_numpy(motion.joints[rows].astype(np.float64))
        joints = transform_points(torch.where(valid[:, None, None], joints, 0), matrix).float()
        return HandSequence(
            meta={'hand_model': None if self.model is None else motion.hand_model},
            hand_side=torch.tensor([int(motion.hand_side[sequence])]),
            hand_valid=valid[:, None],
            extrinsics=torch.eye(4).expand(len(rows), 1, 4, 4).clone(),
            joints_3d=torch.where(valid[:, None, None], joints, 0)[:, None],
            joints_valid=valid[:, None, None].expand(-1, 1, 21).clone(),
            **fields,
            **self._hand_fields(sequence, rows, valid, matrix),
        )

    def _hand_fields(self, sequence: int, rows: NDArray, valid: Tensor, matrix: Tensor) -> dict[str, Any]:
        """The hand-model parameters moved from the world to the camera by `matrix` (4, 4) float64."""
        from scipy.spatial.transform import Rotation  # loaded here: scipy takes long to import

        if self._rest_wrists is None:
            return {}
        motion = self.motion
        assert motion.hand_pose is not None and motion.hand_transl is not None and motion.hand_shape is not None
        pose, transl = (torch.from_numpy(v[rows].astype(np.float64)) for v in (motion.hand_pose, motion.hand_transl))
        pose = torch.where(valid[:, None, None], pose, 0)
        rotated = Rotation.from_matrix(matrix[:3, :3].numpy()) * Rotation.from_rotvec(pose[:, 0].numpy())
        pose[:, 0] = torch.where(valid[:, None], torch.from_numpy(rotated.as_rotvec()), 0)
        # The model turns about its own wrist J0, so R (transl + J0) + t - J0 is its translation in the camera.
        rest = self._rest_wrists[sequence]
        transl = torch.where(valid[:, None], transform_points(transl + rest, matrix) - rest, 0)
        return {
            'hand_pose': pose.float()[:, None],
            'hand_shape': torch.from_numpy(motion.hand_shape[sequence].astype(np.float32))[None],
            'hand_transl': transl.float()[:, None],
            'hand_pose_valid': valid[:, None],
        }

    def _open_labels(self) -> None:
        """Builds the hand model of the file's parameters and its wrists at rest, J0 (S, 3) float64 of all sequences."""
        motion, self._rest_wrists = self.motion, None
        if self.labels == 'full' and motion.hand_model is None:
            raise DatasetError(
                f"{self.root} has no hand-model parameters, which labels='full' needs: run "
                f"handpose fit-motion {self.root} -o FITTED.npz, or use labels='joints_only'"
            )
        self.open_hand_model(motion.hand_model, self.root)
        if self.model is not None:
            with torch.no_grad():
                shape = torch.from_numpy(np.asarray(motion.hand_shape, np.float32))
                self._rest_wrists = self.model.rest_wrist(shape, torch.from_numpy(motion.hand_side)).double()
