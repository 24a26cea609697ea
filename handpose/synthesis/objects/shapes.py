"""Shapes (boxes, solids of revolution, balls) and the objects made of them, each a signed distance and a mesh.

An object's frame has z up, its axis at x = y = 0 and, unless its maker says otherwise, its bottom at z = 0, so that the
identity pose stands on the table. Metres throughout. Signed distances are negative inside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Point = tuple[float, float, float]
Profile = tuple[tuple[float, float], ...]  # (radius, z) corners of a solid of revolution

SECTORS = 32  # of a revolved mesh: at 4 cm radius the chord lies 0.2 mm inside the true circle
_RING_SPACING = 0.04  # metres between a revolved mesh's rings at most


class Mesh(NamedTuple):
    """`vertices` (V, 3) float64 metres; `faces` (F, 3) int64, counter-clockwise seen from outside."""

    vertices: NDArray
    faces: NDArray


class Box(NamedTuple):
    """A box with rounded edges: half extents and centre (3,), and the edge radius."""

    half: Point
    centre: Point
    radius: float = 0.002

    @staticmethod
    def field(points: Tensor, half: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
        """Signed distance (..., N) of points (..., N, 3); `half` and `centre` (..., 1, 3), `radius` (..., 1)."""
        outside = (points - centre).abs() - (half - radius.unsqueeze(-1))
        return outside.clamp(min=0).norm(dim=-1) + outside.amax(-1).clamp(max=0) - radius

    def mesh(self) -> Mesh:
        """A cube grid whose outer strip is bent to the edge radius."""
        half, inner = np.array(self.half), np.array(self.half) - self.radius
        lines = [
            np.array([-h, -i - self.radius * 0.4, *np.linspace(-i, i, 3), i + self.radius * 0.4, h])
            for h, i in zip(half, inner, strict=True)
        ]
        grids: list[NDArray] = []
        faces: list[NDArray] = []
        for axis in range(3):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            for sign in (-1, 1):
                grid = np.zeros((len(lines[u]), len(lines[v]), 3))
                grid[..., axis] = sign * half[axis]
                grid[..., u], grid[..., v] = np.meshgrid(lines[u], lines[v], indexing='ij')
                faces.append(_grid_faces(len(lines[u]), len(lines[v]), flip=sign < 0) + sum(map(len, grids)))
                grids.append(grid.reshape(-1, 3))
        vertices = np.concatenate(grids)
        core = np.clip(vertices, -inner, inner)
        offset = vertices - core
        vertices = core + self.radius * offset / np.linalg.norm(offset, axis=1, keepdims=True)
        return Mesh(vertices + self.centre, np.concatenate(faces))


class Revolved(NamedTuple):
    """A solid of revolution about z: `profile` = (radius, z) corners from the bottom of the axis to its top."""

    profile: Profile

    @staticmethod
    def field(points: Tensor, profile: Tensor) -> Tensor:
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

    def mesh(self) -> Mesh:
        """Rings of `SECTORS` vertices along the profile."""
        corners = np.array(self.profile)
        pieces = [corners[:1]]
        for a, b in pairwise(corners):
            steps = max(1, math.ceil(np.linalg.norm(b - a) / _RING_SPACING))
            pieces.append(a + (b - a) * np.linspace(0, 1, steps + 1)[1:, None])
        rings = np.concatenate(pieces)
        angle = np.linspace(0, 2 * np.pi, SECTORS + 1)
        grid = np.stack(
            [
                rings[:, None, 0] * np.cos(angle),
                rings[:, None, 0] * np.sin(angle),
                np.broadcast_to(rings[:, None, 1], (len(rings), SECTORS + 1)),
            ],
            -1,
        )
        return Mesh(grid.reshape(-1, 3), _grid_faces(len(rings), SECTORS + 1, flip=True))


class Ball(NamedTuple):
    """A sphere that stands on z = 0."""

    radius: float

    @staticmethod
    def field(points: Tensor, radius: Tensor) -> Tensor:
        """Signed distance (..., N) of points (..., N, 3); `radius` (..., 1)."""
        x, y, z = points.unbind(-1)
        return (x.square() + y.square() + (z - radius).square() + 1e-14).sqrt() - radius

    def mesh(self) -> Mesh:
        """A globe of `SECTORS` meridians."""
        angle = np.linspace(-np.pi / 2, np.pi / 2, 16)
        profile = np.stack([np.cos(angle), 1 + np.sin(angle)], 1) * self.radius
        return Revolved(tuple((r, z) for r, z in profile)).mesh()


def _grid_faces(rows: int, columns: int, flip: bool) -> NDArray:
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel(), index[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return faces[:, ::-1] if flip else faces


Shape = Box | Revolved | Ball


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One object: the shapes whose union it is, and where a hand takes hold of it.

    Attributes:
        kind: name of its kind ('bottle', 'box'), which decides the grasps that suit it.
        shapes: the shapes.
        height: metres, of its upper end.
        grip: height of the grasp above the bottom, and half of the thickness there along x and y, metres.
        class_id: 1 to 21, as in DexYCB's list; 0 for objects of no such class.
        texture: its own solid texture (VOXELS, VOXELS, VOXELS, 3); None means drawn with the rest of a scene's look.
    """

    kind: str
    shapes: tuple[Shape, ...]
    height: float
    grip: Point
    class_id: int = 0
    texture: NDArray | None = None

    def distance(self, points: Tensor) -> Tensor:
        """Signed distance (N,) of points (N, 3) in the object's frame (a lower bound deep inside a union)."""
        return ObjectBatch([self]).distance(points[None])[0]

    def mesh(self) -> Mesh:
        """The meshes of all shapes, joined."""
        meshes = [shape.mesh() for shape in self.shapes]
        starts = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
        return Mesh(
            np.concatenate([m.vertices for m in meshes]),
            np.concatenate([m.faces + s for m, s in zip(meshes, starts, strict=True)]),
        )


class ObjectBatch:
    """Several objects of one kind whose distances are computed together.

    Args:
        objects: made of shapes of the same types in the same order.

    Raises:
        ValueError: the objects are not made of the same shapes.
    """

    def __init__(self, objects: Sequence[SceneObject]) -> None:
        types = {tuple((type(shape), np.shape(shape[0])) for shape in o.shapes) for o in objects}
        if len(types) != 1:
            raise ValueError(f'an ObjectBatch needs objects made of the same shapes, got {types}')
        self._shapes: list[tuple[type[Shape], list[Tensor]]] = []
        for same in zip(*(o.shapes for o in objects), strict=True):
            fields = [torch.tensor(values, dtype=torch.float64).unsqueeze(1) for values in zip(*same, strict=True)]
            self._shapes.append((type(same[0]), fields))

    def distance(self, points: Tensor) -> Tensor:
        """Signed distances (B, N) of points (B, N, 3), each row in its own object's frame."""
        distances = [shape.field(points, *(f.to(points) for f in fields)) for shape, fields in self._shapes]
        return distances[0] if len(distances) == 1 else torch.stack(distances).amin(0)


def cylinder_profile(radius: float, low: float, high: float, bevel: float = 0.002) -> Profile:
    """The profile of an upright cylinder with bevelled rims."""
    return (
        (0.0, low), (radius - bevel, low), (radius, low + bevel), (radius, high - bevel), (radius - bevel, high),
        (0.0, high),
    )  # fmt: skip


def cup_profile(foot: float, rim: float, low: float, high: float, wall: float, bottom: float) -> Profile:
    """The profile of a round vessel that is open above, with walls about `wall` and a bottom `bottom` thick."""
    return (
        (0.0, low), (foot, low), (rim, high), (rim - wall, high), (foot - wall, low + bottom), (0.0, low + bottom)
    )  # fmt: skip
