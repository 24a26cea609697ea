"""Re:InterHand's files: where they are, what they hold, and clear errors for damaged ones.

Moon et al., "A Dataset of Relighted 3D Interacting Hands", NeurIPS 2023; https://mks0601.github.io/ReInterHand. On
disk: millimetres (MANO's translation metres), world coordinates. Frame numbers are zero-padded in the names of
`orig_fits`, and not in those of `keypoints_orig` and `mano_fits`. Everything returned here is in metres, the left
hand first, in the common order.
"""

import logging
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.datasets.io.json_files import key_of, mano_numbers, numbers, read_json
from handpose.datasets.io.pose_recordings import Camera, check_cameras, pinhole
from handpose.files.reading import read_text, visible_names, visible_paths
from handpose.hands.joints import permutation_to_common
from handpose.hands.sides import SIDE_LABELS

SOURCES = ('orig_fits', 'keypoints_orig')
FRAME_STEP = 3  # from one frame's number to the next of frame_list.txt, 30 a second
FRAME_LIST = 'frame_list.txt'
CAMERAS = 'Mugsy_cameras/cam_params.json'
MANO_FOLDER = 'mano_fits/params'
_KEYPOINTS_ORIG = 'keypoints_orig/keypoints_orig'
_TO_COMMON = {
    'orig_fits': np.array(permutation_to_common('reinterhand_24')),
    'keypoints_orig': np.array(permutation_to_common('reinterhand')),
}
_FRAME_NUMBER = {
    'orig_fits': re.compile(r'keypoint-(\d{6,})\.json'),
    'keypoints_orig': re.compile(r'(\d+)\.json'),
}


class ReInterHandCapture(NamedTuple):
    """One capture: its folder, `segments` {name: frame numbers, rising}, `cameras` {name: Camera}, and for each of
    `SIDE_LABELS` the frame numbers that have joints."""  # fmt: skip

    folder: Path
    segments: dict[str, NDArray]
    cameras: dict[str, Camera]
    present: tuple[set[int], ...]


def capture_folders(root: str | Path) -> list[Path]:
    """The folders of `root` that hold a frame list, by name.

    Raises:
        DatasetError: there are none.
    """
    root = Path(root)
    folders = [path.parent for path in visible_paths(root, f'*/{FRAME_LIST}')]
    if not folders:
        what = f'holds no <capture>/{FRAME_LIST}' if root.is_dir() else 'does not exist'
        raise DatasetError(
            f'Re:InterHand is expected in {root}, which {what}. Download it by the scripts of '
            f'https://github.com/facebookresearch/InterWild (tool/ReInterHand) and unpack it there, or make the '
            f'synthetic stand-in, which has the same layout: `handpose make-data --layout reinterhand '
            f'--root {root}`.'
        )
    return folders


def capture_id(folder: Path) -> str:
    """The part of a capture's name that says who it is of: 'm--20221215--0949--RNS217--pilot--...' -> 'RNS217'."""
    parts = folder.name.split('--')
    return parts[3] if len(parts) > 3 else folder.name


def read_capture(folder: Path, source: str) -> ReInterHandCapture:
    """Reads what is to know of a capture without its labels."""
    capture = ReInterHandCapture(folder, read_frame_list(folder), read_cameras(folder), _present(folder, source))
    listed = max((int(numbers[-1]) for numbers in capture.segments.values()), default=-1)
    there = max((frame for present in capture.present for frame in present), default=-1)
    if there >= listed + FRAME_STEP:
        print_log(
            f'{folder / FRAME_LIST} ends with frame {listed}, but {source} has frames up to {there}, which are not '
            f'read; if the list was cut off, download it again',
            logger='current',
            level=logging.WARNING,
        )
    return capture


def read_frame_list(folder: Path) -> dict[str, NDArray]:
    """Reads frame_list.txt, lines '<segment> <frame>', as {segment: frame numbers (N,), rising}."""
    path = folder / FRAME_LIST
    segments: dict[str, list[int]] = {}
    text = read_text(path, error=DatasetError, advice=UNPACK)
    for count, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or not re.fullmatch(r'[0-9]{1,18}', parts[1]):
            raise DatasetError(f"{path}, line {count}: expected '<segment> <frame number>', got {line!r}")
        segments.setdefault(parts[0], []).append(int(parts[1]))
    for name, frames in segments.items():
        if not text.endswith('\n') and parts[:1] == [name] and frames[-1] < max(frames):
            raise DatasetError(f'{path} ends in the middle of a number, {frames[-1]}; download it again')
        if len(set(frames)) < len(frames):
            raise DatasetError(f'{path} lists a frame of segment {name} twice; download it again')
    return {name: np.array(sorted(frames)) for name, frames in segments.items()}


def read_cameras(folder: Path) -> dict[str, Camera]:
    """Reads the cameras outside (not the ones on the head, which are fisheye and move) as {name: Camera}."""
    path, cameras = folder / CAMERAS, {}
    for name, found in read_json(path).items():
        where = f'{path}, camera {name}'
        if isinstance(found, dict) and 'D' in found:
            raise DatasetError(f"{where} has distortion 'D', as fisheye cameras have; only pinhole cameras are read")
        extrinsics = np.eye(4)
        extrinsics[:3, :3] = numbers(key_of(found, 'R', where), (3, 3), f'{where}, R')
        extrinsics[:3, 3] = numbers(key_of(found, 't', where), (3,), f'{where}, t', flat=True) / 1000
        focal, centre = (numbers(key_of(found, key, where), (2,), f'{where}, {key}') for key in ('focal', 'princpt'))
        cameras[name] = Camera(pinhole(focal, centre), extrinsics)
    check_cameras(cameras, path)
    return cameras


def read_joints(capture: ReInterHandCapture, frames: NDArray, source: str) -> tuple[NDArray, NDArray]:
    """The joints of a segment's frames (N,): (N, 2, 21, 3) float32 metres, world, and which are there (N, 2, 21)."""
    joints = np.zeros((len(frames), 2, 21, 3), np.float32)
    valid = np.zeros((len(frames), 2, 21), bool)
    for row, frame in enumerate(frames.tolist()):
        if source == 'keypoints_orig':
            if frame in capture.present[0]:
                both = _read_points(capture.folder / _KEYPOINTS_ORIG / f'{frame}.json', 42, missing=True)
                for hand, points in enumerate((both[21:], both[:21])):  # the right hand comes first
                    _place(joints[row, hand], valid[row, hand], points[_TO_COMMON[source]])
            continue
        for hand, side in enumerate(SIDE_LABELS):
            if frame in capture.present[hand]:
                points = _read_points(_orig_fits(capture.folder, side) / f'keypoint-{frame:06d}.json', 24)
                _place(joints[row, hand], valid[row, hand], points[_TO_COMMON[source]])
    return joints, valid


def read_mano(capture: ReInterHandCapture, frames: NDArray) -> tuple[NDArray, NDArray]:
    """MANO parameters of a segment's frames (N,): (N, 2, 61) float32, world, and which are there (N, 2).

    Pose (48, without the mean pose), shape (10), translation (3, metres, as the official loader takes it).
    """
    values, valid = np.zeros((len(frames), 2, 61), np.float32), np.zeros((len(frames), 2), bool)
    folder = capture.folder / MANO_FOLDER
    if not folder.is_dir():
        raise DatasetError(
            f"{folder} does not exist; unpack mano_fits, or read the joints alone by labels='joints_only'"
        )
    for row, frame in enumerate(frames.tolist()):
        for hand, side in enumerate(SIDE_LABELS):
            path = folder / f'{frame}_{side}.json'
            if path.exists():
                values[row, hand] = mano_numbers(read_json(path), path)
                valid[row, hand] = True
    return values, valid


def _place(joints: NDArray, valid: NDArray, points: NDArray) -> None:
    """Fills a hand's joints with points (21, 3) in millimetres; those that are not finite are not there."""
    valid[:] = np.isfinite(points).all(-1)
    joints[valid] = points[valid] / 1000


def _read_points(path: str | Path, count: int, missing: bool = False) -> NDArray:
    return numbers(read_json(path, list, allow_nan=missing), (count, 3), path, missing=missing)


def _orig_fits(folder: Path, side: str) -> Path:
    return folder / 'orig_fits' / side / 'Keypoints'


def _present(folder: Path, source: str) -> tuple[set[int], ...]:
    """For each of `SIDE_LABELS` the set of frame numbers that have joints."""
    folders = (
        [_orig_fits(folder, side) for side in SIDE_LABELS] if source == 'orig_fits' else [folder / _KEYPOINTS_ORIG] * 2
    )
    for path in folders:
        if not path.is_dir():
            raise DatasetError(f'{path} does not exist; unpack {source}, or choose joints={_other(source)!r}')
    pattern = _FRAME_NUMBER[source]
    found = [{int(m[1]) for m in map(pattern.fullmatch, visible_names(path)) if m} for path in folders]
    return tuple(found)


def _other(source: str) -> str:
    return SOURCES[1 - SOURCES.index(source)]
