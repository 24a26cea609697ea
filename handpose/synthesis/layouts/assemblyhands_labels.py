"""AssemblyHands' annotation files of a split: 3D joints, images and boxes of the headset, its calibration.

The official files are automatic labels at 30 Hz; the folder of manual labels has the same files, exact and rare, and
those of other people too. Legend: F frames, K cameras of a sequence, N labelled frames.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.assemblyhands.cameras import EGO_SUFFIX, EXO_VIEWS, VIEW_OF
from handpose.datasets.assemblyhands.image_files import EGO_IMAGES, OCCLUSION_FILE
from handpose.datasets.assemblyhands.layout import file_name
from handpose.files.atomic import atomic_write
from handpose.hands.joints import permutation_to_common
from handpose.synthesis.layouts.files import write_npz
from handpose.synthesis.options import AssemblyHandsOptions
from handpose.synthesis.scene import Place

_TO_COMMON = np.array(permutation_to_common('assemblyhands'))
_SIDES = ('right', 'left')  # in the order of the files
_DRIFT = 0.8  # correlation of the error of a joint in neighbouring frames
_SHARED = 0.3  # part of the error's variance that the joints of a hand have in common
_MEAN_NORM = 2 * np.sqrt(2 / np.pi)  # of a normal distributed vector of three numbers with deviation 1
_BOX_MARGIN = 0.15  # of the size of the joints' box, on each side
_MIN_JOINTS = 4  # in the image, for a hand to have a box


class LabelledSequence(NamedTuple):
    """A sequence whose labels are to be written: its place, its name, its K cameras, and its folder of `generator/`."""

    place: Place
    name: str
    cameras: list[str]
    folder: Path


class Motion(NamedTuple):
    """What `generator/` holds of a sequence; hands in the order left, right, table frame, metres."""

    numbers: NDArray  # (F,) official frame numbers
    joints: NDArray  # (F, 2, 21, 3)
    hand_valid: NDArray  # (F, 2)
    visible: NDArray  # (F, K, 2)
    occlusion: NDArray  # (F, K, 2)
    intrinsics: NDArray  # (K, 3, 3)
    extrinsics: NDArray  # (F, K, 4, 4)


def read_motion_of(folder: Path) -> Motion:
    """Reads a sequence's folder of `generator/`."""
    with np.load(folder / 'motion.npz') as stored:
        return Motion(*(stored[name] for name in Motion._fields))


def write_labels(
    options: AssemblyHandsOptions, sequences: list[LabelledSequence], split: str, labels: str, folder: Path
) -> None:
    """Writes the annotation files of a split.

    Args:
        options: of the dataset.
        sequences: of the split.
        split: 'train', 'val' or 'test'.
        labels: 'automatic' or 'manual'.
        folder: of the files.
    """
    joints: dict[str, Any] = {}
    calibration: dict[str, Any] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    hidden: list[tuple[str, NDArray, NDArray]] = []
    exo = options.exo_cameras
    for sequence in sequences:
        motion = read_motion_of(sequence.folder)
        step = options.manual_step if labels == 'manual' else 1
        frames, points = np.arange(0, len(motion.numbers), step), motion.joints
        if labels == 'automatic' and split == 'train':
            points = with_annotation_error(options, sequence.place, motion)
        joints[sequence.name] = _joints_of(motion, points, frames)
        calibration[sequence.name] = _calibration_of(motion, frames, sequence.cameras[exo:], exo)
        for camera, serial in enumerate(sequence.cameras[exo:], exo):
            _add_images(images, annotations, motion, points, frames, camera, {
                'folder': f'{EGO_IMAGES}/{split}/{sequence.name}/{serial}{EGO_SUFFIX}', 'seq_name': sequence.name,
                'camera': serial, 'size': (options.ego_width, options.ego_height),
            })  # fmt: skip
        views = [VIEW_OF[camera] for camera in sequence.cameras]
        hidden.append((sequence.name, motion.numbers[frames], _by_view(motion.occlusion[frames], views)))
    files = {
        'joint_3d': {'annotations': joints},
        'ego_data': {'images': images, 'annotations': annotations},
        'ego_calib': {'calibration': calibration},
    }
    for kind, content in files.items():
        atomic_write(folder / file_name(split, kind), json.dumps(content, separators=(',', ':')))
    if hidden:
        names, numbers, occlusion = zip(*hidden, strict=True)
        write_npz(folder / OCCLUSION_FILE, {
            'sequences': np.array(names), 'counts': np.array([len(n) for n in numbers]),
            'numbers': np.concatenate(numbers), 'views': np.array([*EXO_VIEWS, 'e1', 'e2', 'e3', 'e4']),
            'occlusion': np.concatenate(occlusion).astype(np.float32),
        })  # fmt: skip


def with_annotation_error(options: AssemblyHandsOptions, place: Place, motion: Motion) -> NDArray:
    """The joints (F, 2, 21, 3) as an annotator with errors finds them, metres.

    The mean error is `options.annotation_error`. It changes slowly, is partly the same for a whole hand, and grows
    with the share of the hand that is hidden, on the average of the cameras around the table.
    """
    rng = np.random.default_rng([options.seed, 98, *place])
    own = rng.normal(size=motion.joints.shape)
    whole = rng.normal(size=(*motion.joints.shape[:2], 1, 3))
    noise = np.sqrt(1 - _SHARED) * own + np.sqrt(_SHARED) * whole
    for frame in range(1, len(noise)):
        noise[frame] = _DRIFT * noise[frame - 1] + np.sqrt(1 - _DRIFT**2) * noise[frame]
    seen = motion.occlusion[:, : options.exo_cameras]
    known = np.isfinite(seen)
    hidden = np.where(known, seen, 0).sum(1) / np.maximum(known.sum(1), 1)  # (F, 2)
    size = 0.6 + 1.6 * hidden
    size *= options.annotation_error / 1000 / _MEAN_NORM / size.mean()
    return motion.joints + size[..., None, None] * noise


def _joints_of(motion: Motion, points: NDArray, frames: NDArray) -> dict[str, Any]:
    """{frame: joints of the right hand, then the left}."""
    found = {}
    ordered = 1000 * to_official(points)
    valid = to_official(np.repeat(motion.hand_valid[..., None, None], 21, 2))[..., 0]
    for frame in frames.tolist():
        flags = valid[frame]
        found[_key(motion, frame)] = {
            'world_coord': np.round(np.where(flags[:, None], ordered[frame], 0), 4).tolist(),
            'joint_valid': flags.astype(int).tolist(),
        }
    return found


def to_official(values: NDArray) -> NDArray:
    """Values (F, 2, 21, C), left hand first, in the common order, as (F, 42, C) in the order of the files."""
    found = np.empty_like(values)
    found[:, :, _TO_COMMON] = values[:, ::-1]
    return found.reshape(len(values), 42, values.shape[-1])


def _calibration_of(motion: Motion, frames: NDArray, cameras: list[str], first: int) -> dict[str, Any]:
    rows = motion.extrinsics[:, first:, :3].copy()
    rows[..., 3] *= 1000
    names = [name + EGO_SUFFIX for name in cameras]
    return {
        'intrinsics': dict(zip(names, motion.intrinsics[first:].tolist(), strict=True)),
        'extrinsics': {
            _key(motion, frame): dict(zip(names, np.round(rows[frame], 8).tolist(), strict=True))
            for frame in frames.tolist()
        },
    }


def _add_images(
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    motion: Motion,
    points: NDArray,
    frames: NDArray,
    camera: int,
    about: dict[str, Any],
) -> None:
    """Adds the images of a headset's camera that show a hand, and their annotations."""
    width, height = about['size']
    for frame in frames[motion.visible[frames, camera].any(1)].tolist():
        pixels, inside = _pixels(motion, points, frame, camera, (width, height))
        inside &= motion.hand_valid[frame][:, None]
        boxes = {side: _box(pixels[1 - i], inside[1 - i], width, height) for i, side in enumerate(_SIDES)}
        identity = len(images)
        images.append({
            'id': identity, 'file_name': f'{about["folder"]}/{int(motion.numbers[frame]):06d}.jpg', 'width': width,
            'height': height, 'seq_name': about['seq_name'], 'camera': about['camera'],
            'frame_idx': int(motion.numbers[frame]),
        })  # fmt: skip
        flags = to_official(inside[None, ..., None])[0, :, 0]
        annotations.append({
            'id': identity, 'image_id': identity, 'bbox': boxes, 'joint_valid': flags.astype(int).tolist(),
        })  # fmt: skip


def _pixels(motion: Motion, points: NDArray, frame: int, camera: int, size: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Where the joints (2, 21, 2) of a frame are in an image, and which of them are inside (2, 21)."""
    rigid = motion.extrinsics[frame, camera]
    local = points[frame] @ rigid[:3, :3].T + rigid[:3, 3]
    uv = (local / np.maximum(local[..., 2:], 1e-6)) @ motion.intrinsics[camera].T
    inside = (uv[..., :2] > -0.5) & (uv[..., :2] < np.array(size) - 0.5)
    return uv[..., :2], inside.all(-1) & (local[..., 2] > 0)


def _box(pixels: NDArray, inside: NDArray, width: int, height: int) -> list[float] | None:
    """[x0, y0, x1, y1] around the joints (21, 2) of a hand, cut to the image; None where hardly any is inside."""
    if inside.sum() < _MIN_JOINTS:
        return None
    low, high = pixels[inside].min(0), pixels[inside].max(0)
    margin = _BOX_MARGIN * (high - low).max()
    limit = np.array([width - 1, height - 1])
    return np.round([*(low - margin).clip(0, limit), *(high + margin).clip(0, limit)], 2).tolist()


def _by_view(occlusion: NDArray, views: list[str]) -> NDArray:
    """Occlusion (N, K, 2) of the cameras that there are as (N, 12, 2) of all views, NaN where there is none."""
    columns = [int(view[1]) - 1 + (len(EXO_VIEWS) if view[0] == 'e' else 0) for view in views]
    found = np.full((len(occlusion), 12, 2), np.nan)
    found[:, columns] = occlusion
    return found


def _key(motion: Motion, frame: int) -> str:
    return f'{int(motion.numbers[frame]):06d}'
