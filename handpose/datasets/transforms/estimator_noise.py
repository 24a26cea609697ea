"""Simulates the input of a refiner: the ground-truth joints of a clip with the errors of a per-frame estimator."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.datasets.io.errors import DatasetError, check_choice
from handpose.datasets.transforms.noise_model import PRESETS, NoiseOptions, scale_errors, simulate_estimate
from handpose.datasets.transforms.noise_processes import burst_mask, sample_bursts
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence
from handpose.text import did_you_mean


@TRANSFORMS.register_module()
class EstimatorNoise:
    """Fills `input_joints_3d`, `input_valid` and `input_confidence` from the ground-truth joints of a clip or a track.

    The errors are those of docs/noise_model.md. Frames without a hand, and padding, have no estimate. All errors of a
    clip are sampled together and determined by the generator.

    Errors depend on the direction from which a hand is seen. For a clip in the world, which has no camera of its own, a
    camera is drawn that stands still around the hands and looks at them; the input is in the world again.

    Args:
        preset: 'hamer_dexycb', or 'silent', no errors at all.
        changes: {name: value} of `NoiseOptions` that differ from the preset.
        camera_distance: metres, the shortest and the longest, from such a camera to the middle of the clip's hands;
            None refuses clips in the world.
        probability: share of the clips that have errors; the input of the others is the truth.
        strength: factor of all errors of position, orientation and size, from 0; see `scale_errors`.

    Raises:
        DatasetError: an unknown preset or option, distances that are not positive and in order, a probability out of 0
            to 1, or a strength below 0.
    """

    def __init__(
        self,
        preset: str = 'hamer_dexycb',
        changes: Mapping[str, Any] | None = None,
        camera_distance: tuple[float, float] | None = None,
        probability: float = 1.0,
        strength: float = 1.0,
    ) -> None:
        check_choice('preset', preset, tuple(PRESETS))
        if not 0 <= probability <= 1:
            raise DatasetError(f'EstimatorNoise: probability must be from 0 to 1, got {probability!r}')
        self.probability = probability
        if not 0 <= strength < np.inf:
            raise DatasetError(f'EstimatorNoise: strength must be a number from 0, got {strength!r}')
        self.options = scale_errors(noise_options(preset, changes), strength)
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
            DatasetError: a clip without joints, or in another coordinate frame.
        """
        if sample.input_joints_3d is not None:
            return sample
        if sample.joints_3d is None or sample.joints_valid is None:
            raise DatasetError('EstimatorNoise needs joints_3d and joints_valid, which this clip lacks')
        in_world = sample.frame == 'world'
        if sample.frame != 'camera' and not (in_world and self.camera_distance):
            advice = '; in the world, say how far a camera would be: camera_distance=(0.4, 0.8)'
            raise DatasetError(
                f"EstimatorNoise needs joints in the camera's frame, got frame {sample.frame!r}: errors depend on "
                f'depth{advice if in_world else ""}'
            )
        if self.probability < 1 and rng.random() >= self.probability:
            return _perfect_input(sample)
        target = sample.joints_3d.double().numpy()
        present = present_hands(sample)
        rotmat, offset = np.eye(3), np.zeros(3)
        if in_world:
            annotated = target[sample.joints_valid.numpy() & present[..., None]]
            assert self.camera_distance is not None
            rotmat, offset = draw_camera(rng, annotated, self.camera_distance)
            target = target @ rotmat.T + offset
        fps = float(sample.meta.get('fps') or 30.0)
        joints, valid = np.zeros(target.shape), np.zeros(present.shape, bool)
        confidence = np.zeros(target.shape[:-1])
        for hand, side in enumerate(sample.hand_side.tolist()):
            if not present[:, hand].any():
                continue
            filled = fill_gaps(target[:, hand], sample.joints_valid[:, hand].numpy() & present[:, hand, None])
            occlusion = None if sample.occlusion is None else sample.occlusion[:, 0, hand].numpy()
            simulated = simulate_estimate(filled, side, fps, self.options, rng, occlusion)
            valid[:, hand] = simulated.valid & present[:, hand]
            joints[:, hand], confidence[:, hand] = simulated.joints, simulated.confidence
        if len(sample.hand_side) == 2:
            _swap_hands(rng, fps, self.options, joints, valid, confidence)
        if in_world:  # elsewhere nothing may change by rounding
            joints = (joints - offset) @ rotmat
        joints[~valid], confidence[~valid] = 0, 0
        return sample.replace(
            input_joints_3d=torch.from_numpy(joints.astype(np.float32)),
            input_valid=torch.from_numpy(valid),
            input_confidence=torch.from_numpy(confidence.astype(np.float32)),
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
    known = [field.name for field in fields(NoiseOptions)]
    for name in changes or {}:
        if name not in known:
            raise DatasetError(
                f'the noise has no option {name!r} (it has: {", ".join(known)}).{did_you_mean(name, known)}'
            )
    options = replace(PRESETS[preset], **(changes or {}))
    if len(options.time_constants) != len(options.time_fractions) or sum(options.time_fractions) <= 0:
        raise DatasetError(
            f'expected a fraction in time_fractions for each of time_constants, and a sum above 0, got '
            f'{options.time_constants} and {options.time_fractions}'
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
