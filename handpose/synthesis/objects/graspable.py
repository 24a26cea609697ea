"""Objects that hands grasp in the multi-view data: boxes, cylinders, discs, balls, bottles, pens and tools.

They stand on z = 0 and are symmetric under x -> -x: a mirrored scene turns a right hand into a left one.
"""

from collections.abc import Callable

from numpy.random import Generator

from handpose.synthesis.objects.shapes import Ball, Box, Point, Revolved, SceneObject, Shape, cylinder_profile

Range = tuple[float, float]
Built = tuple[tuple[Shape, ...], float, Point]  # shapes, height, grip
Builder = Callable[..., Built]


def _cylinder(rng: Generator, radius: Range, height: Range) -> Built:
    r, h = rng.uniform(*radius), rng.uniform(*height)
    return (Revolved(cylinder_profile(r, 0, h)),), h, (0.55 * h, r, r)


def _box(rng: Generator, width: Range, depth: Range, height: Range) -> Built:
    x, y, h = rng.uniform(*width) / 2, rng.uniform(*depth) / 2, rng.uniform(*height)
    return (Box((x, y, h / 2), (0, 0, h / 2)),), h, (0.55 * h, x, y)


def _ball(rng: Generator, radius: Range) -> Built:
    r = rng.uniform(*radius)
    return (Ball(r),), 2 * r, (r, r, r)


def _bottle(rng: Generator, radius: Range, height: Range) -> Built:
    r, h = rng.uniform(*radius), rng.uniform(*height)
    neck = rng.uniform(0.35, 0.5) * r
    shoulder = h * rng.uniform(0.66, 0.74)
    profile = (
        (0.0, 0.0), (r - 0.003, 0.0), (r, 0.003), (r, shoulder), (0.85 * r, shoulder + 0.012),
        (neck, shoulder + 0.035), (neck, h - 0.002), (neck - 0.002, h), (0.0, h),
    )  # fmt: skip
    return (Revolved(profile),), h, (0.45 * shoulder + 0.02, r, r)


def _tool(rng: Generator, radius: Range, height: Range) -> Built:
    r, h = rng.uniform(*radius), rng.uniform(*height)
    foot = rng.uniform(0.028, 0.04)
    swell = tuple((r * s, foot + (h - foot) * t) for t, s in ((0.0, 0.8), (0.25, 1.0), (0.75, 1.0), (0.97, 0.9)))
    handle = Revolved(((0.0, foot - 0.01), (0.8 * r, foot - 0.01), *swell, (0.6 * r, h), (0.0, h)))
    head = Box((rng.uniform(0.03, 0.045), rng.uniform(0.02, 0.03), foot / 2), (0, 0, foot / 2), 0.003)
    return (handle, head), h, (foot + 0.52 * (h - foot), r, r)


# DexYCB's 21 classes are kept as numbers and rough shapes; sizes are drawn anew for every instance, in metres.
CLASSES: dict[int, tuple[str, Builder, dict[str, Range]]] = {
    1: ('cylinder', _cylinder, dict(radius=(0.031, 0.036), height=(0.11, 0.14))),
    2: ('box', _box, dict(width=(0.045, 0.06), depth=(0.10, 0.13), height=(0.15, 0.19))),
    3: ('box', _box, dict(width=(0.035, 0.045), depth=(0.07, 0.09), height=(0.13, 0.16))),
    4: ('cylinder', _cylinder, dict(radius=(0.029, 0.034), height=(0.09, 0.11))),
    5: ('bottle', _bottle, dict(radius=(0.026, 0.032), height=(0.16, 0.19))),
    6: ('disc', _cylinder, dict(radius=(0.026, 0.032), height=(0.04, 0.055))),
    7: ('small box', _box, dict(width=(0.028, 0.04), depth=(0.07, 0.10), height=(0.06, 0.08))),
    8: ('small box', _box, dict(width=(0.02, 0.032), depth=(0.06, 0.08), height=(0.055, 0.075))),
    9: ('small box', _box, dict(width=(0.04, 0.05), depth=(0.07, 0.09), height=(0.06, 0.08))),
    10: ('tool', _tool, dict(radius=(0.016, 0.02), height=(0.17, 0.21))),
    11: ('bottle', _bottle, dict(radius=(0.030, 0.036), height=(0.19, 0.22))),
    12: ('bottle', _bottle, dict(radius=(0.027, 0.034), height=(0.18, 0.22))),
    13: ('ball', _ball, dict(radius=(0.033, 0.038))),
    14: ('cylinder', _cylinder, dict(radius=(0.033, 0.037), height=(0.085, 0.10))),
    15: ('tool', _tool, dict(radius=(0.017, 0.021), height=(0.18, 0.22))),
    16: ('box', _box, dict(width=(0.05, 0.062), depth=(0.06, 0.08), height=(0.12, 0.16))),
    17: ('tool', _tool, dict(radius=(0.015, 0.018), height=(0.16, 0.19))),
    18: ('pen', _cylinder, dict(radius=(0.008, 0.012), height=(0.11, 0.14))),
    19: ('cube', _box, dict(width=(0.03, 0.045), depth=(0.03, 0.045), height=(0.045, 0.06))),
    20: ('ball', _ball, dict(radius=(0.022, 0.03))),
    21: ('cube', _box, dict(width=(0.045, 0.055), depth=(0.045, 0.06), height=(0.055, 0.075))),
}


def make_object(class_id: int, rng: Generator) -> SceneObject:
    """Draws an object of a class (1 to 21): same generator state, same object."""
    kind, build, sizes = CLASSES[class_id]
    return SceneObject(kind, *build(rng, **sizes), class_id=class_id)
