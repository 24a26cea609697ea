"""FPHA's files: where they are, what they hold, and clear errors for damaged ones.

Garcia-Hernando et al., "First-Person Hand Action Benchmark with RGB-D Videos and 3D Hand Pose Annotations", CVPR 2018;
https://github.com/guiggh/hand_pose_action. On disk: millimetres in the depth camera's frame, OpenCV axes, joints in
FPHA's own order. Everything returned here is in metres, in the colour camera's frame, in the common order.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.action_labels import ActionTaxonomy
from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.datasets.io.json_files import LARGEST
from handpose.files.reading import inside_root, read_text
from handpose.hands.joints import permutation_to_common

TO_COMMON = permutation_to_common('fpha')
SPLIT_FILE = 'data_split_action_recognition.txt'
SPLIT_TITLES = {'train': 'Training', 'test': 'Test'}
IMAGE_FOLDERS = ('Video_files', 'Video_files_480')  # the original, and a copy at the size that HTT works on
SKELETONS = ('Hand_pose_annotation_v1', 'Hand_pose_annotation_v1_1')  # as the download names it, and its description
FPS = 30.0
# The three sequences that the dataset itself says to ignore: their skeleton files are empty.
EMPTY = ('Subject_2/close_milk/4', 'Subject_2/put_tea_bag/2', 'Subject_4/flip_sponge/2')
COLOUR_SIZE = (1920, 1080)
COLOUR_CAMERA = np.array([[1395.749023, 0, 935.732544], [0, 1395.749268, 540.681030], [0, 0, 1]])
# From the depth camera's frame to the colour camera's, metres.
DEPTH_TO_COLOUR = np.array(
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594, 0.0257],
        [0.00469115935266, 0.999985218048, -0.00273845880292, 0.00122],
        [-0.000969709653873, 0.00274303671904, 0.99999576807, 0.003902],
        [0, 0, 0, 1],
    ]
)


class EmptyFile(DatasetError):
    """A skeleton file without a line; three of FPHA's own are such."""


def check_root(root: str | Path) -> None:
    """Raises a `DatasetError` that says how to get the data when `root` does not hold an FPHA tree."""
    root = Path(root)
    if not (root / SPLIT_FILE).is_file():
        what = f'does not hold {SPLIT_FILE}' if root.is_dir() else 'does not exist'
        raise DatasetError(
            f'FPHA is expected in {root}, which {what}. Ask for it by the form that '
            f'https://github.com/guiggh/hand_pose_action links and unpack it there, or make the synthetic stand-in, '
            f'which has the same layout: `handpose make-data --layout fpha --root {root}`.'
        )


def read_splits(root: str | Path, taxonomy: ActionTaxonomy) -> dict[str, list[tuple[str, int]]]:
    """Reads data_split_action_recognition.txt: {'train': ..., 'test': ...}, each a list of (recording, action label).

    Raises:
        DatasetError: other titles or counts, a line that is no `Subject_1/put_salt/1 15`, a recording twice, or an
            action that is not the one that the recording's folder names.
    """
    path = Path(root) / SPLIT_FILE
    advice = 'it is the list of recordings: download it with FPHA'
    lines = [line.split() for line in read_text(path, error=DatasetError, advice=advice).splitlines()]
    parts: dict[str, list[tuple[str, int]]] = {}
    counts: dict[str, str] = {}
    seen: set[str] = set()
    current = None
    titles = {title: split for split, title in SPLIT_TITLES.items()}
    for number, words in enumerate(lines, 1):
        where = f'{path}, line {number}'
        if not words:
            continue
        if words[0] in titles:
            current = titles[words[0]]
            parts[current], counts[current] = [], words[1] if len(words) > 1 else ''
            continue
        if current is None or len(words) != 2 or not re.fullmatch('[0-9]{1,9}', words[1]) or words[0].count('/') != 2:
            raise DatasetError(
                f"{where}: expected 'Training 600' and 'Test 575', each followed by lines such as "
                f"'Subject_1/put_salt/1 15' (recording, action number), got {' '.join(words)!r}"
            )
        inside_root('the root of FPHA', words[0], where, error=DatasetError)
        recording, action = words[0], taxonomy.label_of(int(words[1]), where)
        _check_action(recording, action, taxonomy, where)
        if recording in seen:
            raise DatasetError(f'{where}: {recording} is in the list twice; download the list again')
        seen.add(recording)
        parts[current].append((recording, action))
    for split, title in SPLIT_TITLES.items():
        if split not in parts or counts[split] != str(len(parts[split])):
            announced = f'announces {counts[split] or "no number of"}' if split in parts else 'lacks its'
            raise DatasetError(
                f'{path}: the part {title!r} {announced} recordings and lists {len(parts.get(split, []))}; download '
                f'the list again'
            )
    return parts


def _check_action(recording: str, action: int, taxonomy: ActionTaxonomy, where: object) -> None:
    """The number must be that of the folder's action: numbers that count from 1 are an easy mistake."""
    named = recording.split('/')[1]
    if taxonomy.actions[action] == named:
        return
    known = taxonomy.number_of(taxonomy.actions.index(named)) if named in taxonomy.actions else None
    hint = f'which is {known}; the numbers count from {taxonomy.first_number}' if known is not None else 'unknown'
    raise DatasetError(
        f'{where}: action {taxonomy.number_of(action)} is {taxonomy.actions[action]}, but the folder says {named}, '
        f'{hint}'
    )


def skeleton_folder(root: str | Path) -> Path:
    """The folder of hand poses under a root."""
    for name in SKELETONS:
        if (Path(root) / name).is_dir():
            return Path(root) / name
    raise DatasetError(f'{root} has no {SKELETONS[0]} folder; unpack the hand poses of FPHA there')


def read_skeleton(path: str | Path) -> NDArray:
    """Reads a skeleton.txt: joints (V, 21, 3) float32, metres, in the colour camera's frame, common order.

    Raises:
        DatasetError: an empty file, rows that are not a frame's number and 63 numbers, or numbers that do not count
            the rows from 0.
    """
    lines = read_text(path, error=DatasetError, advice=UNPACK).splitlines()
    rows = [line.split() for line in lines if line.strip()]
    if not rows:
        raise EmptyFile(
            f'{path} is empty. Of FPHA itself three are, those of {", ".join(EMPTY)}; unpack any other again, or leave '
            f"it out by on_broken='skip'"
        )
    for place, row in enumerate(rows):
        if len(row) != 64:
            raise DatasetError(f'{path}, line {place + 1}: expected a frame number and 63 numbers, got {len(row)}')
    try:
        table = np.array(rows, np.float64)
    except ValueError as error:
        raise DatasetError(f'{path} holds something that is not a number; {UNPACK}') from error
    wrong = np.flatnonzero(table[:, 0] != np.arange(len(table)))
    if len(wrong):
        raise DatasetError(
            f'{path}, line {wrong[0] + 1}: expected frame number {wrong[0]} (they count the lines from 0), got '
            f'{table[wrong[0], 0]:g}'
        )
    if not (np.abs(table) < LARGEST).all():
        raise DatasetError(f'{path} holds NaN, infinity or a number beyond {LARGEST:g}; unpack it again')
    joints = table[:, 1:].reshape(-1, 21, 3)[:, TO_COMMON] / 1000
    return (joints @ DEPTH_TO_COLOUR[:3, :3].T + DEPTH_TO_COLOUR[:3, 3]).astype(np.float32)
