"""Temporal refinement of a recording's joints in the world, with a filter or a learned refiner.

    refined = refine_recording(recording, open_refiner('gaussian'))
    print(refined.notes[-1])                          # the reprojection error before and after

Legend: T frames, H hands, 21 joints.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.evaluation.motion_summary import accelerations
from handpose.geometry.rigid import invert_rigid, transform_points
from handpose.inference.refiner import METHODS, Refiner, load_refiner
from handpose.models.estimators.motion_filters import MotionFilter
from handpose.structures import Predictions
from handpose.structures.annotated_recording import AnnotatedRecording, RecordingError

_FARTHER = 1.25  # times the reprojection error before, from which on a note warns


class RefinementChange(NamedTuple):
    """What refining changed, on the joints that were valid before.

    Attributes:
        error_before: median reprojection error, pixels.
        error_after: the same of the refined joints.
        moved: median distance of a refined joint from what it was, millimetres.
        acceleration_before: mean second difference of the joints, mm per frame^2.
        acceleration_after: the same of the refined joints.
    """

    error_before: float
    error_after: float
    moved: float
    acceleration_before: float
    acceleration_after: float


def open_refiner(name: str, hand_model: Mapping[str, Any] | None = None) -> Refiner:
    """Opens the refiner that a user names.

    Args:
        name: a filter (a key of `handpose.inference.METHODS`), or the weights of a refiner: a file or a name of the
            model zoo.
        hand_model: config of the hand model, for weights that were trained with one that needs files.

    Returns:
        The refiner.

    Raises:
        ValueError: there is no such refiner.
    """
    return load_refiner(method=name) if name in METHODS else load_refiner(name, hand_model=hand_model)


def refine_recording(recording: AnnotatedRecording, refiner: Refiner) -> AnnotatedRecording:
    """Refines the joints of a recording over time.

    The joints go through the refiner in the axes of the first camera with the hands in front of it: cameras are fixed,
    so this is the world up to a rigid motion, and learned refiners know such axes. A learned refiner sees whole hands:
    where a joint is missing, the frame is one without the hand for it. Only joints that were valid are refined; gaps
    stay gaps.

    Args:
        recording: with joints.
        refiner: see `open_refiner`.

    Returns:
        The recording with refined joints; its last note says what this did to the reprojection error. Parameters of a
        fitted hand model are dropped: they belong to the joints before.

    Raises:
        RecordingError: no joint is valid.
        PredictionsError: joints that cannot be those of hands, such as in another unit, or a damaged refiner.
    """
    if not recording.joints_valid.any():
        raise RecordingError('the recording has no valid joint, so there is nothing to refine')
    camera = _camera_in_front(recording)
    given = recording.joints_valid
    if not isinstance(refiner.estimator, MotionFilter):
        given = np.repeat(given.all(-1, keepdims=True), given.shape[-1], -1)
        if not given.any():
            raise RecordingError(
                f'{refiner.name} needs frames with all 21 joints of a hand, and the recording has none: fit a hand '
                f'model first, or take a filter ({", ".join(METHODS)})'
            )
    refined = refiner.refine(_predictions(recording, given, camera))
    extrinsics = recording.calibration.cameras[camera].extrinsics
    world = transform_points(torch.from_numpy(refined.joints.astype(np.float64)), invert_rigid(extrinsics)).numpy()
    replaced = recording.joints_valid & np.isfinite(world).all(-1)
    joints = np.where(replaced[..., None], world, recording.joints_3d)
    change = measure_change(recording, joints)
    return replace(
        recording,
        joints_3d=joints,
        method=f'{recording.method}; refined by {refiner.name}' if recording.method else f'refined by {refiner.name}',
        hand_pose=None,
        hand_shape=None,
        hand_transl=None,
        hand_pose_valid=None,
        hand_model='',
        notes=(*recording.notes, _note(refiner.name, change)),
    )


def measure_change(recording: AnnotatedRecording, joints: NDArray) -> RefinementChange:
    """Compares other joints with those of a recording.

    Args:
        recording: before refining.
        joints: (T, H, 21, 3) metres, world; the same ones are valid.

    Returns:
        The change.
    """
    before, after = recording.reprojection_errors(), recording.reprojection_errors(joints)
    moved = np.linalg.norm(joints - recording.joints_3d, axis=-1)[recording.joints_valid]
    valid, numbers = np.asarray(recording.joints_valid.any(-1)), np.arange(len(recording))
    speeds = [
        _mean(accelerations(points.astype(np.float64), numbers, valid)) for points in (recording.joints_3d, joints)
    ]
    return RefinementChange(_median(before), _median(after), 1000 * _median(moved), *speeds)


def _camera_in_front(recording: AnnotatedRecording) -> int:
    """The first camera in front of which most hands are."""
    points = torch.from_numpy(recording.joints_3d[recording.joints_valid].astype(np.float64))
    shares = [
        float((transform_points(points, camera.extrinsics)[:, 2] > 0).double().mean())
        for camera in recording.calibration
    ]
    return next((k for k, share in enumerate(shares) if share > 0.5), int(np.argmax(shares)))


def _predictions(recording: AnnotatedRecording, given: NDArray[np.bool_], camera: int) -> Predictions:
    world = torch.from_numpy(recording.joints_3d.astype(np.float64))
    joints = transform_points(world, recording.calibration.cameras[camera].extrinsics).numpy()
    return Predictions(
        joints=np.where(given[..., None], joints, np.nan),
        valid=np.asarray(given.any(-1)),
        timestamps=recording.timestamps - recording.timestamps[0],
        hand_side=recording.hand_side,
        frame='camera',
        joints_valid=None if np.array_equal(given, given.any(-1, keepdims=True) & np.ones(21, bool)) else given,
        source=recording.method,
    )


def _note(name: str, change: RefinementChange) -> str:
    text = (
        f'refining by {name} moved the joints by {change.moved:.1f} mm in the median; reprojection error '
        f'{change.error_before:.2f} px before and {change.error_after:.2f} px after, second difference '
        f'{change.acceleration_before:.1f} and {change.acceleration_after:.1f} mm per frame^2'
    )
    if change.error_after > _FARTHER * change.error_before:
        text += '. The joints fit the images less well than before: compare them with the videos'
    return text


def _median(values: NDArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float('nan')


def _mean(values: NDArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.mean(known)) if len(known) else float('nan')
