"""Changes the proportions of hands and the definition of their joints.

Legend: T frames, 21 joints in the common order.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.transforms.estimator_noise import fill_gaps
from handpose.datasets.transforms.motion_augmentation import AUGMENTED, DROPPED
from handpose.datasets.transforms.noise_model import palm_frame
from handpose.hands.joints import BONES
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence

_REFUSED = ('images', 'vertices', 'hand_pose', 'future')
_FINGER_BONES = np.array([child for child in range(1, 21) if child % 4 != 1]).reshape(5, 3)  # not those of the palm
_LIMIT = 0.9  # the largest relative change


class SkeletonChange:
    """One change of proportions and joint definitions, the same in every frame.

    Args:
        factors: (21,) of the length of the bone that ends at each joint; that of the wrist has no meaning.
        offsets: (21, 3) metres, by which each joint moves in the frame of its bone: along the bone, across it towards
            the index finger, out of the palm. The wrist moves in the frame of the palm. Mirrored for left hands.
    """

    def __init__(self, factors: NDArray[np.float64], offsets: NDArray[np.float64]) -> None:
        self.factors, self.offsets = factors, offsets

    def __call__(self, joints: NDArray[np.float64], side: int) -> NDArray[np.float64]:
        """Changes a hand; its wrist stays but for its own offset, and bones keep their directions.

        Args:
            joints: (T, 21, 3) metres.
            side: 0 left, 1 right.

        Returns:
            (T, 21, 3).
        """
        palm = palm_frame(joints - joints[:, :1], side)
        changed, moved = joints.copy(), joints.copy()
        moved[:, 0] += palm @ self.offsets[0]
        for parent, child in BONES:  # parents come first
            bone = joints[:, child] - joints[:, parent]
            changed[:, child] = changed[:, parent] + self.factors[child] * bone
            moved[:, child] = changed[:, child] + bone_frame(bone, palm, side) @ self.offsets[child]
        return moved


@TRANSFORMS.register_module()
class SkeletonVariation:
    """Gives the hands of a clip other proportions and other definitions of their joints.

    Datasets and estimators disagree by millimetres about where a joint is, and people differ in the proportions of
    their fingers. A refiner that is trained with one skeleton moves joints towards it. Every clip gets another change,
    of its targets, and by the same displacement of its input, if there is one already (`LoadPredictions`). The noise
    model comes after this transform. The size of whole hands is changed by `MotionAugmentation(scale=(0.6, 1.5))`.

    For clips with joints only: hand-model parameters would no longer fit. Boxes and 2D joints are dropped.

    Args:
        fingers: the largest relative change of the length of a finger, uniform.
        bones: the same, of each bone on its own (those of the palm too).
        joints: metres, the largest displacement of a joint along each axis of the frame of its bone, uniform.

    Raises:
        DatasetError: a change that is negative, or of 90 % or more.
    """

    def __init__(self, fingers: float = 0.2, bones: float = 0.1, joints: float = 0.004) -> None:
        if not (0 <= fingers < _LIMIT and 0 <= bones < _LIMIT and 0 <= joints < np.inf):
            raise DatasetError(
                f'SkeletonVariation: fingers and bones must be from 0 to below {_LIMIT}, and joints a number of metres '
                f'from 0; got fingers={fingers!r}, bones={bones!r}, joints={joints!r}'
            )
        self.fingers, self.bones, self.joints = fingers, bones, joints

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Changes a clip.

        Args:
            sample: with joints, in the frame of the camera or in the world.
            rng: source of the change.

        Returns:
            The changed clip.

        Raises:
            DatasetError: a clip with images, meshes or parameters, without joints, or relative to the wrists.
        """
        found = [name for name in _REFUSED if getattr(sample, name) is not None]
        if found or sample.joints_3d is None or sample.joints_valid is None or sample.frame not in ('camera', 'world'):
            raise DatasetError(
                f'SkeletonVariation changes clips with joints only, in frame camera or world (labels="joints_only" of '
                f'MotionClips); got frame {sample.frame!r} and {", ".join(found) or "no other fields"}'
                f'{"" if sample.joints_3d is not None else ", no joints_3d"}'
            )
        change = self.draw(rng)
        joints, valid = sample.joints_3d.double().numpy(), sample.joints_valid.numpy()
        shift = np.zeros_like(joints)
        for hand, side in enumerate(sample.require('hand_side').tolist()):
            if valid[:, hand].any():
                filled = fill_gaps(joints[:, hand], valid[:, hand])
                shift[:, hand] = change(filled, side) - filled
        meta = {**sample.meta, AUGMENTED: sample.meta.get(AUGMENTED, dict(flip=0.0))}
        changes = dict(joints_3d=_moved(joints, shift, valid))
        if sample.input_joints_3d is not None:
            given = sample.require('input_valid')[..., None].expand(valid.shape).numpy()
            if sample.input_joints_valid is not None:
                given = given & sample.input_joints_valid.numpy()
            changes['input_joints_3d'] = _moved(sample.input_joints_3d.double().numpy(), shift, given)
        return sample.replace(meta=meta, **dict.fromkeys(DROPPED), **changes)

    def draw(self, rng: np.random.Generator) -> SkeletonChange:
        """Draws a change.

        Args:
            rng: source of the draw.
        """
        factors = 1 + rng.uniform(-self.bones, self.bones, 21)
        factors[_FINGER_BONES] *= 1 + rng.uniform(-self.fingers, self.fingers, (5, 1))
        return SkeletonChange(factors, rng.uniform(-self.joints, self.joints, (21, 3)))


def bone_frame(bone: NDArray[np.float64], palm: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Computes the axes of a bone.

    Args:
        bone: (T, 3) from its parent to the joint.
        palm: (T, 3, 3) axes of the palm, as columns.
        side: 0 left, 1 right; the third axis of left hands is reversed.

    Returns:
        (T, 3, 3), columns: along the bone, across it towards the index finger (about which fingers bend, so the two are
        never parallel), and out of the palm.
    """
    along = bone / np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), 1e-9)
    across = palm[..., 1] - (palm[..., 1] * along).sum(-1, keepdims=True) * along
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    return np.stack([along, across, np.cross(along, across) * (1 if side else -1)], -1)


def _moved(joints: NDArray, shift: NDArray, valid: NDArray) -> torch.Tensor:
    return torch.from_numpy(np.where(valid[..., None], joints + shift, 0).astype(np.float32))
