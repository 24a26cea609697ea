"""HO3D's files: where they are, what they hold, and clear errors for damaged ones.

Hampali et al., "HOnnotate: A method for 3D Annotation of Hand and Object Poses", CVPR 2020 (version 2); "HO-3D_v3:
Improving the Accuracy of Hand-Object Annotations of the HO-3D Dataset", 2021; https://github.com/shreyashampali/ho3d.
On disk the camera axes are OpenGL's (x right, y up, z backward); everything returned here is in OpenCV's.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.datasets.io.json_files import numbers
from handpose.datasets.io.plausibility import check_extrinsics, check_hand, check_hand_parameters, check_intrinsics
from handpose.files.pickles import PickleError, load_pickle
from handpose.files.reading import read_json, read_text, visible_names
from handpose.hands.joints import permutation_to_common
from handpose.text import did_you_mean

FLIP = np.array([1.0, -1.0, -1.0])  # from OpenGL's axes to OpenCV's and back, which is half a turn about x
TO_COMMON = permutation_to_common('ho3d')
SUFFIX: dict[int | None, str] = {2: '.png', 3: '.jpg'}  # of the images, by version
PARTS = ('train', 'evaluation')
LINE = re.compile(r'(\w+)/([0-9]{1,18})')
FRAME = np.dtype(
    [
        ('annotated', '?'),
        ('camera', '<f4', (3, 3)),
        ('joints', '<f4', (21, 3)),  # common order; in the evaluation part the wrist alone
        ('pose', '<f4', (16, 3)),
        ('shape', '<f4', (10,)),
        ('transl', '<f4', (3,)),  # as on disk: its axes cannot be changed without the hand model
        ('box', '<f4', (4,)),
        ('object_box', '<f4', (4,)),
        ('occlusion', '<f4'),
    ],
    align=True,  # torch takes no view of a field that is not
)


@dataclass
class SequenceFiles:
    """One sequence, which is one camera's view.

    Attributes:
        name: of the sequence.
        lines: {frame: its line in the list, from 0}, annotated frames.
        frames: those on disk.
    """

    name: str
    lines: dict[int, int]
    frames: list[int]


def check_root(root: str | Path) -> None:
    """Raises a `DatasetError` that says how to get the data when `root` does not hold an HO3D tree."""
    root = Path(root)
    if not all((root / name).is_dir() for name in PARTS):
        what = 'does not hold the folders train and evaluation' if root.is_dir() else 'does not exist'
        raise DatasetError(
            f'HO3D is expected in {root}, which {what}. Download it by the links of '
            f'https://github.com/shreyashampali/ho3d and unpack it there, or make the synthetic stand-in, which has '
            f'the same layout: `handpose make-data --layout ho3d --root {root}`.'
        )


def read_list(root: str | Path, part: str) -> dict[str, dict[int, int]]:
    """Reads train.txt or evaluation.txt as {sequence: {frame: line number}}, sequences in the order of the list."""
    path = Path(root) / f'{part}.txt'
    lines = read_text(path, error=DatasetError, advice='it lists the annotated frames: download it with HO3D').split()
    tracks: dict[str, dict[int, int]] = {}
    for number, line in enumerate(lines):
        match = LINE.fullmatch(line)
        if not match:
            raise DatasetError(f'{path}, line {number + 1}: expected SEQUENCE/FRAME such as ABF10/0000, got {line!r}')
        frames = tracks.setdefault(match[1], {})
        if int(match[2]) in frames:
            raise DatasetError(f'{path}, line {number + 1}: {line} is in the list twice; download the list again')
        frames[int(match[2])] = number
    if not tracks:
        raise DatasetError(f'{path} lists no frames; download it again')
    return tracks


def find_version(root: str | Path, part: str, sequence: str) -> int | None:
    """The version, 2 or 3, that the images of a sequence say: PNG or JPEG."""
    folder = Path(root) / part / sequence / 'rgb'
    names = visible_names(folder)
    for version, suffix in SUFFIX.items():
        if any(name.endswith(suffix) for name in names):
            return version
    raise DatasetError(f'{folder} holds no .png (version 2) or .jpg (version 3) images; unpack HO3D again')


def find_files(
    root: str | Path, part: str, name: str, lines: dict[int, int], version: int | None
) -> tuple[SequenceFiles, list[str]]:
    """Looks up the files of a sequence.

    Returns:
        `SequenceFiles` of the frames whose image and, where listed, label file are there; and messages about listed
        ones that are not.
    """
    present = {}
    for folder, suffix in (('rgb', SUFFIX[version]), ('meta', '.pkl')):
        path = Path(root) / part / name / folder
        names = visible_names(path)
        present[folder] = {int(n[: -len(suffix)]) for n in names if n.endswith(suffix) and n[: -len(suffix)].isdigit()}
    missing = []
    for frame in sorted(lines):
        for folder in ('rgb', 'meta'):
            if frame not in present[folder]:
                file = (
                    image_path(root, part, name, frame, version)
                    if folder == 'rgb'
                    else label_path(root, part, name, frame)
                )
                missing.append((frame, f'{part}.txt lists {name}/{frame:04d}, but {file} is missing'))
                break
    lost = {frame for frame, _ in missing}
    kept = {frame: line for frame, line in lines.items() if frame not in lost}
    frames = sorted(present['rgb'] - (set(lines) - set(kept)))
    return SequenceFiles(name, kept, frames), [message for _, message in missing]


def image_path(root: str | Path, part: str, sequence: str, frame: int, version: int | None) -> str:
    """The file of one colour image."""
    return f'{root}/{part}/{sequence}/rgb/{frame:04d}{SUFFIX[version]}'


def label_path(root: str | Path, part: str, sequence: str, frame: int) -> str:
    """The file of one frame's labels."""
    return f'{root}/{part}/{sequence}/meta/{frame:04d}.pkl'


def recording_and_camera(sequence: str) -> tuple[str, str]:
    """'ABF14' -> ('ABF1', '4'), one of several cameras of a recording; 'SM2' -> ('SM2', '0'), a camera alone."""
    several = len(sequence) > 2 and sequence[-2:].isdigit()
    return (sequence[:-1], sequence[-1]) if several else (sequence, '0')


def read_label(path: str | Path, part: str, labels: str) -> NDArray:
    """Reads one label file without running anything it may hold.

    Args:
        path: `meta/%04d.pkl`.
        part: 'train' or 'evaluation'.
        labels: 'full' also wants pose, shape and translation.

    Returns:
        a record of `FRAME` in metres, pixels and OpenCV axes, `transl` excepted; all zeros and not `annotated` where
        the file's values are None. `occlusion` is NaN where the file, as the official ones, has none.

    Raises:
        DatasetError: a file that cannot be read, asks for code, lacks a key, or holds another shape or a NaN.
    """
    found = _load(path)
    record = np.zeros((), FRAME)
    record['occlusion'] = np.nan
    if 'handJoints3D' not in found:
        known = ', '.join(map(str, found))
        raise DatasetError(f'{path} is no HO3D label file: it lacks handJoints3D (its keys: {known})')
    if found['handJoints3D'] is None:
        return record
    record['annotated'] = True
    camera = _numbers(found, 'camMat', (3, 3), path)
    # HO3D states no image size; the principal point lies near the middle of the image.
    check_intrinsics(camera, f'{path}, camMat', tuple(2 * np.abs(camera[:2, 2])))
    record['camera'] = camera
    if part == 'evaluation':
        record['joints'][0] = FLIP * _numbers(found, 'handJoints3D', (3,), path)
        record['box'] = _numbers(found, 'handBoundingBox', (4,), path)
    else:
        joints = FLIP * _numbers(found, 'handJoints3D', (21, 3), path)
        record['joints'] = joints[TO_COMMON]
        check_hand(record['joints'], f'{path}, handJoints3D')
        pixels = _project(record['joints'], camera)
        record['box'] = np.concatenate([pixels.min(0), pixels.max(0)])
    if record['joints'][0, 2] <= 0:
        raise DatasetError(f'{path}: the hand lies behind the camera, so its axes are not the OpenGL ones of HO3D')
    if labels == 'full':
        record['pose'] = _opencv_pose(_numbers(found, 'handPose', (48,), path))
        record['shape'] = _numbers(found, 'handBeta', (10,), path)
        record['transl'] = _numbers(found, 'handTrans', (3,), path)
        check_hand_parameters(record['pose'], record['shape'], record['transl'], path)
    record['object_box'] = _object_box(found, camera, path)
    if found.get('occlusion') is not None and not _is_nan(found['occlusion']):
        record['occlusion'] = _numbers(found, 'occlusion', (), path)
    return record


def _load(path: str | Path) -> dict[str, Any]:
    try:
        found = load_pickle(path, 'a label file of HO3D')
    except PickleError as error:
        raise DatasetError(f'{path} {error}; unpack it again') from None
    if not isinstance(found, dict):
        raise DatasetError(f'{path} is no HO3D label file: it holds a {type(found).__name__}, not a dict')
    return found


def _numbers(found: dict[str, Any], key: str, shape: tuple[int, ...], path: str | Path) -> NDArray:
    """A value as a float64 array of `shape`; one more axis of length one is taken off."""
    if found.get(key) is None:
        raise DatasetError(f'{path} has no {key!r} (its keys: {", ".join(found)}).{did_you_mean(key, found)}')
    try:
        array = np.asarray(found[key], np.float64)
    except (TypeError, ValueError):
        array = None
    if array is None or array.shape not in (shape, (*shape, 1), (1, *shape)):
        got = type(found[key]).__name__ if array is None else array.shape
        raise DatasetError(f'{path}: {key!r} must have shape {shape}, got {got}')
    if not np.isfinite(array).all():
        raise DatasetError(f'{path}: {key!r} holds NaN or infinity')
    return array.reshape(shape)


def _is_nan(value: Any) -> bool:
    """Whether a value is a NaN: an occlusion that is unknown, as of a hand outside the image."""
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _opencv_pose(pose: NDArray) -> NDArray:
    """Rotvecs (16, 3) of HO3D's 48 numbers: the wrist's rotated into OpenCV's axes, the fingers' as they are."""
    from scipy.spatial.transform import Rotation  # loaded here: scipy takes long to import

    pose = pose.reshape(16, 3).copy()
    pose[0] = (Rotation.from_rotvec([np.pi, 0, 0]) * Rotation.from_rotvec(pose[0])).as_rotvec()
    return pose


def _object_box(found: dict[str, Any], camera: NDArray, path: str | Path) -> NDArray | float:
    """The box around the projected corners of the object's own box; all zeros, so without area, where unknown."""
    if found.get('objTrans') is None:
        return 0
    if found.get('objCorners3DRest') is not None:
        from scipy.spatial.transform import Rotation  # loaded here: scipy takes long to import

        turn = Rotation.from_rotvec(_numbers(found, 'objRot', (3,), path))
        corners = turn.apply(_numbers(found, 'objCorners3DRest', (8, 3), path))
        corners = corners + _numbers(found, 'objTrans', (3,), path)
    elif found.get('objCorners3D') is not None:
        corners = _numbers(found, 'objCorners3D', (8, 3), path)
    else:
        return 0
    corners = FLIP * corners
    if corners[:, 2].min() <= 0:
        return 0
    pixels = _project(corners, camera)
    return np.concatenate([pixels.min(0), pixels.max(0)])


def _project(points: NDArray, camera: NDArray) -> NDArray:
    """Pixels (N, 2) of points (N, 3) in OpenCV axes; `geometry.project_points` for arrays."""
    pixels = points @ np.asarray(camera).T
    return pixels[:, :2] / pixels[:, 2:]


def read_truth(path: str | Path, count: int) -> NDArray:
    """Reads `evaluation_xyz.json`, the joints of the evaluation part that HO3D released in November 2024.

    Returns:
        (count, 21, 3) float32 metres, common order, OpenCV axes, in the order of evaluation.txt.

    Raises:
        DatasetError: no such file, or not one entry of 21 joints for each of `count` lines.
    """
    advice = 'HO3D links it beside the dataset since November 2024: download it again'
    found = read_json(path, list, error=DatasetError, advice=advice)
    joints = numbers(found, (count, 21, 3), f'{path}, with an entry for each line of evaluation.txt,')
    return (FLIP * joints)[:, TO_COMMON].astype(np.float32)


def read_calibration(root: str | Path, recording: str) -> dict[str, NDArray]:
    """Reads version 3's calibration of a recording: {camera digit: (4, 4) float64 camera to reference, OpenCV axes}.

    Raises:
        DatasetError: the recording has none (one camera, or version 2), or a file is not as it should be.
    """
    folder = Path(root) / 'calibration' / recording / 'calibration'
    order = _table(folder / 'cam_orders.txt').ravel()
    if not np.isin(order, range(10)).all() or len(set(order)) < len(order):
        raise DatasetError(f'{folder}/cam_orders.txt must hold different digits, got {order.tolist()}; {UNPACK}')
    matrices = {str(int(digit)): _table(folder / f'trans_{i}.txt') for i, digit in enumerate(order)}
    for digit, matrix in matrices.items():
        if matrix.shape != (4, 4):
            raise DatasetError(f'{folder}: the matrix of camera {digit} must be 4 x 4, got {matrix.shape}')
        check_extrinsics(matrix, f'{folder}, camera {digit}')
    return matrices


def read_camera_to_world(root: Path, sequence: str) -> NDArray:
    """(4, 4) float64 from the camera of a sequence to the reference camera of its recording, version 3, OpenCV axes.

    Raises:
        DatasetError: see `read_calibration`; or the calibration lacks the camera.
    """
    recording, camera = recording_and_camera(sequence)
    matrices = read_calibration(root, recording)
    if camera not in matrices:
        raise DatasetError(f'{root}/calibration/{recording} has no camera {camera}, that of {sequence}; {UNPACK}')
    return matrices[camera]


def _table(path: str | Path) -> NDArray:
    """The finite numbers of a text file, a row a line."""
    advice = (
        "only the multi-camera recordings of HO3D version 3 are calibrated: use frame='camera', or unpack the "
        'calibration folder again'
    )
    lines = read_text(path, error=DatasetError, advice=advice).splitlines()
    rows = [line.split() for line in lines if line.strip()]
    try:
        table = np.array(rows, np.float64)
    except ValueError:
        table = np.full(1, np.nan)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise DatasetError(f'{path} must hold a table of numbers; {UNPACK}')
    return table
