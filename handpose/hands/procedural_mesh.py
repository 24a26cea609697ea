"""From a signed distance to a closed triangle mesh: naive surface nets, and the relaxation that makes it even.

Everything is numpy in double precision and deterministic. Distances only need the right sign and a smooth gradient:
vertices are brought to the surface by Newton steps along it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

DistanceFunction = Callable[[NDArray], NDArray]

_CORNERS = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])


def tapered_capsule(
    points: NDArray,
    start: ArrayLike,
    end: ArrayLike,
    start_radius: float,
    end_radius: float,
    normal: ArrayLike = (0.0, 1.0, 0.0),
    flatness: float = 1.0,
) -> NDArray:
    """Computes the signed distance (approximate off the surface) to a capsule with a linearly changing radius.

    Args:
        points: (N, 3), any unit.
        start: (3,) one end of the axis.
        end: (3,) the other end.
        start_radius: at the start.
        end_radius: at the end.
        normal: (3,) the direction across which the capsule is flattened.
        flatness: the capsule is this many times as thick along `normal` as across it.

    Returns:
        (N,) distances, negative inside.
    """
    start, axis = np.asarray(start, float), np.subtract(end, start, dtype=float)
    normal = np.asarray(normal, float)
    position = np.clip((points - start) @ axis / (axis @ axis), 0.0, 1.0)
    offset = points - start - position[:, None] * axis
    thickness = offset @ normal
    squared = np.einsum('ni,ni->n', offset, offset) + thickness**2 * (1.0 / flatness**2 - 1.0)
    radius = start_radius + position * (end_radius - start_radius)
    return np.sqrt(squared) - radius


def smooth_union(distances: NDArray, softness: float) -> NDArray:
    """Blends several surfaces into one.

    Args:
        distances: (S, N) signed distances of N points to S surfaces.
        softness: surfaces closer than about this grow together, in the unit of the distances.

    Returns:
        (N,) signed distances.
    """
    nearest = distances.min(0)
    return nearest - softness * np.log(np.exp((nearest - distances) / softness).sum(0))


def surface_nets(distance: NDArray, axes: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
    """Meshes the zero level of a distance sampled on a rectilinear grid: one vertex per mixed cell.

    Source: S. F. Gibson, Constrained Elastic Surface Nets, MICCAI 1998 (here: mean of the edge crossings).

    Args:
        distance: (X, Y, Z), negative inside, positive on the border of the grid.
        axes: three increasing arrays of grid coordinates, of lengths X, Y and Z.

    Returns:
        Vertices (V, 3) and quads (Q, 4) int64, counter-clockwise seen from outside. Closed and two-manifold where the
        grid is fine enough that no cell holds two sheets of the surface.
    """
    cells = tuple(n - 1 for n in distance.shape)
    total, count = np.zeros((*cells, 3)), np.zeros(cells)
    signs = distance < 0
    for axis in range(3):
        _add_crossings(distance, signs, axes, axis, total, count)
    index = np.full(cells, -1)
    mixed = count > 0
    index[mixed] = np.arange(mixed.sum())
    vertices = total[mixed] / count[mixed][:, None]
    return vertices, np.concatenate([_quads(signs, index, axis) for axis in range(3)]).astype(np.int64)


def _shift(axis: int, offset: NDArray) -> tuple[slice, ...]:
    return tuple(slice(o, None if o or a == axis else -1) for a, o in enumerate(offset))


def _add_crossings(
    distance: NDArray, signs: NDArray, axes: Sequence[NDArray], axis: int, total: NDArray, count: NDArray
) -> None:
    """Adds where grid edges along `axis` cross the surface to the four cells that share each edge."""
    low, high = np.moveaxis(distance, axis, 0)[:-1], np.moveaxis(distance, axis, 0)[1:]
    crosses = np.moveaxis(signs, axis, 0)[:-1] != np.moveaxis(signs, axis, 0)[1:]
    share = np.where(crosses, low / np.where(crosses, low - high, 1.0), 0.0)
    crosses, share = np.moveaxis(crosses, 0, axis), np.moveaxis(share, 0, axis)
    where = np.stack(np.meshgrid(*[a[:-1] if i == axis else a for i, a in enumerate(axes)], indexing='ij'), -1)
    shape = [1, 1, 1]
    shape[axis] = -1
    where[..., axis] += share * np.diff(axes[axis]).reshape(shape)
    for corner in _CORNERS[_CORNERS[:, axis] == 0]:
        part = _shift(axis, corner)
        total += np.where(crosses[part][..., None], where[part], 0.0)
        count += crosses[part]


def _quads(signs: NDArray, index: NDArray, axis: int) -> NDArray:
    """The four cells around every grid edge along `axis` that crosses the surface, outward winding."""
    cyclic = (axis, (axis + 1) % 3, (axis + 2) % 3)  # so that the loop below turns left about `axis`
    signs, index = signs.transpose(cyclic), index.transpose(cyclic)
    inner = signs[:, 1:-1, 1:-1]
    along, second, third = np.nonzero(inner[:-1] != inner[1:])
    loop = [(second + i, third + j) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    quads = np.stack([index[along, i, j] for i, j in loop], -1)
    outward = inner[along, second, third]
    return np.where(outward[:, None], quads, quads[:, ::-1])


def split_quads(vertices: NDArray, quads: NDArray, distance_function: DistanceFunction) -> NDArray:
    """Cuts quads into triangles along the diagonal that lies nearer to the surface.

    Args:
        vertices: (V, 3).
        quads: (Q, 4) int.
        distance_function: signed distance to the surface.

    Returns:
        (2Q, 3) triangles.
    """
    a, b, c, d = (vertices[quads[:, i]] for i in range(4))
    first = np.abs(distance_function((a + c) / 2)) <= np.abs(distance_function((b + d) / 2))
    one = np.where(first[:, None], quads[:, [0, 1, 2]], quads[:, [0, 1, 3]])
    two = np.where(first[:, None], quads[:, [0, 2, 3]], quads[:, [1, 2, 3]])
    return np.concatenate([one, two])


def mesh_edges(polygons: NDArray) -> NDArray:
    """Returns the undirected edges of polygons, each once, smaller vertex first.

    Args:
        polygons: (P, N) int, triangles or quads.

    Returns:
        (E, 2) int.
    """
    directed = np.stack([polygons, np.roll(polygons, -1, axis=1)], -1).reshape(-1, 2)
    return np.unique(np.sort(directed, axis=1), axis=0)


def neighbor_mean(values: NDArray, edges: NDArray) -> NDArray:
    """Averages each vertex's neighbours.

    Args:
        values: (V, C) one row a vertex.
        edges: (E, 2) int.

    Returns:
        (V, C).
    """
    total, count = np.zeros_like(values), np.zeros(len(values))
    for here, there in (edges.T, edges.T[::-1]):
        np.add.at(total, here, values[there])
        np.add.at(count, here, 1.0)
    return total / count[:, None]


def project_to_surface(
    points: NDArray, distance_function: DistanceFunction, steps: int, epsilon: float = 1e-3
) -> NDArray:
    """Moves points onto the zero level of a distance by Newton steps along its gradient.

    Args:
        points: (N, 3).
        distance_function: signed distance to the surface.
        steps: number of Newton steps.
        epsilon: half the step of the central differences, in the unit of the points.

    Returns:
        (N, 3) points.
    """
    for _ in range(steps):
        value = distance_function(points)
        gradient = np.stack(
            [
                (distance_function(points + epsilon * e) - distance_function(points - epsilon * e)) / (2 * epsilon)
                for e in np.eye(3)
            ],
            -1,
        )
        points = points - (value / np.maximum((gradient**2).sum(-1), 1e-6))[:, None] * gradient
    return points


def mesh_from_distance(
    distance_function: DistanceFunction, axes: Sequence[NDArray], pins: NDArray, relaxations: int = 4
) -> tuple[NDArray, NDArray]:
    """Meshes a signed distance on the grid `axes`, then spreads the vertices evenly over the true surface.

    Args:
        distance_function: (N, 3) points -> (N,) distances.
        axes: see `surface_nets`.
        pins: (P, 3) points of the surface that get a vertex each; averaging would else draw vertices off sharp tips.
        relaxations: rounds of averaging and projecting back to the surface.

    Returns:
        Vertices (V, 3) and triangles (F, 3) int64, counter-clockwise seen from outside.
    """
    grid = np.stack(np.meshgrid(*axes, indexing='ij'), -1)
    distance = distance_function(grid.reshape(-1, 3)).reshape(grid.shape[:3])
    vertices, quads = surface_nets(distance, axes)
    edges = mesh_edges(quads)
    vertices = project_to_surface(vertices, distance_function, steps=2)
    pinned = np.linalg.norm(vertices[:, None] - pins, axis=-1).argmin(0)
    for _ in range(relaxations):
        vertices[pinned] = pins
        vertices = vertices + 0.5 * (neighbor_mean(vertices, edges) - vertices)
        vertices = project_to_surface(vertices, distance_function, steps=1)
    vertices[pinned] = pins
    return vertices, split_quads(vertices, quads, distance_function)
