"""AssemblyHands' images: videos around the table, images and boxes of the headset, calibration, and clear errors.

On disk: millimetres, world to camera, OpenCV's axes, rectified (pinhole) images, the right hand first; frames are
numbered at 60 a second. Everything returned here is in metres, the left hand first. Legend: N annotated frames.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.assemblyhands.cameras import EGO_SUFFIX, EXO_CAMERAS, VIEW_OF
from handpose.datasets.assemblyhands.layout import ANNOTATIONS
from handpose.datasets.io.errors import UNPACK, DatasetError
from handpose.datasets.io.json_files import key_of, numbers, read_json
from handpose.datasets.io.plausibility import check_extrinsics, check_intrinsics
from handpose.datasets.io.pose_recordings import Camera
from handpose.files.npz import read_npz
from handpose.files.reading import inside_root, kind_of, read_text, visible_paths
from handpose.hands import to_common
from handpose.structures import CalibrationError
from handpose.structures.calibration_files.assemblyhands_text import parse_cameras

EXO_VIDEOS = 'videos/exo_videos_rectified'
IMAGES, EGO_IMAGES = 'images', 'ego_images_rectified'
CALIBRATION_FILE = 'calib.txt'
# Ours: the release has one set of labels, the automatic one.
LABEL_FOLDERS = {'automatic': ANNOTATIONS, 'manual': 'annotations_manual'}
OCCLUSION_FILE = 'occlusion.npz'
_SIDES = ('left', 'right')
_MAKE_AGAIN = 'delete it, or make the data again'
_ARRAYS = ('sequences', 'counts', 'numbers', 'views', 'occlusion')


class EgoView(NamedTuple):
    """The images of one camera of a headset in one sequence, in the order of their frames.

    Attributes:
        numbers: (N,) official frame numbers, rising.
        files: (N,) paths of the images.
        boxes: (N, 2, 4) xyxy pixels, left hand first; zeros where there is none.
        joints_valid: (N, 2, 21), joints that are in the image, common order.
        size: (width, height) pixels.
    """

    numbers: NDArray[np.int64]
    files: list[str]
    boxes: NDArray[np.float32]
    joints_valid: NDArray[np.bool_]
    size: tuple[int, int]


class EgoCameras(NamedTuple):
    """The cameras of a headset in one sequence: (N,) official frame numbers, rising, and {camera: Camera} that move."""

    numbers: NDArray[np.int64]
    cameras: dict[str, Camera]


class Occlusion(NamedTuple):
    """How much of each hand is hidden: (N,) frame numbers, rising, and {view: (N, 2)}, left hand first, NaN unknown."""

    numbers: NDArray[np.int64]
    views: dict[str, NDArray[np.float32]]


def read_exo_calibration(path: Path) -> dict[str, Camera]:
    """Reads calib.txt: {camera: Camera} of the cameras around the table, which stand still and are pinholes.

    Raises:
        DatasetError: missing, or damaged; the message names the line.
    """
    written = read_text(path, error=DatasetError, advice='it calibrates the videos: unpack it there')
    try:
        found = parse_cameras(written, path)
    except CalibrationError as error:
        raise DatasetError(f'{error}; {UNPACK}') from error
    cameras: dict[str, Camera] = {}
    for lines in found:
        name = lines.name if lines.name.endswith('_rgb') else f'{lines.name}_rgb'
        if name in cameras:
            raise DatasetError(f'{lines.where}: expected the name of another camera, got {lines.name!r}; {UNPACK}')
        cameras[name] = _camera(lines.intrinsics, lines.extrinsics, f'{lines.where}, camera {name}')
    return cameras


def _camera(matrix: NDArray, rigid: NDArray, where: str) -> Camera:
    """A camera of K (3, 3) and [R | t] (..., 3, 4) in millimetres, checked."""
    check_intrinsics(matrix, where)
    extrinsics = np.zeros((*rigid.shape[:-2], 4, 4))
    extrinsics[..., :3, :] = rigid
    extrinsics[..., :3, 3] /= 1000
    extrinsics[..., 3, 3] = 1
    check_extrinsics(extrinsics, where)
    return Camera(matrix, extrinsics)


def read_ego_calibration(path: Path) -> dict[str, EgoCameras]:
    """Reads `ego_calib`: {sequence: the cameras of its headset}.

    A camera without a matrix in some frame has those of the frame before.

    Raises:
        DatasetError: missing or damaged.
    """
    sequences = _dict(key_of(read_json(path), 'calibration', path), f"{path}, 'calibration'")
    return {name: _ego_cameras(found, f'{path}, {name}') for name, found in sequences.items()}


def _ego_cameras(found: Any, where: str) -> EgoCameras:
    intrinsics = _dict(key_of(found, 'intrinsics', where), f'{where}, intrinsics')
    frames = _dict(key_of(found, 'extrinsics', where), f'{where}, extrinsics')
    keys = sorted(frames, key=lambda key: _number(key, where))
    if not keys:
        raise DatasetError(f'{where} has no frame in its extrinsics; {UNPACK}')
    rigid: dict[str, list[NDArray]] = {name: [] for name in intrinsics}
    for key in keys:
        of_frame = _dict(frames[key], f'{where}, frame {key}')
        for name, rows in rigid.items():
            if name in of_frame:
                rows.append(numbers(of_frame[name], (3, 4), f'{where}, frame {key}, {name}'))
            elif rows:
                rows.append(rows[-1])
            else:
                raise DatasetError(f'{where}, frame {key} has no extrinsics of the camera {name}; {UNPACK}')
    cameras = {}
    for name, rows in rigid.items():
        matrix = numbers(intrinsics[name], (3, 3), f'{where}, intrinsics of {name}')
        cameras[name.removesuffix(EGO_SUFFIX)] = _camera(matrix, np.stack(rows), f'{where}, camera {name}')
    return EgoCameras(np.array([int(key) for key in keys], np.int64), cameras)


def read_ego_images(path: Path, images: Path) -> dict[str, dict[str, EgoView]]:
    """Reads `ego_data`: {sequence: {camera: its images}}.

    Images without a visible hand are not part of the release, so cameras have different numbers of them.

    Args:
        path: the file.
        images: the folder that the names of images are relative to.

    Raises:
        DatasetError: missing or damaged.
    """
    found = read_json(path)
    labels = {}
    for row, entry in enumerate(_list(found, 'annotations', path)):
        where = f'{path}, annotations {row}'
        labels[_whole(entry, 'image_id', where)] = (entry, where)
    grouped: dict[str, dict[str, list[tuple[int, str, tuple[int, int], NDArray, NDArray]]]] = {}
    for row, entry in enumerate(_list(found, 'images', path)):
        where = f'{path}, images {row}'
        name, camera, file = (str(key_of(entry, key, where)) for key in ('seq_name', 'camera', 'file_name'))
        number, image_id, *size = (_whole(entry, key, where) for key in ('frame_idx', 'id', 'width', 'height'))
        if min(size) < 1:
            raise DatasetError(f'{where}: width and height must be positive, got {size}; {UNPACK}')
        inside_root(images, file, where, error=DatasetError)
        if image_id not in labels:
            raise DatasetError(f'{where}: no annotation belongs to image {image_id!r}; {UNPACK}')
        boxes, valid = _hands_of_image(*labels[image_id])
        of_camera = grouped.setdefault(name, {}).setdefault(camera.removesuffix(EGO_SUFFIX), [])
        of_camera.append((number, f'{images}/{file}', (size[0], size[1]), boxes, valid))
    return {name: {camera: _ego_view(rows, f'{path}, {name}, {camera}') for camera, rows in views.items()}
            for name, views in grouped.items()}  # fmt: skip


def _hands_of_image(entry: Any, where: str) -> tuple[NDArray, NDArray]:
    """Boxes (2, 4) and joints in the image (2, 21) of an annotation, left hand first."""
    found = _dict(key_of(entry, 'bbox', where), f'{where}, bbox')
    boxes = np.zeros((2, 4), np.float32)
    for hand, side in enumerate(_SIDES):
        if found.get(side) is not None:
            box = numbers(found[side], (4,), f'{where}, bbox {side}')
            if (box[2:] < box[:2]).any():
                raise DatasetError(
                    f'{where}, bbox {side} must be x0, y0, x1, y1, the corners of the box, got {box.tolist()}; {UNPACK}'
                )
            boxes[hand] = box
    flags = numbers(key_of(entry, 'joint_valid', where), (42,), f'{where}, joint_valid', flat=True) > 0
    return boxes, hands_to_common(flags.reshape(1, 42, 1))[0, ..., 0]


def _ego_view(rows: list[tuple[int, str, tuple[int, int], NDArray, NDArray]], where: str) -> EgoView:
    rows = sorted(rows, key=lambda row: row[0])
    found, files, sizes, boxes, valid = zip(*rows, strict=True)
    if len(set(found)) != len(found):
        raise DatasetError(f'{where} has two images of the same frame; {UNPACK}')
    if len(set(sizes)) != 1:
        raise DatasetError(f'{where}: the images of a camera must have one size, got {sorted(set(sizes))}; {UNPACK}')
    return EgoView(np.array(found, np.int64), list(files), np.stack(boxes), np.stack(valid), sizes[0])


def hands_to_common(values: NDArray) -> NDArray:
    """Values (N, 42, C) in the order of the files as (N, 2, 21, C), left hand first, in the common order."""
    hands = values.reshape(len(values), 2, 21, values.shape[-1])[:, ::-1]
    return to_common(torch.from_numpy(hands.copy()), 'assemblyhands')[0].numpy()


def read_occlusion(path: Path) -> dict[str, Occlusion]:
    """Reads the file that the built-in data have next to the annotations: {sequence: Occlusion}; {} without one.

    Raises:
        DatasetError: damaged.
    """
    if not path.exists():
        return {}
    found = read_npz(path, _ARRAYS, error=DatasetError, advice=_MAKE_AGAIN)
    if missing := [name for name in _ARRAYS if name not in found]:
        raise DatasetError(f'{path} has no {missing[0]!r}; {_MAKE_AGAIN}')
    names, counts, frames, views, hidden = (found[name] for name in _ARRAYS)
    kinds = ''.join(array.dtype.kind for array in (names, counts, frames, views, hidden))
    if kinds != 'UiiUf' or {names.ndim, counts.ndim, frames.ndim, views.ndim} != {1} or (counts < 0).any():
        raise DatasetError(f'{path} holds arrays of other kinds than it should ({kinds}); {_MAKE_AGAIN}')
    shapes = (len(counts), int(counts.sum()), hidden.shape)
    if shapes != (len(names), len(frames), (len(frames), len(views), 2)):
        raise DatasetError(f'{path} holds arrays that do not fit each other; {_MAKE_AGAIN}')
    if ((hidden < 0) | (hidden > 1)).any():
        raise DatasetError(f'{path} holds occlusions beyond 0 to 1; {_MAKE_AGAIN}')
    parts = np.cumsum(counts)[:-1]
    split = zip(names.tolist(), np.split(frames, parts), np.split(hidden, parts), strict=True)
    return {
        str(name): Occlusion(numbers_of, {str(view): of[:, k] for k, view in enumerate(views.tolist())})
        for name, numbers_of, of in split
    }


def find_exo_videos(root: Path, sequence: str) -> dict[str, Path]:
    """{camera: video} of a sequence's cameras around the table that are on disk."""
    folder = root / EXO_VIDEOS / sequence
    return {path.stem: path for path in visible_paths(folder, '*.mp4') if path.stem in EXO_CAMERAS}


def find_calibration(root: Path, sequence: str) -> Path:
    """The file that calibrates a sequence's videos: its own, or the one of all sequences."""
    own = root / EXO_VIDEOS / sequence / CALIBRATION_FILE
    of_all = root / EXO_VIDEOS / CALIBRATION_FILE
    return of_all if of_all.exists() and not own.exists() else own


def cameras_of_views(views: Sequence[str], available: Sequence[str]) -> list[str | None]:
    """The camera of each view, or camera, among those that a sequence has; None where it has none."""
    found = {VIEW_OF.get(name, name): name for name in available} | {name: name for name in available}
    return [found.get(view) for view in views]


def _whole(entry: Any, key: str, where: str) -> int:
    """A whole number of 0 or more."""
    value = key_of(entry, key, where)
    if type(value) is not int or not 0 <= value < 10**12:
        raise DatasetError(f'{where}: {key} must be a whole number of 0 or more, got {str(value)[:60]}; {UNPACK}')
    return value


def _number(key: str, where: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 10):
        raise DatasetError(f'{where}: {key[:40]!r} must be the number of a frame, such as 000120; {UNPACK}')
    return int(key)


def _dict(value: Any, where: str) -> dict:
    if not isinstance(value, dict):
        raise DatasetError(f'{where} must hold keys with values, but holds {kind_of(value)}; {UNPACK}')
    return value


def _list(found: Any, key: str, path: Path) -> list:
    entries = key_of(found, key, path)
    if not isinstance(entries, list):
        raise DatasetError(f'{path}: {key!r} must be a list, got {kind_of(entries)}; {UNPACK}')
    return entries
