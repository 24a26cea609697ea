"""The predictions file: reading and writing `Predictions` as one .npz.

docs/data/predictions_file.md describes the file for those who write one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import atomic_file
from handpose.files.names import file_stem
from handpose.files.npz import read_npz
from handpose.files.reading import read_json
from handpose.hands.joints import JOINT_ORDERS
from handpose.hands.sides import SIDE_LABELS
from handpose.structures.prediction_checks import FORECAST_FORMAT, FRAMES, RECORDING_FORMAT, UNITS, PredictionsError
from handpose.structures.predictions import PER_FRAME, PER_HAND, Predictions
from handpose.text import did_you_mean

FORMAT, VERSION = 'handpose-predictions', 4  # earlier versions had fewer optional keys
TRACKS_FILE = 'tracks.json'  # in a folder of `handpose predict-dataset`: the networks, and the tracks without a hand
_REQUIRED = ('joints', 'valid', 'timestamps', 'hand_side', 'joint_order', 'unit', 'frame')
_TEXTS = ('joint_order', 'unit', 'frame', 'scale', 'source', 'licence')
_OPTIONAL = (
    *(name for name in PER_HAND if name not in _REQUIRED),
    *(*PER_FRAME, 'object_names'),
    *('scale', 'intrinsics', 'extrinsics', 'image_size', 'source', 'licence', 'format', 'version'),
)


def load_predictions(path: str | Path) -> Predictions:
    """Reads and checks a predictions file.

    Args:
        path: the .npz file.

    Returns:
        The predictions.

    Raises:
        PredictionsError: the file is missing, is no predictions file, or holds something that cannot be used; the
            message names the key, what was expected and what was found.
    """
    found = _read(path)
    try:
        return predictions_from_keys(found).check()
    except PredictionsError as error:
        raise PredictionsError(f'{path}: {error}') from error


def track_file_name(meta: Mapping[str, Any]) -> str:
    """Names the predictions file of a track of a dataset, in a folder with one for each track.

    Args:
        meta: of the clip, with `sequence` and `cameras`.

    Returns:
        `<sequence>_<camera>.npz`, in which a '/' and what else no file name may have becomes '_'.
    """
    return file_stem(f'{meta["sequence"]}_{meta["cameras"][0]}') + '.npz'


def tracks_without_hand(folder: str | Path) -> set[str]:
    """Reads in which tracks of a dataset `handpose predict-dataset` found no hand.

    Args:
        folder: with a predictions file for each of the other tracks.

    Returns:
        The names that their files would have; empty for a folder of another origin, which has no such list.

    Raises:
        PredictionsError: the list is damaged.
    """
    path = Path(folder) / TRACKS_FILE
    if not path.exists():
        return set()
    found = read_json(path, error=PredictionsError, advice='run `handpose predict-dataset` again, into a new folder')
    names = found.get('without_hand') if isinstance(found, dict) else None
    if not isinstance(names, list):
        raise PredictionsError(f"{path}: 'without_hand' must be a list of names, got {str(names)[:80]}")
    return set(map(str, names))


def save_predictions(path: str | Path, predictions: Predictions) -> None:
    """Writes a predictions file (metres, common order), completely or not at all; `load_predictions` reads it back.

    Args:
        path: the .npz file.
        predictions: what is written.

    Raises:
        PredictionsError: the name does not end in .npz, or the predictions could not be read back (see `check`).
    """
    if Path(path).suffix != '.npz':
        raise PredictionsError(f'{path}: a predictions file must end in .npz')
    values = predictions_to_keys(predictions.check())
    with atomic_file(path) as file:
        np.savez_compressed(file, **values)


def predictions_to_keys(predictions: Predictions) -> dict[str, Any]:
    """Makes the content of a predictions file.

    Args:
        predictions: what is to be written.

    Returns:
        {key: array, number or text}.
    """
    values: dict[str, Any] = {
        name: value for name, value in vars(predictions).items() if isinstance(value, np.ndarray) or value
    }
    values['hand_side'] = np.array(SIDE_LABELS)[predictions.hand_side]
    return values | dict(joint_order='common', unit='metre', format=FORMAT, version=VERSION)


def _read(path: str | Path) -> dict[str, NDArray]:
    if not Path(path).is_file():
        raise PredictionsError(
            f'there is no predictions file {path}; docs/data/predictions_file.md says what it holds, '
            f'`handpose convert` makes one'
        )
    return read_npz(path, error=PredictionsError, advice='docs/data/predictions_file.md says what it must hold')


def predictions_from_keys(found: dict[str, NDArray]) -> Predictions:
    """Makes predictions of the content of a predictions file.

    Args:
        found: {key: array}.

    Returns:
        The predictions, not yet checked as a track (`Predictions.check`).

    Raises:
        PredictionsError: a key is missing or unknown, or holds something that cannot be used.
    """
    known = (*_REQUIRED, *_OPTIONAL)
    form, version = str(found.get('format', FORMAT)), str(found.get('version', VERSION))
    if form == FORECAST_FORMAT:
        raise PredictionsError(
            'it is a forecast file, which holds several futures: take one of them with --sample NUMBER, or in Python '
            'with load_forecast(path).sample(number)'
        )
    if form == RECORDING_FORMAT:
        raise PredictionsError(
            'it is a recording file: `handpose annotate` writes a predictions file next to it, and in Python '
            'load_annotated_recording(path).to_predictions() converts'
        )
    if form != FORMAT:
        raise PredictionsError(f'format is {form!r}, and that of a predictions file is {FORMAT!r}')
    if not version.isdigit() or int(version) > VERSION:
        raise PredictionsError(f'version is {version}, and this library reads up to {VERSION}: update handpose')
    for key in _REQUIRED:
        if key not in found:
            raise PredictionsError(_missing_key(key, found))
    for key in found:
        if key not in known:
            raise PredictionsError(f'{key!r} is not a key of a predictions file.{did_you_mean(key, known)}')
    for key in _TEXTS:
        if key in found and found[key].size != 1:
            raise PredictionsError(f'{key} must be one string, got an array of shape {found[key].shape}')
    texts = {k: str(v.item()) for k, v in found.items() if k in _TEXTS}
    arrays: dict[str, Any] = {k: v for k, v in found.items() if k not in texts and k not in ('format', 'version')}
    return Predictions.from_arrays(**arrays, **texts)


def _missing_key(key: str, found: dict[str, NDArray]) -> str:
    what = {
        'unit': f' (the unit of joints: {", ".join(UNITS)}; it is never guessed)',
        'frame': f' (what joints are relative to: {" or ".join(FRAMES)}; it is never guessed)',
        'joint_order': f' (one of {", ".join(JOINT_ORDERS)})',
    }
    have = ', '.join(found) or 'nothing'
    return f'a predictions file needs {key!r}{what.get(key, "")}, this one has: {have}.{did_you_mean(key, found)}'
