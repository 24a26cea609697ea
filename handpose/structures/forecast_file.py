"""The forecast file: reading and writing a `Forecast` as one .npz.

docs/guides/forecast.md lists its keys. The observed frames are stored with the keys of a predictions file, after
'observed/'.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.structures.forecast import Forecast
from handpose.structures.prediction_checks import FORECAST_FORMAT, PredictionsError
from handpose.structures.predictions_file import predictions_from_keys, predictions_to_keys
from handpose.text import did_you_mean

VERSION = 1
OBSERVED = 'observed/'
_TEXTS = ('model', 'action', 'object')
_REQUIRED = ('joints', 'joints_valid', 'timestamps')
_OPTIONAL = (*_TEXTS, 'seed', 'action_names', 'action_scores', 'format', 'version')


def save_forecast(path: str | Path, forecast: Forecast) -> None:
    """Writes a forecast file, completely or not at all; `load_forecast` reads it back.

    Args:
        path: the .npz file.
        forecast: what is written.

    Raises:
        PredictionsError: the name does not end in .npz, or the observed frames could not be read back.
    """
    if Path(path).suffix != '.npz':
        raise PredictionsError(f'{path}: a forecast file must end in .npz')
    values: dict[str, Any] = {name: vars(forecast)[name] for name in (*_REQUIRED, *_TEXTS)}
    if forecast.seed is not None:
        values['seed'] = forecast.seed
    if forecast.action_scores:
        values['action_names'] = np.array(list(forecast.action_scores))
        values['action_scores'] = np.array(list(forecast.action_scores.values()), np.float32)
    values |= {f'{OBSERVED}{key}': value for key, value in predictions_to_keys(forecast.observed.check()).items()}
    with atomic_file(path) as file:
        np.savez_compressed(file, **values, format=FORECAST_FORMAT, version=VERSION)


def load_forecast(path: str | Path) -> Forecast:
    """Reads and checks a forecast file.

    Args:
        path: the .npz file.

    Returns:
        The forecast.

    Raises:
        PredictionsError: the file is missing, is no forecast file, or holds something that cannot be used; the message
            names the key, what was expected and what was found.
    """
    if not Path(path).is_file():
        raise PredictionsError(f'there is no forecast file {path}; `handpose forecast` makes one')
    found = read_npz(path, error=PredictionsError, advice='`handpose forecast` makes forecast files')
    try:
        return _from_keys(found)
    except PredictionsError as error:
        raise PredictionsError(f'{path}: {error}') from error


def _from_keys(found: dict[str, NDArray]) -> Forecast:
    form, version = str(found.get('format', 'missing')), str(found.get('version', VERSION))
    if form != FORECAST_FORMAT:
        raise PredictionsError(
            f'format is {form!r}, and that of a forecast file is {FORECAST_FORMAT!r}: `handpose forecast` makes one of '
            f'a predictions file'
        )
    if not version.isdigit() or int(version) > VERSION:
        raise PredictionsError(f'version is {version}, and this library reads up to {VERSION}: update handpose')
    observed = {key.removeprefix(OBSERVED): value for key, value in found.items() if key.startswith(OBSERVED)}
    own = {key: value for key, value in found.items() if not key.startswith(OBSERVED)}
    known = (*_REQUIRED, *_OPTIONAL)
    for key in _REQUIRED:
        if key not in own:
            raise PredictionsError(f'a forecast file needs {key!r}, this one has: {", ".join(own)}')
    for key in own:
        if key not in known:
            raise PredictionsError(f'{key!r} is not a key of a forecast file.{did_you_mean(key, known)}')
    try:
        predictions = predictions_from_keys(observed).check()
    except PredictionsError as error:
        raise PredictionsError(f'the observed frames (keys {OBSERVED}...): {error}') from error
    texts: dict[str, Any] = {key: str(_single(key, own[key], 'US', 'one string')) for key in _TEXTS if key in own}
    seed = int(_single('seed', own['seed'], 'iu', 'one whole number')) if 'seed' in own else None
    arrays: dict[str, Any] = {key: own[key] for key in _REQUIRED}
    return Forecast(predictions, **arrays, **texts, seed=seed, action_scores=_scores(own))


def _single(key: str, value: NDArray, kinds: str, what: str) -> Any:
    if value.size != 1 or value.dtype.kind not in kinds:
        raise PredictionsError(f'{key} must be {what}, got {value.dtype} of shape {value.shape}')
    return value.item()


def _scores(found: dict[str, NDArray]) -> dict[str, float]:
    """The scores by their names."""
    if 'action_names' not in found and 'action_scores' not in found:
        return {}
    empty = np.zeros(0)
    names, scores = found.get('action_names', empty), found.get('action_scores', empty)
    if names.dtype.kind not in 'US' or names.ndim != 1 or scores.dtype.kind != 'f' or scores.shape != names.shape:
        raise PredictionsError(
            f'action_names and action_scores must be strings and numbers of one length, got {names.dtype} of '
            f'{names.shape} and {scores.dtype} of {scores.shape}'
        )
    if not np.isfinite(scores).all() or len(set(names.tolist())) < len(names):
        raise PredictionsError('action_scores must be finite, and action_names different from each other')
    return dict(zip(map(str, names), map(float, scores), strict=True))
