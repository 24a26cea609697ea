"""`CameraReader`: the frames of a live camera with the times at which they arrived."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import cv2
import numpy as np

from handpose.video.containers import VideoError
from handpose.video.reader import VideoFrame


class CaptureDevice(Protocol):
    """What `CameraReader` needs of a device; `cv2.VideoCapture` has it."""

    def isOpened(self) -> bool:
        """Whether the device is open."""

    def get(self, key: int, /) -> float:
        """Reads a property, `cv2.CAP_PROP_...`."""

    def set(self, key: int, value: float, /) -> bool:
        """Requests a property."""

    def grab(self) -> bool:
        """Waits for the next frame; False if there is none."""

    def retrieve(self) -> tuple[bool, Any]:
        """Decodes the frame: whether that worked, and (h, w, 3) uint8 BGR."""

    def release(self) -> None:
        """Closes the device."""


class CameraReader:
    """Reads a live camera, with the interface of `VideoReader`.

        with CameraReader(0) as camera:
            for frame in camera:
                frame.index, frame.time, frame.image

    A frame's time is when it arrived, in seconds after the first frame of the iteration, from a clock that never goes
    back. The camera goes on while a frame is processed: it keeps as few frames as its driver allows (one, if
    possible), so a slow loop skips frames, and the times show it. Iterating again begins at time 0.

    Args:
        device: its number, or its path or address as OpenCV opens it, such as '/dev/video2'.
        size: (width, height) to request. A camera that cannot do it delivers another size, with a note.
        fps: frames per second to request.
        open_capture: opens the device; default OpenCV.
        clock: seconds.

    Attributes:
        backend: 'OpenCV'.
        fps: the frame rate that the camera states, or None. Do not compute times with it.
        duration: None, a camera has no end.

    Raises:
        VideoError: the camera cannot be opened; while iterating also: it stops delivering frames, or they change their
            size.
    """

    backend = 'OpenCV'
    duration = None

    def __init__(
        self,
        device: int | str = 0,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        open_capture: Callable[[int | str], CaptureDevice] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.device = device
        self._clock, self._requested_size = clock, size
        self._shape: tuple[int, ...] | None = None
        self._undecoded, self._closed = 0, False
        self._capture: CaptureDevice = cv2.VideoCapture(device) if open_capture is None else open_capture(device)
        if not self._capture.isOpened():
            raise VideoError(
                f'camera {device!r} cannot be opened; check that it is connected, that no other program uses it, and '
                f'that this user may read it'
            )
        requested = {cv2.CAP_PROP_BUFFERSIZE: 1.0}
        if size is not None:
            requested |= {cv2.CAP_PROP_FRAME_WIDTH: size[0], cv2.CAP_PROP_FRAME_HEIGHT: size[1]}
        if fps is not None:
            requested[cv2.CAP_PROP_FPS] = fps
        for key, value in requested.items():
            self._capture.set(key, value)
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = stated if np.isfinite(stated) and stated > 0 else None

    @property
    def notes(self) -> list[str]:
        """What was unusual so far, one message each."""
        notes = []
        requested, delivered = self._requested_size, None if self._shape is None else self._shape[1::-1]
        if requested is not None and delivered is not None and delivered != tuple(requested):
            sizes = [f'{width}x{height}' for width, height in (requested, delivered)]
            notes.append(f'{sizes[0]} pixels were requested, and the camera delivers {sizes[1]}')
        if self._undecoded:
            notes.append(f'frames that could not be decoded, skipped: {self._undecoded}')
        return notes

    def __enter__(self) -> 'CameraReader':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        index, start = 0, None
        while not self._closed:
            if not self._capture.grab():
                if self._closed:
                    return
                raise VideoError(f'camera {self.device!r} delivers no more frames after {index}; was it disconnected?')
            now = self._clock()  # before decoding, which takes time
            decoded, image = self._capture.retrieve()
            if not decoded:
                self._undecoded += 1
                continue
            self._check_shape(image.shape)
            start = now if start is None else start
            yield VideoFrame(index, now - start, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            index += 1

    def close(self) -> None:
        """Closes the camera; a running iteration ends."""
        self._closed = True
        self._capture.release()

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        self._shape = self._shape or shape
        if shape != self._shape:
            raise VideoError(
                f'camera {self.device!r}: the frames changed from {self._shape[1]}x{self._shape[0]} to '
                f'{shape[1]}x{shape[0]} pixels; open the camera again'
            )
