"""Errors of a refiner's input, before and after plain smoothing, by which the noise model is calibrated.

Legend: T frames. Metres in, millimetres out; all errors are of joints about the wrist.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from handpose.evaluation.alignment import BoolArray, FloatArray, align_pair
from handpose.evaluation.functional import acceleration_errors, joint_mean, point_errors

WINDOWS = tuple(range(5, 33, 2))
PUBLISHED_WINDOW = 31
ORDER = 2


class InputTrack(NamedTuple):
    """One hand in consecutive frames.

    Args:
        joints: estimated joints (T, 21, 3).
        valid: (T,) frames with an estimate.
        target: true joints (T, 21, 3).
        target_valid: (T, 21).
    """

    joints: FloatArray
    valid: BoolArray
    target: FloatArray
    target_valid: BoolArray


class InputErrors(NamedTuple):
    """Errors of the input of a refiner.

    Args:
        mpjpe: of the input, mm.
        acceleration: acceleration error of the input, mm/frame^2.
        smoothed: {window: MPJPE in mm after a Savitzky-Golay filter with that window}.
    """

    mpjpe: float
    acceleration: float
    smoothed: dict[int, float]

    def improvement(self, window: int) -> float:
        """By how much smoothing lowers the MPJPE, as a share of it; negative where it raises it.

        Args:
            window: of the filter, frames.
        """
        return 1 - self.smoothed[window] / self.mpjpe

    @property
    def best_window(self) -> int:
        """The window with the smallest MPJPE."""
        return min(self.smoothed, key=lambda window: self.smoothed[window])


def without_gaps(joints: FloatArray, valid: BoolArray) -> FloatArray:
    """Fills frames that are not valid by linear interpolation, and those at the ends with the nearest valid frame.

    Args:
        joints: (T, 21, 3).
        valid: (T,).

    Returns:
        (T, 21, 3) float64.

    Raises:
        ValueError: no frame is valid.
    """
    places = np.flatnonzero(valid)
    if not len(places):
        raise ValueError('no frame is valid, so nothing can be interpolated')
    if len(places) == len(joints):
        return np.asarray(joints, np.float64)
    flat = np.asarray(joints, np.float64).reshape(len(joints), -1)
    frames = np.arange(len(joints))
    return np.stack([np.interp(frames, places, column[places]) for column in flat.T], 1).reshape(joints.shape)


def savitzky_golay(joints: FloatArray, window: int, order: int = ORDER) -> FloatArray:
    """Smooths each coordinate by local polynomials.

    Args:
        joints: (T, 21, 3).
        window: odd number of frames; cut to the length of the track.
        order: of the polynomials.

    Returns:
        (T, 21, 3).
    """
    from scipy.signal import savgol_filter

    window = min(window, len(joints) - (1 - len(joints) % 2))
    return savgol_filter(joints, window, order, axis=0) if window > order else np.asarray(joints)


def input_errors(tracks: Iterable[InputTrack], windows: Sequence[int] = WINDOWS) -> InputErrors:
    """Errors of the input of many tracks, and of the input after smoothing with each window.

    Args:
        tracks: those without a valid frame are left out.
        windows: odd numbers of frames.

    Raises:
        ValueError: no track has a valid frame.
    """
    errors: list[FloatArray] = []
    accelerations: list[FloatArray] = []
    smoothed: dict[int, list[FloatArray]] = {window: [] for window in windows}
    for track in tracks:
        if not track.valid.any():
            continue
        joints = without_gaps(track.joints, track.valid)
        truth = (track.target, track.target_valid)
        errors.append(point_errors(joints, *truth, alignment='wrist'))
        relative, target, valid = align_pair(joints, *truth, alignment='wrist')
        accelerations.append(acceleration_errors(relative, target, np.arange(len(joints)), valid=valid))
        for window, found in smoothed.items():
            found.append(point_errors(savitzky_golay(joints, window), *truth, alignment='wrist'))
    if not errors:
        raise ValueError('none of the tracks has a frame with an estimate')
    means = {window: 1000 * joint_mean(np.concatenate(found)) for window, found in smoothed.items()}
    return InputErrors(
        1000 * joint_mean(np.concatenate(errors)), 1000 * joint_mean(np.concatenate(accelerations)), means
    )
