"""The errors of a per-frame hand pose estimator, sampled for a clip; docs/data/noise_model.md derives them.

Legend: T frames, 21 joints in the common order, 5 fingers. Metres, radians, seconds; camera axes (OpenCV). `ray` is the
unit vector (T, 1, 3) from the camera to the hand.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.datasets.transforms.joint_errors import delayed, frozen_frames, joint_errors, stretch
from handpose.datasets.transforms.noise_options import NoiseOptions
from handpose.datasets.transforms.noise_processes import (
    SLOW,
    Array,
    burst_envelope,
    burst_mask,
    correlated_noise,
    heavy_tailed,
    mixed_noise,
    sample_bursts,
    smooth_function,
)
from handpose.hands import ProceduralHand

FINGER_OF = np.concatenate([[0], np.repeat(np.arange(5), 4)])  # the wrist is treated separately
# How much of its finger's error a joint has, from the palm to the tip.
FINGER_WEIGHT = np.concatenate([[0.0], [0.2, 0.45, 0.75, 1.0], np.tile([0.3, 0.55, 0.8, 1.0], 4)])
_JITTER_WEIGHT = 0.3 + 0.7 * FINGER_WEIGHT
_MAX_SPEED = 2.0  # metres per second: anything faster is an error of the recording
_MAX_JITTER = 12.0  # times the usual jitter
_PALM = (0, 5, 17)  # wrist, index and little knuckles


class SimulatedEstimate(NamedTuple):
    """The simulated estimate of one hand.

    Attributes:
        joints: (T, 21, 3) metres.
        valid: (T,) bool.
        confidence: (T, 21) from 0 to 1.
        attainable: (T, 21, 3) metres, the estimate with only those of its errors that are constant, a function of the
            pose, or slow (time constants of at least `SLOW`), which no temporal method can remove.
    """

    joints: Array
    valid: NDArray[np.bool_]
    confidence: Array
    attainable: Array


class _Factor(NamedTuple):
    """A factor that varies in time, and its part that persists for the clip."""

    total: Array  # broadcasts to (T, 21, 1)
    persistent: Array


def simulate_estimate(
    joints: Array, side: int, fps: float, options: NoiseOptions, rng: Generator, occlusion: NDArray | None = None
) -> SimulatedEstimate:
    """Samples the estimate of one hand.

    Args:
        joints: (T, 21, 3) metres, camera frame, finite in every frame (fill gaps before).
        side: 0 left, 1 right.
        fps: frames per second.
        options: how large the errors are.
        rng: source of the errors.
        occlusion: (T,) occluded fraction of the hand, NaN where unknown; None means unknown.

    Returns:
        The estimate.
    """
    joints = delayed(np.asarray(joints, np.float64), options.lag, fps)
    occluded = _occluded_fingers(rng, len(joints), fps, options, occlusion)
    wrist, ray = joints[:, :1], _unit(joints.mean(1, keepdims=True))
    total, slow = mixed_noise(rng, len(joints), 22, options.time_constants, options.time_fractions, fps)
    relative = _pull_to_relaxed(joints - wrist, side, options.occlusion_pull * occluded)
    gain = _error_gain(rng, joints, fps, options)
    gains = gain.total * (1 + options.occlusion_gain * occluded)[..., None]
    bias = _bias(relative, side, options)
    error = _pose_errors(rng, total[:, :18], bias, relative, ray, fps, options) * gains
    scale = _bone_scale(rng, len(joints), fps, options)
    swapped = _swap_side(rng, scale.total * relative + error, ray, fps, options)
    begin, end = sample_bursts(rng, len(joints), fps, options.dropout_rate, options.dropout_duration)
    valid = ~np.any(burst_mask(begin, end, len(joints), fps), axis=0)
    wrists = _estimated_wrist(rng, total[:, 18:], slow[:, 18:], wrist, scale, ray, options)
    single = joint_errors(rng, palm_frame(joints - wrist, side), ray, fps, options)
    # The slow errors of the unoccluded pose, without jumps and jitter.
    true = joints - wrist
    persistent = _turn_and_bend(_slow_errors(slow[:, :18], bias, options), true, ray, options) + single.persistent
    confidence = _confidence(rng, error + gains * single.total, occluded)
    shown = frozen_frames(rng, len(joints), fps, options)
    return SimulatedEstimate(
        joints=(wrists.total + swapped + gains * single.total)[shown],
        valid=valid[shown],
        confidence=confidence[shown],
        attainable=wrists.persistent + scale.persistent * true + gain.persistent * persistent,
    )


def _bone_scale(rng: Generator, num_frames: int, fps: float, options: NoiseOptions) -> _Factor:
    """How many times too large the bones are."""
    drift = options.scale_drift * correlated_noise(rng, num_frames, 1, options.scale_time, fps)[..., None]
    constant = options.scale * rng.standard_normal()
    slow = drift if options.scale_time >= SLOW else np.zeros_like(drift)
    return _Factor(np.exp(constant + drift), np.exp(constant + slow))


def _error_gain(rng: Generator, joints: Array, fps: float, options: NoiseOptions) -> _Factor:
    """The factor of this clip's errors; its mean is about 1 while the hand is at rest."""
    constant = options.difficulty * rng.standard_normal()
    drift = options.difficulty_drift * correlated_noise(rng, len(joints), 1, options.difficulty_time, fps)
    factor = np.exp(constant + drift - (options.difficulty**2 + options.difficulty_drift**2) / 2)
    persistent = np.exp(np.full((1, 1, 1), constant - options.difficulty**2 / 2))
    if len(joints) >= 2 and options.motion_gain:
        speed = fps * np.linalg.norm(np.gradient(joints, axis=0), axis=-1)
        factor = factor * (1 + options.motion_gain * speed.clip(0, _MAX_SPEED))
    return _Factor(factor[..., None], persistent)


def _bias(relative: Array, side: int, options: NoiseOptions) -> Array:
    """(T, 18): the systematic error of a pose: rotation (3) and fingers (5 x 3), left hands mirrored."""
    mirror = np.array([1.0 if side else -1.0, 1.0, 1.0])
    pose = (relative * mirror).reshape(len(relative), -1) / np.sqrt(21)
    bias = smooth_function(np.random.default_rng(options.estimator_seed), pose, 18, options.bias_length)
    amplitude = np.repeat([options.rotation_bias, options.finger_bias], [3, 15])
    # Rotation vectors are axial: a mirror reverses them.
    return amplitude * bias * np.concatenate([mirror[0] * mirror, np.tile(mirror, 5)])


def _pose_errors(
    rng: Generator, process: Array, bias: Array, relative: Array, ray: Array, fps: float, options: NoiseOptions
) -> Array:
    """(T, 21, 3) metres: errors of the hand's rotation and of the fingers, and jitter; zero at the wrist.

    process (T, 18) of unit variance, bias (T, 18) radians and metres: rotation (3) and fingers (5 x 3).
    """
    slow = _slow_errors(process, bias, options)
    jitter = heavy_tailed(rng, (len(relative), 26, 3), options.jitter_freedom, _MAX_JITTER)
    finger = slow[:, 3:].reshape(-1, 5, 3) + options.finger_jitter * jitter[:, :5]
    finger += options.jump * _jumps(rng, len(relative), fps, options)
    error = (
        FINGER_WEIGHT[:, None] * finger[:, FINGER_OF] + options.joint_jitter * _JITTER_WEIGHT[:, None] * jitter[:, 5:]
    )
    error[:, 0] = 0
    return stretch(error, ray, options.depth_ratio) - _rotation_errors(slow, relative, ray, options)


def _slow_errors(process: Array, bias: Array, options: NoiseOptions) -> Array:
    """(T, 18) radians and metres: errors of rotation (3) and of the fingertips (5 x 3), without jumps and jitter."""
    return np.repeat([options.rotation, options.finger], [3, 15]) * process + bias


def _rotation_errors(slow: Array, relative: Array, ray: Array, options: NoiseOptions) -> Array:
    """(T, 21, 3): what the rotation about the wrist subtracts from each joint."""
    # A rotation about the ray changes no depth, so it is smaller by the ratio of errors across and along the ray.
    rotation = stretch(slow[:, None, :3], ray, 1 / options.depth_ratio)
    return relative @ cross_matrix(rotation[:, 0])


def _turn_and_bend(slow: Array, relative: Array, ray: Array, options: NoiseOptions) -> Array:
    """(T, 21, 3): the errors of all joints that follow from `_slow_errors`."""
    bent = FINGER_WEIGHT[:, None] * slow[:, 3:].reshape(-1, 5, 3)[:, FINGER_OF]
    return stretch(bent, ray, options.depth_ratio) - _rotation_errors(slow, relative, ray, options)


def _jumps(rng: Generator, num_frames: int, fps: float, options: NoiseOptions) -> Array:
    """(T, 5, 3): in bursts of each finger, a constant offset of unit variance."""
    begin, end = sample_bursts(rng, num_frames, fps, 5 * options.jump_rate, options.jump_duration)
    finger, offset = rng.integers(0, 5, len(begin)), rng.standard_normal((len(begin), 3))
    one_hot = np.arange(5) == finger[:, None]
    active = burst_mask(begin, end, num_frames, fps)
    return np.einsum('nt,nf,nc->tfc', active.astype(float), one_hot.astype(float), offset)


def _occluded_fingers(
    rng: Generator, num_frames: int, fps: float, options: NoiseOptions, occlusion: NDArray | None
) -> Array:
    """(T, 21) from 0 to 1: how much each joint is occluded; the palm's joints as their finger, the wrist never."""
    begin, end = sample_bursts(rng, num_frames, fps, options.occlusion_rate, options.occlusion_duration)
    affected = rng.random((len(begin), 5)) < options.occlusion_fingers
    level = (burst_envelope(begin, end, num_frames, fps)[:, :, None] * affected[:, None]).max(0, initial=0)
    threshold = rng.random(5)
    if occlusion is not None:
        # A finger is occluded once the occluded fraction of the hand exceeds the finger's own threshold.
        annotated = ((np.nan_to_num(occlusion)[:, None] - threshold) / 0.1 + 0.5).clip(0, 1)
        level = np.where(np.isnan(occlusion)[:, None], level, annotated)
    return level[:, FINGER_OF] * (FINGER_WEIGHT > 0)


def _pull_to_relaxed(relative: Array, side: int, pull: Array) -> Array:
    """Moves joints (T, 21, 3), relative to the wrist, by the fraction `pull` (T, 21) towards a relaxed hand."""
    if not pull.any():
        return relative
    frame = palm_frame(relative, side)
    length = np.linalg.norm(relative[:, 9], axis=-1)[:, None, None]
    typical = length * (relaxed_hand() @ frame.transpose(0, 2, 1))
    return relative + pull[..., None] * (typical - relative)


def palm_frame(relative: Array, side: int) -> Array:
    """Computes the axes of the palm.

    Args:
        relative: (T, 21, 3) joints relative to the wrist.
        side: 0 left, 1 right; for a left hand the third axis is reversed, so that the same coordinates describe the
            mirror image.

    Returns:
        (T, 3, 3), columns: along the palm, across it towards the index finger, and out of it.
    """
    along = _unit(relative[:, _PALM[1]] + relative[:, _PALM[2]])
    across = relative[:, _PALM[1]] - relative[:, _PALM[2]]
    across = _unit(across - (across * along).sum(-1, keepdims=True) * along)
    out = np.cross(along, across) * (1 if side else -1)
    return np.stack([along, across, out], -1)


@lru_cache(maxsize=1)
def relaxed_hand() -> Array:
    """Computes a relaxed right hand.

    Returns:
        (21, 3) in the frame of its palm, in units of the length from wrist to middle knuckle.
    """
    model = ProceduralHand()
    angles = torch.zeros(1, 15, 3)
    angles[:, :12, 2] = 0.45  # flexion of every finger joint; about 26 degrees
    angles[:, 12:, 2] = 0.25
    fingers = (model.joint_axes @ angles[..., None])[..., 0]
    pose = torch.cat([torch.zeros(1, 1, 3), fingers], 1)
    with torch.no_grad():
        joints = model(pose, torch.zeros(1, 10), torch.zeros(1, 3), torch.tensor([1])).joints.double().numpy()
    relative = joints - joints[:, :1]
    return (relative @ palm_frame(relative, 1))[0] / np.linalg.norm(relative[0, 9])


def _swap_side(rng: Generator, relative: Array, ray: Array, fps: float, options: NoiseOptions) -> Array:
    """Mirrors the hand in depth, in bursts: a hand of the other side that looks nearly the same."""
    begin, end = sample_bursts(rng, len(relative), fps, options.swap_rate, options.swap_duration)
    swapped = np.any(burst_mask(begin, end, len(relative), fps), axis=0)
    return np.where(swapped[:, None, None], stretch(relative, ray, -1.0), relative)


def _estimated_wrist(
    rng: Generator, process: Array, slow: Array, wrist: Array, scale: _Factor, ray: Array, options: NoiseOptions
) -> _Factor:
    """(T, 1, 3): the wrist of the estimate; a larger hand is estimated farther away. `process` and `slow` (T, 4)."""
    constant = options.wrist_depth * rng.standard_normal()
    jitter = options.wrist_jitter * heavy_tailed(rng, (len(wrist), 1, 3), options.jitter_freedom, _MAX_JITTER)

    def moved(process: Array, scale: Array) -> Array:
        depth = constant + options.wrist_depth_drift * process[:, None, 3:]
        across = stretch(options.wrist_across * process[:, None, :3], ray, 0.0)
        farther = (scale * np.exp(depth) - 1) * np.linalg.norm(wrist, axis=-1, keepdims=True) * ray
        return wrist + farther + across

    total = moved(process, scale.total) + stretch(jitter, ray, options.depth_ratio)
    return _Factor(total, moved(slow, scale.persistent))


def _confidence(rng: Generator, error: Array, occluded: Array) -> Array:
    """(T, 21) from 0 to 1: decreases with occlusion and, less, with the error itself."""
    distance = np.linalg.norm(error, axis=-1)
    confidence = 0.95 - 0.6 * occluded - 5.0 * distance + 0.05 * rng.standard_normal(distance.shape)
    return confidence.clip(0.05, 1.0)


def cross_matrix(vectors: Array) -> Array:
    """Computes the matrices of cross products: points (T, N, 3) @ matrices are points x vectors.

    Args:
        vectors: (T, 3).

    Returns:
        (T, 3, 3).
    """
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
