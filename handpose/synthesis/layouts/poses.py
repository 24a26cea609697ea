"""What layouts of pose sequences have in common: no images, and for each recording its motion as it was drawn.

`generator/<subject>_<sequence>/motion.npz` holds the motion in float64 (table frame), from which `finish` or `write`
makes the dataset's own files; tests compare with it. Legend: F frames, H hands.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.files.yaml_files import read_yaml
from handpose.hands import from_common
from handpose.hands.sides import SIDE_LABELS, Side
from handpose.synthesis.layouts.files import write_npz, write_yaml
from handpose.synthesis.layouts.multi_view import MultiViewLayout
from handpose.synthesis.motion.posing import PosedHand
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Scene

MILLIMETRES = 1000.0
BOTH_SIDES = (Side.RIGHT, Side.LEFT)  # InterHand2.6M's order: joints 0-20 are the right hand's, 21-41 the left's
_HANDS = ('hand_pose', 'hand_transl', 'rest_wrist', 'joints')

DECIMALS = 7  # of hand-model parameters, in radians and metres


class PoseLayout(MultiViewLayout):
    """A layout without images; see `Layout`. A subclass says which `hands` a sequence shows and writes the rest."""

    def hands(self, sequence: int) -> tuple[int, ...]:
        """The sides of the hands that a sequence shows."""
        raise NotImplementedError

    def folders(self, subject: int, sequence: int) -> list[str]:
        """See `Layout.folders`."""
        return [f'generator/{subject:02d}_{sequence:03d}']

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """Writes a recording's motion, and its facts, in its partial folder."""
        partial = self.empty_partial(subject, sequence)[-1]
        arrays = {name: getattr(scene, name) for name in ('sides', 'hand_shape', *_HANDS)}
        cameras = {'intrinsics': scene.intrinsics, 'extrinsics': scene.extrinsics[0]}
        write_npz(partial / 'motion.npz', {**arrays, 'annotated': scene.hand_valid, **cameras})
        write_yaml(partial / 'facts.yml', {'name': scene.name, 'hands': [SIDE_LABELS[side] for side in scene.sides]})

    def read_scene(self, subject: int, sequence: int) -> Scene:
        """The scene of a sequence that is in place, without meshes."""
        folder = self.root / self.folders(subject, sequence)[-1]
        name = read_yaml(folder / 'facts.yml')['name']
        with np.load(folder / 'motion.npz') as stored:
            pose, transl, rest, joints = (stored[name] for name in _HANDS)
            vertices = np.zeros((len(pose), 0, 3))
            scene = Scene.of_hands(name, stored['hand_shape'], {
                int(side): PosedHand(vertices, joints[:, hand], pose[:, hand], transl[:, hand], rest[hand])
                for hand, side in enumerate(stored['sides'])
            })  # fmt: skip
            scene.hand_valid = stored['annotated']
            scene.set_cameras(stored['intrinsics'], stored['extrinsics'], self.image_sizes)
        return scene


def mano_entry(scene: Scene, frame: int, hand: int) -> dict[str, Any]:
    """A MANO entry as NeuralAnnot and Re:InterHand have it: `pose` (48), `shape` (10), `trans` (3, metres), world.

    The mean pose is not part of `pose`; that of the procedural hand is zero.
    """
    pose, trans = scene.hand_pose[frame, hand].reshape(48), scene.hand_transl[frame, hand]
    return {
        'pose': np.round(pose, DECIMALS).tolist(),
        'shape': np.round(scene.hand_shape, DECIMALS).tolist(),
        'trans': np.round(trans, DECIMALS).tolist(),
    }


def both_hands(scene: Scene, order: str = 'interhand') -> tuple[NDArray, NDArray]:
    """Both hands' joints, the right hand's first.

    Args:
        scene: of a recording.
        order: name of the order of J joints.

    Returns:
        joints (F, 2 * J, 3) metres, and which are annotated (F, 2 * J).
    """
    ordered = from_common(torch.from_numpy(scene.joints), order)[0].numpy()
    joints = np.zeros((len(ordered), len(BOTH_SIDES), ordered.shape[2], 3))
    valid = np.zeros(joints.shape[:3], bool)
    for column, side in enumerate(BOTH_SIDES):
        for hand in np.flatnonzero(scene.sides == side):
            joints[:, column] = ordered[:, hand]
            valid[:, column] = scene.hand_valid[:, hand, None]
    return joints.reshape(len(joints), -1, 3), valid.reshape(len(joints), -1)
