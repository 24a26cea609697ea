"""This library's calibration file: JSON with everything that a `Calibration` holds; docs/guides/calibration.md."""

from pathlib import Path
from typing import Any

from handpose.files.reading import kind_of
from handpose.structures.calibration import Calibration, CalibrationError, CameraCalibration
from handpose.structures.calibration_files.values import (
    Unit,
    build_camera,
    image_size,
    numbers,
    stated_unit,
    text,
    value_of,
)

FORMAT, VERSION = 'handpose-calibration', 1
_KEYS = ('name', 'image_size', 'intrinsics', 'model', 'distortion', 'extrinsics', 'rig')


def from_own(found: dict[str, Any], path: Path, unit: Unit) -> Calibration:
    """Builds the cameras of a file.

    Args:
        found: what the JSON file holds.
        path: names it in messages.
        unit: None; the format is in metres.

    Returns:
        The cameras, in the order of the file.

    Raises:
        CalibrationError: names the camera and the key.
    """
    stated_unit(unit, 'metre', path)
    version = value_of(found, 'version', path)
    if type(version) is not int or version > VERSION:
        raise CalibrationError(
            f'{path}: version is {version!r}, and this library reads up to {VERSION}: update handpose'
        )
    cameras = value_of(found, 'cameras', path)
    if not isinstance(cameras, list):
        raise CalibrationError(f'{path}, cameras: expected a list, found {kind_of(cameras)}')
    return Calibration([_camera(entry, f'{path}: camera {number}') for number, entry in enumerate(cameras, 1)])


def to_own(calibration: Calibration) -> dict[str, Any]:
    """Turns a calibration into what the JSON file holds.

    Args:
        calibration: the cameras.

    Returns:
        Keys and values.
    """
    cameras = [
        {
            'name': camera.name,
            'image_size': list(camera.image_size),
            'intrinsics': camera.intrinsics.tolist(),
            'model': camera.model,
            'distortion': camera.distortion.tolist(),
            'extrinsics': camera.extrinsics.tolist(),
            'rig': camera.rig,
        }
        for camera in calibration
    ]
    return {'format': FORMAT, 'version': VERSION, 'cameras': cameras}


def _camera(entry: Any, where: str) -> CameraCalibration:
    if not isinstance(entry, dict):
        raise CalibrationError(f'{where}: expected the keys {", ".join(_KEYS)}, found {kind_of(entry)}')
    values = {key: value_of(entry, key, where) for key in _KEYS}
    extra = sorted(set(entry) - set(_KEYS))
    if extra:
        raise CalibrationError(f'{where}: expected the keys {", ".join(_KEYS)}, found {extra[0]!r} too')
    name = text(values['name'], f'{where}, name')
    where = f'{where} ({name})'
    coefficients = numbers(values['distortion'], None, f'{where}, distortion')
    return build_camera(
        where,
        name,
        image_size(values['image_size'], f'{where}, image_size'),
        numbers(values['intrinsics'], (3, 3), f'{where}, intrinsics'),
        (text(values['model'], f'{where}, model'), coefficients),
        numbers(values['extrinsics'], (4, 4), f'{where}, extrinsics'),
        None if values['rig'] is None else text(values['rig'], f'{where}, rig'),
    )
