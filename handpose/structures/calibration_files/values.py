"""Checked values of untrusted calibration files: keys, numbers, units, and cameras built from them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.files.reading import kind_of
from handpose.geometry.distortion import NUM_COEFFICIENTS
from handpose.geometry.rotations import rotvec_to_rotmat
from handpose.structures.calibration import CalibrationError, CameraCalibration
from handpose.text import did_you_mean

Array = NDArray[np.float64]
UNITS = {'metre': 1.0, 'centimetre': 0.01, 'millimetre': 0.001}
Unit = str | float | None  # a key of UNITS, or the metres of one unit, or None where the file says it


def value_of(table: Mapping[str, Any], key: str, where: object) -> Any:
    """Takes a value that a file must have.

    Args:
        table: keys and values.
        key: the key.
        where: names the file and the place in it.

    Returns:
        The value.

    Raises:
        CalibrationError: there is no such key.
    """
    if key not in table:
        raise CalibrationError(
            f'{where}: expected the key {key!r}, found {", ".join(map(str, table)) or "no key"}.'
            f'{did_you_mean(key, table)}'
        )
    return table[key]


def numbers(value: Any, shape: tuple[int, ...] | None, where: object) -> Array:
    """Checks an array of finite numbers.

    Args:
        value: nested lists of numbers.
        shape: the shape expected; arrays of the same numbers in a row or a column are reshaped. None accepts a list of
            any length.
        where: names the file and the key.

    Returns:
        The numbers, float64, in that shape.

    Raises:
        CalibrationError: something else was found.
    """
    try:
        array = np.array(value)
    except ValueError:  # lists of different lengths
        array = np.array('ragged')
    size = array.size if shape is None else int(np.prod(shape))
    is_flat = array.size == max(array.shape, default=1)
    if array.dtype.kind not in 'iuf' or array.size != size or not (is_flat or array.shape == shape):
        expected = 'a list of numbers' if shape is None else f'{"x".join(map(str, shape))} numbers'
        raise CalibrationError(f'{where}: expected {expected}, found {str(value)[:120]}')
    found = array.astype(np.float64).reshape(-1 if shape is None else shape)
    if not np.isfinite(found).all():
        raise CalibrationError(f'{where}: expected finite numbers, found {str(value)[:120]}')
    return found


def text(value: Any, where: object) -> str:
    """Checks a text.

    Args:
        value: what the file has.
        where: names the file and the key.

    Returns:
        The text; whole numbers become one.

    Raises:
        CalibrationError: it is something else.
    """
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        raise CalibrationError(f'{where}: expected a text, found {kind_of(value)}')
    return value


def image_size(value: Any, where: object) -> tuple[int, int]:
    """Checks a width and a height.

    Args:
        value: two whole numbers.
        where: names the file and the key.

    Returns:
        (width, height) pixels.

    Raises:
        CalibrationError: something else was found.
    """
    width, height = numbers(value, (2,), where)
    if width != int(width) or height != int(height):
        raise CalibrationError(f'{where}: expected width and height in whole pixels, found {value}')
    return int(width), int(height)


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> Array:
    """Builds a matrix of intrinsics.

    Args:
        fx: horizontal focal length, pixels.
        fy: vertical focal length, pixels.
        cx: principal point, pixels, pixel centres at integers.
        cy: principal point, pixels, pixel centres at integers.

    Returns:
        (3, 3).
    """
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def rigid(rotation: Array, translation: Array, metres: float) -> Array:
    """Builds extrinsics.

    Args:
        rotation: (3, 3), or (3,) radians as a rotation vector.
        translation: (3,) in the unit of the file.
        metres: of one unit.

    Returns:
        (4, 4), in metres.
    """
    matrix = np.eye(4)
    is_rotvec = rotation.shape == (3,)
    matrix[:3, :3] = rotvec_to_rotmat(torch.from_numpy(rotation)).numpy() if is_rotvec else rotation
    matrix[:3, 3] = translation * metres
    return matrix


def opencv_model(coefficients: Array, is_fisheye: bool) -> tuple[str, Array]:
    """Names the lens model of OpenCV's coefficients.

    Args:
        coefficients: (D,) in OpenCV's order.
        is_fisheye: whether they are those of `cv2.fisheye`.

    Returns:
        Name of the model, and its coefficients: 'pinhole' where all are 0 and the lens is not a fisheye.
    """
    if is_fisheye:
        return 'fisheye', coefficients
    longest = max(NUM_COEFFICIENTS['radial_tangential'])
    if not coefficients[longest:].any():  # OpenCV writes zeros for a thin prism and a tilted sensor that it left out
        coefficients = coefficients[:longest]
    return ('radial_tangential', coefficients) if coefficients.any() else ('pinhole', np.zeros(0))


def build_camera(
    where: object,
    name: str,
    size: tuple[int, int],
    matrix: Array,
    lens: tuple[str, Array],
    extrinsics: Array,
    rig: str | None = None,
) -> CameraCalibration:
    """Builds a camera; errors name the file.

    Args:
        where: names the file and the place in it.
        name: of the camera.
        size: (width, height) pixels.
        matrix: (3, 3) intrinsics.
        lens: model and coefficients.
        extrinsics: (4, 4) metres.
        rig: the moving body that the camera is mounted on.

    Returns:
        The camera.

    Raises:
        CalibrationError: a value is not possible.
    """
    model, distortion = lens
    try:
        return CameraCalibration(name, size, matrix, model, distortion, extrinsics, rig)  # type: ignore[arg-type]
    except CalibrationError as error:
        raise CalibrationError(f'{where}: {error}') from error


def stated_unit(unit: Unit, stated: str, where: object) -> float:
    """Metres of one unit of a format that states its unit.

    Args:
        unit: what the caller gave, which must be None.
        stated: the unit of the format, a key of `UNITS`.
        where: names the file.

    Returns:
        Metres.

    Raises:
        CalibrationError: the caller gave a unit too.
    """
    if unit is not None:
        raise CalibrationError(f'{where} is in {stated}s, as its format says; leave out the unit, which was {unit!r}')
    return UNITS[stated]


def given_unit(unit: Unit, where: object, hint: str) -> float:
    """Metres of one unit of a format that does not state its unit.

    Args:
        unit: a key of `UNITS`, or the metres of one unit.
        where: names the file.
        hint: what the unit usually is in this format; ends the message.

    Returns:
        Metres.

    Raises:
        CalibrationError: none was given, or it is no unit.
    """
    if unit is None:
        raise CalibrationError(
            f'{where} does not say in which unit its positions are; give unit as {", ".join(map(repr, UNITS))} or as '
            f'the metres of one unit. {hint}'
        )
    return metres_of(unit)


def metres_of(unit: str | float) -> float:
    """Metres of one unit.

    Args:
        unit: a key of `UNITS`, or a number.

    Returns:
        Metres.

    Raises:
        CalibrationError: an unknown name, or a number that is not positive and finite.
    """
    if isinstance(unit, str):
        if unit not in UNITS:
            raise CalibrationError(
                f'unit must be {", ".join(map(repr, UNITS))} or the metres of one unit, got {unit!r}.'
                f'{did_you_mean(unit, UNITS)}'
            )
        return UNITS[unit]
    if not 0 < unit < float('inf'):
        raise CalibrationError(f'a unit must have a positive length in metres, got {unit!r}')
    return float(unit)


def joined(names: Iterable[object] | Sequence[object]) -> str:
    """Lists names in a message.

    Args:
        names: any number.

    Returns:
        Up to ten of them.
    """
    listed = [str(name) for name in names]
    return ', '.join(listed[:10]) + (f' and {len(listed) - 10} more' if len(listed) > 10 else '')
