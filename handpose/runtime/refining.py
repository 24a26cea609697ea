"""Refining a track of one hand with an exported refiner: windows, gaps, frame rates and left hands, in NumPy.

It does what `MotionRefiner.refine` does with torch, for hands with all 21 joints. Legend: T frames, S frames at the
rate of the network, W windows.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handpose.runtime.exported_model import ExportedModel

LEFT = 0
WINDOWS_AT_ONCE = 64  # that the network takes in one call, which bounds its memory
_STEP_TOLERANCE = 0.1  # frames: how much a step in time may differ from a whole number of frames


def refine_track(
    model: ExportedModel,
    joints: ArrayLike,
    hand_side: int,
    times: ArrayLike | None = None,
    given: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """Refines the joints of one hand in all frames of a track.

    Args:
        model: an exported refiner, such as PDTM or DSTformer.
        joints: (T, 21, 3) metres, in the common joint order and a frame that stands still.
        hand_side: 0 left, 1 right.
        times: (T,) seconds, increasing; None means that the track comes at the frame rate of the network.
        given: (T,) bool, frames in which the hand was found; None means all. Others may hold anything.

    Returns:
        (T, 21, 3) metres.

    Raises:
        ValueError: a network that is no refiner of windows, shapes that do not fit, no given frame, given joints that
            are not finite, or times that do not increase.
    """
    described = model.metadata
    if 'refined_joints' not in model.outputs or not described['num_frames'] or not described['frame_rate']:
        raise ValueError(f'{model.path} holds {described["estimator"]}, which refines no windows of joints')
    track = np.asarray(joints, np.float64)
    found = np.ones(len(track), bool) if given is None else np.asarray(given, bool)
    if track.shape != (len(found), 21, 3) or not found.any():
        raise ValueError(
            f'joints must be (T, 21, 3) and given (T,) with a True, got {track.shape} and {found.shape} with '
            f'{int(found.sum())}'
        )
    if not np.isfinite(track[found]).all():
        raise ValueError(
            'joints of given frames must be finite: frames without the hand are those where given is False'
        )
    positions = _positions(len(track), times, described['frame_rate'])
    line = np.arange(int(positions[-1] + 1e-6) + 1, dtype=np.float64)
    filled = _interpolate(track[found], positions[found], line)  # (S, 21, 3)
    sign = np.array([-1.0 if hand_side == LEFT and described['mirror_left_hands'] else 1.0, 1.0, 1.0])
    motion = _refine_windows(model, filled * sign, described['num_frames'], described['stride']) * sign
    refined = _interpolate(motion, line, positions)
    late = positions > line[-1]  # the last correction goes on
    refined[late] += _interpolate(track[found], positions[found], positions[late]) - filled[-1]
    return refined.astype(np.float32)


def _positions(num_frames: int, times: ArrayLike | None, rate: float) -> NDArray[np.float64]:
    """Places of the frames on the time line of the network, in its frames; nearly whole steps count as whole."""
    if times is None:
        return np.arange(num_frames, dtype=np.float64)
    seconds = np.asarray(times, np.float64)
    if seconds.shape != (num_frames,):
        raise ValueError(f'times must have the shape ({num_frames},), got {seconds.shape}')
    if not (np.isfinite(seconds).all() and (np.diff(seconds) > 0).all()):
        raise ValueError('times must be finite and increase from frame to frame')
    steps = np.diff(seconds) * rate
    whole = np.round(steps)
    steps = np.where((whole >= 1) & (np.abs(steps - whole) <= _STEP_TOLERANCE), whole, steps)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _interpolate(values: NDArray, positions: NDArray, at: NDArray) -> NDArray[np.float64]:
    """Values (T, 21, 3) at other positions (S,): linear, and the nearest one outside."""
    flat = values.reshape(len(values), -1)
    columns = [np.interp(at, positions, column) for column in flat.T]
    return np.stack(columns, -1).reshape(len(at), *values.shape[1:])


def _refine_windows(model: ExportedModel, joints: NDArray, size: int, stride: int) -> NDArray[np.float64]:
    """Averages what overlapping windows say of each frame (S, 21, 3)."""
    count = len(joints)
    starts = list(range(0, max(count - size, 0) + 1, stride))
    if starts[-1] + size < count:
        starts.append(count - size)
    total, weight = np.zeros(joints.shape), np.zeros(count)
    for first in range(0, len(starts), WINDOWS_AT_ONCE):
        index = np.array(starts[first : first + WINDOWS_AT_ONCE])[:, None] + np.arange(size)  # (W, size)
        present = index < count
        windows = joints[np.minimum(index, count - 1)].astype(np.float32)
        refined = model.run({'joints': windows, 'frame_valid': present})['refined_joints']
        np.add.at(total, index[present], refined[present])
        np.add.at(weight, index[present], 1.0)
    return total / weight[:, None, None]
