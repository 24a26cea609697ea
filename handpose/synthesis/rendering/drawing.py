"""What both renderers draw with: bodies, layers composed by depth, light, the table, shadows and the sensor.

Table frame, metres, pixels, RGB float 0 to 1.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.geometry.raster import NEAR, interpolate, paint_faces
from handpose.synthesis.objects.textures import VOXELS
from handpose.synthesis.rendering.appearance import TABLE_METRES, TABLE_PIXELS, Look, Sensor

HAND_ID = 255  # DexYCB's segmentation: 0 background, 1-21 objects, 255 the hand
FAR = 1e3  # metres: depth where nothing is drawn
VISIBLE_BLUR = 1.2  # pixels: shorter motion blur is not drawn
SHADOW = 0.45 / 255  # share of the light that a shadow takes, for each of its 255 steps
_LARGE = 4096  # pixels


class Body(NamedTuple):
    """Something to draw.

    Attributes:
        vertices: (V, 3) table frame.
        normals: (V, 3) unit vectors.
        faces: (F, 3).
        label: segmentation id (0: drawn, but background).
        colours: (V, 3) RGB, or None with a texture.
        texture: solid block (VOXELS, VOXELS, VOXELS, 3).
        texture_points: (V, 3) of the vertices in the block, 0 to 1.
    """

    vertices: NDArray
    normals: NDArray
    faces: NDArray
    label: int
    colours: NDArray | None = None
    texture: NDArray | None = None
    texture_points: NDArray | None = None


class Frame(NamedTuple):
    """A rendered frame.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        seg: uint8 labels, (h, w) or of a finer canvas.
        depth: (h, w) uint16 millimetres; empty where the renderer gives none.
        occlusion: share of the hand that something else covers, 0 to 1; NaN: not in view, or not measured.
        occlusions: the same of each hand of the scene; empty where they are not measured one by one.
    """

    image: NDArray
    seg: NDArray
    depth: NDArray = np.zeros((0, 0), np.uint16)
    occlusion: float = float('nan')
    occlusions: tuple[float, ...] = ()


Render = Callable[[int], Iterator[Frame]]  # of a camera's number; cameras are asked for in order, each to its end


class ImageLayer(NamedTuple):
    """A body seen alone: flat pixel indices (N,), depth (N,), colours (N, 3)."""

    pixels: NDArray
    depth: NDArray
    colours: NDArray


class Canvas:
    """Colour (h, w, 3), depth (h, w) and labels (h, w) that bodies are composed into, nearest first."""

    def __init__(self, colour: NDArray, depth: NDArray, seg: NDArray) -> None:
        self.colour, self.depth, self.seg = colour, depth, seg

    def copy(self) -> 'Canvas':
        """A canvas of its own."""
        return Canvas(self.colour.copy(), self.depth.copy(), self.seg.copy())

    def add(self, layer: ImageLayer, label: int) -> NDArray:
        """Puts a `ImageLayer` where it is nearest; returns the flat indices of the pixels that it won."""
        wins = layer.depth < self.depth.reshape(-1)[layer.pixels]
        pixels = layer.pixels[wins]
        self.depth.reshape(-1)[pixels] = layer.depth[wins]
        self.colour.reshape(-1, 3)[pixels] = layer.colours[wins]
        self.seg.reshape(-1)[pixels] = label
        return pixels


def project(points: NDArray, intrinsics: NDArray, extrinsics: NDArray) -> tuple[NDArray, NDArray]:
    """Pixels (N, 2) and depths (N,) of points (N, 3), table frame."""
    local = points @ extrinsics[:3, :3].T + extrinsics[:3, 3]
    depth = local[:, 2]
    uv = local[:, :2] / np.maximum(depth, NEAR)[:, None]
    return uv @ intrinsics[:2, :2].T + intrinsics[:2, 2], depth


def draw_body(body: Body, intrinsics: NDArray, extrinsics: NDArray, size: tuple[int, int], look: Look) -> ImageLayer:
    """Draws a `Body` alone, as a `ImageLayer`."""
    uv, depth = project(body.vertices, intrinsics, extrinsics)
    ids = paint_faces(uv, depth, body.faces, size)
    pixels = np.flatnonzero(ids.reshape(-1) >= 0)
    ids = ids.reshape(-1)[pixels]
    light = shade(body.vertices, body.normals, extrinsics, look)
    values = body.colours * light if body.colours is not None else np.concatenate([body.texture_points, light], 1)
    values = np.concatenate([1 / np.maximum(depth, NEAR)[:, None], values], 1)
    values = interpolate(np.divmod(pixels, size[0]), ids, uv, values, body.faces)
    z = 1 / values[:, 0]
    if body.texture is None:
        return ImageLayer(pixels, z, values[:, 1:])
    x, y, w = (values[:, 1:4] * VOXELS).astype(np.int32).clip(0, VOXELS - 1).T
    return ImageLayer(pixels, z, body.texture[x, y, w] * values[:, 4:])


def shade(points: NDArray, normals: NDArray, extrinsics: NDArray, look: Look) -> NDArray:
    """Light (N, 1) at points (N, 3): ambient, a wrapped lamp, and darker edges so that fingers part from each other."""
    lamp = np.maximum(0.75 * (normals @ look.light) + 0.25, 0)
    eye = -extrinsics[:3, :3].T @ extrinsics[:3, 3]
    view = eye - points
    facing = np.abs((normals * view).sum(1)) / np.linalg.norm(view, axis=1)
    light = look.ambient + (1 - look.ambient) * lamp
    return (light * (0.55 + 0.45 * facing))[:, None]


def draw_table(
    intrinsics: NDArray, extrinsics: NDArray, size: tuple[int, int], look: Look
) -> tuple[NDArray, NDArray, NDArray]:
    """An endless table: its lit colours (h, w, 3), its depth (h, w) metres, and where it really is (h, w) bool."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(intrinsics).T @ extrinsics[:3, :3]
    eye = -extrinsics[:3, :3].T @ extrinsics[:3, 3]
    away = -eye[2] / np.where(rays[..., 2] < -1e-6, rays[..., 2], -1e-6)  # depth: the rays have z = 1 in the camera
    points = eye[:2] + away[..., None] * rays[..., :2]
    cosine, sine = np.cos(look.table_angle), np.sin(look.table_angle)
    points = points @ np.array([[cosine, -sine], [sine, cosine]])
    on_table = (rays[..., 2] < -1e-6) & (np.abs(points) < look.table_half).all(-1)
    texels = ((points / TABLE_METRES + 0.5) * TABLE_PIXELS).astype(np.float32)
    table = cv2.remap(look.table, texels[..., 0], texels[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return table * table_light(look), away, on_table


def table_light(look: Look) -> float:
    """The light on the table, which a shadow darkens."""
    return look.ambient + (1 - look.ambient) * (0.75 * look.light[2] + 0.25)


def cast_shadows(
    vertices: Iterable[tuple[NDArray, bool]],
    intrinsics: NDArray,
    extrinsics: NDArray,
    size: tuple[int, int],
    look: Look,
) -> NDArray:
    """Casts soft shadows on the table along the light.

    Args:
        vertices: (V, 3) of each body, and whether it is a hand, whose shadow is that of its vertices; that of others
            is their hull's.
        intrinsics: (3, 3).
        extrinsics: (4, 4) table frame to camera.
        size: (width, height).
        look: the light.

    Returns:
        (h, w) uint8, 255 in the shadow.
    """
    width, height = size
    reach = max(3, width // 28) | 1
    splat: NDArray = np.zeros((height, width), np.uint8)
    for points, is_hand in vertices:
        fallen = points - points[:, 2:] / look.light[2] * look.light
        uv, depth = project(fallen, intrinsics, extrinsics)
        uv = np.round(uv[depth > NEAR].clip(-_LARGE, _LARGE)).astype(np.int32)
        if not len(uv):
            continue
        if not is_hand:
            cv2.fillConvexPoly(splat, cv2.convexHull(uv), 255)
        else:
            uv = uv[((uv >= 0) & (uv < (width, height))).all(1)]
            splat[uv[:, 1], uv[:, 0]] = 255
            splat = cv2.dilate(splat, np.ones((reach // 2 | 1,) * 2, np.uint8))
    return cv2.blur(splat, (reach, reach))


class Exposure:
    """Turns linear colours into 8-bit images: lens blur, the sensor's curve, flicker and noise.

    Args:
        sensor: the camera's.
        rng: draws a block of noise now, and shifts it with every image.
        size: (width, height).
    """

    def __init__(self, sensor: Sensor, rng: Generator, size: tuple[int, int]) -> None:
        self.sensor, self.size, self._rng = sensor, size, rng
        self._noise = rng.normal(0, sensor.noise, (size[1] + 64, size[0] + 64, 3)).astype(np.float32)
        level = np.linspace(0, 1, 256)[:, None] * sensor.exposure * sensor.white
        self._curve = (np.clip(level, 0, 1) ** sensor.gamma * 255).astype(np.float32)

    def __call__(self, colour: NDArray) -> NDArray:
        """The image (h, w, 3) uint8 of linear colours (h, w, 3) float32, 0 to 1."""
        image = cv2.GaussianBlur(colour, (3, 3), self.sensor.blur)
        image = np.clip(image * 255, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, np.ascontiguousarray(self._curve[None]))
        flicker = 1 + self._rng.normal(0, 0.01)
        top, left = self._rng.integers(0, 64, 2)
        image = image * np.float32(flicker) + self._noise[top : top + self.size[1], left : left + self.size[0]]
        return np.clip(image, 0, 255).astype(np.uint8)


def line_kernel(step: NDArray) -> NDArray:
    """A normalised line (odd square) of the length and direction of `step` (dx, dy), through its centre."""
    half = int(np.ceil(np.abs(step).max() / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    start, end = (np.array([half, half]) - step / 2), (np.array([half, half]) + step / 2)
    first, last = (np.round(point * 16).astype(int).tolist() for point in (start, end))
    cv2.line(kernel, first, last, 1.0, 1, cv2.LINE_8, 4)
    return kernel / kernel.sum()


def blur_window(rows: NDArray, columns: NDArray, kernel: NDArray) -> tuple[slice, slice]:
    """The part of an image that pixels (N,), (N,) reach when they are blurred."""
    pad = kernel.shape[0]
    return np.s_[max(rows.min() - pad, 0) : rows.max() + pad, max(columns.min() - pad, 0) : columns.max() + pad]
