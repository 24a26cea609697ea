"""Converters from arrays of joints or hand-model parameters to `Predictions`.

Legend: T frames, H hands, J joints. Every converter takes either `timestamps` (T,) in seconds or `fps`.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from handpose.hands.model import HandModel
from handpose.hands.sides import Side
from handpose.structures.detection_lists import check_shapes, frame_times, numbers
from handpose.structures.prediction_checks import PredictionsError, sides_as_numbers
from handpose.structures.predictions import Predictions

_MIRROR = np.array([-1.0, 1.0, 1.0])


def from_joints(
    joints: ArrayLike,
    hand_side: ArrayLike,
    joint_order: str,
    unit: str,
    frame: str,
    valid: ArrayLike | None = None,
    timestamps: ArrayLike | None = None,
    fps: float | None = None,
    confidence: ArrayLike | None = None,
    joints_2d: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    track_ids: ArrayLike | None = None,
    scale: str = 'metric',
    intrinsics: ArrayLike | None = None,
    image_size: ArrayLike | None = None,
    source: str = '',
    licence: str = '',
) -> Predictions:
    """Converts joints in any named order, in which single joints may be missing.

    Args:
        joints: (T, H, J, 3), or (T, J, 3) of one hand, with all arrays below. A joint that is NaN is missing.
        hand_side: (H,) 'left' / 'right' or 0 / 1.
        joint_order: a key of `handpose.hands.JOINT_ORDERS`, such as 'common', 'nyu', 'icvl', 'shrec' or 'mocap_17'.
        unit: of the joints: 'metre', 'centimetre' or 'millimetre'.
        frame: 'camera' or 'wrist'.
        valid: (T, H) bool, default: where any joint is given.
        timestamps: (T,) seconds; or `fps`.
        fps: frames per second; or `timestamps`.
        confidence: (T, H, J) from 0 to 1, or None.
        joints_2d: (T, H, J, 2) pixels, or None.
        boxes: (T, H, 4) xyxy pixels, or None.
        track_ids: (T, H) whole numbers, or None.
        scale: as in `Predictions`.
        intrinsics: as in `Predictions`.
        image_size: as in `Predictions`.
        source: text about where the predictions come from.
        licence: text about what may be done with them.

    Returns:
        Predictions in `frame`.

    Raises:
        PredictionsError: shapes or names that do not fit; neither or both of timestamps and fps.
    """
    points = numbers('joints', joints)
    one_hand = points.ndim == 3

    def with_hands(name: str, values: ArrayLike | None) -> NDArray | None:
        array = None if values is None else np.asarray(values)
        if array is not None and array.ndim == 0:
            raise PredictionsError(f'{name} must be an array with a value for each frame, got {array}')
        return array[:, None] if array is not None and one_hand else array

    points = points[:, None] if one_hand else points
    if points.ndim != 4:
        raise PredictionsError(f'joints must have shape (T, H, J, 3), or (T, J, 3) of one hand, got {points.shape}')
    given = np.isfinite(points).all(3)
    known = np.asarray(given.any(2) if valid is None else with_hands('valid', valid))
    return Predictions.from_arrays(
        joints=points,
        valid=known,
        timestamps=frame_times(len(points), timestamps, fps),
        hand_side=hand_side,
        joint_order=joint_order,
        unit=unit,
        frame=frame,
        confidence=with_hands('confidence', confidence),
        intrinsics=intrinsics,
        image_size=image_size,
        source=source,
        licence=licence,
        scale=scale,
        joints_2d=with_hands('joints_2d', joints_2d),
        joints_valid=None if given.all() else given,
        boxes=with_hands('boxes', boxes),
        track_ids=with_hands('track_ids', track_ids),
    )


def from_mano(
    hand_pose: ArrayLike,
    hand_shape: ArrayLike,
    hand_transl: ArrayLike,
    hand_side: ArrayLike,
    hand_model: HandModel,
    valid: ArrayLike | None = None,
    timestamps: ArrayLike | None = None,
    fps: float | None = None,
    frame: str = 'camera',
    mirrored_left: bool = False,
    confidence: NDArray | None = None,
    intrinsics: NDArray | None = None,
    image_size: NDArray | None = None,
    source: str = 'MANO parameters',
    licence: str = '',
) -> Predictions:
    """Converts MANO parameters: the joints of the posed hand model.

    Args:
        hand_pose: (T, H, 16, 3) rotation vectors or (T, H, 16, 3, 3) rotation matrices in MANO's order (wrist, index,
            middle, little, ring, thumb), the mean pose included; HaMeR's `global_orient` and `hand_pose`, one after
            the other, are that.
        hand_shape: (H, 10), or (T, H, 10) where every frame has its own.
        hand_transl: (T, H, 3) metres, added to the output of the model.
        hand_side: (H,) 'left' / 'right' or 0 / 1.
        hand_model: a `HandModel`, such as `MANO(folder)`.
        valid: (T, H) bool, default: where all numbers are finite.
        timestamps: (T,) seconds; or `fps`.
        fps: frames per second; or `timestamps`.
        frame: 'camera', or 'wrist', which subtracts the wrist.
        mirrored_left: left hands are given as right hands seen in a mirror, as HaMeR and WiLoR have them: they are
            posed as right ones, and x is negated before the translation is added.
        confidence: as in `Predictions`.
        intrinsics: as in `Predictions`.
        image_size: as in `Predictions`.
        source: text about where the predictions come from.
        licence: text about what may be done with them.

    Returns:
        Predictions in `frame`.

    Raises:
        PredictionsError: shapes that do not fit; neither or both of timestamps and fps.
    """
    pose = torch.tensor(numbers('hand_pose', hand_pose), dtype=torch.float32)
    side = sides_as_numbers(hand_side)
    if pose.ndim not in (4, 5) or pose.shape[1] != len(side):
        raise PredictionsError(
            f'hand_pose must have shape (T, H, 16, 3) or (T, H, 16, 3, 3) with H = {len(side)}, got {tuple(pose.shape)}'
        )
    shape, transl = numbers('hand_shape', hand_shape), numbers('hand_transl', hand_transl)
    frames, hands = pose.shape[:2]
    if pose.shape[2:] not in ((16, 3), (16, 3, 3)) or shape.shape not in ((hands, 10), (frames, hands, 10)):
        raise PredictionsError(
            f'hand_pose must have 16 rotations a hand, and hand_shape (H, 10) or (T, H, 10) numbers, got '
            f'{tuple(pose.shape)} and {shape.shape}'
        )
    check_shapes({'hand_transl': (transl, (frames, hands, 3))})
    betas = torch.as_tensor(shape, dtype=torch.float32).expand(frames, hands, 10)
    shift = torch.as_tensor(transl, dtype=torch.float32)
    finite = pose.isfinite().flatten(2).all(2) & betas.isfinite().all(2) & shift.isfinite().all(2)
    pose[~finite], shift = 0, shift.nan_to_num()  # the model must not compute with missing values
    betas = torch.where(finite[..., None], betas, 0)
    posed_as = torch.as_tensor(np.full_like(side, Side.RIGHT) if mirrored_left else side).expand(pose.shape[:2])
    with torch.no_grad():
        joints = hand_model(pose, betas, torch.zeros_like(shift), posed_as).joints.numpy()
    if mirrored_left:
        joints = np.where(side[:, None, None] == Side.RIGHT, joints, joints * _MIRROR)
    joints = joints - joints[:, :, :1] if frame == 'wrist' else joints + shift[:, :, None].numpy()
    valid = finite.numpy() if valid is None else np.asarray(valid)
    return Predictions(
        joints, valid & finite.numpy(), frame_times(len(joints), timestamps, fps), side, frame, confidence, intrinsics,
        image_size, source, licence,
    )  # fmt: skip


def from_interhand(
    joints: ArrayLike,
    valid: ArrayLike,
    frame: str,
    hand_side: Any = None,
    timestamps: ArrayLike | None = None,
    fps: float | None = None,
    camera_rotation: ArrayLike | None = None,
    camera_position: ArrayLike | None = None,
    source: str = 'InterHand2.6M',
    licence: str = '',
) -> Predictions:
    """Converts InterHand2.6M's format: millimetres, 42 joints (right hand, then left), each finger from tip to palm.

    Args:
        joints: (T, 42, 3), or (T, 21, 3) of the hand `hand_side`.
        valid: (T, 42) or (T, 21); a hand counts in frames in which all its 21 joints do.
        frame: 'camera'; 'wrist', which subtracts the wrist; or 'world', which is transformed to the camera given.
        hand_side: 'left' / 'right' or 0 / 1, with joints (T, 21, 3) only.
        timestamps: (T,) seconds; or `fps`.
        fps: frames per second; or `timestamps`.
        camera_rotation: (3, 3) `camrot`: x_camera = camrot (x - campos).
        camera_position: (3,) `campos`, mm.
        source: text about where the predictions come from.
        licence: text about what may be done with them.

    Returns:
        Predictions in frame 'camera' or 'wrist'.

    Raises:
        PredictionsError: shapes that do not fit; 'world' without a camera; neither or both of timestamps and fps.
    """
    points, valid = np.asarray(joints, np.float64), np.asarray(valid).astype(bool)
    hands = {42: 2, 21: 1}.get(points.shape[1] if points.ndim == 3 else 0)
    if hands is None or points.shape[2:] != (3,) or valid.shape != points.shape[:2]:
        raise PredictionsError(
            f'joints must have shape (T, 42, 3) or (T, 21, 3) and valid the same without the 3, got {points.shape} and '
            f'{valid.shape}'
        )
    if (hands == 1) != (hand_side is not None):
        raise PredictionsError('hand_side goes with joints (T, 21, 3), and only with them')
    sides = ['right', 'left'] if hands == 2 else [hand_side]
    if frame == 'world':
        if camera_rotation is None or camera_position is None:
            raise PredictionsError(
                "frame 'world' needs camera_rotation and camera_position, to transform to that camera"
            )
        points = (points - np.asarray(camera_position)) @ np.asarray(camera_rotation).T
        frame = 'camera'
    points = points.reshape(len(points), hands, 21, 3)
    complete = valid.reshape(len(points), hands, 21).all(2)
    if frame == 'wrist':
        points = points - points[:, :, 20:]
    return Predictions.from_arrays(
        joints=points,
        valid=complete,
        timestamps=frame_times(len(points), timestamps, fps),
        hand_side=sides,
        joint_order='interhand',
        unit='millimetre',
        frame=frame,
        source=source,
        licence=licence,
    )
