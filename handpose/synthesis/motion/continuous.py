"""Several scripted actions in a row, as one movement of both hands without jumps or stops. Metres, radians.

A script is evaluated beyond its beginning and its end, where what moves in it once stands still and what it does again
and again goes on; one action passes into the next along a minimum-jerk curve. Legend: F frames.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.synthesis.actor import POSE_RATE, Actor, PlannedAction
from handpose.synthesis.motion.action_script import ScriptContext
from handpose.synthesis.motion.actions import SCRIPTS, play_script
from handpose.synthesis.motion.trajectories import HandTrajectory, minimum_jerk

SIDES = (Side.LEFT, Side.RIGHT)
_USUAL_SECONDS = 2.2  # of an action for which scripts state how often something happens
_INTO = 6  # frames of an action's beginning and end that belong to the passage from one action to the next
_LIFT = (0.0, 0.05)  # metres by which hands are higher halfway from one action to the next
_TURN_FREELY = 3 * np.pi / 4  # radians: a hand that turns by more takes the way with the thumb up
_THUMB = 2  # the axis of a wrist that points towards the thumb
# Metres, radians and radians: how far hands that hold still wander, turn and bend, one sigma.
_WANDER, _TURN, _BEND = 0.0025, 0.02, 0.02
_WAVES, _FREQUENCIES = 6, (0.12, 1.6)  # sine waves of that, per second


class HandPath(NamedTuple):
    """The wrist (F, 4, 4) of a hand to the table frame, and its finger angles (F, 15, 3)."""

    wrist: NDArray
    angles: NDArray


class PacedContext(ScriptContext):
    """What a script of a chosen length and pace draws from, at 60 frames a second.

    Args:
        rng: numpy Generator.
        model: the hand model.
        actor: who performs it.
        plan: the action; time 0 is its first frame, time 1 its last.
        start: first frame of the recording for which the script is evaluated.
        stop: last frame + 1.
    """

    def __init__(
        self, rng: Generator, model: ProceduralHand, actor: Actor, plan: PlannedAction, start: int, stop: int
    ) -> None:
        super().__init__(rng, model, actor.shape, stop - start)
        self.time = (np.arange(start, stop) - plan.first) / (plan.last - plan.first)
        if SCRIPTS[plan.action.script][1]:  # the whole is then played backwards
            self.time = 1 - self.time[::-1]
        self.seconds = plan.seconds
        self._actor = actor
        self._pulse_rate = plan.action.pulse_rate * actor.tempo

    def pulses(self, low: float, high: float) -> NDArray:
        """See `ScriptContext.pulses`; the number of waves grows with the length of the action."""
        many = self._pulse_rate * self.seconds / _USUAL_SECONDS
        return super().pulses(low * many, high * many)

    def resting(self, side: int) -> HandTrajectory:
        """See `ScriptContext.resting`; people rest their hands in different places."""
        hand = super().resting(side)
        hand.track[:, :3, 3] += self._actor.rest[side]
        return hand


def play_recording(
    rng: Generator, model: ProceduralHand, actor: Actor, plans: list[PlannedAction], frames: int
) -> dict[int, HandPath]:
    """Plays the actions of a recording one after the other.

    Args:
        rng: numpy Generator.
        model: the hand model.
        actor: who performs them.
        plans: the actions, in the order of time.
        frames: F, of the recording.

    Returns:
        {side: HandPath} of both hands.
    """
    starts = [0, *(plan.last - _INTO for plan in plans[:-1])]
    stops = [*(plan.first + _INTO for plan in plans[1:]), frames]
    paths: dict[int, HandPath] = {}
    for number, (plan, start, stop) in enumerate(zip(plans, starts, stops, strict=True)):
        context = PacedContext(rng, model, actor, plan, start, stop)
        hands = play_script(plan.action.script, plan.action.noun, context).hands
        overlap = stops[number - 1] - start if number else 0
        for side in SIDES:
            path = HandPath(hands[side].track, hands[side].angles)
            lift = rng.uniform(*_LIFT)
            paths[side] = join_paths(paths[side], path, overlap, lift) if number else path
    return {side: _restless(rng, path, actor.unrest) for side, path in paths.items()}


def join_paths(first: HandPath, second: HandPath, overlap: int, lift: float = 0.0) -> HandPath:
    """Passes from one path to another.

    Args:
        first: (F1, ...).
        second: (F2, ...), whose first frames are the last ones of `first`.
        overlap: how many frames they have in common.
        lift: metres by which the hand is higher halfway.

    Returns:
        (F1 + F2 - overlap, ...), with the velocities of `first` at the beginning of the passage and of `second` at its
        end.
    """
    share = minimum_jerk(np.arange(overlap), 0, overlap - 1)
    leaving, coming = first.wrist[-overlap:], second.wrist[:overlap]
    between = leaving.copy()
    turn = relative_turns(leaving[:, :3, :3], coming[:, :3, :3])
    between[:, :3, :3] = leaving[:, :3, :3] @ Rotation.from_rotvec(share[:, None] * turn).as_matrix()
    between[:, :3, 3] += share[:, None] * (coming[:, :3, 3] - leaving[:, :3, 3])
    between[:, 2, 3] += lift * (4 * share * (1 - share)) ** 2  # squared: smooth at both ends
    bent = first.angles[-overlap:]
    bent = bent + share[:, None, None] * (second.angles[:overlap] - bent)
    return HandPath(
        np.concatenate([first.wrist[:-overlap], between, second.wrist[overlap:]]),
        np.concatenate([first.angles[:-overlap], bent, second.angles[overlap:]]),
    )


def relative_turns(first: NDArray, second: NDArray) -> NDArray:
    """Rotation vectors (F, 3) from one changing orientation to another, without jumps where they exceed half a turn.

    Of the two ways round, the one is taken that is shorter in the middle of the time; if it is hardly shorter, the one
    on which the thumb points up, as it does when a forearm turns.

    Args:
        first: (F, 3, 3).
        second: (F, 3, 3).
    """
    quats = Rotation.from_matrix(first.transpose(0, 2, 1) @ second).as_quat()
    same_sign = np.where((quats[1:] * quats[:-1]).sum(1) < 0, -1.0, 1.0)
    quats *= np.cumprod(np.concatenate([[1.0], same_sign]))[:, None]
    middle = len(quats) // 2
    turns = _rotvecs(quats) if quats[middle, 3] >= 0 else _rotvecs(-quats)
    if np.linalg.norm(turns[middle]) > _TURN_FREELY:
        others = _rotvecs(-quats) if quats[middle, 3] >= 0 else _rotvecs(quats)
        halfway = [first[middle] @ Rotation.from_rotvec(way[middle] / 2).as_matrix() for way in (turns, others)]
        if halfway[1][2, _THUMB] > halfway[0][2, _THUMB]:
            return others
    return turns


def _rotvecs(quats: NDArray) -> NDArray:
    """Rotation vectors (F, 3), up to a whole turn, of unit quaternions (F, 4), w last, that change smoothly."""
    sine = np.linalg.norm(quats[:, :3], axis=1)
    angle = 2 * np.arctan2(sine, quats[:, 3])
    return quats[:, :3] * (angle / np.maximum(sine, 1e-9))[:, None]


def _restless(rng: Generator, path: HandPath, size: float) -> HandPath:
    """Adds what hands do that hold still; `size` times the average."""
    frames = len(path.wrist)
    wrist = path.wrist.copy()
    wrist[:, :3, 3] += _WANDER * size * _wander(rng, frames, 3)
    turns = Rotation.from_rotvec(_TURN * size * _wander(rng, frames, 3)).as_matrix()
    wrist[:, :3, :3] = wrist[:, :3, :3] @ turns
    bend = np.repeat(_wander(rng, frames, 5), 3, axis=1)  # a finger's joints together
    bend += 0.4 * _wander(rng, frames, 15)
    angles = path.angles.copy()
    angles[:, :, 2] += _BEND * size * bend
    return HandPath(wrist, angles)


def _wander(rng: Generator, frames: int, channels: int) -> NDArray:
    """Smooth random numbers (F, channels) of zero mean and unit variance, slow ones above all."""
    low, high = np.log(_FREQUENCIES)
    rate = np.exp(rng.uniform(low, high, (_WAVES, channels)))
    weight = rate**-0.5
    weight *= np.sqrt(2 / (weight**2).sum(0))
    phase = rng.uniform(0, 2 * np.pi, (_WAVES, channels))
    time = np.arange(frames)[:, None] / POSE_RATE
    waves = np.zeros((frames, channels))
    for wave in range(_WAVES):
        waves += weight[wave] * np.sin(2 * np.pi * rate[wave] * time + phase[wave])
    return waves
