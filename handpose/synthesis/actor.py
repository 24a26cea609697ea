"""The people of the two-hand pose sequences, the actions that they perform, and the plans of their recordings.

Actions differ in what happens, in the order in which it happens (the second of 'grab' and 'place' is the first played
backwards), and in pace ('slowly pour' is 'pour' at another speed). Table frame: z up, the person at -y, metres.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

POSE_RATE = 60  # frames a second
SLOWLY = 'slowly '  # how the verb of an action at another pace begins
_SLOW_PULSES = 0.4  # times the usual rate of what is done again and again
_SECONDS = (2.0, 8.0)  # of the shortest and the longest action
_STEP = 2  # frames: an action begins and ends with a frame at 30 per second


class ScriptedAction(NamedTuple):
    """An action.

    Attributes:
        verb: names the script; one that begins with `SLOWLY` names the script at a slower pace.
        noun: the object.
        shortest: seconds, of a person of average tempo.
        longest: seconds.
    """

    verb: str
    noun: str
    shortest: float
    longest: float

    @property
    def name(self) -> str:
        """Verb and noun, as the dataset has them."""
        return f'{self.verb} {self.noun}'

    @property
    def script(self) -> str:
        """The verb of the script."""
        return self.verb.removeprefix(SLOWLY)

    @property
    def pulse_rate(self) -> float:
        """Times the usual rate of what is done again and again."""
        return _SLOW_PULSES if self.verb.startswith(SLOWLY) else 1.0


ACTIONS = tuple(
    ScriptedAction(verb, noun, shortest, longest)
    for verb, noun, shortest, longest in (
        ('grab', 'milk', 2.2, 3.5), ('place', 'milk', 2.2, 3.5), ('grab', 'book', 2.2, 3.5),
        ('place', 'book', 2.2, 3.5), ('open', 'milk', 2.6, 4.5), ('close', 'milk', 2.6, 4.5),
        ('open', 'lotion', 2.6, 4.5), ('close', 'lotion', 2.6, 4.5), ('take out', 'cocoa', 2.4, 4.0),
        ('put in', 'cocoa', 2.4, 4.0), ('take out', 'letter', 2.4, 4.0), ('put in', 'letter', 2.4, 4.0),
        ('pour', 'milk', 2.5, 4.0), ('slowly pour', 'milk', 5.5, 8.0), ('squeeze', 'lotion', 3.0, 5.5),
        ('slowly squeeze', 'lotion', 3.0, 5.5), ('spray', 'spray', 3.0, 5.5), ('slowly spray', 'spray', 3.0, 5.5),
        ('knead', 'sponge', 3.0, 5.5), ('slowly knead', 'sponge', 3.0, 5.5), ('flip', 'sponge', 2.2, 3.5),
        ('slowly flip', 'sponge', 4.8, 7.0), ('read', 'book', 3.5, 6.0), ('hold', 'letter', 3.0, 5.5),
    )
)  # fmt: skip
"""The actions, in the order of their numbers."""


@dataclass(frozen=True)
class Actor:
    """One person.

    Attributes:
        shape: (10,) of both hands.
        tempo: above 1 for quick people.
        rest: (2, 3) metres, by which the hands, left and right, rest elsewhere than those of others.
        unrest: how much the hands move that hold still, times the average.
        heading: radians about z, by which the person is turned.
        pause: seconds between actions, mean.
    """

    shape: NDArray
    tempo: float
    rest: NDArray
    unrest: float
    heading: float
    pause: float


class PlannedAction(NamedTuple):
    """One action of a recording: which of `ACTIONS`, and its frames `first` to `last`, 60 a second."""

    action: ScriptedAction
    first: int
    last: int

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return (self.last - self.first) / POSE_RATE


def draw_actor(seed: int, subject: int) -> Actor:
    """Draws the person of a subject number (0-based)."""
    rng = np.random.default_rng([seed, 81, subject])
    return Actor(
        shape=rng.normal(0, 0.8, 10).clip(-2, 2),
        tempo=float(np.exp(np.clip(rng.normal(0, 0.12), -0.2, 0.2))),
        rest=rng.normal(0, (0.025, 0.03, 0.01), (2, 3)).clip(-0.05, 0.05),
        unrest=float(rng.uniform(0.6, 1.5)),
        heading=float(rng.normal(0, 0.15)),
        pause=float(rng.uniform(0.5, 0.9)),
    )


def plan_recording(
    seed: int, subject: int, recording: int, actions: Sequence[ScriptedAction], count: int
) -> tuple[list[PlannedAction], int]:
    """Plans a recording, decided by the seed, the subject and the number of the recording.

    A person performs all actions in a random order, then all again in another one, and so on; a recording has `count`
    of them.

    Args:
        seed: of the dataset.
        subject: number of the subject (0-based).
        recording: number of the subject's recording (0-based).
        actions: all that the person performs.
        count: how many a recording has.

    Returns:
        The actions in the order of time, and the number of frames of the recording.
    """
    rng, actor = np.random.default_rng([seed, 82, subject, recording]), draw_actor(seed, subject)
    planned, frame = [], _frames(rng.uniform(0.5, 1.0))
    for place in range(recording * count, (recording + 1) * count):
        order = np.random.default_rng([seed, 83, subject, place // len(actions)]).permutation(len(actions))
        action = actions[order[place % len(actions)]]
        length = _frames(np.clip(rng.uniform(action.shortest, action.longest) / actor.tempo, *_SECONDS))
        planned.append(PlannedAction(action, frame, frame + length))
        frame += length + _frames(actor.pause * rng.uniform(0.7, 1.4))
    return planned, frame


def _frames(seconds: float) -> int:
    """Frames of so many seconds, a multiple of `_STEP`."""
    return _STEP * round(seconds * POSE_RATE / _STEP)
