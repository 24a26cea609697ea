"""The errors of a per-frame hand pose estimator, sampled for a clip; docs/noise_model.md derives them.

Legend: T frames, 21 joints in the common order, 5 fingers. Metres, radians, seconds; camera axes (OpenCV). `ray` is the
unit vector (T, 1, 3) from the camera to the hand.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.datasets.transforms.noise_processes import (
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


@dataclass(frozen=True)
class NoiseOptions:
    """How large the errors are: standard deviations unless stated otherwise. All zeros (`SILENT`) give no error.

    Attributes:
        rotation: radians, of the hand about its wrist, about each axis perpendicular to the camera's ray.
        finger: metres, of a fingertip; correlated along its finger and increasing from knuckle to tip.
        time_constants: seconds, of the processes that `rotation` and `finger` are the sum of.
        time_fractions: of their variance, one for each time constant.
        rotation_bias: radians, like `rotation`, as a smooth function of the pose and the viewpoint: an estimator makes
            the same error on the same pose, so every clip has the same function.
        finger_bias: metres, like `finger`, as the same kind of function.
        bias_length: metres (root mean square over joints) by which a pose must change for a different bias.
        estimator_seed: determines the function of the bias.
        depth_ratio: errors along the ray relative to those across it.
        finger_jitter: metres, of a fingertip, in each frame, correlated along its finger; half of the jitters are
            within 0.674 of it.
        joint_jitter: metres, of each joint independently, less at the knuckles.
        jitter_freedom: degrees of freedom of Student's t.
        jump: metres, of a fingertip, while a similar-looking pose is mistaken for that of the finger.
        jump_rate: jumps per second and finger.
        jump_duration: seconds, mean.
        difficulty: of the logarithm of a factor of all errors above, sampled once per clip.
        difficulty_drift: the same, as a process.
        difficulty_time: seconds, time constant of that process.
        motion_gain: seconds per metre; errors of a joint at speed v are 1 + motion_gain v times as large (blur).
        scale: of the bone scale, sampled once per clip.
        scale_drift: the same, as a process.
        scale_time: seconds, time constant of that process.
        wrist_depth: of the wrist's distance, relative, sampled once per clip, in addition to the one that follows from
            the bone scale.
        wrist_depth_drift: the same, as a process with `time_constants`.
        wrist_across: metres, of the wrist across the ray, as a process with `time_constants`.
        wrist_jitter: metres, of the wrist in each frame.
        occlusion_rate: bursts per second, if the clip has no occlusion annotations.
        occlusion_duration: seconds, mean.
        occlusion_fingers: probability that a burst occludes a finger.
        occlusion_gain: errors of an occluded finger are 1 + so many times as large.
        occlusion_pull: fraction of the way by which an occluded finger moves towards a typical pose.
        dropout_rate: bursts without any estimate, per second.
        dropout_duration: seconds, mean.
        swap_rate: bursts in which the hand is mistaken for one of the other side, per second.
        swap_duration: seconds, mean.
    """

    rotation: float = 0.026
    finger: float = 0.002
    time_constants: tuple[float, ...] = (2.0, 0.5, 0.1)
    time_fractions: tuple[float, ...] = (0.75, 0.2, 0.05)
    rotation_bias: float = 0.035
    finger_bias: float = 0.0026
    bias_length: float = 0.03
    estimator_seed: int = 0
    depth_ratio: float = 2.0
    finger_jitter: float = 0.0014
    joint_jitter: float = 0.00175
    jitter_freedom: float = 5.0
    jump: float = 0.018
    jump_rate: float = 0.1
    jump_duration: float = 0.3
    difficulty: float = 0.2
    difficulty_drift: float = 0.15
    difficulty_time: float = 0.5
    motion_gain: float = 0.1
    scale: float = 0.045
    scale_drift: float = 0.01
    scale_time: float = 2.0
    wrist_depth: float = 0.04
    wrist_depth_drift: float = 0.008
    wrist_across: float = 0.003
    wrist_jitter: float = 0.001
    occlusion_rate: float = 0.3
    occlusion_duration: float = 0.4
    occlusion_fingers: float = 0.5
    occlusion_gain: float = 1.0
    occlusion_pull: float = 0.35
    dropout_rate: float = 0.08
    dropout_duration: float = 0.12
    swap_rate: float = 0.01
    swap_duration: float = 0.1


HAMER_DEXYCB = NoiseOptions()
_AMPLITUDES = (
    'rotation', 'finger', 'rotation_bias', 'finger_bias', 'finger_jitter', 'joint_jitter', 'jump', 'difficulty',
    'difficulty_drift', 'motion_gain', 'scale', 'scale_drift', 'wrist_depth', 'wrist_depth_drift', 'wrist_across',
    'wrist_jitter', 'occlusion_rate', 'occlusion_gain', 'occlusion_pull', 'dropout_rate', 'swap_rate',
)  # fmt: skip
_SIZES = (
    'rotation', 'finger', 'rotation_bias', 'finger_bias', 'finger_jitter', 'joint_jitter', 'jump', 'scale',
    'scale_drift', 'wrist_depth', 'wrist_depth_drift', 'wrist_across', 'wrist_jitter',
)  # fmt: skip
_ZEROS: dict[str, Any] = dict.fromkeys(_AMPLITUDES, 0.0)
SILENT = NoiseOptions(**_ZEROS)
PRESETS = {'hamer_dexycb': HAMER_DEXYCB, 'silent': SILENT}


def scale_errors(options: NoiseOptions, strength: float) -> NoiseOptions:
    """Makes all errors of position, orientation and size larger or smaller.

    How often and how long something happens (jumps, occlusion, dropouts, swaps) stays as it is.

    Args:
        options: of the noise.
        strength: factor from 0.

    Returns:
        The options with the errors multiplied by `strength`.
    """
    return replace(options, **{name: strength * vars(options)[name] for name in _SIZES})


class SimulatedEstimate(NamedTuple):
    """The simulated estimate of one hand.

    Attributes:
        joints: (T, 21, 3) metres.
        valid: (T,) bool.
        confidence: (T, 21) from 0 to 1.
    """

    joints: Array
    valid: NDArray[np.bool_]
    confidence: Array


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
    joints = np.asarray(joints, np.float64)
    occluded = _occluded_fingers(rng, len(joints), fps, options, occlusion)
    wrist, ray = joints[:, :1], _unit(joints.mean(1, keepdims=True))
    process = mixed_noise(rng, len(joints), 22, options.time_constants, options.time_fractions, fps)
    relative = _pull_to_relaxed(joints - wrist, side, options.occlusion_pull * occluded)
    gain = _error_gain(rng, joints, fps, options) * (1 + options.occlusion_gain * occluded)
    bias = _bias(relative, side, options)
    error = _pose_errors(rng, process[:, :18], bias, relative, ray, fps, options) * gain[..., None]
    scale = _bone_scale(rng, len(joints), fps, options)
    swapped = _swap_side(rng, scale * relative + error, ray, fps, options)
    begin, end = sample_bursts(rng, len(joints), fps, options.dropout_rate, options.dropout_duration)
    return SimulatedEstimate(
        joints=_estimated_wrist(rng, process[:, 18:], wrist, scale, ray, options) + swapped,
        valid=~np.any(burst_mask(begin, end, len(joints), fps), axis=0),
        confidence=_confidence(rng, error, occluded),
    )


def _bone_scale(rng: Generator, num_frames: int, fps: float, options: NoiseOptions) -> Array:
    """(T, 1, 1): how many times too large the bones are."""
    drift = correlated_noise(rng, num_frames, 1, options.scale_time, fps)[..., None]
    return np.exp(options.scale * rng.standard_normal() + options.scale_drift * drift)


def _error_gain(rng: Generator, joints: Array, fps: float, options: NoiseOptions) -> Array:
    """(T, 21) or (T, 1): the factor of this clip's errors; its mean is about 1 while the hand is at rest."""
    constant = options.difficulty * rng.standard_normal()
    drift = options.difficulty_drift * correlated_noise(rng, len(joints), 1, options.difficulty_time, fps)
    factor = np.exp(constant + drift - (options.difficulty**2 + options.difficulty_drift**2) / 2)
    if len(joints) < 2 or not options.motion_gain:
        return factor
    speed = fps * np.linalg.norm(np.gradient(joints, axis=0), axis=-1)
    return factor * (1 + options.motion_gain * speed.clip(0, _MAX_SPEED))


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
    slow = np.repeat([options.rotation, options.finger], [3, 15]) * process + bias
    # A rotation about the ray changes no depth, so it is smaller by the ratio of errors across and along the ray.
    rotation = _stretch(slow[:, None, :3], ray, 1 / options.depth_ratio)
    jitter = heavy_tailed(rng, (len(relative), 26, 3), options.jitter_freedom, _MAX_JITTER)
    finger = slow[:, 3:].reshape(-1, 5, 3) + options.finger_jitter * jitter[:, :5]
    finger += options.jump * _jumps(rng, len(relative), fps, options)
    error = (
        FINGER_WEIGHT[:, None] * finger[:, FINGER_OF] + options.joint_jitter * _JITTER_WEIGHT[:, None] * jitter[:, 5:]
    )
    error[:, 0] = 0
    return _stretch(error, ray, options.depth_ratio) - relative @ cross_matrix(rotation[:, 0])


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
    frame = _palm_frame(relative, side)
    length = np.linalg.norm(relative[:, 9], axis=-1)[:, None, None]
    typical = length * (relaxed_hand() @ frame.transpose(0, 2, 1))
    return relative + pull[..., None] * (typical - relative)


def _palm_frame(relative: Array, side: int) -> Array:
    """(T, 3, 3), columns: along the palm, across it towards the index finger, and out of it.

    For a left hand the third column is negated, so that the same coordinates describe the mirror image.
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
    return (relative @ _palm_frame(relative, 1))[0] / np.linalg.norm(relative[0, 9])


def _swap_side(rng: Generator, relative: Array, ray: Array, fps: float, options: NoiseOptions) -> Array:
    """Mirrors the hand in depth, in bursts: a hand of the other side that looks nearly the same."""
    begin, end = sample_bursts(rng, len(relative), fps, options.swap_rate, options.swap_duration)
    swapped = np.any(burst_mask(begin, end, len(relative), fps), axis=0)
    return np.where(swapped[:, None, None], _stretch(relative, ray, -1.0), relative)


def _estimated_wrist(
    rng: Generator, process: Array, wrist: Array, scale: Array, ray: Array, options: NoiseOptions
) -> Array:
    """(T, 1, 3): the wrist of the estimate; a larger hand is estimated farther away. `process` (T, 4)."""
    distance = np.linalg.norm(wrist, axis=-1, keepdims=True)
    depth = options.wrist_depth * rng.standard_normal() + options.wrist_depth_drift * process[:, None, 3:]
    jitter = options.wrist_jitter * heavy_tailed(rng, (len(wrist), 1, 3), options.jitter_freedom, _MAX_JITTER)
    across = _stretch(options.wrist_across * process[:, None, :3], ray, 0.0)
    farther = (scale * np.exp(depth) - 1) * distance * ray
    return wrist + farther + across + _stretch(jitter, ray, options.depth_ratio)


def _confidence(rng: Generator, error: Array, occluded: Array) -> Array:
    """(T, 21) from 0 to 1: decreases with occlusion and, less, with the error itself."""
    distance = np.linalg.norm(error, axis=-1)
    confidence = 0.95 - 0.6 * occluded - 5.0 * distance + 0.05 * rng.standard_normal(distance.shape)
    return confidence.clip(0.05, 1.0)


def _stretch(vectors: Array, ray: Array, factor: float) -> Array:
    """Scales the component of vectors (T, ..., 3) along the ray by `factor`."""
    return vectors + (factor - 1) * (vectors * ray).sum(-1, keepdims=True) * ray


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
