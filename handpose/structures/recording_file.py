"""The recording file: reading and writing an `AnnotatedRecording` as one .npz.

docs/guides/annotate.md lists its keys.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.structures.annotated_recording import ARRAYS, FITTED, AnnotatedRecording, RecordingError
from handpose.structures.calibration import Calibration, CalibrationError
from handpose.structures.calibration_files.own import from_own, to_own
from handpose.structures.prediction_checks import RECORDING_FORMAT
from handpose.text import did_you_mean

VERSION = 1
_TEXTS = ('calibration', 'method', 'hand_model')
_LISTS = ('videos', 'notes')
_REQUIRED = (*ARRAYS, 'calibration', 'videos', 'method', 'format', 'version')
_OPTIONAL = (*FITTED, 'hand_model', 'notes')
_ADVICE = '`handpose annotate` makes recording files'


def save_annotated_recording(path: str | Path, recording: AnnotatedRecording) -> None:
    """Writes a recording file, completely or not at all; `load_annotated_recording` reads it back.

    Args:
        path: the .npz file.
        recording: what is written.

    Raises:
        RecordingError: the name does not end in .npz.
    """
    if Path(path).suffix != '.npz':
        raise RecordingError(f'{path}: a recording file must end in .npz')
    values = recording.values()
    values['calibration'] = json.dumps(to_own(recording.calibration))
    for name in _LISTS:
        values[name] = np.array(values[name], np.str_)
    with atomic_file(path) as file:
        np.savez_compressed(file, **values, format=RECORDING_FORMAT, version=VERSION)


def load_annotated_recording(path: str | Path) -> AnnotatedRecording:
    """Reads and checks a recording file.

    Args:
        path: the .npz file.

    Returns:
        The recording.

    Raises:
        RecordingError: the file is missing, is no recording file, or holds something that cannot be used; the message
            names the key, what was expected and what was found.
    """
    if not Path(path).is_file():
        raise RecordingError(f'there is no recording file {path}; {_ADVICE}')
    found = read_npz(path, error=RecordingError, advice=_ADVICE)
    try:
        return _from_keys(found, Path(path))
    except RecordingError as error:
        raise RecordingError(f'{path}: {error}') from error


def is_recording_file(path: str | Path) -> bool:
    """Tells whether an .npz file says that it is a recording file; False for files that cannot be read.

    Args:
        path: the file.

    Returns:
        Whether it is one.
    """
    try:
        found = read_npz(path, ['format'], error=RecordingError)
    except RecordingError:
        return False
    return str(found.get('format', '')) == RECORDING_FORMAT


def _from_keys(found: dict[str, NDArray], path: Path) -> AnnotatedRecording:
    form, version = str(found.get('format', 'missing')), str(found.get('version', VERSION))
    if form != RECORDING_FORMAT:
        raise RecordingError(f'format is {form!r}, and that of a recording file is {RECORDING_FORMAT!r}; {_ADVICE}')
    if not version.isdigit() or int(version) > VERSION:
        raise RecordingError(f'version is {version}, and this library reads up to {VERSION}: update handpose')
    for key in _REQUIRED:
        if key not in found:
            raise RecordingError(f'a recording file needs {key!r}, this one has: {", ".join(found)}')
    for key in found:
        if key not in (*_REQUIRED, *_OPTIONAL):
            known = (*_REQUIRED, *_OPTIONAL)
            raise RecordingError(f'{key!r} is not a key of a recording file.{did_you_mean(key, known)}')
    arrays: dict[str, Any] = {key: value for key, value in found.items() if key in ARRAYS or key in FITTED}
    texts = {key: _strings(key, found[key], 0).item() for key in _TEXTS if key in found and key != 'calibration'}
    lists = {key: _strings(key, found[key], 1).tolist() for key in _LISTS if key in found}
    return AnnotatedRecording(
        calibration=_calibration(_strings('calibration', found['calibration'], 0).item(), path),
        **arrays,
        **texts,
        **lists,
    )


def _strings(key: str, value: NDArray, rank: int) -> NDArray:
    if value.dtype.kind != 'U' or value.ndim != rank:
        what = 'a list of strings' if rank else 'one string'
        raise RecordingError(f'{key} must be {what}, got {value.dtype} of shape {value.shape}')
    return value


def _calibration(text: str, path: Path) -> Calibration:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RecordingError(f'calibration is not JSON: {error}') from error
    if not isinstance(found, dict):
        raise RecordingError('calibration must hold what a calibration file of this library holds')
    try:
        return from_own(found, path, None)
    except CalibrationError as error:
        raise RecordingError(f'calibration: {error}') from error
