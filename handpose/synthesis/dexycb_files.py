"""Writes scenes in DexYCB's official folder structure. Metres, pixels, OpenCV camera axes; world = the master camera.

Legend: F frames, K cameras, N objects.
"""

import io
import zipfile

import numpy as np
from scipy.spatial.transform import Rotation

from handpose.files.reading import visible_paths
from handpose.files.yaml_files import read_yaml
from handpose.synthesis.layout import PARTIAL, Layout, write_image, write_yaml

_MISSING_OBJECT = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


class DexYCBLayout(Layout):
    """DexYCB: `<subject>/<sequence>/<serial>/`, calibration beside the subjects; see `Layout`."""

    def folders(self, subject, sequence):
        """See `Layout.folders`."""
        return [f'{self.options.subject_name(subject)}/{self.options.sequence_name(subject, sequence)}']

    def begin(self, intrinsics):
        """Writes the intrinsics (K, 3, 3)."""
        size = self.options.size
        for serial, matrix in zip(self.options.serials, intrinsics, strict=True):
            write_intrinsics(self.root, serial, matrix, (size, size))

    def write_scene(self, scene, subject, sequence, facts):
        """Writes meta.yml, pose.npz, and the sequence's calibration."""
        (partial,) = self.empty_partial(subject, sequence)
        name, side = partial.name, ('left', 'right')[scene.side]
        calibration = f'{name}_subject-{partial.parent.name[-2:]}_{side}'
        write_extrinsics(self.root, name, self.options.serials, scene.extrinsics)
        write_hand_shape(self.root, calibration, scene.hand_shape)
        write_yaml(partial / 'meta.yml', {
            'serials': list(self.options.serials), 'num_frames': len(scene.joints), 'extrinsics': name,
            'ycb_ids': [o.class_id for o in scene.objects], 'ycb_grasp_ind': 0, 'mano_sides': [side],
            'mano_calib': [calibration], 'synthetic': facts,
        })  # fmt: skip
        write_npz(partial / 'pose.npz', sequence_poses(scene))

    def write_camera(self, scene, subject, sequence, camera, frames):
        """Writes the pictures and labels of one camera."""
        (sequence_folder,) = self.folders(subject, sequence)
        folder = self.root / PARTIAL / sequence_folder / self.options.serials[camera]
        folder.mkdir()
        labels = camera_labels(scene, camera)
        for index, frame in enumerate(frames):
            write_frame(folder, index, frame, {name: values[index] for name, values in labels.items()})

    def read_facts(self):
        """Yields what the meta.yml of every sequence says under `synthetic`."""
        for meta in visible_paths(self.root, '*-subject-*/*/meta.yml'):
            yield read_yaml(meta)['synthetic']


def write_npz(path, arrays):
    """Writes {name: array} as a compressed .npz whose bytes depend on nothing but the arrays (no dates), quickly."""
    with zipfile.ZipFile(path, 'w') as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f'{name}.npy')  # dated 1980-01-01
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=1)


def write_intrinsics(root, serial, intrinsics, size):
    """Writes one camera's calibration/intrinsics file."""
    color = {
        'fx': float(intrinsics[0, 0]), 'fy': float(intrinsics[1, 1]),
        'ppx': float(intrinsics[0, 2]), 'ppy': float(intrinsics[1, 2]),
    }  # fmt: skip
    write_yaml(root / 'calibration' / 'intrinsics' / f'{serial}_{size[0]}x{size[1]}.yml', {'color': color})


def write_extrinsics(root, name, serials, extrinsics):
    """Writes calibration/extrinsics_<name>: every camera, and the table (as `apriltag`), to the master camera.

    Args:
        extrinsics: (K, 4, 4) table frame to camera; the first camera is the master.
    """
    to_world = extrinsics[0] @ np.linalg.inv(extrinsics)
    entries = {s: m[:3].ravel().tolist() for s, m in zip(serials, to_world, strict=True)}
    entries['apriltag'] = extrinsics[0][:3].ravel().tolist()
    path = root / 'calibration' / f'extrinsics_{name}' / 'extrinsics.yml'
    write_yaml(path, {'master': serials[0], 'extrinsics': entries})


def write_hand_shape(root, name, betas):
    """Writes calibration/mano_<name>: the ten shape numbers of the hand."""
    write_yaml(root / 'calibration' / f'mano_{name}' / 'mano.yml', {'betas': [float(b) for b in betas]})


def move_hand(hand_pose, hand_transl, rest_wrist, rigid):
    """Hand parameters (..., 51) = global rotvec, 45 finger values, translation, after a rigid motion (4, 4).

    The model turns a hand about its own wrist `rest_wrist` (3,), so the translation moves as that point does:
    t' = R (t + J0) + t_rigid - J0.

    Args:
        hand_pose: (..., 16, 3) rotvecs. hand_transl: (..., 3).
    """
    leading = hand_pose.shape[:-2]
    turned = Rotation.from_matrix(rigid[:3, :3]) * Rotation.from_rotvec(hand_pose[..., 0, :].reshape(-1, 3))
    transl = (hand_transl + rest_wrist) @ rigid[:3, :3].T + rigid[:3, 3] - rest_wrist
    fingers = hand_pose[..., 1:, :].reshape(*leading, 45)
    return np.concatenate([turned.as_rotvec().reshape(*leading, 3), fingers, transl], -1)


def sequence_poses(scene):
    """The arrays of pose.npz, in the world (= master camera) frame: `pose_y` (F, N, 7), `pose_m` (F, 1, 51)."""
    world = scene.extrinsics[0]
    objects = world @ scene.object_poses
    quaternions = Rotation.from_matrix(objects[..., :3, :3].reshape(-1, 3, 3)).as_quat().reshape(*objects.shape[:2], 4)
    pose_y = np.concatenate([quaternions, objects[..., :3, 3]], -1)
    pose_m = move_hand(scene.hand_pose, scene.hand_transl, scene.rest_wrist, world)
    pose_m[~scene.present.any(1)] = 0
    return {'pose_y': pose_y.astype(np.float32), 'pose_m': pose_m[:, None].astype(np.float32)}


def camera_labels(scene, camera):
    """What labels_*.npz holds besides `seg` and `occlusion`, for all frames of one camera.

    Returns:
        dict of float32 arrays: `pose_y` (F, N, 3, 4), `pose_m` (F, 1, 51), `joint_3d` (F, 1, 21, 3),
        `joint_2d` (F, 1, 21, 2); while no part of the hand is in the
        picture pose_m is 0 and the joints are -1.
    """
    rigid = scene.extrinsics[camera]
    pose_m = move_hand(scene.hand_pose, scene.hand_transl, scene.rest_wrist, rigid)
    joint_3d = scene.joints @ rigid[:3, :3].T + rigid[:3, 3]
    joint_2d = joint_3d @ scene.intrinsics[camera].T
    joint_2d = joint_2d[..., :2] / joint_2d[..., 2:]
    absent = ~scene.present[:, camera]
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


def write_frame(folder, index, frame, labels):
    """Writes a rendered frame: colour JPEG, depth PNG (16-bit mm) and labels (dict of arrays)."""
    write_image(folder / f'color_{index:06d}.jpg', frame.image)
    write_image(folder / f'aligned_depth_to_color_{index:06d}.png', frame.depth)
    occlusion = np.array([frame.occlusion], np.float32)
    write_npz(folder / f'labels_{index:06d}.npz', {'seg': frame.seg, **labels, 'occlusion': occlusion})
