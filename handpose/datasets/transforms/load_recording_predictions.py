"""Fills the input of a clip from the predictions files of whole recordings, such as an estimator's poses of actions.

Legend: T frames of the clip, H hands of the clip, P frames of a file.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.io.errors import DatasetError, check_choice
from handpose.datasets.transforms.estimator_noise import fill_gaps
from handpose.datasets.transforms.load_predictions import predictions_path
from handpose.datasets.transforms.motion_augmentation import AUGMENTED
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence, Predictions, load_predictions

WRISTS = ('predicted', 'true', 'none')
AXES = ('clip', 'camera')
WRIST = 0
_load = lru_cache(maxsize=512)(load_predictions)


class _Estimates(NamedTuple):
    """What one file says about the hands of a clip.

    Attributes:
        joints: (T, H, 21, 3) metres; anything where not valid.
        valid: (T, H, 21) bool.
        confidence: (T, H, 21), 0 where not valid.
    """

    joints: NDArray[np.float64]
    valid: NDArray[np.bool_]
    confidence: NDArray[np.float64]


@TRANSFORMS.register_module()
class LoadRecordingPredictions:
    """Fills `input_joints_3d`, `input_valid` and `input_confidence` from `<folder>/<recording>.npz`.

    The files are predictions files (docs/data/predictions_file.md) of whole recordings, of any estimator; the name is
    that of the recording (`meta['recording']`, else `meta['sequence']`), in which '/' becomes '_'. A clip, such as an
    action of a recording, gets its part of the file. Frames are matched by time, that of `timestamps` of the dataset's
    clips (frame number / frame rate): the nearest one within half a frame period. Hands are matched by their side.
    Where the estimator found no hand, or gave no frame at all, the hand has no input. Joints that the estimator does
    not give are filled from the nearest frames, or by the wrist where it never gives them, with a confidence of 0.

    Predictions in a camera are moved to a clip in the world by the file's `extrinsics`, so that the motion of a
    headset is not mistaken for that of the hands.

    Args:
        folder: where the files are.
        cameras: ids of cameras, for files `<recording>_<camera>.npz`. Of several, a joint is the mean over those that
            give it, weighted by their confidence.
        wrists: where hands are: 'predicted', as in the files; 'true', at the annotated wrists, as if the depth of the
            wrist were known and every error were relative to it; or 'none': each hand relative to its wrist, where the
            places of the hands are lost, and the clip, with its true joints, is in frame 'wrist'.
        axes: 'clip', those of the clip's joints; or 'camera', those of the file, where it does not say where its camera
            was: the clip is then in the file's frame and has no true joints.

    Raises:
        DatasetError: an unknown option, or options that exclude each other.
    """

    def __init__(
        self, folder: str | Path, cameras: Sequence[str] = (), wrists: str = 'predicted', axes: str = 'clip'
    ) -> None:
        check_choice('wrists', wrists, WRISTS)
        check_choice('axes', axes, AXES)
        if axes == 'camera' and (len(cameras) > 1 or wrists == 'true'):
            raise DatasetError(
                "LoadRecordingPredictions: axes='camera' goes with one camera, whose axes these are, and not with "
                "wrists='true', which are known in the clip's axes"
            )
        self.folder, self.cameras, self.wrists, self.axes = Path(folder), tuple(cameras), wrists, axes

    def __call__(self, sample: HandSequence, rng: np.random.Generator | None) -> HandSequence:
        """Loads the input of a clip.

        Args:
            sample: the clip, with `timestamps`.
            rng: not used.

        Returns:
            The clip with its input.

        Raises:
            DatasetError: a clip without times or changed by `MotionAugmentation`, or a file that is not for it: none
                of its times, or a coordinate frame that cannot be brought to the clip's.
            PredictionsError: a file that does not exist or cannot be read.
        """
        paths = self.paths_of(sample)
        if AUGMENTED in sample.meta:
            raise DatasetError(
                f'{paths[0]} has predictions of the recorded motion, but MotionAugmentation has already changed this '
                f'clip: place LoadRecordingPredictions before MotionAugmentation in the pipeline'
            )
        sample = self._in_file_frame(sample, paths[0]) if self.axes == 'camera' else sample
        found = _merge([self._estimates(path, sample) for path in paths])
        if self.wrists == 'none':
            sample = _relative_to_wrists(sample)
        present = np.asarray(found.valid.any(-1))
        if sample.frame_valid is not None:
            present &= sample.frame_valid.numpy()[:, None]
        joints = np.zeros(found.joints.shape)
        for hand in np.flatnonzero(present.any(0)):
            joints[:, hand] = fill_gaps(found.joints[:, hand], found.valid[:, hand] & present[:, hand, None])
        return sample.replace(
            input_joints_3d=torch.from_numpy(np.where(present[..., None, None], joints, 0).astype(np.float32)),
            input_valid=torch.from_numpy(present),
            input_confidence=torch.from_numpy(np.where(present[..., None], found.confidence, 0).astype(np.float32)),
        )

    def paths_of(self, sample: HandSequence) -> list[Path]:
        """Names the files of a clip.

        Args:
            sample: with `recording` or `sequence` in its `meta`.

        Returns:
            One path, or one for each of `cameras`.

        Raises:
            DatasetError: names that would lead out of the folder.
        """
        recording = str(sample.meta.get('recording', sample.meta['sequence']))
        names = [f'{recording}_{camera}' for camera in self.cameras] or [recording]
        return [predictions_path(self.folder, name) for name in names]

    def _in_file_frame(self, sample: HandSequence, path: Path) -> HandSequence:
        """The clip without what is known in other axes than the file's."""
        frame = 'wrist' if self.wrists == 'none' else _load(str(path)).frame
        return sample.replace(
            frame=frame,
            joints_3d=None,
            joints_valid=None,
            hand_valid=None,
            hand_pose=None,
            hand_shape=None,
            hand_transl=None,
            hand_pose_valid=None,
            extrinsics=None,
        )

    def _estimates(self, path: Path, sample: HandSequence) -> _Estimates:
        """The part of a file that belongs to a clip, in the coordinates that the options ask for."""
        found = _load(str(path))
        rows, in_time = _matching_frames(found, sample, path)
        sides, wanted = found.hand_side.tolist(), sample.require('hand_side').tolist()
        shape = (len(rows), len(wanted), 21)
        joints, valid, confidence = np.zeros((*shape, 3)), np.zeros(shape, bool), np.zeros(shape)
        given = found.given_joints()
        for hand, side in enumerate(wanted):
            if side in sides:
                other = sides.index(side)
                joints[:, hand], valid[:, hand] = found.joints[rows, other], given[rows, other] & in_time[:, None]
                confidence[:, hand] = 1 if found.confidence is None else found.confidence[rows, other]
        joints = np.where(valid[..., None], joints, 0)
        joints, valid = self._placed(joints, valid, found, rows, sample, path)
        return _Estimates(joints, valid, np.where(valid, confidence, 0))

    def _placed(
        self,
        joints: NDArray[np.float64],
        valid: NDArray[np.bool_],
        found: Predictions,
        rows: NDArray[np.int64],
        sample: HandSequence,
        path: Path,
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Moves joints from the file's coordinates to those that the options ask for."""
        if self.wrists == 'predicted' and found.frame != sample.frame and 'wrist' in (found.frame, sample.frame):
            raise DatasetError(
                f'{path} is in frame {found.frame!r} and the clip in {sample.frame!r}: where hands are is known in one '
                f"of them only; give wrists='none' for joints relative to the wrists, or wrists='true'"
            )
        if self.axes == 'clip' and sample.frame == 'world':
            if found.extrinsics is None:
                raise DatasetError(
                    f'{path} does not say where its camera was (extrinsics), and the joints of the clip are in the '
                    f"world: write extrinsics, or keep the camera's axes with axes='camera'"
                )
            pose = found.extrinsics[rows][:, None]  # (T, 1, 4, 4)
            moved = joints - pose[..., None, :3, 3] if found.frame == 'camera' else joints
            joints = moved @ pose[..., :3, :3]  # R^T (x - t)
        if self.wrists == 'predicted':
            return joints, valid
        joints, valid = joints - joints[..., :1, :], valid & valid[..., :1]
        if self.wrists == 'true':
            if sample.joints_3d is None or sample.joints_valid is None or sample.frame == 'wrist':
                raise DatasetError(f"{path}: wrists='true' needs a clip with true joints in the camera or the world")
            joints = joints + sample.joints_3d[:, :, :1].double().numpy()
            valid = valid & sample.joints_valid[:, :, :1].numpy()
        return joints, valid


def _matching_frames(
    found: Predictions, sample: HandSequence, path: Path
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The frame of a file that is nearest in time to each frame of a clip, (T,), and whether it is near enough."""
    if sample.timestamps is None:
        raise DatasetError(f'{path}: predictions are matched by time, and the clip has no timestamps')
    times, half = sample.timestamps.double().numpy(), 0.5 / float(sample.meta['fps'])
    after = np.searchsorted(found.timestamps, times).clip(1, max(len(found) - 1, 1))
    before = after - 1
    after = after.clip(max=len(found) - 1)
    distance = np.abs(found.timestamps[np.stack([before, after])] - times)  # (2, T)
    rows = np.where(distance[0] <= distance[1], before, after)
    if times[-1] < found.timestamps[0] - half or times[0] > found.timestamps[-1] + half:
        raise DatasetError(
            f'{path} has times from {found.timestamps[0]:.3f} to {found.timestamps[-1]:.3f} s, but the clip lasts from '
            f'{times[0]:.3f} to {times[-1]:.3f} s: both must be frame number / frame rate of the recording'
        )
    return rows, distance.min(0) < half


def _merge(found: Sequence[_Estimates]) -> _Estimates:
    """The mean over cameras, weighted by confidence; equal weights where all that give a joint have none."""
    if len(found) == 1:
        return found[0]
    joints, valid, confidence = (np.stack(values) for values in zip(*found, strict=True))
    certain = confidence.sum(0) > 0
    weight = np.where(certain, confidence, valid)
    total = weight.sum(0)
    mean = (weight[..., None] * joints).sum(0) / np.maximum(total, 1e-12)[..., None]
    return _Estimates(mean, np.asarray(valid.any(0)), confidence.max(0))


def _relative_to_wrists(sample: HandSequence) -> HandSequence:
    """The clip with its true joints, if it has any, relative to the wrists."""
    changed = sample.replace(frame='wrist', extrinsics=None, hand_pose=None, hand_shape=None, hand_transl=None)
    changed = changed.replace(hand_pose_valid=None)
    if sample.joints_3d is None or sample.joints_valid is None:
        return changed
    valid = sample.joints_valid & sample.joints_valid[:, :, :1]
    joints = torch.where(valid[..., None], sample.joints_3d - sample.joints_3d[:, :, :1], 0)
    return changed.replace(joints_3d=joints, joints_valid=valid, hand_valid=valid.any(-1))
