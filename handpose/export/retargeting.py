"""The input of dex-retargeting: 21 joints in the frame of the wrist that its robot hands are configured for."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.export.source import ExportError, ExportReport, ExportSource
from handpose.files.atomic import atomic_file
from handpose.hands import COMMON_JOINTS, SIDE_LABELS, Side

_WRIST, _INDEX, _MIDDLE = (COMMON_JOINTS.index(name) for name in ('wrist', 'index_mcp', 'middle_mcp'))
# From the axes of the palm (towards the wrist, its normal, towards the thumb's side) to those of the robot hands.
_PALM_TO_ROBOT = {
    Side.LEFT: np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    Side.RIGHT: np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]]),
}


def write_retargeting(path: Path, source: ExportSource) -> ExportReport:
    """Writes `left_joint_pos` and / or `right_joint_pos` (T, 21, 3) with `_valid` (T,), timestamps and scale.

    Args:
        path: the file, .npz.
        source: what is exported.

    Returns:
        The file and notes.

    Raises:
        ExportError: the name does not end in .npz.
    """
    if path.suffix != '.npz':
        raise ExportError(f'{path}: joints for dex-retargeting go to a file that ends in .npz')
    predictions = source.predictions
    values: dict[str, Any] = {'timestamps': predictions.timestamps, 'scale': np.array(predictions.scale)}
    notes = []
    for hand, side in enumerate(predictions.hand_side):
        joints = retargeting_joints(predictions.joints[:, hand], int(side))
        valid = np.isfinite(joints).all((1, 2))
        values |= {f'{SIDE_LABELS[side]}_joint_pos': joints, f'{SIDE_LABELS[side]}_valid': valid}
        notes.append(f'{SIDE_LABELS[side]} hand: {int(valid.sum())} of {len(valid)} frames; the others are NaN')
    with atomic_file(path) as file:
        np.savez_compressed(file, **values)
    notes.append('metres relative to the wrist, axes of the robot hands: z along the fingers, x out of the palm')
    return ExportReport([path], [*notes, *source.scale_notes()])


def retargeting_joints(joints: NDArray, side: int) -> NDArray:
    """Turns joints into the wrist frame of dex-retargeting, what its `retarget` takes vectors of.

    The frame is that of its own detector: the first axis from the middle finger's base to the wrist, the second the
    normal of the plane through the wrist and the bases of index and middle finger, the third towards the thumb's side;
    then turned to the axes of the robot hands.

    Args:
        joints: (T, 21, 3) metres in camera axes, NaN where unknown.
        side: a `Side`.

    Returns:
        (T, 21, 3) metres, float64.
    """
    joints = np.asarray(joints, np.float64)
    joints = joints - joints[:, :1]
    along = _unit(-joints[:, _MIDDLE])
    normal = _unit(np.cross(joints[:, _MIDDLE], joints[:, _INDEX]))
    lateral = np.cross(along, normal)
    frames = np.stack([along, normal, lateral], -1)
    return joints @ frames @ _PALM_TO_ROBOT[Side(side)]


def _unit(vectors: NDArray) -> NDArray:
    with np.errstate(invalid='ignore', divide='ignore'):
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
