"""CSV: joints and joint angles as tables for spreadsheets and data analysis.

Legend: T frames, H hands.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from handpose.export.source import ExportReport, ExportSource
from handpose.files.atomic import atomic_write
from handpose.hands import COMMON_JOINTS, SIDE_LABELS
from handpose.hands.joint_angles import ANGLES, joint_angles
from handpose.structures import Predictions
from handpose.structures.prediction_checks import UNITS

_SYMBOLS = {'metre': 'm', 'centimetre': 'cm', 'millimetre': 'mm'}


def write_csv(path: Path, source: ExportSource) -> ExportReport:
    """Writes the joints to `path` and the joint angles to NAME_angles.csv, a row per frame and hand.

    Args:
        path: the file of the joints.
        source: what is exported; `unit` is that of the joints.

    Returns:
        The files and notes.
    """
    predictions = source.predictions
    angles = path.with_name(f'{path.stem}_angles{path.suffix}')
    atomic_write(path, joint_table(predictions, source.unit))
    atomic_write(angles, angle_table(predictions))
    notes = [
        f'joints are in {source.unit}s relative to {source.origin()}; angles are in degrees',
        f'{int((~predictions.valid).sum())} of {predictions.valid.size} rows have no hand: their cells are empty',
        *source.scale_notes(),
    ]
    if predictions.joints_inferred is not None and predictions.joints_inferred.any():
        notes.append(f'{int(predictions.joints_inferred.sum())} joints are inferred from others, not observed')
    return ExportReport([path, angles], notes)


def joint_table(predictions: Predictions, unit: str = 'metre') -> str:
    """Makes the table of joints.

    Args:
        predictions: the predictions.
        unit: a key of `UNITS`.

    Returns:
        CSV text: time, frame, hand, track, scale, then x, y, z of the 21 joints and, if known, their pixels.
    """
    names = [f'{joint}_{axis}_{_SYMBOLS[unit]}' for joint in COMMON_JOINTS for axis in 'xyz']
    values = predictions.joints / UNITS[unit]
    columns = [values.reshape(*values.shape[:2], 63)]
    if predictions.joints_2d is not None:
        names += [f'{joint}_{axis}_px' for joint in COMMON_JOINTS for axis in 'xy']
        columns.append(predictions.joints_2d.reshape(*values.shape[:2], 42))
    return _table(predictions, names, np.concatenate(columns, -1), '.6g')


def angle_table(predictions: Predictions) -> str:
    """Makes the table of joint angles; `joint_angles` defines them.

    Args:
        predictions: the predictions.

    Returns:
        CSV text: time, frame, hand, track, scale, then the angles in degrees.
    """
    hands = [joint_angles(predictions.joints[:, h], int(side)) for h, side in enumerate(predictions.hand_side)]
    return _table(predictions, [f'{name}_deg' for name in ANGLES], np.stack(hands, 1), '.2f')


def _table(predictions: Predictions, names: Iterable[str], values: np.ndarray, form: str) -> str:
    """CSV of (T, H, C) values, a row per frame and hand; NaN becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['time_s', 'frame', 'hand', 'track', 'scale', *names])
    for t, time in enumerate(predictions.timestamps):
        for h, side in enumerate(predictions.hand_side):
            track = '' if predictions.track_ids is None or not predictions.valid[t, h] else predictions.track_ids[t, h]
            head: Sequence[object] = (f'{time:.6f}', t, SIDE_LABELS[side], track, predictions.scale)
            writer.writerow([*head, *('' if np.isnan(value) else format(value, form) for value in values[t, h])])
    return text.getvalue()
