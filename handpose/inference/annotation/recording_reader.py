"""The images of a recording, frame by frame, and square regions of them without lens distortion.

Legend: T frames of the recording, K cameras, s side of a region.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.geometry import crop_affine, crop_squares, scale_boxes, transform_intrinsics
from handpose.inference.sources import FrameReader, open_source
from handpose.structures.annotated_recording import AnnotatedRecording, RecordingError
from handpose.structures.calibration import CameraCalibration
from handpose.video import VideoFrame, frame_period

_NODE_STEP = 8  # pixels of a region from one point to the next at which the lens distortion is computed
_MOST_SAMPLES = 4
_UNKNOWN_FPS = 30.0


class _CameraFrames:
    """The images of one camera, forward only: one is in memory."""

    def __init__(self, path: Path, name: str, size: tuple[int, int], fps: float) -> None:
        self.path, self.name, self.size = path, name, size
        reader: FrameReader = open_source(path, fps if path.is_dir() else None)
        self._frames: Iterator[VideoFrame] = iter(reader)
        self._current: VideoFrame | None = None

    def read(self, index: int) -> NDArray[np.uint8]:
        while self._current is None or self._current.index < index:
            self._current = next(self._frames, None)
            if self._current is None:
                raise RecordingError(
                    f'{self.path} ends before image {index}, which the recording has of camera {self.name}: is it the '
                    f'video that was annotated?'
                )
        if self._current.index != index:
            raise RecordingError(
                f'frame_indices of camera {self.name} must not decrease, got {index} after a later one'
            )
        image = self._current.image
        if (image.shape[1], image.shape[0]) != self.size:
            raise RecordingError(
                f'{self.path} has images of {image.shape[1]}x{image.shape[0]} pixels, and the calibration of camera '
                f'{self.name} is for {self.size[0]}x{self.size[1]}: resize it with CameraCalibration.resized'
            )
        return image

    def close(self) -> None:
        """Lets go of the file."""
        self._current = None
        self._frames = iter(())


class RecordingReader:
    """Reads the images of all cameras in the order of the frames; one image of each camera is in memory.

    Args:
        recording: its videos and which image of each belongs to a frame.
        folder: to which relative paths of videos refer; None means the working directory.

    Raises:
        RecordingError: while reading: a video is shorter than the recording, or has images of another size.
        VideoError: a video that cannot be opened.
    """

    def __init__(self, recording: AnnotatedRecording, folder: Path | None = None) -> None:
        period = frame_period(recording.timestamps)
        fps = _UNKNOWN_FPS if period is None else 1 / period
        self._indices = recording.frame_indices
        self._cameras = [
            _CameraFrames(Path(folder or '.', video), camera.name, camera.image_size, fps)
            for video, camera in zip(recording.videos, recording.calibration, strict=True)
        ]

    def read(self, frame: int, camera: int) -> NDArray[np.uint8] | None:
        """Reads an image; the frames of a camera must be read in order.

        Args:
            frame: of the recording.
            camera: its number.

        Returns:
            (h, w, 3) uint8 RGB; None where the camera has none.
        """
        index = int(self._indices[frame, camera])
        return None if index < 0 else self._cameras[camera].read(index)

    def close(self) -> None:
        """Closes the videos."""
        for camera in self._cameras:
            camera.close()


@contextmanager
def open_images(recording: AnnotatedRecording, folder: Path | None = None) -> Iterator[RecordingReader]:
    """Opens the videos of a recording, and closes them afterwards.

    Args:
        recording: see `RecordingReader`.
        folder: see `RecordingReader`.

    Yields:
        The images.
    """
    images = RecordingReader(recording, folder)
    try:
        yield images
    finally:
        images.close()


class Region(NamedTuple):
    """A square part of a camera's image, as a pinhole camera would see it.

    Attributes:
        image: (s, s, 3) uint8 RGB; black outside the camera's image.
        intrinsics: (3, 3) of the region, pixels.
        affine: (2, 3) from undistorted pixels of the camera to pixels of the region.
    """

    image: NDArray[np.uint8]
    intrinsics: Tensor
    affine: Tensor


def region_around(box: Tensor, scale: float, image_size: tuple[int, int]) -> Tensor:
    """Enlarges a box to a square, moved into the image as far as it fits.

    Args:
        box: (4,) undistorted pixels.
        scale: factor of its longer side.
        image_size: (width, height), pixels.

    Returns:
        (4,), a square.
    """
    square = crop_squares(scale_boxes(box, scale))
    side, extent = square[2:] - square[:2], square.new_tensor(image_size)
    most = (extent - 0.5 - side).clamp_min(-0.5)
    start = torch.minimum(square[:2].clamp_min(-0.5), most)
    fits = side <= extent
    start = torch.where(fits, start, square[:2])
    return torch.cat([start, start + side])


def cut_region(image: NDArray[np.uint8], camera: CameraCalibration, square: Tensor, size: int) -> Region:
    """Cuts a square out of a camera's image and takes out the lens distortion.

    Args:
        image: (h, w, 3) uint8 RGB of the camera.
        camera: its calibration.
        square: (4,) undistorted pixels.
        size: s, pixels.

    Returns:
        The region.
    """
    affine = crop_affine(square.double(), (size, size))
    side = float(square[2] - square[0])
    finer = min(max(1, round(side / size)), _MOST_SAMPLES)  # samples along each side of a pixel, against aliasing
    samples = finer * size
    to_samples = crop_affine(square.double(), (samples, samples))
    if camera.model == 'pinhole':
        found = cv2.warpAffine(image, to_samples.numpy(), (samples, samples), flags=cv2.INTER_LINEAR)
    else:
        x, y = _source_pixels(camera, square.double(), samples)
        found = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    found = found if finer == 1 else cv2.resize(found, (size, size), interpolation=cv2.INTER_AREA)
    return Region(np.asarray(found, np.uint8), transform_intrinsics(camera.intrinsics, affine), affine)


def _source_pixels(camera: CameraCalibration, square: Tensor, size: int) -> NDArray[np.float32]:
    """(2, s, s) x and y in the camera's image of the pixels of a region; linear between points of a grid."""
    nodes = max(2, size // _NODE_STEP + 1)
    steps = torch.linspace(0, size - 1, nodes, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing='xy'), -1)  # pixels of the region
    source = camera.distort((grid + 0.5) / size * (square[2:] - square[:2]) + square[:2])
    dense = torch.nn.functional.interpolate(
        source.permute(2, 0, 1)[None], size=(size, size), mode='bilinear', align_corners=True
    )
    return dense[0].float().numpy()
