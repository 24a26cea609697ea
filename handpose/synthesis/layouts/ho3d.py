"""HO3D's folder structure, version 2 or 3.

On disk: metres, pixels, OpenGL camera axes (x right, y up, z backward), HO3D's joint order, one folder per camera.
What the official structure lacks lies in `generator/`. Legend: F frames, K cameras, V hand vertices.
"""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.files.atomic import atomic_write
from handpose.files.npz import read_npz
from handpose.files.reading import visible_paths
from handpose.files.yaml_files import read_yaml
from handpose.hands import from_common
from handpose.hands.sides import Side
from handpose.synthesis.layouts.base import move_hand
from handpose.synthesis.layouts.files import write_image, write_npz, write_yaml
from handpose.synthesis.layouts.multi_view import RenderedLayout
from handpose.synthesis.objects.graspable import CLASSES
from handpose.synthesis.rendering.drawing import Frame, Render
from handpose.synthesis.scene import Scene

DEPTH_SCALE = 0.00012498664727900177  # metres per unit of the depth images
TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
UNANNOTATED_SHARE = 1 / 12  # of a sequence's frames, in one run, beside those where the hand is out of sight
_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])


class HO3DLayout(RenderedLayout):
    """HO3D: `train` and `evaluation`, each with `<SEQ>/{rgb,depth,meta}`, and one SEQ per camera; see `Layout`.

    SEQ is the recording's name and the camera's digit, as in HO3D's multi-camera groups. Every fifth sequence of a
    subject is for evaluation: its labels hold the wrist and a box alone, and the joints and meshes lie in
    `evaluation_xyz.json` and `evaluation_verts.json`, as HO3D released them later.
    """

    side = Side.RIGHT  # HO3D has right hands only

    def folders(self, subject: int, sequence: int) -> list[str]:
        """See `Layout.folders`."""
        name, part = _recording(subject, sequence), _part(sequence)
        return [f'{part}/{name}{camera}' for camera in range(self.options.cameras)]

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """Writes images, depth and labels of every camera, the calibration, and what is known in `generator/`."""
        partial, name, part = self.empty_partial(subject, sequence), _recording(subject, sequence), _part(sequence)
        annotated = self._annotated(scene, subject, sequence)
        listed = {
            folder.name: np.flatnonzero(flags).tolist() for folder, flags in zip(partial, annotated.T, strict=True)
        }
        write_yaml(self.root / 'generator' / f'{name}.yml', {**scene.facts, 'part': part, 'annotated': listed})
        if self.options.ho3d_version == 3:
            write_calibration(self.root / 'calibration' / name / 'calibration', scene.intrinsics, scene.extrinsics[0])
        for camera, folder in enumerate(partial):
            if part == 'evaluation':
                vertices = _opengl(scene.vertices[:, 0], scene, camera)
                truth = {'joints': ho3d_joints(scene, camera), 'vertices': vertices}
                path, kept = self.root / 'generator' / f'{folder.name}.npz', listed[folder.name]
                write_npz(path, {key: value[kept].astype(np.float32) for key, value in truth.items()})
            self._write_frames(folder, render(camera), camera_labels(scene, camera, part), annotated[:, camera])

    def _write_frames(
        self, folder: Path, frames: Iterator[Frame], labels: list[dict[str, Any]], annotated: NDArray
    ) -> None:
        """Writes images, depth and labels of one camera; labels without annotation are None throughout."""
        for name in ('rgb', 'depth', 'meta'):
            (folder / name).mkdir()
        suffix = {2: 'png', 3: 'jpg'}[self.options.ho3d_version]
        for index, frame in enumerate(frames):
            write_image(folder / 'rgb' / f'{index:04d}.{suffix}', frame.image)
            write_image(folder / 'depth' / f'{index:04d}.png', encode_depth(frame.depth / 1000))
            values = {**labels[index], 'occlusion': float(frame.occlusion)}
            values = values if annotated[index] else dict.fromkeys(values)
            (folder / 'meta' / f'{index:04d}.pkl').write_bytes(python2_pickle(values))

    def read_facts(self) -> Iterator[dict[str, Any]]:
        """Yields the facts of every sequence."""
        for path in visible_paths(self.root / 'generator', '*.yml'):
            yield read_yaml(path)

    def finish(self) -> None:
        """Writes the lists of annotated frames, and the truth of the evaluation part in their order."""
        lines: dict[str, list[str]] = {'train': [], 'evaluation': []}
        cameras: list[str] = []
        for facts in self.read_facts():
            for name, frames in facts['annotated'].items():
                lines[facts['part']] += [f'{name}/{frame:04d}\n' for frame in frames]
                cameras += [name] * (facts['part'] == 'evaluation')
        for part, rows in lines.items():
            (self.root / f'{part}.txt').write_text(''.join(rows), encoding='utf-8')
        for file, key in (('evaluation_xyz.json', 'joints'), ('evaluation_verts.json', 'vertices')):
            if not (self.root / file).exists():
                arrays = [read_npz(self.root / 'generator' / f'{name}.npz', [key])[key] for name in cameras]
                rows = [json.dumps(np.round(row, 6).tolist()) for array in arrays for row in array.astype(np.float64)]
                atomic_write(self.root / file, f'[{", ".join(rows)}]')

    def _annotated(self, scene: Scene, subject: int, sequence: int) -> NDArray:
        """(F, K) bool: part of the hand is in the image, and the frame is not in the run that nobody annotated."""
        rng = np.random.default_rng([self.options.seed, subject, sequence, 2])
        count = len(scene.visible)
        length = max(1, int(count * UNANNOTATED_SHARE))
        annotated = scene.visible[:, :, 0].copy()
        start = rng.integers(count - length)
        annotated[start : start + length] = False
        return annotated


def _recording(subject: int, sequence: int) -> str:
    return f'P{subject + 1:02d}S{sequence:02d}'


def _part(sequence: int) -> str:
    return 'evaluation' if sequence % 5 == 4 else 'train'


def _opengl(points: NDArray, scene: Scene, camera: int) -> NDArray:
    """Points (F, ..., 3) of the table frame in a camera's OpenGL axes."""
    rigid = TO_OPENGL @ scene.extrinsics[0, camera]
    return points @ rigid[:3, :3].T + rigid[:3, 3]


def ho3d_joints(scene: Scene, camera: int) -> NDArray:
    """Joints (F, 21, 3) in HO3D's order and a camera's OpenGL axes, metres."""
    return _opengl(from_common(torch.from_numpy(scene.joints[:, 0]), 'ho3d')[0].numpy(), scene, camera)


def camera_labels(scene: Scene, camera: int, part: str) -> list[dict[str, Any]]:
    """What the pickles of one camera hold, F dicts; `part` 'evaluation' leaves the wrist and a box of the hand."""
    joints = ho3d_joints(scene, camera)
    to_camera = TO_OPENGL @ scene.extrinsics[0, camera]
    hand = move_hand(scene.hand_pose[:, 0], scene.hand_transl[:, 0], scene.rest_wrist[0], to_camera)
    poses = to_camera @ scene.object_poses[:, 0]
    vertices = scene.objects[0].mesh().vertices
    rest = vertices.min(0) + _CORNERS * (vertices.max(0) - vertices.min(0))
    common = {
        'camMat': scene.intrinsics[camera],
        'objName': CLASSES[scene.objects[0].class_id][0],
        'objLabel': int(scene.objects[0].class_id),
        'objCorners3DRest': rest.astype(np.float32),
    }
    labels = []
    for index, pose in enumerate(poses):
        values = {
            'objRot': Rotation.from_matrix(pose[:3, :3]).as_rotvec()[:, None].astype(np.float32),  # (3, 1), as HO3D
            'objTrans': pose[:3, 3].astype(np.float32),
            'objCorners3D': (rest @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32),
        }
        hand_joints = joints[index].astype(np.float32)
        if part == 'evaluation':
            values |= {'handJoints3D': hand_joints[0], 'handBoundingBox': _box(joints[index], scene.intrinsics[camera])}
        else:
            parameters = hand[index].astype(np.float32)
            values |= {'handJoints3D': hand_joints, 'handPose': parameters[:48], 'handTrans': parameters[48:]}
            values['handBeta'] = scene.hand_shape.astype(np.float32)
        labels.append({**common, **values})
    return labels


def _box(joints: NDArray, intrinsics: NDArray) -> NDArray:
    """The box (4,) x1, y1, x2, y2 in pixels around joints (21, 3) in OpenGL axes."""
    pixels = joints * (1, -1, -1) @ intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    return np.concatenate([pixels.min(0), pixels.max(0)]).astype(np.float32)


def encode_depth(metres: NDArray) -> NDArray:
    """A depth image (h, w) in metres as HO3D's (h, w, 3) uint8 RGB: red the low byte, green the high one."""
    code = np.round(metres / DEPTH_SCALE).clip(0, 65535).astype(np.uint16)
    return np.stack([code & 255, code >> 8, np.zeros_like(code)], -1).astype(np.uint8)


def python2_pickle(values: dict[str, Any]) -> bytes:
    """Pickles as HO3D's files are: readable with NumPy 1 and Python 2 too."""
    # NumPy 2 calls itself numpy._core; in protocol 2 a name is a plain line of text.
    return pickle.dumps(values, protocol=2).replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')


def write_calibration(folder: Path, intrinsics: NDArray, extrinsics: NDArray) -> None:
    """Writes version 3's calibration of one recording: file i belongs to the camera that entry i of cam_orders names.

    Args:
        folder: of the recording's calibration.
        intrinsics: (K, 3, 3).
        extrinsics: (K, 4, 4) table frame to camera; the reference is the first file's camera.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = list(range(len(intrinsics)))[::-1]
    np.savetxt(folder / 'cam_orders.txt', order, fmt='%d')
    np.savetxt(folder / 'cam_0_depth_scale.txt', [DEPTH_SCALE])
    for position, camera in enumerate(order):
        to_reference = extrinsics[order[0]] @ np.linalg.inv(extrinsics[camera])
        np.savetxt(folder / f'trans_{position}.txt', to_reference, fmt='%.9f')
        matrix = intrinsics[camera]
        names = {'fx': (0, 0), 'fy': (1, 1), 'ppx': (0, 2), 'ppy': (1, 2)}
        text = ', '.join(f'{name}: {matrix[where]:.6f}' for name, where in names.items())
        (folder / f'cam_{position}_intrinsics.txt').write_text(f'{text}\n', encoding='utf-8')
