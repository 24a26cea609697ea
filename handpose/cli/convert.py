"""Makes a predictions file: python tools/convert/to_predictions.py mediapipe landmarks.npz -o hands.npz --fps 30 ...

INPUT is an .npz, or a .json object, whose keys are named as the arguments of the converter (docs/predictions_file.md
lists them; --rename says which key is which), or an .npy, or a .json list, which holds the first of them alone.
"""

import argparse
import inspect
from pathlib import Path

import numpy as np

from handpose.engine.errors import exit_on_user_error
from handpose.files.npz import read_npy, read_npz
from handpose.files.reading import read_json
from handpose.hands import MANO, ProceduralHand
from handpose.structures import (
    from_hamer,
    from_interhand,
    from_mano,
    from_mediapipe,
    save_predictions,
)

CONVERTERS = {'mediapipe': from_mediapipe, 'hamer': from_hamer, 'mano': from_mano, 'interhand': from_interhand}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('kind', choices=CONVERTERS, help='where the arrays come from')
    parser.add_argument('input', help='.npz, .npy or .json')
    parser.add_argument('-o', '--out', required=True, metavar='FILE.npz', help='the predictions file to write')
    parser.add_argument('--fps', type=float, help='frames per second, where INPUT has no timestamps')
    parser.add_argument('--hand', nargs='+', metavar='SIDE', help='left or right, one for each hand that INPUT holds')
    parser.add_argument('--frame', help='camera or wrist (interhand: also world)')
    parser.add_argument('--swap-handedness', action='store_true', help='mediapipe: see the docs')
    parser.add_argument('--mirrored-left', action='store_true', help='mano: left hands are mirrored right ones (HaMeR)')
    parser.add_argument('--hand-model', metavar='FOLDER', help='mano: folder of MANO_RIGHT.pkl and MANO_LEFT.pkl')
    parser.add_argument('--rename', nargs='+', default=[], metavar='HAS=WANTED', help='keys of INPUT by other names')
    parser.add_argument('--source', help='a sentence about where the predictions come from')
    parser.add_argument('--licence', help='a sentence about what may be done with them')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    converter = CONVERTERS[arguments.kind]
    accepted = list(inspect.signature(converter).parameters)
    given = read_arrays(arguments.input, accepted[0], arguments.rename)
    check_lists(given, arguments.kind)
    options = {
        'fps': arguments.fps,
        'hand_side' if 'hand_side' in accepted else 'handedness': arguments.hand,
        'frame': arguments.frame,
        'swap_handedness': arguments.swap_handedness or None,
        'mirrored_left': arguments.mirrored_left or None,
        'hand_model': hand_model(arguments.hand_model) if arguments.kind == 'mano' else arguments.hand_model,
        'source': arguments.source,
        'licence': arguments.licence,
    }
    given |= {key: value for key, value in options.items() if value is not None}
    predictions = converter(**checked(given, converter, arguments.kind))
    save_predictions(arguments.out, predictions)
    frames, hands = predictions.valid.shape
    print(
        f'{arguments.out}: {frames} frames, {hands} hand{"s" if hands > 1 else ""}, '
        f'{int((~predictions.valid).sum())} missing, frame {predictions.frame!r}'
    )


def read_arrays(path, first, renamed):
    """{name: array} of a file; `first` names what a file without names holds."""
    ending = Path(path).suffix
    if ending not in ('.npz', '.npy', '.json') or not Path(path).is_file():
        raise SystemExit(f'error: INPUT must be an .npz, .npy or .json file that exists, got {path}')
    if ending == '.json':
        found = read_json(path, (dict, list), allow_nan=True)
        found = found if isinstance(found, dict) else {first: found}
        found = {key: array_of(value, key, path) for key, value in found.items()}
    else:
        found = read_numpy(path, first)
    names = dict(pair.split('=', 1) if '=' in pair else (pair, first) for pair in renamed)
    for name in names:
        if name not in found:
            raise SystemExit(f'error: --rename {name}=...: {path} has no {name!r}, it has {", ".join(found)}')
    return {names.get(key, key): single(value) for key, value in found.items()}


def read_numpy(path, first):
    return read_npz(path) if Path(path).suffix == '.npz' else {first: read_npy(path)}


def array_of(value, key, path):
    """JSON to an array: null is NaN, and so is each number of a frame that is null; lists that differ stay lists."""
    if not isinstance(value, list):
        return np.asarray(value)
    if _is_ragged(value):
        return value
    whole = next((item for item in value if item is not None), None)
    try:
        like = np.asarray(whole, np.float64) if isinstance(whole, list) else None
        return np.array([np.full_like(like, np.nan) if item is None and like is not None else item for item in value])
    except (ValueError, TypeError):
        raise SystemExit(
            f'error: {path}: {key!r} must be a list of items of one shape, with null for a frame without a hand'
        ) from None


def check_lists(given, kind):
    """Only MediaPipe's hands may be lists of different lengths."""
    for key, value in given.items():
        if isinstance(value, list) and (kind != 'mediapipe' or key not in ('world_landmarks', 'handedness', 'score')):
            raise SystemExit(f'error: {kind}: {key} must be an array, but its lists have different lengths')


def _is_ragged(value):
    """Whether the lists of a list have different lengths: hands of a frame, of which there are none to two."""
    lengths = {len(item) for item in value if isinstance(item, list)}
    inner = {len(hand) for item in value if isinstance(item, list) for hand in item if isinstance(hand, list)}
    return len(lengths) > 1 or len(inner) > 1


def single(value):
    """An array of one number or string as that: `fps`, `frame`."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def hand_model(folder):
    return ProceduralHand() if folder == 'procedural' else MANO(folder) if folder else None


def checked(given, converter, kind):
    """The arguments, or a sentence that names one which is unknown or lacking."""
    parameters = inspect.signature(converter).parameters
    for key in given:
        if key not in parameters:
            raise SystemExit(
                f'error: {kind} takes {", ".join(parameters)}, not {key!r}; --rename can rename keys of INPUT'
            )
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            option = {'handedness': '--hand', 'hand_side': '--hand', 'frame': '--frame', 'hand_model': '--hand-model'}
            how = f'give {option[key]}' if key in option else f'INPUT needs the key, or --rename HAS={key}'
            raise SystemExit(f'error: {kind} needs {key}: {how}')
    return given


if __name__ == '__main__':
    with exit_on_user_error():
        main()
