"""How things look: skin, object textures, sleeves, tables, walls, light and sensor, all drawn from one generator.

Colours are float RGB, 0 to 1. A `Look` is drawn once per sequence, a `Sensor` and a wall once per camera.
"""

from dataclasses import dataclass

import cv2
import numpy as np

VOXELS = 24  # per axis of an object's solid texture
TABLE_PIXELS, TABLE_METRES = 512, 2.4  # the table's texture and the square that it covers
_LIGHT_SKIN, _DARK_SKIN = np.array([0.93, 0.74, 0.63]), np.array([0.34, 0.20, 0.13])


@dataclass(frozen=True)
class Look:
    """The appearance of one sequence.

    `skin` and `arm` (3,); `textures` one solid (VOXELS, VOXELS, VOXELS, 3) per object.

    `light` (3,) points towards the lamp, table frame; `ambient` is the share of light that falls everywhere;
    `skin_noise` (V,) multiplies the skin; `table` is a texture (TABLE_PIXELS, TABLE_PIXELS, 3), `table_half` its half
    extents in metres, `table_angle` its turn in radians.
    """

    skin: np.ndarray
    arm: np.ndarray
    skin_noise: np.ndarray
    textures: tuple
    light: np.ndarray
    ambient: float
    table: np.ndarray
    table_half: np.ndarray
    table_angle: float


@dataclass(frozen=True)
class Sensor:
    """What a camera adds: exposure, white balance (3,), gamma, blur (px), noise (8-bit steps), shutter (frames)."""

    exposure: float
    white: np.ndarray
    gamma: float
    blur: float
    noise: float
    shutter: float


def draw_look(rng, num_vertices, num_objects):
    """Draws a sequence's appearance for a hand of `num_vertices` and `num_objects` things."""
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


def draw_sensor(rng):
    """Draws one camera's sensor."""
    return Sensor(
        exposure=rng.uniform(1.0, 1.35),
        white=1 + rng.normal(0, 0.03, 3),
        gamma=rng.uniform(0.85, 1.15),
        blur=rng.uniform(0.45, 0.8),
        noise=rng.uniform(1.0, 5.0),
        shutter=rng.uniform(0.15, 0.6),
    )


def skin_colour(rng):
    """Draws a skin's colour (3,), from light to dark."""
    tone = rng.beta(1.1, 1.3)
    return _LIGHT_SKIN * (1 - tone) + _DARK_SKIN * tone + rng.normal(0, 0.02, 3)


def random_colour(rng, low=0.15, high=0.95):
    """Draws a colour (3,) of any hue, from greys to saturated ones."""
    hsv = np.array([[[rng.uniform(0, 360), rng.beta(1.2, 2.0), rng.uniform(low, high)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def solid_texture(rng):
    """Draws a block of colours (VOXELS, VOXELS, VOXELS, 3), indexed by x, y, z: plain, striped, labelled or mottled."""
    block = np.broadcast_to(random_colour(rng, 0.2), (VOXELS, VOXELS, VOXELS, 3)).copy()
    style = rng.integers(4)
    if style == 1:
        width, axis = int(rng.integers(2, 5)), int(rng.integers(3))
        odd = np.arange(VOXELS) // width % 2 == 1
        np.moveaxis(block, axis, 0)[odd] = random_colour(rng, 0.2)
    elif style == 2:
        low, high = int(rng.integers(3, 8)), int(rng.integers(12, 21))
        block[:, :, low:high] = random_colour(rng, 0.3)
        block[: int(rng.integers(8, 16)), :, low + 2 : high - 2] = random_colour(rng)
    elif style == 3:
        spots = rng.random((VOXELS // 3,) * 3) < 0.3
        block[np.kron(spots, np.ones((3, 3, 3))) > 0] = random_colour(rng)
    return (block * (1 + rng.normal(0, 0.03, block.shape[:3] + (1,)))).clip(0, 1)


def flat_texture(rng, pixels):
    """Draws a square picture (pixels, pixels, 3) float32 for a table or a wall."""
    base, other = (_muted(random_colour(rng, 0.25)) for _ in range(2))
    style = rng.integers(5)
    image = np.broadcast_to(base, (pixels, pixels, 3)).astype(np.float32).copy()
    ramp = np.linspace(0, 1, pixels, dtype=np.float32)
    if style == 0:
        mix = (ramp[:, None] * rng.uniform(-1, 1) + ramp[None] * rng.uniform(-1, 1))[..., None] * 0.5 + 0.5
        image = image * (1 - mix) + other.astype(np.float32) * mix
    elif style == 1:
        period = int(rng.integers(16, 70))
        rows = np.repeat(1 + rng.normal(0, 0.12, pixels // period + 1), period)[:pixels]
        image *= rows[:, None, None].astype(np.float32)
    elif style == 2:
        period = int(rng.integers(20, 60))
        odd = (np.arange(pixels)[:, None] // period + np.arange(pixels)[None] // period) % 2 == 1
        image[odd] = base * 0.6 + other * 0.4
    elif style == 3:
        for _ in range(int(rng.integers(6, 25))):
            colour = random_colour(rng).tolist()
            centre = rng.integers(0, pixels, 2).tolist()
            extent = rng.integers(pixels // 30, pixels // 5, 2)
            if rng.random() < 0.5:
                cv2.ellipse(image, centre, extent.tolist(), rng.uniform(0, 360), 0, 360, colour, -1)
            else:
                cv2.rectangle(image, centre, (np.array(centre) + extent).tolist(), colour, -1)
    image *= 1 + rng.uniform(0.03, 0.25) * _clouds(rng, pixels)[..., None]
    return np.clip(image, 0.02, 1.0)


def _muted(colour):
    """The colour nearer to grey: large surfaces are seldom vivid."""
    return 0.6 * colour + 0.4 * colour.mean()


def _clouds(rng, pixels):
    """Smooth noise (pixels, pixels), roughly -1 to 1: a few octaves of enlarged random grids."""
    total = np.zeros((pixels, pixels), np.float32)
    for cells, weight in ((4, 0.5), (16, 0.3), (96, 0.2)):
        grid = rng.normal(0, 1, (cells, cells)).astype(np.float32)
        total += weight * cv2.resize(grid, (pixels, pixels), interpolation=cv2.INTER_CUBIC)
    return total
