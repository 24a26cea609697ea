"""DexYCB's folder structure. Metres, pixels, OpenCV camera axes; world = the master camera.

Legend: F frames, K cameras, N objects.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.files.reading import visible_paths
from handpose.files.yaml_files import read_yaml
from handpose.hands.sides import SIDE_LABELS
from handpose.synthesis.layouts.base import move_hand
from handpose.synthesis.layouts.files import write_image, write_npz, write_yaml
from handpose.synthesis.layouts.multi_view import RenderedLayout
from handpose.synthesis.rendering.drawing import Frame, Render
from handpose.synthesis.scene import Scene, Size

# DexYCB's own folder names, so that tools which list them by name work on the built-in data too.
SUBJECTS = (
    '20200709-subject-01', '20200813-subject-02', '20200820-subject-03', '20200903-subject-04', '20200908-subject-05',
    '20200918-subject-06', '20200928-subject-07', '20201002-subject-08', '20201015-subject-09', '20201022-subject-10',
)  # fmt: skip
SERIALS = (
    '836212060125', '839512060362', '840412060917', '841412060263',
    '932122060857', '932122060861', '932122061900', '932122062010',
)  # fmt: skip


class DexYCBLayout(RenderedLayout):
    """DexYCB: `<subject>/<sequence>/<serial>/`, calibration beside the subjects; see `Layout`."""

    @property
    def serials(self) -> tuple[str, ...]:
        """The cameras' serial numbers; the first is the master camera."""
        return SERIALS[: self.options.cameras]

    def folders(self, subject: int, sequence: int) -> list[str]:
        """See `Layout.folders`."""
        return [sequence_folder(subject, sequence)]

    def begin(self) -> None:
        """Writes the intrinsics."""
        super().begin()
        write_intrinsics(self.root, self.serials, self.intrinsics, self.image_sizes)

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """See `write_sequence`."""
        (partial,) = self.empty_partial(subject, sequence)
        write_sequence(self.root, partial, self.serials, scene, render)

    def read_facts(self) -> Iterator[dict[str, Any]]:
        """Yields what the meta.yml of every sequence says under `synthetic`."""
        for meta in visible_paths(self.root, '*-subject-*/*/meta.yml'):
            yield read_yaml(meta)['synthetic']


def subject_name(subject: int) -> str:
    """Folder of a subject (0-based); after DexYCB's ten, one a fortnight."""
    if subject < len(SUBJECTS):
        return SUBJECTS[subject]
    day = date(2020, 10, 22) + timedelta(days=14 * (subject - len(SUBJECTS) + 1))
    return f'{day:%Y%m%d}-subject-{subject + 1:02d}'


def sequence_folder(subject: int, sequence: int) -> str:
    """Folder of a sequence (0-based): named by the subject's day, one recording every two minutes from 09:00:00."""
    name, minutes = subject_name(subject), 2 * sequence
    return f'{name}/{name[:8]}_{9 + minutes // 60:02d}{minutes % 60:02d}00'


def write_sequence(root: Path, folder: Path, serials: Sequence[str], scene: Scene, render: Render) -> None:
    """Writes a sequence: meta.yml, pose.npz, its calibration, and images and labels of every camera.

    Args:
        root: of the dataset, where the calibration goes.
        folder: empty folder of the sequence.
        serials: of the cameras.
        scene: of one hand, whose first object is the grasped one.
        render: gives an iterator of a camera's frames.
    """
    name, side = folder.name, SIDE_LABELS[scene.sides[0]]
    calibration = f'{name}_subject-{folder.parent.name[-2:]}_{side}'
    write_extrinsics(root, name, serials, scene.extrinsics[0])
    betas = [float(b) for b in scene.hand_shape]
    write_yaml(root / 'calibration' / f'mano_{calibration}' / 'mano.yml', {'betas': betas})
    write_yaml(folder / 'meta.yml', {
        'serials': list(serials), 'num_frames': len(scene.joints), 'extrinsics': name,
        'ycb_ids': [o.class_id for o in scene.objects], 'ycb_grasp_ind': 0, 'mano_sides': [side],
        'mano_calib': [calibration], 'synthetic': scene.facts,
    })  # fmt: skip
    write_npz(folder / 'pose.npz', sequence_poses(scene))
    for camera, serial in enumerate(serials):
        (folder / serial).mkdir()
        labels = camera_labels(scene, camera)
        for index, frame in enumerate(render(camera)):
            write_frame(folder / serial, index, frame, {name: values[index] for name, values in labels.items()})


def write_intrinsics(root: Path, serials: Sequence[str], intrinsics: NDArray, sizes: Sequence[Size]) -> None:
    """Writes every camera's calibration/intrinsics file; intrinsics (K, 3, 3)."""
    for serial, matrix, size in zip(serials, intrinsics, sizes, strict=True):
        color = {
            'fx': float(matrix[0, 0]), 'fy': float(matrix[1, 1]),
            'ppx': float(matrix[0, 2]), 'ppy': float(matrix[1, 2]),
        }  # fmt: skip
        write_yaml(root / 'calibration' / 'intrinsics' / f'{serial}_{size[0]}x{size[1]}.yml', {'color': color})


def write_extrinsics(root: Path, name: str, serials: Sequence[str], extrinsics: NDArray) -> None:
    """Writes calibration/extrinsics_<name>: every camera, and the table (as `apriltag`), to the master camera.

    Args:
        root: of the dataset.
        name: of the recording.
        serials: of the cameras; the first is the master.
        extrinsics: (K, 4, 4) table frame to camera.
    """
    to_world = extrinsics[0] @ np.linalg.inv(extrinsics)
    entries = {s: m[:3].ravel().tolist() for s, m in zip(serials, to_world, strict=True)}
    entries['apriltag'] = extrinsics[0][:3].ravel().tolist()
    path = root / 'calibration' / f'extrinsics_{name}' / 'extrinsics.yml'
    write_yaml(path, {'master': serials[0], 'extrinsics': entries})


def sequence_poses(scene: Scene) -> dict[str, NDArray]:
    """The arrays of pose.npz, in the world (= master camera) frame: `pose_y` (F, N, 7), `pose_m` (F, 1, 51)."""
    world = scene.extrinsics[0, 0]
    objects = world @ scene.object_poses
    quaternions = Rotation.from_matrix(objects[..., :3, :3].reshape(-1, 3, 3)).as_quat().reshape(*objects.shape[:2], 4)
    pose_y = np.concatenate([quaternions, objects[..., :3, 3]], -1)
    pose_m = move_hand(scene.hand_pose[:, 0], scene.hand_transl[:, 0], scene.rest_wrist[0], world)
    pose_m[~scene.visible[:, :, 0].any(1)] = 0
    return {'pose_y': pose_y.astype(np.float32), 'pose_m': pose_m[:, None].astype(np.float32)}


def camera_labels(scene: Scene, camera: int) -> dict[str, NDArray]:
    """What labels_*.npz holds besides `seg` and `occlusion`, for all frames of one camera.

    Args:
        scene: of one hand.
        camera: its number.

    Returns:
        float32 arrays: `pose_y` (F, N, 3, 4), `pose_m` (F, 1, 51), `joint_3d` (F, 1, 21, 3), `joint_2d` (F, 1, 21, 2);
        while no part of the hand is in the image pose_m is 0 and the joints are -1.
    """
    rigid = scene.extrinsics[0, camera]
    pose_m = move_hand(scene.hand_pose[:, 0], scene.hand_transl[:, 0], scene.rest_wrist[0], rigid)
    joint_3d = scene.joints[:, 0] @ rigid[:3, :3].T + rigid[:3, 3]
    joint_2d = joint_3d @ scene.intrinsics[camera].T
    joint_2d = joint_2d[..., :2] / joint_2d[..., 2:]
    absent = ~scene.visible[:, camera, 0]
    pose_m[absent] = 0
    joint_3d[absent] = -1
    joint_2d[absent] = -1
    arrays = {
        'pose_y': (rigid @ scene.object_poses)[..., :3, :],
        'pose_m': pose_m[:, None],
        'joint_3d': joint_3d[:, None],
        'joint_2d': joint_2d[:, None],
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def write_frame(folder: Path, index: int, frame: Frame, labels: dict[str, NDArray]) -> None:
    """Writes a rendered frame: colour JPEG, depth PNG (16-bit mm) and labels."""
    write_image(folder / f'color_{index:06d}.jpg', frame.image)
    write_image(folder / f'aligned_depth_to_color_{index:06d}.png', frame.depth)
    occlusion = np.array([frame.occlusion], np.float32)
    write_npz(folder / f'labels_{index:06d}.npz', {'seg': frame.seg, **labels, 'occlusion': occlusion})
