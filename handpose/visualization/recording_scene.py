"""The 3D scene of an annotated recording in the browser (viser): its cameras, and where one looks from.

The scene has the axes of the recording's world, which may be any; up is what the cameras agree on.
"""

import numpy as np
import viser
from numpy.typing import NDArray

from handpose.geometry.rotations import rotmat_to_quat
from handpose.structures import AnnotatedRecording, Calibration
from handpose.visualization.viewer_scene import FIELD_OF_VIEW, add_floor, extent_of

CAMERA_COLOR, CHOSEN_COLOR = (150, 156, 166), (255, 214, 90)
_SHARE_OF_DISTANCE = 0.13  # of a camera from the hands, the length of its frustum
_LEAST_AGREEMENT = 0.2  # length of the mean of the cameras' upward directions


class CameraNodes:
    """The cameras of a recording as frusta with their names.

    Args:
        server: where they are shown.
        recording: the recording.
    """

    def __init__(self, server: viser.ViserServer, recording: AnnotatedRecording) -> None:
        middle = extent_of(recording.joints_3d)[0]
        self._frusta, self._labels = [], []
        for k, camera in enumerate(recording.calibration):
            position = camera.position.numpy()
            width, height = camera.image_size
            length = max(_SHARE_OF_DISTANCE * float(np.linalg.norm(position - middle)), 0.01)
            where = f'/cameras/{k}'  # a name from a file could be any path
            self._frusta.append(
                server.scene.add_camera_frustum(
                    where,
                    fov=2 * float(np.arctan(height / 2 / float(camera.intrinsics[1, 1]))),
                    aspect=width / height,
                    scale=length,
                    thickness=0.012 * length,
                    color=CAMERA_COLOR,
                    wxyz=rotmat_to_quat(camera.extrinsics[:3, :3].T).numpy(),
                    position=position,
                    cast_shadow=False,
                )
            )
            self._labels.append(server.scene.add_label(f'{where}/name', camera.name))

    def show(self, visible: bool, chosen: int | None) -> None:
        """Shows the cameras or hides them.

        Args:
            visible: whether they are shown.
            chosen: the camera that is drawn in another colour, or None.
        """
        for k, (frustum, label) in enumerate(zip(self._frusta, self._labels, strict=True)):
            frustum.visible = label.visible = visible
            frustum.color = CHOSEN_COLOR if k == chosen else CAMERA_COLOR


def arrange_recording(server: viser.ViserServer, recording: AnnotatedRecording) -> None:
    """Sets what is up, the floor under the hands, and a first view from which all cameras are seen.

    Args:
        server: whose scene it is.
        recording: what it shows.
    """
    up = upward(recording.calibration)
    middle, _, _ = extent_of(recording.joints_3d)
    positions = np.stack([camera.position.numpy() for camera in recording.calibration])
    farthest = float(np.linalg.norm(positions - middle, axis=1).max())
    side = positions[0] - middle
    side = side - (side @ up) * up
    side = side / np.linalg.norm(side) if np.linalg.norm(side) > 1e-6 else _perpendicular(up)
    server.scene.set_up_direction(up)
    server.initial_camera.fov = FIELD_OF_VIEW
    server.initial_camera.look_at = middle
    server.initial_camera.position = middle + max(farthest, 0.2) * (1.9 * side + 1.2 * up + 0.6 * np.cross(up, side))
    server.initial_camera.up = up
    known = recording.joints_3d[np.isfinite(recording.joints_3d).all(-1)]
    lowest = np.percentile(known @ up, 2) if len(known) else middle @ up - 0.1
    add_floor(server, middle + (lowest - 0.02 - middle @ up) * up, _turn_y_to(up))


def upward(calibration: Calibration) -> NDArray[np.float64]:
    """Finds the direction that is up in the images of most cameras.

    Args:
        calibration: the cameras.

    Returns:
        (3,) unit vector, world; that of the first camera where the cameras disagree.
    """
    rows = np.stack([-camera.extrinsics[1, :3].numpy() for camera in calibration])
    mean = rows.mean(0)
    chosen = mean if np.linalg.norm(mean) > _LEAST_AGREEMENT else rows[0]
    return chosen / np.linalg.norm(chosen)


def _perpendicular(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    other = np.eye(3)[np.abs(vector).argmin()]
    found = np.cross(vector, other)
    return found / np.linalg.norm(found)


def _turn_y_to(direction: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """The quaternion (w first) of the shortest rotation from the axis y to a unit vector."""
    axis = np.cross([0.0, 1.0, 0.0], direction)
    quaternion = np.array([1.0 + direction[1], *axis])
    if np.linalg.norm(quaternion) < 1e-6:  # straight down
        quaternion = np.array([0.0, 1.0, 0.0, 0.0])
    w, x, y, z = (quaternion / np.linalg.norm(quaternion)).tolist()
    return w, x, y, z
