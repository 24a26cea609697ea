"""The 3D scene of the viewer: skeletons and meshes of one version of a track, in the browser (viser).

The scene has the axes of the predictions: OpenCV's, x right, y down, z forward.
Legend: T frames, H hands.
"""

import numpy as np
import viser
from numpy.typing import NDArray

from handpose.hands.joints import BONES
from handpose.hands.sides import SIDE_LABELS
from handpose.structures import Predictions
from handpose.structures.fitted_hands import FittedHands
from handpose.visualization.draw import FINGER_COLORS, PALM_COLOR, Color
from handpose.visualization.hand_overlay import SIDE_COLORS
from handpose.visualization.skeleton_video import hand_offsets

BEFORE_COLOR = (120, 124, 132)
_BONE, _JOINT = 0.0035, 0.0045  # metres: thickness and radius
_CELL = 0.05  # metres of the grid
FIELD_OF_VIEW = np.deg2rad(50)
_JOINT_COLORS = np.array([PALM_COLOR, *(color for color in FINGER_COLORS for _ in range(4))], np.uint8)
_PARENTS, _CHILDREN = (np.array([bone[end] for bone in BONES]) for end in (0, 1))
_NOTHING = np.full((1, 3), 1e3, np.float32)  # what is not there lies out of sight


class SkeletonNodes:
    """The skeletons of one version of a track.

    Args:
        server: where they are shown.
        name: of the version.
        joints: (T, H, 21, 3) metres, NaN where there is none.
        hand_side: (H,) 0 left, 1 right.
        color: of its bones; default that of the hand's side, with the joints in the colours of the fingers.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        name: str,
        joints: NDArray[np.floating],
        hand_side: NDArray[np.int64],
        color: Color | None = None,
    ) -> None:
        self.joints = joints
        self._lines, self._points = [], []
        for side in hand_side.tolist():
            paint = SIDE_COLORS[side] if color is None else color
            where = f'/{name}/{SIDE_LABELS[side]}'
            segments = np.repeat(_NOTHING[None], 2 * len(BONES), 0).reshape(len(BONES), 2, 3)
            self._lines.append(server.scene.add_line_segments(f'{where}/bones', segments, paint, thickness=_BONE))
            self._points.append(
                server.scene.add_point_cloud(
                    f'{where}/joints',
                    np.repeat(_NOTHING, 21, 0),
                    _JOINT_COLORS if color is None else paint,
                    point_size=_JOINT,
                    point_shape='circle',
                    precision='float32',
                )
            )

    def show(self, t: int, visible: bool) -> None:
        """Shows a frame.

        Args:
            t: index into T.
            visible: whether anything of it is shown.
        """
        for h, (lines, points) in enumerate(zip(self._lines, self._points, strict=True)):
            joints = self.joints[t, h]
            known = np.isfinite(joints).all(1)
            shown = visible and bool(known.any())
            lines.visible = points.visible = shown
            if shown:
                joints = np.where(known[:, None], joints, _NOTHING).astype(np.float32)
                ends = np.stack([joints[_PARENTS], joints[_CHILDREN]], 1)
                ends[~(known[_PARENTS] & known[_CHILDREN])] = _NOTHING
                lines.points, points.points = ends, joints


class MeshNodes:
    """The meshes of fitted hands.

    Args:
        server: where they are shown.
        fitted: the hands.
        offsets: (H, 3) metres that they are moved by.
    """

    def __init__(self, server: viser.ViserServer, fitted: FittedHands, offsets: NDArray[np.floating]) -> None:
        self.fitted, self.offsets = fitted, offsets
        self._nodes = []
        for h, side in enumerate(fitted.hand_side.tolist()):
            hidden = np.zeros_like(fitted.mesh(h, slice(0, 1))[0][0])
            faces = fitted.hand_model.faces_of(side).numpy()
            self._nodes.append(
                server.scene.add_mesh_simple(
                    f'/mesh/{SIDE_LABELS[side]}', hidden, faces, color=SIDE_COLORS[side], opacity=0.55, visible=False
                )
            )

    def show(self, t: int, visible: bool) -> None:
        """Shows a frame.

        Args:
            t: index into T.
            visible: whether anything of it is shown.
        """
        for h, node in enumerate(self._nodes):
            node.visible = shown = visible and bool(self.fitted.valid[t, h])
            if shown:
                node.vertices = (self.fitted.mesh(h, slice(t, t + 1))[0][0] + self.offsets[h]).astype(np.float32)


def shown_joints(predictions: Predictions) -> NDArray[np.floating]:
    """Where the joints of predictions are shown.

    Args:
        predictions: the predictions.

    Returns:
        (T, H, 21, 3) metres, two hands relative to their wrists moved apart.
    """
    return predictions.joints + hand_offsets(predictions)[:, None]


def arrange_scene(server: viser.ViserServer, joints: NDArray[np.floating]) -> None:
    """Sets the axes, the floor and the first view: nearly that of the camera, on the middle of the hands.

    Args:
        server: whose scene it is.
        joints: (T, H, 21, 3) metres, what it shows.
    """
    middle, high, extent = extent_of(joints)
    server.scene.set_up_direction('-y')
    distance = 0.75 * extent / np.tan(FIELD_OF_VIEW / 2)
    server.initial_camera.fov = FIELD_OF_VIEW
    server.initial_camera.look_at = middle
    server.initial_camera.position = middle + distance * np.array([0.25, -0.2, -0.9])
    server.initial_camera.up = (0.0, -1.0, 0.0)
    add_floor(server, np.array([middle[0], high[1] + 0.02, middle[2]]))


def extent_of(joints: NDArray[np.floating]) -> tuple[NDArray, NDArray, float]:
    """Finds the part of space in which nearly all joints are.

    Args:
        joints: (..., 3) metres, NaN where there is none.

    Returns:
        Its middle (3,), its corner of the highest coordinates (3,), and the distance between opposite corners, metres.
    """
    known = joints[np.isfinite(joints).all(-1)]
    low, high = np.percentile(known, (2, 98), axis=0) if len(known) else (np.zeros(3), np.ones(3) * 0.1)
    return (low + high) / 2, high, float(np.linalg.norm(high - low))


def add_floor(
    server: viser.ViserServer, position: NDArray[np.floating], wxyz: tuple[float, float, float, float] = (1, 0, 0, 0)
) -> None:
    """Adds a grid in the plane of x and z.

    Args:
        server: whose scene it is.
        position: (3,) metres, of its middle.
        wxyz: quaternion by which it is turned.
    """
    server.scene.add_grid(
        '/grid',
        width=20 * _CELL,
        height=20 * _CELL,
        plane='xz',
        cell_size=_CELL,
        section_size=4 * _CELL,
        cell_color=(70, 74, 82),
        section_color=(105, 110, 120),
        position=position,
        wxyz=wxyz,
    )
