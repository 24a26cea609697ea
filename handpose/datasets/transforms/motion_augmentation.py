"""Rotates, scales, shifts and flips recorded motion, the ground truth and the input of a refiner in the same way.

Legend: T frames, H hands, V vertices, J0 the wrist of the hand model at rest.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.hand_models import matching_hand_model
from handpose.hands import HandModel, ProceduralHand
from handpose.registry import HAND_MODELS, TRANSFORMS
from handpose.structures import HandSequence

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

AUGMENTED = 'motion_augmentation'  # the key of `meta` that marks changed clips for later transforms and refiners
_REFUSED = ('images', 'vertices', 'future')
DROPPED = ('boxes', 'object_boxes', 'joints_2d', 'joints_2d_valid')  # of images, where the hand no longer is
_MIN_DEPTH = 0.15  # metres: a clip that comes nearer to the camera is moved away to this depth
_PER_HAND = {
    1: (
        'hand_valid',
        'joints_3d',
        'joints_valid',
        'hand_pose',
        'hand_transl',
        'hand_pose_valid',
        'input_joints_3d',
        'input_valid',
        'input_confidence',
        'input_joints_valid',
    ),
    2: ('occlusion',),
    0: ('hand_shape',),
}
_MIRROR_TOLERANCE = 1e-4  # metres: two sides of a hand model that differ by less are mirror images
_SHAPE_TOLERANCE = 2e-3  # metres


@TRANSFORMS.register_module()
class MotionAugmentation:
    """Rotates, scales, shifts and flips a clip of poses (no images) in the camera's frame.

    One similarity transform about the mean of the ground-truth joints is applied to all points of a clip, of both hands
    and all frames. The input of a refiner, if the clip has one already (`LoadPredictions`), is transformed in the same
    way, so its error is rotated and scaled with the hand. The noise model comes after this transform, since noise
    depends on the camera. Boxes and 2D joints are dropped.

    Hand-model parameters follow: rotations and translations exactly, the shape by a least-squares fit to the scaled
    hand at rest. If no shape fits well enough, the parameters of that hand become invalid (`hand_pose_valid`) and its
    joints are kept.

    A refiner subtracts the mean of the wrist, so a shift does not change its input; shifts act through the noise model,
    whose errors depend on depth.

    A flip is x -> -x: the hand becomes one of the other side, with the parameters of its mirror image. If the two sides
    of the hand model are not mirror images, clips with its parameters are never flipped. A refiner with
    `mirror_left_hands=True` mirrors a flipped hand back, so a flip would only be another rotation: it refuses to train
    on clips with `flip` above 0.

    Args:
        rotation: radians, the largest rotation about an axis parallel to the optical axis; pi is any rotation.
        tilt: radians, the largest rotation about the other two axes together.
        scale: (smallest, largest) factor; its logarithm is uniform.
        shift: metres, (largest across, largest along the optical axis).
        flip: probability of a flip, for refiners with `mirror_left_hands=False`.
        hand_model: the model of the clips' parameters, or its config; default ProceduralHand.
        shape_tolerance: metres, by which a joint of the fitted hand at rest may differ from the scaled one.

    Raises:
        DatasetError: invalid options.
    """

    def __init__(
        self,
        rotation: float = np.pi,
        tilt: float = 0.5,
        scale: tuple[float, float] = (0.9, 1.1),
        shift: tuple[float, float] = (0.1, 0.2),
        flip: float = 0.0,
        hand_model: HandModel | dict[str, Any] | None = None,
        shape_tolerance: float = _SHAPE_TOLERANCE,
    ) -> None:
        if not 0 < scale[0] <= scale[1] or not 0 <= flip <= 1 or min(rotation, tilt, shape_tolerance, *shift) < 0:
            raise DatasetError(
                f'MotionAugmentation needs 0 < smallest <= largest scale, a probability of flips from 0 to 1, and no '
                f'negative rotation, tilt, shift or shape_tolerance; got scale={scale}, flip={flip}, '
                f'rotation={rotation}, tilt={tilt}, shift={shift}, shape_tolerance={shape_tolerance}'
            )
        self.rotation, self.tilt, self.scale, self.shift, self.flip = rotation, tilt, scale, shift, flip
        self.shape_tolerance = shape_tolerance
        self.hand_model = HAND_MODELS.build(hand_model) if isinstance(hand_model, dict) else hand_model

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Augments a clip.

        Args:
            sample: with joints in the camera's frame, without images and vertices.
            rng: source of the random draws.

        Returns:
            The changed clip, with `meta['motion_augmentation']`.

        Raises:
            DatasetError: a clip with images, in another coordinate frame, or of another hand model.
        """
        _check(sample)
        meta = {**sample.meta, AUGMENTED: dict(flip=self.flip)}
        sample = sample.replace(meta=meta, **dict.fromkeys(DROPPED))
        rotation = self._sample_rotation(rng)
        factor = float(np.exp(rng.uniform(*np.log(self.scale))))
        shift = rng.uniform(-1, 1, 3) * (self.shift[0], self.shift[0], self.shift[1])
        flipped = rng.random() < self.flip
        model = self._model_of(sample)
        if flipped and (model is None or are_mirrored(model)):
            sample = flip_clip(sample, model)
        return move_clip(sample, rotation, factor, shift, model, self.shape_tolerance)

    def _sample_rotation(self, rng: np.random.Generator) -> 'Rotation':
        from scipy.spatial.transform import Rotation  # loaded here: scipy takes long to import

        about_ray, direction, tilt = (
            rng.uniform(-self.rotation, self.rotation),
            rng.uniform(-np.pi, np.pi),
            rng.uniform(),
        )
        axis = np.array([np.cos(direction), np.sin(direction), 0])
        # The square root makes the directions uniform on a disc.
        return Rotation.from_rotvec(self.tilt * np.sqrt(tilt) * axis) * Rotation.from_rotvec([0, 0, about_ray])

    def _model_of(self, sample: HandSequence) -> HandModel | None:
        if sample.hand_pose is None:
            return None
        if self.hand_model is None:
            self.hand_model = ProceduralHand()
        return matching_hand_model(sample.meta.get('hand_model'), self.hand_model, sample.meta.get('sequence'))


def move_clip(
    sample: HandSequence,
    rotation: 'Rotation',
    factor: float,
    shift: NDArray[np.float64],
    model: HandModel | None = None,
    shape_tolerance: float = _SHAPE_TOLERANCE,
) -> HandSequence:
    """Rotates and scales a clip about the mean of its ground-truth joints and shifts it, with its refiner's input.

    Args:
        sample: a clip in the camera's frame.
        rotation: about the mean.
        factor: of scale.
        shift: (3,) metres.
        model: the hand model of its parameters; required if it has any.
        shape_tolerance: metres; see `MotionAugmentation`.

    Returns:
        The moved clip. Parameters are invalid for hands that no shape fits well enough.
    """
    joints, valid = sample.joints_3d.double().numpy(), sample.joints_valid.numpy()
    if not valid.any():
        return sample
    matrix, centre = rotation.as_matrix(), joints[valid].mean(0)
    away = np.zeros(3)  # from the camera

    def move(points: NDArray) -> NDArray:
        return factor * (points - centre) @ matrix.T + centre + shift + away

    nearest = move(joints)[valid][:, 2].min()
    away = np.array([0, 0, max(0.0, min(_MIN_DEPTH, joints[valid][:, 2].min()) - nearest)])
    changes = {'joints_3d': _float32(np.where(valid[..., None], move(joints), 0))}
    if sample.input_joints_3d is not None:
        has_input = sample.input_valid.numpy()[..., None, None]
        changes['input_joints_3d'] = _float32(np.where(has_input, move(sample.input_joints_3d.double().numpy()), 0))
    if sample.hand_pose is not None:
        pose = sample.hand_pose.double().numpy()
        root = rotation * type(rotation).from_rotvec(pose[:, :, 0].reshape(-1, 3))
        pose[:, :, 0] = root.as_rotvec().reshape(*pose.shape[:2], 3)
        wrist = move(sample.hand_transl.double().numpy() + _rest_wrist(model, sample))
        shape, error = scale_shape(model, sample.hand_shape, sample.hand_side, factor)
        sample = sample.replace(
            hand_shape=shape.to(sample.hand_shape), hand_pose_valid=sample.hand_pose_valid & (error <= shape_tolerance)
        )
        changes |= _masked(pose, wrist - _rest_wrist(model, sample), sample.hand_pose_valid)
    return sample.replace(**changes)


def scale_shape(model: HandModel, hand_shape: Tensor, hand_side: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Computes shapes of hands `factor` times as large, by least squares over joints and vertices at rest.

    Hand models are linear in their shape at rest. All joints together have the same weight as all vertices. Shape
    parameters that the change does not need keep their values.

    Args:
        model: the hand model.
        hand_shape: (H, 10).
        hand_side: (H,) 0 left, 1 right.
        factor: of scale.

    Returns:
        Shapes (H, 10) float64, and (H,) metres, the largest distance of a joint at rest from its scaled position, both
        relative to the wrist.
    """
    shapes, errors = [], []
    for shape, side in zip(hand_shape.double(), hand_side.tolist(), strict=True):
        rest, directions, inverse = _shape_space(model, side)
        change = (factor - 1) * (rest + directions @ shape)
        step = inverse @ change
        residual = (directions @ step - change)[: 21 * 3].view(21, 3)
        shapes.append(shape + step)
        errors.append(residual.norm(dim=-1).max())
    return torch.stack(shapes), torch.stack(errors)


def flip_clip(sample: HandSequence, model: HandModel | None = None) -> HandSequence:
    """Mirrors a clip, x -> -x, with its refiner's input: left hands become right ones.

    Two hands are swapped, so that the left one is still first.

    Args:
        sample: a clip in the camera's frame.
        model: the hand model of its parameters, whose sides must be mirror images; required if it has any.

    Returns:
        The mirrored clip.
    """
    points = [name for name in ('joints_3d', 'input_joints_3d') if getattr(sample, name) is not None]
    mirror = sample.joints_3d.new_tensor([-1.0, 1.0, 1.0])
    changes = {name: getattr(sample, name) * mirror for name in points}
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
def are_mirrored(model: HandModel) -> bool:
    """Checks whether a left hand of a model is the mirror image of the right one with mirrored parameters.

    Args:
        model: the hand model.

    Returns:
        True if it is.
    """
    generator = torch.Generator().manual_seed(0)
    pose, shape = 0.3 * torch.randn(16, 3, generator=generator), torch.randn(10, generator=generator)
    with torch.no_grad():
        right = model(pose, shape, torch.zeros(3), torch.tensor(1)).joints
        left = model(pose * torch.tensor([1.0, -1, -1]), shape, torch.zeros(3), torch.tensor(0)).joints
    return bool((left * torch.tensor([-1.0, 1, 1]) - right).abs().max() < _MIRROR_TOLERANCE)


class _ShapeSpace(NamedTuple):
    """A hand at rest relative to its wrist, 21 joints and then V vertices, as a linear function of shape."""

    rest: Tensor  # (3 (21 + V),) of the mean shape
    directions: Tensor  # (3 (21 + V), 10)
    inverse: Tensor  # (10, 3 (21 + V)), least squares with the joints' weight


@lru_cache(maxsize=8)
def _shape_space(model: HandModel, side: int) -> _ShapeSpace:
    shapes = torch.cat([torch.zeros(1, 10), torch.eye(10)])
    with torch.no_grad():
        hand = model(torch.zeros(11, 16, 3), shapes, torch.zeros(11, 3), torch.full((11,), side))
    points = (torch.cat([hand.joints, hand.vertices], 1) - hand.joints[:, :1]).double()
    directions = (points[1:] - points[0]).flatten(1).T
    weight = torch.ones(points.shape[1], 3, dtype=torch.float64)
    weight[:21] = (hand.vertices.shape[1] / 21) ** 0.5
    weight = weight.flatten()
    inverse = torch.linalg.pinv(weight[:, None] * directions, rtol=1e-5) * weight
    return _ShapeSpace(points[0].flatten(), directions, inverse)


def _float32(values: NDArray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _masked(pose: NDArray, transl: NDArray, valid: Tensor) -> dict[str, Tensor]:
    mask = valid.numpy()[..., None]
    pose, transl = np.where(mask[..., None], pose, 0), np.where(mask, transl, 0)
    return {'hand_pose': _float32(pose), 'hand_transl': _float32(transl)}


def _rest_wrist(model: HandModel, sample: HandSequence) -> NDArray[np.float64]:
    """J0 (H, 3)."""
    with torch.no_grad():
        return model.rest_wrist(sample.hand_shape, sample.hand_side).double().numpy()


def _check(sample: HandSequence) -> None:
    for name in _REFUSED:
        if getattr(sample, name) is not None:
            raise DatasetError(
                f'MotionAugmentation moves poses only, and this clip has {name}, which it cannot move: use it for '
                f'clips without images, meshes and forecasts'
            )
    if sample.joints_3d is None or sample.joints_valid is None or sample.frame != 'camera':
        raise DatasetError(
            f"MotionAugmentation needs joints_3d in the camera's frame, got a clip in frame {sample.frame!r} "
            f'{"without" if sample.joints_3d is None else "with"} joints_3d'
        )
    if sample.input_joints_3d is not None and sample.input_valid is None:
        raise DatasetError(
            'MotionAugmentation needs input_valid with input_joints_3d, and this clip has none: fill both, as '
            'LoadPredictions does'
        )
