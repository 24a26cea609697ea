"""Colours and textures, all drawn from one generator. Colours are float RGB, 0 to 1."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

VOXELS = 24  # per axis of an object's solid texture
_LIGHT_SKIN, _DARK_SKIN = np.array([0.93, 0.74, 0.63]), np.array([0.34, 0.20, 0.13])
_COLOUR_SPREAD = 0.04  # one sigma of an instance's colours


def skin_colour(rng: Generator) -> NDArray:
    """Draws a skin's colour (3,), from light to dark."""
    tone = rng.beta(1.1, 1.3)
    return _LIGHT_SKIN * (1 - tone) + _DARK_SKIN * tone + rng.normal(0, 0.02, 3)


def random_colour(rng: Generator, low: float = 0.15, high: float = 0.95) -> NDArray:
    """Draws a colour (3,) of any hue, from greys to saturated ones."""
    hsv = np.array([[[rng.uniform(0, 360), rng.beta(1.2, 2.0), rng.uniform(low, high)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)


def solid_texture(rng: Generator) -> NDArray:
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


def painted_texture(
    rng: Generator,
    base: ArrayLike,
    bands: Iterable[tuple[float, float, ArrayLike]] = (),
    label: ArrayLike | None = None,
    spots: float = 0.0,
) -> NDArray:
    """Draws a solid texture in given colours, each instance a little different.

    Args:
        rng: numpy Generator.
        base: (3,) colour of the body.
        bands: (low, high, colour) along z, from 0 to 1.
        label: colour of a label on the front and the back.
        spots: share of the block in spots of a darker base colour.

    Returns:
        (VOXELS, VOXELS, VOXELS, 3).
    """
    block = np.empty((VOXELS, VOXELS, VOXELS, 3))
    block[:] = similar_colour(rng, base)
    for low, high, colour in bands:
        block[:, :, round(low * VOXELS) : round(high * VOXELS)] = similar_colour(rng, colour)
    if label is not None:
        colour, (low, high) = similar_colour(rng, label), (round(0.35 * VOXELS), round(0.62 * VOXELS))
        block[9:15, :, low:high] = colour
    if spots:
        chosen = np.kron(rng.random((VOXELS // 2,) * 3) < spots, np.ones((2, 2, 2))) > 0
        block[chosen] = similar_colour(rng, 0.55 * np.asarray(base))
    return (block * (1 + rng.normal(0, 0.02, block.shape[:3] + (1,)))).clip(0, 1)


def similar_colour(rng: Generator, colour: ArrayLike) -> NDArray:
    """Draws a colour (3,) near another."""
    return (np.asarray(colour) * rng.normal(1, _COLOUR_SPREAD) + rng.normal(0, _COLOUR_SPREAD, 3)).clip(0.02, 1)


def flat_texture(rng: Generator, pixels: int) -> NDArray:
    """Draws a square image (pixels, pixels, 3) float32 for a table or a wall."""
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


def _muted(colour: NDArray) -> NDArray:
    """The colour nearer to grey: large surfaces are seldom vivid."""
    return 0.6 * colour + 0.4 * colour.mean()


def _clouds(rng: Generator, pixels: int) -> NDArray:
    """Smooth noise (pixels, pixels), roughly -1 to 1: a few octaves of enlarged random grids."""
    total = np.zeros((pixels, pixels), np.float32)
    for cells, weight in ((4, 0.5), (16, 0.3), (96, 0.2)):
        grid = rng.normal(0, 1, (cells, cells)).astype(np.float32)
        total += weight * cv2.resize(grid, (pixels, pixels), interpolation=cv2.INTER_CUBIC)
    return total
