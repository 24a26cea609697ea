"""The motion file: recorded hand joints of many sequences in one `.npz`; cameras, objects, hand parameters if known.

docs/data/motion_file.md describes it for those who write one. Metres, OpenCV camera axes.
Legend: N frames of all S sequences one after the other, K cameras.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.io.errors import DatasetError, check_choice
from handpose.datasets.io.plausibility import (
    check_extrinsics,
    check_hand_parameters,
    check_intrinsics,
    plausible_joints,
)
from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.hands import COMMON_JOINTS, JOINT_ORDERS, to_common
from handpose.hands.sides import SIDE_LABELS
from handpose.text import did_you_mean

_REQUIRED = ('joints', 'frame_valid', 'sequence_names', 'sequence_lengths', 'hand_side', 'fps')
_CAMERAS = ('camera_serials', 'camera_sizes', 'camera_intrinsics', 'camera_extrinsics')
_OBJECT = ('object_names', 'object_rotvec', 'object_transl')
_HAND = ('hand_pose', 'hand_shape', 'hand_transl', 'hand_model')
_OPTIONAL = ('joint_order', 'unit', 'frame', 'all_sequence_names', 'table', 'licence', *_CAMERAS, *_OBJECT, *_HAND)


@dataclass
class RecordedMotion:
    """Recorded hands, one per sequence.

    `joints` (N, 21, 3) metres, common order, world frame, and `frame_valid` (N,) bool; `sequence_names` S strings
    'subject/sequence', `sequence_lengths` (S,), `hand_side` (S,) 0 left 1 right; `fps`; `all_sequence_names` every
    sequence of these subjects, recorded here or not, sorted: a split by position counts in this list.
    `camera_serials` K strings, `camera_sizes` (K, 2) width and height, `camera_intrinsics` (K, 3, 3),
    `camera_extrinsics` (S, K, 4, 4) world to camera; `table` (S, 4, 4) world to the table frame, z up, its surface at
    z = 0. `object_names` S YCB names ('' = none), `object_rotvec` and `object_transl` (N, 3) its pose in the world,
    NaN where unknown. `hand_pose` (N, 16, 3), `hand_shape` (S, 10) and `hand_transl` (N, 3) are parameters of the hand
    model named `hand_model`, in the world; anything in frames that are not valid. `joints` are what was recorded: the
    model's may lie beside them. `licence` a message about the recordings. What is not known is None.
    """

    joints: np.ndarray
    frame_valid: np.ndarray
    sequence_names: list[str]
    sequence_lengths: np.ndarray
    hand_side: np.ndarray
    fps: float
    all_sequence_names: list[str] = field(default_factory=list)
    camera_serials: list[str] | None = None
    camera_sizes: np.ndarray | None = None
    camera_intrinsics: np.ndarray | None = None
    camera_extrinsics: np.ndarray | None = None
    table: np.ndarray | None = None
    object_names: list[str] | None = None
    object_rotvec: np.ndarray | None = None
    object_transl: np.ndarray | None = None
    hand_pose: np.ndarray | None = None
    hand_shape: np.ndarray | None = None
    hand_transl: np.ndarray | None = None
    hand_model: str | None = None
    licence: str = ''

    def __post_init__(self) -> None:
        if not self.all_sequence_names:
            self.all_sequence_names = sorted(self.sequence_names)

    def frames_of(self, sequence: int) -> slice:
        """The slice of a sequence's frames."""
        stop = int(self.sequence_lengths[: sequence + 1].sum())
        return slice(stop - int(self.sequence_lengths[sequence]), stop)

    def positions(self) -> list[tuple[int, int]]:
        """S (subject, position) of the sequences, counted from 0 in the sorted full list, as splits count."""
        subjects = sorted({name.split('/')[0] for name in self.all_sequence_names})
        number_of = {subject: number for number, subject in enumerate(subjects)}
        counts, places = [0] * len(subjects), {}
        for name in self.all_sequence_names:
            subject = number_of[name.split('/')[0]]
            places[name] = (subject, counts[subject])
            counts[subject] += 1
        return [places[name] for name in self.sequence_names]

    def position_of(self, sequence: int) -> tuple[int, int]:
        """(subject, position) of one sequence; for many, take `positions`, which goes through the list once."""
        return self.positions()[sequence]

    def select(self, sequences: Sequence[int]) -> 'RecordedMotion':
        """The motion of some sequences (their numbers, in the wanted order); the full list of names stays."""
        slices = [self.frames_of(s) for s in sequences]
        frames = np.concatenate([np.arange(rows.start, rows.stop) for rows in slices])
        chosen: dict[str, Any] = {'sequence_names': [self.sequence_names[s] for s in sequences]}
        if self.object_names is not None:
            chosen['object_names'] = [self.object_names[s] for s in sequences]
        for name, rows in (
            *((name, frames) for name in ('joints', 'frame_valid', 'object_rotvec', 'object_transl')),
            *((name, frames) for name in ('hand_pose', 'hand_transl')),
            *((name, sequences) for name in ('sequence_lengths', 'hand_side', 'camera_extrinsics', 'table')),
            ('hand_shape', sequences),
        ):
            value = getattr(self, name)
            chosen[name] = value if value is None else value[rows]
        return RecordedMotion(**{**vars(self), **chosen})


def write_motion(path: str | Path, motion: RecordedMotion) -> None:
    """Writes a motion file; `read_motion` gives the same back."""
    values = {name: value for name, value in vars(motion).items() if value is not None}
    values['hand_side'] = np.array(SIDE_LABELS)[motion.hand_side]
    values |= {'joint_order': 'common', 'unit': 'm', 'frame': 'world'}
    with atomic_file(path) as file:
        np.savez_compressed(file, **values)


def read_motion(path: str | Path) -> RecordedMotion:
    """Reads and checks a motion file.

    Raises:
        DatasetError: the file is missing or not a motion file; the message names the key and what is wrong with it.
    """
    found = _load(path)
    try:
        return _checked(found)
    except DatasetError as error:
        raise DatasetError(f'{path}: {error}') from error


def _load(path: str | Path) -> dict[str, NDArray]:
    if not Path(path).exists():
        raise DatasetError(
            f'there is no motion file {path}; docs/data/motion_file.md describes it, '
            '`handpose dexycb-to-motion` makes one'
        )
    return read_npz(path, error=DatasetError, advice='docs/data/motion_file.md says what it must hold')


def _checked(found: dict[str, NDArray]) -> RecordedMotion:
    known = (*_REQUIRED, *_OPTIONAL)
    for key in _REQUIRED:
        if key not in found:
            raise DatasetError(
                f'a motion file needs {key!r}, this one has: {", ".join(found)}.{did_you_mean(key, found)}'
            )
    for key in found:
        if key not in known:
            raise DatasetError(f'{key!r} is not a key of a motion file.{did_you_mean(key, known)}')
    check_choice('unit', str(found.get('unit', 'm')), ('m',))
    check_choice('frame', str(found.get('frame', 'world')), ('world',))
    names = [str(name) for name in found['sequence_names'].ravel()]
    frames, sequences = len(found['joints']), len(names)
    lengths = found['sequence_lengths']
    _check_shapes(found, frames, sequences)
    _check_names(found, names)
    if (lengths < 1).any() or lengths.sum() != frames:
        raise DatasetError(
            f'sequence_lengths must be at least 1 and sum to the {frames} frames of joints, got {lengths.tolist()[:5]} '
            f'..., which sum to {lengths.sum()}'
        )
    for side in found['hand_side']:
        check_choice('hand_side', str(side), SIDE_LABELS)
    valid = found['frame_valid']
    _check_complete_sequences(found['joints'], valid, names, lengths)
    _check_hand(found, valid)
    fps = float(found['fps'])
    if not 0 < fps < np.inf:
        raise DatasetError(f'fps must be a positive number, got {fps}')
    _check_matrices(found)
    per_sequence: dict[str, Any] = {
        'camera_extrinsics': _per_sequence(found.get('camera_extrinsics'), sequences, 4),
        'table': _per_sequence(found.get('table'), sequences, 3),
    }
    plain: dict[str, Any] = {
        n: found[n] for n in ('camera_sizes', 'camera_intrinsics', *_OBJECT[1:], *_HAND[:3]) if n in found
    }
    strings: dict[str, Any] = {
        name: [str(v) for v in found[name].ravel()] for name in (_CAMERAS[0], _OBJECT[0]) if name in found
    }
    listed = found.get('all_sequence_names')
    motion = RecordedMotion(
        joints=_common(found['joints'], str(found.get('joint_order', 'common'))),
        frame_valid=valid,
        sequence_names=names,
        sequence_lengths=lengths.astype(np.int64),
        hand_side=np.array([SIDE_LABELS.index(str(side)) for side in found['hand_side']]),
        fps=fps,
        all_sequence_names=[] if listed is None else sorted(str(name) for name in listed.ravel()),
        licence=str(found.get('licence', '')),
        hand_model=str(found['hand_model']) if 'hand_model' in found else None,
        **per_sequence,
        **plain,
        **strings,
    )
    _check_objects(motion)
    return _plausible(motion)


def _plausible(motion: RecordedMotion) -> RecordedMotion:
    """The motion without hands of impossible size; refuses wrong units and cameras that do not fit."""
    hand = np.where(motion.frame_valid[:, None, None], motion.joints, 0)
    usable = plausible_joints(hand, np.repeat(motion.frame_valid[:, None], 21, 1), 'joints')
    if motion.hand_pose is not None and motion.hand_transl is not None:
        valid = motion.frame_valid
        check_hand_parameters(motion.hand_pose[valid], motion.hand_shape, motion.hand_transl[valid], 'hand parameters')
    if motion.camera_sizes is not None and motion.camera_intrinsics is not None:
        assert motion.camera_serials is not None and motion.camera_extrinsics is not None
        for number, serial in enumerate(motion.camera_serials):
            size = tuple(int(n) for n in motion.camera_sizes[number])
            check_intrinsics(motion.camera_intrinsics[number], f'camera_intrinsics of {serial}', size)
        check_extrinsics(motion.camera_extrinsics, 'camera_extrinsics')
    usable = np.asarray(usable.all(1))
    _check_complete_sequences(motion.joints, usable, motion.sequence_names, motion.sequence_lengths)
    return replace(motion, frame_valid=usable)


def _check_shapes(found: dict[str, NDArray], frames: int, sequences: int) -> None:
    for group in (_CAMERAS, _OBJECT, _HAND):
        present = [name for name in group if name in found]
        if present and len(present) != len(group):
            raise DatasetError(f'{", ".join(group)} come together; only {", ".join(present)} given')
    cameras = len(found.get('camera_serials', ()))
    expected: dict[str, list[tuple]] = {
        'joints': [(frames, None, 3)], 'frame_valid': [(frames,)], 'sequence_lengths': [(sequences,)],
        'hand_side': [(sequences,)], 'fps': [()], 'camera_sizes': [(cameras, 2)],
        'camera_intrinsics': [(cameras, 3, 3)], 'table': [(4, 4), (sequences, 4, 4)],
        'camera_extrinsics': [(cameras, 4, 4), (sequences, cameras, 4, 4)], 'object_names': [(sequences,)],
        'object_rotvec': [(frames, 3)], 'object_transl': [(frames, 3)], 'hand_pose': [(frames, 16, 3)],
        'hand_shape': [(sequences, 10)], 'hand_transl': [(frames, 3)], 'hand_model': [()],
    }  # fmt: skip
    for name, shapes in expected.items():
        if name in found and not any(_fits(found[name].shape, shape) for shape in shapes):
            wanted = ' or '.join(str(tuple('J' if n is None else n for n in shape)) for shape in shapes)
            raise DatasetError(f'{name} must have shape {wanted}, got {found[name].shape}')
    for name in expected:
        if name in found and name not in ('hand_side', 'object_names', 'hand_model') and found[name].dtype.kind in 'SU':
            raise DatasetError(f'{name} must hold numbers, got text')
    if found['frame_valid'].dtype != bool:
        raise DatasetError(f'frame_valid must be bool, got {found["frame_valid"].dtype}')
    if not np.issubdtype(found['sequence_lengths'].dtype, np.integer):
        raise DatasetError(f'sequence_lengths must be whole numbers, got {found["sequence_lengths"].dtype}')


def _check_matrices(found: dict[str, NDArray]) -> None:
    for name in ('camera_extrinsics', 'table'):
        matrix = np.asarray(found.get(name, np.eye(4)), np.float64)
        rotation = matrix[..., :3, :3]
        rigid = np.abs(np.swapaxes(rotation, -1, -2) @ rotation - np.eye(3)).max() < 1e-3
        rigid &= np.isfinite(matrix).all()
        if not rigid or (np.linalg.det(rotation) < 0).any() or np.abs(matrix[..., 3, :] - (0, 0, 0, 1)).max() > 1e-6:
            raise DatasetError(f'{name} must be rigid motions: a rotation, metres, and the last row (0, 0, 0, 1)')
    matrix = found.get('camera_intrinsics', np.eye(3))
    fixed = np.abs(matrix[..., [0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] - (0, 0, 0, 0, 1)).max(initial=0)
    if not np.isfinite(matrix).all() or fixed > 1e-6:
        raise DatasetError(
            'camera_intrinsics must be pinhole matrices without skew: (fx, 0, cx), (0, fy, cy), (0, 0, 1)'
        )


def _fits(shape: tuple, wanted: tuple) -> bool:
    return len(shape) == len(wanted) and all(b is None or a == b for a, b in zip(shape, wanted, strict=True))


def _check_names(found: dict[str, NDArray], names: list[str]) -> None:
    for name in names:
        if name.count('/') != 1 or not all(name.split('/')):
            raise DatasetError(f"sequence_names must read 'subject/sequence', got {name!r}")
    if len(set(names)) != len(names):
        raise DatasetError(f'sequence_names must differ, got {max(names, key=names.count)!r} twice')
    listed = [str(name) for name in found.get('all_sequence_names', np.array(names)).ravel()]
    if len(set(listed)) != len(listed):
        raise DatasetError(f'all_sequence_names must differ, got {max(listed, key=listed.count)!r} twice')
    if missing := sorted(set(names) - set(listed)):
        raise DatasetError(f'all_sequence_names must hold every sequence, but lacks {missing[0]!r}')


def _check_complete_sequences(joints: NDArray, valid: NDArray, names: list[str], lengths: NDArray) -> None:
    broken = valid & ~np.isfinite(joints).all((1, 2))
    stops = lengths.cumsum()
    if broken.any():
        frame = int(np.flatnonzero(broken)[0])
        sequence = int(np.searchsorted(stops, frame, side='right'))
        raise DatasetError(
            f'joints hold NaN or infinity in a valid frame: sequence {names[sequence]}, its frame '
            f'{frame - int(stops[sequence] - lengths[sequence])}; set frame_valid to False there'
        )
    starts = np.concatenate([[0], stops[:-1]])
    for name, count in zip(names, np.add.reduceat(valid, starts, dtype=int), strict=True):
        if not count:
            raise DatasetError(f'sequence {name} has no valid frame: leave it out')


def _check_hand(found: dict[str, NDArray], valid: NDArray) -> None:
    for name, rows in (('hand_pose', valid), ('hand_transl', valid), ('hand_shape', slice(None))):
        if name in found and not np.isfinite(found[name][rows]).all():
            where = 'every sequence' if name == 'hand_shape' else 'every valid frame'
            raise DatasetError(f'{name} must be finite in {where}; leave the hand-model keys out if it is not known')


def _check_objects(motion: RecordedMotion) -> None:
    if motion.object_names is None or motion.object_rotvec is None or motion.object_transl is None:
        return
    finite = (np.isfinite(motion.object_rotvec) & np.isfinite(motion.object_transl)).all(1)
    for sequence, name in enumerate(motion.object_names):
        if name and not finite[motion.frames_of(sequence)].any():
            raise DatasetError(f'sequence {motion.sequence_names[sequence]} names an object {name} without any pose')


def _common(joints: NDArray, order: str) -> NDArray:
    if order not in JOINT_ORDERS:
        raise DatasetError(
            f'joint_order must be one of {", ".join(JOINT_ORDERS)}, got {order!r}.{did_you_mean(order, JOINT_ORDERS)}'
        )
    if joints.shape[1] != len(JOINT_ORDERS[order]):
        raise DatasetError(f'joint_order {order!r} has {len(JOINT_ORDERS[order])} joints, joints are {joints.shape}')
    common, present = to_common(torch.from_numpy(joints.astype(np.float32)), order)
    if not present.all():
        lacking = [name for name, there in zip(COMMON_JOINTS, present, strict=True) if not there]
        raise DatasetError(f'joint_order {order!r} has no {", ".join(lacking)}; all 21 common joints are needed')
    return common.numpy()


def _per_sequence(value: NDArray | None, sequences: int, ndim: int) -> NDArray | None:
    """One matrix (or one per camera) for all sequences, or one each, as one each."""
    if value is None or value.ndim == ndim:
        return value
    return np.broadcast_to(value, (sequences, *value.shape)).copy()
