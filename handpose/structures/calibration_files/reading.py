"""`read_calibration`: recognizes the format of a calibration file by its content, and reads it."""

import re
from pathlib import Path

from handpose.files.reading import parse_json, read_text, visible_names, visible_paths
from handpose.files.toml_files import read_toml
from handpose.structures.calibration import Calibration, CalibrationError
from handpose.structures.calibration_files import anipose, assemblyhands, assemblyhands_text, colmap, opencv, own
from handpose.structures.calibration_files.values import Unit, joined

EXPECTED = (
    "handpose's own JSON, AssemblyHands' JSON or calib.txt, TOML of anipose or freemocap, YAML of OpenCV, or a text "
    'model of COLMAP (the folder of cameras.txt and images.txt)'
)
_JSON = re.compile(r'\{|\[\s*[{\]]')
_TOML = re.compile(r'\[{1,2}[^\[\]]+\]{1,2}\s*(#.*)?|[\w.\'"-]+\s*=.*')
_YAML = re.compile(r'%YAML.*|---.*|[^\s#:\[\]{}=]+\s*:(\s.*)?')
_COLMAP = re.compile(r'\d+\s+([A-Z_]+\s+\d+\s+\d+(\s+\S+)+|(\S+\s+){7}\d+\s+\S.*)')


def read_calibration(
    path: str | Path, *, unit: str | float | None = None, image_size: tuple[int, int] | None = None
) -> Calibration:
    """Reads calibrated cameras from a file of any known format; what is in the file is not executed.

    The format is recognized by the content, not by the name: this library's own JSON, AssemblyHands' JSON and
    calib.txt, TOML of anipose and freemocap, YAML of OpenCV's FileStorage, text models of COLMAP.
    docs/guides/calibration.md describes them.

    Args:
        path: the file; for COLMAP its folder; for OpenCV also a folder with several YAML files.
        unit: 'metre', 'centimetre', 'millimetre' or the metres of one unit, for formats that do not say it: anipose,
            OpenCV and COLMAP. None where the format says it.
        image_size: (width, height) pixels, for files that do not say it: AssemblyHands' calib.txt, some of OpenCV.

    Returns:
        The cameras, in metres, world to camera, pixel centres at integers.

    Raises:
        CalibrationError: the file is missing, damaged or of an unknown format, or its unit is not known; the message
            names the file and the key, what was expected and what was found.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, unit, image_size)
    written = read_text(path, error=CalibrationError, advice=f'expected {EXPECTED}')
    kind = _kind(written)
    if kind == 'json':
        return _read_json(written, path, unit)
    if kind == 'toml':
        return anipose.from_anipose(read_toml(path, error=CalibrationError), path, unit)
    if kind == 'yaml':
        return opencv.read_opencv(path, unit, image_size)
    if kind == 'colmap':
        return colmap.read_colmap(path.parent, unit)
    if kind == 'assemblyhands_text':
        return assemblyhands_text.from_assemblyhands_text(written, path, unit, image_size)
    raise CalibrationError(f'{path}: expected {EXPECTED}, found {_first_line(written)[:60]!r}')


def _read_folder(path: Path, unit: Unit, image_size: tuple[int, int] | None) -> Calibration:
    names = visible_names(path)
    if colmap.CAMERAS in names or colmap.IMAGES in names:
        return colmap.read_colmap(path, unit)
    if 'cameras.bin' in names:
        raise CalibrationError(
            f'{path} has a binary model of COLMAP; convert it: colmap model_converter --output_type TXT'
        )
    if any(entry.suffix.lower() in opencv.SUFFIXES for entry in visible_paths(path)):
        return opencv.read_opencv(path, unit, image_size)
    raise CalibrationError(
        f'{path} is a folder: expected cameras.txt and images.txt of COLMAP, or YAML files of OpenCV, found '
        f'{joined(names) or "nothing"}; for other formats give the file'
    )


def _first_line(written: str) -> str:
    """The first line that is neither empty nor a comment."""
    lines = (line.strip() for line in written.split('\n'))
    return next((line for line in lines if line and not line.startswith('#')), '')


def _kind(written: str) -> str | None:
    if _JSON.match(written.lstrip()):
        return 'json'
    line = _first_line(written)
    kinds = {'toml': _TOML, 'colmap': _COLMAP, 'yaml': _YAML}
    known = next((kind for kind, pattern in kinds.items() if pattern.fullmatch(line)), None)
    if known is None and assemblyhands_text.is_assemblyhands_text(written):
        return 'assemblyhands_text'
    return known


def _read_json(written: str, path: Path, unit: Unit) -> Calibration:
    found = parse_json(written, path, (dict, list), error=CalibrationError)
    if isinstance(found, list):
        return assemblyhands.from_assemblyhands(found, path, unit)
    if found.get('format') == own.FORMAT:
        return own.from_own(found, path, unit)
    raise CalibrationError(
        f'{path}: expected JSON with "format": "{own.FORMAT}", or the list of cameras of an AssemblyHands recording, '
        f'found the keys {joined(found) or "of an empty object"}'
    )
