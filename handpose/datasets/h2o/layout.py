"""H2O's files: where they are, what they hold, and clear errors for damaged ones.

Kwon et al., "H2O: Two Hands Manipulating Objects for First Person Interaction Recognition", ICCV 2021;
https://h2odataset.ethz.ch. Metres, each camera's own frame, OpenCV axes, the left hand first, the common joint order.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.action_labels import ActionTaxonomy
from handpose.datasets.io.action_videos import ActionSegment, read_numbers
from handpose.datasets.io.errors import DatasetError
from handpose.files.reading import inside_root, read_text

EGOCENTRIC = 'cam4'
CAMERAS = ('cam0', 'cam1', 'cam2', 'cam3', EGOCENTRIC)
SPLITS = ('train', 'val', 'test')
# Folders of images: the original, the release's small copy, and a copy at the size that HTT works on.
IMAGE_FOLDERS = ('rgb', 'rgb256', 'rgb480_270')
LIST_FOLDER = 'label_split'
LIST_COLUMNS = ('id', 'path', 'action_label', 'start_act', 'end_act', 'start_frame', 'end_frame')
TEST_COLUMNS = tuple(name for name in LIST_COLUMNS if name != 'action_label')  # the labels are withheld
LABEL_FOLDERS = ('hand_pose', 'hand_pose_MANO', 'cam_pose', 'obj_pose', 'obj_pose_RT', 'action_label', 'verb_label')
MANO_FOLDERS = ('hand_pose_MANO', 'hand_pose_mano')  # as the release writes it, and as H2O's player does
HAND_NUMBERS = 64  # of hand_pose, each hand: flag, 21 x (x, y, z)
MANO_NUMBERS = 62  # of hand_pose_MANO, each hand: flag, translation (3), pose (48 rotvecs), shape (10)
CAMERA_FILE = 'cam_intrinsics.txt'  # fx fy cx cy width height
FPS = 30.0
# What stands for files that cannot be read, see `read_joints`, `read_mano` and `read_object`.
NO_JOINTS = (np.zeros((2, 21, 3)), np.zeros(2, bool))
NO_MANO = (np.zeros((2, 16, 3)), np.zeros((2, 10)), np.zeros((2, 3)), np.zeros(2, bool))
NO_OBJECT = (np.int64(-1),)


def check_root(root: str | Path) -> None:
    """Raises a `DatasetError` that says how to get the data when `root` does not hold an H2O tree."""
    root = Path(root)
    if not (root / LIST_FOLDER).is_dir():
        what = f'does not hold the folder {LIST_FOLDER}' if root.is_dir() else 'does not exist'
        raise DatasetError(
            f'H2O is expected in {root}, which {what}. Ask for access at https://h2odataset.ethz.ch, download it (the '
            f'mode `ego` is enough) with label_split.zip and unpack both there, or make the synthetic stand-in, which '
            f'has the same layout: `handpose make-data --layout h2o --root {root}`.'
        )


def read_segments(path: str | Path, taxonomy: ActionTaxonomy) -> list[ActionSegment]:
    """Reads a list of action segments, `label_split/action_<split>.txt`.

    The test list has no `action_label` column, since its labels are withheld; the actions are then -1.

    Args:
        path: the list.
        taxonomy: `ActionTaxonomy` that its numbers belong to.

    Returns:
        a list of `ActionSegment`, in the order of the list.

    Raises:
        DatasetError: no list, other columns or another order of columns, an action outside the taxonomy, frames that
            are no stretch of the recording, a segment number twice.
    """
    advice = 'it is the list of actions: unpack label_split.zip there'
    lines = [line.split() for line in read_text(path, error=DatasetError, advice=advice).splitlines()]
    columns = tuple(lines[0]) if lines else ()
    if columns not in (LIST_COLUMNS, TEST_COLUMNS):
        raise DatasetError(
            f'{path}, line 1: the columns must be named, in this order, {" ".join(LIST_COLUMNS)} (without '
            f'action_label where labels are withheld), got {" ".join(columns) or "an empty file"}'
        )
    segments, seen = [], set()
    for number, words in enumerate(lines[1:], 2):
        if not words:
            continue
        segment = _segment(words, columns, taxonomy, f'{path}, line {number}')
        if segment.number in seen:
            raise DatasetError(f'{path}, line {number}: segment {segment.number} is in the list twice')
        seen.add(segment.number)
        segments.append(segment)
    return segments


def _segment(words: list[str], columns: tuple[str, ...], taxonomy: ActionTaxonomy, where: str) -> ActionSegment:
    if len(words) != len(columns):
        raise DatasetError(f'{where}: expected {len(columns)} columns ({" ".join(columns)}), got {len(words)}')
    found = dict(zip(columns, words, strict=True))
    recording = found.pop('path').strip('/')
    inside_root('the root of H2O', recording, where, error=DatasetError)
    if wrong := [name for name, word in found.items() if not re.fullmatch('[0-9]{1,9}', word)]:
        raise DatasetError(
            f'{where}: {wrong[0]} must be a whole number, got {found[wrong[0]]!r}; the columns must stand in the order '
            f'{" ".join(columns)}'
        )
    numbers = {name: int(word) for name, word in found.items()}
    first, last = numbers['start_act'], numbers['end_act']
    if not numbers['start_frame'] <= first <= last <= numbers['end_frame']:
        raise DatasetError(
            f'{where}: the action lasts from frame {first} to {last}, which is no stretch of the recording, frames '
            f'{numbers["start_frame"]} to {numbers["end_frame"]}; the columns must stand in the order '
            f'{" ".join(columns)}'
        )
    action = taxonomy.label_of(numbers['action_label'], where) if 'action_label' in numbers else -1
    return ActionSegment(recording, numbers['id'], action, first, last + 1)


def read_camera_pose(path: str | Path) -> NDArray:
    """Reads a `cam_pose` file: the rigid transform (4, 4) from the camera's frame to the world, metres."""
    return read_numbers(path, 16, 'the rows of a 4 x 4 matrix, camera to world').reshape(4, 4)


def mano_folder(folder: str | Path) -> Path:
    """The folder of MANO parameters in a camera's folder, whose name the release and H2O's player spell differently."""
    for name in MANO_FOLDERS:
        if (Path(folder) / name).is_dir():
            return Path(folder) / name
    raise DatasetError(
        f"{folder} has no {MANO_FOLDERS[0]} folder; unpack it there, or read joints alone by labels='joints_only'"
    )


def read_camera(folder: str | Path) -> tuple[NDArray, tuple[int, int]]:
    """Reads cam_intrinsics.txt of a camera's folder: intrinsics (3, 3), and the size (w, h) they belong to."""
    return read_camera_file(Path(folder) / CAMERA_FILE)


def read_camera_file(path: str | Path) -> tuple[NDArray, tuple[int, int]]:
    """Reads `fx fy cx cy width height`: intrinsics (3, 3), and the size (w, h) they belong to."""
    fx, fy, cx, cy, width, height = read_numbers(path, 6, 'fx fy cx cy width height')
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), (int(width), int(height))


def read_joints(path: str | Path) -> tuple[NDArray, NDArray]:
    """Reads a `hand_pose` file: joints (2, 21, 3) metres, left first, and which hands are annotated (2,).

    A hand whose flag is 0 has zeros on disk, which are no joints.
    """
    found = read_numbers(path, 2 * HAND_NUMBERS, 'left flag and 21 x y z, right flag and 21 x y z')
    valid, values = _hands(found, path)
    return values.reshape(2, 21, 3), valid


def read_mano(path: str | Path) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Reads a `hand_pose_MANO` file: pose (2, 16, 3), shape (2, 10), translation (2, 3) metres, and valid (2,).

    The finger pose is complete: the mean pose is not to be added (flat_hand_mean).
    """
    found = read_numbers(path, 2 * MANO_NUMBERS, 'for left and right: flag, translation 3, pose 48, shape 10')
    valid, values = _hands(found, path)
    return values[:, 3:51].reshape(2, 16, 3), values[:, 51:], values[:, :3], valid


def _hands(found: NDArray, path: str | Path) -> tuple[NDArray, NDArray]:
    """(2,) bool flags and (2, N) values of both hands; a hand that is not annotated has zeros."""
    hands = found.reshape(2, -1)
    if not np.isin(hands[:, 0], (0, 1)).all():
        raise DatasetError(
            f'{path}: each hand must begin with a flag, 1 annotated or 0 not, got {hands[0, 0]:g} and {hands[1, 0]:g}'
        )
    valid = hands[:, 0] == 1
    return valid, np.where(valid[:, None], hands[:, 1:], 0)


def read_object(path: str | Path, count: int) -> tuple[np.int64]:
    """The object's label that an `obj_pose` file gives a frame, one of `count`: its first number less 1; 0 is none, -1.

    It comes as a tuple of one.
    """
    found = read_numbers(path, 64, 'object number and 21 x y z')[0]
    if found != int(found) or not 0 <= found <= count:
        raise DatasetError(f'{path}: the object must be a number from 0 (none) to {count}, got {found:g}')
    return (np.int64(found) - 1,)
