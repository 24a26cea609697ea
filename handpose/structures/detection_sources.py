"""Converters from the detections of well-known hand estimators to `Predictions`.

Legend: T frames, H hands, N detections. Every converter takes either `timestamps` (T,) in seconds or `fps`.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handpose.hands.sides import SIDE_LABELS, Side
from handpose.structures.detection_lists import (
    as_integers,
    check_shapes,
    flags,
    frame_times,
    hands_as_arrays,
    is_ragged,
    numbers,
)
from handpose.structures.prediction_checks import PredictionsError
from handpose.structures.predictions import Predictions

_MIRROR = np.array([-1.0, 1.0, 1.0])
FOCAL_PER_PIXEL = 5000 / 256  # the focal length of HaMeR and WiLoR for each pixel of the longer side of the image
_LARGEST_NORMALISED = 4.0  # hands that leave the image go beyond 0 and 1, but not far
_PROJECTION_TOLERANCE = 0.2  # of the hand's extent in the image


def from_mediapipe(
    world_landmarks: Any,
    handedness: Any,
    timestamps: ArrayLike | None = None,
    fps: float | None = None,
    score: Any = None,
    swap_handedness: bool = False,
    landmarks: Any = None,
    image_size: ArrayLike | None = None,
    landmarks_in_pixels: bool = False,
    source: str = 'MediaPipe',
    licence: str = '',
) -> Predictions:
    """Converts MediaPipe's hand *world* landmarks and, if given, its landmarks in the image.

    World landmarks are in metres of a hand of typical size, so their scale is 'relative', in axes parallel to the
    camera's, with an origin in each hand. They do not tell where the hand is, so the result is in frame 'wrist': the
    wrist is subtracted. MediaPipe's 21 landmarks are in the common order. Frames that are NaN or all zeros are missing.

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
        landmarks: the landmarks in the image, in the shapes of world_landmarks with 2 or 3 coordinates (lists: 3), of
            which z is not used; or None. They become `joints_2d`.
        image_size: (width, height) pixels; needed for landmarks that are not in pixels.
        landmarks_in_pixels: landmarks are pixels, and not from 0 to 1 as MediaPipe gives them.
        source: text about where the predictions come from.
        licence: text about what may be done with them.

    Returns:
        Predictions in frame 'wrist'.

    Raises:
        PredictionsError: shapes or names that do not fit; neither or both of timestamps and fps.
    """
    if is_ragged(world_landmarks):
        world_landmarks, handedness, score, landmarks = hands_as_arrays(world_landmarks, handedness, score, landmarks)
    points = numbers('world_landmarks', world_landmarks)
    if points.ndim not in (3, 4) or points.shape[-2:] != (21, 3):
        raise PredictionsError(f'world_landmarks must have shape (T, 21, 3) or (T, H, 21, 3), got {points.shape}')
    try:
        names = np.asarray(handedness).astype(str)
    except ValueError:
        raise PredictionsError('handedness must be an array of names: lists of one length') from None
    score = None if score is None else numbers('score', score)
    pixels = None if landmarks is None else _landmark_pixels(landmarks, points, image_size, landmarks_in_pixels)
    if points.ndim == 3:
        points, names, score = points[:, None], names.reshape(-1, 1), None if score is None else score.reshape(-1, 1)
    names = np.char.lower(_broadcast('handedness', names, points.shape[:2]))
    score = None if score is None else _broadcast('score', score, points.shape[:2])
    with_hand = np.isfinite(points).all((2, 3)) & (points != 0).any((2, 3)) & (names != '')
    sides = sides_of(names[with_hand])
    detections = dict(joints=points[with_hand] - points[with_hand][:, :1])
    if pixels is not None:
        detections['joints_2d'] = pixels[with_hand]
    known = dict(timestamps=frame_times(len(points), timestamps, fps), image_size=image_size)
    return _arrange(
        detections,
        np.nonzero(with_hand)[0],
        1 - sides if swap_handedness else sides,
        len(points),
        None if score is None else score[with_hand],
        known | dict(frame='wrist', source=source, licence=licence, scale='relative'),
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
    keypoints_2d: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    mirrored_left: bool = True,
    source: str = 'HaMeR',
    licence: str = '',
) -> Predictions:
    """Converts HaMeR's output: one row a detected hand, in frame 'camera'.

    HaMeR predicts every hand as a right one and moves it by a translation for a camera of very long focal length. So
    x of left hands is negated here before the translation is added. Its 21 keypoints are in the common order. Depths
    that come from that focal length are 'relative' in scale.

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
        keypoints_2d: (N, 21, 2) pixels of the whole image; by default keypoints_3d are projected.
        boxes: (N, 4) xyxy pixels of the whole image, or None.
        mirrored_left: left hands are given as right hands seen in a mirror, as the model has them; False where x of
            left hands was negated already.
        source: text about where the predictions come from.
        licence: text about what may be done with them.

    Returns:
        Predictions in frame 'camera' with `joints_2d`; scale 'metric' if camera_focal_length is given.

    Raises:
        PredictionsError: shapes that do not fit; keypoints_2d that are not the projection of keypoints_3d; neither or
            both of timestamps and fps.
    """
    rows = {'keypoints_3d': keypoints_3d, 'cam_t': cam_t, 'keypoints_2d': keypoints_2d, 'boxes': boxes}
    given = {name: numbers(name, value) for name, value in rows.items() if value is not None}
    right, frames = flags('is_right', is_right), as_integers('frame_index', frame_index)
    size = numbers('image_size', image_size)
    _check_rows(given | {'is_right': right, 'frame_index': frames}, size)
    if num_frames is None:
        num_frames = len(timestamps) if timestamps is not None else int(frames.max(initial=-1)) + 1
    if len(frames) and not 0 <= frames.min() <= frames.max() < num_frames:
        raise PredictionsError(f'frame_index must be from 0 to {num_frames - 1}, got {frames.min()} to {frames.max()}')
    _check_focal_lengths(dict(focal_length=focal_length, camera_focal_length=camera_focal_length))
    # A row with NaN is no hand.
    found = np.isfinite(given['keypoints_3d']).all((1, 2)) & np.isfinite(given['cam_t']).all(1)
    given = {name: values[found] for name, values in given.items()}
    points, shift, frames, right = given['keypoints_3d'], given['cam_t'], frames[found], right[found]
    if mirrored_left:
        points = np.where(right[:, None, None] == Side.RIGHT, points, points * _MIRROR)
    focal = focal_length or FOCAL_PER_PIXEL * max(size)
    detections = {'joints_2d': _project(points + shift[:, None], focal, size)}
    if 'keypoints_2d' in given:
        _check_projection(given['keypoints_2d'], detections['joints_2d'], right)
        detections['joints_2d'] = given['keypoints_2d']
    if 'boxes' in given:
        detections['boxes'] = given['boxes']
    if camera_focal_length:
        shift, focal = shift * (1, 1, camera_focal_length / focal), camera_focal_length
    known = dict(timestamps=frame_times(num_frames, timestamps, fps), image_size=size, source=source, licence=licence)
    return _arrange(
        {'joints': points + shift[:, None], **detections},
        frames,
        right,
        num_frames,
        None if score is None else numbers('score', score).reshape(-1)[found],
        known
        | dict(frame='camera', scale='metric' if camera_focal_length else 'relative')
        | dict(intrinsics=[[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]]),
    )


def from_wilor(
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
    keypoints_2d: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    mirrored_left: bool = False,
    source: str = 'WiLoR',
    licence: str = '',
) -> Predictions:
    """Converts WiLoR's output, as WiLoR-mini returns it: one row a detected hand, in frame 'camera'.

    WiLoR is a network like HaMeR with the same camera. WiLoR-mini gives left hands as they are, and in pixels of the
    whole image; for output of the model itself, set mirrored_left and leave keypoints_2d out.

    Args:
        keypoints_3d: (N, 21, 3) metres, `pred_keypoints_3d`.
        cam_t: (N, 3) metres, `pred_cam_t_full`.
        is_right: (N,) 1 or 0.
        frame_index: as in `from_hamer`.
        image_size: (width, height) of the frames in pixels.
        num_frames: as in `from_hamer`.
        timestamps: (T,) seconds; or `fps`.
        fps: frames per second; or `timestamps`.
        score: as in `from_hamer`.
        focal_length: `scaled_focal_length`; default 5000 / 256 of the longer side.
        camera_focal_length: as in `from_hamer`.
        keypoints_2d: (N, 21, 2) pixels of the whole image, `pred_keypoints_2d`; by default keypoints_3d are projected.
        boxes: (N, 4) xyxy pixels, `hand_bbox`, or None.
        mirrored_left: left hands are given as right hands seen in a mirror, as the model itself has them.
        source: text about where the predictions come from.
        licence: text about what may be done with them.

    Returns:
        Predictions in frame 'camera' with `joints_2d`; scale 'metric' if camera_focal_length is given.

    Raises:
        PredictionsError: as in `from_hamer`.
    """
    return from_hamer(
        keypoints_3d, cam_t, is_right, frame_index, image_size, num_frames, timestamps, fps, score, focal_length,
        camera_focal_length, keypoints_2d, boxes, mirrored_left, source, licence,
    )  # fmt: skip


def _check_focal_lengths(values: dict[str, float | None]) -> None:
    for name, value in values.items():
        if value is not None and not (np.ndim(numbers(name, value)) == 0 and 0 < value < np.inf):
            raise PredictionsError(f'{name} must be a positive number of pixels, got {value!r}')


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


def _broadcast(name: str, values: NDArray, shape: tuple[int, ...]) -> NDArray:
    """One value a hand, or one a detection, as one a detection."""
    if values.shape not in (shape, shape[1:], (), (1, 1)):
        raise PredictionsError(f'{name} must have shape (T, H) = {shape} or (H,), got {values.shape}')
    return np.broadcast_to(values, shape)


def _check_rows(given: dict[str, NDArray], size: NDArray) -> None:
    """Refuses arrays whose shapes are not those of N detections."""
    inner = {'keypoints_3d': (21, 3), 'cam_t': (3,), 'keypoints_2d': (21, 2), 'boxes': (4,)}
    count = len(given['keypoints_3d']) if given['keypoints_3d'].ndim else 0
    rows = {name: (values, (count, *inner.get(name, ()))) for name, values in given.items()}
    check_shapes({**rows, 'image_size': (size, (2,))})


def _landmark_pixels(landmarks: Any, points: NDArray, image_size: Any, in_pixels: bool) -> NDArray:
    """MediaPipe's landmarks as pixels (T, H, 21, 2)."""
    pixels = numbers('landmarks', landmarks)
    if pixels.shape[:-1] != points.shape[:-1] or pixels.shape[-1:] not in ((2,), (3,)):
        raise PredictionsError(
            f'landmarks must have the shape of world_landmarks, {points.shape}, with 2 or 3 coordinates, got '
            f'{pixels.shape}'
        )
    pixels = pixels[..., :2]
    if not in_pixels:
        if image_size is None:
            raise PredictionsError('landmarks from 0 to 1 become pixels with image_size: give (width, height)')
        size = numbers('image_size', image_size)
        check_shapes({'image_size': (size, (2,))})
        if np.abs(pixels).max(initial=0, where=np.isfinite(pixels)) > _LARGEST_NORMALISED:
            raise PredictionsError(
                f'landmarks must be from 0 to 1, as MediaPipe gives them, got up to {np.nanmax(pixels):g}; '
                f'landmarks_in_pixels says that they are pixels'
            )
        pixels = pixels * size
    return pixels[:, None] if pixels.ndim == 3 else pixels


def _project(points: NDArray, focal: float, size: NDArray) -> NDArray:
    """(N, 21, 3) camera coordinates to pixels (N, 21, 2), the principal point in the middle of the image."""
    with np.errstate(divide='ignore', invalid='ignore'):
        return focal * points[..., :2] / points[..., 2:] + size / 2


def _check_projection(pixels: NDArray, projected: NDArray, right: NDArray) -> None:
    """Refuses 2D keypoints of another image or crop, and left hands that are mirrored or not, against what was said."""
    extent = np.ptp(projected, axis=1).max(-1)
    off = np.linalg.norm(pixels - projected, axis=-1).mean(1) / np.maximum(extent, 1e-9)
    for side, name in enumerate(SIDE_LABELS):
        chosen = off[right == side]
        if len(chosen) and not np.median(chosen) < _PROJECTION_TOLERANCE:
            hint = (
                'mirrored_left says whether x of left hands is still to be negated, and ' if side == Side.LEFT else ''
            )
            raise PredictionsError(
                f'keypoints_2d of {name} hands are not where keypoints_3d + cam_t are projected to (off by '
                f'{np.median(chosen):.0%} of the hand): {hint}keypoints_2d must be pixels of the whole image'
            )


def _arrange(
    detections: dict[str, NDArray],
    frames: NDArray,
    sides: NDArray,
    num_frames: int,
    score: NDArray | None,
    arguments: dict[str, Any],
) -> Predictions:
    """Puts N detections at the indices of their frames and sides; a side that never occurs is left out."""
    if not len(frames):
        raise PredictionsError('there is no hand in any frame, so there is nothing to refine')
    order = np.arange(len(frames)) if score is None else np.argsort(-score, kind='stable')
    shape = (num_frames, 2)
    arrays: dict[str, Any] = {name: np.full((*shape, *values.shape[1:]), np.nan) for name, values in detections.items()}
    valid, confidence = np.zeros(shape, bool), np.zeros((*shape, 21))
    for n in order:
        index = frames[n], sides[n]
        if not valid[index]:
            for name, values in detections.items():
                arrays[name][index] = values[n]
            valid[index], confidence[index] = True, 1 if score is None else score[n]
    hands = sorted(set(sides.tolist()))
    return Predictions(
        valid=valid[:, hands],
        hand_side=np.array(hands),
        confidence=None if score is None else confidence[:, hands],
        **{name: values[:, hands] for name, values in arrays.items()},
        **arguments,
    )
