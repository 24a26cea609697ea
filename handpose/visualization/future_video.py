"""Videos of forecasts: the observed frames, then all sampled futures at once; and several motions side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from handpose.structures import HandSequence
from handpose.video.writer import VideoWriter
from handpose.visualization.draw import TRUE_COLOR, add_caption, put_label, side_by_side
from handpose.visualization.future_scene import FutureScene, future_scene, limits_of, motion_scene
from handpose.visualization.hand_canvas import HandCanvas

_MARGIN = 0.1
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
        self._canvas = HandCanvas(self.scene.limits(_MARGIN), size, self.scene.hand_side, self.scene.plane.inverted)
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
        image = self._canvas.empty()
        if index < observed:
            self._canvas.draw_hands(image, scene.observed[index], 3)
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
        canvas = self._canvas
        if len(scene.samples) > 1:
            # Each sample is blended in by itself, so that the image is brightest where samples agree.
            strength = float(np.clip(3 / len(scene.samples), 0.18, 0.7))
            for sample in scene.samples:
                layer = image.copy()
                canvas.draw_path(layer, np.concatenate([scene.observed[-1:, :, 0], sample[: t + 1, :, 0]]))
                canvas.draw_hands(layer, sample[t], 2)
                cv2.addWeighted(layer, strength, image, 1 - strength, 0, dst=image)
        canvas.draw_hands(image, scene.mean[t], 3)
        if scene.truth is not None:  # thin and above the mean, so that both can be seen where they agree
            canvas.draw_hands(image, scene.truth[t], 1, TRUE_COLOR)

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


def write_motion_video(
    path: str | Path,
    motions: HandSequence,
    labels: Sequence[str],
    title: str = '',
    view: str = 'auto',
    size: int = 300,
    fps: float = 15.0,
    repeats: int = 3,
) -> None:
    """Writes a video of several motions side by side, in one scale; the video of `motion_row`.

    Args:
        path: `.mp4`, `.webm` or `.avi`, see `VideoWriter`.
        motions: a batch of N clips with joints_3d.
        labels: N captions.
        title: above the image.
        view: 'auto', 'front', 'side' or 'principal', see `handpose.visualization.future_scene.future_scene`.
        size: of the longer side of each panel, pixels.
        fps: frames per second of the video; half of those of the motion plays it slowly.
        repeats: how often the motions are played; each time the last frame is held for a moment.

    Raises:
        ValueError: no motion or no hand to draw, another number of labels, no repeat, or the video cannot be written.
    """
    if repeats < 1:
        raise ValueError(f'repeats must be at least 1, got {repeats}')
    points, plane = motion_scene(motions, labels, view)
    side = motions.require('hand_side')[0].cpu().numpy()
    canvas = HandCanvas(limits_of(points, _MARGIN), size, side, plane.inverted)
    frames = []
    for t in range(points.shape[1]):
        panels = []
        for motion, label in zip(points, labels, strict=True):
            image = canvas.empty()
            canvas.draw_path(image, motion[: t + 1, :, 0])
            canvas.draw_hands(image, motion[t], 2)
            panels.append(add_caption(image, label))
        row = side_by_side(panels)
        frames.append(add_caption(row, title) if title else row)
    with VideoWriter(path, fps) as writer:
        for frame in [*frames, *frames[-1:] * round(_HOLD * fps)] * repeats:
            writer.write(frame)
