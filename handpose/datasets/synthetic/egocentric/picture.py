"""Draws a video seen by a moving camera: table and room behind, then hands, forearms and things by their depth.

Bodies are drawn at twice the picture's size and averaged, so that fingers of two pixels keep their edges.
"""

from dataclasses import replace

import cv2
import numpy as np

from handpose.datasets.synthetic.appearance import draw_look, draw_sensor, flat_texture
from handpose.datasets.synthetic.bodies import Arm, colour_skin, mesh_normals, textured_body
from handpose.datasets.synthetic.render import HAND_ID, Body, Canvas, Exposure, cast_shadows, draw_body, draw_table

OVERSAMPLING = 2
_ROOM_PIXELS = 256
_FAR = 1e3


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
        self._room = flat_texture(rng, _ROOM_PIXELS)
        self._expose = Exposure(draw_sensor(rng), rng, size)
        scale = np.diag([OVERSAMPLING, OVERSAMPLING, 1.0])
        scale[:2, 2] = (OVERSAMPLING - 1) / 2  # pixel centres lie at whole numbers
        self._fine = scale @ scene.intrinsics
        self._skin = colour_skin(model, self._look)
        self._faces = {side: model.faces_of(side).numpy() for side in scene.hands}
        self._normals = {s: mesh_normals(h.vertices, self._faces[s]) for s, h in scene.hands.items()}
        self._meshes = [piece.solid.mesh() for piece in scene.pieces]
        self._piece_normals = [mesh_normals(m.vertices[None], m.faces)[0] for m in self._meshes]
        self._arm = Arm(self._look)

    def frame(self, index):
        """Frame `index`: the picture (h, w, 3) uint8 RGB, and where on the finer canvas hands are seen, bool."""
        extrinsics = self.scene.extrinsics[index]
        bodies = self._bodies(index)
        colour = self._background(extrinsics, bodies)
        width, height = (OVERSAMPLING * n for n in self.size)
        canvas = Canvas(
            cv2.resize(colour, (width, height), interpolation=cv2.INTER_LINEAR),
            np.full((height, width), _FAR, np.float32),
            np.zeros((height, width), np.uint8),
        )
        for body in bodies:
            canvas.add(draw_body(body, self._fine, extrinsics, (width, height), self._look), body.label)
        picture = cv2.resize(canvas.colour, self.size, interpolation=cv2.INTER_AREA)
        return self._expose(picture), canvas.seg == HAND_ID

    def _bodies(self, index):
        bodies = [
            textured_body(mesh, normals, track[index], 1, piece.texture)
            for mesh, normals, track, piece in zip(
                self._meshes, self._piece_normals, self.scene.tracks, self.scene.pieces, strict=True
            )
        ]
        for side, hand in self.scene.hands.items():
            bodies.append(self._arm.body(hand.pose[index, 0], hand.joints[index, 0], side))
            bodies.append(Body(
                hand.vertices[index], self._normals[side][index], self._faces[side], HAND_ID, colours=self._skin
            ))  # fmt: skip
        return bodies

    def _background(self, extrinsics, bodies):
        """Table, its shadows, and the room beyond it: (h, w, 3) float32."""
        intrinsics = self.scene.intrinsics
        table, _, on_table = draw_table(intrinsics, extrinsics, self.size, self._look)
        shadow = cast_shadows(bodies, intrinsics, extrinsics, self.size, self._look)
        table = table * (1 - (0.45 / 255) * shadow)[..., None]
        if on_table.all():
            return table.astype(np.float32)
        x, y = np.meshgrid(np.arange(self.size[0]), np.arange(self.size[1]))
        rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(intrinsics).T @ extrinsics[:3, :3]
        turn, raised = np.arctan2(rays[..., 0], rays[..., 1]), np.arctan2(rays[..., 2], rays[..., 1])
        texels = (np.stack([turn, raised], -1) * (_ROOM_PIXELS / 2.5) + _ROOM_PIXELS / 2).astype(np.float32)
        room = cv2.remap(self._room, texels[..., 0], texels[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return np.where(on_table[..., None], table, room).astype(np.float32)
