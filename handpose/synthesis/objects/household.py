"""Household objects of the egocentric actions: what they are made of, their colours, and where hands take hold of them.

An object comes in one or several rigid pieces (a bottle and its cap). Pieces stand on z = 0 and are symmetric under
x -> -x (the halves of an open book mirror each other): a left hand's grip is the mirror image of a right hand's.
"""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.synthesis.objects.shapes import Box, Revolved, SceneObject, Shape, cup_profile, cylinder_profile
from handpose.synthesis.objects.textures import VOXELS, painted_texture, random_colour, similar_colour

Colour = tuple[float, float, float]
Objects = tuple[SceneObject, ...]
_SIZE_SPREAD = 0.05  # one sigma of an instance's size


def _object(
    kind: str, shapes: Iterable[Shape], texture: NDArray, grip: tuple[float, float], height: float
) -> SceneObject:
    return SceneObject(kind, tuple(shapes), height, (grip[0], grip[1], grip[1]), texture=texture)


def _vessel(radius: float, height: float) -> Shape:
    return Revolved(cup_profile(0.85 * radius, radius, 0.0, height, 0.003, 0.006))


def _sizes(rng: Generator, *sizes: float) -> NDArray:
    return np.array(sizes) * rng.normal(1, _SIZE_SPREAD, len(sizes)).clip(0.88, 1.12)


def _carton(rng: Generator, base: Colour, band: Colour, cap: Colour) -> Objects:
    half, depth, height = _sizes(rng, 0.033, 0.033, 0.17)
    body: list[Shape] = [
        Box((half, depth, height / 2), (0, 0, height / 2), 0.004),
        Revolved(cylinder_profile(0.013, height - 0.005, height + 0.01)),
    ]
    texture = painted_texture(rng, base, ((0, 0.34, band), (0.72, 0.8, band)), label=band)
    return _object('carton', body, texture, (0.45 * height, half), height + 0.01), _cap(rng, 0.017, 0.024, cap)


def _cap(rng: Generator, radius: float, height: float, colour: Colour) -> SceneObject:
    radius, height = _sizes(rng, radius, height)
    texture = painted_texture(rng, colour, ((0.8, 1, 0.75 * np.asarray(colour)),))
    return _object('cap', [Revolved(cylinder_profile(radius, 0, height))], texture, (height / 2, radius), height)


def _bottle(
    rng: Generator,
    base: Colour,
    band: Colour,
    cap: Colour,
    radius: float = 0.03,
    height: float = 0.13,
    cap_size: tuple[float, float] = (0.016, 0.034),
) -> Objects:
    radius, height = _sizes(rng, radius, height)
    neck, shoulder = 0.75 * cap_size[0], 0.78 * height
    profile = (
        (0.0, 0.0), (radius - 0.004, 0.0), (radius, 0.004), (radius, shoulder), (0.8 * radius, shoulder + 0.012),
        (neck, height - 0.008), (neck, height + 0.008), (0.0, height + 0.008),
    )  # fmt: skip
    texture = painted_texture(rng, base, ((0.2, 0.55, band),), label=0.6 * np.asarray(base))
    body = _object('bottle', [Revolved(profile)], texture, (0.42 * shoulder + 0.01, radius), height + 0.008)
    return body, _cap(rng, *cap_size, cap)


def _chips(rng: Generator) -> Objects:
    radius, height = _sizes(rng, 0.036, 0.19)
    texture = painted_texture(rng, (0.8, 0.1, 0.08), ((0.3, 0.7, (0.97, 0.8, 0.15)), (0.93, 1, (0.85, 0.85, 0.8))))
    return (_object('tube', [Revolved(cylinder_profile(radius, 0, height))], texture, (0.45 * height, radius), height),)


def _spray(rng: Generator) -> Objects:
    radius, height = _sizes(rng, 0.03, 0.12)
    profile = (
        (0, 0), (radius - 0.003, 0), (radius, 0.003), (radius, 0.7 * height), (0.013, height), (0.013, height + 0.03),
        (0, height + 0.03),
    )  # fmt: skip
    shapes: list[Shape] = [
        Revolved(profile),
        Box((0.014, 0.032, 0.014), (0, 0.012, height + 0.04), 0.003),
        Box((0.004, 0.005, 0.02), (0, 0.03, height + 0.012), 0.001),
    ]
    texture = painted_texture(rng, (0.25, 0.72, 0.9), ((0.15, 0.45, (0.95, 0.97, 1.0)), (0.72, 1, (0.95, 0.45, 0.1))))
    return (_object('spray', shapes, texture, (0.65 * height, radius), height + 0.054),)


def _cocoa(rng: Generator) -> Objects:
    width, depth, height = _sizes(rng, 0.026, 0.009, 0.095)
    packet = Box((width, depth, height / 2), (0, 0, height / 2), 0.004)
    texture = painted_texture(rng, (0.42, 0.22, 0.1), ((0.55, 0.75, (0.9, 0.7, 0.25)),))
    return (_object('packet', [packet], texture, (0.85 * height, depth), height),)


def _tin(rng: Generator) -> Objects:
    radius, height = _sizes(rng, 0.052, 0.075)
    texture = painted_texture(rng, (0.35, 0.42, 0.36), ((0.1, 0.2, (0.75, 0.75, 0.6)), (0.6, 0.7, (0.75, 0.75, 0.6))))
    return (_object('tin', [_vessel(radius, height)], texture, (0.5 * height, radius), height),)


def _cup(rng: Generator) -> Objects:
    radius, height = _sizes(rng, 0.037, 0.085)
    texture = painted_texture(rng, random_colour(rng, 0.3))
    return (_object('cup', [_vessel(radius, height)], texture, (0.5 * height, radius), height),)


def _book(rng: Generator) -> Objects:
    width, depth, height = _sizes(rng, 0.07, 0.011, 0.19)
    cover = Box((width, depth, height / 2), (0, 0, height / 2), 0.002)
    texture = painted_texture(rng, (0.36, 0.14, 0.5), ((0.62, 0.72, (0.9, 0.85, 0.4)),), label=(0.85, 0.5, 0.75))
    return (_object('book', [cover], texture, (0.5 * height, depth), height),)


def _open_book(rng: Generator) -> Objects:
    """The right half, the left half and a page; the spine is the axis x = 0, pages face -y."""
    width, height = _sizes(rng, 0.066, 0.19)
    paper, cover = (0.93, 0.91, 0.84), (0.36, 0.14, 0.5)
    pieces = []
    for side in (1, -1):
        half = Box((width, 0.005, height / 2), (side * width, 0, height / 2), 0.001)
        texture = painted_texture(rng, paper, [(z, z + 0.05, (0.6, 0.6, 0.62)) for z in np.arange(0.15, 0.85, 0.13)])
        texture[:, VOXELS // 2 :] = similar_colour(rng, cover)
        pieces.append(_object('half', [half], texture, (0.4 * height, 2 * width), height))
    page = Box((0.95 * width, 0.0012, 0.48 * height), (0.96 * width, 0, height / 2), 0.0005)
    pieces.append(_object('page', [page], painted_texture(rng, (0.97, 0.96, 0.9)), (0.4 * height, 1.9 * width), height))
    return tuple(pieces)


def _sponge(rng: Generator) -> Objects:
    half, depth, height = _sizes(rng, 0.045, 0.03, 0.032)
    block = Box((half, depth, height / 2), (0, 0, height / 2), 0.004)
    texture = painted_texture(rng, (0.95, 0.85, 0.25), spots=0.15)
    texture[:, :, int(0.58 * VOXELS) :] = painted_texture(rng, (0.15, 0.5, 0.25))[:, :, int(0.58 * VOXELS) :]
    return (_object('sponge', [block], texture, (0.5 * height, depth), height),)


def _letter(rng: Generator) -> Objects:
    width, height = _sizes(rng, 0.062, 0.13)
    lines = [(z, z + 0.04, (0.3, 0.3, 0.45)) for z in np.arange(0.12, 0.85, 0.12)]
    texture = painted_texture(rng, (0.95, 0.95, 0.97), lines)
    sheet = Box((width, 0.001, height / 2), (0, 0, height / 2), 0.0005)
    return (_object('letter', [sheet], texture, (0.4 * height, 2 * width), height),)


def _envelope(rng: Generator) -> Objects:
    width, height = _sizes(rng, 0.072, 0.095)
    pouch = Box((width, 0.004, height / 2), (0, 0, height / 2), 0.001)
    texture = painted_texture(rng, (0.75, 0.6, 0.4), label=(0.9, 0.88, 0.8))
    return (_object('envelope', [pouch], texture, (0.4 * height, 2 * width), height),)


_MAKERS: dict[str, Callable[[Generator], Objects]] = {
    'milk': partial(_carton, base=(0.93, 0.94, 0.96), band=(0.12, 0.3, 0.8), cap=(0.1, 0.2, 0.75)),
    'lotion': partial(_bottle, base=(0.95, 0.62, 0.72), band=(0.97, 0.93, 0.93), cap=(0.72, 0.12, 0.35)),
    'juice_bottle': partial(_bottle, base=(0.97, 0.6, 0.1), band=(0.2, 0.6, 0.15), cap=(0.15, 0.5, 0.12),
                            radius=0.033, height=0.185, cap_size=(0.018, 0.026)),
    'liquid_soap': partial(_bottle, base=(0.25, 0.7, 0.65), band=(0.85, 0.95, 0.95), cap=(0.95, 0.95, 0.9),
                           radius=0.031, height=0.14, cap_size=(0.015, 0.03)),
    'peanut_butter': partial(_bottle, base=(0.6, 0.38, 0.16), band=(0.85, 0.75, 0.5), cap=(0.75, 0.1, 0.1),
                             radius=0.035, height=0.085, cap_size=(0.031, 0.022)),
    'chips': _chips, 'spray': _spray, 'cocoa': _cocoa, 'book': _book, 'open_book': _open_book, 'sponge': _sponge,
    'letter': _letter, 'envelope': _envelope, 'tin': _tin, 'cup': _cup,
}  # fmt: skip


def make_household_object(name: str, rng: Generator) -> Objects:
    """Draws an instance of an object: its pieces, the main one first."""
    return _MAKERS[name](rng)
