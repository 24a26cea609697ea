"""`HandCanvas`: the images that videos of hand motion are drawn on."""

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.visualization.draw import BACKGROUND, Color
from handpose.visualization.future_scene import Points, skeleton_segments

HAND_COLORS: tuple[Color, Color] = ((90, 160, 255), (255, 145, 80))  # left, right
_GRID = (44, 47, 53)
_SHIFT = 4  # sub-pixel bits that OpenCV gets
_LEAST = 0.6  # of the longer side: narrow motions get some room, or captions would be too small to read


class HandCanvas:
    """Draws hands that are given in a plane, in centimetres, into images with a grid of 5 cm.

    Args:
        limits: (2, 2) centimetres, lowest and highest coordinate along each axis.
        size: of the longer side of the image, pixels.
        hand_side: (H,), 0 left and 1 right.
        inverted: whether the vertical axis points down.
    """

    def __init__(self, limits: Points, size: int, hand_side: NDArray[np.int64], inverted: bool) -> None:
        width, height = limits[:, 1] - limits[:, 0]
        self._scale = size / max(width, height)
        self._low = limits[:, 0]
        self._size = tuple(max(round(extent * self._scale), round(_LEAST * size)) for extent in (width, height))
        self._margin = (np.array(self._size) / self._scale - (width, height)) / 2
        self._hand_side, self._inverted = hand_side, inverted
        self._grid = self._draw_grid()

    def empty(self) -> np.ndarray:
        """A new image (h, w, 3) uint8 RGB with the grid alone."""
        return self._grid.copy()

    def draw_hands(self, image: np.ndarray, hands: Points, width: int, color: Color | None = None) -> None:
        """Draws skeletons into an image.

        Args:
            image: of `empty`.
            hands: (H, J, 2) centimetres, NaN where a joint is not given.
            width: of the lines, pixels.
            color: RGB; None means that of each hand's side.
        """
        for hand, side in zip(hands, self._hand_side, strict=True):
            for start, end in self._pixels(skeleton_segments(hand)).tolist():
                cv2.line(image, start, end, color or HAND_COLORS[side], width, cv2.LINE_AA, _SHIFT)

    def draw_path(self, image: np.ndarray, points: Points) -> None:
        """Draws the path of one point of each hand into an image.

        Args:
            image: of `empty`.
            points: (T, H, 2) centimetres, NaN where it is not given.
        """
        for h, side in enumerate(self._hand_side):
            given = points[:, h][np.isfinite(points[:, h]).all(-1)]
            if len(given):
                cv2.polylines(image, [self._pixels(given)], False, HAND_COLORS[side], 1, cv2.LINE_AA, _SHIFT)

    def _pixels(self, points: Points) -> np.ndarray:
        """Points (..., 2) in centimetres as OpenCV's fixed-point pixels."""
        places = (points - self._low + self._margin) * self._scale
        if not self._inverted:
            places[..., 1] = self._size[1] - places[..., 1]
        return np.round(places * (1 << _SHIFT)).astype(np.int32)

    def _draw_grid(self) -> np.ndarray:
        """The empty image: lines every 5 cm from the origin."""
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
