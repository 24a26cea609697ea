"""BVH: the skeleton of `ProceduralHand` with its rotations, for Blender, Maya and motion tools. One file per hand.

The rest pose is that of a T-pose: y up, the palm down, a right hand's fingers along -x and a left hand's along x, the
thumb's side along z. A reader that takes several roots in a file is the exception, so each hand has its own.
"""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.export.motion import HandAnimation, regular_motions
from handpose.export.source import ExportReport, ExportSource
from handpose.files.atomic import atomic_write
from handpose.hands import COMMON_JOINTS, FINGERTIPS, MANO_JOINTS, PARENTS_21, ProceduralHand
from handpose.structures.fitted_hands import FittedHands
from handpose.structures.prediction_checks import UNITS

ORDER = 'ZXY'  # of the rotation channels: fingers bend about z, so the middle angle stays far from 90 degrees
_ROTATIONS = ' '.join(f'{axis}rotation' for axis in ORDER)
_POSITIONS = 'Xposition Yposition Zposition'


def write_bvh(path: Path, source: ExportSource) -> ExportReport:
    """Writes one BVH file per hand: `path`, or with two hands NAME_left.bvh and NAME_right.bvh.

    Args:
        path: the file.
        source: what is exported; `unit` is that of offsets and positions.

    Returns:
        The files and notes.

    Raises:
        ExportError: another hand model than `ProceduralHand` was asked for.
    """
    fitted = source.procedural('a BVH file')
    motions, notes = regular_motions(fitted)
    report = ExportReport()
    for motion in motions:
        name = path if len(motions) == 1 else path.with_name(f'{path.stem}_{motion.label}{path.suffix}')
        atomic_write(name, bvh_text(motion, rest_joints(fitted, motion.side), UNITS[source.unit]))
        report.files.append(name)
    blender = '' if source.unit == 'metre' else f"; in Blender's import set Scale to {UNITS[source.unit]:g}"
    report.notes += [
        f'lengths are in {source.unit}s{blender}; y is up; {1 / motions[0].period:.4g} frames per second',
        *notes,
        *source.fit_notes(),
        *source.scale_notes(),
    ]
    return report


def bone_name(joint: str, side: int) -> str:
    """Names a bone so that Blender knows its mirror image.

    Args:
        joint: a name of `COMMON_JOINTS`.
        side: a `Side`.

    Returns:
        For instance 'index_mcp_R'.
    """
    return f'{joint}_{"LR"[side]}'


def rest_joints(fitted: FittedHands, side: int) -> NDArray:
    """Returns the joints of the fitted shape at zero pose.

    Args:
        fitted: the fitted hands.
        side: the hand's `Side`.

    Returns:
        (21, 3) metres in the common order.
    """
    shape = torch.from_numpy(fitted.shape[list(fitted.hand_side).index(side)])
    with torch.no_grad():
        model = ProceduralHand().double()
        zero = torch.zeros(16, 3, dtype=torch.float64)
        return model(zero, shape, torch.zeros(3, dtype=torch.float64), torch.tensor(side)).joints.numpy()


def bvh_text(motion: HandAnimation, rest: NDArray, unit: float = 1.0) -> str:
    """Formats one hand.

    Args:
        motion: its motion.
        rest: (21, 3) joints at rest, metres.
        unit: metres in a unit of the file.

    Returns:
        The contents of the file.
    """
    rest = rest / unit
    lines = ['HIERARCHY', f'ROOT {bone_name("wrist", motion.side)}', '{', '  OFFSET 0 0 0']
    lines.append(f'  CHANNELS 6 {_POSITIONS} {_ROTATIONS}')
    for finger in range(5):
        lines += _finger_lines(rest, range(4 * finger + 1, 4 * finger + 5), motion.side)
    lines += ['}', 'MOTION', f'Frames: {len(motion)}', f'Frame Time: {motion.period:.9f}']
    order = [MANO_JOINTS.index(name) for i, name in enumerate(COMMON_JOINTS) if i not in FINGERTIPS]
    angles = euler_angles(motion.rotmats[:, order])
    channels = np.concatenate([motion.wrist / unit, angles.reshape(len(motion), -1)], 1)
    table = io.StringIO()
    np.savetxt(table, channels, fmt='%.7f')
    return '\n'.join(lines) + '\n' + table.getvalue()


def _finger_lines(rest: NDArray, joints: range, side: int) -> list[str]:
    """The hierarchy of one finger; its tip is an end site."""
    lines: list[str] = []
    for depth, joint in enumerate(joints, start=1):
        indent = '  ' * depth
        is_tip = joint in FINGERTIPS
        offset = ' '.join(f'{value:.7f}' for value in rest[joint] - rest[PARENTS_21[joint]])
        lines += [
            f'{indent}End Site' if is_tip else f'{indent}JOINT {bone_name(COMMON_JOINTS[joint], side)}',
            f'{indent}{{',
            f'{indent}  OFFSET {offset}',
        ]
        lines += [] if is_tip else [f'{indent}  CHANNELS 3 {_ROTATIONS}']
    return lines + ['  ' * depth + '}' for depth in range(len(joints), 0, -1)]


def euler_angles(rotmats: NDArray) -> NDArray:
    """Converts rotations in motion to Euler angles in `ORDER` that do not jump from frame to frame.

    Args:
        rotmats: (T, J, 3, 3).

    Returns:
        (T, J, 3) degrees, in the order of the channels; a full turn may be exceeded.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Gimbal lock')  # scipy then sets the third angle to 0, which is right
        angles = Rotation.from_matrix(rotmats.reshape(-1, 3, 3)).as_euler(ORDER, degrees=True)
    angles = angles.reshape(*rotmats.shape[:2], 3)
    for t in range(1, len(angles)):
        same = angles[t] * (1, -1, 1) + (180, 180, 180)  # the other angles of the same rotation
        options = np.stack([angles[t], same])
        options += 360 * np.rint((angles[t - 1] - options) / 360)
        best = np.abs(options - angles[t - 1]).max(-1).argmin(0)
        angles[t] = np.take_along_axis(options, best[None, :, None], 0)[0]
    return angles
