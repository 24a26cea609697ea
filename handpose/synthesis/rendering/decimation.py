"""Decimation: a coarser mesh on some of a mesh's own vertices, which can be drawn in any pose with fewer faces."""

import heapq

import numpy as np
from numpy.typing import NDArray

Corners = dict[int, tuple[int, ...]]  # {face: its three vertices}
Around = list[set[int]]  # the faces around each vertex


def decimate(vertices: NDArray, faces: NDArray, count: int) -> NDArray:
    """Merges vertices into near neighbours, shortest edge first, until at most `count` are left.

    An edge stays when merging it would fold the surface or change its topology, so more may be left. The same on every
    machine.

    Args:
        vertices: (V, 3).
        faces: (F, 3) of a closed mesh.
        count: of vertices to keep.

    Returns:
        faces (G, 3) int64, on the vertices that are left.
    """
    corners: Corners = {number: tuple(face) for number, face in enumerate(faces.tolist())}
    around: Around = [set() for _ in vertices]
    for number, face in corners.items():
        for vertex in face:
            around[vertex].add(number)
    edges = {(min(pair), max(pair)) for a, b, c in corners.values() for pair in ((a, b), (b, c), (c, a))}
    waiting = [(_length(vertices, a, b), a, b) for a, b in edges]
    heapq.heapify(waiting)
    left = len(vertices)
    while waiting and left > count:
        _, kept, gone = heapq.heappop(waiting)
        if not around[kept] & around[gone] or not _may_merge(vertices, corners, around, kept, gone):
            continue
        for number in list(around[gone]):
            face = corners[number]
            for vertex in face:
                around[vertex].discard(number)
            if kept in face:
                del corners[number]
                continue
            corners[number] = face = tuple(kept if v == gone else v for v in face)
            for vertex in face:
                around[vertex].add(number)
        for vertex in _neighbours(corners, around, kept) - {kept}:
            heapq.heappush(waiting, (_length(vertices, kept, vertex), min(kept, vertex), max(kept, vertex)))
        left -= 1
    return np.array([corners[number] for number in sorted(corners)], np.int64)


def _length(vertices: NDArray, a: int, b: int) -> float:
    return float(np.linalg.norm(vertices[a] - vertices[b]))


def _neighbours(corners: Corners, around: Around, vertex: int) -> set[int]:
    return {v for number in around[vertex] for v in corners[number]}


def _may_merge(vertices: NDArray, corners: Corners, around: Around, kept: int, gone: int) -> bool:
    """Whether `gone` may move onto `kept`: just two common neighbours, and no face turns by more than 60 degrees."""
    if len(_neighbours(corners, around, kept) & _neighbours(corners, around, gone) - {kept, gone}) != 2:
        return False
    for number in around[gone]:
        face = corners[number]
        if kept not in face:
            before = _normal(vertices, face)
            after = _normal(vertices, tuple(kept if v == gone else v for v in face))
            if before @ after <= 0.5 * np.sqrt((before @ before) * (after @ after)):
                return False
    return True


def _normal(vertices: NDArray, face: tuple[int, ...]) -> NDArray:
    a, b, c = vertices[list(face)]
    return np.cross(b - a, c - a)
