"""Videos of forecasts: the observed frames, then all sampled futures at once."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from handpose.structures import HandSequence
from handpose.video.writer import VideoWriter
from handpose.visualization.draw import BACKGROUND, TRUE_COLOR, Color, add_caption, put_label
from handpose.visualization.future_scene import FutureScene, Points, future_scene, skeleton_segments

HAND_COLORS: tuple[Color, Color] = ((90, 160, 255), (255, 145, 80))  # left, right
_GRID = (44, 47, 53)
_SHIFT = 4  # sub-pixel bits that OpenCV gets
_HOLD = 0.8  # seconds that the last frame is shown


class FutureVideo:
    """Draws frame after frame of a forecast: observed hands, then samples (translucent), their mean and the truth.

    Args:
        observed: a clip with joints_3d and timestamps.
        future: its sampled futures, a batch of S clips.
        truth: what followed, a batch of one clip.
        size: of the longer side of the image, pixels.
        title: above the image.
        view: see `handpose.visualization.future_scene.future_scene`.

    Attributes:
        times: seconds of all frames, 0 at the last observed one.
    """

    def __init__(
        self,
        observed: HandSequence,
        future: HandSequence,
        truth: HandSequence | None = None,
        size: int = 640,
        title: str = '',
        view: str = 'auto',
    ) -> None:
        self.scene = future_scene(observed, future, truth, view)
        self.title = title
        limits = self.scene.limits(0.1)
        width, height = limits[:, 1] - limits[:, 0]
        self._scale = size / max(width, height)
        self._low = limits[:, 0]
        # Narrow motions get some room, or the captions would be too small to read.
        self._size = (
            max(round(width * self._scale), round(0.6 * size)),
            max(round(height * self._scale), round(0.6 * size)),
        )
        self._margin = (np.array(self._size) / self._scale - (width, height)) / 2
        self._paper = self._grid()
        self.times = np.concatenate([self.scene.observed_seconds, self.scene.seconds])

    def __len__(self) -> int:
        return len(self.times)

    def draw(self, index: int) -> np.ndarray:
        """Draws a frame.

        Args:
            index: of the frame, observed ones first.

        Returns:
            (h, w, 3) uint8 RGB.
        """
        observed, scene = len(self.scene.observed), self.scene
        image = self._paper.copy()
        if index < observed:
            self._hands(image, scene.observed[index], 3)
            caption = f'observed, {self.times[index]:+.2f} s'
        else:
            t = index - observed
            self._fan(image, scene, t)
            count = len(scene.samples)
            caption = f'forecast, {self.times[index]:+.2f} s' + (f', {count} samples' if count > 1 else '')
        image = put_label(image, '5 cm grid', (6, image.shape[0]), (150, 155, 165))
        if scene.truth is not None and index >= observed:
            image = put_label(image, 'what followed', (image.shape[1], 0), TRUE_COLOR)
        return add_caption(image, f'{self.title}: {caption}' if self.title else caption)

    def _fan(self, image: np.ndarray, scene: FutureScene, t: int) -> None:
        if len(scene.samples) > 1:
            # Each sample is blended in by itself, so that the image is brightest where samples agree.
            strength = float(np.clip(3 / len(scene.samples), 0.18, 0.7))
            for sample in scene.samples:
                layer = image.copy()
                self._path(layer, np.concatenate([scene.observed[-1:, :, 0], sample[: t + 1, :, 0]]))
                self._hands(layer, sample[t], 2)
                cv2.addWeighted(layer, strength, image, 1 - strength, 0, dst=image)
        self._hands(image, scene.mean[t], 3)
        if scene.truth is not None:  # thin and above the mean, so that both can be seen where they agree
            self._hands(image, scene.truth[t], 1, TRUE_COLOR)

    def _hands(self, image: np.ndarray, hands: Points, width: int, color: Color | None = None) -> None:
        """Draws hands (H, J, 2)."""
        for hand, side in zip(hands, self.scene.hand_side, strict=True):
            for start, end in self._pixels(skeleton_segments(hand)).tolist():
                cv2.line(image, start, end, color or HAND_COLORS[side], width, cv2.LINE_AA, _SHIFT)

    def _path(self, image: np.ndarray, wrists: Points) -> None:
        """Draws the paths of the wrists (T, H, 2)."""
        for h, side in enumerate(self.scene.hand_side):
            given = wrists[:, h][np.isfinite(wrists[:, h]).all(-1)]
            cv2.polylines(image, [self._pixels(given)], False, HAND_COLORS[side], 1, cv2.LINE_AA, _SHIFT)

    def _pixels(self, points: Points) -> np.ndarray:
        """Points (..., 2) in centimetres as OpenCV's fixed-point pixels."""
        places = (points - self._low + self._margin) * self._scale
        if not self.scene.plane.inverted:
            places[..., 1] = self._size[1] - places[..., 1]
        return np.round(places * (1 << _SHIFT)).astype(np.int32)

    def _grid(self) -> np.ndarray:
        """The empty image: a grid of 5 cm about the origin."""
        width, height = self._size
        image = np.full((height, width, 3), BACKGROUND, np.uint8)
        spans = np.stack([self._low - self._margin, self._low - self._margin + np.array(self._size) / self._scale])
        for axis in range(2):
            first, last = np.ceil(spans[0, axis] / 5), np.floor(spans[1, axis] / 5)
            for line in np.arange(first, last + 1) * 5:
                point = np.zeros(2)
                point[axis] = line
                place = int(self._pixels(point)[axis]) >> _SHIFT
                image[(slice(None), place) if axis == 0 else (place,)] = _GRID
        return image

    def frames(self) -> Iterator[np.ndarray]:
        """All frames in order."""
        return (self.draw(index) for index in range(len(self)))


def write_future_video(
    path: str | Path,
    observed: HandSequence,
    future: HandSequence,
    truth: HandSequence | None = None,
    size: int = 640,
    title: str = '',
    view: str = 'auto',
) -> None:
    """Writes a video that plays the observed frames and then all samples; the last frame is held for a moment.

    Args:
        path: `.mp4`, `.webm` or `.avi`, see `VideoWriter`.
        observed: a clip with joints_3d and timestamps.
        future: its sampled futures, a batch of S clips.
        truth: what followed, a batch of one clip.
        size: of the longer side of the image, pixels.
        title: above the image.
        view: see `handpose.visualization.future_scene.future_scene`.

    Raises:
        ValueError: the clips do not fit together, or the video cannot be written.
    """
    video = FutureVideo(observed, future, truth, size, title, view)
    period = float(video.scene.seconds[0])
    with VideoWriter(path, 1 / period) as writer:
        for frame in video.frames():
            writer.write(frame)
        for _ in range(round(_HOLD / period)):
            writer.write(frame)
