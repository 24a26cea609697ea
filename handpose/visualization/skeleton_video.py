"""Frames of a video that shows predictions before and after refining, side by side."""

import itertools

import cv2
import numpy as np

from handpose.hands.joints import FINGERTIPS
from handpose.hands.sides import SIDE_LABELS
from handpose.structures import Predictions
from handpose.visualization.draw import (
    BACKGROUND,
    FINGER_COLORS,
    Color,
    add_caption,
    contact_sheet,
    draw_skeleton,
    put_label,
)
from handpose.visualization.hand_overlay import draw_predictions, image_points

_GRID, _AXIS_LINE = (44, 47, 53), (64, 68, 76)
_TRAIL = 12  # frames that fingertips leave a trail of
_APART = 0.13  # metres to each side, between two hands without a common frame
_FOLLOW = 31  # frames over which the view follows the hands


class ComparisonVideo:
    """Draws frame after frame of two versions of a track.

    Columns are `before` and `after`; rows are the view along z and the view along x. Both are orthographic and, in
    frame 'camera', follow the hands. With video frames, and `joints_2d` or a camera, skeletons are drawn on the frame
    instead of the view along z.

    Args:
        before: `Predictions`.
        after: `Predictions` of the same frames and hands.
        panel: side of a square panel, pixels.
        names: captions of the columns.

    Attributes:
        over_video: whether skeletons can be drawn on the frames of the video; otherwise these are shown beside.
    """

    def __init__(
        self, before: Predictions, after: Predictions, panel: int = 320, names: tuple[str, str] = ('before', 'after')
    ) -> None:
        self.versions = (before, after)
        self.panel, self.names = panel, names
        self.over_video = all(image_points(version) is not None for version in self.versions)
        self.positions = [_positions(version) for version in self.versions]
        self.centre = _view_centre(self.positions[1], after.valid, fixed=after.frame == 'wrist')
        spread = np.abs(self.positions[1] - self.centre[:, None, None])[after.valid]
        self.scale = 0.45 * panel / max(np.nanpercentile(spread, 99) if len(spread) else 0.1, 0.02)
        self.paper = _paper(panel, self.scale)

    def draw(self, t: int, video_frame: np.ndarray | None = None) -> np.ndarray:
        """Frame t as (h, w, 3) uint8 RGB; `video_frame` (h, w, 3) is the video's frame, or None."""
        columns = []
        for version, positions, name in zip(self.versions, self.positions, self.names, strict=True):
            if self.over_video and video_frame is not None:
                drawn = draw_predictions(video_frame, version, t, labels=False, width=2 * round(0.8 * self.panel))
                upper = self._label(drawn, '', version, t)
            else:
                upper = self._label(
                    self._view(positions, version.valid, t, (0, 1)), 'front: x right, y down', version, t
                )
            side = self._label(self._view(positions, version.valid, t, (2, 1)), 'side: z right, y down', version, t)
            upper = add_caption(upper, f'{name}, {version.timestamps[t] - version.timestamps[0]:.2f} s')
            columns.append([upper, _fitted(side, upper.shape[1])])
        cells = [column[row] for row in range(2) for column in columns]
        if video_frame is not None and not self.over_video:  # it is shown for orientation
            width = round(video_frame.shape[1] * self.panel / video_frame.shape[0])
            video = add_caption(cv2.resize(video_frame, (width, self.panel), interpolation=cv2.INTER_AREA), 'video')
            sheet = contact_sheet(cells, 2)
            return np.hstack([_padded(video, sheet.shape[0]), sheet])
        if video_frame is not None:
            return np.vstack([np.hstack(cells[:2]), np.hstack(cells[2:])])
        return contact_sheet(cells, 2)

    def _view(self, positions: np.ndarray, valid: np.ndarray, t: int, axes: tuple[int, int]) -> np.ndarray:
        """An orthographic view (panel, panel, 3) along the third axis, with the trails of the fingertips."""
        image = self.paper.copy()
        points = (positions - self.centre[t])[..., axes] * self.scale + (self.panel - 1) / 2  # (T, H, 21, 2)
        for h in range(positions.shape[1]):
            for finger, tip in enumerate(FINGERTIPS):
                _draw_trail(image, points[max(0, t - _TRAIL) : t + 1, h, tip], FINGER_COLORS[finger])
        for h in np.flatnonzero(valid[t]).tolist():
            image = draw_skeleton(image, points[t, h])
        return image

    def _label(self, image: np.ndarray, text: str, version: Predictions, t: int) -> np.ndarray:
        if text:
            image = put_label(image, text, (6, 6), (190, 195, 205))
        hands = [(SIDE_LABELS[side], h) for h, side in enumerate(version.hand_side)]
        lacking = [side for side, h in hands if not version.valid[t, h]]
        filled = [side for side, h in hands if version.valid[t, h] and not self.versions[0].valid[t, h]]
        words = [f'no {side} hand' for side in lacking] + [f'{side} hand filled in' for side in filled]
        return put_label(image, ', '.join(words), (6, image.shape[0]), (255, 190, 90)) if words else image


def hand_offsets(predictions: Predictions) -> np.ndarray:
    """Where hands are shown: two hands relative to their wrists have no common place, and are shown side by side.

    Args:
        predictions: of H hands.

    Returns:
        (H, 3) metres to add to the joints.
    """
    offsets = np.zeros((len(predictions.hand_side), 3))
    if predictions.frame == 'wrist' and len(offsets) == 2:
        offsets[:, 0] = -_APART, _APART
    return offsets


def _positions(predictions: Predictions) -> np.ndarray:
    """(T, H, 21, 3) float64, where they are shown."""
    return predictions.joints.astype(np.float64) + hand_offsets(predictions)[:, None]


def _view_centre(joints: np.ndarray, valid: np.ndarray, fixed: bool) -> np.ndarray:
    """(T, 3) what the view is centred on: the middle of the hands, slowly; or the middle of the whole track."""
    frames = len(joints)
    annotated = valid.any(1)
    if not annotated.any():
        return np.zeros((frames, 3))
    middle = np.full((frames, 3), np.nan)
    for t in np.flatnonzero(annotated):
        middle[t] = np.nanmean(joints[t, valid[t]], (0, 1))  # NaN where a joint is not given
    if fixed:
        return np.tile(np.median(middle[annotated], axis=0), (frames, 1))
    at = np.flatnonzero(annotated)
    filled = np.stack([np.interp(np.arange(frames), at, middle[at, axis]) for axis in range(3)], 1)
    half = min(_FOLLOW, frames) // 2
    edges = np.pad(filled, ((half, half), (0, 0)), mode='edge')
    return np.lib.stride_tricks.sliding_window_view(edges, 2 * half + 1, axis=0).mean(-1)


def _paper(panel: int, scale: float) -> np.ndarray:
    """The empty panel: a grid of 5 cm about the centre."""
    image = np.full((panel, panel, 3), BACKGROUND, np.uint8)
    step, middle = 0.05 * scale, (panel - 1) / 2
    lines = np.arange(-int(middle / step), int(middle / step) + 1)
    for line in lines:
        place = round(middle + line * step)
        color = _AXIS_LINE if line == 0 else _GRID
        image[place], image[:, place] = color, color
    return image


def _draw_trail(image: np.ndarray, points: np.ndarray, color: Color) -> None:
    for k, (a, b) in enumerate(itertools.pairwise(points)):
        if np.isfinite(a).all() and np.isfinite(b).all():
            share = (k + 1) / len(points)
            faded = tuple(int(share * c * 0.8 + (1 - share * 0.8) * d) for c, d in zip(color, BACKGROUND, strict=True))
            ends = [tuple(np.round(16 * np.clip(p, -2000, 4000)).astype(int).tolist()) for p in (a, b)]
            cv2.line(image, ends[0], ends[1], faded, 2, cv2.LINE_AA, 4)


def _fitted(image: np.ndarray, width: int) -> np.ndarray:
    """The image between plain margins, `width` pixels wide."""
    margin = max(0, width - image.shape[1])
    return cv2.copyMakeBorder(image, 0, 0, margin // 2, margin - margin // 2, cv2.BORDER_CONSTANT, value=BACKGROUND)


def _padded(image: np.ndarray, height: int) -> np.ndarray:
    margin = max(0, height - image.shape[0])
    return cv2.copyMakeBorder(image, margin // 2, margin - margin // 2, 8, 0, cv2.BORDER_CONSTANT, value=BACKGROUND)
