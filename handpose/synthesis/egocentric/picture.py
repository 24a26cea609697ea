"""Draws a video seen by a moving camera: table and room behind, then hands, forearms and things by their depth.

Bodies are drawn at twice the picture's size and averaged, so that fingers of two pixels keep their edges. Built for
speed: a hand's faces, about as small as a pixel, have one colour each; table and room are two warps of pictures.
"""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from handpose.geometry.raster import NEAR, paint_faces
from handpose.hands.model import LEFT, RIGHT
from handpose.synthesis.appearance import TABLE_METRES, TABLE_PIXELS, draw_look, draw_sensor, flat_texture
from handpose.synthesis.bodies import Arm, colour_skin, mesh_normals, textured_body
from handpose.synthesis.egocentric.coarse import coarsen
from handpose.synthesis.render import (
    HAND_ID,
    Body,
    Canvas,
    Exposure,
    Layer,
    cast_shadows,
    draw_body,
    line_kernel,
    project,
    shade,
)

OVERSAMPLING = 2
_ROOM_PIXELS = 256
_FAR = 1e3
_HAND_VERTICES = 520
_VISIBLE_SMEAR, _LONGEST_SMEAR = 1.2, 0.08  # pixels; share of the picture's width
HANDS, ARMS, _THING = (1, 2), (3, 4), 5  # labels, by side
_EVERY = 3  # of a hand's vertices, which throw its shadow


class Painter:
    """Draws the frames of one `EgoScene`.

    Args:
        scene: `EgoScene`. person: `Person`. model: ProceduralHand. size: (width, height). rng: numpy Generator.
    """

    def __init__(self, scene, person, model, size, rng):
        self.scene, self.size = scene, size
        look = draw_look(rng, model.num_vertices, 0)
        table_half = rng.uniform((0.5, 0.5), (1.1, 0.9))
        self._look = replace(look, skin=person.skin, arm=person.arm, table_half=table_half)
        self._table, self._on_table = _table_picture(self._look)
        self._room = flat_texture(rng, _ROOM_PIXELS)
        sensor = draw_sensor(rng)
        self._expose = Exposure(sensor, rng, size)
        self._smears = {side: sensor.shutter * _speed(scene, hand) for side, hand in scene.hands.items()}
        self._fine = _finer(scene.intrinsics)
        skin = colour_skin(model, self._look)
        self._used, faces = _coarse_hand(model)
        self._faces = {RIGHT: faces, LEFT: faces[:, ::-1]}
        self._face_colours = skin[self._used][faces].mean(1).astype(np.float32)
        meshes = [piece.solid.mesh() for piece in scene.pieces]
        self._pieces = [
            textured_body(mesh, mesh_normals(mesh.vertices[None], mesh.faces)[0], np.eye(4), 1, piece.texture)
            for mesh, piece in zip(meshes, scene.pieces, strict=True)
        ]
        self._arm = Arm(self._look)

    def frame(self, index):
        """Frame `index`: the picture (h, w, 3) uint8 RGB, and the finer canvas' labels (`HANDS`, `ARMS`, others)."""
        extrinsics = self.scene.extrinsics[index]
        width, height = (OVERSAMPLING * n for n in self.size)
        things = [_placed(body, track[index]) for body, track in zip(self._pieces, self.scene.tracks, strict=True)]
        arms = {s: self._arm.body(h.pose[index, 0], h.joints[index, 0], s) for s, h in self.scene.hands.items()}
        colour = self._background(index, [*things, *arms.values()])
        canvas = Canvas(
            cv2.resize(colour, (width, height), interpolation=cv2.INTER_LINEAR),
            np.full((height, width), _FAR, np.float32),
            np.zeros((height, width), np.uint8),
        )
        labelled = [(body, _THING) for body in things] + [(arm, ARMS[side]) for side, arm in arms.items()]
        for body, label in labelled:
            canvas.add(draw_body(body, self._fine, extrinsics, (width, height), self._look), label)
        for side in self.scene.hands:
            canvas.add(self._draw_hand(side, index, (width, height)), HANDS[side])
        picture = cv2.resize(canvas.colour, self.size, interpolation=cv2.INTER_AREA)
        for side, smears in self._smears.items():
            if np.hypot(*smears[index]) > _VISIBLE_SMEAR:
                moving = (canvas.seg == HANDS[side]) | (canvas.seg == ARMS[side])
                picture = _smeared(picture, moving, smears[index])
        return self._expose(picture), canvas.seg

    def _draw_hand(self, side, index, size):
        """A hand as a `Layer`, every face in one colour and at one depth."""
        vertices, faces = self.scene.hands[side].vertices[index, self._used], self._faces[side]
        extrinsics = self.scene.extrinsics[index]
        uv, depth = project(vertices, self._fine, extrinsics)
        ids = paint_faces(uv, depth, faces, size).reshape(-1)
        pixels = np.flatnonzero(ids >= 0)
        ids = ids[pixels]
        corners = vertices[faces].transpose(1, 0, 2)
        normals = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normals /= np.maximum(np.sqrt((normals**2).sum(1, keepdims=True)), 1e-12)
        middles = corners.mean(0)
        colours = self._face_colours * shade(middles, normals, extrinsics, self._look)
        return Layer(pixels, depth[faces].mean(1)[ids], colours[ids])

    def _background(self, index, things):
        """Table, its shadows, and the room beyond it: (h, w, 3) float32."""
        intrinsics, extrinsics = self.scene.intrinsics, self.scene.extrinsics[index]
        thrown = [*things, *(_shadow_of(hand.vertices[index]) for hand in self.scene.hands.values())]
        shadow = cast_shadows(thrown, intrinsics, extrinsics, self.size, self._look)
        to_picture = intrinsics @ extrinsics[:3, [0, 1, 3]] @ self._on_table
        table = _warped(self._table, to_picture, self.size)
        share = table[..., 3:] * _in_front(to_picture, self.size)
        table = table[..., :3] * (1 - (0.45 / 255) * shadow)[..., None]
        if share.min() > 0.999:
            return table
        # The room is a picture on a wall so far off that only turning the head moves it.
        on_wall = np.array([[2.5 / _ROOM_PIXELS, 0, -1.25], [0, 0, 1], [0, 2.5 / _ROOM_PIXELS, -1.25]])
        room = _warped(self._room, intrinsics @ extrinsics[:3, :3] @ on_wall, self.size, cv2.BORDER_WRAP)
        return (room + share * (table - room)).astype(np.float32)


@lru_cache(maxsize=1)
def _coarse_hand(model):
    """The vertices (W,) of a right hand that are drawn, and faces (F, 3) on these."""
    faces = coarsen(model.template_vertices.double().numpy(), model.faces_of(RIGHT).numpy(), _HAND_VERTICES)
    used, places = np.unique(faces, return_inverse=True)
    return used, places.reshape(faces.shape)


def _speed(scene, hand):
    """How far (F, 2) a hand's middle moves in the picture from frame to frame, pixels; alike when played backwards."""
    middles = hand.joints.mean(1)[..., None]
    local = (scene.extrinsics[:, :3, :3] @ middles)[..., 0] + scene.extrinsics[:, :3, 3]
    pixels = local @ scene.intrinsics.T
    return np.gradient(pixels[:, :2] / np.maximum(pixels[:, 2:], NEAR), axis=0)


def _smeared(picture, moving, smear):
    """The picture (h, w, 3), blurred along `smear` (dx, dy) about where the finer canvas says `moving` (H, W) bool."""
    size = picture.shape[1::-1]
    share = cv2.resize(moving.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(share)
    if not len(rows):
        return picture
    kernel = line_kernel(smear * min(1.0, _LONGEST_SMEAR * size[0] / np.hypot(*smear)))
    pad = kernel.shape[0]
    window = np.s_[max(rows.min() - pad, 0) : rows.max() + pad, max(columns.min() - pad, 0) : columns.max() + pad]
    sharp = picture[window]
    share = cv2.filter2D(share[window], -1, kernel)[..., None]
    picture[window] = sharp + share * (cv2.filter2D(sharp, -1, kernel) - sharp)
    return picture


def _finer(intrinsics):
    """The intrinsics of the finer canvas: pixel centres lie at whole numbers."""
    scale = np.diag([OVERSAMPLING, OVERSAMPLING, 1.0])
    scale[:2, 2] = (OVERSAMPLING - 1) / 2
    return scale @ intrinsics


def _placed(body, pose):
    return body._replace(vertices=body.vertices @ pose[:3, :3].T + pose[:3, 3], normals=body.normals @ pose[:3, :3].T)


def _shadow_of(vertices):
    return Body(vertices[::_EVERY], None, None, HAND_ID)


def _table_picture(look):
    """The lit table (N, N, 4) float32, its last channel 1 where the table is, and (3, 3) from its pixels to metres."""
    lamp = look.ambient + (1 - look.ambient) * (0.75 * look.light[2] + 0.25)
    metres = (np.arange(TABLE_PIXELS) + 0.5) * (TABLE_METRES / TABLE_PIXELS) - TABLE_METRES / 2
    inside = (np.abs(metres[None]) < look.table_half[0]) & (np.abs(metres[:, None]) < look.table_half[1])
    picture = np.concatenate([look.table * lamp, inside[..., None]], 2).astype(np.float32)
    cosine, sine = np.cos(look.table_angle), np.sin(look.table_angle)
    scale = TABLE_METRES / TABLE_PIXELS
    to_metres = np.array(
        [[scale, 0, scale / 2 - TABLE_METRES / 2], [0, scale, scale / 2 - TABLE_METRES / 2], [0, 0, 1]]
    )
    return picture, np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ to_metres


def _warped(picture, to_picture, size, border=cv2.BORDER_CONSTANT):
    """A plane's picture as the camera sees it, by the homography (3, 3) from its pixels to the camera's."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(picture, np.linalg.inv(to_picture), size, flags=flags, borderMode=border)


def _in_front(to_picture, size):
    """(h, w, 1) float32: 1 where a pixel's ray meets the plane before the camera, not behind it."""
    inverse = np.linalg.inv(to_picture)
    # A point of the plane at depth z has the homogeneous pixel z (u, v, 1), so the last row gives 1 / z.
    x, y = np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32)
    return ((inverse[2, 0] * x + (inverse[2, 1] * y + inverse[2, 2])[:, None]) > 0)[..., None].astype(np.float32)
