"""Other places, turns, sizes and sides of recorded motion: one draw a clip, for the truth, before any noise.

Legend: T frames, H hands, J0 the wrist of the hand model at rest.
"""

from functools import lru_cache

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handpose.datasets.base import DatasetError, hand_model_of
from handpose.hands import ProceduralHand
from handpose.registry import HAND_MODELS, TRANSFORMS

_REFUSED = ('images', 'vertices', 'input_joints_3d', 'future_joints_3d')
_DROPPED = ('boxes', 'object_boxes', 'joints_2d', 'joints_2d_valid')  # places in pictures, where the hand no longer is
_NEAREST = 0.15  # metres: what comes nearer to the camera's plane is pushed away to it
_PER_HAND = {
    1: ('hand_valid', 'joints_3d', 'joints_valid', 'hand_pose', 'hand_transl', 'hand_pose_valid'),
    2: ('occlusion',),
    0: ('hand_shape',),
}
_SAME = 1e-4  # metres: two sides of a hand model that differ by less are mirror images


@TRANSFORMS.register_module()
class MotionAugmentation:
    """Turns, scales, moves and mirrors a clip of poses (no pictures) in the camera's frame.

    Every hand, in every frame, moves as one: its wrist as a point of the clip, which is turned and scaled about the
    mean of its joints, and the hand about its wrist. Hand-model parameters stay those of the same hand. Since a hand
    model has no scale, a clip with hand-model parameters gets only the wrists' paths scaled; a clip of joints alone is
    scaled whole.

    A flip is x -> -x: the hand becomes one of the other side, with the parameters of its mirror image. If the two sides
    of the hand model are no mirror images, clips with its parameters are never flipped. The input of a refiner must not
    be there yet: noise depends on the camera, and comes after this. Boxes and 2D joints are dropped.

    Args:
        turn: radians, the largest turn about an axis parallel to the optical axis; pi is any turn.
        tilt: radians, the largest turn about the other two axes together.
        scale: (smallest, largest) factor; its logarithm is drawn evenly.
        shift: metres, (largest across, largest along the optical axis).
        flip: the chance of a flip.
        hand_model: the model of the clips' parameters, or its config; default ProceduralHand.

    Raises:
        DatasetError: options that cannot be, a clip with pictures or an input, in another frame, or of another model.
    """

    def __init__(self, turn=np.pi, tilt=0.5, scale=(0.9, 1.1), shift=(0.1, 0.2), flip=0.5, hand_model=None):
        if not 0 < scale[0] <= scale[1] or not 0 <= flip <= 1 or min(turn, tilt, *shift) < 0:
            raise DatasetError(
                f'MotionAugmentation needs 0 < smallest <= largest scale, a chance of flips from 0 to 1, and no '
                f'negative turn, tilt or shift; got scale={scale}, flip={flip}, turn={turn}, tilt={tilt}, shift={shift}'
            )
        self.turn, self.tilt, self.scale, self.shift, self.flip = turn, tilt, scale, shift, flip
        self.hand_model = HAND_MODELS.build(hand_model) if isinstance(hand_model, dict) else hand_model

    def __call__(self, sample, rng):
        """Returns the changed clip."""
        _check(sample)
        sample = sample.replace(**dict.fromkeys(_DROPPED))
        rotation = self._rotation(rng)
        factor = float(np.exp(rng.uniform(*np.log(self.scale))))
        shift = rng.uniform(-1, 1, 3) * (self.shift[0], self.shift[0], self.shift[1])
        flipped = rng.random() < self.flip
        model = self._model_of(sample)
        if flipped and (model is None or are_mirrored(model)):
            sample = flip_clip(sample, model)
        return move_clip(sample, rotation, factor, shift, model)

    def _rotation(self, rng):
        about_ray, direction, tilt = rng.uniform(-self.turn, self.turn), rng.uniform(-np.pi, np.pi), rng.uniform()
        axis = np.array([np.cos(direction), np.sin(direction), 0])
        # The square root spreads the tilts evenly over the cap of directions.
        return Rotation.from_rotvec(self.tilt * np.sqrt(tilt) * axis) * Rotation.from_rotvec([0, 0, about_ray])

    def _model_of(self, sample):
        if sample.hand_pose is None:
            return None
        if self.hand_model is None:
            self.hand_model = ProceduralHand()
        return hand_model_of(sample.meta.get('hand_model'), self.hand_model, sample.meta.get('sequence'))


def move_clip(sample, rotation, factor, shift, model=None):
    """Turns a clip about the mean of its joints, scales it and shifts it.

    Args:
        sample: HandSequence in the camera's frame. rotation: scipy Rotation. factor: of scale. shift: (3,) metres.
        model: the hand model of its parameters; with one, hands keep their size.
    """
    joints, valid = sample.joints_3d.double().numpy(), sample.joints_valid.numpy()
    if not valid.any():
        return sample
    matrix, centre = rotation.as_matrix(), joints[valid].mean(0)
    # A hand whose wrist is unknown is moved about its known joints' mean.
    weight = np.where(valid[..., :1], np.arange(21) == 0, valid)[..., None]
    middle = (weight * joints).sum(2, keepdims=True) / np.maximum(weight.sum(2, keepdims=True), 1)
    place = factor * (middle - centre) @ matrix.T + centre + shift
    size = factor if sample.hand_pose is None else 1.0
    moved = size * (joints - middle) @ matrix.T + place
    nearest = moved[valid][:, 2].min()
    away = np.array([0, 0, max(0.0, min(_NEAREST, joints[valid][:, 2].min()) - nearest)])
    moved, place = np.where(valid[..., None], moved + away, 0), place + away
    changes = {'joints_3d': torch.from_numpy(moved.astype(np.float32))}
    if sample.hand_pose is not None:
        pose, rest = sample.hand_pose.double().numpy(), _rest_wrist(model, sample)
        pose[:, :, 0] = (
            (rotation * Rotation.from_rotvec(pose[:, :, 0].reshape(-1, 3))).as_rotvec().reshape(*pose.shape[:2], 3)
        )
        transl = (sample.hand_transl.double().numpy() + rest - middle[:, :, 0]) @ matrix.T + place[:, :, 0] - rest
        changes |= _masked(pose, transl, sample.hand_pose_valid)
    return sample.replace(**changes)


def flip_clip(sample, model=None):
    """The mirror image of a clip, x -> -x: left hands become right ones; two hands change places.

    Args:
        sample: HandSequence in the camera's frame. model: the hand model of its parameters; its sides must be mirror
            images.
    """
    changes = {'joints_3d': sample.joints_3d * sample.joints_3d.new_tensor([-1.0, 1.0, 1.0])}
    two = len(sample.hand_side) == 2
    side = sample.hand_side if two else 1 - sample.hand_side
    if sample.hand_pose is not None:
        wrist = sample.hand_transl.double().numpy() + _rest_wrist(model, sample)
        rest = _rest_wrist(model, sample.replace(hand_side=1 - sample.hand_side))
        pose = sample.hand_pose.double().numpy() * (1, -1, -1)
        changes |= _masked(pose, wrist * (-1, 1, 1) - rest, sample.hand_pose_valid)
    sample = sample.replace(hand_side=side, **changes)
    if not two:
        return sample
    names = [(name, axis) for axis, group in _PER_HAND.items() for name in group]
    return sample.replace(**{n: getattr(sample, n).flip(axis) for n, axis in names if getattr(sample, n) is not None})


@lru_cache(maxsize=4)
def are_mirrored(model):
    """Whether a left hand of `model` is the mirror image of the right one with mirrored parameters."""
    generator = torch.Generator().manual_seed(0)
    pose, shape = 0.3 * torch.randn(16, 3, generator=generator), torch.randn(10, generator=generator)
    with torch.no_grad():
        right = model(pose, shape, torch.zeros(3), torch.tensor(1)).joints
        left = model(pose * torch.tensor([1.0, -1, -1]), shape, torch.zeros(3), torch.tensor(0)).joints
    return bool((left * torch.tensor([-1.0, 1, 1]) - right).abs().max() < _SAME)


def _masked(pose, transl, valid):
    known = valid.numpy()[..., None]
    pose, transl = np.where(known[..., None], pose, 0), np.where(known, transl, 0)
    return {
        'hand_pose': torch.from_numpy(pose.astype(np.float32)),
        'hand_transl': torch.from_numpy(transl.astype(np.float32)),
    }


def _rest_wrist(model, sample):
    """J0 (H, 3) float64."""
    with torch.no_grad():
        return model.rest_wrist(sample.hand_shape, sample.hand_side).double().numpy()


def _check(sample):
    for name in _REFUSED:
        if getattr(sample, name) is not None:
            raise DatasetError(
                f'MotionAugmentation moves poses alone, and this clip has {name}: put it before what makes the input '
                f'of a refiner, and use it on clips without pictures'
            )
    if sample.joints_3d is None or sample.joints_valid is None or sample.frame != 'camera':
        raise DatasetError(
            f"MotionAugmentation needs joints_3d in the camera's frame, got a clip in frame {sample.frame!r} "
            f'{"without" if sample.joints_3d is None else "with"} joints_3d'
        )
