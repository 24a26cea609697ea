"""Procedural objects: boxes, cylinders, balls, bottles and tools, each an analytic signed distance and a mesh.

An object's frame has z up, its axis at x = y = 0 and its bottom at z = 0, so the identity pose stands on the table.
Every shape is symmetric under x -> -x: a scene can be mirrored to turn a right hand into a left one.
Metres throughout. Signed distances are negative inside.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

SECTORS = 32  # of a revolved mesh: at 4 cm radius the chord lies 0.2 mm inside the true circle
_RING_SPACING = 0.04  # metres between a revolved mesh's rings at most


class Mesh(NamedTuple):
    """`vertices` (V, 3) float64 metres; `faces` (F, 3) int64, counter-clockwise seen from outside."""

    vertices: np.ndarray
    faces: np.ndarray


class Box(NamedTuple):
    """A box with rounded edges: half extents and centre (3,), and the edge radius."""

    half: tuple
    centre: tuple
    radius: float = 0.002

    @staticmethod
    def field(points, half, centre, radius):
        """Signed distance (..., N) of points (..., N, 3); `half` and `centre` (..., 1, 3), `radius` (..., 1)."""
        outside = (points - centre).abs() - (half - radius.unsqueeze(-1))
        return outside.clamp(min=0).norm(dim=-1) + outside.amax(-1).clamp(max=0) - radius

    def mesh(self):
        """A cube grid whose outer strip is bent to the edge radius."""
        half, inner = np.array(self.half), np.array(self.half) - self.radius
        lines = [
            np.array([-h, -i - self.radius * 0.4, *np.linspace(-i, i, 3), i + self.radius * 0.4, h])
            for h, i in zip(half, inner, strict=True)
        ]
        vertices, faces = [], []
        for axis in range(3):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            for sign in (-1, 1):
                grid = np.zeros((len(lines[u]), len(lines[v]), 3))
                grid[..., axis] = sign * half[axis]
                grid[..., u], grid[..., v] = np.meshgrid(lines[u], lines[v], indexing='ij')
                faces.append(_grid_faces(*grid.shape[:2], flip=sign < 0) + sum(map(len, vertices)))
                vertices.append(grid.reshape(-1, 3))
        vertices = np.concatenate(vertices)
        core = np.clip(vertices, -inner, inner)
        offset = vertices - core
        vertices = core + self.radius * offset / np.linalg.norm(offset, axis=1, keepdims=True)
        return Mesh(vertices + self.centre, np.concatenate(faces))


class Revolved(NamedTuple):
    """A solid of revolution about z: `profile` = (radius, z) corners from the bottom of the axis to its top."""

    profile: tuple

    @staticmethod
    def field(points, profile):
        """Signed distance (..., N) of points (..., N, 3): that of the polygon `profile` (..., 1, P, 2)."""
        radius = (points[..., :1].square() + points[..., 1:2].square() + 1e-12).sqrt()
        height = points[..., 2:]
        start, end = profile[..., :-1, :], profile[..., 1:, :]
        (start_r, start_z), (edge_r, edge_z) = start.unbind(-1), (end - start).unbind(-1)
        away_r, away_z = radius - start_r, height - start_z
        along = ((away_r * edge_r + away_z * edge_z) / (edge_r.square() + edge_z.square())).clamp(0, 1)
        squared = (away_r - along * edge_r).square() + (away_z - along * edge_z).square()
        distance = (squared.amin(-1) + 1e-14).sqrt()
        with torch.no_grad():  # inside: an odd number of edges lies further out at this height
            crosses = (height >= torch.minimum(start_z, end[..., 1])) & (height < torch.maximum(start_z, end[..., 1]))
            crossing = start_r + edge_r * away_z / torch.where(edge_z == 0, 1.0, edge_z)
            inside = (crosses & (crossing > radius)).sum(-1) % 2 == 1
        return torch.where(inside, -distance, distance)

    def mesh(self):
        """Rings of `SECTORS` vertices along the profile."""
        corners = np.array(self.profile)
        rings = [corners[:1]]
        for a, b in pairwise(corners):
            steps = max(1, math.ceil(np.linalg.norm(b - a) / _RING_SPACING))
            rings.append(a + (b - a) * np.linspace(0, 1, steps + 1)[1:, None])
        rings = np.concatenate(rings)
        angle = np.linspace(0, 2 * np.pi, SECTORS + 1)
        grid = np.stack(
            [
                rings[:, None, 0] * np.cos(angle),
                rings[:, None, 0] * np.sin(angle),
                np.broadcast_to(rings[:, None, 1], (len(rings), SECTORS + 1)),
            ],
            -1,
        )
        return Mesh(grid.reshape(-1, 3), _grid_faces(*grid.shape[:2], flip=True))


class Ball(NamedTuple):
    """A sphere that stands on z = 0."""

    radius: float

    @staticmethod
    def field(points, radius):
        """Signed distance (..., N) of points (..., N, 3); `radius` (..., 1)."""
        x, y, z = points.unbind(-1)
        return (x.square() + y.square() + (z - radius).square() + 1e-14).sqrt() - radius

    def mesh(self):
        """A globe of `SECTORS` meridians."""
        angle = np.linspace(-np.pi / 2, np.pi / 2, 16)
        profile = np.stack([np.cos(angle), 1 + np.sin(angle)], 1) * self.radius
        return Revolved(tuple(map(tuple, profile))).mesh()


def _grid_faces(rows, columns, flip):
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel(), index[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return faces[:, ::-1] if flip else faces


@dataclass(frozen=True)
class SceneObject:
    """One object instance: its class (1-21, as in DexYCB's list), kind, and the parts whose union it is.

    `grip` = what a hand takes hold of: the height of the grasp above the bottom, and half of the thickness there
    along x and y, metres.
    """

    class_id: int
    kind: str
    parts: tuple
    height: float
    grip: tuple

    def distance(self, points):
        """Signed distance (N,) of points (N, 3) in the object's frame (a lower bound deep inside a union)."""
        return ObjectBatch([self]).distance(points[None])[0]

    def mesh(self):
        """The meshes of all parts, joined."""
        meshes = [part.mesh() for part in self.parts]
        starts = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
        return Mesh(
            np.concatenate([m.vertices for m in meshes]),
            np.concatenate([m.faces + s for m, s in zip(meshes, starts, strict=True)]),
        )


class ObjectBatch:
    """Several objects of one kind whose distances are computed together.

    Raises:
        ValueError: the objects are not made of the same parts.
    """

    def __init__(self, objects):
        shapes = {tuple((type(part), np.shape(part[0])) for part in o.parts) for o in objects}
        if len(shapes) != 1:
            raise ValueError(f'an ObjectBatch needs objects made of the same parts, got {shapes}')
        self._parts = []
        for same in zip(*(o.parts for o in objects), strict=True):
            fields = [torch.tensor(values, dtype=torch.float64).unsqueeze(1) for values in zip(*same, strict=True)]
            self._parts.append((type(same[0]), fields))

    def distance(self, points):
        """Signed distances (B, N) of points (B, N, 3), each row in its own object's frame."""
        distances = [kind.field(points, *(f.to(points) for f in fields)) for kind, fields in self._parts]
        return distances[0] if len(distances) == 1 else torch.stack(distances).amin(0)


def cylinder_profile(radius, low, high, bevel=0.002):
    """The profile of an upright cylinder with bevelled rims."""
    return (
        (0.0, low),
        (radius - bevel, low),
        (radius, low + bevel),
        (radius, high - bevel),
        (radius - bevel, high),
        (0.0, high),
    )


def _cylinder(rng, radius, height):
    r, h = rng.uniform(*radius), rng.uniform(*height)
    return (Revolved(cylinder_profile(r, 0, h)),), h, (0.55 * h, r, r)


def _box(rng, width, depth, height):
    x, y, h = rng.uniform(*width) / 2, rng.uniform(*depth) / 2, rng.uniform(*height)
    return (Box((x, y, h / 2), (0, 0, h / 2)),), h, (0.55 * h, x, y)


def _ball(rng, radius):
    r = rng.uniform(*radius)
    return (Ball(r),), 2 * r, (r, r, r)


def _bottle(rng, radius, height):
    r, h = rng.uniform(*radius), rng.uniform(*height)
    neck = rng.uniform(0.35, 0.5) * r
    shoulder = h * rng.uniform(0.66, 0.74)
    profile = (
        (0.0, 0.0),
        (r - 0.003, 0.0),
        (r, 0.003),
        (r, shoulder),
        (0.85 * r, shoulder + 0.012),
        (neck, shoulder + 0.035),
        (neck, h - 0.002),
        (neck - 0.002, h),
        (0.0, h),
    )
    return (Revolved(profile),), h, (0.45 * shoulder + 0.02, r, r)


def _tool(rng, radius, height):
    r, h = rng.uniform(*radius), rng.uniform(*height)
    foot = rng.uniform(0.028, 0.04)
    swell = tuple((r * s, foot + (h - foot) * t) for t, s in ((0.0, 0.8), (0.25, 1.0), (0.75, 1.0), (0.97, 0.9)))
    handle = Revolved(((0.0, foot - 0.01), (0.8 * r, foot - 0.01), *swell, (0.6 * r, h), (0.0, h)))
    head = Box((rng.uniform(0.03, 0.045), rng.uniform(0.02, 0.03), foot / 2), (0, 0, foot / 2), 0.003)
    return (handle, head), h, (foot + 0.52 * (h - foot), r, r)


# DexYCB's 21 classes are kept as numbers and rough shapes; sizes are drawn anew for every instance, in metres.
CLASSES = {
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


def make_object(class_id, rng):
    """Draws an instance of a class with `rng` (numpy Generator): same generator state, same object."""
    kind, build, sizes = CLASSES[class_id]
    parts, height, grip = build(rng, **sizes)
    return SceneObject(class_id, kind, parts, height, grip)
