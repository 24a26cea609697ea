"""`write_calibration`: this library's own JSON, or TOML that anipose reads too."""

import json
from pathlib import Path

from torch import Tensor

from handpose.files.atomic import atomic_write
from handpose.geometry.rotations import rotmat_to_rotvec
from handpose.structures.calibration import Calibration, CalibrationError, CameraCalibration
from handpose.structures.calibration_files.own import to_own


def write_calibration(path: str | Path, calibration: Calibration) -> None:
    """Writes calibrated cameras, completely or not at all; `read_calibration` reads them back.

    Args:
        path: ending in .json, for this library's own format, which holds everything; or in .toml, for anipose's, in
            metres, which other programs read too.
        calibration: the cameras.

    Raises:
        CalibrationError: another ending, or cameras that anipose's format cannot express: those of a moving rig, and
            fisheye lenses with more than four coefficients.
    """
    suffix = Path(path).suffix.lower()
    if suffix == '.json':
        atomic_write(path, json.dumps(to_own(calibration), indent=1) + '\n')
    elif suffix == '.toml':
        tables = [_table(number, camera) for number, camera in enumerate(calibration)]
        atomic_write(path, '\n'.join([*tables, '[metadata]\nunit = "metre"\n']))
    else:
        raise CalibrationError(f'{path}: a calibration file must end in .json (our own format) or .toml (anipose)')


def _table(number: int, camera: CameraCalibration) -> str:
    if camera.rig is not None or (camera.model == 'fisheye' and len(camera.distortion) > 4):
        what = f'is mounted on {camera.rig!r}' if camera.rig is not None else 'has a fisheye lens of 8 coefficients'
        raise CalibrationError(f'camera {camera.name!r} {what}, which anipose cannot express; write a .json file')
    distortion = camera.distortion.tolist() or [0.0] * 5
    lines = [
        f'[cam_{number}]',
        f'name = {json.dumps(camera.name, ensure_ascii=False)}',
        f'size = {list(camera.image_size)}',
        f'matrix = {_numbers(camera.intrinsics)}',
        f'distortions = {json.dumps(distortion)}',
        f'rotation = {_numbers(rotmat_to_rotvec(camera.extrinsics[:3, :3]))}',
        f'translation = {_numbers(camera.extrinsics[:3, 3])}',
    ]
    return '\n'.join([*lines, 'fisheye = true\n' if camera.model == 'fisheye' else ''])


def _numbers(values: Tensor) -> str:
    return json.dumps(values.tolist())
