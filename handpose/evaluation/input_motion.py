"""How wrong the input of a refiner is, and what plain smoothing makes of it: what the noise model is calibrated by.

Legend: T frames. Metres in, millimetres out; all errors are of joints about the wrist.
"""

from typing import NamedTuple

import numpy as np

from handpose.evaluation.functional import acceleration_errors, align_pair, joint_mean, point_errors

WINDOWS = tuple(range(5, 33, 2))
PUBLISHED_WINDOW = 31
ORDER = 2


class InputTrack(NamedTuple):
    """One hand's estimate `joints` (T, 21, 3), `valid` (T,), and the truth `target` (T, 21, 3), `target_valid` (T, 21);
    the frames are neighbours."""

    joints: np.ndarray
    valid: np.ndarray
    target: np.ndarray
    target_valid: np.ndarray


class InputErrors(NamedTuple):
    """`mpjpe` mm and `acceleration` mm/frame^2 of the input; `smoothed` {window: mpjpe mm after Savitzky-Golay}."""

    mpjpe: float
    acceleration: float
    smoothed: dict

    def improvement(self, window):
        """By how much smoothing lowers the MPJPE, as a share of it; negative where it does harm."""
        return 1 - self.smoothed[window] / self.mpjpe

    @property
    def best_window(self):
        """The window that leaves the smallest MPJPE."""
        return min(self.smoothed, key=self.smoothed.get)


def without_gaps(joints, valid):
    """Joints (T, 21, 3) with frames that are not valid (T,) interpolated linearly; at the ends the nearest is repeated.

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


def savitzky_golay(joints, window, order=ORDER):
    """Joints (T, 21, 3), each coordinate smoothed by local polynomials; a window longer than the track is cut to it."""
    from scipy.signal import savgol_filter

    window = min(window, len(joints) - (1 - len(joints) % 2))
    return savgol_filter(joints, window, order, axis=0) if window > order else np.asarray(joints)


def input_errors(tracks, windows=WINDOWS):
    """Errors of the input of many tracks, and of the input after smoothing with every window.

    Args:
        tracks: InputTracks; those without a valid frame are left out. windows: odd numbers of frames.
    """
    errors, accelerations, smoothed = [], [], {window: [] for window in windows}
    for track in tracks:
        if not track.valid.any():
            continue
        joints = without_gaps(track.joints, track.valid)
        pair = (track.target, track.target_valid)
        errors.append(point_errors(joints, *pair, alignment='wrist'))
        relative, target, valid = align_pair(joints, *pair, alignment='wrist')
        accelerations.append(acceleration_errors(relative, target, np.arange(len(joints)), valid=valid))
        for window, found in smoothed.items():
            found.append(point_errors(savitzky_golay(joints, window), *pair, alignment='wrist'))
    if not errors:
        raise ValueError('none of the tracks has a frame with an estimate')
    means = {window: 1000 * joint_mean(np.concatenate(found)) for window, found in smoothed.items()}
    return InputErrors(
        1000 * joint_mean(np.concatenate(errors)), 1000 * joint_mean(np.concatenate(accelerations)), means
    )
