"""Simulates the input of a refiner: the ground-truth joints of a clip with the errors of a per-frame estimator."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.io.errors import DatasetError, check_choice
from handpose.datasets.transforms.noise_family import FAMILY, HELD_OUT_FAMILY, draw_joint_set
from handpose.datasets.transforms.noise_model import simulate_estimate
from handpose.datasets.transforms.noise_options import PRESETS, NoiseOptions, scale_errors
from handpose.datasets.transforms.noise_processes import burst_mask, sample_bursts
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence
from handpose.text import did_you_mean

_OF_THE_TRUTH = ('hand_pose', 'vertices', 'joints_2d')


@TRANSFORMS.register_module()
class EstimatorNoise:
    """Fills `input_joints_3d`, `input_valid` and `input_confidence` from the ground-truth joints of a clip or a track.

    The errors are those of docs/data/noise_model.md. Frames without a hand, and padding, have no estimate. All errors
    of a clip are sampled together and determined by the generator.

    Errors depend on the direction from which a hand is seen. For a clip in the world, which has no camera of its own, a
    camera is drawn that stands still around the hands and looks at them; the input is in the world again.

    Args:
        preset: 'hamer_dexycb'; 'family', another estimator in each clip (`NoiseFamily`); or 'silent', no errors at all.
        changes: {name: value} of `NoiseOptions` that differ from the preset, in every clip.
        camera_distance: metres, the shortest and the longest, from such a camera to the middle of the clip's hands;
            None refuses clips in the world.
        probability: share of the clips that have errors; the input of the others is the truth.
        strength: factor of all errors of position, orientation and size, from 0; see `scale_errors`.
        held_out: for 'family': the estimators for testing, which are none of those for training (`HELD_OUT_FAMILY`).
        joint_sets: share of the clips whose estimator gives only some joints (`draw_joint_set`), the same ones in all
            frames and of both hands. If above 0, `input_joints_valid` is filled in all clips.
        target: 'truth', or 'attainable': `joints_3d` becomes the truth with the constant and slow errors of the input,
            which no temporal method can remove (`SimulatedEstimate`). For training only.

    Raises:
        DatasetError: an unknown preset, option or target, distances that are not positive and in order, a probability
            or share out of 0 to 1, a strength below 0, or `held_out` with another preset than 'family'.
    """

    def __init__(
        self,
        preset: str = 'hamer_dexycb',
        changes: Mapping[str, Any] | None = None,
        camera_distance: tuple[float, float] | None = None,
        probability: float = 1.0,
        strength: float = 1.0,
        held_out: bool = False,
        joint_sets: float = 0.0,
        target: str = 'truth',
    ) -> None:
        check_choice('preset', preset, (*PRESETS, 'family'))
        check_choice('target', target, ('truth', 'attainable'))
        for name, share in dict(probability=probability, joint_sets=joint_sets).items():
            if not 0 <= share <= 1:
                raise DatasetError(f'EstimatorNoise: {name} must be from 0 to 1, got {share!r}')
        if not 0 <= strength < np.inf:
            raise DatasetError(f'EstimatorNoise: strength must be a number from 0, got {strength!r}')
        if held_out and preset != 'family':
            raise DatasetError(f"EstimatorNoise: held_out needs preset='family', got preset={preset!r}")
        self.probability, self.joint_sets, self.target, self.strength = probability, joint_sets, target, strength
        self.changes = dict(changes or {})
        self.family = None if preset != 'family' else HELD_OUT_FAMILY if held_out else FAMILY
        self.preset = PRESETS['silent' if self.family else preset]
        change_options(self.preset, self.changes)
        if camera_distance is not None and not 0 < camera_distance[0] <= camera_distance[1] < np.inf:
            raise DatasetError(
                f'EstimatorNoise: camera_distance must be the shortest and the longest distance in metres, both above '
                f'0, got {camera_distance!r}'
            )
        self.camera_distance = camera_distance

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Simulates the input of a clip.

        Args:
            sample: with joints in the camera's frame, or, with `camera_distance`, in the world.
            rng: source of the errors.

        Returns:
            The clip with its input. A clip that has the predictions of an estimator already keeps them.

        Raises:
            DatasetError: a clip without joints, or in another coordinate frame; for an attainable target, a clip with
                other targets than joints.
        """
        if sample.input_joints_3d is not None:
            return sample
        self._check(sample)
        sample = self._with_input(sample, rng)
        if not self.joint_sets:
            return sample
        given = draw_joint_set(rng) if rng.random() < self.joint_sets else np.ones(21, bool)
        return keep_joints(sample, torch.from_numpy(given))

    def draw_options(self, rng: np.random.Generator) -> NoiseOptions:
        """Draws the noise of a clip; that of a preset other than 'family' is always the same.

        Args:
            rng: source of the draw.

        Returns:
            The options, with the changes and the strength.
        """
        preset = self.family.draw(rng) if self.family else self.preset
        return scale_errors(change_options(preset, self.changes), self.strength)

    def _check(self, sample: HandSequence) -> None:
        if sample.joints_3d is None or sample.joints_valid is None:
            raise DatasetError('EstimatorNoise needs joints_3d and joints_valid, which this clip lacks')
        in_world = sample.frame == 'world'
        if sample.frame != 'camera' and not (in_world and self.camera_distance):
            advice = '; in the world, say how far a camera would be: camera_distance=(0.4, 0.8)'
            raise DatasetError(
                f"EstimatorNoise needs joints in the camera's frame, got frame {sample.frame!r}: errors depend on "
                f'depth{advice if in_world else ""}'
            )
        other = [name for name in _OF_THE_TRUTH if getattr(sample, name) is not None]
        if self.target == 'attainable' and other:
            raise DatasetError(
                f"EstimatorNoise: target='attainable' changes joints_3d, but this clip also has {', '.join(other)}, "
                f"which would contradict it: train on joints only (labels='joints_only' of MotionClips)"
            )

    def _with_input(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        if self.probability < 1 and rng.random() >= self.probability:
            return _perfect_input(sample)
        options = self.draw_options(rng)
        known = sample.require('joints_valid').numpy()
        target, in_world = sample.require('joints_3d').double().numpy(), sample.frame == 'world'
        present = present_hands(sample)
        rotmat, offset = np.eye(3), np.zeros(3)
        if in_world:
            annotated = target[known & present[..., None]]
            assert self.camera_distance is not None
            rotmat, offset = draw_camera(rng, annotated, self.camera_distance)
            target = target @ rotmat.T + offset
        fps = float(sample.meta.get('fps') or 30.0)
        joints, attainable = np.zeros((2, *target.shape))
        valid, confidence = np.zeros(present.shape, bool), np.zeros(target.shape[:-1])
        for hand, side in enumerate(sample.require('hand_side').tolist()):
            if not present[:, hand].any():
                continue
            filled = fill_gaps(target[:, hand], known[:, hand] & present[:, hand, None])
            occlusion = None if sample.occlusion is None else sample.occlusion[:, 0, hand].numpy()
            simulated = simulate_estimate(filled, side, fps, options, rng, occlusion)
            valid[:, hand] = simulated.valid & present[:, hand]
            joints[:, hand], confidence[:, hand] = simulated.joints, simulated.confidence
            attainable[:, hand] = simulated.attainable
        if joints.shape[1] == 2:
            _swap_hands(rng, fps, options, joints, valid, confidence)
        if in_world:  # elsewhere nothing may change by rounding
            joints, attainable = ((points - offset) @ rotmat for points in (joints, attainable))
        joints[~valid], confidence[~valid], attainable[~known] = 0, 0, 0
        if self.target == 'attainable':
            sample = sample.replace(joints_3d=torch.from_numpy(attainable.astype(np.float32)))
        return sample.replace(
            input_joints_3d=torch.from_numpy(joints.astype(np.float32)),
            input_valid=torch.from_numpy(valid),
            input_confidence=torch.from_numpy(confidence.astype(np.float32)),
        )


def keep_joints(sample: HandSequence, given: torch.Tensor) -> HandSequence:
    """Removes joints from the input of a clip.

    Args:
        sample: a clip with input.
        given: (21,) bool, the joints that stay.

    Returns:
        The clip with `input_joints_valid`; the input of other joints, and its confidence, are 0.
    """
    keep = sample.require('input_valid')[..., None] & given
    return sample.replace(
        input_joints_3d=torch.where(keep[..., None], sample.require('input_joints_3d'), 0),
        input_confidence=torch.where(keep, sample.require('input_confidence'), 0),
        input_joints_valid=keep,
    )


def draw_camera(
    rng: np.random.Generator, points: NDArray, distance: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draws a camera that looks at the middle of points from any side.

    Args:
        rng: source of the draw.
        points: (N, 3) metres, world; none are at the origin.
        distance: metres from the camera to their middle, the shortest and the longest.

    Returns:
        Rotation (3, 3) and translation (3,), world to camera.
    """
    from scipy.spatial.transform import Rotation  # loaded here: scipy takes long to import

    rotmat = Rotation.from_quat(rng.standard_normal(4)).as_matrix()  # uniform
    depth = rng.uniform(*distance)
    centre = points.mean(0) if len(points) else np.zeros(3)
    return rotmat, np.array([0, 0, depth]) - rotmat @ centre


def present_hands(sample: HandSequence) -> NDArray[np.bool_]:
    """Finds the hands that an estimator would see.

    Args:
        sample: a clip with joints_valid.

    Returns:
        (T, H): annotated, and the frame is no padding.
    """
    assert sample.joints_valid is not None
    present = np.any(sample.joints_valid.numpy(), axis=-1)
    return present if sample.frame_valid is None else present & sample.frame_valid.numpy()[:, None]


def _perfect_input(sample: HandSequence) -> HandSequence:
    """The clip with its true joints as the input."""
    joints, known = sample.require('joints_3d'), sample.require('joints_valid')
    valid = known.any(-1)
    if sample.frame_valid is not None:
        valid = valid & sample.frame_valid[:, None]
    there = valid[..., None] & known
    return sample.replace(
        input_joints_3d=torch.where(there[..., None], joints, 0), input_valid=valid, input_confidence=there.float()
    )


def noise_options(preset: str = 'hamer_dexycb', changes: Mapping[str, Any] | None = None) -> NoiseOptions:
    """Changes some options of a preset.

    Args:
        preset: a key of `PRESETS`.
        changes: {name: value}.

    Returns:
        The options.

    Raises:
        DatasetError: an unknown option, or fractions that do not match the time constants.
    """
    return change_options(PRESETS[preset], changes or {})


def change_options(options: NoiseOptions, changes: Mapping[str, Any]) -> NoiseOptions:
    """Changes some options.

    Args:
        options: any.
        changes: {name: value}.

    Returns:
        The options.

    Raises:
        DatasetError: an unknown option, or fractions that do not match the time constants.
    """
    known = [field.name for field in fields(NoiseOptions)]
    for name in changes:
        if name not in known:
            raise DatasetError(
                f'the noise has no option {name!r} (it has: {", ".join(known)}).{did_you_mean(name, known)}'
            )
    options = replace(options, **changes)
    for prefix in ('time', 'joint_drift'):
        times = 'time_constants' if prefix == 'time' else 'joint_drift_times'
        constants, fractions = vars(options)[times], vars(options)[f'{prefix}_fractions']
        if len(constants) != len(fractions) or sum(fractions) <= 0:
            raise DatasetError(
                f'expected a fraction in {prefix}_fractions for each of {times}, and a sum above 0, got {constants} '
                f'and {fractions}'
            )
    return options


def fill_gaps(joints: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fills joints that are not valid from the nearest frames, linearly in between.

    A joint that is never valid gets the position of the wrist, or of the first valid joint of the hand.

    Args:
        joints: (T, 21, 3).
        valid: (T, 21).

    Returns:
        (T, 21, 3).
    """
    if valid.all():
        return joints
    filled, frames = joints.copy(), np.arange(len(joints))
    never = []
    for joint in range(joints.shape[1]):
        annotated = np.flatnonzero(valid[:, joint])
        if not len(annotated):
            never.append(joint)
        elif len(annotated) < len(frames):
            for axis in range(3):
                filled[:, joint, axis] = np.interp(frames, annotated, joints[annotated, joint, axis])
    if never:
        filled[:, never] = filled[:, [int(valid.any(0).argmax())]]
    return filled


def _swap_hands(
    rng: np.random.Generator, fps: float, options: NoiseOptions, joints: NDArray, valid: NDArray, confidence: NDArray
) -> None:
    """Swaps the estimates (T, 2, ...) of the two hands in bursts, if both are valid."""
    begin, end = sample_bursts(rng, len(joints), fps, options.swap_rate, options.swap_duration)
    swapped = burst_mask(begin, end, len(joints), fps).any(0) & valid.all(1)
    for values in (joints, confidence):
        values[swapped] = values[swapped, ::-1]
