"""Renders a video of a moving camera: table and room behind, then hands, forearms and objects by their depth.

Bodies are drawn at twice the image's size and averaged, so that fingers of two pixels keep their edges. Built for
speed: a hand's faces, about as small as a pixel, have one colour each; table and room are two warps of images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.geometry.raster import NEAR, paint_faces
from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.synthesis.objects.textures import flat_texture
from handpose.synthesis.rendering import drawing
from handpose.synthesis.rendering.appearance import TABLE_METRES, TABLE_PIXELS, Look, draw_look, draw_sensor
from handpose.synthesis.rendering.bodies import SceneBodies
from handpose.synthesis.rendering.decimation import decimate
from handpose.synthesis.rendering.drawing import Body, Canvas, Exposure, Frame, ImageLayer, project
from handpose.synthesis.scene import Scene

OVERSAMPLING = 2
HAND_LABELS, ARM_LABELS, _OBJECT_LABEL = (1, 2), (3, 4), 5  # of the finer canvas, by side
_ROOM_PIXELS = 256
_HAND_VERTICES = 520
_LONGEST_BLUR = 0.08  # share of the image's width
_SHADOW_STEP = 3  # every third vertex of a hand casts its shadow


class MovingCameraRenderer:
    """Renders the frames of both hands of a person, seen by one camera, and the objects about them.

    Args:
        scene: the scene; its objects have textures of their own.
        skin: (3,) RGB of the hands.
        arm: (3,) RGB of forearms or sleeves.
        model: the hand model that posed the hands.
        rng: numpy Generator. The same state gives the scene the same look in several cameras.
        camera: number of the camera.
        sensor_rng: numpy Generator for what differs between cameras, the sensor and its noise; None means `rng`.
        oversampling: how many times as large as its image a frame is drawn.
    """

    def __init__(
        self,
        scene: Scene,
        skin: NDArray,
        arm: NDArray,
        model: ProceduralHand,
        rng: Generator,
        camera: int = 0,
        sensor_rng: Generator | None = None,
        oversampling: int = OVERSAMPLING,
    ) -> None:
        self.scene, self.size, self.oversampling = scene, scene.image_sizes[camera], oversampling
        self.extrinsics, self.intrinsics = scene.extrinsics[:, camera], scene.intrinsics[camera]
        look = draw_look(rng, model.num_vertices, 0)
        table_half = rng.uniform((0.5, 0.5), (1.1, 0.9))
        textures = tuple(o.texture for o in scene.objects if o.texture is not None)
        self._look = replace(look, skin=skin, arm=arm, table_half=table_half, textures=textures)
        self._table, self._on_table = _table_image(self._look)
        self._room = flat_texture(rng, _ROOM_PIXELS)
        sensor_rng = rng if sensor_rng is None else sensor_rng
        sensor = draw_sensor(sensor_rng)
        self._expose = Exposure(sensor, sensor_rng, self.size)
        self._blurs = [sensor.shutter * self._speed(hand) for hand in range(len(scene.sides))]
        self._fine = _finer(self.intrinsics, oversampling)
        self._bodies = SceneBodies(scene, self._look, model)
        self._drawn: tuple[NDArray, tuple[NDArray, NDArray, NDArray | None]] | None = None
        self._used, faces = _coarse_hand(model)
        self._faces = {Side.RIGHT: faces, Side.LEFT: faces[:, ::-1]}
        self._face_colours = self._bodies.skin[self._used][faces].mean(1).astype(np.float32)

    def frames(self, camera: int = 0) -> Iterator[Frame]:
        """Yields the frames; see `render`."""
        for index in range(len(self.extrinsics)):
            yield self.render(index)

    def render(self, index: int) -> Frame:
        """Renders a frame: image, labels (`HAND_LABELS`, `ARM_LABELS`) at `oversampling` times its size, occlusions."""
        scene, (width, height) = self.scene, (self.oversampling * n for n in self.size)
        objects = [self._bodies.object(number, index) for number in range(len(scene.objects))]
        arms = [self._bodies.arm(hand, index) for hand in range(len(scene.sides))]
        colour = self._background(index, [*objects, *arms])
        canvas = Canvas(
            cv2.resize(colour, (width, height), interpolation=cv2.INTER_LINEAR),
            np.full((height, width), drawing.FAR, np.float32),
            np.zeros((height, width), np.uint8),
        )
        labelled = [(body, _OBJECT_LABEL) for body in objects]
        labelled += [(arm, ARM_LABELS[side]) for arm, side in zip(arms, scene.sides, strict=True)]
        for body, label in labelled:
            canvas.add(drawing.draw_body(body, self._fine, self.extrinsics[index], (width, height), self._look), label)
        silhouettes = []
        for hand, side in enumerate(scene.sides):
            layer = self._draw_hand(hand, index, (width, height))
            canvas.add(layer, HAND_LABELS[side])
            silhouettes.append(layer.pixels)
        image = cv2.resize(canvas.colour, self.size, interpolation=cv2.INTER_AREA)
        for side, blurs in zip(scene.sides, self._blurs, strict=True):
            if np.hypot(*blurs[index]) > drawing.VISIBLE_BLUR:
                moving = (canvas.seg == HAND_LABELS[side]) | (canvas.seg == ARM_LABELS[side])
                image = _motion_blur(image, moving, blurs[index])
        drawn = canvas.seg.reshape(-1)
        occlusions = tuple(
            1 - float((drawn[pixels] == HAND_LABELS[side]).mean()) if len(pixels) else float('nan')
            for pixels, side in zip(silhouettes, scene.sides, strict=True)
        )
        return Frame(self._expose(image), canvas.seg, occlusions=occlusions)

    def _draw_hand(self, hand: int, index: int, size: tuple[int, int]) -> ImageLayer:
        """A hand, every face in one colour and at one depth."""
        vertices, faces = self.scene.vertices[index, hand, self._used], self._faces[Side(self.scene.sides[hand])]
        extrinsics = self.extrinsics[index]
        uv, depth = project(vertices, self._fine, extrinsics)
        ids = paint_faces(uv, depth, faces, size).reshape(-1)
        pixels = np.flatnonzero(ids >= 0)
        ids = ids[pixels]
        corners = vertices[faces].transpose(1, 0, 2)
        normals = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normals /= np.maximum(np.sqrt((normals**2).sum(1, keepdims=True)), 1e-12)
        middles = corners.mean(0)
        colours = self._face_colours * drawing.shade(middles, normals, extrinsics, self._look)
        return ImageLayer(pixels, depth[faces].mean(1)[ids], colours[ids])

    def _background(self, index: int, bodies: Sequence[Body]) -> NDArray:
        """Table, its shadows, and the room beyond it: (h, w, 3) float32."""
        intrinsics, extrinsics = self.intrinsics, self.extrinsics[index]
        casting = [(body.vertices, False) for body in bodies]
        casting += [(vertices[::_SHADOW_STEP], True) for vertices in self.scene.vertices[index]]
        shadow = drawing.cast_shadows(casting, intrinsics, extrinsics, self.size, self._look)
        table, share, room = self._table_and_room(index)
        table = table * (1 - drawing.SHADOW * shadow)[..., None]
        return table if room is None else (room + share * (table - room)).astype(np.float32)

    def _table_and_room(self, index: int) -> tuple[NDArray, NDArray, NDArray | None]:
        """The table without shadows (h, w, 3), its share of each pixel (h, w, 1), and the room beyond it, if it shows.

        Those of a camera that stands still are drawn once.
        """
        intrinsics, extrinsics = self.intrinsics, self.extrinsics[index]
        if self._drawn is not None and np.array_equal(self._drawn[0], extrinsics):
            return self._drawn[1]
        to_image = intrinsics @ extrinsics[:3, [0, 1, 3]] @ self._on_table
        table = _warped(self._table, to_image, self.size)
        share = table[..., 3:] * _in_front(to_image, self.size)
        room = None
        if share.min() <= 0.999:
            # The room is an image on a wall so far off that only turning the head moves it.
            on_wall = np.array([[2.5 / _ROOM_PIXELS, 0, -1.25], [0, 0, 1], [0, 2.5 / _ROOM_PIXELS, -1.25]])
            room = _warped(self._room, intrinsics @ extrinsics[:3, :3] @ on_wall, self.size, cv2.BORDER_WRAP)
        self._drawn = extrinsics, (table[..., :3], share, room)
        return self._drawn[1]

    def _speed(self, hand: int) -> NDArray:
        """How far (F, 2) a hand's middle moves in the image from frame to frame, pixels, both ways in time."""
        middles = self.scene.joints[:, hand].mean(1)[..., None]
        local = (self.extrinsics[:, :3, :3] @ middles)[..., 0] + self.extrinsics[:, :3, 3]
        pixels = local @ self.intrinsics.T
        return np.gradient(pixels[:, :2] / np.maximum(pixels[:, 2:], NEAR), axis=0)


@lru_cache(maxsize=1)
def _coarse_hand(model: ProceduralHand) -> tuple[NDArray, NDArray]:
    """The vertices (W,) of a right hand that are drawn, and faces (F, 3) on these."""
    faces = decimate(model.template_vertices.double().numpy(), model.faces_of(Side.RIGHT).numpy(), _HAND_VERTICES)
    used, places = np.unique(faces, return_inverse=True)
    return used, places.reshape(faces.shape)


def _motion_blur(image: NDArray, moving: NDArray, step: NDArray) -> NDArray:
    """The image (h, w, 3), blurred along `step` (dx, dy) about where the finer canvas says `moving` (H, W) bool."""
    size = image.shape[1::-1]
    share = cv2.resize(moving.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(share)
    if not len(rows):
        return image
    kernel = drawing.line_kernel(step * min(1.0, _LONGEST_BLUR * size[0] / np.hypot(*step)))
    window = drawing.blur_window(rows, columns, kernel)
    sharp = image[window]
    share = cv2.filter2D(share[window], -1, kernel)[..., None]
    image[window] = sharp + share * (cv2.filter2D(sharp, -1, kernel) - sharp)
    return image


def _finer(intrinsics: NDArray, oversampling: int) -> NDArray:
    """The intrinsics of the finer canvas: pixel centres lie at whole numbers."""
    scale = np.diag([oversampling, oversampling, 1.0])
    scale[:2, 2] = (oversampling - 1) / 2
    return scale @ intrinsics


def _table_image(look: Look) -> tuple[NDArray, NDArray]:
    """The lit table (N, N, 4) float32, its last channel 1 where the table is, and (3, 3) from its pixels to metres."""
    metres = (np.arange(TABLE_PIXELS) + 0.5) * (TABLE_METRES / TABLE_PIXELS) - TABLE_METRES / 2
    inside = (np.abs(metres[None]) < look.table_half[0]) & (np.abs(metres[:, None]) < look.table_half[1])
    image = np.concatenate([look.table * drawing.table_light(look), inside[..., None]], 2).astype(np.float32)
    cosine, sine = np.cos(look.table_angle), np.sin(look.table_angle)
    scale = TABLE_METRES / TABLE_PIXELS
    to_metres = np.array(
        [[scale, 0, scale / 2 - TABLE_METRES / 2], [0, scale, scale / 2 - TABLE_METRES / 2], [0, 0, 1]]
    )
    return image, np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ to_metres


def _warped(image: NDArray, to_image: NDArray, size: tuple[int, int], border: int = cv2.BORDER_CONSTANT) -> NDArray:
    """A plane's image as the camera sees it, by the homography (3, 3) from its pixels to the camera's."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, np.linalg.inv(to_image), size, flags=flags, borderMode=border)


def _in_front(to_image: NDArray, size: tuple[int, int]) -> NDArray:
    """(h, w, 1) float32: 1 where a pixel's ray meets the plane before the camera, not behind it."""
    inverse = np.linalg.inv(to_image)
    # A point of the plane at depth z has the homogeneous pixel z (u, v, 1), so the last row gives 1 / z.
    x, y = np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32)
    return ((inverse[2, 0] * x + (inverse[2, 1] * y + inverse[2, 2])[:, None]) > 0)[..., None].astype(np.float32)
