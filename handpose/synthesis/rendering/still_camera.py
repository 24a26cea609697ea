"""Renders the frames of a camera that stands still: colour, depth, segmentation, and how much of the hand is hidden.

What does not move (wall, table, the objects that nobody touches) is drawn once per camera with its depth; each frame
adds the hand, its arm and the grasped object by comparing depths pixel by pixel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.hands import ProceduralHand
from handpose.synthesis.objects.textures import flat_texture
from handpose.synthesis.rendering import drawing
from handpose.synthesis.rendering.appearance import draw_look, draw_sensor
from handpose.synthesis.rendering.bodies import SceneBodies
from handpose.synthesis.rendering.drawing import Body, Canvas, Exposure, Frame, ImageLayer, Render, project
from handpose.synthesis.scene import Scene

_WALL_PIXELS = 256
_MAX_BLUR = 21  # pixels


class StillCameraRenderer:
    """Renders the frames of one hand and the objects about it for one camera.

    Args:
        bodies: of the scene.
        camera: number of the camera.
        rng: numpy Generator, for the sensor, the wall and the noise.
    """

    def __init__(self, bodies: SceneBodies, camera: int, rng: Generator) -> None:
        scene = bodies.scene
        self.bodies, self.look = bodies, bodies.look
        self.intrinsics, self.extrinsics = scene.intrinsics[camera], scene.extrinsics[0, camera]
        self.size = scene.image_sizes[camera]
        self.sensor = draw_sensor(rng)
        self._expose = Exposure(self.sensor, rng, self.size)
        self._background, self._on_table = self._draw_still(rng)
        self._last_centre: NDArray | None = None

    def frames(self, drawn: NDArray | None = None) -> Iterator[Frame]:
        """Yields the frames.

        Args:
            drawn: (F,) where the hand and its arm are drawn; None means always.
        """
        for index, moving in enumerate(self.bodies.scene.moving):
            hand_drawn = drawn is None or bool(drawn[index])
            grasped = self.bodies.object(0, index)
            arms = [self.bodies.arm(0, index)] if hand_drawn else []
            resting, carried = ([], [grasped, *arms]) if moving else ([grasped], arms)
            yield self._render(self.bodies.hand(0, index) if hand_drawn else None, resting, carried)

    def _render(self, hand: Body | None, resting: Sequence[Body], carried: Sequence[Body]) -> Frame:
        """Renders the hand, bodies at rest in this frame, and bodies that move with the hand."""
        behind = self._background.copy()
        hands = [] if hand is None else [hand]
        self._cast_shadows(behind.colour, self._on_table, [*hands, *resting, *carried])
        for body in resting:
            behind.add(self._layer(body), body.label)
        canvas = behind.copy()
        moving = np.zeros(canvas.seg.shape, np.float32)
        layers = [(self._layer(body), body.label) for body in (*carried, *hands)]
        for layer, label in layers:
            moving.reshape(-1)[canvas.add(layer, label)] = 1
        silhouette = layers[-1][0].pixels if hands else np.zeros(0, int)
        uncovered = np.count_nonzero(canvas.seg.reshape(-1)[silhouette] == drawing.HAND_ID)
        occlusion = 1 - uncovered / len(silhouette) if len(silhouette) else float('nan')
        colour = self._motion_blur(canvas.colour, behind.colour, moving, hand)
        depth = np.where(canvas.depth < drawing.FAR, canvas.depth * 1000, 0)
        return Frame(self._expose(colour), canvas.seg, depth.round().astype(np.uint16), float(occlusion))

    def _layer(self, body: Body) -> ImageLayer:
        return drawing.draw_body(body, self.intrinsics, self.extrinsics, self.size, self.look)

    def _draw_still(self, rng: Generator) -> tuple[Canvas, NDArray]:
        """The canvas of wall, table and still objects, and where (h, w) the table lies, for shadows."""
        width, height = self.size
        wall = cv2.resize(flat_texture(rng, _WALL_PIXELS), (width, height))
        table, away, is_table = drawing.draw_table(self.intrinsics, self.extrinsics, self.size, self.look)
        colour = np.where(is_table[..., None], table, wall).astype(np.float32)
        canvas = Canvas(
            colour, np.where(is_table, away, drawing.FAR).astype(np.float32), np.zeros((height, width), np.uint8)
        )
        on_table, still = is_table.astype(np.float32), self.bodies.still()
        self._cast_shadows(canvas.colour, on_table, still)
        for body in still:
            on_table.reshape(-1)[canvas.add(self._layer(body), body.label)] = 0
        return canvas, on_table

    def _cast_shadows(self, colour: NDArray, on_table: NDArray, bodies: Sequence[Body]) -> None:
        """Darkens the table where bodies cast a shadow."""
        if bodies:
            casting = [(body.vertices, body.label == drawing.HAND_ID) for body in bodies]
            shadow = drawing.cast_shadows(casting, self.intrinsics, self.extrinsics, self.size, self.look)
            colour *= (1 - drawing.SHADOW * shadow * on_table)[..., None]

    def _motion_blur(self, colour: NDArray, behind: NDArray, moving: NDArray, hand: Body | None) -> NDArray:
        """Blurs what moves along the hand's motion during the shutter time, over what is behind it."""
        if hand is None:
            self._last_centre = None
            return colour
        centre = project(hand.vertices.mean(0, keepdims=True), self.intrinsics, self.extrinsics)[0][0]
        step = np.zeros(2) if self._last_centre is None else centre - self._last_centre
        self._last_centre = centre
        step = step * self.sensor.shutter
        length = np.hypot(*step)
        if length < drawing.VISIBLE_BLUR:
            return colour
        rows, columns = np.nonzero(moving)
        if not len(rows):
            return colour
        kernel = drawing.line_kernel(step * min(1.0, _MAX_BLUR / length))
        window = drawing.blur_window(rows, columns, kernel)
        alpha = moving[window][..., None]
        front = cv2.filter2D(np.concatenate([colour[window] * alpha, alpha], 2), -1, kernel)
        colour[window] = front[..., :3] + behind[window] * (1 - front[..., 3:])
        return colour


def still_cameras(
    scene: Scene, model: ProceduralHand, rng: Generator, drawn: NDArray | None = None, skin: NDArray | None = None
) -> Render:
    """Makes the renderer of a scene of one hand and cameras that stand still.

    Args:
        scene: of one hand.
        model: the hand model that posed it.
        rng: numpy Generator, for the look, the sensors, the walls and the noise.
        drawn: (F, K) where the hand and its arm are drawn; None means always.
        skin: (3,) colour of the hand and its arm, such as that of a glove; None means that of the look.

    Returns:
        what yields the frames of a camera's number; cameras must be asked for in order, each to its end.
    """
    look = draw_look(rng, model.num_vertices, len(scene.objects))
    bodies = SceneBodies(scene, look if skin is None else replace(look, skin=skin, arm=skin), model)

    def render(camera: int) -> Iterator[Frame]:
        return StillCameraRenderer(bodies, camera, rng).frames(None if drawn is None else drawn[:, camera])

    return render
