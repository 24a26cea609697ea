"""AssemblyHands' `calib.txt`, which calibrates the rectified videos of the cameras around the table.

Each camera has eight lines that are not blank: its name, three rows of K (pixels), a line that is not used, and three
rows of [R | t], world to camera, millimetres, OpenCV's axes. The line that is not used is one of lens coefficients: the
videos are rectified, so that cameras are pinholes. The size of the images is not in the file.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from handpose.structures.calibration import Calibration, CalibrationError, CameraCalibration
from handpose.structures.calibration_files.values import Array, Unit, build_camera, numbers, rigid, stated_unit

_LINES = 8  # of a camera, blank ones not counted
# Where principal points may be, as shares of the image: a size that is half, two thirds or twice the right one is not
# taken for it, and rectified images are nearly centred.
_CENTRE = (0.3, 0.7)
_ADVICE = (
    "at which the cameras were calibrated, 1920x1080 for the release's videos: read_calibration({path!r}, "
    "image_size=(1920, 1080)). write_calibration('calibration.json', ...) keeps it with them"
)


class CameraLines(NamedTuple):
    """What the lines of one camera say.

    Attributes:
        where: the file and the line, for messages.
        name: of the camera.
        intrinsics: (3, 3) pixels.
        extrinsics: (3, 4) world to camera, millimetres.
    """

    where: str
    name: str
    intrinsics: Array
    extrinsics: Array


def is_assemblyhands_text(written: str) -> bool:
    """Recognizes the format.

    Args:
        written: text of a file.

    Returns:
        Whether it begins with one word in a line of its own, and a line of three words of which one is a number.
    """
    words = [line.split() for line in written.split('\n') if line.strip()][:2]
    return [len(line) for line in words] == [1, 3] and any(_is_number(word) for word in words[1])


def parse_cameras(written: str, path: Path) -> list[CameraLines]:
    """Takes the numbers of every camera out of the text.

    Args:
        written: the text.
        path: names the file in messages.

    Returns:
        The cameras, in the order of the file; whether their numbers make a camera is not checked.

    Raises:
        CalibrationError: names the line.
    """
    filled = [(number, line.split()) for number, line in enumerate(written.split('\n'), 1) if line.strip()]
    if not filled or len(filled) % _LINES:
        raise CalibrationError(
            f'{path} must have {_LINES} lines that are not blank for each camera (name, 3 rows of K, one line that is '
            f'not used, 3 rows of [R | t]), found {len(filled)}'
        )
    cameras: list[CameraLines] = []
    for start in range(0, len(filled), _LINES):
        (number, words), *rows = filled[start : start + _LINES]
        where = f'{path}, line {number}'
        if len(words) != 1 or words[0] in (camera.name for camera in cameras):
            raise CalibrationError(f'{where}: expected the name of another camera, found {" ".join(words)[:60]!r}')
        matrix, pose = (np.stack([_row(*row, count, path) for row in part])
                        for part, count in ((rows[:3], 3), (rows[4:], 4)))  # fmt: skip
        cameras.append(CameraLines(where, words[0], matrix, pose))
    return cameras


def from_assemblyhands_text(written: str, path: Path, unit: Unit, size: tuple[int, int] | None) -> Calibration:
    """Builds the cameras of a file.

    Args:
        written: its text.
        path: names it in messages.
        unit: None; the format is in millimetres.
        size: (width, height) of the images, the same for all cameras.

    Returns:
        The cameras, in the order of the file, all of them pinholes.

    Raises:
        CalibrationError: names the line; or the size is missing, or is not that of the calibrated images.
    """
    metres = stated_unit(unit, 'millimetre', path)
    cameras = parse_cameras(written, path)
    if size is None:
        raise CalibrationError(
            f'{path} does not say the size of the images, which all its cameras share; give image_size, the size '
            f'{_ADVICE.format(path=str(path))}'
        )
    return Calibration([_camera(camera, path, metres, size) for camera in cameras])


def _camera(found: CameraLines, path: Path, metres: float, size: tuple[int, int]) -> CameraCalibration:
    extrinsics = rigid(found.extrinsics[:, :3], found.extrinsics[:, 3], metres)
    camera = build_camera(found.where, found.name, size, found.intrinsics, ('pinhole', np.zeros(0)), extrinsics)
    centre = found.intrinsics[:2, 2]
    share = centre / camera.image_size
    if not ((share > _CENTRE[0]) & (share < _CENTRE[1])).all():
        raise CalibrationError(
            f'{found.where}, camera {found.name}: its principal point {centre.tolist()} is not near the middle of '
            f'images of {size[0]}x{size[1]} pixels; the file does not say their size: give image_size, the size '
            f'{_ADVICE.format(path=str(path))}'
        )
    return camera


def _row(number: int, words: list[str], count: int, path: Path) -> Array:
    where = f'{path}, line {number}'
    if len(words) != count or not all(_is_number(word) for word in words):
        raise CalibrationError(f'{where}: expected {count} numbers, found {" ".join(words)[:80]!r}')
    return numbers([float(word) for word in words], (count,), where)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
