"""Hands drawn on the frames of a video, from their pixels: no camera is needed.

Left hands are blue and right ones orange; the discs of the joints have the colour of their finger. Joints that were
inferred from the others are rings, and their bones dashed. Lines and letters scale with the image, and lines get
thinner on small hands.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from handpose.geometry.camera import project_points
from handpose.hands.sides import SIDE_LABELS
from handpose.structures import Predictions
from handpose.visualization.draw import (
    FINGER_COLORS,
    PALM_COLOR,
    Color,
    check_image,
    label_plate,
    paint_box,
    paint_label,
    paint_skeleton,
)

SIDE_COLORS = ((86, 180, 233), (255, 150, 40))  # left, right; they differ for colour-blind people too
_JOINT_COLORS = (PALM_COLOR, *(color for color in FINGER_COLORS for _ in range(4)))
_HAND_PARTS = 30  # a line is at most this part of the longer side of the hand
_SAME_SHAPE = 0.01  # by which the shapes of two images may differ that show the same


def draw_hands(
    image: NDArray,
    joints_2d: ArrayLike,
    sides: ArrayLike,
    *,
    joints_valid: ArrayLike | None = None,
    joints_inferred: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    width: int | None = None,
) -> NDArray:
    """Draws the skeletons of any number of hands.

    Legend: H hands.

    Args:
        image: (h, w, 3) uint8 RGB.
        joints_2d: (H, 21, 2) pixels of `image`; joints that are not finite are not drawn.
        sides: (H,) 0 left, 1 right.
        joints_valid: (H, 21) bool, the joints to draw; default all.
        joints_inferred: (H, 21) bool, the joints that were inferred from others; default none.
        boxes: (H, 4) xyxy pixels; those that are not finite are not drawn. Default none.
        labels: H texts, written above the hands; an empty one is not written. Default none.
        width: pixels that the result is scaled to; default that of the image.

    Returns:
        (h, w, 3) uint8 RGB, a new image.

    Raises:
        ValueError: an array that does not have such a shape.
    """
    check_image(image)
    points = np.asarray(joints_2d, np.float64)
    hands = len(points)
    valid = np.ones((hands, 21), bool) if joints_valid is None else np.asarray(joints_valid, bool)
    inferred = np.zeros((hands, 21), bool) if joints_inferred is None else np.asarray(joints_inferred, bool)
    corners = np.full((hands, 4), np.nan) if boxes is None else np.asarray(boxes, np.float64)
    numbers = np.asarray(sides)
    _check_shapes(
        ('joints_2d', points.shape, (hands, 21, 2)),
        ('sides', numbers.shape, (hands,)),
        ('joints_valid', valid.shape, (hands, 21)),
        ('joints_inferred', inferred.shape, (hands, 21)),
        ('boxes', corners.shape, (hands, 4)),
        ('labels', (hands if labels is None else len(labels),), (hands,)),
    )
    if not np.isin(numbers, (0, 1)).all():
        raise ValueError(f'sides must be 0 (left) or 1 (right), got {numbers.tolist()}')
    drawn = np.ascontiguousarray(image).copy() if width is None else _scaled_to(image, width)
    scale = drawn.shape[1] / image.shape[1]
    points, corners = scale_pixels(points, scale), scale_pixels(corners, scale)
    colors = [SIDE_COLORS[side] for side in numbers.tolist()]
    bounds = [_paint_hand(drawn, points[h], valid[h], inferred[h], corners[h], colors[h]) for h in range(hands)]
    if labels is not None:
        _paint_labels(drawn, labels, bounds, colors)
    return drawn


def draw_predictions(
    image: NDArray,
    predictions: Predictions,
    frame: int,
    *,
    boxes: bool = False,
    labels: bool = True,
    width: int | None = None,
) -> NDArray:
    """Draws the hands of one frame of predictions.

    Args:
        image: (h, w, 3) uint8 RGB, the frame of the video; of any size, if `predictions.image_size` is known.
        predictions: with `joints_2d`, or in frame 'camera' with `intrinsics`.
        frame: index into T.
        boxes: whether to draw the boxes, where there are any.
        labels: whether to write the side, the track and the mean confidence of each hand.
        width: see `draw_hands`.

    Returns:
        (h, w, 3) uint8 RGB, a new image.

    Raises:
        ValueError: predictions that cannot be drawn, or of images of a different shape.
    """
    points = image_points(predictions)
    if points is None:
        raise ValueError("drawing hands on images takes joints_2d, or frame 'camera' and intrinsics")
    check_image(image)
    scale = _scale_of(image, predictions)
    hands = np.flatnonzero(predictions.valid[frame])
    masks = [predictions.joints_valid, predictions.joints_inferred]
    valid, inferred = (None if mask is None else mask[frame, hands] for mask in masks)
    rectangles = predictions.boxes[frame, hands] if boxes and predictions.boxes is not None else None
    return draw_hands(
        image,
        scale_pixels(points[frame, hands], scale),
        predictions.hand_side[hands],
        joints_valid=valid,
        joints_inferred=inferred,
        boxes=None if rectangles is None else scale_pixels(rectangles, scale),
        labels=[hand_label(predictions, frame, h) for h in hands.tolist()] if labels else None,
        width=width,
    )


def hand_label(predictions: Predictions, frame: int, hand: int) -> str:
    """Describes a hand.

    Args:
        predictions: where it is.
        frame: index into T.
        hand: index into H.

    Returns:
        Its side, and where they are known its track and its mean confidence: 'left #3 0.97'.
    """
    words = [SIDE_LABELS[predictions.hand_side[hand]]]
    if predictions.track_ids is not None:
        words.append(f'#{predictions.track_ids[frame, hand]}')
    if predictions.confidence is not None:
        known = predictions.confidence[frame, hand]
        if predictions.joints_valid is not None:
            known = known[predictions.joints_valid[frame, hand]]
        words.append(f'{known.mean():.2f}')
    return ' '.join(words)


def image_points(predictions: Predictions) -> NDArray | None:
    """Finds the pixels of the joints of a track.

    Args:
        predictions: the track.

    Returns:
        (T, H, 21, 2) pixels: `joints_2d` if they are known, otherwise the joints as the camera sees them, NaN where a
        joint is not valid or behind the camera. None without `joints_2d` and without a camera.
    """
    if predictions.joints_2d is not None:
        return predictions.joints_2d
    if predictions.intrinsics is None or predictions.frame != 'camera':
        return None
    joints = torch.from_numpy(predictions.joints)
    return visible_pixels(joints, torch.from_numpy(predictions.intrinsics).float())


def visible_pixels(joints: Tensor, intrinsics: Tensor) -> NDArray:
    """Projects joints.

    Args:
        joints: (..., 21, 3) metres in the camera's frame.
        intrinsics: (..., 3, 3).

    Returns:
        (..., 21, 2) pixels, NaN for joints behind the camera.
    """
    pixels = project_points(joints, intrinsics)
    return torch.where(joints[..., 2:] > 0, pixels, torch.nan).numpy()


def scale_pixels(points: NDArray, scale: float) -> NDArray:
    """Moves pixels into a scaled image; pixel centres are at integer coordinates.

    Args:
        points: (...) coordinates.
        scale: of the image.

    Returns:
        (...) coordinates.
    """
    return (points + 0.5) * scale - 0.5


def _scaled_to(image: NDArray, width: int) -> NDArray:
    size = (width, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC)


def image_scale(image: NDArray, image_size: NDArray) -> float | None:
    """Compares an image with the images that predictions are of, which may have another size.

    Args:
        image: (h, w, 3).
        image_size: (width, height) of the predictions.

    Returns:
        Pixels of the image per pixel of the predictions, or None if the shapes differ by more than rounding explains.
    """
    height, width = image.shape[:2]
    expected_width, expected_height = image_size.tolist()
    if abs(width / height * expected_height / expected_width - 1) > _SAME_SHAPE + 1 / min(width, height):
        return None
    return width / expected_width


def _scale_of(image: NDArray, predictions: Predictions) -> float:
    """As `image_scale`, 1 where the size is not known; refuses another shape."""
    if predictions.image_size is None:
        return 1.0
    scale = image_scale(image, predictions.image_size)
    if scale is None:
        (height, width), (expected_width, expected_height) = image.shape[:2], predictions.image_size
        raise ValueError(
            f'the predictions are of images of {expected_width:g}x{expected_height:g} pixels, and the image to draw on '
            f'has {width}x{height}; is it the same video, not cropped and not rotated?'
        )
    return scale


def _paint_hand(
    image: NDArray, points: NDArray, valid: NDArray, inferred: NDArray, box: NDArray, color: Color
) -> NDArray | None:
    """Draws (21, 2) points with their masks and the (4,) box of one hand; returns its upper left corner, if any."""
    shown = valid & np.isfinite(points).all(1)
    line = line_width(image)
    corners = []
    if np.isfinite(box).all():
        paint_box(image, box, color, max(1, line // 2))
        corners.append(box[:2])
    if shown.any():
        low, high = points[shown].min(0), points[shown].max(0)
        line = int(np.clip((high - low).max() / _HAND_PARTS, 1, line))
        paint_skeleton(image, points, shown, inferred, [color] * 21, _JOINT_COLORS, line)
        corners.append(low)
    return np.min(corners, axis=0) if corners else None


def _paint_labels(
    image: NDArray, labels: Sequence[str], corners: Sequence[NDArray | None], colors: Sequence[Color]
) -> None:
    """Writes a label above each corner, or above the labels that are there already."""
    height = letter_height(image)
    written: list[tuple[int, int, int, int]] = []
    for label, corner, color in zip(labels, corners, colors, strict=True):
        if not label or corner is None:
            continue
        left, top = corner.clip(-1e6, 1e6).round().astype(int).tolist()
        x, y, width, tall = label_plate(image, label, (left, top - 2 * height - 2 * line_width(image)), height)
        for other_x, other_y, other_width, other_tall in sorted(written, key=lambda plate: -plate[1]):
            if x < other_x + other_width and other_x < x + width and y < other_y + other_tall and other_y < y + tall:
                y = other_y - tall
        paint_label(image, label, (x, y), color, height)
        written.append((x, y, width, tall))


def line_width(image: NDArray) -> int:
    """Width of lines that suits an image: at least 2 pixels, 11 at 3840x2160.

    Args:
        image: (h, w, 3).

    Returns:
        Pixels.
    """
    return max(2, round(np.hypot(*image.shape[:2]) / 400))


def letter_height(image: NDArray) -> int:
    """Height of capital letters that suits an image: 13 pixels at 640x480, 60 at 3840x2160.

    Args:
        image: (h, w, 3).

    Returns:
        Pixels.
    """
    return int(np.clip(min(image.shape[:2]) / 36, 12, 72))


def _check_shapes(*arrays: tuple[str, tuple[int, ...], tuple[int, ...]]) -> None:
    for name, found, expected in arrays:
        if found != expected:
            raise ValueError(f'{name} must have shape {expected} for {expected[0]} hands, got {found}')
