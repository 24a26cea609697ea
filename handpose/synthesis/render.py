"""Renders one camera's frames of a scene: colour, depth, segmentation and the share of the hand that is hidden.

What stands still (wall, table, the objects nobody touches) is drawn once per camera with its depth; each frame adds
the hand, its arm and the grasped object by comparing depths pixel by pixel. Metres, pixels, RGB float 0 to 1.
"""

from typing import NamedTuple

import cv2
import numpy as np

from handpose.geometry.raster import NEAR, interpolate, paint_faces
from handpose.synthesis.appearance import TABLE_METRES, TABLE_PIXELS, VOXELS, flat_texture

HAND_ID = 255  # DexYCB's segmentation: 0 background, 1-21 objects, 255 the hand
_FAR = 1e3
_MAX_BLUR = 21  # pixels
_LARGE = 4096  # pixels


class Body(NamedTuple):
    """Something to draw: posed vertices and normals (V, 3) in the table frame, faces, and how it is coloured.

    `colours` (V, 3) RGB, or None with `texture` (solid block) and `texture_points` (V, 3) from 0 to 1 in the block.
    `label` is the segmentation id (0: drawn, but background).
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    label: int
    colours: np.ndarray | None = None
    texture: np.ndarray | None = None
    texture_points: np.ndarray | None = None


class Frame(NamedTuple):
    """`image` (h, w, 3) uint8 RGB, `depth` (h, w) uint16 mm, `seg` (h, w) uint8, `occlusion` 0-1, NaN: not in view."""

    image: np.ndarray
    depth: np.ndarray
    seg: np.ndarray
    occlusion: float


class Layer(NamedTuple):
    """A body seen alone: flat pixel indices (N,), depth (N,), colours (N, 3)."""

    pixels: np.ndarray
    depth: np.ndarray
    colours: np.ndarray


class Canvas:
    """Colour (h, w, 3), depth (h, w) and labels (h, w) that bodies are composed into, nearest first."""

    def __init__(self, colour, depth, seg):
        self.colour, self.depth, self.seg = colour, depth, seg

    def copy(self):
        """A canvas of its own."""
        return Canvas(self.colour.copy(), self.depth.copy(), self.seg.copy())

    def add(self, layer, label):
        """Puts a `Layer` where it is nearest; returns the flat indices of the pixels that it won."""
        wins = layer.depth < self.depth.reshape(-1)[layer.pixels]
        pixels = layer.pixels[wins]
        self.depth.reshape(-1)[pixels] = layer.depth[wins]
        self.colour.reshape(-1, 3)[pixels] = layer.colours[wins]
        self.seg.reshape(-1)[pixels] = label
        return pixels


class CameraRenderer:
    """Renders the frames of one scene for one camera.

    Args:
        intrinsics: (3, 3). extrinsics: (4, 4) table frame to camera. size: (width, height).
        look, sensor: see `appearance`. rng: numpy Generator, for the wall and the noise.
        still: the bodies that never move.
    """

    def __init__(self, intrinsics, extrinsics, size, look, sensor, rng, still):
        self.intrinsics, self.extrinsics, self.size = intrinsics, extrinsics, size
        self.look, self.sensor = look, sensor
        self._expose = Exposure(sensor, rng, size)
        self._rng = rng
        self._background, self._on_table = self._draw_still(still)
        self._last_centre = None

    def render(self, hand, others, moving_others):
        """Renders a frame.

        Args:
            hand: the hand's `Body`, or None in a frame without a hand.
            others: bodies at rest in this frame. moving_others: bodies that move with the hand (arm, held object).
        """
        behind = self._background.copy()
        hands = [] if hand is None else [hand]
        self._cast_shadows(behind.colour, [*hands, *others, *moving_others])
        for body in others:
            behind.add(self._layer(body), body.label)
        canvas = behind.copy()
        moving = np.zeros(canvas.seg.shape, np.float32)
        layers = [(self._layer(body), body.label) for body in (*moving_others, *hands)]
        for layer, label in layers:
            moving.reshape(-1)[canvas.add(layer, label)] = 1
        silhouette = layers[-1][0].pixels if hands else ()
        seen = np.count_nonzero(canvas.seg.reshape(-1)[silhouette] == HAND_ID)
        occlusion = 1 - seen / len(silhouette) if len(silhouette) else np.nan
        colour = self._motion_blur(canvas.colour, behind.colour, moving, hand)
        depth = np.where(canvas.depth < _FAR, canvas.depth * 1000, 0)
        return Frame(self._expose(colour), depth.round().astype(np.uint16), canvas.seg, float(occlusion))

    def _project(self, points):
        return project(points, self.intrinsics, self.extrinsics)

    def _layer(self, body):
        return draw_body(body, self.intrinsics, self.extrinsics, self.size, self.look)

    def _draw_still(self, bodies):
        """The canvas of wall, table and still bodies, and where (h, w) the table lies, for shadows."""
        width, height = self.size
        wall = cv2.resize(flat_texture(self._rng, 256), (width, height))
        table, away, on_table = draw_table(self.intrinsics, self.extrinsics, self.size, self.look)
        colour = np.where(on_table[..., None], table, wall).astype(np.float32)
        canvas = Canvas(colour, np.where(on_table, away, _FAR).astype(np.float32), np.zeros((height, width), np.uint8))
        on_table = on_table.astype(np.float32)
        self._on_table = on_table
        self._cast_shadows(canvas.colour, bodies)
        for body in bodies:
            on_table.reshape(-1)[canvas.add(self._layer(body), body.label)] = 0
        return canvas, on_table

    def _cast_shadows(self, colour, bodies):
        """Darkens the table softly where bodies fall along the light: the hand by its vertices, the rest by hulls."""
        if bodies:
            splat = cast_shadows(bodies, self.intrinsics, self.extrinsics, self.size, self.look)
            colour *= (1 - (0.45 / 255) * splat * self._on_table)[..., None]

    def _motion_blur(self, colour, behind, moving, hand):
        """Smears what moves along the hand's motion during the shutter time, over what is behind it."""
        if hand is None:
            self._last_centre = None
            return colour
        centre = self._project(hand.vertices.mean(0, keepdims=True))[0][0]
        step = np.zeros(2) if self._last_centre is None else centre - self._last_centre
        self._last_centre = centre
        step = step * self.sensor.shutter
        length = np.hypot(*step)
        if length < 1.2:
            return colour
        kernel = line_kernel(step * min(1.0, _MAX_BLUR / length))
        rows, columns = np.nonzero(moving)
        if not len(rows):
            return colour
        pad = kernel.shape[0]
        window = np.s_[max(rows.min() - pad, 0) : rows.max() + pad, max(columns.min() - pad, 0) : columns.max() + pad]
        alpha = moving[window][..., None]
        front = cv2.filter2D(np.concatenate([colour[window] * alpha, alpha], 2), -1, kernel)
        colour[window] = front[..., :3] + behind[window] * (1 - front[..., 3:])
        return colour


def project(points, intrinsics, extrinsics):
    """Pixels (N, 2) and depths (N,) of points (N, 3), table frame."""
    local = points @ extrinsics[:3, :3].T + extrinsics[:3, 3]
    depth = local[:, 2]
    uv = local[:, :2] / np.maximum(depth, NEAR)[:, None]
    return uv @ intrinsics[:2, :2].T + intrinsics[:2, 2], depth


def draw_body(body, intrinsics, extrinsics, size, look):
    """Draws a `Body` alone, as a `Layer`."""
    uv, depth = project(body.vertices, intrinsics, extrinsics)
    ids = paint_faces(uv, depth, body.faces, size)
    pixels = np.flatnonzero(ids.reshape(-1) >= 0)
    ids = ids.reshape(-1)[pixels]
    light = shade(body.vertices, body.normals, extrinsics, look)
    coloured = body.texture is None
    values = body.colours * light if coloured else np.concatenate([body.texture_points, light], 1)
    values = np.concatenate([1 / np.maximum(depth, NEAR)[:, None], values], 1)
    values = interpolate(np.divmod(pixels, size[0]), ids, uv, values, body.faces)
    z = 1 / values[:, 0]
    if coloured:
        return Layer(pixels, z, values[:, 1:])
    x, y, w = (values[:, 1:4] * VOXELS).astype(np.int32).clip(0, VOXELS - 1).T
    return Layer(pixels, z, body.texture[x, y, w] * values[:, 4:])


def shade(points, normals, extrinsics, look):
    """Light (N, 1) at points (N, 3): ambient, a wrapped lamp, and darker edges so that fingers part from each other."""
    lamp = np.maximum(0.75 * (normals @ look.light) + 0.25, 0)
    eye = -extrinsics[:3, :3].T @ extrinsics[:3, 3]
    view = eye - points
    facing = np.abs((normals * view).sum(1)) / np.linalg.norm(view, axis=1)
    light = look.ambient + (1 - look.ambient) * lamp
    return (light * (0.55 + 0.45 * facing))[:, None]


def draw_table(intrinsics, extrinsics, size, look):
    """The table without end: its lit colours (h, w, 3), its depth (h, w) metres, and where it really is (h, w) bool."""
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
    return table * (look.ambient + (1 - look.ambient) * (0.75 * look.light[2] + 0.25)), away, on_table


def cast_shadows(bodies, intrinsics, extrinsics, size, look):
    """Soft shadows on the table along the light (h, w), 0 to 255: hands by their vertices, the rest by hulls."""
    width, height = size
    reach = max(3, width // 28) | 1
    splat = np.zeros((height, width), np.uint8)
    for body in bodies:
        fallen = body.vertices - body.vertices[:, 2:] / look.light[2] * look.light
        uv, depth = project(fallen, intrinsics, extrinsics)
        uv = np.round(uv[depth > NEAR].clip(-_LARGE, _LARGE)).astype(np.int32)
        if not len(uv):
            continue
        if body.label != HAND_ID:
            cv2.fillConvexPoly(splat, cv2.convexHull(uv), 255)
        else:
            uv = uv[((uv >= 0) & (uv < (width, height))).all(1)]
            splat[uv[:, 1], uv[:, 0]] = 255
            splat = cv2.dilate(splat, np.ones((reach // 2 | 1,) * 2, np.uint8))
    return cv2.blur(splat, (reach, reach))


class Exposure:
    """Turns linear colours into 8-bit pictures: lens blur, the sensor's curve, flicker and noise."""

    def __init__(self, sensor, rng, size):
        """`sensor`: see `appearance`. `rng` draws a block of noise now, and shifts it with every picture."""
        self.sensor, self.size, self._rng = sensor, size, rng
        self._noise = rng.normal(0, sensor.noise, (size[1] + 64, size[0] + 64, 3)).astype(np.float32)
        level = np.linspace(0, 1, 256)[:, None] * sensor.exposure * sensor.white
        self._curve = (np.clip(level, 0, 1) ** sensor.gamma * 255).astype(np.float32)

    def __call__(self, colour):
        """The picture (h, w, 3) uint8 of linear colours (h, w, 3) float32, 0 to 1."""
        image = cv2.GaussianBlur(colour, (3, 3), self.sensor.blur)
        image = np.clip(image * 255, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, np.ascontiguousarray(self._curve[None]))
        flicker = 1 + self._rng.normal(0, 0.01)
        top, left = self._rng.integers(0, 64, 2)
        image = image * np.float32(flicker) + self._noise[top : top + self.size[1], left : left + self.size[0]]
        return np.clip(image, 0, 255).astype(np.uint8)


def line_kernel(step):
    """A normalised line (odd square) of the length and direction of `step` (dx, dy), through its centre."""
    half = int(np.ceil(np.abs(step).max() / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    start, end = (np.array([half, half]) - step / 2), (np.array([half, half]) + step / 2)
    cv2.line(
        kernel,
        np.round(start * 16).astype(int).tolist(),
        np.round(end * 16).astype(int).tolist(),
        1.0,
        1,
        cv2.LINE_8,
        4,
    )
    return kernel / kernel.sum()
