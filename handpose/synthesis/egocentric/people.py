"""Who acts and who looks: a person's hands, skin, pace and eyes, and how the head-mounted camera moves.

Table frame: z up, the person at -y, metres.
"""

from dataclasses import dataclass

import numpy as np
import torch

from handpose.geometry import look_at
from handpose.synthesis.appearance import random_colour, skin_colour
from handpose.synthesis.egocentric.tracks import sway

FOCAL_SHARE = 0.7  # of the picture's width: 71 degrees wide


@dataclass(frozen=True)
class Person:
    """One subject.

    `shape` (10,) of both hands; `skin`, `arm` (3,) RGB of hands and of forearms or sleeves; `pace`, above 1 for quick
    people; `eye` (3,) metres, where the camera is.
    """

    shape: np.ndarray
    skin: np.ndarray
    arm: np.ndarray
    pace: float
    eye: np.ndarray


def draw_person(seed, subject):
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


def draw_frames(rng, person, low, high):
    """A number of frames from `low` to `high`: quick people take fewer."""
    return low + round((high - low) * rng.random() ** person.pace)


def draw_intrinsics(seed, size):
    """Intrinsics (3, 3) of the one camera of a data set, for pictures of (width, height)."""
    rng = np.random.default_rng([seed, 33])
    focal = FOCAL_SHARE * size[0] * (1 + rng.uniform(-0.02, 0.02))
    centre = (np.array(size) - 1) / 2 + np.array(size) * rng.uniform(-0.01, 0.01, 2)
    return np.array([[focal, 0, centre[0]], [0, focal * (1 + rng.uniform(-0.002, 0.002)), centre[1]], [0, 0, 1]])


def move_camera(rng, person, frames, rate):
    """Extrinsics (F, 4, 4), table to camera, of a head that sways and looks about; alike when played backwards."""
    time, seconds = np.arange(frames) / max(frames - 1, 1), frames / rate
    eye = person.eye + rng.normal(0, 0.015, 3) + sway(rng, time, seconds, 0.012)
    aim = np.array([0, 0.12, 0.08]) + rng.normal(0, (0.03, 0.025, 0.02)) + sway(rng, time, seconds, 0.02)
    up = np.array([0, 0, 1.0]) + rng.normal(0, 0.04, 3) + sway(rng, time, seconds, 0.025)
    return look_at(*(torch.from_numpy(v) for v in (eye, aim, up))).numpy()
