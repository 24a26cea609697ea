"""HanCo's files: where they are, what they hold, and clear errors for damaged ones.

Zimmermann et al., "Contrastive Representation Learning for Hand Shape Estimation", GCPR 2021;
https://github.com/lmb-freiburg/contra-hand. On disk: metres, one world for a frame's eight cameras, right hands,
the common order of joints; cameras are stored for every frame, since the images are cut out around the hand.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.datasets.io.json_files import key_of, mano_numbers, numbers, read_json
from handpose.datasets.io.pose_recordings import Camera
from handpose.files.reading import visible_names

MANO_PARTS = (('poses', 48), ('shapes', 10), ('global_t', 3))
ANNOTATED = ('all', 'has_fit', 'is_valid')


def read_meta(root: str | Path) -> dict[str, list[NDArray]]:
    """Reads meta.json as {'has_fit', 'is_valid'}: for every sequence a list of flags, one a frame."""
    root = Path(root)
    path = root / 'meta.json'
    if not path.is_file():
        what = 'does not hold meta.json (it is in HanCo_calib_meta.zip)' if root.is_dir() else 'does not exist'
        raise DatasetError(
            f'HanCo is expected in {root}, which {what}. Download HanCo_xyz, HanCo_shape and HanCo_calib_meta from '
            f'https://lmb.informatik.uni-freiburg.de/projects/contra-hand and unpack them there, or make the synthetic '
            f'stand-in, which has the same layout: `handpose make-data --layout hanco --root {root}`.'
        )
    found = read_json(path)
    flags = {key: key_of(found, key, path) for key in ('has_fit', 'is_valid')}
    for key, sequences in flags.items():
        if not isinstance(sequences, list) or not all(map(_is_flags, sequences)):
            raise DatasetError(f'{path}: {key!r} must be a list of lists of true and false; {UNPACK}')
    lengths = {key: [len(frames) for frames in sequences] for key, sequences in flags.items()}
    if lengths['has_fit'] != lengths['is_valid']:
        raise DatasetError(f"{path}: 'has_fit' and 'is_valid' must be of the same frames; download it again")
    return {key: [np.array(frames, bool) for frames in sequences] for key, sequences in flags.items()}


def frames_with_joints(root: str | Path, sequence: int, count: int) -> NDArray:
    """(count,) bool: which of a sequence's frames have a file of joints. None at all where the folder is missing."""
    folder, present = Path(root) / 'xyz' / f'{sequence:04d}', np.zeros(count, bool)
    if folder.is_dir():
        found = [int(name[:-5]) for name in visible_names(folder) if re.fullmatch(r'[0-9]{1,18}\.json', name)]
        present[[frame for frame in found if frame < count]] = True
    return present


def read_joints(root: str | Path, sequence: int, frames: NDArray) -> NDArray:
    """Joints (N, 21, 3) float32 of a sequence's frames (N,), metres, world, common order."""
    paths = [Path(root) / 'xyz' / f'{sequence:04d}' / f'{frame:08d}.json' for frame in frames]
    return np.stack([numbers(read_json(path, list), (21, 3), path) for path in paths]).astype(np.float32)


def read_cameras(root: str | Path, sequence: int, frames: NDArray) -> list[Camera]:
    """The cameras of a sequence as a list: Camera of (N, 3, 3) and (N, 4, 4) arrays, for its frames (N,)."""
    matrices: dict[str, list[NDArray]] = {'K': [], 'M': []}
    for frame in frames:
        path = Path(root) / 'calib' / f'{sequence:04d}' / f'{frame:08d}.json'
        found = read_json(path)
        for key, size in (('K', 3), ('M', 4)):
            value = key_of(found, key, path)
            count = len(value) if isinstance(value, list) else 1
            matrices[key].append(numbers(value, (count, size, size), f'{path}, {key}'))
    counts = {len(matrix) for key in matrices for matrix in matrices[key]}
    if len(counts) > 1:
        raise DatasetError(f'{path.parent}: K and M must have as many cameras in every frame, got {sorted(counts)}')
    intrinsics, extrinsics = (np.stack(matrices[key], 1) for key in ('K', 'M'))
    return [Camera(k, m) for k, m in zip(intrinsics, extrinsics, strict=True)]


def read_mano(root: str | Path, sequence: int, frames: NDArray, has_fit: NDArray) -> NDArray:
    """MANO parameters (N, 61) float32 of a sequence's frames (N,), world; zeros where `has_fit` (N,) is False.

    Pose (48, without the mean pose), shape (10), translation (3).
    """
    values = np.zeros((len(frames), 61), np.float32)
    for row in np.flatnonzero(has_fit):
        path = Path(root) / 'shape' / f'{sequence:04d}' / f'{frames[row]:08d}.json'
        values[row] = mano_numbers(read_json(path), path, MANO_PARTS)
    return values


def _is_flags(value: Any) -> bool:
    """Whether a value is a list of booleans, or of 0 and 1."""
    return isinstance(value, list) and all(type(flag) in (bool, int) and flag in (0, 1) for flag in value)
