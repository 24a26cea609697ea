"""Drawing on images: skeletons, shaded meshes, boxes, captions, contact sheets.

Images are (h, w, 3) uint8 RGB NumPy arrays; every function returns a new one. Points are pixels, pixel centres at
integer coordinates. Points that are not finite are not drawn.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from handpose.geometry.raster import interpolate, paint_faces
from handpose.hands.joints import BONES

Color = tuple[int, int, int]  # RGB, 0 to 255

PALM_COLOR = (235, 235, 235)
FINGER_COLORS = ((255, 75, 75), (255, 160, 40), (250, 230, 50), (70, 220, 95), (80, 150, 255))  # thumb to little
TRUE_COLOR, PREDICTED_COLOR = (70, 210, 110), (255, 165, 70)
BACKGROUND = (24, 26, 30)
_OUTLINE = (15, 15, 15)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SHIFT = 4  # sub-pixel bits that OpenCV gets
_FARTHEST = 1 << 14  # pixels; what lies further outside would overflow OpenCV's fixed-point numbers
_HAND_LENGTH = 0.18  # metres, to guess the scale of a mesh that comes without it; it only changes the shading


def draw_skeleton(
    image: np.ndarray,
    joints_2d: np.ndarray | Tensor,
    valid: np.ndarray | Tensor | None = None,
    color: Color | None = None,
) -> np.ndarray:
    """Draws the 21 joints and 20 bones of one hand, each finger in its colour.

    Args:
        image: (h, w, 3).
        joints_2d: (21, 2).
        valid: (21,) bool, default all; a bone needs both ends.
        color: RGB for the whole hand; default one colour a finger.

    Returns:
        (h, w, 3) uint8.
    """
    image = _copied(image)
    width = max(1, round(max(image.shape[:2]) / 130))
    bone_colors = [_finger_color(j) if color is None else color for j in range(21)]
    paint_skeleton(image, joints_2d, valid, np.zeros(21, bool), bone_colors, bone_colors, width)
    return image


def paint_skeleton(
    image: np.ndarray,
    joints_2d: np.ndarray | Tensor,
    valid: np.ndarray | Tensor | None,
    inferred: np.ndarray,
    bone_colors: Sequence[Color],
    joint_colors: Sequence[Color],
    width: int,
) -> None:
    """Draws one hand into the image itself: discs and solid lines, or rings and dashes where joints are inferred.

    Args:
        image: (h, w, 3) uint8, contiguous.
        joints_2d: (21, 2).
        valid: (21,) bool or None for all; a bone needs both ends.
        inferred: (21,) bool.
        bone_colors: 21 RGB, of the bone that ends in each joint.
        joint_colors: 21 RGB.
        width: of the lines, pixels.
    """
    points, drawn = _drawable(joints_2d, valid)
    bones = [(parent, child) for parent, child in BONES if drawn[parent] and drawn[child]]
    for extra in (2 * max(1, round(width / 3)), 0):  # a dark rim first keeps every colour readable on any background
        for parent, child in bones:
            color = _OUTLINE if extra else bone_colors[child]
            if inferred[parent] or inferred[child]:
                _paint_dashes(image, points[parent], points[child], color, width + extra, 3 * width + 2)
            else:
                cv2.line(
                    image, _fixed(points[parent]), _fixed(points[child]), color, width + extra, cv2.LINE_AA, _SHIFT
                )
        for j in np.flatnonzero(drawn).tolist():
            radius = round((width + (2 if inferred[j] else 1) + extra / 4) * (1 << _SHIFT))
            hollow = extra or inferred[j]
            cv2.circle(
                image, _fixed(points[j]), radius, _OUTLINE if hollow else joint_colors[j], -1, cv2.LINE_AA, _SHIFT
            )
            if inferred[j] and not extra:
                stroke = max(1, round(0.6 * width))
                cv2.circle(image, _fixed(points[j]), radius, joint_colors[j], stroke, cv2.LINE_AA, _SHIFT)


def paint_thin_skeleton(image: np.ndarray, joints_2d: np.ndarray, color: Color, width: int) -> None:
    """Draws one hand into the image itself, in one colour and without rims, so that what is below stays visible.

    Args:
        image: (h, w, 3) uint8, contiguous.
        joints_2d: (21, 2) pixels; joints that are not finite are not drawn.
        color: RGB.
        width: of the lines, pixels.
    """
    points, drawn = _drawable(joints_2d, None)
    for parent, child in BONES:
        if drawn[parent] and drawn[child]:
            cv2.line(image, _fixed(points[parent]), _fixed(points[child]), color, width, cv2.LINE_AA, _SHIFT)
    for j in np.flatnonzero(drawn).tolist():
        cv2.circle(image, _fixed(points[j]), round(1.5 * width * (1 << _SHIFT)), color, -1, cv2.LINE_AA, _SHIFT)


def draw_mesh(
    image: np.ndarray,
    vertices_2d: np.ndarray | Tensor,
    depth: np.ndarray,
    faces: np.ndarray,
    color: Color = PREDICTED_COLOR,
    alpha: float = 0.9,
    pixels_per_metre: float | None = None,
) -> np.ndarray:
    """Draws a shaded mesh, lit from the camera.

    Args:
        image: (h, w, 3).
        vertices_2d: (V, 2).
        depth: (V,) metres along the optical axis.
        faces: (F, 3), counter-clockwise seen from outside (reversed for a left hand's mesh made from right faces).
        color: RGB.
        alpha: opacity of the mesh, 0 to 1.
        pixels_per_metre: focal length over depth; default from the length of a hand. It only changes the shading.
    """
    image = _copied(image)
    vertices_2d, depth, faces = (
        np.asarray(x, kind) for x, kind in ((vertices_2d, float), (depth, float), (faces, int))
    )
    if not (np.isfinite(vertices_2d).all() and np.isfinite(depth).all()):
        raise ValueError('draw_mesh got vertices that are NaN or infinite')
    if pixels_per_metre is None:
        pixels_per_metre = np.ptp(vertices_2d, axis=0).max() / _HAND_LENGTH
    face_ids = paint_faces(vertices_2d, depth, faces, image.shape[1::-1])
    pixels = np.nonzero(face_ids >= 0)
    shade = _shading(vertices_2d, depth * pixels_per_metre, faces)
    light = interpolate(pixels, face_ids[pixels], vertices_2d, shade[:, None], faces)
    light = np.clip(light, shade.min(), shade.max())  # a rim pixel lies outside its face, and would be extrapolated
    painted = np.clip(light * np.array(color) + 60 * np.clip(light - 0.85, 0, 1), 0, 255)
    image[pixels] = np.round(alpha * painted + (1 - alpha) * image[pixels])
    return image


def draw_boxes(
    image: np.ndarray, boxes: np.ndarray | Tensor, labels: Sequence[str] | None = None, color: Color = (255, 220, 60)
) -> np.ndarray:
    """Draws xyxy boxes (N, 4) and, above each, its label (N strings)."""
    image = _copied(image)
    width = max(1, round(max(image.shape[:2]) / 200))
    for i, box in enumerate(np.asarray(boxes, float).reshape(-1, 4)):
        if not np.isfinite(box).all():
            continue
        left, top = paint_box(image, box, color, width)
        if labels is not None:
            paint_label(image, labels[i], (left, top - text_height(image) - 6), color, text_height(image))
    return image


def paint_box(image: np.ndarray, box: np.ndarray, color: Color, width: int) -> tuple[int, int]:
    """Draws a box into the image itself.

    Args:
        image: (h, w, 3) uint8, contiguous.
        box: (4,) xyxy pixels, finite.
        color: RGB.
        width: of the lines, pixels.

    Returns:
        The pixel (x, y) of its upper left corner.
    """
    corners = np.clip(np.round(box), -_FARTHEST, _FARTHEST).astype(int).tolist()
    cv2.rectangle(image, corners[:2], corners[2:], _OUTLINE, width + 2)
    cv2.rectangle(image, corners[:2], corners[2:], color, width)
    return corners[0], corners[1]


def put_label(
    image: np.ndarray, text: str, position: tuple[int, int] = (0, 0), color: Color = (255, 255, 255)
) -> np.ndarray:
    """Writes text on a dark plate whose upper left corner is at `position` (x, y), moved to stay inside."""
    image = _copied(image)
    paint_label(image, text, position, color, text_height(image))
    return image


def paint_label(image: np.ndarray, text: str, position: tuple[int, int], color: Color, height: int) -> None:
    """Writes text on a dark plate into the image itself; see `put_label`.

    Args:
        image: (h, w, 3) uint8, contiguous.
        text: the words.
        position: (x, y) of the plate's upper left corner; it is moved to stay inside.
        color: RGB.
        height: of capital letters, pixels; text wider than the image is made smaller.
    """
    x, y, width, plate_height = label_plate(image, text, position, height)
    plate = image[y : y + plate_height, x : x + width]
    plate[:] = plate // 4
    scale = _text_scale(text, height, image.shape[1] - 8)
    (_, tall), _ = cv2.getTextSize(text, _FONT, scale, _stroke(scale))
    cv2.putText(image, text, (x + 4, y + tall + 3), _FONT, scale, color, _stroke(scale), cv2.LINE_AA)


def label_plate(image: np.ndarray, text: str, position: tuple[int, int], height: int) -> tuple[int, int, int, int]:
    """Where `paint_label` puts its plate.

    Args:
        image: see `paint_label`.
        text: see `paint_label`.
        position: see `paint_label`.
        height: see `paint_label`.

    Returns:
        (x, y, width, height), pixels.
    """
    scale = _text_scale(text, height, image.shape[1] - 8)
    (text_width, tall), below = cv2.getTextSize(text, _FONT, scale, _stroke(scale))
    size = text_width + 8, tall + below + 6
    x, y = (int(np.clip(position[i], 0, max(0, image.shape[1 - i] - size[i]))) for i in (0, 1))
    return x, y, *size


def write_text(
    image: np.ndarray, text: str, position: tuple[int, int], height: int, max_width: int, color: Color = (255, 255, 255)
) -> None:
    """Writes text, in place, whose lower left corner is at `position` (x, y), without a plate.

    Args:
        image: (h, w, 3) uint8.
        text: the words.
        position: (x, y), pixels.
        height: of capital letters, pixels.
        max_width: pixels; longer text is made smaller.
        color: RGB.
    """
    scale = _text_scale(text, height, max_width)
    cv2.putText(image, text, position, _FONT, scale, color, _stroke(scale), cv2.LINE_AA)


def add_caption(image: np.ndarray, text: str, color: Color = (255, 255, 255)) -> np.ndarray:
    """Adds a dark strip with text above the image, so that nothing of the image is hidden."""
    height = text_height(image)
    strip = np.full((round(height * 2), image.shape[1], 3), BACKGROUND, np.uint8)
    scale = _text_scale(text, height, image.shape[1] - 12)
    base = (strip.shape[0] + cv2.getTextSize(text, _FONT, scale, 1)[0][1]) // 2
    cv2.putText(strip, text, (6, base), _FONT, scale, color, _stroke(scale), cv2.LINE_AA)
    return np.vstack([strip, image])


def contact_sheet(images: Sequence[np.ndarray], columns: int, pad: int = 8) -> np.ndarray:
    """Puts images in rows of `columns`, each in a cell of the largest size, with `pad` pixels between them."""
    if len(images) == 0 or columns < 1:
        raise ValueError(f'contact_sheet needs images and at least 1 column, got {len(images)} and {columns}')
    columns = min(columns, len(images))
    height, width = np.max([image.shape[:2] for image in images], axis=0)
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, 3), BACKGROUND, np.uint8)
    for i, image in enumerate(images):
        y, x = (pad + (i // columns) * (height + pad), pad + (i % columns) * (width + pad))
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
    return sheet


def side_by_side(images: Sequence[np.ndarray], pad: int = 8) -> np.ndarray:
    """One row of images."""
    return contact_sheet(images, len(images), pad)


def text_height(image: np.ndarray) -> int:
    """Height in pixels of capital letters that read well on an image of this size."""
    return int(np.clip(image.shape[0] / 22, 12, 40))


def _text_scale(text: str, height: int, width: int) -> float:
    """OpenCV's font scale for letters of this height, smaller where the text would be wider than `width`."""
    (wide, tall), _ = cv2.getTextSize(text or ' ', _FONT, 1.0, 1)
    return min(height / tall, max(width, 1) / wide)


def _stroke(scale: float) -> int:
    return max(1, round(scale * 1.6))


def _finger_color(joint: int) -> Color:
    return PALM_COLOR if joint == 0 else FINGER_COLORS[(joint - 1) // 4]


def _drawable(points: np.ndarray | Tensor, valid: np.ndarray | Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    points = np.asarray(points, float)
    if points.shape != (21, 2):
        raise ValueError(f'draw_skeleton needs joints_2d of shape (21, 2), got {points.shape}')
    near = np.isfinite(points).all(1) & (np.abs(points) < _FARTHEST).all(1)
    return points, near if valid is None else near & np.asarray(valid, bool)


def _fixed(point: np.ndarray) -> list[int]:
    """A point as OpenCV's fixed-point numbers."""
    return np.round(point * (1 << _SHIFT)).astype(int).tolist()


def _paint_dashes(
    image: np.ndarray, start: np.ndarray, end: np.ndarray, color: Color, width: int, length: float
) -> None:
    """A line of dashes of about `length` pixels with gaps of the same length; it begins and ends with a dash."""
    parts = 2 * max(1, round(np.linalg.norm(end - start) / length / 2)) + 1
    for k in range(0, parts, 2):
        first, last = (_fixed(start + (end - start) * share / parts) for share in (k, k + 1))
        cv2.line(image, first, last, color, width, cv2.LINE_AA, _SHIFT)


def _shading(vertices_2d: np.ndarray, depth: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V,) brightness from the angle between a vertex's normal and the ray from the camera."""
    points = np.column_stack([vertices_2d, depth])
    corners = points[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(points)
    for i in range(3):
        np.add.at(normals, faces[:, i], face_normals)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    light = np.array([-0.35, -0.45, -0.82])  # from behind the camera, above and to the left
    return 0.25 + 0.75 * np.clip(normals @ (light / np.linalg.norm(light)), 0, 1)


def _copied(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    check_image(image)
    return np.ascontiguousarray(image).copy()


def check_image(image: np.ndarray) -> None:
    """Refuses what is not an image.

    Args:
        image: (h, w, 3) uint8 RGB.

    Raises:
        ValueError: another shape or type.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f'an image must be (h, w, 3) uint8 RGB, got {image.shape} {image.dtype}')
