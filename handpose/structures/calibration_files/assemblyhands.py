"""AssemblyHands' calibration files: a JSON list of cameras with `SerialNo`, `ModelViewMatrix` and a lens model.

Ohkawa et al., "AssemblyHands", CVPR 2023; folder `calib` of github.com/facebookresearch/assemblyhands-toolkit. On disk:
millimetres, world to camera, OpenCV's axes, pixel centres at integers. Cameras with a `ParentName` are mounted on a
headset, and their matrix maps from the headset's frame: it is the same in every recording with that headset. (Their
`MountingLocation` says 'Exocentric' in most files, and is not used.)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from handpose.structures.calibration import Calibration, CalibrationError, CameraCalibration
from handpose.structures.calibration_files.values import (
    Array,
    Unit,
    build_camera,
    image_size,
    intrinsics,
    numbers,
    rigid,
    stated_unit,
    text,
    value_of,
)

# The two models that the files have. The projection of the official code uses the coefficients listed here alone.
OPENCV, FISHEYE = 'OpenCV', 'OVFishEye62'
_RADIAL = ('k1', 'k2', 'k3', 'k4', 'k5', 'k6')


def from_assemblyhands(found: list[Any], path: Path, unit: Unit) -> Calibration:
    """Builds the cameras of a file.

    Args:
        found: what the JSON file holds.
        path: names it in messages.
        unit: None; the format is in millimetres.

    Returns:
        The cameras, in the order of the file. Those of a headset have its name as `rig`.

    Raises:
        CalibrationError: names the camera and the key.
    """
    metres = stated_unit(unit, 'millimetre', path)
    return Calibration([_camera(entry, f'{path}: camera {number}', metres) for number, entry in enumerate(found, 1)])


def _camera(entry: Any, where: str, metres: float) -> CameraCalibration:
    if not isinstance(entry, dict) or not isinstance(entry.get('Camera'), dict):
        raise CalibrationError(f"{where}: expected the key 'Camera' with the camera's values, found {str(entry)[:80]}")
    camera = entry['Camera']
    name = text(value_of(camera, 'SerialNo', where), f'{where}, SerialNo')
    where = f'{where} ({name})'
    size = image_size([value_of(camera, key, where) for key in ('ImageSizeX', 'ImageSizeY')], f'{where}, ImageSize')
    matrix = numbers(value_of(camera, 'ModelViewMatrix', where), (4, 4), f'{where}, ModelViewMatrix')
    fx, fy, cx, cy = (_number(camera, key, where) for key in ('fx', 'fy', 'cx', 'cy'))
    rig = entry.get('ParentName')
    return build_camera(
        where,
        name,
        size,
        intrinsics(fx, fy, cx, cy),
        _lens(camera, where),
        rigid(matrix[:3, :3], matrix[:3, 3], metres),
        None if rig is None else text(rig, f'{where}, ParentName'),
    )


def _lens(camera: Mapping[str, Any], where: str) -> tuple[str, Array]:
    model = value_of(camera, 'DistortionModel', where)
    k1, k2, k3, *higher = (_number(camera, key, where) for key in _RADIAL)
    p1, p2 = (_number(camera, key, where) for key in ('p1', 'p2'))
    if model == OPENCV:
        if any(higher):
            raise CalibrationError(
                f'{where}: a lens of DistortionModel {OPENCV!r} has k1, k2, k3, p1 and p2, expected 0 for k4 to k6, '
                f'found {higher}'
            )
        return 'radial_tangential', np.array([k1, k2, p1, p2, k3])
    if model == FISHEYE:  # its first tangential coefficient is the second one of OpenCV's formula
        return 'fisheye', np.array([k1, k2, k3, *higher, p2, p1])
    raise CalibrationError(f'{where}: expected the DistortionModel {OPENCV!r} or {FISHEYE!r}, found {model!r}')


def _number(camera: Mapping[str, Any], key: str, where: str) -> float:
    return float(numbers(value_of(camera, key, where), (1,), f'{where}, {key}')[0])
