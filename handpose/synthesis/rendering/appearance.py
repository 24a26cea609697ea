"""How a scene looks: skin, sleeves, object textures, table, light and sensor, all drawn from one generator.

Colours are float RGB, 0 to 1. A `Look` is drawn once per sequence, a `Sensor` once per camera.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.synthesis.objects.textures import flat_texture, random_colour, skin_colour, solid_texture

TABLE_PIXELS, TABLE_METRES = 512, 2.4  # the table's texture and the square that it covers


@dataclass(frozen=True)
class Look:
    """The appearance of one sequence.

    Attributes:
        skin: (3,) of the hands.
        arm: (3,) of the forearms, or of the sleeves over them.
        skin_noise: (V,) factors of the skin's colour.
        textures: one solid (VOXELS, VOXELS, VOXELS, 3) per object.
        light: (3,) unit vector towards the lamp, table frame.
        ambient: the share of light that falls everywhere.
        table: texture (TABLE_PIXELS, TABLE_PIXELS, 3).
        table_half: (2,) half extents of the table, metres.
        table_angle: its turn about z, radians.
    """

    skin: NDArray
    arm: NDArray
    skin_noise: NDArray
    textures: tuple[NDArray, ...]
    light: NDArray
    ambient: float
    table: NDArray
    table_half: NDArray
    table_angle: float


@dataclass(frozen=True)
class Sensor:
    """What a camera adds: exposure, white balance (3,), gamma, blur (px), noise (8-bit steps), shutter (frames)."""

    exposure: float
    white: NDArray
    gamma: float
    blur: float
    noise: float
    shutter: float


def draw_look(rng: Generator, num_vertices: int, num_objects: int) -> Look:
    """Draws a sequence's appearance for hands of `num_vertices` and for `num_objects` objects."""
    skin = skin_colour(rng)
    bare = rng.random() < 0.5
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(35, 80))
    return Look(
        skin=skin,
        arm=skin * rng.uniform(0.92, 1.0) if bare else random_colour(rng),
        skin_noise=1 + rng.normal(0, 0.025, num_vertices),
        textures=tuple(solid_texture(rng) for _ in range(num_objects)),
        light=np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]),
        ambient=rng.uniform(0.45, 0.7),
        table=flat_texture(rng, TABLE_PIXELS),
        table_half=rng.uniform((0.45, 0.35), (0.9, 0.7)),
        table_angle=rng.uniform(-0.3, 0.3),
    )


def draw_sensor(rng: Generator) -> Sensor:
    """Draws one camera's sensor."""
    return Sensor(
        exposure=rng.uniform(1.0, 1.35),
        white=1 + rng.normal(0, 0.03, 3),
        gamma=rng.uniform(0.85, 1.15),
        blur=rng.uniform(0.45, 0.8),
        noise=rng.uniform(1.0, 5.0),
        shutter=rng.uniform(0.15, 0.6),
    )
