"""Converters from the output of well-known estimators and datasets to `Predictions`.

Legend: T frames, H hands, N detections, J joints. Every converter takes either `timestamps` (T,) in seconds or `fps`.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from handpose.hands.model import HandModel
from handpose.hands.sides import SIDE_LABELS, Side
from handpose.structures.detection_lists import as_integers, flags, hands_as_arrays, is_ragged, numbers
from handpose.structures.prediction_checks import PredictionsError, sides_as_numbers
from handpose.structures.predictions import Predictions

_MIRROR = np.array([-1.0, 1.0, 1.0])
HAMER_FOCAL_PER_PIXEL = 5000 / 256  # HaMeR's focal length for each pixel of the longer side of the image


def from_mediapipe(
    world_landmarks: Any,
    handedness: Any,
    timestamps: ArrayLike | None = None,
    fps: float | None = None,
    score: Any = None,
    swap_handedness: bool = False,
    source: str = 'MediaPipe',
    licence: str = '',
) -> Predictions:
    """Converts MediaPipe's hand *world* landmarks.

    They are in metres, in axes parallel to the camera's, with an origin in each hand. They do not tell where the hand
    is, so the result is in frame 'wrist': the wrist is subtracted. MediaPipe's 21 landmarks are in the common order.
    Frames that are NaN or all zeros are missing.

    Args:
        world_landmarks: (T, 21, 3), or (T, H, 21, 3) in whatever order MediaPipe listed the hands; or a list with a
            list of 0 to 2 hands (21, 3) for each frame, [] or None for none. handedness and score are then one for all,
            one a frame, or a list for each frame.
        handedness: 'left' or 'right' in any case; for several hands one a hand (H,), or one a detection (T, H) with ''
            for none; for (T, 21, 3) also (T,). Detections go to the index of their side.
        timestamps: (T,) seconds; or `fps`.
        fps: frames per second; or `timestamps`.
        score: one number a detection, from 0 to 1, in the shapes of handedness; it becomes the confidence. Of two
            detections of one side in a frame the surer one is kept, without scores the first.
        swap_handedness: the old `mp.solutions.hands` names hands as if the image were mirrored: True for its output
            on images that are not.
        source: text about where the predictions come from.
        licence: text about what may be done with them.

    Returns:
        Predictions in frame 'wrist'.

    Raises:
        PredictionsError: shapes or names that do not fit; neither or both of timestamps and fps.
    """
    if is_ragged(world_landmarks):
        world_landmarks, handedness, score = hands_as_arrays(world_landmarks, handedness, score)
    points = numbers('world_landmarks', world_landmarks)
    if points.ndim not in (3, 4) or points.shape[-2:] != (21, 3):
        raise PredictionsError(f'world_landmarks must have shape (T, 21, 3) or (T, H, 21, 3), got {points.shape}')
    try:
        names = np.asarray(handedness).astype(str)
    except ValueError:
        raise PredictionsError('handedness must be an array of names: lists of one length') from None
    score = None if score is None else numbers('score', score)
    if points.ndim == 3:
        points, names, score = points[:, None], names.reshape(-1, 1), None if score is None else score.reshape(-1, 1)
    names = np.char.lower(_broadcast('handedness', names, points.shape[:2]))
    score = None if score is None else _broadcast('score', score, points.shape[:2])
    with_hand = np.isfinite(points).all((2, 3)) & (points != 0).any((2, 3)) & (names != '')
    sides = sides_of(names[with_hand])
    frames = np.nonzero(with_hand)[0]
    wrist_first = points[with_hand] - points[with_hand][:, :1]
    return _arrange(
        wrist_first,
        frames,
        1 - sides if swap_handedness else sides,
        len(points),
        None if score is None else score[with_hand],
        dict(timestamps=_times(len(points), timestamps, fps), frame='wrist', source=source, licence=licence),
    )


def from_hamer(
    keypoints_3d: ArrayLike,
    cam_t: ArrayLike,
    is_right: ArrayLike,
    frame_index: ArrayLike,
    image_size: ArrayLike,
    num_frames: int | None = None,
    timestamps: Any = None,
    fps: float | None = None,
    score: ArrayLike | None = None,
    focal_length: float | None = None,
    camera_focal_length: float | None = None,
    source: str = 'HaMeR',
    licence: str = '',
) -> Predictions:
    """Converts HaMeR's (or WiLoR's) output: one row a detected hand, in frame 'camera'.

    HaMeR predicts every hand as a right one and moves it by a translation for a camera of very long focal length. So
    x of left hands is negated here before the translation is added. (The keypoints that HaMeR's demo saves are not
    negated: give the model's own output.) Its 21 keypoints are in the common order.

    Args:
        keypoints_3d: (N, 21, 3) metres, `pred_keypoints_3d`.
        cam_t: (N, 3) metres, `pred_cam_t_full`, for the whole image.
        is_right: (N,) 1 or 0.
        frame_index: (N,) the frame of each row, from 0: whole numbers, also as floats or strings of digits.
        image_size: (width, height) of the frames in pixels.
        num_frames: T, default the last frame_index + 1, or as many as timestamps.
        timestamps: (T,) seconds; or `fps`.
        fps: frames per second; or `timestamps`.
        score: (N,) from 0 to 1. Of two rows of one side in a frame the surer one is kept, without scores the first.
        focal_length: that cam_t was computed with, pixels; default HaMeR's, 5000 / 256 of the longer side.
        camera_focal_length: the camera's own, pixels, if known: depths are scaled to it, which leaves the projection
            as it is. Without it, hands lie tens of metres away.
        source: text about where the predictions come from.
        licence: text about what may be done with them.

    Returns:
        Predictions in frame 'camera'.

    Raises:
        PredictionsError: shapes that do not fit; neither or both of timestamps and fps.
    """
    points, shift = numbers('keypoints_3d', keypoints_3d), numbers('cam_t', cam_t)
    right, frames = flags('is_right', is_right), as_integers('frame_index', frame_index)
    rows = len(points)
    _check_shapes(
        dict(keypoints_3d=(points, (rows, 21, 3)), cam_t=(shift, (rows, 3)), is_right=(right, (rows,)))
        | dict(frame_index=(frames, (rows,)), image_size=(np.asarray(image_size), (2,)))
    )
    if num_frames is None:
        num_frames = len(timestamps) if timestamps is not None else int(frames.max(initial=-1)) + 1
    if rows and not 0 <= frames.min() <= frames.max() < num_frames:
        raise PredictionsError(f'frame_index must be from 0 to {num_frames - 1}, got {frames.min()} to {frames.max()}')
    image_size = numbers('image_size', image_size)
    _check_focal_lengths(dict(focal_length=focal_length, camera_focal_length=camera_focal_length))
    focal_length = focal_length or HAMER_FOCAL_PER_PIXEL * max(image_size)
    if camera_focal_length:
        shift = shift * (1, 1, camera_focal_length / focal_length)
        focal_length = camera_focal_length
    points = np.where(right[:, None, None] == Side.RIGHT, points, points * _MIRROR) + shift[:, None]
    found = np.isfinite(points).all((1, 2))  # a row with NaN is no hand
    points, frames, right = points[found], frames[found], right[found]
    centre = np.asarray(image_size) / 2
    return _arrange(
        points,
        frames,
        right,
        num_frames,
        None if score is None else numbers('score', score).reshape(-1)[found],
        dict(
            timestamps=_times(num_frames, timestamps, fps),
            frame='camera',
            intrinsics=[[focal_length, 0, centre[0]], [0, focal_length, centre[1]], [0, 0, 1]],
            image_size=image_size,
            source=source,
            licence=licence,
        ),
    )


def _check_focal_lengths(values: dict[str, float | None]) -> None:
    for name, value in values.items():
        if value is not None and not (np.ndim(numbers(name, value)) == 0 and 0 < value < np.inf):
            raise PredictionsError(f'{name} must be a positive number of pixels, got {value!r}')


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
    _check_shapes({'hand_transl': (transl, (frames, hands, 3))})
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
        joints, valid & finite.numpy(), _times(len(joints), timestamps, fps), side, frame, confidence, intrinsics,
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
        timestamps=_times(len(points), timestamps, fps),
        hand_side=sides,
        joint_order='interhand',
        unit='millimetre',
        frame=frame,
        source=source,
        licence=licence,
    )


def sides_of(names: NDArray) -> NDArray:
    """Converts names of sides.

    Args:
        names: (N,) 'left' / 'right'.

    Returns:
        (N,) int64, values of `Side`.

    Raises:
        PredictionsError: another name.
    """
    unknown = sorted(set(names.tolist()) - set(SIDE_LABELS))
    if unknown:
        raise PredictionsError(f"handedness must be 'left' or 'right' (or '' for no hand), got {unknown[0]!r}")
    return np.array([SIDE_LABELS.index(name) for name in names.tolist()], np.int64)


def _arrange(
    points: NDArray,
    frames: NDArray,
    sides: NDArray,
    num_frames: int,
    score: NDArray | None,
    arguments: dict[str, Any],
) -> Predictions:
    """Puts N detections at the indices of their frames and sides; a side that never occurs is left out."""
    if not len(points):
        raise PredictionsError('there is no hand in any frame, so there is nothing to refine')
    order = np.arange(len(points)) if score is None else np.argsort(-score, kind='stable')
    joints, valid = np.full((num_frames, 2, 21, 3), np.nan), np.zeros((num_frames, 2), bool)
    confidence = np.zeros((num_frames, 2, 21))
    for n in order:
        index = frames[n], sides[n]
        if not valid[index]:
            joints[index], valid[index] = points[n], True
            confidence[index] = 1 if score is None else score[n]
    hands = sorted(set(sides.tolist()))
    return Predictions(
        joints[:, hands],
        valid[:, hands],
        hand_side=np.array(hands),
        confidence=None if score is None else confidence[:, hands],
        **arguments,
    )


def _times(num_frames: int, timestamps: ArrayLike | None, fps: float | None) -> NDArray:
    if (timestamps is None) == (fps is None):
        raise PredictionsError('give either timestamps (T,) in seconds or fps')
    if fps is None:
        return np.asarray(timestamps)
    rate = numbers('fps', fps)
    if rate.ndim or not 0 < rate < np.inf:
        raise PredictionsError(f'fps must be a positive number, got {rate}')
    return np.arange(num_frames) / rate


def _broadcast(name: str, values: NDArray, shape: tuple[int, ...]) -> NDArray:
    """One value a hand, or one a detection, as one a detection."""
    if values.shape not in (shape, shape[1:], (), (1, 1)):
        raise PredictionsError(f'{name} must have shape (T, H) = {shape} or (H,), got {values.shape}')
    return np.broadcast_to(values, shape)


def _check_shapes(arrays: dict[str, tuple[NDArray, tuple[int, ...]]]) -> None:
    for name, (array, shape) in arrays.items():
        if array.shape != shape:
            raise PredictionsError(f'{name} must have shape {shape}, got {array.shape}')
