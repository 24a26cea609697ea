"""HanCo's folder structure: right hands, numbered sequences, three files a frame, metres."""

import numpy as np
from numpy.typing import NDArray

from handpose.hands.sides import Side
from handpose.synthesis.layouts.files import write_json
from handpose.synthesis.layouts.poses import PoseLayout
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Scene

FILL = 0.65  # of an image's width, that the hand takes: HanCo's images are crops around it, frame by frame


class HanCoLayout(PoseLayout):
    """HanCo: `meta.json`, `{xyz,calib,shape}/<sequence>/<frame>.json`; see `Layout`.

    Sequences are numbered through, subject after subject. A frame without a fit keeps its `xyz`; a fit that nobody
    validated is in `has_fit` and not in `is_valid`.
    """

    def hands(self, sequence: int) -> tuple[int, ...]:
        """See `PoseLayout.hands`: always the right one."""
        return (Side.RIGHT,)

    def number(self, subject: int, sequence: int) -> int:
        """The number of a sequence among all."""
        return subject * self.options.sequences + sequence

    def folders(self, subject: int, sequence: int) -> list[str]:
        """See `Layout.folders`."""
        number = f'{self.number(subject, sequence):04d}'
        return [f'{name}/{number}' for name in ('xyz', 'calib', 'shape', 'generator')]

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """Writes joints, cameras and MANO parameters, and the motion itself."""
        super().write(scene, subject, sequence, render)
        xyz, calib, shape, _ = (self.partial / folder for folder in self.folders(subject, sequence))
        matrices = np.stack([cropped(scene, camera, self.options.size) for camera in range(self.options.cameras)], 1)
        for frame, joints in enumerate(scene.joints[:, 0]):
            name = f'{frame:08d}.json'
            write_json(xyz / name, joints.round(8).tolist())
            write_json(calib / name, {'K': matrices[frame].tolist(), 'M': scene.extrinsics[0].tolist()})
            if scene.hand_valid[frame, 0]:
                write_json(shape / name, {
                    'poses': scene.hand_pose[frame, 0].reshape(1, 48).round(8).tolist(),
                    'shapes': scene.hand_shape[None].round(8).tolist(),
                    'global_t': scene.hand_transl[frame].round(8).tolist(),
                })  # fmt: skip

    def finish(self) -> None:
        """Writes meta.json."""
        keys = ('is_train', 'subject_id', 'is_valid', 'object_id', 'has_fit')
        meta: dict[str, list[list]] = {key: [] for key in keys}
        for subject, sequence in self.places:
            scene = self.read_scene(subject, sequence)
            fits = scene.hand_valid[:, 0]
            validated = fits & (np.arange(len(fits)) % 6 != 5)
            meta['is_train'].append([bool(sequence % 2)] * len(fits))  # in front of a green screen
            meta['subject_id'].append([subject] * len(fits))
            meta['is_valid'].append(validated.tolist())
            meta['object_id'].append([None] * len(fits))
            meta['has_fit'].append(fits.tolist())
        write_json(self.root / 'meta.json', meta)


def cropped(scene: Scene, camera: int, size: int) -> NDArray:
    """Intrinsics (F, 3, 3) of the square crops, `size` pixels wide, around the hand in each frame of a camera."""
    extrinsics, matrix = scene.extrinsics[0, camera], scene.intrinsics[camera]
    joints = scene.joints[:, 0] @ extrinsics[:3, :3].T + extrinsics[:3, 3]
    pixels = joints @ matrix.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    low, high = pixels.min(1), pixels.max(1)
    zoom = FILL * size / (high - low).max(1)
    cut = np.tile(matrix, (len(zoom), 1, 1))
    cut[:, :2] *= zoom[:, None, None]
    cut[:, :2, 2] += (size - 1) / 2 - zoom[:, None] * (low + high) / 2
    return cut
