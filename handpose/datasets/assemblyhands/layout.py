"""AssemblyHands' annotation files: where they are, what those of 3D joints hold, and clear errors for damaged ones.

Ohkawa et al., "AssemblyHands: Towards Egocentric Activity Understanding via 3D Hand Pose Estimation", CVPR 2023;
https://github.com/facebookresearch/assemblyhands-toolkit. On disk: millimetres, world, the right hand first, fingers
from tip to base and the wrist last; frames are numbered at 60 a second and annotated at 30. Everything returned here is
in metres, the left hand first, in the common order. Legend: N annotated frames.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.datasets.io.json_files import key_of, numbers, read_json
from handpose.datasets.io.plausibility import plausible_joints
from handpose.files.reading import visible_paths
from handpose.hands import to_common

ANNOTATIONS = 'annotations'
SPLITS = ('train', 'val', 'test')
STEP = 2  # from one annotated frame's number to the next
FPS = 30.0
NUM_POINTS = 42
_ORDER = 'assemblyhands'


class AnnotatedJoints(NamedTuple):
    """The joints of one sequence.

    Attributes:
        numbers: (N,) official frame numbers, rising.
        joints: (N, 2, 21, 3) float32 metres, world, left hand first, common order.
        valid: (N, 2, 21).
    """

    numbers: NDArray[np.int64]
    joints: NDArray[np.float32]
    valid: NDArray[np.bool_]


def file_name(split: str, kind: str) -> str:
    """The name of an annotation file: `kind` is 'joint_3d', 'ego_data' or 'ego_calib'."""
    return f'assemblyhands_{split}_{kind}_v1-1.json'


def find_annotations(folder: Path, split: str, kind: str) -> Path:
    """The annotation file of a kind in the folder of a split.

    Raises:
        DatasetError: there is none, or there are several versions.
    """
    pattern = f'assemblyhands_{split}_{kind}*.json'
    found = [path for path in visible_paths(folder, pattern) if 'template' not in path.name]
    if not found:
        what = f'has no file {pattern}' if folder.is_dir() else 'does not exist'
        withheld = '; the joints of the test split are not public' if (split, kind) == ('test', 'joint_3d') else ''
        raise DatasetError(
            f'{folder} {what}{withheld}. Download the annotations of AssemblyHands (links in '
            f'https://github.com/facebookresearch/assemblyhands-toolkit) and unpack them there, or make the built-in '
            f'data, which have the same files: handpose make-data --layout assemblyhands'
        )
    if len(found) > 1:
        names = ', '.join(path.name for path in found)
        raise DatasetError(f'{folder} has several versions of the annotations: {names}; leave only one there')
    return found[0]


def read_joints(path: str | Path) -> dict[str, AnnotatedJoints]:
    """Reads a file of 3D joints.

    Args:
        path: the file.

    Returns:
        {name of a sequence: its joints}, in the order of the file. Joints that are not annotated, and hands of
        impossible size, are not valid.

    Raises:
        DatasetError: the file is missing or damaged, or does not hold millimetres.
    """
    sequences = key_of(read_json(path), 'annotations', path)
    if not isinstance(sequences, dict) or not sequences:
        raise DatasetError(f"{path}: 'annotations' must hold the sequences by name; {UNPACK}")
    return {name: _read_sequence(frames, f'{path}, {name}') for name, frames in sequences.items()}


def _read_sequence(frames: object, where: str) -> AnnotatedJoints:
    if not isinstance(frames, dict) or not frames:
        raise DatasetError(f'{where} must hold the joints of frames by their numbers; {UNPACK}')
    for key in frames:
        if not (key.isascii() and key.isdigit() and len(key) < 10):
            raise DatasetError(f'{where}: {key[:40]!r} must be the number of a frame, such as 000120; {UNPACK}')
    names = sorted(frames, key=int)
    points, flags = [], []
    for name in names:
        at = f'{where}, frame {name}'
        points.append(numbers(key_of(frames[name], 'world_coord', at), (NUM_POINTS, 3), f'{at}, world_coord'))
        flags.append(numbers(key_of(frames[name], 'joint_valid', at), (NUM_POINTS,), f'{at}, joint_valid', flat=True))
    found = np.array([int(name) for name in names], np.int64)
    if len(set(found.tolist())) != len(found):
        raise DatasetError(f'{where} has the same frame twice, with and without leading zeros; {UNPACK}')
    # (N, right and left, 21, ...) -> left and right, the common order, metres.
    joints, _ = to_common(torch.from_numpy(np.stack(points).reshape(-1, 2, 21, 3)[:, ::-1] / 1000), _ORDER)
    there = torch.from_numpy((np.stack(flags).reshape(-1, 2, 21, 1)[:, ::-1] > 0).copy())
    valid = to_common(there, _ORDER)[0][..., 0].numpy()
    valid = plausible_joints(joints.numpy(), valid, where, 'millimetres') if valid.any() else valid
    return AnnotatedJoints(found, joints.numpy().astype(np.float32), valid)
