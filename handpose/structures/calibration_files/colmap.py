"""COLMAP's text models: `cameras.txt` with the lenses and `images.txt` with a pose, world to camera, for each image.

https://colmap.github.io/format.html. The scale of a reconstruction is arbitrary, so the metres of one unit must be
given. COLMAP's pixel centres lie at halves (0.5, 1.5, ...), and ours at integers: principal points move by half a
pixel.
"""

import re
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from handpose.files.reading import read_text
from handpose.geometry.rotations import quat_to_rotmat
from handpose.structures.calibration import Calibration, CalibrationError, CameraCalibration
from handpose.structures.calibration_files.values import Array, Unit, build_camera, given_unit, intrinsics, rigid

CAMERAS, IMAGES = 'cameras.txt', 'images.txt'
_ADVICE = 'a text model of COLMAP has cameras.txt and images.txt; `colmap model_converter --output_type TXT` makes them'
# Model: how many focal lengths, our model, and for each coefficient in OpenCV's order the index of the parameter after
# the principal point; None is 0.
_MODELS: dict[str, tuple[int, str, tuple[int | None, ...]]] = {
    'SIMPLE_PINHOLE': (1, 'pinhole', ()),
    'PINHOLE': (2, 'pinhole', ()),
    'SIMPLE_RADIAL': (1, 'radial_tangential', (0, None, None, None)),
    'RADIAL': (1, 'radial_tangential', (0, 1, None, None)),
    'OPENCV': (2, 'radial_tangential', (0, 1, 2, 3)),
    'FULL_OPENCV': (2, 'radial_tangential', (0, 1, 2, 3, 4, 5, 6, 7)),
    'SIMPLE_RADIAL_FISHEYE': (1, 'fisheye', (0, None, None, None)),
    'RADIAL_FISHEYE': (1, 'fisheye', (0, 1, None, None)),
    'OPENCV_FISHEYE': (2, 'fisheye', (0, 1, 2, 3)),
}


class _Lens:
    """A line of cameras.txt."""

    def __init__(self, fields: list[str], where: str) -> None:
        if len(fields) < 5 or fields[1] not in _MODELS:
            raise CalibrationError(
                f'{where}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS with MODEL one of {", ".join(_MODELS)}, found '
                f'{" ".join(fields)[:100]!r}'
            )
        num_focal, self.model, indices = _MODELS[fields[1]]
        values = _floats(fields[4:], where)
        count = num_focal + 2 + sum(index is not None for index in indices)
        if len(values) != count or not (fields[2].isdigit() and fields[3].isdigit()):
            raise CalibrationError(
                f'{where}: expected width, height and {count} parameters of {fields[1]}, found '
                f'{" ".join(fields[2:])[:100]!r}'
            )
        self.size = int(fields[2]), int(fields[3])
        cx, cy = values[num_focal : num_focal + 2] - 0.5
        self.matrix = intrinsics(values[0], values[num_focal - 1], cx, cy)
        rest = values[num_focal + 2 :]
        self.distortion = np.array([0.0 if index is None else rest[index] for index in indices])


def read_colmap(folder: Path, unit: Unit) -> Calibration:
    """Reads a text model.

    Args:
        folder: with cameras.txt and images.txt.
        unit: the metres of one unit of the reconstruction, or the name of a unit.

    Returns:
        A camera for each image, in the order of images.txt. It has the name of the image's folder where every image has
        a folder of its own, otherwise that of the image without its suffix.

    Raises:
        CalibrationError: names the file and the line.
    """
    lenses = _read_lenses(folder / CAMERAS)
    metres = given_unit(
        unit, folder, 'The scale of a COLMAP model is arbitrary: divide a known length in metres by that in the model'
    )
    poses = _read_poses(folder / IMAGES)
    paths = [PurePosixPath(fields[9]) for _, fields in poses]
    own_folders = len({path.parent for path in paths}) == len(paths) > 1
    cameras = []
    for path, (where, fields) in zip(paths, poses, strict=True):
        lens = lenses.get(fields[8])
        if lens is None:
            raise CalibrationError(f'{where}: its CAMERA_ID {fields[8]} is not in {CAMERAS}, which has {list(lenses)}')
        name = str(path.parent if own_folders else path.with_suffix(''))
        cameras.append(_camera(where, name, lens, fields, metres))
    return Calibration(cameras)


def _camera(where: str, name: str, lens: _Lens, fields: list[str], metres: float) -> CameraCalibration:
    quat, translation = np.split(_floats(fields[1:8], where), [4])
    if abs(np.linalg.norm(quat) - 1) > 1e-2:
        raise CalibrationError(f'{where}: expected a unit quaternion QW QX QY QZ, found {" ".join(fields[1:5])}')
    rotation = quat_to_rotmat(torch.from_numpy(quat)).numpy()
    extrinsics = rigid(rotation, translation, metres)
    return build_camera(where, name, lens.size, lens.matrix, (lens.model, lens.distortion), extrinsics)


def _read_lenses(path: Path) -> dict[str, _Lens]:
    """{CAMERA_ID: lens}."""
    lenses: dict[str, _Lens] = {}
    for number, line in enumerate(read_text(path, error=CalibrationError, advice=_ADVICE).split('\n'), 1):
        if line.strip() and not line.startswith('#'):
            fields = line.split()
            lens = _Lens(fields, f'{path}, line {number}')
            if fields[0] in lenses:
                raise CalibrationError(f'{path}, line {number}: CAMERA_ID {fields[0]} is there twice')
            lenses[fields[0]] = lens
    if not lenses:
        raise CalibrationError(f'{path}: expected a line for each camera, found none')
    return lenses


def _read_poses(path: Path) -> list[tuple[str, list[str]]]:
    """(place in the file, the ten fields of the line) of each image."""
    lines = enumerate(read_text(path, error=CalibrationError, advice=_ADVICE).split('\n'), 1)
    found = []
    for number, line in lines:
        if not line.strip() or line.startswith('#'):
            continue
        fields, where = line.strip().split(maxsplit=9), f'{path}, line {number}'
        if len(fields) != 10 or not re.fullmatch(r'\d+', fields[0]):
            raise CalibrationError(
                f'{where}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, found {line[:100]!r}'
            )
        found.append((where, fields))
        next(lines, None)  # the image's 2D points, an empty line where it has none
    if not found:
        raise CalibrationError(f'{path}: expected two lines for each image, found none')
    return found


def _floats(fields: list[str], where: str) -> Array:
    try:
        values = np.array([float(value) for value in fields])
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        raise CalibrationError(f'{where}: expected finite numbers, found {" ".join(fields)[:100]!r}')
    return values
