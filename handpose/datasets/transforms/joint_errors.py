"""Errors of single joints, late and repeated estimates: the part of the noise model that does not depend on hands.

Legend: T frames, 21 joints in the common order. Metres, seconds; camera axes (OpenCV). `ray` is the unit vector
(T, 1, 3) from the camera to the hand.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.datasets.transforms.noise_options import NoiseOptions
from handpose.datasets.transforms.noise_processes import (
    SLOW,
    Array,
    burst_mask,
    correlated_noise,
    heavy_tailed,
    sample_bursts,
)

_GROUP_OF = np.concatenate([[0], np.repeat(np.arange(1, 6), 4)])  # the wrist, and the fingers
_PARTS = 21 + 6 + 1  # independent errors: of joints, groups, and the whole hand
_LARGEST_NOISE = 12.0  # times the usual noise
_JUMP_FREEDOM, _LARGEST_JUMP = 3.0, 6.0


class JointErrors(NamedTuple):
    """Errors of single joints.

    Attributes:
        total: (T, 21, 3) metres.
        persistent: (T, 21, 3) metres, the part that is constant or slow (time constants of at least `SLOW`).
    """

    total: Array
    persistent: Array


def joint_errors(rng: Generator, palm: Array, ray: Array, fps: float, options: NoiseOptions) -> JointErrors:
    """Samples `joint_drift`, `joint_noise`, `joint_jump` and `joint_offset` of one hand.

    Nothing is drawn for errors that are zero.

    Args:
        rng: source of the errors.
        palm: (T, 3, 3) the axes of the palm as columns, for `joint_offset`.
        ray: (T, 1, 3) from the camera to the hand.
        fps: frames per second.
        options: how large the errors are.
    """
    num_frames = len(palm)
    total, persistent = np.zeros((2, num_frames, 21, 3))
    spread = np.exp(options.joint_spread * rng.standard_normal((21, 1))) if options.joint_spread else 1.0
    if options.joint_drift:
        fractions = options.joint_drift_fractions
        for time, fraction in zip(options.joint_drift_times, fractions, strict=True):
            process = correlated_noise(rng, num_frames, 3 * _PARTS, time, fps).reshape(num_frames, _PARTS, 3)
            size = options.joint_drift * np.sqrt(fraction / sum(fractions))
            drift = size * spread * shared_errors(process, options.joint_shares)
            total += drift
            if time >= SLOW:
                persistent += drift
    if options.joint_noise:
        noise = heavy_tailed(rng, (num_frames, _PARTS, 3), options.jitter_freedom, _LARGEST_NOISE)
        total += options.joint_noise * spread * shared_errors(noise, options.joint_shares)
    if options.joint_jump:
        total += options.joint_jump * joint_jumps(rng, num_frames, fps, options)
    total, persistent = (stretch(error, ray, options.depth_ratio) for error in (total, persistent))
    if options.joint_offset:
        offset = options.joint_offset * rng.standard_normal((21, 3)) @ palm.transpose(0, 2, 1)
        total, persistent = total + offset, persistent + offset
    return JointErrors(total, persistent)


def shared_errors(parts: Array, shares: tuple[float, float, float]) -> Array:
    """Adds up the errors of joints, of fingers (the wrist is a group of its own) and of the whole hand.

    Args:
        parts: (T, 28, 3) independent, of unit variance: 21 joints, the wrist and 5 fingers, the hand.
        shares: of the variance: joint, finger, hand; any sum.

    Returns:
        (T, 21, 3) of unit variance.
    """
    joint, finger, hand = np.sqrt(np.asarray(shares) / sum(shares))
    return joint * parts[:, :21] + finger * parts[:, 21 + _GROUP_OF] + hand * parts[:, -1:]


def joint_jumps(rng: Generator, num_frames: int, fps: float, options: NoiseOptions) -> Array:
    """Samples bursts in which a single joint is somewhere else, by a constant offset.

    Args:
        rng: source of the bursts.
        num_frames: T.
        fps: frames per second.
        options: their rate and duration.

    Returns:
        (T, 21, 3); where bursts of a joint overlap, their offsets add up.
    """
    begin, end = sample_bursts(rng, num_frames, fps, 21 * options.joint_jump_rate, options.joint_jump_duration)
    joint = rng.integers(0, 21, len(begin))
    offset = heavy_tailed(rng, (len(begin), 3), _JUMP_FREEDOM, _LARGEST_JUMP)
    active = burst_mask(begin, end, num_frames, fps).astype(float)
    error = np.zeros((num_frames, 21, 3))
    for burst, number in enumerate(joint):
        error[:, number] += active[burst, :, None] * offset[burst]
    return error


def delayed(joints: Array, lag: float, fps: float) -> Array:
    """Delays a motion, with linear interpolation between frames; before its start the hand stands still.

    Args:
        joints: (T, 21, 3).
        lag: seconds from 0.
        fps: frames per second.

    Returns:
        (T, 21, 3): the joints `lag` seconds earlier.
    """
    if not lag:
        return joints
    time = (np.arange(len(joints)) - lag * fps).clip(0)
    before = np.floor(time).astype(int)
    after = np.minimum(before + 1, len(joints) - 1)
    weight = (time - before)[:, None, None]
    return (1 - weight) * joints[before] + weight * joints[after]


def frozen_frames(rng: Generator, num_frames: int, fps: float, options: NoiseOptions) -> NDArray[np.int64]:
    """Samples bursts in which the estimator repeats its last answer.

    Args:
        rng: source of the bursts; nothing is drawn if their rate is zero.
        num_frames: T.
        fps: frames per second.
        options: their rate and duration.

    Returns:
        (T,) the frame whose estimate each frame shows.
    """
    frames = np.arange(num_frames)
    if not options.frozen_rate:
        return frames
    begin, end = sample_bursts(rng, num_frames, fps, options.frozen_rate, options.frozen_duration)
    frozen = burst_mask(begin, end, num_frames, fps).any(0)
    return np.maximum.accumulate(np.where(frozen, 0, frames))


def stretch(vectors: Array, ray: Array, factor: float) -> Array:
    """Scales the component of vectors along the ray.

    Args:
        vectors: (T, ..., 3).
        ray: (T, 1, 3) unit vectors.
        factor: of that component.

    Returns:
        (T, ..., 3).
    """
    return vectors + (factor - 1) * (vectors * ray).sum(-1, keepdims=True) * ray
