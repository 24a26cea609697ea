"""DexYCB's files: where they are, what they hold, and clear errors for damaged ones.

Chao et al., "DexYCB: A Benchmark for Capturing Hand Grasping of Objects", CVPR 2021; https://dex-ycb.github.io.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.datasets.io.json_files import key_of, numbers
from handpose.datasets.io.plausibility import check_extrinsics, check_hand, check_hand_parameters, check_intrinsics
from handpose.files.npz import read_npz
from handpose.files.reading import inside_root, read_text, visible_names, visible_paths
from handpose.files.yaml_files import read_yaml
from handpose.text import did_you_mean

SERIALS = (
    '836212060125',
    '839512060362',
    '840412060917',
    '841412060263',
    '932122060857',
    '932122060861',
    '932122061900',
    '932122062010',
)
SUBJECT_FOLDER = re.compile(r'\d{8}-subject-(\d{2})')
SEQUENCE_FOLDER = re.compile(r'\d{8}_\d{6}')
SUBJECTS = 10
SEQUENCES_PER_SUBJECT = 100
FPS = 30.0  # the cameras' nominal rate; DexYCB does not state one
SEQUENCE_LIST = 'sequence_names.txt'  # ours, for roots that hold only a part of the sequences
HAND_LABEL = 255  # the hand's value in `seg`; objects are 1 to 21
FINGER_RADIUS = 0.009  # metres, half the width of an adult finger, for `hidden_share`
PALM = (0, 1, 5, 9, 13, 17)
FINGER_CHAINS = [(0, 1, 2, 3, 4), (0, 5, 6, 7, 8), (0, 9, 10, 11, 12), (0, 13, 14, 15, 16), (0, 17, 18, 19, 20)]
NO_HAND, HAND = 2, 3  # what `read_label` found in a frame

LABEL = np.dtype(
    [
        ('joint_3d', '<f4', (21, 3)),
        ('joint_2d', '<f4', (21, 2)),
        ('pose_m', '<f4', (51,)),
        ('object_box', '<f4', (4,)),
        ('occlusion', '<f4'),
    ]
)
LABEL_SHAPES = {'joint_3d': (1, 21, 3), 'joint_2d': (1, 21, 2), 'pose_m': (1, 51)}


class SequenceInfo(NamedTuple):
    """What meta.yml says about one sequence; `subject` and `position` (among the subject's) count from 0."""

    name: str
    subject: int
    position: int
    num_frames: int
    serials: list[str]
    hand_side: str
    mano_calib: str
    extrinsics: str
    grasped: int  # YCB class id, 1 to 21
    fps: float | None = None  # only rendered recordings say it


Intrinsics = dict[str, tuple[NDArray, tuple[int, int]]]  # {serial: ((3, 3), (width, height))}


def check_root(root: str | Path) -> None:
    """Raises a `DatasetError` that says how to get the data when `root` does not hold a DexYCB tree."""
    root = Path(root)
    if not (root / 'calibration').is_dir() or not subject_folders(root):
        what = 'does not hold a calibration folder and subject folders' if root.is_dir() else 'does not exist'
        raise DatasetError(
            f'DexYCB is expected in {root}, which {what}. Download the dataset from https://dex-ycb.github.io and '
            f'unpack it there, or make the synthetic stand-in, which has the same layout: '
            f'`handpose make-data --config <a config that reads it>`.'
        )


def subject_folders(root: str | Path) -> list[Path]:
    """Returns the folders named like `20200709-subject-01`, sorted."""
    return [Path(root) / name for name in visible_names(root) if SUBJECT_FOLDER.fullmatch(name)]


def sequence_folders(root: str | Path) -> list[tuple[Path, int, int]]:
    """Returns (folder, subject, position) of every sequence on disk, counted from 0, in the official order.

    The splits of s0 and s3 go by position among all of a subject's sequences. Where only some are on disk, positions
    come from `<root>/sequence_names.txt`; see `read_sequence_list`.

    Raises:
        DatasetError: a folder that the list does not name.
    """
    listed = read_sequence_list(root)
    rows = []
    for subject in subject_folders(root):
        number = int(subject.name[-2:]) - 1
        names = [name for name in visible_names(subject) if SEQUENCE_FOLDER.fullmatch(name)]
        known = names if listed is None else listed.get(subject.name, [])
        if unknown := sorted(set(names) - set(known)):
            raise DatasetError(
                f'{subject / unknown[0]} is not in {Path(root) / SEQUENCE_LIST}, which must name every sequence of the '
                f'subject; complete the list, or delete it when all sequences are on disk'
            )
        position = {name: place for place, name in enumerate(known)}
        rows += [(subject / name, number, position[name]) for name in names]
    return rows


def read_sequence_list(root: str | Path) -> dict[str, list[str]] | None:
    """Reads `<root>/sequence_names.txt`: every sequence of every subject, on disk or not, a 'subject/sequence' a line.

    Returns:
        {subject: its sequences, sorted}, or None where there is no such file.

    Raises:
        DatasetError: a line that is not 'subject/sequence', or comes twice.
    """
    path = Path(root) / SEQUENCE_LIST
    if not path.exists():
        return None
    listed: dict[str, list[str]] = {}
    text = read_text(path, error=DatasetError, advice='correct the list, or delete it when all sequences are on disk')
    for line in filter(None, map(str.strip, text.splitlines())):
        subject, _, name = line.partition('/')
        if not SUBJECT_FOLDER.fullmatch(subject) or not SEQUENCE_FOLDER.fullmatch(name):
            raise DatasetError(f"{path}: a line must read like '20200709-subject-01/20200709_141754', got {line!r}")
        if name in listed.setdefault(subject, []):
            raise DatasetError(f'{path} names {line} twice')
        listed[subject].append(name)
    return {subject: sorted(names) for subject, names in listed.items()}


def image_path(root: str | Path, sequence: str, serial: str, frame: int) -> str:
    """The file of one colour image."""
    return f'{root}/{sequence}/{serial}/color_{frame:06d}.jpg'


def label_path(root: str | Path, sequence: str, serial: str, frame: int) -> str:
    """The file of one frame's labels."""
    return f'{root}/{sequence}/{serial}/labels_{frame:06d}.npz'


def read_sequence(folder: Path, subject: int, position: int) -> SequenceInfo:
    """Reads a sequence's meta.yml."""
    path = folder / 'meta.yml'
    meta = _read_yaml(path, ('num_frames', 'serials', 'extrinsics', 'ycb_ids', 'ycb_grasp_ind', 'mano_sides'))
    sides = meta['mano_sides']
    if sides not in (['left'], ['right']):
        raise DatasetError(f"{path}: mano_sides must be ['left'] or ['right'], got {sides}")
    calibs, synthetic = meta.get('mano_calib', ['']), meta.get('synthetic', {})
    for key, value, kind in (
        ('num_frames', meta['num_frames'], int),
        ('serials', meta['serials'], list),
        ('ycb_ids', meta['ycb_ids'], list),
        ('ycb_grasp_ind', meta['ycb_grasp_ind'], int),
        ('mano_calib', calibs, list),
        ('synthetic', synthetic, dict),
    ):
        if type(value) is not kind:
            raise DatasetError(f'{path}: {key} must be a {kind.__name__}, got {value!r}; {UNPACK}')
    objects, grasped = meta['ycb_ids'], meta['ycb_grasp_ind']
    if not all(type(number) is int for number in objects) or not 0 <= grasped < len(objects):
        raise DatasetError(f'{path}: ycb_grasp_ind must be a place in ycb_ids, got {grasped} of {objects}; {UNPACK}')
    if not 0 < meta['num_frames'] < 10**6 or len(calibs) != 1:
        raise DatasetError(f'{path}: num_frames must be a number of frames, and mano_calib one name; {UNPACK}')
    fps = synthetic.get('fps')
    if fps is not None and (type(fps) not in (int, float) or not 0 < fps < 1000):
        raise DatasetError(f'{path}: fps must be a number of frames a second, got {fps!r}')
    return SequenceInfo(
        name=f'{folder.parent.name}/{folder.name}',
        subject=subject,
        position=position,
        num_frames=meta['num_frames'],
        serials=[str(s) for s in meta['serials']],
        hand_side=sides[0],
        mano_calib=str(calibs[0]),
        extrinsics=str(meta['extrinsics']),
        grasped=objects[grasped],
        fps=fps,
    )


def read_intrinsics(root: str | Path) -> Intrinsics:
    """Reads `calibration/intrinsics/<serial>_<width>x<height>.yml` as {serial: ((3, 3) array, (width, height))}."""
    folder = Path(root) / 'calibration' / 'intrinsics'
    cameras = {}
    for path in visible_paths(folder, '*.yml'):
        match = re.fullmatch(r'(.+)_(\d+)x(\d+)', path.stem)
        if not match:
            raise DatasetError(f'{path} must be named <serial>_<width>x<height>.yml')
        color = _read_yaml(path, ('color',))['color']
        where = f'{path}, color'
        fx, fy, ppx, ppy = (
            float(numbers(key_of(color, key, where), (), f'{where}, {key}')) for key in ('fx', 'fy', 'ppx', 'ppy')
        )
        matrix, size = np.array([[fx, 0, ppx], [0, fy, ppy], [0, 0, 1]], np.float32), (int(match[2]), int(match[3]))
        check_intrinsics(matrix, path, size)
        cameras[match[1]] = (matrix, size)
    if not cameras:
        raise DatasetError(
            f'{folder} holds no <serial>_<width>x<height>.yml; unpack calibration.tar.gz of DexYCB there'
        )
    return cameras


def read_extrinsics(root: str | Path, name: str) -> dict[str, NDArray]:
    """Reads one calibration session as {serial: (4, 4) float64 camera-to-world}; the world is the master camera's."""
    path = _calibration(root, 'extrinsics', name) / 'extrinsics.yml'
    found = _read_yaml(path, ('extrinsics',))['extrinsics']
    if not isinstance(found, dict):
        raise DatasetError(f"{path}: 'extrinsics' must hold cameras by their serial number; {UNPACK}")
    matrices = {}
    for serial, values in found.items():
        matrix = numbers(values, (12,), f'{path}: extrinsics of {serial}, 3x4 row by row,')
        matrices[str(serial)] = np.vstack([matrix.reshape(3, 4), [0, 0, 0, 1]])
        check_extrinsics(matrices[str(serial)], f'{path}, {serial}')
    return matrices


def read_betas(root: str | Path, name: str) -> NDArray:
    """Reads the (10,) hand shape of `calibration/mano_<name>/mano.yml`."""
    path = _calibration(root, 'mano', name) / 'mano.yml'
    betas = numbers(_read_yaml(path, ('betas',))['betas'], (10,), f"{path}: 'betas'").astype(np.float32)
    check_hand_parameters(None, betas, None, path)
    return betas


def _calibration(root: str | Path, kind: str, name: str) -> Path:
    """The folder of the calibration that a meta.yml names."""
    folder = Path(root) / 'calibration'
    inside_root(folder, name, f'the meta.yml of a sequence ({kind}) in {root}', error=DatasetError)
    return folder / f'{kind}_{name}'


def read_label(path: str | Path, grasped: int, focal: float) -> tuple[int, NDArray]:
    """Reads one labels file.

    Args:
        path: `labels_%06d.npz`.
        grasped: YCB class id whose box is wanted.
        focal: pixels, for `hidden_share`.

    Returns:
        NO_HAND or HAND, and a record of `LABEL`: camera frame, metres, pixels; zeros where there is no hand.
        `occlusion` is the file's own (1,) `occlusion` where it has one, else `hidden_share`, else NaN.

    Raises:
        DatasetError: a file that cannot be read, a key or shape that is not DexYCB's, a NaN.
    """
    record = np.zeros((), LABEL)
    record['occlusion'] = np.nan
    found = read_npz(path, (*LABEL_SHAPES, 'seg', 'occlusion'), error=DatasetError, advice=UNPACK)
    for key, shape in LABEL_SHAPES.items():
        if key not in found:
            raise DatasetError(f'{path} has no {key!r} (its keys: {", ".join(found)}).{did_you_mean(key, found)}')
        if found[key].shape != shape:
            raise DatasetError(f'{path}: {key!r} must have shape {shape}, got {found[key].shape}')
        if found[key].dtype.kind not in 'fiu':
            raise DatasetError(f'{path}: {key!r} must hold numbers, got {found[key].dtype}')
        if not np.isfinite(found[key]).all():
            raise DatasetError(f'{path}: {key!r} holds NaN or infinity')
    seg = found.get('seg')
    if seg is not None:
        if seg.ndim != 2 or not seg.size or seg.dtype.kind not in 'iu':
            raise DatasetError(f"{path}: 'seg' must be an image (h, w) of integers, got {seg.dtype} {seg.shape}")
        record['object_box'] = _mask_box(seg == grasped)
    if (found['joint_3d'] == -1).all():
        return NO_HAND, record
    check_hand(found['joint_3d'][0], f'{path}, joint_3d')
    if not found['joint_3d'][0, 0, 2] > 0:
        raise DatasetError(f'{path}: the wrist is behind the camera, at z = {found["joint_3d"][0, 0, 2]:.3g} m')
    check_hand_parameters(found['pose_m'][..., :48], None, found['pose_m'][..., 48:], f'{path}, pose_m')
    for key in LABEL_SHAPES:
        record[key] = found[key][0]
    if 'occlusion' in found:
        record['occlusion'] = _share(found['occlusion'], f"{path}: 'occlusion'")
    elif seg is not None:
        record['occlusion'] = hidden_share(seg, found['joint_2d'][0], found['joint_3d'][0], focal)
    return HAND, record


def hidden_share(seg: NDArray, joint_2d: NDArray, joint_3d: NDArray, focal: float) -> float:
    """Estimates the share of the hand that objects hide, for frames whose labels do not say.

    A silhouette of finger-thick bones and palm is drawn over the segmentation; of its pixels that are hand or object,
    the share that is object. NaN where less than a tenth of the silhouette is hand or object. Against the rendered
    truth of the built-in data (702 frames): mean error -0.02, mean absolute error 0.04, correlation 0.85.

    Args:
        seg: (h, w) uint8.
        joint_2d: (21, 2) pixels.
        joint_3d: (21, 3) metres, camera frame.
        focal: pixels.
    """
    if joint_3d[:, 2].min() <= 0:
        return float('nan')
    silhouette = np.zeros(seg.shape, np.uint8)
    points = np.clip(np.round(joint_2d), -10000, 10000).astype(np.int32)
    width = max(1, round(2 * FINGER_RADIUS * focal / float(joint_3d[:, 2].mean())))
    cv2.fillPoly(silhouette, [cv2.convexHull(points[list(PALM)])], 1)
    cv2.polylines(silhouette, [points[list(chain)] for chain in FINGER_CHAINS], False, 1, width)
    inside = seg[silhouette > 0]
    hand, objects = np.count_nonzero(inside == HAND_LABEL), np.count_nonzero((inside > 0) & (inside < HAND_LABEL))
    return objects / (hand + objects) if hand + objects > 0.1 * inside.size else float('nan')


def _share(values: NDArray, where: object) -> float:
    """The one number of an array, from 0 to 1 or NaN."""
    if values.size != 1 or values.dtype.kind not in 'fiu' or not (0 <= values.item() <= 1 or np.isnan(values.item())):
        raise DatasetError(f'{where} must be one number from 0 to 1, got {values.dtype} {values.ravel()[:3].tolist()}')
    return float(values.item())


def _mask_box(mask: NDArray) -> tuple[float, float, float, float]:
    """The xyxy box of a mask, to the outer edges of its pixels; all zeros, so without area, where the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5


def _read_yaml(path: str | Path, keys: Sequence[str]) -> dict[str, Any]:
    found = read_yaml(path, error=DatasetError, advice=UNPACK)
    missing = [key for key in keys if key not in found]
    if missing:
        raise DatasetError(f'{path} has no key {missing[0]!r}, which DexYCB writes there; unpack it again')
    return found
