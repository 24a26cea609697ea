"""The errors of a per-frame hand pose estimator, as numbers drawn for a clip; docs/noise_model.md derives them.

Legend: T frames, 21 joints in the common order, 5 fingers. Metres, radians, seconds; camera axes (OpenCV).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from handpose.datasets.transforms.noise_processes import (
    bursts,
    correlated,
    envelope,
    heavy_tailed,
    inside,
    mixture,
    smooth_function,
)
from handpose.hands import ProceduralHand

FINGER_OF = np.concatenate([[0], np.repeat(np.arange(5), 4)])  # the wrist is no finger's; it is treated apart
# How much of its finger's error a joint takes part in, from the palm to the tip.
SHARE_OF_FINGER = np.concatenate([[0.0], [0.2, 0.45, 0.75, 1.0], np.tile([0.3, 0.55, 0.8, 1.0], 4)])
_SHARE_OF_JITTER = 0.3 + 0.7 * SHARE_OF_FINGER
_FASTEST = 2.0  # metres per second: faster is taken for an error of the recording
_LARGEST = 12.0  # a jump is at most so many times the usual jitter
_PALM = (0, 5, 17)  # wrist, index and little knuckles


@dataclass(frozen=True)
class NoiseOptions:
    """How large the errors are; standard deviations unless something else is said. Zeros (`SILENT`) give no error.

    Slow and fast errors, of the whole hand and of fingers:
        turn: radians, of the hand about its wrist, about each axis across the camera's ray.
        finger: metres, of a fingertip, shared along its finger and growing from knuckle to tip.
        time_constants, time_shares: seconds, and parts of the variance, of the processes that these are made of.
        turn_bias, finger_bias: the same two, as a smooth function of the pose and the viewpoint. One estimator is
            always wrong in the same way: every clip has the same function, drawn from estimator_seed; bias_length:
            metres (root mean square over joints) by which a pose must change for another bias.
        depth_ratio: errors along the ray are so many times those across it.
    Frame by frame:
        finger_jitter, joint_jitter: metres, of a fingertip, shared along the finger as above, and of each joint on its
            own, half as much at the knuckles; half of the jitters are within 0.674 of it.
        jitter_freedom: degrees of freedom of Student's t.
        jump: metres, of a fingertip, by which a finger is off while another pose that would look alike is taken for its
            own; jump_rate: so many a second and finger; jump_duration: seconds, mean.
    How errors vary: difficulty: of the logarithm of a factor of all errors above, drawn for each clip;
        difficulty_drift: the same, as a process of difficulty_time seconds.
        motion_gain: seconds per metre; errors of a joint at speed v are 1 + motion_gain v times as large (blur).
    Size and place:
        scale: of the bone scale, drawn for each clip; scale_drift: the same, as a process of scale_time seconds.
        wrist_depth: of the wrist's distance, as a share of it, drawn for each clip, beside the one that follows from
            the scale; wrist_depth_drift: the same, as a process with `time_constants`.
        wrist_across: metres, of the wrist across the ray, as a process with `time_constants`; wrist_jitter: metres.
    Occlusion, where the clip does not say it: occlusion_rate: bursts a second; occlusion_duration: seconds, mean;
        occlusion_fingers: the chance that a burst hides a finger. occlusion_gain: errors of a hidden finger are 1 + so
        many times as large; occlusion_pull: the share by which a hidden finger is drawn to a typical pose.
    Failures: dropout_rate, dropout_duration: bursts without any estimate; swap_rate, swap_duration: bursts in which
        the hand is taken for the other side. Per second; seconds, mean.
    """

    turn: float = 0.026
    finger: float = 0.002
    time_constants: tuple = (2.0, 0.5, 0.1)
    time_shares: tuple = (0.75, 0.2, 0.05)
    turn_bias: float = 0.035
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
_SIZES = (
    'turn', 'finger', 'turn_bias', 'finger_bias', 'finger_jitter', 'joint_jitter', 'jump', 'difficulty',
    'difficulty_drift', 'motion_gain', 'scale', 'scale_drift', 'wrist_depth', 'wrist_depth_drift', 'wrist_across',
    'wrist_jitter', 'occlusion_rate', 'occlusion_gain', 'occlusion_pull', 'dropout_rate', 'swap_rate',
)  # fmt: skip
SILENT = NoiseOptions(**dict.fromkeys(_SIZES, 0.0))
PRESETS = {'hamer_dexycb': HAMER_DEXYCB, 'silent': SILENT}


class NoisyHand(NamedTuple):
    """What the estimator says of one hand: `joints` (T, 21, 3) metres, `valid` (T,) bool, `confidence` (T, 21)."""

    joints: np.ndarray
    valid: np.ndarray
    confidence: np.ndarray


def estimate(joints, side, fps, options, rng, occlusion=None):
    """Draws the estimate of one hand.

    Args:
        joints: (T, 21, 3) metres, camera frame, finite in every frame (fill gaps before). side: 0 left, 1 right.
        fps: frames per second. options: NoiseOptions. rng: numpy Generator.
        occlusion: (T,) share of the hand hidden, NaN where unknown; None: unknown.

    Returns:
        NoisyHand.
    """
    joints = np.asarray(joints, np.float64)
    hidden = _hidden_fingers(rng, len(joints), fps, options, occlusion)
    wrist, ray = joints[:, :1], _unit(joints.mean(1, keepdims=True))
    process = mixture(rng, len(joints), 22, options.time_constants, options.time_shares, fps)
    relative = _drawn_to_typical(joints - wrist, side, options.occlusion_pull * hidden)
    growth = _growth(rng, joints, fps, options) * (1 + options.occlusion_gain * hidden)
    bias = _bias(relative, side, options)
    error = _errors_of_pose(rng, process[:, :18], bias, relative, ray, fps, options) * growth[..., None]
    size = _scale(rng, len(joints), fps, options)
    moved = _swapped(rng, size * relative + error, ray, fps, options)
    begin, end = bursts(rng, len(joints), fps, options.dropout_rate, options.dropout_duration)
    return NoisyHand(
        joints=_place_of_wrist(rng, process[:, 18:], wrist, size, ray, options) + moved,
        valid=~inside(begin, end, len(joints), fps).any(0),
        confidence=_confidence(rng, error, hidden),
    )


def _scale(rng, num_frames, fps, options):
    """(T, 1, 1): how many times too large the bones are."""
    drift = correlated(rng, num_frames, 1, options.scale_time, fps)[..., None]
    return np.exp(options.scale * rng.standard_normal() + options.scale_drift * drift)


def _growth(rng, joints, fps, options):
    """(T, 21): the factor of this clip's errors; of mean about 1 while the hand is at rest."""
    still = options.difficulty * rng.standard_normal()
    drift = options.difficulty_drift * correlated(rng, len(joints), 1, options.difficulty_time, fps)
    factor = np.exp(still + drift - (options.difficulty**2 + options.difficulty_drift**2) / 2)
    if len(joints) < 2 or not options.motion_gain:
        return factor
    speed = fps * np.linalg.norm(np.gradient(joints, axis=0), axis=-1)
    return factor * (1 + options.motion_gain * speed.clip(0, _FASTEST))


def _bias(relative, side, options):
    """(T, 18): what this estimator always gets wrong of a pose: turn (3) and fingers (5 x 3), left hands mirrored."""
    mirror = np.array([1.0 if side else -1.0, 1.0, 1.0])
    pose = (relative * mirror).reshape(len(relative), -1) / np.sqrt(21)
    bias = smooth_function(np.random.default_rng(options.estimator_seed), pose, 18, options.bias_length)
    size = np.repeat([options.turn_bias, options.finger_bias], [3, 15])
    # A turn's axis is seen in a mirror the other way round.
    return size * bias * np.concatenate([mirror[0] * mirror, np.tile(mirror, 5)])


def _errors_of_pose(rng, process, bias, relative, ray, fps, options):
    """(T, 21, 3) metres: wrong turn of the hand, wrong fingers and jitter; nothing at the wrist.

    process (T, 18) of unit variance, bias (T, 18) radians and metres: turn (3) and fingers (5 x 3).
    """
    wrong = np.repeat([options.turn, options.finger], [3, 15]) * process + bias
    # A turn about the ray moves nothing in depth: it is as much smaller as errors across the ray are.
    turn = _stretched(wrong[:, None, :3], ray, 1 / options.depth_ratio)
    jitter = heavy_tailed(rng, (len(relative), 26, 3), options.jitter_freedom, _LARGEST)
    finger = wrong[:, 3:].reshape(-1, 5, 3) + options.finger_jitter * jitter[:, :5]
    finger += options.jump * _jumps(rng, len(relative), fps, options)
    error = (
        SHARE_OF_FINGER[:, None] * finger[:, FINGER_OF]
        + options.joint_jitter * _SHARE_OF_JITTER[:, None] * jitter[:, 5:]
    )
    error[:, 0] = 0
    return _stretched(error, ray, options.depth_ratio) - relative @ cross_matrix(turn[:, 0])


def _jumps(rng, num_frames, fps, options):
    """(T, 5, 3): in bursts of each finger, an offset of unit variance that stays as long as the burst."""
    begin, end = bursts(rng, num_frames, fps, 5 * options.jump_rate, options.jump_duration)
    finger, offset = rng.integers(0, 5, len(begin)), rng.standard_normal((len(begin), 3))
    one = np.arange(5) == finger[:, None]
    return np.einsum('nt,nf,nc->tfc', inside(begin, end, num_frames, fps).astype(float), one.astype(float), offset)


def _hidden_fingers(rng, num_frames, fps, options, occlusion):
    """(T, 21) from 0 to 1: how much each joint is hidden; the palm's joints as their finger, the wrist never."""
    begin, end = bursts(rng, num_frames, fps, options.occlusion_rate, options.occlusion_duration)
    struck = rng.random((len(begin), 5)) < options.occlusion_fingers
    level = (envelope(begin, end, num_frames, fps)[:, :, None] * struck[:, None]).max(0, initial=0)
    threshold = rng.random(5)
    if occlusion is not None:
        # A finger is hidden once the hand's hidden share passes its own threshold: on average that share of fingers.
        known = ((np.nan_to_num(occlusion)[:, None] - threshold) / 0.1 + 0.5).clip(0, 1)
        level = np.where(np.isnan(occlusion)[:, None], level, known)
    return level[:, FINGER_OF] * (SHARE_OF_FINGER > 0)


def _drawn_to_typical(relative, side, pull):
    """Moves joints (T, 21, 3), relative to the wrist, by the share `pull` (T, 21) towards a relaxed hand."""
    if not pull.any():
        return relative
    frame = _palm_frame(relative, side)
    length = np.linalg.norm(relative[:, 9], axis=-1)[:, None, None]
    typical = length * (relaxed_hand() @ frame.transpose(0, 2, 1))
    return relative + pull[..., None] * (typical - relative)


def _palm_frame(relative, side):
    """(T, 3, 3), columns: along the palm, across it towards the index finger, and out of it; left hands mirrored.

    For a left hand the third column is turned round, so that the same numbers describe the mirror image.
    """
    along = _unit(relative[:, _PALM[1]] + relative[:, _PALM[2]])
    across = relative[:, _PALM[1]] - relative[:, _PALM[2]]
    across = _unit(across - (across * along).sum(-1, keepdims=True) * along)
    out = np.cross(along, across) * (1 if side else -1)
    return np.stack([along, across, out], -1)


@lru_cache(maxsize=1)
def relaxed_hand():
    """(21, 3): a relaxed right hand in its palm's frame, in units of the length from wrist to middle knuckle."""
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


def _swapped(rng, relative, ray, fps, options):
    """In bursts, the hand as its mirror image in depth: a hand of the other side that looks nearly the same."""
    begin, end = bursts(rng, len(relative), fps, options.swap_rate, options.swap_duration)
    now = inside(begin, end, len(relative), fps).any(0)
    return np.where(now[:, None, None], _stretched(relative, ray, -1.0), relative)


def _place_of_wrist(rng, process, wrist, size, ray, options):
    """(T, 1, 3): the wrist where the estimator sees it; a hand thought larger is put farther away. `process` (T, 4)."""
    distance = np.linalg.norm(wrist, axis=-1, keepdims=True)
    depth = options.wrist_depth * rng.standard_normal() + options.wrist_depth_drift * process[:, None, 3:]
    jitter = options.wrist_jitter * heavy_tailed(rng, (len(wrist), 1, 3), options.jitter_freedom, _LARGEST)
    across = _stretched(options.wrist_across * process[:, None, :3], ray, 0.0)
    farther = (size * np.exp(depth) - 1) * distance * ray
    return wrist + farther + across + _stretched(jitter, ray, options.depth_ratio)


def _confidence(rng, error, hidden):
    """(T, 21) from 0 to 1: falls with occlusion and, more weakly, with the error itself."""
    size = np.linalg.norm(error, axis=-1)
    known = 0.95 - 0.6 * hidden - 5.0 * size + 0.05 * rng.standard_normal(size.shape)
    return known.clip(0.05, 1.0)


def _stretched(vectors, ray, factor):
    """Vectors (T, ..., 3) with their part along the ray (T, 1, 3) times `factor`."""
    return vectors + (factor - 1) * (vectors * ray).sum(-1, keepdims=True) * ray


def cross_matrix(vectors):
    """(T, 3) -> (T, 3, 3): points (T, N, 3) @ it are points x vectors, the cross product."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)


def _unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
