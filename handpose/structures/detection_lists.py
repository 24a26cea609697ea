"""Detections as estimators list them: hands of a frame in lists of different lengths, and numbers in many forms.

Legend: T frames, H hands, N detections.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handpose.structures.prediction_checks import PredictionsError

MAX_HANDS = 2


def hands_as_arrays(
    world_landmarks: Sequence[Any], handedness: Any, score: Any, landmarks: Any
) -> tuple[NDArray, NDArray, NDArray | None, NDArray | None]:
    """Converts lists of hands per frame to arrays.

    Args:
        world_landmarks: T items, each a list of 0 to 2 hands (21, 3), or one hand, or None or [] for no hand.
        handedness: one name; one a frame; or a list of names for each frame, as many as hands.
        score: as handedness, numbers; or None.
        landmarks: as world_landmarks, of the same hands, or None.

    Returns:
        World landmarks (T, 2, 21, 3) with NaN where there is no hand, handedness (T, 2) with '', score (T, 2) or None,
        landmarks (T, 2, 21, 3) or None.

    Raises:
        PredictionsError: an item that is no list of hands, or names or landmarks that are not as many; it names the
            frame.
    """
    frames = [_hands_of(item, t, 'world_landmarks') for t, item in enumerate(world_landmarks)]
    names = _per_hand('handedness', handedness, frames, '')
    score = None if score is None else _per_hand('score', score, frames, 0.0)
    if landmarks is None:
        return _as_array(frames), names, score, None
    shown = [_hands_of(item, t, 'landmarks') for t, item in enumerate(landmarks)]
    if len(shown) != len(frames):
        raise PredictionsError(f'landmarks must have {len(frames)} frames, as world_landmarks has, got {len(shown)}')
    for t, (hands, others) in enumerate(zip(frames, shown, strict=True)):
        if len(hands) != len(others):
            raise PredictionsError(
                f'frame {t} has {len(hands)} hands in world_landmarks and {len(others)} in landmarks'
            )
    return _as_array(frames), names, score, _as_array(shown)


def _as_array(frames: list[list[NDArray]]) -> NDArray:
    """(T, 2, 21, 3) with NaN where there is no hand."""
    points = np.full((len(frames), MAX_HANDS, 21, 3), np.nan)
    for t, hands in enumerate(frames):
        for h, hand in enumerate(hands):
            points[t, h] = hand
    return points


def as_integers(name: str, values: ArrayLike) -> NDArray:
    """Converts whole numbers, floats without a fraction, or strings of digits such as '000012'.

    Args:
        name: of the argument, for messages.
        values: (N,) or (N, 1).

    Returns:
        (N,) int64.

    Raises:
        PredictionsError: anything else; names the first value that is none.
    """
    values = np.asarray(values)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.dtype.kind in 'iu' or not values.size:
        return values.astype(np.int64)
    wrong = np.ones(values.shape, bool)
    if values.dtype.kind == 'f':
        wrong = ~(np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53))
    elif values.dtype.kind == 'U':
        wrong = ~(np.char.isdecimal(values) & (np.char.str_len(values) <= 18))
    elif values.dtype.kind == 'S':
        return as_integers(name, np.char.decode(values, 'latin-1'))
    if wrong.any():
        raise PredictionsError(
            f'{name} must be whole numbers, or strings of digits such as "000012", got {values[wrong][0].item()!r}'
        )
    return values.astype(np.int64)


def flags(name: str, values: ArrayLike) -> NDArray:
    """Converts 0 and 1, given as numbers or booleans.

    Args:
        name: of the argument, for messages.
        values: (N,) or (N, 1).

    Returns:
        (N,) int64.

    Raises:
        PredictionsError: another value; names it.
    """
    values = np.asarray(values)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.dtype.kind not in 'biuf':
        raise PredictionsError(f'{name} must be 1 (right) or 0 (left), got values of type {values.dtype}')
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        raise PredictionsError(f'{name} must be 1 (right) or 0 (left), got {values[wrong][0].item()!r}')
    return values.astype(np.int64)


def numbers(name: str, values: ArrayLike) -> NDArray:
    """Converts to an array of float64.

    Args:
        name: of the argument, for messages.
        values: numbers, or nested lists of one length.

    Returns:
        The array.

    Raises:
        PredictionsError: lists of different lengths, or something that is no number.
    """
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError):
        raise PredictionsError(f'{name} must be an array of numbers: lists of one length, without texts') from None


def is_ragged(landmarks: Any) -> bool:
    """Tells whether landmarks are a list whose items do not make one array.

    Args:
        landmarks: what the user gave.

    Returns:
        Whether they are.
    """
    if not isinstance(landmarks, (list, tuple)):
        return False
    try:
        return np.asarray(landmarks).dtype.kind not in 'fiu'
    except ValueError:
        return True


def _hands_of(item: Any, t: int, name: str) -> list[NDArray]:
    """A list of hands (21, 3) of one frame."""
    expected = f'frame {t} of {name} must be a list of 0 to {MAX_HANDS} hands of 21 points (x, y, z)'
    if item is None:
        return []
    if not isinstance(item, (list, tuple, np.ndarray)):
        raise PredictionsError(f'{expected}, got {item!r}')
    if len(item) == 0:
        return []
    try:
        hands = np.array([np.full((21, 3), np.nan) if hand is None else hand for hand in item], np.float64)
    except (ValueError, TypeError):
        raise PredictionsError(f'{expected}; its hands differ in shape or hold something that is no number') from None
    hands = hands[None] if hands.shape == (21, 3) else hands
    if hands.ndim != 3 or hands.shape[1:] != (21, 3) or len(hands) > MAX_HANDS:
        raise PredictionsError(f'{expected}, got shape {hands.shape}')
    return list(hands)


def _per_hand(name: str, values: Any, frames: list[list[NDArray]], empty: str | float) -> NDArray:
    """One value a hand as an array (T, 2); `values` is one for all, one a frame, or a list for each frame."""
    result = np.full((len(frames), MAX_HANDS), empty, dtype=object)
    values = values.tolist() if isinstance(values, np.ndarray) else values
    values = values[0] if isinstance(values, list) and len(values) == 1 and not isinstance(values[0], list) else values
    if not isinstance(values, (list, tuple)):
        values = [values] * len(frames)
    if len(values) != len(frames):
        raise PredictionsError(f'{name} must be one for all frames or {len(frames)}, one for each, got {len(values)}')
    for t, (hands, given) in enumerate(zip(frames, values, strict=True)):
        given = given if isinstance(given, (list, tuple)) else [given] * len(hands)
        if len(given) != len(hands):
            raise PredictionsError(
                f'{name} of frame {t} must have one value for each of its {len(hands)} hands, got {len(given)}'
            )
        result[t, : len(hands)] = given
    try:
        return result.astype(float) if isinstance(empty, float) else result.astype(str)
    except (ValueError, TypeError):
        raise PredictionsError(f'{name} must be numbers, got {result.ravel()[0]!r}') from None


def frame_times(num_frames: int, timestamps: ArrayLike | None, fps: float | None) -> NDArray:
    """Makes the times of the frames.

    Args:
        num_frames: T.
        timestamps: (T,) seconds, or None.
        fps: frames per second, or None.

    Returns:
        (T,) seconds.

    Raises:
        PredictionsError: neither or both of timestamps and fps, or a rate that is not positive.
    """
    if (timestamps is None) == (fps is None):
        raise PredictionsError('give either timestamps (T,) in seconds or fps')
    if fps is None:
        return np.asarray(timestamps)
    rate = numbers('fps', fps)
    if rate.ndim or not 0 < rate < np.inf:
        raise PredictionsError(f'fps must be a positive number, got {rate}')
    return np.arange(num_frames) / rate


def check_shapes(arrays: dict[str, tuple[NDArray, tuple[int, ...]]]) -> None:
    """Refuses arrays of other shapes than expected.

    Args:
        arrays: {name: (array, shape)}.

    Raises:
        PredictionsError: names the array.
    """
    for name, (array, shape) in arrays.items():
        if array.shape != shape:
            raise PredictionsError(f'{name} must have shape {shape}, got {array.shape}')
