"""Gives a clip the input of a refiner: its true joints as a per-frame estimator would have seen them."""

from dataclasses import fields, replace

import numpy as np
import torch

from handpose.datasets.io.errors import DatasetError, check_choice
from handpose.datasets.transforms.noise_model import PRESETS, NoiseOptions, estimate
from handpose.datasets.transforms.noise_processes import bursts, inside
from handpose.registry import TRANSFORMS, did_you_mean


@TRANSFORMS.register_module()
class EstimatorNoise:
    """Fills `input_joints_3d`, `input_valid` and `input_confidence` from the true joints of a clip or a track.

    The errors are those of docs/noise_model.md. Frames without a hand, and padding, have no estimate. One draw is for a
    whole clip: everything follows from the generator that the dataset gives it.

    Args:
        preset: 'hamer_dexycb', or 'silent', no errors at all.
        changes: {name: value} of `NoiseOptions` that differ from the preset.

    Raises:
        DatasetError: an unknown preset or option, joints that are not in the camera's frame, or a clip without them.
    """

    def __init__(self, preset='hamer_dexycb', changes=None):
        check_choice('preset', preset, tuple(PRESETS))
        self.options = noise_options(preset, changes)

    def __call__(self, sample, rng):
        """Returns the sample with its input."""
        if sample.joints_3d is None or sample.joints_valid is None:
            raise DatasetError('EstimatorNoise needs joints_3d and joints_valid, which this clip lacks')
        if sample.frame != 'camera':
            raise DatasetError(
                f"EstimatorNoise needs joints in the camera's frame, got frame {sample.frame!r}: errors depend on depth"
            )
        truth = sample.joints_3d.double().numpy()
        present = sample.joints_valid.numpy().any(-1)
        if sample.frame_valid is not None:
            present = present & sample.frame_valid.numpy()[:, None]
        fps = float(sample.meta.get('fps') or 30.0)
        joints, valid = np.zeros(truth.shape), np.zeros(present.shape, bool)
        confidence = np.zeros(truth.shape[:-1])
        for hand, side in enumerate(sample.hand_side.tolist()):
            if not present[:, hand].any():
                continue
            filled = fill_gaps(truth[:, hand], sample.joints_valid[:, hand].numpy() & present[:, hand, None])
            occlusion = None if sample.occlusion is None else sample.occlusion[:, 0, hand].numpy()
            drawn = estimate(filled, side, fps, self.options, rng, occlusion)
            valid[:, hand] = drawn.valid & present[:, hand]
            joints[:, hand], confidence[:, hand] = drawn.joints, drawn.confidence
        if len(sample.hand_side) == 2:
            _exchange(rng, fps, self.options, joints, valid, confidence)
        joints[~valid], confidence[~valid] = 0, 0
        return sample.replace(
            input_joints_3d=torch.from_numpy(joints.astype(np.float32)),
            input_valid=torch.from_numpy(valid),
            input_confidence=torch.from_numpy(confidence.astype(np.float32)),
        )


def noise_options(preset='hamer_dexycb', changes=None):
    """A preset with some options changed.

    Raises:
        DatasetError: an option that `NoiseOptions` has not.
    """
    known = [field.name for field in fields(NoiseOptions)]
    for name in changes or {}:
        if name not in known:
            raise DatasetError(
                f'the noise has no option {name!r} (it has: {", ".join(known)}).{did_you_mean(name, known)}'
            )
    options = replace(PRESETS[preset], **(changes or {}))
    if len(options.time_constants) != len(options.time_shares) or sum(options.time_shares) <= 0:
        raise DatasetError(
            f'time_constants and time_shares must be equally many and have shares above 0, got '
            f'{options.time_constants} and {options.time_shares}'
        )
    return options


def fill_gaps(joints, valid):
    """Joints (T, 21, 3) with those that are not valid (T, 21) taken from the nearest frames, linearly in between.

    A joint that is never valid gets the place of the wrist, or of the first valid joint of the hand.
    """
    if valid.all():
        return joints
    filled, frames = joints.copy(), np.arange(len(joints))
    never = []
    for joint in range(joints.shape[1]):
        there = np.flatnonzero(valid[:, joint])
        if not len(there):
            never.append(joint)
        elif len(there) < len(frames):
            for axis in range(3):
                filled[:, joint, axis] = np.interp(frames, there, joints[there, joint, axis])
    if never:
        filled[:, never] = filled[:, [int(valid.any(0).argmax())]]
    return filled


def _exchange(rng, fps, options, joints, valid, confidence):
    """In bursts the two hands' estimates (T, 2, ...) change places, where both are there."""
    begin, end = bursts(rng, len(joints), fps, options.swap_rate, options.swap_duration)
    now = inside(begin, end, len(joints), fps).any(0) & valid.all(1)
    for values in (joints, confidence):
        values[now] = values[now, ::-1]
