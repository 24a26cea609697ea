"""Calibration files of anipose and freemocap: TOML with a table for each camera.

Each table has `name`, `size` (width, height), `matrix` (3, 3), `distortions` (OpenCV's order), `rotation` (a rotation
vector) and `translation`, world to camera, and with a fisheye lens `fisheye = true`. github.com/lambdaloop/aniposelib
does not write the unit, which is that of the board's squares; github.com/freemocap/freemocap writes millimetres and
adds `[metadata]` of its board. Pose2Sim's files are anipose's, in metres.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from handpose.files.reading import kind_of
from handpose.structures.calibration import Calibration, CalibrationError, CameraCalibration
from handpose.structures.calibration_files.values import (
    UNITS,
    Unit,
    build_camera,
    given_unit,
    image_size,
    numbers,
    opencv_model,
    rigid,
    stated_unit,
    text,
    value_of,
)

METADATA = 'metadata'
_FREEMOCAP_KEYS = ('charuco_square_size', 'charuco_board_object', 'groundplane_calibration')


def from_anipose(found: dict[str, Any], path: Path, unit: Unit) -> Calibration:
    """Builds the cameras of a file of anipose or freemocap.

    Args:
        found: the tables of the TOML file.
        path: names it in messages.
        unit: of the translations, where the file does not say it.

    Returns:
        The cameras, in the order of the file.

    Raises:
        CalibrationError: names the table and the key.
    """
    metadata = found.get(METADATA, {})
    if not isinstance(metadata, dict):
        raise CalibrationError(f'{path}: expected a table [{METADATA}], found {kind_of(metadata)}')
    tables = {key: value for key, value in found.items() if key != METADATA}
    if not tables:
        raise CalibrationError(f'{path}: expected a table for each camera, such as [cam_0], found none')
    metres = _metres(metadata, path, unit)
    return Calibration([_camera(key, table, path, metres) for key, table in tables.items()])


def _metres(metadata: Mapping[str, Any], path: Path, unit: Unit) -> float:
    if any(key in metadata for key in _FREEMOCAP_KEYS):
        return stated_unit(unit, 'millimetre', path)
    if 'unit' in metadata:  # written by handpose
        stated = metadata['unit']
        if stated not in UNITS:
            raise CalibrationError(f'{path}, [{METADATA}] unit: expected one of {", ".join(UNITS)}, found {stated!r}')
        return stated_unit(unit, stated, path)
    return given_unit(unit, path, "Anipose takes that of the board's squares, usually millimetres; Pose2Sim metres")


def _camera(key: str, table: Any, path: Path, metres: float) -> CameraCalibration:
    where = f'{path}, [{key}]'
    if not isinstance(table, dict):
        raise CalibrationError(f'{where}: expected a table with the values of a camera, found {kind_of(table)}')
    name = text(table.get('name', key), f'{where} name')
    rotation = np.array(value_of(table, 'rotation', where), dtype=object)
    shape: tuple[int, ...] = (3, 3) if rotation.size == 9 else (3,)
    fisheye = table.get('fisheye', False)
    if not isinstance(fisheye, bool):
        raise CalibrationError(f'{where} fisheye: expected true or false, found {fisheye!r}')
    return build_camera(
        where,
        name,
        image_size(value_of(table, 'size', where), f'{where} size'),
        numbers(value_of(table, 'matrix', where), (3, 3), f'{where} matrix'),
        opencv_model(numbers(value_of(table, 'distortions', where), None, f'{where} distortions'), fisheye),
        rigid(
            numbers(table['rotation'], shape, f'{where} rotation'),
            numbers(value_of(table, 'translation', where), (3,), f'{where} translation'),
            metres,
        ),
    )
