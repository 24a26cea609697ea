"""The images of an annotated recording, with its detections and its reprojected joints drawn on them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handpose.hands.sides import SIDE_LABELS
from handpose.structures import AnnotatedRecording
from handpose.video import VideoError
from handpose.video.numbered_images import NumberedImages
from handpose.visualization.draw import paint_skeleton, paint_thin_skeleton
from handpose.visualization.hand_overlay import SIDE_COLORS, scale_pixels

RESULT_COLOR = (255, 255, 255)
_MARGIN = 1.5  # of a crop, times the larger side of the hands
_SMALLEST = 48  # pixels of the image that a crop shows at least


class RecordingImages:
    """Reads the images of an annotated recording; files are opened when they are needed.

    Args:
        recording: the recording.
        folder: of the recording's file. Relative paths of videos begin there, and a video that is not at its path is
            looked for there by its name.
        videos: a folder in which all videos are, by their names, whatever their paths; None for the paths.

    Attributes:
        problems: {name of a camera: why it has no images}, of the cameras that were read so far.
    """

    def __init__(
        self, recording: AnnotatedRecording, folder: str | Path = '.', videos: str | Path | None = None
    ) -> None:
        self._recording, self._folder = recording, Path(folder)
        self._videos = None if videos is None else Path(videos)
        self._readers: dict[int, NumberedImages] = {}
        self.problems: dict[str, str] = {}

    def read(self, t: int, camera: int) -> NDArray[np.uint8] | None:
        """Reads an image.

        Args:
            t: index into T.
            camera: index into K.

        Returns:
            (h, w, 3) uint8 RGB; None where the camera has no image, or it cannot be read, see `problems`.
        """
        calibrated = self._recording.calibration.cameras[camera]
        number = int(self._recording.frame_indices[t, camera])
        if number < 0 or calibrated.name in self.problems:
            return None
        try:
            if camera not in self._readers:
                self._readers[camera] = NumberedImages(self._find(Path(self._recording.videos[camera])))
            image = self._readers[camera].read(number)
        except VideoError as error:
            self.problems[calibrated.name] = str(error)
            return None
        if image.shape[1::-1] != calibrated.image_size:
            self.problems[calibrated.name] = (
                f'{self._recording.videos[camera]} has images of {image.shape[1]}x{image.shape[0]} pixels, and the '
                f'camera was calibrated with {calibrated.image_size[0]}x{calibrated.image_size[1]}'
            )
            return None
        return image

    def _find(self, path: Path) -> Path:
        if self._videos is not None:
            return self._videos / path.name
        beside = self._folder / path.name
        stated = self._folder / path  # an absolute path stays as it is
        return beside if beside.exists() and not stated.exists() else stated


def reprojected_joints(recording: AnnotatedRecording, t: int, camera: int) -> NDArray[np.float64]:
    """Projects the joints of one frame into an image.

    Args:
        recording: the recording.
        t: index into T.
        camera: index into K.

    Returns:
        (H, 21, 2) pixels of the camera's own image, NaN where a joint is not valid or is out of sight.
    """
    joints = torch.from_numpy(recording.joints_3d[t].astype(np.float64))
    model = recording.calibration.cameras[camera]
    shown = torch.from_numpy(recording.joints_valid[t]) & model.sees(joints)
    return torch.where(shown[..., None], model.project(joints), torch.nan).numpy()


def draw_recording_image(
    image: NDArray[np.uint8], recording: AnnotatedRecording, t: int, camera: int, width: int, *, overlay: bool = True
) -> NDArray[np.uint8]:
    """Draws the detections (in the colours of the sides) and the reprojected joints (thin and white) on an image.

    Args:
        image: (h, w, 3) uint8 RGB of the camera.
        recording: the recording.
        t: index into T.
        camera: index into K.
        width: of the result, pixels.
        overlay: False only scales the image.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    corners = (0, 0, image.shape[1], image.shape[0])
    drawn = _cut(image, corners, width)
    if overlay:
        points = reprojected_joints(recording, t, camera)
        _paint(drawn, recording, t, camera, points, corners, width / image.shape[1])
    return drawn


def crop_recording_image(
    image: NDArray[np.uint8], recording: AnnotatedRecording, t: int, camera: int, hand: int, size: int
) -> NDArray[np.uint8]:
    """Cuts a hand of one frame out of an image and draws it, see `draw_recording_image`.

    Args:
        image: (h, w, 3) uint8 RGB of the camera.
        recording: the recording.
        t: index into T.
        camera: index into K.
        hand: index into H, of the hand that the crop is about; other hands inside of it are drawn too.
        size: of the result, pixels.

    Returns:
        (size, size, 3) uint8 RGB; the middle of the image where the hand is neither detected nor in sight.
    """
    reprojected = reprojected_joints(recording, t, camera)
    points = np.concatenate([recording.joints_2d[t, camera, hand], reprojected[hand]])
    points = points[np.isfinite(points).all(-1)]
    height, width = image.shape[:2]
    if len(points):
        points = points.clip(0, (width - 1, height - 1))
        low, high = points.min(0), points.max(0)
        side = int(max(_MARGIN * (high - low).max(), _SMALLEST))
        middle = (low + high) / 2
    else:
        side, middle = min(height, width), np.array([width, height]) / 2
    left, top = np.round(middle - side / 2).astype(int).tolist()
    corners = (left, top, left + side, top + side)
    drawn = _cut(image, corners, size)
    _paint(drawn, recording, t, camera, reprojected, corners, size / side)
    return drawn


def describe_hands(recording: AnnotatedRecording, t: int) -> list[str]:
    """Says which hands a frame has.

    Args:
        recording: the recording.
        t: index into T.

    Returns:
        One text for each hand, such as 'left hand: 3 of 4 views'.
    """
    words = []
    for h, side in enumerate(recording.hand_side.tolist()):
        found = recording.num_views[t, h]
        in_3d = '' if recording.joints_valid[t, h].any() else ', not in 3D'
        words.append(f'{SIDE_LABELS[side]} hand: {found} of {len(recording.calibration)} views{in_3d}')
    return words


def _cut(image: NDArray[np.uint8], corners: Sequence[int], width: int) -> NDArray[np.uint8]:
    """The part of an image between two corners, which may be outside of it, scaled to a width."""
    left, top, right, bottom = corners
    height, columns = image.shape[:2]
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    edges = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - columns, 0))
    padded = cv2.copyMakeBorder(inside, *edges, cv2.BORDER_CONSTANT, value=(30, 32, 36)) if any(edges) else inside
    size = (width, max(1, round((bottom - top) * width / (right - left))))
    method = cv2.INTER_AREA if width < right - left else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(padded, size, interpolation=method), np.uint8)


def _paint(
    drawn: NDArray[np.uint8],
    recording: AnnotatedRecording,
    t: int,
    camera: int,
    reprojected: NDArray[np.float64],
    corners: Sequence[int],
    scale: float,
) -> None:
    """Draws detections, and on them the reprojected joints, into a part of an image."""
    line = max(2, round(drawn.shape[1] / 110))
    shown = np.zeros(21, bool)
    for points, side in zip(recording.joints_2d[t, camera], recording.hand_side.tolist(), strict=True):
        color = SIDE_COLORS[side]
        paint_skeleton(drawn, scale_pixels(points - corners[:2], scale), None, shown, [color] * 21, [color] * 21, line)
    for points in reprojected:
        paint_thin_skeleton(drawn, scale_pixels(points - corners[:2], scale), RESULT_COLOR, max(1, line // 3))
