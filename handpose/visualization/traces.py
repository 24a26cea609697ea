"""Traces of joints over time before and after refining."""

from typing import Any

import numpy as np

from handpose.evaluation.motion_summary import accelerations
from handpose.hands.joints import COMMON_JOINTS
from handpose.structures import Predictions
from handpose.visualization.figures import figure_image

BEFORE, AFTER = '#e8833a', '#1f6fc4'
_MISSING = '0.88'
_TRACED = ('wrist', 'thumb_tip', 'index_tip', 'little_tip')
_AXES = 'xyz'


def joint_traces(before: Predictions, after: Predictions, frames: int = 100, title: str = '') -> np.ndarray:
    """A figure of what refining changed: the acceleration over the whole track, and below it the paths of some joints.

    The paths are shown where the track jitters most: the wrist (in frame 'camera', about its mean) and three
    fingertips relative to the wrist, in mm. Frames without a hand in `before` are grey.

    Args:
        before: `Predictions`.
        after: `Predictions` of the same frames and hands.
        frames: length of the detail.
        title: above the figure.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    from matplotlib.figure import Figure

    _check(before, after)
    traced = _TRACED[1:] if before.frame == 'wrist' else _TRACED
    hands = len(before.hand_side)
    figure = Figure(figsize=(13, hands * (2.2 + 1.35 * len(traced)) + 0.5), dpi=110, layout='constrained')
    blocks = figure.subfigures(hands, 1, squeeze=False)[:, 0]
    for h, block in enumerate(blocks):
        name = f'{("left", "right")[before.hand_side[h]]} hand'
        _draw_hand(block, before, after, h, traced, frames, f'{title}: {name}' if title else name)
    return figure_image(figure)


def _draw_hand(
    block: Any, before: Predictions, after: Predictions, h: int, traced: Any, frames: int, title: str
) -> None:
    grid = block.add_gridspec(1 + len(traced), 3, height_ratios=[1.5] + [1] * len(traced))
    numbers = before.frame_numbers()
    shaken = _acceleration(before, numbers, h), _acceleration(after, numbers, h)
    detail = busiest(shaken[0], frames)
    top = block.add_subplot(grid[0, :])
    top.set_title(title)
    for values, color, label in zip(shaken, (BEFORE, AFTER), ('before', 'after'), strict=True):
        top.plot(before.timestamps, values, color=color, lw=1.1, label=label)
    top.set(ylabel='acceleration\n(mm/frame²)', xlabel='time (s)')
    finite = shaken[0][np.isfinite(shaken[0])]
    if len(finite):
        top.set_ylim(0, min(1.1 * finite.max(), 3 * np.percentile(finite, 99)) + 1e-3)
    _shade_missing(top, before, h, slice(None))
    top.axvspan(before.timestamps[detail][0], before.timestamps[detail][-1], fc='none', ec='0.3', lw=1, ls='--')
    top.legend(loc='upper right', ncols=2, frameon=False)
    top.margins(x=0.005)
    for row, joint in enumerate(traced, start=1):
        paths = [_path(p, h, joint)[detail] for p in (before, after)]
        for axis in range(3):
            axes = block.add_subplot(grid[row, axis])
            _draw_path(axes, before.timestamps[detail], paths, axis)
            _shade_missing(axes, before, h, detail)
            if axis == 0:
                axes.set_ylabel(f'{joint.replace("_", " ")}\n(mm)')
            if row == 1:
                axes.set_title(_AXES[axis], fontsize=10)
            if row < len(traced):
                axes.tick_params(labelbottom=False)
            else:
                axes.set_xlabel('time (s)')


def _draw_path(axes: Any, times: np.ndarray, paths: Any, axis: int) -> None:
    axes.grid(alpha=0.25)
    axes.plot(times, paths[0][:, axis], color=BEFORE, lw=0.9, marker='.', ms=3.5, zorder=2)
    axes.plot(times, paths[1][:, axis], color=AFTER, lw=1.8, zorder=3)
    axes.margins(x=0.01)


def _shade_missing(axes: Any, predictions: Predictions, h: int, part: Any) -> None:
    times, missing = predictions.timestamps[part], ~predictions.valid[part, h]
    half = (predictions.period or 1 / 30) / 2
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(int)))
    for start, stop in edges.reshape(-1, 2):
        axes.axvspan(times[start] - half, times[stop - 1] + half, color=_MISSING, lw=0, zorder=0)


def busiest(values: np.ndarray, length: int) -> slice:
    """The slice of `length` entries of (T,) `values` with the largest sum, NaN as 0; all where T is shorter."""
    if len(values) <= length:
        return slice(0, len(values))
    sums = np.convolve(np.nan_to_num(values), np.ones(length), mode='valid')
    start = int(sums.argmax())
    return slice(start, start + length)


def _acceleration(predictions: Predictions, numbers: Any, h: int) -> np.ndarray:
    first = 1 if predictions.frame == 'wrist' else 0
    joints = predictions.joints[:, h : h + 1, first:].astype(np.float64)
    return accelerations(joints, numbers, predictions.valid[:, h : h + 1])[:, 0]


def _path(predictions: Predictions, h: int, joint: int) -> np.ndarray:
    """(T, 3) in mm: the wrist about its mean, other joints relative to the wrist."""
    points = predictions.joints[:, h].astype(np.float64)
    valid = predictions.valid[:, h]
    if joint == 'wrist':
        return 1000 * (points[:, 0] - (points[valid, 0].mean(0) if valid.any() else 0))
    return 1000 * (points[:, COMMON_JOINTS.index(joint)] - points[:, 0])


def _check(before: Predictions, after: Predictions) -> None:
    if before.joints.shape != after.joints.shape or before.frame != after.frame:
        raise ValueError(
            f'before and after must be of the same frames and hands, got {before.joints.shape} in {before.frame!r} and '
            f'{after.joints.shape} in {after.frame!r}'
        )
