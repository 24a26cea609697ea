"""Makes a `RecordedMotion` of DexYCB: of an official download, or of all its joints packed in one file.

DexYCB's recordings are CC BY-NC 4.0: what is made of them may not be used commercially.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.datasets.base import DatasetError
from handpose.datasets.dexycb import layout
from handpose.datasets.dexycb.index import BROKEN, HAND, DexYCBIndex, open_index
from handpose.datasets.io.errors import UNPACK
from handpose.datasets.io.hand_models import read_hand_model_name
from handpose.datasets.motion.motion_file import RecordedMotion
from handpose.files.npz import read_npz
from handpose.files.reading import read_json
from handpose.files.yaml_files import read_yaml
from handpose.hands.sides import SIDE_LABELS
from handpose.synthesis.objects.ycb import YCB_NAMES
from handpose.text import did_you_mean

LICENCE = (
    'The hand motion, objects and cameras are recordings of DexYCB (Chao et al., CVPR 2021), licensed CC BY-NC 4.0: '
    'images rendered from them, and weights trained on these, are for non-commercial use only.'
)
PACKED_WORLD = '840412060917'  # the camera whose frame packed joints are in
_GOLDEN = 0.618034
_TAG = 'apriltag'
_MISSING = (0, 0, 0, 1, 0, 0, 0)
# Packed rotations were made of quaternions (x, y, z, w) taken for (w, x, y, z). In this order they are right again:
# only so do boxes lie flat on the table, and objects keep still in the hand that holds them.
_UNPACKED_QUATERNION = (3, 0, 1, 2)


def motion_from_dexycb(
    root: str | Path, camera: str | None = None, cache_dir: str | Path | None = None
) -> RecordedMotion:
    """Reads a download (or the built-in data): labels and calibration, no MANO files.

    Args:
        root: DexYCB's folder, or part of it with `sequence_names.txt` (see `read_sequence_list`).
        camera: serial of the camera whose labels are taken; by default in each frame the first that has any.
        cache_dir: where the index of the labels goes when `root` cannot be written.

    Returns:
        RecordedMotion: world frame (the recording's master camera), with cameras and table; with the grasped object
        if it is DexYCB's own. Sequences without a single hand are left out.

    Raises:
        DatasetError: missing files, an unknown camera, a frame that no camera gives because a label file is broken.
    """
    layout.check_root(root)
    intrinsics = layout.read_intrinsics(root)
    if camera is not None and camera not in intrinsics:
        raise DatasetError(f'{root} has no camera {camera!r} (it has: {", ".join(intrinsics)}).'
                           f'{did_you_mean(camera, intrinsics)}')  # fmt: skip
    index = open_index(root, intrinsics, cache_dir)
    serials = [s for s in intrinsics if all(s in q.serials for q in index.sequences)]
    real_objects = read_hand_model_name(root) == 'mano'  # the built-in data's have other frames than YCB's
    tracks: list[_RecordedTrack] = []
    for number, sequence in enumerate(index.sequences):
        to_world = layout.read_extrinsics(root, sequence.extrinsics)
        joints, valid = _joints_of(index, number, to_world, camera)
        if valid.any():
            poses = _object_of(root, sequence) if real_objects else np.zeros((0, 6))
            extrinsics = np.stack([np.linalg.inv(to_world[s]) for s in serials])
            tracks.append(_RecordedTrack(sequence, joints, valid, extrinsics, to_world.get(_TAG), poses))
    if not tracks:
        raise DatasetError(f'{root} has no frame with a hand' + (f' in camera {camera}' if camera else ''))
    return _gather(tracks, serials, intrinsics, _all_names(root), real_objects)


class _RecordedTrack(NamedTuple):
    """One sequence: joints (F, 21, 3), validity (F,), extrinsics (K, 4, 4), the tag (4, 4), object poses (F, 6)."""

    sequence: layout.SequenceInfo
    joints: NDArray
    valid: NDArray
    extrinsics: NDArray
    tag: NDArray | None
    poses: NDArray


def _gather(
    tracks: list[_RecordedTrack],
    serials: list[str],
    intrinsics: dict[str, tuple[NDArray, tuple[int, int]]],
    names: list[str],
    real_objects: bool,
) -> RecordedMotion:
    sequences, joints, valid, extrinsics, tags, poses = zip(*tracks, strict=True)
    has_table = all(tag is not None for tag in tags)
    all_poses = np.concatenate(poses)
    return RecordedMotion(
        joints=np.concatenate(joints).astype(np.float32),
        frame_valid=np.concatenate(valid),
        sequence_names=[s.name for s in sequences],
        sequence_lengths=np.array([len(v) for v in valid]),
        hand_side=np.array([SIDE_LABELS.index(s.hand_side) for s in sequences]),
        fps=sequences[0].fps or layout.FPS,
        all_sequence_names=names,
        camera_serials=serials,
        camera_sizes=np.array([intrinsics[s][1] for s in serials]),
        camera_intrinsics=np.array([intrinsics[s][0] for s in serials], np.float64),
        camera_extrinsics=np.array(extrinsics),
        table=np.linalg.inv(np.array(tags)) if has_table else None,
        object_names=[YCB_NAMES[s.grasped] for s in sequences] if real_objects else None,
        object_rotvec=all_poses[:, :3] if real_objects else None,
        object_transl=all_poses[:, 3:] if real_objects else None,
        licence=LICENCE if real_objects else '',
    )


def _all_names(root: str | Path) -> list[str]:
    listed = layout.read_sequence_list(root)
    if listed is None:
        return [f'{folder.parent.name}/{folder.name}' for folder, _, _ in layout.sequence_folders(root)]
    return sorted(f'{subject}/{name}' for subject, names in listed.items() for name in names)


def _joints_of(
    index: DexYCBIndex, number: int, to_world: dict[str, NDArray], camera: str | None
) -> tuple[NDArray, NDArray]:
    """World joints (F, 21, 3) and validity (F,) of a sequence; raises for a broken frame that no camera gives."""
    frames = index.sequences[number].num_frames
    joints, valid = np.zeros((frames, 21, 3)), np.zeros(frames, bool)
    broken: dict[int, str] = {}
    for track in np.flatnonzero(index.track_sequence == number).tolist():
        serial = index.track_serial[track]
        if camera not in (None, serial):
            continue
        start, stop = index.track_start[track : track + 2]
        status = index.status[start:stop]
        broken |= {frame: index.broken[start + frame] for frame in np.flatnonzero(status == BROKEN).tolist()}
        new = (status == HAND) & ~valid
        matrix = to_world[serial]
        local = index.track_labels(track)['joint_3d'][new].astype(np.float64)
        joints[new] = local @ matrix[:3, :3].T + matrix[:3, 3]
        valid |= new
    for frame in sorted(broken):
        if not valid[frame]:
            raise DatasetError(broken[frame])
    return joints, valid


def _object_of(root: str | Path, sequence: layout.SequenceInfo) -> NDArray:
    """The grasped object's rotvec and place (F, 6) in the world; NaN where pose.npz has none."""
    folder = Path(root) / sequence.name
    grasped = read_yaml(folder / 'meta.yml', error=DatasetError, advice=UNPACK).get('ycb_grasp_ind')
    poses = read_npz(folder / 'pose.npz', ['pose_y'], error=DatasetError, advice=UNPACK).get('pose_y')
    if poses is None or poses.ndim != 3 or poses.shape[2] != 7 or grasped not in range(poses.shape[1]):
        raise DatasetError(f"{folder}/pose.npz must hold 'pose_y' (frames, objects, 7); {UNPACK}")
    poses = poses[:, grasped].astype(np.float64)
    missing = (poses == _MISSING).all(1)
    found = np.concatenate([Rotation.from_quat(poses[:, :4]).as_rotvec(), poses[:, 4:]], 1)
    found[missing] = np.nan
    return found


def motion_from_packed(path: str | Path, cameras_path: str | Path) -> RecordedMotion:
    """Reads all of DexYCB's joints packed in one `.npz`, and its cameras from a json file.

    The cameras are of ONE calibration session; DexYCB has several. For recordings of other sessions the rig is only
    approximately theirs: one such recording's cameras stood 2.8 degrees, about 6 cm, elsewhere.

    Args:
        path: `joints` (N, 21, 3) in the frame of camera `PACKED_WORLD`, `frame_valid`, `sequence_names`,
            `sequence_lengths`, `hand_side`, `grasped_object` (YCB names), `object_rotvec`, `object_transl`. The rotvecs
            are taken to be made of DexYCB's quaternions (x, y, z, w) read as (w, x, y, z), and are put right.
        cameras_path: {serial: {'K': 3x3, 'cam_to_tag_opencv': 4x4, 'size_wh'}}.

    Returns:
        RecordedMotion, its sequences sorted by name.

    Raises:
        DatasetError: a file is missing, or lacks a key.
    """
    packed, cameras = _read_packed(path), _read_cameras(cameras_path)
    names = [str(name) for name in packed['sequence_names']]
    to_tag = {serial: np.array(values['cam_to_tag_opencv']) for serial, values in cameras.items()}
    if PACKED_WORLD not in to_tag:
        raise DatasetError(f'{cameras_path} has no camera {PACKED_WORLD}, whose frame the packed joints are in')
    turns = Rotation.from_rotvec(packed['object_rotvec'].astype(np.float64)).as_quat()[:, _UNPACKED_QUATERNION]
    table = to_tag[PACKED_WORLD]
    motion = RecordedMotion(
        joints=packed['joints'],
        frame_valid=packed['frame_valid'],
        sequence_names=names,
        sequence_lengths=packed['sequence_lengths'],
        hand_side=np.array([SIDE_LABELS.index(str(side)) for side in packed['hand_side']]),
        fps=layout.FPS,
        camera_serials=list(cameras),
        camera_sizes=np.array([values['size_wh'] for values in cameras.values()]),
        camera_intrinsics=np.array([values['K'] for values in cameras.values()]),
        camera_extrinsics=np.broadcast_to(
            np.array([np.linalg.inv(to_tag[s]) @ table for s in cameras]), (len(names), len(cameras), 4, 4)
        ),
        table=np.broadcast_to(table, (len(names), 4, 4)),
        object_names=[str(name) for name in packed['grasped_object']],
        object_rotvec=Rotation.from_quat(turns).as_rotvec(),
        object_transl=packed['object_transl'].astype(np.float64),
        licence=LICENCE,
    )
    return motion.select([s for s in np.argsort(names) if motion.frame_valid[motion.frames_of(s)].any()])


def _read_packed(path: str | Path) -> dict[str, NDArray]:
    keys = ('joints', 'frame_valid', 'sequence_names', 'sequence_lengths', 'hand_side', 'grasped_object',
            'object_rotvec', 'object_transl')  # fmt: skip
    packed = read_npz(path, keys, error=DatasetError, advice='give a file of packed joints')
    for key in keys:
        if key not in packed:
            raise DatasetError(f'{path} has no {key!r}; a file of packed joints has {", ".join(keys)}')
    return packed


def _read_cameras(path: str | Path) -> dict[str, Any]:
    cameras = read_json(path, error=DatasetError, advice='give a file of cameras')
    for name, values in cameras.items():
        if not isinstance(values, dict) or not {'K', 'cam_to_tag_opencv', 'size_wh'} <= set(values):
            raise DatasetError(f"{path}: camera {name!r} needs 'K', 'cam_to_tag_opencv' and 'size_wh'")
    return cameras


def choose_sequences(motion: RecordedMotion, per_subject: int) -> list[int]:
    """The numbers of about `per_subject` sequences of each subject, spread over its recordings.

    A fifth of them, at least two, are those that split s0 tests or validates on; of these and of the others, half have
    a left and half a right hand, as far as there are such.

    Args:
        motion: of all sequences.
        per_subject: how many to choose of each subject.
    """
    by_group: dict[tuple[int, bool, int], list[int]] = {}
    for sequence, (subject, position) in enumerate(motion.positions()):
        group = (subject, position % 5 == 4, int(motion.hand_side[sequence]))
        by_group.setdefault(group, []).append(sequence)
    held_out = max(2, round(per_subject / 5))
    chosen: list[int] = []
    for subject in sorted({group[0] for group in by_group}):
        first = subject * _GOLDEN % 1  # elsewhere in each subject's list, so that all objects come up
        for held, wanted in ((True, held_out), (False, per_subject - held_out)):
            for side, share in ((0, wanted // 2), (1, wanted - wanted // 2)):
                rows = by_group.get((subject, held, side), [])
                share = min(share, len(rows))
                chosen += [rows[int((k + first) * len(rows) / share)] for k in range(share)]
    return sorted(chosen)
