"""The three official annotation files of AssemblyHands, for an annotated recording.

https://github.com/facebookresearch/assemblyhands-toolkit: millimetres, world, the right hand first, each finger from
tip to base and the wrist last, 30 annotated frames a second with numbers that count at 60. Images are expected without
lens distortion, as the released ones are. Legend: T frames, K cameras.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.files.atomic import atomic_write
from handpose.hands import from_common
from handpose.structures import AnnotatedRecording
from handpose.video import frame_period

RATE, STEP = 30.0, 2
SPLIT = 'train'
SUFFIX = '_mono10bit'  # of camera names in the calibration and in folders, but not in the list of images
BOX_MARGIN = 0.1  # of the joints' extent, on each side
_RATE_TOLERANCE = 0.02
_ORDER = 'assemblyhands'
_SIDES = ('right', 'left')  # in the order of the files


def write_assemblyhands(folder: Path, recording: AnnotatedRecording, sequence: str) -> tuple[list[Path], list[str]]:
    """Writes joints, calibration and list of images as `annotations/train/assemblyhands_train_*_v1-1.json`.

    Readers of AssemblyHands take the folder as their root. Images are not written; the list names them as the released
    ones are named, `ego_images_rectified/train/SEQUENCE/CAMERA_mono10bit/%06d.jpg`.

    Args:
        folder: the root.
        recording: the recording.
        sequence: its name in the files.

    Returns:
        The files, and notes. Nothing is written for a recording of another frame rate than a multiple of 30.
    """
    period = frame_period(recording.timestamps)
    stride = 1 if period is None else round(1 / period / RATE)
    if stride < 1 or (period is not None and abs(1 / period / RATE / stride - 1) > _RATE_TOLERANCE):
        rate = 0.0 if period is None else 1 / period
        return [], [
            f'the AssemblyHands files were left out: they take 30 frames per second or a multiple, this recording has '
            f'{rate:.4g}'
        ]
    frames = np.arange(0, len(recording), stride)
    numbers = STEP * np.arange(len(frames))
    if period is not None:
        steps = np.rint((recording.timestamps[frames] - recording.timestamps[0]) * RATE).astype(np.int64)
        numbers = STEP * (np.maximum.accumulate(steps - np.arange(len(steps))) + np.arange(len(steps)))
    joints, valid = _official_joints(recording.joints_3d, recording.joints_valid, recording.hand_side)
    keys = [f'{number:06d}' for number in numbers]
    joint_file = {
        'annotations': {
            sequence: {
                key: dict(world_coord=joints[t].round(3).tolist(), joint_valid=valid[t].astype(int).tolist())
                for key, t in zip(keys, frames, strict=True)
            }
        }
    }
    files = {
        'joint_3d': joint_file,
        'ego_calib': {'calibration': {sequence: _calibration(recording, keys)}},
        'ego_data': _image_list(recording, sequence, frames, numbers),
    }
    paths = []
    for name, content in files.items():
        paths.append(folder / 'annotations' / SPLIT / f'assemblyhands_{SPLIT}_{name}_v1-1.json')
        atomic_write(paths[-1], json.dumps(content))
    distorted = [c.name for c in recording.calibration if c.model != 'pinhole' and bool(c.distortion.any())]
    notes = []
    if distorted:
        notes.append(
            f'the AssemblyHands files are for images without lens distortion (cv2.undistort with the same camera '
            f'matrix): {", ".join(distorted)}'
        )
    return paths, notes


def _official_joints(joints: NDArray, valid: NDArray, sides: NDArray) -> tuple[NDArray, NDArray]:
    """(T, 42, 3) millimetres and (T, 42) bool, from (T, H, 21, 3) metres; hands that are not there are zeros."""
    frames = len(joints)
    points, flags = np.zeros((frames, 2, 21, 3)), np.zeros((frames, 2, 21), bool)
    for hand, side in enumerate(sides.tolist()):
        row = 1 - side
        known = valid[:, hand, :, None]
        values = torch.from_numpy(np.where(known, joints[:, hand], 0).astype(np.float64))
        points[:, row] = 1000 * from_common(values, _ORDER)[0].numpy()
        flags[:, row] = from_common(torch.from_numpy(known), _ORDER)[0][..., 0].numpy()
    return points.reshape(frames, 42, 3), flags.reshape(frames, 42)


def _calibration(recording: AnnotatedRecording, keys: list[str]) -> dict[str, Any]:
    intrinsics, extrinsics = {}, {}
    for camera in recording.calibration:
        matrix = camera.extrinsics[:3].numpy().copy()
        matrix[:, 3] *= 1000
        intrinsics[camera.name + SUFFIX] = camera.intrinsics.tolist()
        extrinsics[camera.name + SUFFIX] = matrix.tolist()
    return dict(intrinsics=intrinsics, extrinsics=dict.fromkeys(keys, extrinsics))


def _image_list(recording: AnnotatedRecording, sequence: str, frames: NDArray, numbers: NDArray) -> dict[str, Any]:
    """COCO's images and annotations; one annotation holds both hands. Images without a hand are left out."""
    world = torch.from_numpy(recording.joints_3d.astype(np.float64))
    views = torch.stack([camera.undistort(camera.project(world)) for camera in recording.calibration], 1).numpy()
    seen = recording.joints_in_view()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for t, number in zip(frames.tolist(), numbers.tolist(), strict=True):
        for k, camera in enumerate(recording.calibration):
            if not seen[t, k].any():
                continue
            folder = f'ego_images_rectified/{SPLIT}/{sequence}/{camera.name}{SUFFIX}'
            width, height = camera.image_size
            images.append(
                dict(
                    id=len(images),
                    file_name=f'{folder}/{number:06d}.jpg',
                    width=width,
                    height=height,
                    seq_name=sequence,
                    camera=camera.name,
                    frame_idx=number,
                )
            )
            boxes: dict[str, list[float] | None] = dict.fromkeys(_SIDES)
            for hand, side in enumerate(recording.hand_side.tolist()):
                if seen[t, k, hand].any():
                    boxes[_SIDES[1 - side]] = _box(views[t, k, hand][seen[t, k, hand]], (width, height))
            flags = _official_joints(recording.joints_3d[t : t + 1], seen[t : t + 1, k], recording.hand_side)[1][0]
            annotations.append(
                dict(id=len(annotations), image_id=images[-1]['id'], bbox=boxes, joint_valid=flags.astype(int).tolist())
            )
    return dict(images=images, annotations=annotations)


def _box(points: NDArray, size: tuple[int, int]) -> list[float]:
    """[x0, y0, x1, y1] around points, with a margin, inside the image."""
    low, high = points.min(0), points.max(0)
    margin = BOX_MARGIN * (high - low)
    limit = np.array(size) - 1.0
    return np.concatenate([np.clip(low - margin, 0, limit), np.clip(high + margin, 0, limit)]).round(3).tolist()
