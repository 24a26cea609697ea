"""InterHand2.6M's annotation files: what they hold, and clear errors for damaged ones.

Moon et al., "InterHand2.6M: A Dataset and Baseline for 3D Interacting Hand Pose Estimation from a Single RGB Image",
ECCV 2020; https://mks0601.github.io/InterHand2.6M. On disk: millimetres (MANO's translation metres), world
coordinates, the right hand first, fingers from tip to base, the wrist last. Everything returned here is in metres, the
left hand first, in the common order.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.datasets.io.json_files import key_of, mano_numbers, numbers, read_json
from handpose.datasets.io.plausibility import plausible_joints
from handpose.datasets.io.pose_recordings import Camera, check_cameras, pinhole
from handpose.files.reading import kind_of, visible_paths
from handpose.hands.joints import permutation_to_common
from handpose.hands.sides import SIDE_LABELS

SPLITS = ('train', 'val', 'test')
# From one frame's number to the next: numbers count at 90 a second in the training part, at 30 in the others.
STEPS = {30: {'train': 3, 'val': 1, 'test': 1}, 5: {'train': 18, 'val': 6, 'test': 6}}
TO_COMMON = np.array(permutation_to_common('interhand'))
HAND_TYPES = ('right', 'left', 'interacting')
WRIST = 0
Key = tuple[str, str]  # capture, sequence


class AnnotatedFrames(NamedTuple):
    """One sequence's annotated frames: `numbers` (N,), `joints` (N, 2, 21, 3) float32 metres, world, `valid`
    (N, 2, 21), `kinds` (N,) places in `HAND_TYPES`."""  # fmt: skip

    numbers: np.ndarray
    joints: np.ndarray
    valid: np.ndarray
    kinds: np.ndarray


def find_file(root: str | Path, prefix: str, name: str) -> Path:
    """The file `<root>/<prefix>_<name>.json`; a `DatasetError` that says how to get the data where it is missing."""
    root = Path(root)
    path = root / f'{prefix}_{name}.json'
    if path.is_file():
        return path
    if not root.is_dir():
        raise DatasetError(
            f'InterHand2.6M is expected in {root}, which does not exist. Download the annotations from '
            f'https://mks0601.github.io/InterHand2.6M and unpack them there, or make the synthetic stand-in, which has '
            f'the same layout: `handpose make-data --layout interhand --root {root}`.'
        )
    there = [p.relative_to(root).as_posix() for p in visible_paths(root, f'**/*_{name}.json')]
    raise DatasetError(
        f'{path} does not exist; {root} holds {", ".join(there[:4]) if there else f"no *_{name}.json"}. Unpack the '
        f"annotations of the split again, or say by annotations='FOLDER/PREFIX' how the files are called"
    )


def read_cameras(path: str | Path) -> dict[str, dict[str, Camera]]:
    """Reads `*_camera.json` as {capture: {camera: Camera}}; `campos` is where a camera stands, not its translation."""
    captures: dict[str, dict[str, Camera]] = {}
    for capture, found in read_json(path).items():
        cameras = captures[capture] = {}
        for name in key_of(found, 'camrot', f'{path}, capture {capture}'):
            where = f'{path}, capture {capture}, camera {name}'
            rotation, position, focal, centre = (
                numbers(key_of(key_of(found, key, where), name, f'{where}, {key}'), shape, f'{where}, {key}')
                for key, shape in (('camrot', (3, 3)), ('campos', (3,)), ('focal', (2,)), ('princpt', (2,)))
            )
            extrinsics = np.eye(4)
            extrinsics[:3, :3], extrinsics[:3, 3] = rotation, -rotation @ position / 1000
            cameras[name] = Camera(pinhole(focal, centre), extrinsics)
        check_cameras(cameras, f'{path}, capture {capture}')
    return captures


def read_joints(
    path: str | Path, sequence_names: Callable[[], dict[tuple[str, int], str]]
) -> dict[Key, AnnotatedFrames]:
    """Reads `*_joint_3d.json`.

    Args:
        path: the file.
        sequence_names: called for {(capture, frame number): sequence} where entries do not name theirs.

    Returns:
        {(capture, sequence): AnnotatedFrames}, by capture and sequence, frames by number. Joints of a hand whose wrist
        is not annotated do not count, as in the official evaluation.
    """
    groups: dict[Key, list[tuple]] = {}
    names = None
    for capture, frames in read_json(path).items():
        for number, entry in _dict(frames, f'{path}, capture {capture}').items():
            where = f'{path}, capture {capture}, frame {number}'
            sequence = _dict(entry, where).get('seq')
            _whole(number, where)
            if sequence is None:
                names = sequence_names() if names is None else names
                sequence = names.get((capture, int(number)))
                if sequence is None:
                    raise DatasetError(f"{where} has no 'seq', and no image of data.json says which sequence it is of")
            if type(sequence) not in (str, int):
                raise DatasetError(f"{where}: 'seq' must be the name of a sequence, got {sequence!r}; {UNPACK}")
            kind = key_of(entry, 'hand_type', where)
            if kind not in HAND_TYPES:
                raise DatasetError(f'{where}: hand_type must be one of {HAND_TYPES}, got {kind!r}')
            joints = numbers(key_of(entry, 'world_coord', where), (42, 3), f'{where}, world_coord').astype(np.float32)
            groups.setdefault((capture, sequence), []).append(
                (int(number), joints, flags(key_of(entry, 'joint_valid', where), where), HAND_TYPES.index(kind))
            )
    found = {}
    for key in sorted(groups, key=lambda key: (len(key[0]), key)):
        rows = sorted(groups.pop(key), key=lambda row: row[0])
        valid = to_common(np.stack([row[2] for row in rows]))
        valid &= valid[..., WRIST : WRIST + 1]
        joints = np.where(valid[..., None], to_common(np.stack([row[1] for row in rows])) / np.float32(1000), 0)
        found[key] = AnnotatedFrames(
            np.array([row[0] for row in rows]), joints, valid, np.array([row[3] for row in rows], np.int8)
        )
    return _plausible(found, path) if found else found


def _plausible(found: Any, path: str | Path) -> dict[Key, AnnotatedFrames]:
    """The sequences without hands of impossible size; the unit is judged by all of them together."""
    valid = np.concatenate([frames.valid for frames in found.values()])
    valid = plausible_joints(np.concatenate([f.joints for f in found.values()]), valid, path, 'millimetres')
    valid &= valid[..., WRIST : WRIST + 1]
    parts = np.split(valid, np.cumsum([len(frames.numbers) for frames in found.values()])[:-1])
    return {
        key: frames._replace(joints=np.where(part[..., None], frames.joints, 0), valid=part)
        for (key, frames), part in zip(found.items(), parts, strict=True)
    }


def read_mano(path: str | Path, sequences: dict[Key, AnnotatedFrames]) -> dict[Key, tuple[NDArray, NDArray]]:
    """Reads `*_MANO_NeuralAnnot.json` for the frames of `sequences` {(capture, sequence): AnnotatedFrames}.

    Returns:
        {(capture, sequence): (values (N, 2, 61), valid (N, 2))}, world; zeros where there is none. Values are pose (48,
        without the mean pose), shape (10) and translation (3, metres).
    """
    found = read_json(path)
    result = {}
    for key, frames in sequences.items():
        values = np.zeros((len(frames.numbers), 2, 61), np.float32)
        valid = np.zeros((len(frames.numbers), 2), bool)
        capture = _dict(found.get(key[0], {}), f'{path}, capture {key[0]}')
        for row, number in enumerate(frames.numbers.tolist()):
            hands = _dict(capture.get(str(number)) or {}, f'{path}, capture {key[0]}, frame {number}')
            for hand, side in enumerate(SIDE_LABELS):
                entry = hands.get(side)
                if entry is None:
                    continue
                where = f'{path}, capture {key[0]}, frame {number}, {side}'
                values[row, hand] = mano_numbers(entry, where)
                valid[row, hand] = True
        result[key] = values, valid
    return result


def read_sequence_names(path: str | Path) -> dict[tuple[str, int], str]:
    """{(capture, frame number): sequence} of the images of `*_data.json`."""
    images = _entries(read_json(path), 'images', path)
    return {
        (str(key_of(image, 'capture', where)), _whole(key_of(image, 'frame_idx', where), where)): str(
            key_of(image, 'seq_name', where)
        )
        for image, where in images
    }


def read_visible(path: str | Path, sequences: dict[Key, AnnotatedFrames]) -> dict[Key, dict[str, NDArray]]:
    """Reads from `*_data.json` which joints are inside which image.

    Returns:
        {(capture, sequence): {camera: (N, 2, 21) bool}} for the frames of `sequences`; a camera without a image of a
        frame has False there.
    """
    found = read_json(path)
    row_of = {
        (capture, number): ((capture, sequence), row)
        for (capture, sequence), frames in sequences.items()
        for row, number in enumerate(frames.numbers.tolist())
    }
    places = {}
    visible: dict[Key, dict[str, NDArray]] = {key: {} for key in sequences}
    for image, where in _entries(found, 'images', path):
        number, capture, frame, camera = (key_of(image, key, where) for key in ('id', 'capture', 'frame_idx', 'camera'))
        places[_whole(number, where)] = (str(capture), _whole(frame, where), str(camera))
    for entry, where in _entries(found, 'annotations', path):
        image_id = _whole(key_of(entry, 'image_id', where), where)
        if image_id not in places:
            raise DatasetError(f"{where}: there is no image {image_id} among the file's images; unpack it again")
        capture, number, camera = places[image_id]
        if (capture, number) in row_of:
            key, row = row_of[capture, number]
            inside = visible[key].setdefault(camera, np.zeros(sequences[key].valid.shape, bool))
            inside[row] = to_common(flags(key_of(entry, 'joint_valid', where), where)[None])[0]
    return visible


def to_common(values: NDArray) -> NDArray:
    """Values (N, 42, ...) in the files' order as (N, 2, 21, ...): the left hand first, each in the common order."""
    return np.stack([values[:, 21 + TO_COMMON], values[:, TO_COMMON]], 1)


def flags(value: Any, where: object) -> NDArray:
    """42 flags as a bool array; the files have [0, 1, ...] or [[0], [1], ...]."""
    array = numbers(value, (42,), f'{where}, joint_valid', flat=True)
    if not np.isin(array, (0, 1)).all():
        raise DatasetError(f'{where}, joint_valid must be flags, 0 or 1; {UNPACK}')
    return array.astype(bool)


def _dict(value: Any, where: object) -> dict:
    if not isinstance(value, dict):
        raise DatasetError(f'{where} must hold keys with values, but holds {kind_of(value)}; {UNPACK}')
    return value


def _entries(found: Any, key: str, path: str | Path) -> Iterator[tuple[dict, str]]:
    """Gives each entry of a list of dicts, and its name for messages."""
    entries = key_of(found, key, path)
    if not isinstance(entries, list):
        raise DatasetError(f'{path}: {key!r} must be a list, got {kind_of(entries)}; {UNPACK}')
    return ((_dict(entry, f'{path}, {key} {row}'), f'{path}, {key} {row}') for row, entry in enumerate(entries))


def _whole(value: Any, where: object) -> int:
    """A whole number, also one written as text (the keys of JSON objects are)."""
    if isinstance(value, bool) or not re.fullmatch(r'-?[0-9]{1,18}', str(value)):
        raise DatasetError(f'{where}: expected a whole number, got {value!r}; {UNPACK}')
    return int(value)
