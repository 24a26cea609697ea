"""Fills the input of a refiner from the predictions of a real estimator: predictions files, one per track."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.transforms.motion_augmentation import AUGMENTED
from handpose.files.names import file_stem
from handpose.files.reading import inside_root
from handpose.hands import SIDE_LABELS
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence, load_predictions
from handpose.structures.prediction_orders import missing_joints
from handpose.structures.predictions import PER_FRAME

_load = lru_cache(maxsize=256)(load_predictions)


def predictions_path(folder: str | Path, name: str) -> Path:
    """Names a predictions file by a name that labels give.

    Args:
        folder: of the predictions files.
        name: of a track or a recording; '/' and what no file name may have becomes '_'.

    Returns:
        The path.

    Raises:
        DatasetError: the name would lead out of the folder.
    """
    inside_root(folder, name.replace('/', '_'), 'the clip', error=DatasetError)
    return Path(folder, f'{file_stem(name)}.npz')


@TRANSFORMS.register_module()
class LoadPredictions:
    """Fills `input_joints_3d`, `input_valid` and `input_confidence` from `<folder>/<sequence>_<camera>.npz`.

    The files are predictions files (docs/data/predictions_file.md); in the name, a '/' of the sequence becomes '_'.
    `handpose test CONFIG --results FOLDER` writes them where `results_file` of the config is `PredictionsFolder`.

    Frames are matched by time: a frame of the clip gets the prediction nearest in time, if that is nearer than half a
    frame period, and has none otherwise. Hands are matched by their side. Without confidence it is 1. Scores and
    features of the object, if the file has them, become `object_scores` and `object_features`, zeros in frames without
    a prediction.

    `MotionAugmentation` comes after it, so that the ground truth and the input are changed in the same way.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __call__(self, sample: HandSequence, rng: np.random.Generator | None) -> HandSequence:
        """Loads the input of a clip.

        Args:
            sample: the clip, with `timestamps`.
            rng: not used.

        Returns:
            The clip with its input.

        Raises:
            DatasetError: a clip that `MotionAugmentation` has changed; a file that is not for this clip: a coordinate
                frame other than the clip's, no hand of its side, or no frame of its times.
            PredictionsError: a file that does not exist or cannot be read.
        """
        path = self.path_of(sample)
        if AUGMENTED in sample.meta:
            raise DatasetError(
                f'{path} has predictions of the recorded motion, but MotionAugmentation has already changed this clip: '
                f'place LoadPredictions before MotionAugmentation in the pipeline'
            )
        found = _load(str(path))
        if found.frame != sample.frame:
            raise DatasetError(f"{path} is in frame {found.frame!r}, but the clip's joints are in {sample.frame!r}")
        if sample.timestamps is None:
            raise DatasetError(f'{path}: predictions are matched by time, and the clip has no timestamps')
        lacking = missing_joints(found.given_joints(), found.valid)
        if lacking:
            raise DatasetError(
                f'{path} lacks {", ".join(lacking)}, and refiners are trained with all 21 joints: '
                f'`handpose refine --filter interpolate --infer-missing` fills them in'
            )
        times = sample.timestamps.numpy()
        nearest = np.abs(times[:, None] - found.timestamps).argmin(1)
        in_time = np.abs(times - found.timestamps[nearest]) < 0.5 / float(sample.meta['fps'])
        if not in_time.any():
            raise DatasetError(
                f'{path} has times from {found.timestamps[0]:.3f} to {found.timestamps[-1]:.3f} s, but the clip lasts '
                f'from {times[0]:.3f} to {times[-1]:.3f} s: they must be relative to the first frame of the recording'
            )
        sides = found.hand_side.tolist()
        for side in sample.hand_side.tolist():
            if side not in sides:
                raise DatasetError(f'{path} has no {SIDE_LABELS[side]} hand, which the clip has')
        hands = [sides.index(side) for side in sample.hand_side.tolist()]
        valid = found.valid[nearest][:, hands] & in_time[:, None]
        if sample.frame_valid is not None:
            valid &= sample.frame_valid.numpy()[:, None]
        joints = np.where(valid[..., None, None], found.joints[nearest][:, hands], 0)
        confidence = np.ones(found.joints.shape[:-1]) if found.confidence is None else found.confidence
        confidence = np.where(valid[..., None], confidence[nearest][:, hands], 0)
        objects = {
            name: torch.from_numpy(np.where(in_time[:, None], values[nearest], 0).astype(np.float32))
            for name in PER_FRAME
            if (values := vars(found)[name]) is not None
        }
        return sample.replace(
            input_joints_3d=torch.from_numpy(joints.astype(np.float32)),
            input_valid=torch.from_numpy(valid),
            input_confidence=torch.from_numpy(confidence.astype(np.float32)),
            **objects,
        )

    def path_of(self, sample: HandSequence) -> Path:
        """Names the file of a clip.

        Args:
            sample: with `sequence` and `cameras` in its `meta`.

        Returns:
            The path.

        Raises:
            DatasetError: names that would lead out of the folder.
        """
        return predictions_path(self.folder, f'{sample.meta["sequence"]}_{sample.meta["cameras"][0]}')
