"""2D detections of hands in several cameras, as the input of a multi-view estimator.

Legend: T frames, K cameras, H hands, J = 21 joints.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.video_frames import is_frame_path, split_frame_path
from handpose.files.reading import inside_root
from handpose.geometry import boxes_from_points, projection_matrices, triangulate, triangulate_robust
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence, load_predictions

_load = lru_cache(maxsize=256)(load_predictions)


class DetectedHands(NamedTuple):
    """What a detector found in the views of a clip, its hands in the order of the clip's."""

    joints_2d: Tensor  # (T, K, H, J, 2), pixels of `images`; anything where not valid
    valid: Tensor  # (T, K, H) bool


def with_detections(sample: HandSequence, detected: DetectedHands, threshold: float) -> HandSequence:
    """Puts detections in the place of what is known of the hands, and triangulates them.

    `boxes` become the boxes around the detected joints, all zeros where there is no detection. `input_joints_3d` are
    the joints triangulated from the largest set of views that agree (`triangulate_robust`), in units of the hand's size
    in each view, since the errors of a detector grow with it. A joint of which no two views agree is the least-squares
    fit to all views. `input_confidence` is the share of the cameras that agree, and a hand is valid where all its
    joints have a position: two views detect it, and their rays are not parallel.

    Args:
        sample: with `intrinsics` and `extrinsics` of at least two cameras.
        detected: of the same frames, cameras and hands.
        threshold: distance from the projected point from which a view does not agree, in sides of the hand's box.

    Returns:
        The sample with its input.
    """
    joints_2d, valid = detected
    joints_2d = torch.where(valid[..., None, None], joints_2d, 0.0)
    boxes = boxes_from_points(joints_2d)  # (T, K, H, 4)
    side = (boxes[..., 2:] - boxes[..., :2]).amax(-1).clamp_min(1.0).transpose(1, 2)  # (T, H, K)
    cameras = projection_matrices(sample.require('intrinsics'), sample.require('extrinsics'))[
        :, None
    ]  # (T, 1, K, 3, 4)
    scale = torch.ones_like(side)[..., None].repeat(1, 1, 1, 3)
    scale[..., :2] /= side[..., None]
    points = joints_2d.transpose(1, 2) / side[..., None, None]  # (T, H, K, J, 2)
    projections = cameras * scale[..., None]
    weights = valid.transpose(1, 2)[..., None].expand(points.shape[:-1])
    agreed = triangulate_robust(points, projections, weights, threshold=threshold)
    fitted = triangulate(points, projections, weights, num_reweightings=1)
    joints = torch.where(agreed.valid[..., None], agreed.points, fitted.points)
    known = (agreed.valid | fitted.valid).all(-1)  # (T, H)
    share = torch.where(agreed.valid, agreed.num_views, 0) / points.shape[2]
    return sample.replace(
        boxes=torch.where(valid[..., None], boxes, 0.0).float(),
        input_joints_3d=torch.where(known[..., None, None], joints, 0.0).float(),
        input_valid=known,
        input_confidence=torch.where(known[..., None], share, 0.0).float(),
    )


def check_views(sample: HandSequence, who: str) -> None:
    """Refuses clips whose detections cannot be triangulated.

    Args:
        sample: a clip.
        who: the transform, for the error message.

    Raises:
        DatasetError: a single camera, or no calibration.
    """
    lacking = [name for name in ('intrinsics', 'extrinsics') if sample.present().get(name) is None]
    if lacking:
        raise DatasetError(f'{who} needs {" and ".join(lacking)}, which this clip lacks: choose a calibrated dataset')
    cameras = sample.require('intrinsics').shape[1]
    if cameras < 2:
        raise DatasetError(f'{who} triangulates, which takes at least 2 cameras, got {cameras}: choose more cameras')


@TRANSFORMS.register_module()
class LoadDetections:
    """Fills `boxes` and the input of a multi-view estimator from a detector's files: one for each camera of a track.

    The files are predictions files (docs/data/predictions_file.md) with joints in the image, named
    `<folder>/<sequence>/<camera>.npz`, as `handpose infer` writes them for a folder with the videos of a sequence.
    Frames of videos are matched by their number, images by their time since the track's first frame, and hands by
    their side. Joints are pixels of the images as the reader has them, so this transform comes before any that changes
    the images. See `with_detections` for what the sample has afterwards.

    Args:
        folder: where the files are.
        threshold: see `with_detections`.
        missing_ok: a camera without a file saw no hand at all; False refuses it.

    Raises:
        DatasetError: a threshold that is not positive.
    """

    def __init__(self, folder: str | Path, threshold: float = 0.15, missing_ok: bool = False) -> None:
        if not threshold > 0:
            raise DatasetError(f'LoadDetections: threshold must be above 0, got {threshold!r}')
        self.folder, self.threshold, self.missing_ok = Path(folder), threshold, missing_ok

    def __call__(self, sample: HandSequence, rng: np.random.Generator | None) -> HandSequence:
        """Loads the detections of a clip.

        Args:
            sample: the clip.
            rng: not used.

        Returns:
            The clip with its input.

        Raises:
            DatasetError: a clip of one camera or without a calibration; a file that does not exist
                or has no joints in the image.
            PredictionsError: a file that cannot be read.
        """
        check_views(sample, 'LoadDetections')
        views = [self._view(sample, k) for k in range(len(sample.meta['cameras']))]
        joints, valid = (torch.stack(part, 1) for part in zip(*views, strict=True))
        return with_detections(sample, DetectedHands(joints, valid), self.threshold)

    def _view(self, sample: HandSequence, k: int) -> tuple[Tensor, Tensor]:
        """Joints (T, H, J, 2) and valid (T, H) of camera k."""
        sides, name = sample.require('hand_side').tolist(), f'{sample.meta["sequence"]}/{sample.meta["cameras"][k]}.npz'
        path = inside_root(self.folder, name, 'the clip', error=DatasetError)
        count = len(sample.meta['frame_indices'])
        joints = np.zeros((count, len(sides), 21, 2), np.float32)
        valid = np.zeros((count, len(sides)), bool)
        if not path.exists() and not self.missing_ok:
            raise DatasetError(
                f'{path} does not exist: run the detector on this camera too, or, if it saw no hand there, give '
                f'LoadDetections missing_ok=True'
            )
        if path.exists():
            found = _load(str(path))
            if found.joints_2d is None:
                raise DatasetError(f'{path} has no joints_2d: detections are joints in the image; write it with them')
            rows, there = _rows_of(sample, k, found.timestamps)
            for hand, side in enumerate(sides):
                for column in np.flatnonzero(np.asarray(found.hand_side) == side):
                    joints[:, hand] = found.joints_2d[rows, column]
                    valid[:, hand] = found.valid[rows, column] & there
        return torch.from_numpy(joints), torch.from_numpy(valid)


def _rows_of(sample: HandSequence, k: int, times: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The rows (T,) of a file that belong to the frames of a clip, and where there are some (T,)."""
    paths = [row[k] for row in sample.meta.get('paths', [])]
    if paths and all(is_frame_path(path) for path in paths):
        numbers = np.array([split_frame_path(path)[1] for path in paths])
        return numbers.clip(0, len(times) - 1), (numbers >= 0) & (numbers < len(times))
    fps = float(sample.meta['fps'])
    wanted = (np.asarray(sample.meta['frame_indices']) - sample.meta['track_start']) / fps
    nearest = np.abs(wanted[:, None] - times).argmin(1)
    return nearest, np.abs(wanted - times[nearest]) < 0.5 / fps
