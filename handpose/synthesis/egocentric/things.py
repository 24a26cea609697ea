"""The things that hands act on: what they are made of, what colour they are, and where one takes hold of them.

A thing is one or several rigid pieces. A piece's frame has z up, its axis at x = y = 0 and its bottom at z = 0, and is
symmetric under x -> -x (the halves of an open book mirror each other), so that a left hand's grip is the mirror image
of a right hand's. Metres, RGB 0 to 1.
"""

from typing import NamedTuple

import numpy as np

from handpose.synthesis.appearance import VOXELS, random_colour
from handpose.synthesis.objects import Box, Revolved, SceneObject, cylinder_profile

_SIZE_SPREAD = 0.05  # one sigma of an instance's size
_COLOUR_SPREAD = 0.04


class Piece(NamedTuple):
    """A rigid piece: its shape and its solid texture (VOXELS, VOXELS, VOXELS, 3).

    `grip` = (height, half width along x) of where a palm goes; `top` is the height of its upper end.
    """

    solid: SceneObject
    texture: np.ndarray
    grip: tuple
    top: float


def _piece(name, parts, texture, grip, top):
    return Piece(SceneObject(0, name, tuple(parts), top, (grip[0], grip[1], grip[1])), texture, grip, top)


def painted(rng, base, bands=(), label=None, spots=0.0):
    """A solid texture: bands (low, high, colour) along z, a label's colour on the front and back, a share of spots.

    Every instance is a little different in colour.
    """
    block = np.empty((VOXELS, VOXELS, VOXELS, 3))
    block[:] = _near(rng, base)
    for low, high, colour in bands:
        block[:, :, round(low * VOXELS) : round(high * VOXELS)] = _near(rng, colour)
    if label is not None:
        colour, (low, high) = _near(rng, label), (round(0.35 * VOXELS), round(0.62 * VOXELS))
        block[9:15, :, low:high] = colour
    if spots:
        chosen = np.kron(rng.random((VOXELS // 2,) * 3) < spots, np.ones((2, 2, 2))) > 0
        block[chosen] = _near(rng, 0.55 * np.asarray(base))
    return (block * (1 + rng.normal(0, 0.02, block.shape[:3] + (1,)))).clip(0, 1)


def _near(rng, colour):
    return (np.asarray(colour) * rng.normal(1, _COLOUR_SPREAD) + rng.normal(0, _COLOUR_SPREAD, 3)).clip(0.02, 1)


def _sizes(rng, *sizes):
    return np.array(sizes) * rng.normal(1, _SIZE_SPREAD, len(sizes)).clip(0.88, 1.12)


def _carton(rng, base, band, cap):
    half, depth, height = _sizes(rng, 0.033, 0.033, 0.17)
    body = [
        Box((half, depth, height / 2), (0, 0, height / 2), 0.004),
        Revolved(cylinder_profile(0.013, height - 0.005, height + 0.01)),
    ]
    texture = painted(rng, base, ((0, 0.34, band), (0.72, 0.8, band)), label=band)
    return _piece('carton', body, texture, (0.45 * height, half), height + 0.01), _cap(rng, 0.017, 0.024, cap)


def _cap(rng, radius, height, colour):
    radius, height = _sizes(rng, radius, height)
    texture = painted(rng, colour, ((0.8, 1, 0.75 * np.asarray(colour)),))
    return _piece('cap', [Revolved(cylinder_profile(radius, 0, height))], texture, (height / 2, radius), height)


def _bottle(rng, base, band, cap, radius=0.03, height=0.13, cap_size=(0.016, 0.034)):
    radius, height = _sizes(rng, radius, height)
    neck, shoulder = 0.75 * cap_size[0], 0.78 * height
    profile = (
        (0.0, 0.0), (radius - 0.004, 0.0), (radius, 0.004), (radius, shoulder), (0.8 * radius, shoulder + 0.012),
        (neck, height - 0.008), (neck, height + 0.008), (0.0, height + 0.008),
    )  # fmt: skip
    texture = painted(rng, base, ((0.2, 0.55, band),), label=0.6 * np.asarray(base))
    body = _piece('bottle', [Revolved(profile)], texture, (0.42 * shoulder + 0.01, radius), height + 0.008)
    return body, _cap(rng, *cap_size, cap)


def _milk(rng):
    return _carton(rng, (0.93, 0.94, 0.96), (0.12, 0.3, 0.8), (0.1, 0.2, 0.75))


def _lotion(rng):
    return _bottle(rng, (0.95, 0.62, 0.72), (0.97, 0.93, 0.93), (0.72, 0.12, 0.35))


def _chips(rng):
    radius, height = _sizes(rng, 0.036, 0.19)
    texture = painted(rng, (0.8, 0.1, 0.08), ((0.3, 0.7, (0.97, 0.8, 0.15)), (0.93, 1, (0.85, 0.85, 0.8))))
    return (_piece('tube', [Revolved(cylinder_profile(radius, 0, height))], texture, (0.45 * height, radius), height),)


def _spray(rng):
    radius, height = _sizes(rng, 0.03, 0.12)
    profile = (
        (0, 0), (radius - 0.003, 0), (radius, 0.003), (radius, 0.7 * height), (0.013, height), (0.013, height + 0.03),
        (0, height + 0.03),
    )  # fmt: skip
    parts = [
        Revolved(profile),
        Box((0.014, 0.032, 0.014), (0, 0.012, height + 0.04), 0.003),
        Box((0.004, 0.005, 0.02), (0, 0.03, height + 0.012), 0.001),
    ]
    texture = painted(rng, (0.25, 0.72, 0.9), ((0.15, 0.45, (0.95, 0.97, 1.0)), (0.72, 1, (0.95, 0.45, 0.1))))
    return (_piece('spray', parts, texture, (0.65 * height, radius), height + 0.054),)


def _cocoa(rng):
    width, depth, height = _sizes(rng, 0.026, 0.009, 0.095)
    packet = Box((width, depth, height / 2), (0, 0, height / 2), 0.004)
    texture = painted(rng, (0.42, 0.22, 0.1), ((0.55, 0.75, (0.9, 0.7, 0.25)),))
    return (_piece('packet', [packet], texture, (0.85 * height, depth), height),)


def _tin(rng):
    radius, height = _sizes(rng, 0.052, 0.075)
    texture = painted(rng, (0.35, 0.42, 0.36), ((0.1, 0.2, (0.75, 0.75, 0.6)), (0.6, 0.7, (0.75, 0.75, 0.6))))
    return (_piece('tin', [Revolved(_hollow(radius, height))], texture, (0.5 * height, radius), height),)


def _cup(rng):
    radius, height = _sizes(rng, 0.037, 0.085)
    texture = painted(rng, random_colour(rng, 0.3))
    return (_piece('cup', [Revolved(_hollow(radius, height))], texture, (0.5 * height, radius), height),)


def _hollow(radius, height, wall=0.003):
    """The profile of a round vessel that is open above."""
    inner = radius - wall
    return (
        (0.0, 0.0), (0.85 * radius, 0.0), (radius, height), (inner, height), (0.85 * radius - wall, 0.006), (0.0, 0.006)
    )  # fmt: skip


def _book(rng):
    width, depth, height = _sizes(rng, 0.07, 0.011, 0.19)
    cover = Box((width, depth, height / 2), (0, 0, height / 2), 0.002)
    texture = painted(rng, (0.36, 0.14, 0.5), ((0.62, 0.72, (0.9, 0.85, 0.4)),), label=(0.85, 0.5, 0.75))
    return (_piece('book', [cover], texture, (0.5 * height, depth), height),)


def _open_book(rng):
    """The right half, the left half and a page; the spine is the axis x = 0, pages look to -y."""
    width, height = _sizes(rng, 0.066, 0.19)
    paper, cover = (0.93, 0.91, 0.84), (0.36, 0.14, 0.5)
    pieces = []
    for side in (1, -1):
        half = Box((width, 0.005, height / 2), (side * width, 0, height / 2), 0.001)
        texture = painted(rng, paper, [(z, z + 0.05, (0.6, 0.6, 0.62)) for z in np.arange(0.15, 0.85, 0.13)])
        texture[:, VOXELS // 2 :] = _near(rng, cover)
        pieces.append(_piece('half', [half], texture, (0.4 * height, 2 * width), height))
    page = Box((0.95 * width, 0.0012, 0.48 * height), (0.96 * width, 0, height / 2), 0.0005)
    pieces.append(_piece('page', [page], painted(rng, (0.97, 0.96, 0.9)), (0.4 * height, 1.9 * width), height))
    return tuple(pieces)


def _juice(rng):
    return _bottle(rng, (0.97, 0.6, 0.1), (0.2, 0.6, 0.15), (0.15, 0.5, 0.12), 0.033, 0.185, (0.018, 0.026))


def _soap(rng):
    return _bottle(rng, (0.25, 0.7, 0.65), (0.85, 0.95, 0.95), (0.95, 0.95, 0.9), 0.031, 0.14, (0.015, 0.03))


def _jar(rng):
    return _bottle(rng, (0.6, 0.38, 0.16), (0.85, 0.75, 0.5), (0.75, 0.1, 0.1), 0.035, 0.085, (0.031, 0.022))


def _sponge(rng):
    half, depth, height = _sizes(rng, 0.045, 0.03, 0.032)
    block = Box((half, depth, height / 2), (0, 0, height / 2), 0.004)
    texture = painted(rng, (0.95, 0.85, 0.25), spots=0.15)
    texture[:, :, int(0.58 * VOXELS) :] = painted(rng, (0.15, 0.5, 0.25))[:, :, int(0.58 * VOXELS) :]
    return (_piece('sponge', [block], texture, (0.5 * height, depth), height),)


def _letter(rng):
    width, height = _sizes(rng, 0.062, 0.13)
    lines = [(z, z + 0.04, (0.3, 0.3, 0.45)) for z in np.arange(0.12, 0.85, 0.12)]
    texture = painted(rng, (0.95, 0.95, 0.97), lines)
    sheet = Box((width, 0.001, height / 2), (0, 0, height / 2), 0.0005)
    return (_piece('letter', [sheet], texture, (0.4 * height, 2 * width), height),)


def _envelope(rng):
    width, height = _sizes(rng, 0.072, 0.095)
    pouch = Box((width, 0.004, height / 2), (0, 0, height / 2), 0.001)
    texture = painted(rng, (0.75, 0.6, 0.4), label=(0.9, 0.88, 0.8))
    return (_piece('envelope', [pouch], texture, (0.4 * height, 2 * width), height),)


_MAKERS = {
    'milk': _milk, 'lotion': _lotion, 'chips': _chips, 'spray': _spray, 'cocoa': _cocoa, 'book': _book,
    'juice_bottle': _juice, 'liquid_soap': _soap, 'peanut_butter': _jar, 'sponge': _sponge, 'letter': _letter,
    'envelope': _envelope, 'tin': _tin, 'cup': _cup, 'open book': _open_book,
}  # fmt: skip


def make_thing(name, rng):
    """Draws an instance of a thing: its pieces, the main one first."""
    return _MAKERS[name](rng)
