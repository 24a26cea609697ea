"""What `Predictions` may hold: each check with its error message.

Legend: T frames, H hands.
"""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handpose.hands.sides import SIDE_LABELS
from handpose.text import did_you_mean

FRAMES = ('camera', 'wrist')
SCALES = ('metric', 'relative')
FORECAST_FORMAT = 'handpose-forecast'  # of files that may be mistaken for a predictions file
RECORDING_FORMAT = 'handpose-recording'
UNITS = {'metre': 1.0, 'centimetre': 0.01, 'millimetre': 0.001}
_SMALLEST, _LARGEST = 0.02, 1.0  # metres, between which the longest side of a hand's box lies
_AT_ORIGIN = 1e-4  # metres
_RIGID = 1e-3  # of R R^T - I; files may hold rotations with four digits
_SLOWEST = 1.0  # seconds a frame; more is no video of a hand, but milliseconds or frame numbers


class PredictionsError(ValueError):
    """Predictions that cannot be used; the message says what was expected, what was found and what to do."""


class PredictedArrays(Protocol):
    """What this package's functions read of `Predictions`; see there."""

    joints: NDArray
    valid: NDArray
    timestamps: NDArray
    hand_side: NDArray
    frame: str
    confidence: NDArray | None
    intrinsics: NDArray | None
    image_size: NDArray | None
    scale: str
    joints_2d: NDArray | None
    joints_valid: NDArray | None
    joints_inferred: NDArray | None
    boxes: NDArray | None
    track_ids: NDArray | None
    object_scores: NDArray | None
    object_names: NDArray | None
    object_features: NDArray | None
    extrinsics: NDArray | None

    @property
    def period(self) -> float | None:
        """Seconds from a frame to the next, or None for a single frame."""

    def frame_numbers(self) -> NDArray:
        """Numbers the frames on a regular time line."""

    def given_joints(self) -> NDArray:
        """Tells which joints (T, H, 21) are there."""


def sides_as_numbers(sides: ArrayLike) -> NDArray:
    """Converts the sides of one or two hands.

    Args:
        sides: (H,) 'left' / 'right' in any case, or 0 / 1.

    Returns:
        (H,) int64, values of `Side`.

    Raises:
        PredictionsError: another name or number, or two hands of one side.
    """
    sides = np.atleast_1d(np.asarray(sides))
    if sides.ndim != 1 or len(sides) not in (1, 2):
        raise PredictionsError(f'hand_side must name one or two hands, got shape {sides.shape}')
    if sides.dtype.kind in 'US':
        names = [str(side).lower() for side in sides.astype(str)]
        for name in names:
            if name not in SIDE_LABELS:
                raise PredictionsError(
                    f"hand_side must be 'left' or 'right', got {name!r}.{did_you_mean(name, SIDE_LABELS)}"
                )
        numbers = [SIDE_LABELS.index(name) for name in names]
    elif sides.dtype.kind in 'iu':
        numbers = [int(side) for side in sides]
    else:
        raise PredictionsError(f'hand_side must be strings or whole numbers (0 left, 1 right), got {sides.dtype}')
    if sorted(numbers) not in ([0], [1], [0, 1]):
        raise PredictionsError(
            f'hand_side must be 0 (left) or 1 (right), and two hands must be one of each, got {list(sides)}'
        )
    return np.array(numbers, np.int64)


def as_numbers(name: str, values: ArrayLike, dtype: type[np.generic]) -> NDArray:
    """Converts to an array of numbers.

    Args:
        name: of the argument, for messages.
        values: numbers.
        dtype: of the result.

    Returns:
        A new array.

    Raises:
        PredictionsError: lists of different lengths, or something that is no number.
    """
    try:
        found = np.asarray(values)
    except ValueError:
        raise PredictionsError(f'{name} must be an array: lists of one length') from None
    if found.dtype.kind not in 'fiu':
        raise PredictionsError(f'{name} must be numbers, got {found.dtype}')
    return np.array(found, dtype)


def check_arrays(predictions: PredictedArrays) -> None:
    """Refuses shapes, types and numbers that no frame may have.

    Args:
        predictions: what is checked, a `Predictions`.

    Raises:
        PredictionsError: names the array, and what was expected and found.
    """
    _check_shapes(predictions)
    frame = predictions.frame
    if frame not in FRAMES:
        hint = ' Move world coordinates into the camera first.' if frame == 'world' else did_you_mean(frame, FRAMES)
        raise PredictionsError(f'frame must be {" or ".join(map(repr, FRAMES))}, got {frame!r}.{hint}')
    if predictions.scale not in SCALES:
        raise PredictionsError(
            f"scale must be 'metric' (lengths are true) or 'relative' (known up to a factor), got "
            f'{predictions.scale!r}.{did_you_mean(predictions.scale, SCALES)}'
        )
    _check_times(predictions.timestamps)
    _check_joint_masks(predictions)
    _check_numbers(predictions)
    _check_pixels(predictions)
    _check_objects(predictions)
    if frame == 'wrist' and predictions.valid.any():
        off = np.abs(np.where(predictions.valid[..., None], predictions.joints[:, :, 0], 0)).max(-1)
        if off.max() > _AT_ORIGIN:
            t, h = np.unravel_index(off.argmax(), off.shape)
            raise PredictionsError(
                f"in frame 'wrist' the wrist is the origin, but in {_where(predictions, t, h)} it lies "
                f"{1000 * off.max():.3g} mm away; subtract the wrist from the joints, or use frame 'camera'"
            )
    if predictions.intrinsics is not None:
        _check_intrinsics(predictions.intrinsics)
    if predictions.extrinsics is not None:
        _check_extrinsics(predictions.extrinsics)


def check_track(predictions: PredictedArrays) -> None:
    """Refuses what only a whole track can show: no hand at all, a wrong unit of length or time, a wrong axis.

    Args:
        predictions: what is checked, a `Predictions`.

    Raises:
        PredictionsError: says what is wrong and what to do.
    """
    valid = predictions.valid
    if not valid.any():
        raise PredictionsError(
            f'no frame of {len(valid)} has a hand: valid is False everywhere, so there is nothing to refine'
        )
    joints = predictions.joints[valid]  # NaN where a joint is not given
    extent = float(np.median((np.nanmax(joints, 1) - np.nanmin(joints, 1)).max(-1)))
    if not _SMALLEST < extent < _LARGEST:
        raise PredictionsError(
            f'the hand is {extent:.3g} m long in the unit given, and a hand is from {_SMALLEST:g} to {_LARGEST:g} m; '
            f'unit must say what joints are in: {", ".join(UNITS)}'
        )
    if predictions.period is not None and predictions.period >= _SLOWEST:
        raise PredictionsError(
            f'timestamps must be in seconds: from one frame to the next it is {predictions.period:.4g} here; divide '
            f'milliseconds by 1000, and frame numbers by the frames per second'
        )
    if predictions.frame == 'camera' and np.median(np.nanmedian(joints[..., 2], 1)) <= 0:
        raise PredictionsError(
            "in frame 'camera' the hand must lie in front of the camera (OpenCV's axes: x right, y down, z forward); "
            "here z of the wrist is not above 0: negate y and z of OpenGL's axes; or, where the hand is the origin, "
            "subtract the wrist and use frame 'wrist'"
        )


def _check_shapes(predictions: PredictedArrays) -> None:
    joints, valid = predictions.joints, predictions.valid
    hands = len(predictions.hand_side)
    if joints.ndim != 4 or joints.shape[1:] != (hands, 21, 3):
        raise PredictionsError(
            f'joints must have shape (T, H, 21, 3) with H = {hands}, as hand_side has, got {joints.shape}'
        )
    if joints.dtype.kind not in 'fiu':
        raise PredictionsError(f'joints must be numbers, got {joints.dtype}')
    frames = len(joints)
    if frames == 0:
        raise PredictionsError('there are no frames: joints, valid and timestamps are empty')
    if valid.shape != (frames, hands) or valid.dtype != bool:
        raise PredictionsError(
            f'valid must be bool of shape (T, H) = {(frames, hands)}, got {valid.dtype} of {valid.shape}'
        )
    expected: dict[str, tuple[NDArray | None, tuple[int, ...]]] = {
        'timestamps': (predictions.timestamps, (frames,)),
        'confidence': (predictions.confidence, (frames, hands, 21)),
        'intrinsics': (predictions.intrinsics, (3, 3)),
        'extrinsics': (predictions.extrinsics, (frames, 4, 4)),
        'image_size': (predictions.image_size, (2,)),
        'joints_2d': (predictions.joints_2d, (frames, hands, 21, 2)),
        'joints_valid': (predictions.joints_valid, (frames, hands, 21)),
        'joints_inferred': (predictions.joints_inferred, (frames, hands, 21)),
        'boxes': (predictions.boxes, (frames, hands, 4)),
        'track_ids': (predictions.track_ids, (frames, hands)),
    }
    for name, (value, shape) in expected.items():
        if value is not None and value.shape != shape:
            raise PredictionsError(f'{name} must have shape {shape}, got {value.shape}')
    kinds = {'joints_valid': 'b', 'joints_inferred': 'b', 'track_ids': 'iu'}
    for name, kind in kinds.items():
        value = expected[name][0]
        if value is not None and value.dtype.kind not in kind:
            raise PredictionsError(f'{name} must be {"bool" if kind == "b" else "whole numbers"}, got {value.dtype}')


def _check_times(times: NDArray) -> None:
    unknown = np.flatnonzero(~np.isfinite(times))
    if len(unknown):
        raise PredictionsError(f'timestamps must be numbers, not NaN or infinite as that of frame {unknown[0]}')
    late = np.flatnonzero(np.diff(times) <= 0)
    if len(late):
        t = late[0] + 1
        raise PredictionsError(
            f'time must go forward: frame {t - 1} is at {times[t - 1]:g} s and frame {t} at {times[t]:g} s; sort the '
            f'frames, and drop repeated ones'
        )


def _check_joint_masks(predictions: PredictedArrays) -> None:
    valid, joints_valid = predictions.valid, predictions.joints_valid
    if joints_valid is None:
        return
    empty = valid & ~joints_valid.any(-1)
    if empty.any():
        t, h = np.argwhere(empty)[0]
        raise PredictionsError(
            f'joints_valid has no joint in {_where(predictions, t, h)}, which is valid; set valid to False there'
        )
    if predictions.frame == 'wrist' and (valid & ~joints_valid[..., 0]).any():
        t, h = np.argwhere(valid & ~joints_valid[..., 0])[0]
        raise PredictionsError(
            f"in frame 'wrist' joints are relative to the wrist, which is not given in {_where(predictions, t, h)}; "
            f"give joints in frame 'camera', or set valid to False there"
        )


def _check_numbers(predictions: PredictedArrays) -> None:
    confidence = predictions.confidence
    broken = (_given(predictions) & ~np.isfinite(predictions.joints).all(3)).any(2)
    if broken.any():
        t, h = np.argwhere(broken)[0]
        raise PredictionsError(
            f'joints are NaN or infinite in {int(broken.sum())} valid frames, first in {_where(predictions, t, h)}; '
            f'set valid to False where the estimator gave no hand, joints_valid where it gave no joint'
        )
    if confidence is not None:
        wrong = (_given(predictions) & ~((confidence >= 0) & (confidence <= 1))).any(2)
        if wrong.any():
            t, h = np.argwhere(wrong)[0]
            raise PredictionsError(
                f'confidence must be from 0 to 1 in valid frames, not so in {_where(predictions, t, h)}'
            )
    size = predictions.image_size
    if size is not None and (size.dtype.kind not in 'iuf' or not (size > 0).all()):
        raise PredictionsError(f'image_size must be (width, height) in pixels, got {size.tolist()}')


def _check_pixels(predictions: PredictedArrays) -> None:
    valid, points, boxes = predictions.valid, predictions.joints_2d, predictions.boxes
    if points is not None:
        wrong = (_given(predictions) & ~np.isfinite(points).all(3)).any(2)
        if wrong.any():
            t, h = np.argwhere(wrong)[0]
            raise PredictionsError(
                f'joints_2d are NaN or infinite in {int(wrong.sum())} valid frames, first in '
                f'{_where(predictions, t, h)}; every joint that is given in 3D needs its pixels'
            )
    if boxes is not None:
        wrong = valid & ~(np.isfinite(boxes).all(2) & (boxes[..., 2:] >= boxes[..., :2]).all(2))
        if wrong.any():
            t, h = np.argwhere(wrong)[0]
            raise PredictionsError(
                f'boxes must be pixels (left, top, right, bottom) in valid frames, got {boxes[t, h].tolist()} in '
                f'{_where(predictions, t, h)}'
            )
    ids = predictions.track_ids
    if ids is not None and (valid & (ids < 0)).any():
        t, h = np.argwhere(valid & (ids < 0))[0]
        raise PredictionsError(
            f'track_ids must be 0 or above where a hand is valid, not so in {_where(predictions, t, h)}'
        )


def _check_objects(predictions: PredictedArrays) -> None:
    frames, names, scores = len(predictions.joints), predictions.object_names, predictions.object_scores
    for name, value in (('object_scores', scores), ('object_features', predictions.object_features)):
        if value is None:
            continue
        if value.ndim != 2 or len(value) != frames or not value.shape[1]:
            raise PredictionsError(f'{name} must have one row for each of {frames} frames, got shape {value.shape}')
        if not np.isfinite(value).all():
            t = np.argwhere(~np.isfinite(value))[0][0]
            raise PredictionsError(f'{name} are NaN or infinite in frame {t}; give zeros where the object is unknown')
    if names is None:
        return
    if names.ndim != 1 or names.dtype.kind != 'U':
        raise PredictionsError(f'object_names must be a list of texts, got {names.dtype} of shape {names.shape}')
    if scores is None or scores.shape[1] != len(names):
        found = 'no object_scores' if scores is None else f'object_scores of shape {scores.shape}'
        raise PredictionsError(f'object_names name the columns of object_scores: got {len(names)} names and {found}')


def _given(predictions: PredictedArrays) -> NDArray:
    """(T, H, 21) the joints that are there."""
    joints_valid, valid = predictions.joints_valid, predictions.valid[..., None]
    return valid & (np.ones(21, bool) if joints_valid is None else joints_valid)


def _check_extrinsics(matrices: NDArray) -> None:
    rotations = matrices[:, :3, :3]
    rigid = np.abs(rotations @ rotations.swapaxes(1, 2) - np.eye(3)).max((1, 2)) < _RIGID
    rigid &= (np.linalg.det(rotations) > 0) & (np.abs(matrices[:, 3] - (0, 0, 0, 1)).max(1) < 1e-6)
    wrong = np.flatnonzero(~(rigid & np.isfinite(matrices).all((1, 2))))
    if len(wrong):
        raise PredictionsError(
            f'extrinsics must be rotations and translations from the world to the camera, (R, t) above (0, 0, 0, 1), '
            f'got {matrices[wrong[0]].tolist()} in frame {wrong[0]}'
        )


def _check_intrinsics(matrix: NDArray) -> None:
    focal = matrix[[0, 1], [0, 1]]
    if not np.isfinite(matrix).all() or (focal <= 0).any() or np.abs(matrix[2] - (0, 0, 1)).max() > 1e-6:
        raise PredictionsError(
            f'intrinsics must be a pinhole matrix in pixels, (fx, 0, cx), (0, fy, cy), (0, 0, 1), got {matrix.tolist()}'
        )


def _where(predictions: PredictedArrays, t: int, h: int) -> str:
    return f'frame {t}, {SIDE_LABELS[predictions.hand_side[h]]} hand'
