"""The people of the egocentric data: a subject's hands, skin, pace and eyes, and what a video of one is about."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.synthesis.objects.textures import random_colour, skin_colour


@dataclass(frozen=True)
class Person:
    """One subject.

    Attributes:
        shape: (10,) of both hands.
        skin: (3,) RGB of the hands.
        arm: (3,) RGB of forearms or sleeves.
        pace: above 1 for quick people.
        eye: (3,) where the camera is, table frame, metres.
    """

    shape: NDArray
    skin: NDArray
    arm: NDArray
    pace: float
    eye: NDArray


class VideoPlan(NamedTuple):
    """What a video is about.

    Attributes:
        verb: of the action, which names its script.
        noun: the object that it is played with.
        frames: of the action.
        before: frames of rest before it.
        after: frames of rest after it.
    """

    verb: str
    noun: str
    frames: int
    before: int
    after: int

    @property
    def total(self) -> int:
        """All frames of the video."""
        return self.before + self.frames + self.after


def draw_person(seed: int, subject: int) -> Person:
    """Draws the person of a subject number (0-based)."""
    rng = np.random.default_rng([seed, 71, subject])
    skin = skin_colour(rng)
    return Person(
        shape=rng.normal(0, 0.8, 10).clip(-2, 2),
        skin=skin,
        arm=skin * rng.uniform(0.92, 1.0) if rng.random() < 0.4 else random_colour(rng),
        pace=rng.uniform(0.8, 1.25),
        eye=rng.uniform((-0.02, -0.2, 0.38), (0.02, -0.12, 0.48)),
    )


def draw_plan(seed: int, subject: int, video: int, verb: str, noun: str, fewest: int, most: int) -> VideoPlan:
    """Draws the `VideoPlan` of a video, decided by the seed, the subject and the video.

    Args:
        seed: of the dataset.
        subject: number of the subject (0-based).
        video: number of the subject's video (0-based).
        verb: see `VideoPlan`.
        noun: see `VideoPlan`.
        fewest: frames of the shortest action; quick people take fewer.
        most: frames of the longest action.
    """
    rng = np.random.default_rng([seed, 72, subject, video])
    frames = fewest + round((most - fewest) * rng.random() ** draw_person(seed, subject).pace)
    return VideoPlan(verb, noun, frames, *(int(n) for n in rng.integers(0, 4, 2)))
