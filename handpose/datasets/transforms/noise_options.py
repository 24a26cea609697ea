"""How large the errors of the noise model are (docs/data/noise_model.md).

Metres, radians, seconds; standard deviations unless stated otherwise.
"""

from dataclasses import dataclass, replace
from typing import Any


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
        joint_drift: metres, of each coordinate of each joint (the wrist too) on its own, as the sum of
            Ornstein-Uhlenbeck processes. This and the other `joint_` errors below are `depth_ratio` times as large
            along the ray, and subject to difficulty, motion and occlusion like all others.
        joint_drift_times: seconds, time constants of these processes.
        joint_drift_fractions: of their variance, one for each time constant.
        joint_noise: metres, of each coordinate of each joint in each frame, Student's t with `jitter_freedom`; as large
            at the wrist and the knuckles as at the tips, unlike `joint_jitter`.
        joint_shares: parts of the variance of `joint_drift` and `joint_noise` that belong to the joint alone, are
            common to the joints of its finger, and common to the whole hand; any sum.
        joint_spread: of the logarithm of each joint's own factor of `joint_drift` and `joint_noise`, sampled once per
            clip.
        joint_offset: metres, of each coordinate of each joint, constant in the frame of the palm for the whole clip:
            another definition of the joint, or a hand of other proportions.
        joint_jump: metres, of each coordinate of a joint in a burst: a constant offset, Student's t with 3 degrees of
            freedom.
        joint_jump_rate: such bursts per second and joint.
        joint_jump_duration: seconds, mean.
        lag: seconds by which the whole estimate is late; not random.
        frozen_rate: bursts per second in which the estimator repeats its last answer.
        frozen_duration: seconds, mean.
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
    joint_drift: float = 0.0
    joint_drift_times: tuple[float, ...] = (2.0, 0.2)
    joint_drift_fractions: tuple[float, ...] = (0.7, 0.3)
    joint_noise: float = 0.0
    joint_shares: tuple[float, float, float] = (1.0, 0.0, 0.0)
    joint_spread: float = 0.0
    joint_offset: float = 0.0
    joint_jump: float = 0.0
    joint_jump_rate: float = 0.0
    joint_jump_duration: float = 0.2
    lag: float = 0.0
    frozen_rate: float = 0.0
    frozen_duration: float = 0.15


HAMER_DEXYCB = NoiseOptions()
_AMPLITUDES = (
    'rotation', 'finger', 'rotation_bias', 'finger_bias', 'finger_jitter', 'joint_jitter', 'jump', 'difficulty',
    'difficulty_drift', 'motion_gain', 'scale', 'scale_drift', 'wrist_depth', 'wrist_depth_drift', 'wrist_across',
    'wrist_jitter', 'occlusion_rate', 'occlusion_gain', 'occlusion_pull', 'dropout_rate', 'swap_rate',
    'joint_drift', 'joint_noise', 'joint_offset', 'joint_jump', 'joint_jump_rate', 'lag', 'frozen_rate',
)  # fmt: skip
_SIZES = (
    'rotation', 'finger', 'rotation_bias', 'finger_bias', 'finger_jitter', 'joint_jitter', 'jump', 'scale',
    'scale_drift', 'wrist_depth', 'wrist_depth_drift', 'wrist_across', 'wrist_jitter', 'joint_drift',
    'joint_noise', 'joint_offset', 'joint_jump', 'lag',
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
