"""A family of estimators: ranges from which the noise of each clip is drawn (docs/data/noise_model.md).

A refiner that is trained with one set of errors learns these errors. One that must serve estimators it has never seen
is trained with another estimator in every clip.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.datasets.transforms.noise_options import SILENT, NoiseOptions, scale_errors

Range = tuple[float, float]
_MIN_JOINTS = 5
_NOISE = ('joint_noise', 'finger_jitter', 'joint_jitter', 'wrist_jitter')
_FINGERS = np.arange(1, 21).reshape(5, 4)


@dataclass(frozen=True)
class NoiseFamily:
    """Ranges of `NoiseOptions`, (smallest, largest); numbers are drawn log-uniformly unless stated otherwise.

    A clip has one of three kinds of errors: of single joints, each on its own ('joints'); of the hand and its fingers
    as wholes ('hand'); or both at once, each smaller by the square root of 2.

    Attributes:
        kinds: probabilities of 'joints', 'hand' and both.
        strength: factor of all sizes of a clip except the floor.
        clean: probability that an estimator is nearly perfect, with `clean_strength` (of the floor too).
        clean_strength: see `clean`.
        smooth: probability that an estimator smooths its output itself, as those that track do: noise in each frame is
            smaller by `smooth_factor` (of the floor too).
        smooth_factor: see `smooth`.
        slow_time: seconds, time constant of slow errors of both kinds.
        medium_time: seconds, of faster ones.
        freedom: degrees of freedom of Student's t for the noise in each frame.
        estimator_seeds: integers, uniform; the bias of a pose is a function that this number determines.
        depth_ratio: errors along the ray relative to those across it.
        joint_slow: metres, slow error of each coordinate of a joint.
        joint_medium: metres, faster error.
        joint_floor: metres, noise in each frame, which every clip of this kind has.
        joint_spread: of the logarithm of the joints' factors, uniform.
        joint_shares: parameters of the Dirichlet distribution of the shares joint, finger and hand.
        joint_offset: metres, constant in the frame of the palm.
        joint_jump: metres.
        joint_jump_rate: per second and joint.
        joint_jump_duration: seconds.
        joint_jumps: probability that there are such jumps.
        rotation: radians, of the hand.
        finger: metres, of fingertips.
        medium_fraction: of the variance of these two, uniform; the rest is slow.
        rotation_bias: radians.
        finger_bias: metres.
        bias_length: metres.
        finger_jitter: metres.
        joint_jitter: metres.
        jump: metres.
        jump_rate: per second and finger.
        jump_duration: seconds.
        difficulty_drift: uniform.
        motion_gain: seconds per metre, uniform.
        scale: of bones, constant.
        scale_drift: the same, as a process with `slow_time`.
        wrist_depth: relative, constant.
        wrist_depth_drift: relative.
        wrist_across: metres.
        wrist_jitter: metres.
        occlusion_rate: per second.
        occlusion_gain: uniform.
        occlusion_pull: uniform.
        swap_rate: per second.
        lag: seconds.
        lags: probability that an estimate is late.
        frozen_rate: per second.
        frozen_duration: seconds.
        frozen: probability that an estimator repeats answers.
        dropout_rate: per second.
        dropout_duration: seconds.
        dropouts: probability that an estimator loses the hand.
    """

    kinds: tuple[float, float, float] = (0.6, 0.15, 0.25)
    strength: Range = (0.3, 2.0)
    clean: float = 0.1
    clean_strength: Range = (0.02, 0.3)
    smooth: float = 0.15
    smooth_factor: Range = (0.1, 0.5)
    slow_time: Range = (0.8, 6.6)
    medium_time: Range = (0.05, 0.65)
    freedom: Range = (2.0, 30.0)
    estimator_seeds: tuple[int, int] = (1000, 1 << 29)
    depth_ratio: Range = (0.7, 3.0)
    joint_slow: Range = (0.001, 0.006)
    joint_medium: Range = (0.0005, 0.005)
    joint_floor: Range = (0.0004, 0.0025)
    joint_spread: Range = (0.2, 0.6)
    joint_shares: tuple[float, float, float] = (2.0, 0.5, 1.0)
    joint_offset: Range = (0.0005, 0.01)
    joint_jump: Range = (0.005, 0.05)
    joint_jump_rate: Range = (0.02, 0.6)
    joint_jump_duration: Range = (0.03, 0.4)
    joint_jumps: float = 0.8
    rotation: Range = (0.01, 0.2)
    finger: Range = (0.001, 0.008)
    medium_fraction: Range = (0.0, 0.6)
    rotation_bias: Range = (0.01, 0.25)
    finger_bias: Range = (0.001, 0.01)
    bias_length: Range = (0.02, 0.06)
    finger_jitter: Range = (0.0001, 0.002)
    joint_jitter: Range = (0.0001, 0.003)
    jump: Range = (0.008, 0.06)
    jump_rate: Range = (0.02, 1.0)
    jump_duration: Range = (0.03, 0.4)
    difficulty_drift: Range = (0.0, 0.5)
    motion_gain: Range = (0.0, 1.5)
    scale: Range = (0.01, 0.06)
    scale_drift: Range = (0.003, 0.03)
    wrist_depth: Range = (0.005, 0.04)
    wrist_depth_drift: Range = (0.002, 0.016)
    wrist_across: Range = (0.001, 0.006)
    wrist_jitter: Range = (0.0002, 0.004)
    occlusion_rate: Range = (0.05, 0.6)
    occlusion_gain: Range = (0.0, 2.0)
    occlusion_pull: Range = (0.0, 0.6)
    swap_rate: Range = (0.001, 0.05)
    lag: Range = (0.005, 0.05)
    lags: float = 0.1
    frozen_rate: Range = (0.02, 0.5)
    frozen_duration: Range = (0.05, 0.3)
    frozen: float = 0.15
    dropout_rate: Range = (0.02, 0.3)
    dropout_duration: Range = (0.05, 0.3)
    dropouts: float = 0.3

    def draw(self, rng: Generator) -> NoiseOptions:
        """Draws an estimator.

        Args:
            rng: source of the draw.

        Returns:
            The options of its noise.
        """
        kind = int(rng.choice(3, p=self.kinds))
        clean = rng.random() < self.clean
        strength = log_uniform(rng, self.clean_strength if clean else self.strength)
        share = strength * (np.sqrt(0.5) if kind == 2 else 1.0)
        options = replace(
            SILENT,
            depth_ratio=log_uniform(rng, self.depth_ratio),
            jitter_freedom=log_uniform(rng, self.freedom),
            estimator_seed=int(rng.integers(*self.estimator_seeds)),
            **self._interruptions(rng),
        )
        if kind in (0, 2):
            floor = log_uniform(rng, self.joint_floor) * (strength if clean else 1.0)
            options = scale_errors(replace(options, **self._joint_errors(rng)), share)
            options = replace(options, joint_noise=floor)
        if kind in (1, 2):
            hand = scale_errors(replace(SILENT, **self._hand_errors(rng)), share)
            changed = {name: value for name, value in vars(hand).items() if value != vars(SILENT)[name]}
            options = replace(options, **changed)
        if rng.random() < self.smooth:
            factor = log_uniform(rng, self.smooth_factor)
            options = replace(options, **{name: factor * vars(options)[name] for name in _NOISE})
        return replace(options, lag=log_uniform(rng, self.lag) if rng.random() < self.lags and not clean else 0.0)

    def _interruptions(self, rng: Generator) -> dict[str, Any]:
        """Frozen frames and dropouts."""
        found = dict(frozen_duration=log_uniform(rng, self.frozen_duration))
        found |= dict(dropout_duration=log_uniform(rng, self.dropout_duration))
        rates = log_uniform(rng, self.frozen_rate), log_uniform(rng, self.dropout_rate)
        there = rng.random() < self.frozen, rng.random() < self.dropouts
        return {**found, 'frozen_rate': rates[0] * there[0], 'dropout_rate': rates[1] * there[1]}

    def _joint_errors(self, rng: Generator) -> dict[str, Any]:
        """Errors of single joints, before the strength and without the floor."""
        slow, medium = log_uniform(rng, self.joint_slow), log_uniform(rng, self.joint_medium)
        variance = slow**2 + medium**2
        jumps = rng.random() < self.joint_jumps
        names = ('joint_offset', 'joint_jump', 'joint_jump_rate', 'joint_jump_duration')
        found: dict[str, Any] = {name: log_uniform(rng, vars(self)[name]) for name in names}
        found |= {} if jumps else dict(joint_jump=0.0, joint_jump_rate=0.0)
        return found | dict(
            joint_drift=float(np.sqrt(variance)),
            joint_drift_times=(log_uniform(rng, self.slow_time), log_uniform(rng, self.medium_time)),
            joint_drift_fractions=(slow**2 / variance, medium**2 / variance),
            joint_shares=tuple(rng.dirichlet(self.joint_shares).tolist()),
            joint_spread=rng.uniform(*self.joint_spread),
        )

    def _hand_errors(self, rng: Generator) -> dict[str, Any]:
        """Errors of the hand and its fingers as wholes, before the strength."""
        names = (
            'rotation', 'finger', 'rotation_bias', 'finger_bias', 'bias_length', 'finger_jitter', 'joint_jitter',
            'jump', 'jump_rate', 'jump_duration', 'scale', 'scale_drift', 'wrist_depth', 'wrist_depth_drift',
            'wrist_across', 'wrist_jitter', 'occlusion_rate', 'swap_rate',
        )  # fmt: skip
        found: dict[str, Any] = {name: log_uniform(rng, vars(self)[name]) for name in names}
        uniform = ('difficulty_drift', 'motion_gain', 'occlusion_gain', 'occlusion_pull')
        found |= {name: rng.uniform(*vars(self)[name]) for name in uniform}
        medium, slow_time = rng.uniform(*self.medium_fraction), log_uniform(rng, self.slow_time)
        return found | dict(
            time_constants=(slow_time, log_uniform(rng, self.medium_time)),
            time_fractions=(1 - medium, medium),
            scale_time=slow_time,
        )


FAMILY = NoiseFamily()
"""The estimators of training."""

HELD_OUT_FAMILY = replace(
    FAMILY,
    slow_time=(6.6, 12.0),
    medium_time=(0.65, 0.8),
    freedom=(1.6, 2.0),
    estimator_seeds=(1 << 29, 1 << 30),
    joint_floor=(0.0003, 0.001),
)
"""Estimators for testing: errors more persistent and with heavier tails than any of `FAMILY`, and other biases."""


def log_uniform(rng: Generator, bounds: Range) -> float:
    """Draws a number whose logarithm is uniform.

    Args:
        rng: source of the draw.
        bounds: smallest and largest, both above 0.
    """
    return float(np.exp(rng.uniform(*np.log(bounds))))


def draw_joint_set(rng: Generator) -> NDArray[np.bool_]:
    """Draws the joints that an estimator gives: any joints, whole fingers, or the same joints of every finger.

    Args:
        rng: source of the draw.

    Returns:
        (21,) True for at least 5 joints, the wrist among them, and not for all.
    """
    given = np.ones(21, bool)
    kind = rng.integers(3)
    if kind == 0:
        given[1:] = rng.random(20) < rng.uniform(0.3, 0.95)
    elif kind == 1:
        given[_FINGERS[rng.permutation(5)[: rng.integers(1, 4)]]] = False
    else:
        given[_FINGERS[:, rng.permutation(4)[: rng.integers(1, 4)]]] = False
    if given.all():
        given[rng.integers(1, 21)] = False
    missing = rng.permutation(np.flatnonzero(~given))
    given[missing[: max(0, _MIN_JOINTS - int(given.sum()))]] = True
    return given
