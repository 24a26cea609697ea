"""Triangle rasterisers in numpy and OpenCV: a fast painter's algorithm, and an exact z-buffer to check it against.

Legend: V vertices, F faces, h x w pixels. Pixel centres lie at integer coordinates. Both rasterisers drop faces that
turn their back to the camera: in an image (x right, y down) a face whose vertices run counter-clockwise as seen from
outside the surface has a negative area when it is seen from the front.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

NEAR = 1e-3  # a face with a vertex nearer than this is dropped, not clipped
_SHIFT = 4  # sub-pixel bits that OpenCV gets
_LARGEST = 1 << 14  # pixels; faces that reach further outside would overflow OpenCV's fixed-point numbers


class Raster(NamedTuple):
    """What a camera sees of a mesh.

    Attributes:
        face_ids: (h, w) int32, the face at each pixel, -1 = none.
        depth: (h, w) float32 metres along the optical axis, 0 = none.
    """

    face_ids: NDArray
    depth: NDArray


def rasterize(vertices_2d: NDArray, depth: NDArray, faces: NDArray, size: Sequence[int]) -> Raster:
    """Draws a mesh far to near, so that later (nearer) faces cover earlier ones.

    Faces are ordered by their mean depth; the depth of a pixel comes from the plane of its face. OpenCV fills border
    pixels too, so silhouettes are about half a pixel fatter than those of `rasterize_exact`.

    Args:
        vertices_2d: (V, 2) pixels.
        depth: (V,) metres along the optical axis.
        faces: (F, 3) int, counter-clockwise seen from outside.
        size: (width, height).

    Returns:
        Raster.
    """
    face_ids = paint_faces(vertices_2d, depth, faces, size)
    return Raster(face_ids, depth_of_faces(face_ids, vertices_2d, depth, faces))


def paint_faces(vertices_2d: NDArray, depth: NDArray, faces: NDArray, size: Sequence[int]) -> NDArray:
    """Finds the face seen at each pixel: `rasterize` without the depth.

    Args:
        vertices_2d: (V, 2) pixels.
        depth: (V,) metres along the optical axis.
        faces: (F, 3) int, counter-clockwise seen from outside.
        size: (width, height).

    Returns:
        (height, width) int32, -1 = none.
    """
    width, height = size
    face_ids = np.full((height, width), -1, np.int32)
    order = visible_faces(vertices_2d, depth, faces, size)
    order = order[np.argsort(-depth[faces[order]].sum(1), kind='stable')]
    corners = np.round(vertices_2d[faces[order]] * (1 << _SHIFT)).astype(np.int32)
    fill = cv2.fillConvexPoly
    for face, polygon in zip(order.tolist(), corners, strict=True):
        fill(face_ids, polygon, face, 8, _SHIFT)
    return face_ids


def depth_of_faces(face_ids: NDArray, vertices_2d: NDArray, depth: NDArray, faces: NDArray) -> NDArray:
    """Computes the depth of each pixel from the plane of its face: 1 / z is linear in the image.

    Args:
        face_ids: (h, w) int, -1 = none.
        vertices_2d: (V, 2) pixels.
        depth: (V,) metres along the optical axis.
        faces: (F, 3) int.

    Returns:
        (h, w) float32 metres, 0 where there is no face.
    """
    image = np.zeros(face_ids.shape, np.float32)
    pixels = np.nonzero(face_ids >= 0)
    inverse = 1 / np.maximum(depth, NEAR)[:, None]
    image[pixels] = 1 / interpolate(pixels, face_ids[pixels], vertices_2d, inverse, faces)[:, 0]
    return image


def interpolate(
    pixels: tuple[NDArray, ...], ids: NDArray, vertices_2d: NDArray, values: NDArray, faces: NDArray
) -> NDArray:
    """Interpolates vertex values at pixels, linearly in the image within each face.

    This is exact for 1 / depth, and Gouraud shading for colours. A pixel just outside its face stays within the range
    of the face's corners: on a nearly edge-on face the plane would extrapolate far.

    Args:
        pixels: (rows, columns), each (N,) int.
        ids: (N,) the face of each pixel.
        vertices_2d: (V, 2) pixels.
        values: (V, C).
        faces: (F, 3) int.

    Returns:
        (N, C) float32.
    """
    counts = np.bincount(ids, minlength=len(faces))  # far quicker than np.unique, which sorts the pixels
    used, place = np.flatnonzero(counts), np.cumsum(counts > 0) - 1
    corners = vertices_2d[faces[used]]
    origin = corners[:, 0]
    a, b = corners[:, 1] - origin, corners[:, 2] - origin
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)[:, None]
    first, second, third = (values[faces[used, corner]] for corner in range(3))
    da, db = second - first, third - first
    slope_x = (da * b[:, 1:] - db * a[:, 1:]) / area
    slope_y = (db * a[:, :1] - da * b[:, :1]) / area
    constant = first - slope_x * origin[:, :1] - slope_y * origin[:, 1:]
    low, high = np.minimum(np.minimum(first, second), third), np.maximum(np.maximum(first, second), third)
    table = np.stack([slope_x, slope_y, constant, low, high], 1).astype(np.float32)
    slope_x, slope_y, constant, low, high = table[place[ids]].transpose(1, 0, 2)
    rows, columns = (p.astype(np.float32)[:, None] for p in pixels)
    return np.clip(slope_x * columns + slope_y * rows + constant, low, high)


def visible_faces(vertices_2d: NDArray, depth: NDArray, faces: NDArray, size: Sequence[int]) -> NDArray:
    """Finds the faces that are in front of the camera, face it, and reach into the image.

    Args:
        vertices_2d: (V, 2) pixels.
        depth: (V,) metres along the optical axis.
        faces: (F, 3) int, counter-clockwise seen from outside.
        size: (width, height).

    Returns:
        (N,) int indices into `faces`.
    """
    x, y = vertices_2d[:, 0][faces], vertices_2d[:, 1][faces]
    turn = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    kept = np.flatnonzero(turn < 0)
    low, high = vertices_2d.min(0), vertices_2d.max(0)
    if (low >= 0).all() and (high <= np.asarray(size) - 1).all() and depth.min() > NEAR:
        return kept  # the whole mesh is in the image
    x, y = x[kept], y[kept]
    left, right, top, bottom = x.min(1), x.max(1), y.min(1), y.max(1)
    inside = (right >= -0.5) & (left <= size[0] - 0.5) & (bottom >= -0.5) & (top <= size[1] - 0.5)
    drawable = (left > -_LARGEST) & (right < _LARGEST) & (top > -_LARGEST) & (bottom < _LARGEST)
    return kept[inside & drawable & (depth[faces[kept]] > NEAR).all(1)]


def rasterize_exact(vertices_2d: NDArray, depth: NDArray, faces: NDArray, size: Sequence[int]) -> Raster:
    """Draws a mesh with a z-buffer that tests every pixel centre against every face: slow, exact, for checks.

    Args:
        vertices_2d: (V, 2) pixels.
        depth: (V,) metres along the optical axis.
        faces: (F, 3) int, counter-clockwise seen from outside.
        size: (width, height).

    Returns:
        Raster.
    """
    width, height = size
    face_ids = np.full((height, width), -1, np.int32)
    nearest = np.full((height, width), np.inf)
    for face in visible_faces(vertices_2d, depth, faces, size):
        corners = vertices_2d[faces[face]].astype(np.float64)
        low = np.maximum(np.ceil(corners.min(0)), 0).astype(int)
        high = np.minimum(np.floor(corners.max(0)), (width - 1, height - 1)).astype(int)
        if (low > high).any():
            continue
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        weights = _barycentric(corners, x, y)
        with np.errstate(divide='ignore'):
            z = 1 / (weights @ (1 / depth[faces[face]].astype(np.float64)))
        window = np.s_[low[1] : high[1] + 1, low[0] : high[0] + 1]
        wins = (weights >= 0).all(-1) & (z < nearest[window])
        nearest[window][wins] = z[wins]
        face_ids[window][wins] = face
    return Raster(face_ids, np.where(face_ids >= 0, nearest, 0).astype(np.float32))


def _barycentric(corners: NDArray, x: NDArray, y: NDArray) -> NDArray:
    matrix = np.concatenate([corners.T, np.ones((1, 3))])
    return np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(matrix).T
