"""Calibration files written by OpenCV's `cv2.FileStorage` as YAML, and files of the same keys in plain YAML.

OpenCV prescribes no keys; these are understood, and docs/guides/calibration.md lists them:

- a file for each camera, as OpenCV's calibration programs and ROS write it: `camera_matrix`,
  `distortion_coefficients`, `image_width`, `image_height`, and where the camera is as `R` or `rvec` and `T` or `tvec`;
- two cameras, as the stereo calibration writes it: `M1`, `D1`, `M2`, `D2`, and `R`, `T` from the first to the second;
- many cameras, as EasyMocap writes it: `names`, and for each name `K_NAME`, `dist_NAME`, `Rot_NAME` or `R_NAME` (a
  rotation vector), `T_NAME`.

A folder's files are read together. All are world to camera; the unit is that of the board's squares.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handpose.files.reading import read_text, visible_paths
from handpose.files.yaml_files import parse_yaml
from handpose.structures.calibration import Calibration, CalibrationError, CameraCalibration
from handpose.structures.calibration_files.values import (
    Array,
    Unit,
    build_camera,
    given_unit,
    image_size,
    joined,
    numbers,
    opencv_model,
    rigid,
    text,
)

SUFFIXES = ('.yml', '.yaml')
MATRIX = ('camera_matrix', 'cameraMatrix', 'K')
DISTORTION = ('distortion_coefficients', 'dist_coeffs', 'distCoeffs', 'D')
ROTATION = ('R', 'rotation_matrix', 'rvec', 'rotation_vector')
TRANSLATION = ('T', 'tvec', 'translation', 'translation_vector')
NAME = ('camera_name', 'name')
# ROS writes a name, OpenCV's own program a flag.
FISHEYE_MODELS = ('equidistant', 'fisheye', 'kannala_brandt')
_HINT = "It is that of the board's squares in the calibration"


class _Values:
    """The keys and values of one file, or of several that belong together."""

    def __init__(self, found: dict[str, Any], where: str, size: tuple[int, int] | None) -> None:
        self.found, self.where, self.given_size = found, where, size

    def first(self, keys: Sequence[str]) -> str | None:
        """The first of some keys that the file has."""
        return next((key for key in keys if key in self.found), None)

    def required(self, keys: Sequence[str]) -> str:
        """The first of some keys, of which the file must have one."""
        key = self.first(keys)
        if key is None:
            raise CalibrationError(
                f'{self.where}: expected the key {" or ".join(keys)}, found {joined(self.found) or "no key"}'
            )
        return key

    def numbers(self, key: str, shape: tuple[int, ...] | None) -> Array:
        """The numbers of a key, which are a list or a matrix with rows, cols and data."""
        value = self.found[key]
        return numbers(value['data'] if isinstance(value, dict) and 'data' in value else value, shape, self.place(key))

    def rotation(self, key: str) -> Array:
        """A rotation: a matrix, or a rotation vector."""
        flat = self.numbers(key, None)
        if flat.size not in (3, 9):
            raise CalibrationError(
                f'{self.place(key)}: expected a rotation as 3x3 or 3 numbers, found {flat.size} numbers'
            )
        return flat.reshape(3, 3) if flat.size == 9 else flat

    def image_size(self, suffix: str = '') -> tuple[int, int]:
        """The size of the images: of the file, else the one given."""
        for keys in (('image_width', 'image_height'), ('width', 'height'), (f'W{suffix}', f'H{suffix}')):
            if all(key in self.found for key in keys):
                return image_size([self.found[key] for key in keys], self.place(keys[0]))
        for key in ('cameraResolution', 'image_size'):
            if key in self.found:
                return image_size(self.numbers(key, (2,)), self.place(key))
        if self.given_size is None:
            raise CalibrationError(
                f'{self.where}: expected the size of the images as image_width and image_height, found '
                f'{joined(self.found)}; give image_size'
            )
        return self.given_size

    @property
    def is_fisheye(self) -> bool:
        """Whether the coefficients are those of `cv2.fisheye`."""
        return bool(self.found.get('fisheye_model')) or self.found.get('distortion_model') in FISHEYE_MODELS

    def place(self, key: str) -> str:
        """Names the file and a key."""
        return f'{self.where}, {key}'


def read_opencv(path: Path, unit: Unit, size: tuple[int, int] | None) -> Calibration:
    """Reads a file, or the YAML files of a folder.

    Args:
        path: the file or the folder.
        unit: of the translations; not needed for one camera without a translation.
        size: (width, height) of the images, used where a file does not say it.

    Returns:
        The cameras.

    Raises:
        CalibrationError: names the file and the key.
    """
    paths = [path]
    if path.is_dir():
        paths = [entry for entry in visible_paths(path) if entry.suffix.lower() in SUFFIXES]
    files = {entry: _Values(_read(entry), str(entry), size) for entry in paths}
    if all(values.first(MATRIX) is not None for values in files.values()):
        return _single_cameras(files, unit)
    merged: dict[str, Any] = {}
    for entry, values in files.items():
        for key, value in values.found.items():
            if merged.setdefault(key, value) != value:
                raise CalibrationError(f'{entry}, {key}: another file of {path} has another value')
    values = _Values(merged, str(path), size)
    if values.first(('names',)):
        return _named_cameras(values, unit)
    if all(key in merged for key in ('M1', 'M2')):
        return _stereo_cameras(values, unit)
    raise CalibrationError(
        f'{path}: expected the keys of one camera ({MATRIX[0]}, {DISTORTION[0]}, ...), of two (M1, D1, M2, D2, R, T), '
        f'or of many (names, K_NAME, dist_NAME, R_NAME, T_NAME), found {joined(merged) or "no key"}'
    )


def _read(path: Path) -> dict[str, Any]:
    written = read_text(path, error=CalibrationError)
    # OpenCV's header is no valid YAML, and the tag of its matrices is its own: both are taken out, lines stay in place.
    plain = re.sub(r'\A%YAML[: ]*[\d.]+|!!opencv-(nd-)?matrix', '', written)
    return parse_yaml(plain, path, error=CalibrationError, advice='a file that cv2.FileStorage wrote as YAML is one')


def _metres(unit: Unit, where: object, translation: Array) -> float:
    return 1.0 if unit is None and not translation.any() else given_unit(unit, where, _HINT)


def _single_cameras(files: dict[Path, _Values], unit: Unit) -> Calibration:
    cameras = []
    for path, values in files.items():
        rotation_key, translation_key = values.first(ROTATION), values.first(TRANSLATION)
        if (rotation_key is None) != (translation_key is None) or (len(files) > 1 and rotation_key is None):
            raise CalibrationError(
                f'{path}: expected where the camera is, as R or rvec and T or tvec, found {joined(values.found)}'
            )
        rotation, translation = np.zeros(3), np.zeros(3)
        if rotation_key is not None and translation_key is not None:
            rotation, translation = values.rotation(rotation_key), values.numbers(translation_key, (3,))
        name_key = values.first(NAME)
        name = path.stem if name_key is None else text(values.found[name_key], values.place(name_key))
        extrinsics = rigid(rotation, translation, _metres(unit, path, translation))
        cameras.append(_build(values, name, values.required(MATRIX), values.required(DISTORTION), extrinsics))
    return Calibration(cameras)


def _stereo_cameras(values: _Values, unit: Unit) -> Calibration:
    values.required(('R',)), values.required(('T',))
    translation = values.numbers('T', (3,))
    second = rigid(values.rotation('R'), translation, given_unit(unit, values.where, _HINT))
    return Calibration(
        [
            _build(values, f'camera_{number}', f'M{number}', values.required((f'D{number}',)), extrinsics)
            for number, extrinsics in ((1, np.eye(4)), (2, second))
        ]
    )


def _named_cameras(values: _Values, unit: Unit) -> Calibration:
    names = values.found['names']
    if not isinstance(names, list) or not names:
        raise CalibrationError(f'{values.place("names")}: expected a list of names, found {names!r}')
    metres = given_unit(unit, values.where, _HINT)
    cameras = []
    for name in (text(name, values.place('names')) for name in names):
        rotation = values.rotation(values.required((f'Rot_{name}', f'R_{name}')))
        translation = values.numbers(values.required((f'T_{name}',)), (3,))
        matrix, distortion = values.required((f'K_{name}',)), values.required((f'dist_{name}',))
        cameras.append(_build(values, name, matrix, distortion, rigid(rotation, translation, metres), f'_{name}'))
    return Calibration(cameras)


def _build(
    values: _Values, name: str, matrix: str, distortion: str, extrinsics: Array, suffix: str = ''
) -> CameraCalibration:
    """A camera from the keys of its intrinsics and coefficients; `suffix` of the keys of its image size."""
    return build_camera(
        values.where,
        name,
        values.image_size(suffix),
        values.numbers(matrix, (3, 3)),
        opencv_model(values.numbers(distortion, None), values.is_fisheye),
        extrinsics,
    )
