"""Makes a predictions file from the output of another estimator.

    handpose convert mediapipe landmarks.npz -o hands.npz --fps 30 --hand right

INPUT is an .npz, or a .json object, whose keys are named as the arguments of the converter
(docs/data/predictions_file.md lists them; --rename renames keys), or an .npy, or a .json list, which holds only the
first of them.
"""

import argparse
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handpose.cli.errors import UserError
from handpose.files.npz import read_npy, read_npz
from handpose.files.reading import read_json
from handpose.hands import MANO, HandModel, ProceduralHand
from handpose.structures import (
    Predictions,
    from_hamer,
    from_interhand,
    from_joints,
    from_mano,
    from_mediapipe,
    from_wilor,
    infer_missing_joints,
    save_predictions,
)
from handpose.structures.prediction_orders import missing_joints

_RAGGED = ('world_landmarks', 'handedness', 'score', 'landmarks')  # of MediaPipe
CONVERTERS: dict[str, Callable[..., Predictions]] = {
    'mediapipe': from_mediapipe,
    'hamer': from_hamer,
    'wilor': from_wilor,
    'mano': from_mano,
    'interhand': from_interhand,
    'joints': from_joints,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('kind', choices=CONVERTERS, help='where the arrays come from')
    parser.add_argument('input', help='.npz, .npy or .json')
    parser.add_argument('-o', '--out', required=True, metavar='FILE.npz', help='the predictions file to write')
    parser.add_argument('--fps', type=float, help='frames per second, where INPUT has no timestamps')
    parser.add_argument('--hand', nargs='+', metavar='SIDE', help='left or right, one for each hand that INPUT holds')
    parser.add_argument('--frame', help='camera or wrist (interhand: also world)')
    parser.add_argument('--swap-handedness', action='store_true', help='mediapipe: see the docs')
    parser.add_argument(
        '--mirrored-left',
        action=argparse.BooleanOptionalAction,
        help='left hands are mirrored right ones, as the models of HaMeR and WiLoR give them (default: hamer yes; mano '
        'and wilor, which is WiLoR-mini, no)',
    )
    parser.add_argument('--joint-order', metavar='ORDER', help='joints: common, nyu, icvl, shrec, mocap_17, ...')
    parser.add_argument('--unit', help='joints: metre, centimetre or millimetre')
    parser.add_argument('--infer-missing', action='store_true', help='compute joints that are missing from the others')
    parser.add_argument('--hand-model', metavar='FOLDER', help='mano: folder of MANO_RIGHT.pkl and MANO_LEFT.pkl')
    parser.add_argument('--rename', nargs='+', default=[], metavar='HAS=WANTED', help='keys of INPUT by other names')
    parser.add_argument('--source', help='where the predictions come from, in a sentence')
    parser.add_argument('--licence', help='what may be done with them, in a sentence')


def run(arguments: argparse.Namespace) -> None:
    """Converts the file.

    Args:
        arguments: those of `add_arguments`.
    """
    converter = CONVERTERS[arguments.kind]
    accepted = list(inspect.signature(converter).parameters)
    given = read_arrays(arguments.input, accepted[0], arguments.rename)
    check_lists(given, arguments.kind)
    options = {
        'fps': arguments.fps,
        'hand_side' if 'hand_side' in accepted else 'handedness': arguments.hand,
        'frame': arguments.frame,
        'swap_handedness': arguments.swap_handedness or None,
        'mirrored_left': arguments.mirrored_left,
        'joint_order': arguments.joint_order,
        'unit': arguments.unit,
        'hand_model': _hand_model(arguments.hand_model) if arguments.kind == 'mano' else arguments.hand_model,
        'source': arguments.source,
        'licence': arguments.licence,
    }
    given |= {key: value for key, value in options.items() if value is not None}
    check_arguments(given, converter, arguments.kind)
    predictions = converter(**given)
    if arguments.infer_missing:
        predictions = infer_missing_joints(predictions)
    save_predictions(arguments.out, predictions)
    frames, hands = predictions.valid.shape
    print(
        f'{arguments.out}: {frames} frames, {hands} hand{"s" if hands > 1 else ""}, '
        f'{int((~predictions.valid).sum())} missing, frame {predictions.frame!r}, scale {predictions.scale!r}'
    )
    lacking = missing_joints(predictions.given_joints(), predictions.valid)
    if lacking:
        print(f'the hands lack {", ".join(lacking)}; --infer-missing computes them from the other joints')


def read_arrays(path: str, first: str, renamed: Sequence[str]) -> dict[str, Any]:
    """Reads the arrays of a file.

    Args:
        path: an .npz, .npy or .json file.
        first: the name of what a file without names holds.
        renamed: words 'HAS=WANTED' that rename keys of the file.

    Returns:
        {name: array, number or text}.
    """
    ending = Path(path).suffix
    if ending not in ('.npz', '.npy', '.json') or not Path(path).is_file():
        raise UserError(f'INPUT must be an .npz, .npy or .json file that exists, got {path}')
    if ending == '.json':
        found = read_json(path, (dict, list), allow_nan=True)
        found = found if isinstance(found, dict) else {first: found}
        found = {key: _to_array(value, key, path) for key, value in found.items()}
    else:
        found = _read_numpy(path, first)
    names = {has: wanted or first for has, _, wanted in (pair.partition('=') for pair in renamed)}
    for name in names:
        if name not in found:
            raise UserError(f'--rename {name}=...: {path} has no {name!r}, it has {", ".join(found)}')
    return {names.get(key, key): _scalar(value) for key, value in found.items()}


def _read_numpy(path: str, first: str) -> dict[str, Any]:
    return read_npz(path) if Path(path).suffix == '.npz' else {first: read_npy(path)}


def _to_array(value: Any, key: str, path: str) -> Any:
    """JSON to an array: null is NaN, and so is each number of a frame that is null; ragged lists stay lists."""
    if not isinstance(value, list):
        return np.asarray(value)
    if _is_ragged(value):
        return value
    complete = next((item for item in value if item is not None), None)
    try:
        like = np.asarray(complete, np.float64) if isinstance(complete, list) else None
        return np.array([np.full_like(like, np.nan) if item is None and like is not None else item for item in value])
    except (ValueError, TypeError):
        raise UserError(
            f'{path}: {key!r} must be a list of items of one shape, with null for a frame without a hand'
        ) from None


def check_lists(given: Mapping[str, Any], kind: str) -> None:
    """Refuses ragged lists, except those of MediaPipe's hands.

    Args:
        given: {name: array or list} of the input.
        kind: a key of `CONVERTERS`.

    Raises:
        UserError: names the list.
    """
    for key, value in given.items():
        if isinstance(value, list) and (kind != 'mediapipe' or key not in _RAGGED):
            raise UserError(f'{kind}: {key} must be an array, but its lists have different lengths')


def _is_ragged(value: list[Any]) -> bool:
    """Whether the lists of a list have different lengths: hands of a frame, of which there are none to two."""
    lengths = {len(item) for item in value if isinstance(item, list)}
    inner = {len(hand) for item in value if isinstance(item, list) for hand in item if isinstance(hand, list)}
    return len(lengths) > 1 or len(inner) > 1


def _scalar(value: Any) -> Any:
    """Turns an array without axes into its number or string: `fps`, `frame`."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _hand_model(folder: str | None) -> HandModel | None:
    return ProceduralHand() if folder == 'procedural' else MANO(folder) if folder else None


def check_arguments(given: Mapping[str, Any], converter: Callable[..., Any], kind: str) -> None:
    """Checks that no argument of the converter is unknown or missing.

    Args:
        given: {name: value} of all arguments.
        converter: the converter.
        kind: its key in `CONVERTERS`.

    Raises:
        UserError: names the argument, and the option that gives it.
    """
    parameters = inspect.signature(converter).parameters
    for key in given:
        if key not in parameters:
            raise UserError(f'{kind} takes {", ".join(parameters)}, not {key!r}; --rename can rename keys of INPUT')
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            option = {'handedness': '--hand', 'hand_side': '--hand', 'frame': '--frame', 'hand_model': '--hand-model'}
            option |= {'joint_order': '--joint-order', 'unit': '--unit'}
            how = f'give {option[key]}' if key in option else f'INPUT needs the key, or --rename HAS={key}'
            raise UserError(f'{kind} needs {key}: {how}')
