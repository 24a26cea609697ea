"""Assembly101's files: where they are, what they hold, and clear errors for damaged ones.

Sener et al., "Assembly101: A Large-Scale Multi-View Video Dataset for Understanding Procedural Activities", CVPR 2022;
https://assembly-101.github.io. On disk: millimetres, world, the left hand '0' and the right hand '1', 21 points of its
own without the thumb's base; poses at 60 frames a second, the frames of actions at 30. Everything returned here is in
metres, in the common order. Legend: N frames.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.datasets.io.json_files import key_of, numbers
from handpose.datasets.io.plausibility import plausible_joints
from handpose.files import reading
from handpose.files.reading import inside_root, is_path_below, kind_of, read_text
from handpose.hands.joints import permutation_to_common

ANNOTATIONS = 'fine-grained-annotations'
ACTION_FILE = 'actions.csv'
SPLIT_FILES = {'train': 'train.csv', 'val': 'validation.csv', 'test': 'test.csv'}
ACTION_COLUMNS = ('id', 'action_id', 'verb_id', 'noun_id', 'action_cls', 'verb_cls', 'noun_cls')
SEGMENT_COLUMNS = (
    'id', 'video', 'start_frame', 'end_frame', 'action_id', 'verb_id', 'noun_id', 'action_cls', 'verb_cls', 'noun_cls',
    'toy_id', 'toy_name', 'is_shared', 'is_RGB',
)  # fmt: skip
_NEEDED = ('video', 'start_frame', 'end_frame')  # of a list of segments; test lists may withhold the actions
# The poses at 60 frames a second, and those of AssemblyPoses.zip, unpacked there or as it is.
POSE_FOLDERS = ('poses@60fps', 'assembly101_camera_and_hand_poses/landmarks3D', 'AssemblyPoses/landmarks3D')
POSE_RATE, ACTION_RATE = 60, 30  # frames a second
HANDS = ('0', '1')  # left, right
NUM_POINTS = 21
TO_COMMON = np.array(permutation_to_common('assembly101'))
PERSON = re.compile(r'_([A-Za-z0-9]+)_user_id')  # in the name of a recording
_NUMBER = re.compile('[0-9]{1,9}')
_MOST_FRAMES = 5_000_000  # of a recording, 23 hours: a larger number of a frame is damage
_ADVICE = 'download the annotations of Assembly101 again'


class Segment(NamedTuple):
    """One annotated action: frames `first` to `stop` - 1 of a recording, at 30 a second.

    Attributes:
        recording: name.
        number: its `id` in the official list, of the first view that names it.
        action: the official number, -1 where it is withheld.
        first: first frame.
        stop: last frame + 1; the official `end_frame` is the last frame.
        toy: the toy's id, '' where the list has none.
    """

    recording: str
    number: int
    action: int
    first: int
    stop: int
    toy: str


class RecordedPoses(NamedTuple):
    """The poses of a recording.

    Attributes:
        joints: (N, 2, 21, 3) float32 metres, world, common order, left hand first; NaN where there is no usable joint.
        confidence: (N, 2) float32 of the tracker; NaN where there is no hand.
    """

    joints: NDArray
    confidence: NDArray


def check_root(root: str | Path) -> None:
    """Raises a `DatasetError` that says how to get the data when `root` does not hold Assembly101."""
    root = Path(root)
    if not (root / ANNOTATIONS).is_dir():
        what = f'does not hold the folder {ANNOTATIONS}' if root.is_dir() else 'does not exist'
        raise DatasetError(
            f'Assembly101 is expected in {root}, which {what}. Ask for access at https://assembly-101.github.io, put '
            f'{ANNOTATIONS} and {POSE_FOLDERS[0]} there (no videos are needed), or make the synthetic stand-in, which '
            f'has the same layout: `handpose make-data --layout assembly101 --root {root}`.'
        )


def pose_folder(root: str | Path, poses: str | None = None) -> Path:
    """The folder of the pose files: `poses` under `root`, or the first of `POSE_FOLDERS` that is there.

    Raises:
        DatasetError: there is none.
    """
    folders = POSE_FOLDERS if poses is None else (poses,)
    for name in folders:
        folder = inside_root(root, name, 'the option poses', error=DatasetError)
        if folder.is_dir():
            return folder
    raise DatasetError(
        f'{root} has no folder {" or ".join(folders)}, which holds a JSON file of hand poses for each recording; '
        f'unpack the poses of Assembly101 there, or name their folder below the root: poses=...'
    )


def read_segments(path: str | Path) -> list[Segment]:
    """Reads a list of segments, such as train.csv; of rows that differ in the view alone the first is kept.

    Args:
        path: the list.

    Returns:
        The segments, in the order of the list.

    Raises:
        DatasetError: no list, a missing column, a number that is none, frames that are no stretch of a recording.
    """
    segments: dict[tuple, Segment] = {}
    for row, where in _rows(path, _NEEDED):
        recording, _, view = row['video'].strip().partition('/')
        if not recording or '/' in view or not is_path_below(row['video'].strip()):
            raise DatasetError(f'{where}: video must be RECORDING/VIEW.mp4, got {row["video"][:80]!r}; {_ADVICE}')
        first, last = (_whole(row, name, where) for name in ('start_frame', 'end_frame'))
        if first > last:
            raise DatasetError(f'{where}: start_frame is {first}, after end_frame, which is {last}; {_ADVICE}')
        action = _whole(row, 'action_id', where) if row.get('action_id', '').strip() else -1
        number = _whole(row, 'id', where) if row.get('id', '').strip() else len(segments)
        found = Segment(recording, number, action, first, last + 1, row.get('toy_id', '').strip())
        segments.setdefault((recording, first, last, action), found)
    return list(segments.values())


def read_actions(path: str | Path) -> list[dict[str, str]]:
    """Reads actions.csv.

    Args:
        path: the file.

    Returns:
        {column: text} of each action, in the order of their numbers, which are checked.

    Raises:
        DatasetError: no file, a missing column, numbers that are not 0, 1, 2, ... or come twice.
    """
    found = {}
    for row, where in _rows(path, ACTION_COLUMNS[1:]):
        number = _whole(row, 'action_id', where)
        if number in found:
            raise DatasetError(f'{where}: action_id {number} is there twice; {_ADVICE}')
        for name in ('verb_id', 'noun_id'):
            _whole(row, name, where)
        found[number] = row
    if sorted(found) != list(range(len(found))) or not found:
        raise DatasetError(f'{path} must number its actions 0, 1, 2, ..., got {sorted(found)[:5]}...; {_ADVICE}')
    return [found[number] for number in range(len(found))]


def person_of(recording: str) -> str:
    """Who was recorded: what stands before `_user_id` in a recording's name; the whole name where nothing does."""
    found = PERSON.search(recording)
    return found[1] if found else recording


def read_poses(path: str | Path) -> RecordedPoses:
    """Reads the poses of a recording, in either official form.

    A list has an item for each frame, `{"landmarks": {"0": 21 x 3, "1": ...}, "tracking_confidence": {"0", "1"}}`; a
    dictionary, that of AssemblyPoses.zip, `{"frame": {"0": 21 x 3, "1": ...}}`, has the frames that have hands, whose
    confidence is then 1. A hand that is left out, null, empty or all zeros is not there.

    Args:
        path: the JSON file.

    Returns:
        The poses; hands of impossible size are left out.

    Raises:
        DatasetError: the file cannot be read or is in neither form, or holds no hands in millimetres.
    """
    found = reading.read_json(path, (list, dict), allow_nan=False, error=DatasetError, advice=UNPACK)
    frames = _frames_of_list(found, path) if isinstance(found, list) else _frames_of_dict(found, path)
    count = frames[-1][0] + 1 if frames else 0
    joints = np.full((count, 2, NUM_POINTS, 3), np.nan, np.float32)
    confidence = np.full((count, 2), np.nan, np.float32)
    for hand, key in enumerate(HANDS):
        present = [(n, points[key], trust[key]) for n, points, trust in frames if points.get(key)]
        if not present:
            continue
        points = _points([entry[1] for entry in present], [entry[0] for entry in present], key, path)
        there = points.any((1, 2))
        places = np.array([entry[0] for entry in present])[there]
        # numpy alone: torch's threads may hang in the forked processes that read files.
        common = np.where(TO_COMMON[:, None] >= 0, points[there][:, TO_COMMON] / 1000, 0)
        valid = np.tile(TO_COMMON >= 0, (len(common), 1))
        where = f'{path}, hand {key}'
        usable = plausible_joints(common, valid, where, 'millimetres')
        joints[places, hand] = np.where(usable[..., None], common, np.nan)
        confidence[places, hand] = numbers([entry[2] for entry in present], (len(present),), where)[there]
    return RecordedPoses(joints, confidence)


_Frame = tuple[int, dict[str, Any], dict[str, Any]]  # number, points of each hand, confidence of each hand


def _frames_of_list(found: list, path: str | Path) -> list[_Frame]:
    frames = []
    for number, item in enumerate(found):
        where = f'{path}, frame {number}'
        points, trust = key_of(item, 'landmarks', where), key_of(item, 'tracking_confidence', where)
        for key in HANDS:
            if isinstance(points, dict) and points.get(key):
                key_of(trust, key, f'{where}, tracking_confidence')
        frames.append((number, _hands(points, where), trust))
    return frames


def _frames_of_dict(found: dict, path: str | Path) -> list[_Frame]:
    frames = []
    for name, points in found.items():
        if not _NUMBER.fullmatch(name) or int(name) > _MOST_FRAMES:
            raise DatasetError(
                f'{path} has the key {name[:40]!r}, expected the number of a frame, at most {_MOST_FRAMES}; {UNPACK}'
            )
        frames.append((int(name), _hands(points, f'{path}, frame {name}'), dict.fromkeys(HANDS, 1.0)))
    frames.sort(key=lambda frame: frame[0])
    if len({number for number, _, _ in frames}) != len(frames):
        raise DatasetError(f'{path} has the same frame twice, with and without leading zeros; {UNPACK}')
    return frames


def _hands(points: Any, where: str) -> dict[str, Any]:
    if not isinstance(points, dict) or set(points) - set(HANDS):
        got = kind_of(points) if not isinstance(points, dict) else f'the keys {", ".join(map(str, points))[:80]}'
        raise DatasetError(f"{where} must hold the points of the hands '0' (left) and '1' (right), got {got}; {UNPACK}")
    return points


def _points(rows: list, places: list[int], key: str, path: str | Path) -> NDArray:
    """Points (n, 21, 3) of one hand in the frames `places`, float64; all at once, or one by one to name a wrong one."""
    try:
        points = np.asarray(rows, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.zeros(0)
    if points.shape != (len(rows), NUM_POINTS, 3) or not (np.abs(points) < 1e9).all():
        return np.stack([
            numbers(row, (NUM_POINTS, 3), f'{path}, frame {place}, hand {key}')
            for row, place in zip(rows, places, strict=True)
        ])  # fmt: skip
    return points


def _rows(path: str | Path, needed: tuple[str, ...]) -> Iterator[tuple[dict[str, str], str]]:
    """Yields {column: text} and where it is, of each line of a CSV file that has the columns `needed`."""
    text = read_text(path, error=DatasetError, advice=_ADVICE)
    lines = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        if missing := [name for name in needed if name not in header]:
            raise DatasetError(
                f'{path}, line 1: the columns must be named {", ".join(needed)} among others, but {missing[0]} is '
                f'missing among {", ".join(header)[:200] or "none"}; {_ADVICE}'
            )
        for row in lines:
            where = f'{path}, line {lines.line_num}'
            if len(row) != len(header):
                if not row:
                    continue
                raise DatasetError(f'{where}: expected {len(header)} columns, got {len(row)}; {_ADVICE}')
            yield dict(zip(header, row, strict=True)), where
    except csv.Error as error:
        raise DatasetError(f'{path}, line {lines.line_num}: is not CSV ({error}); {_ADVICE}') from error


def _whole(row: dict[str, str], name: str, where: str) -> int:
    text = row[name].strip()
    if not _NUMBER.fullmatch(text):
        raise DatasetError(f'{where}: {name} must be a whole number, got {text[:40]!r}; {_ADVICE}')
    return int(text)
