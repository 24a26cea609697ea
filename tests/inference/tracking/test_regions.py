"""Regions of hands, merging of detections, anchors: against plain formulas of MediaPipe's published graph."""

import math

import numpy as np
import pytest
from scripted_hands import Hand, joints_of, template

from handpose.inference.tracking.interfaces import HandRegion
from handpose.inference.tracking.palm_detector import _anchors, _region, weighted_nms
from handpose.inference.tracking.tracker import next_region

PALM_AND_FINGERS = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)


def normalize(angle):
    return angle - 2 * math.pi * math.floor((angle + math.pi) / (2 * math.pi))


def rotation_of(start, end):
    """Of the square whose upper side the direction from `start` to `end` points to; image y points down."""
    return normalize(math.pi / 2 - math.atan2(-(end[1] - start[1]), end[0] - start[0]))


def transformed(centre, width, height, rotation, scale, shift_y):
    """RectTransformationCalculator with square_long: the shift is in units of the height before it becomes square."""
    x = centre[0] - height * shift_y * math.sin(rotation)
    y = centre[1] + height * shift_y * math.cos(rotation)
    return x, y, scale * max(width, height), rotation


def reference_next_region(points):
    """HandLandmarksToRectCalculator and the transformation of hand_landmark_landmarks_to_roi, in double precision."""
    index, middle, ring = points[5], points[9], points[13]
    x1 = ((index[0] + ring[0]) / 2 + middle[0]) / 2
    y1 = ((index[1] + ring[1]) / 2 + middle[1]) / 2
    rotation = rotation_of(points[0], (x1, y1))
    chosen = [points[i] for i in PALM_AND_FINGERS]
    x_middle = (min(p[0] for p in chosen) + max(p[0] for p in chosen)) / 2
    y_middle = (min(p[1] for p in chosen) + max(p[1] for p in chosen)) / 2
    back = normalize(-rotation)
    projected = []
    for x, y in chosen:
        dx, dy = x - x_middle, y - y_middle
        projected.append((dx * math.cos(back) - dy * math.sin(back), dx * math.sin(back) + dy * math.cos(back)))
    left, right = min(p[0] for p in projected), max(p[0] for p in projected)
    top, bottom = min(p[1] for p in projected), max(p[1] for p in projected)
    px, py = (left + right) / 2, (top + bottom) / 2
    centre = (
        px * math.cos(rotation) - py * math.sin(rotation) + x_middle,
        px * math.sin(rotation) + py * math.cos(rotation) + y_middle,
    )
    return transformed(centre, right - left, bottom - top, rotation, 2.0, -0.1)


def assert_region(region, expected):
    x, y, size, rotation = expected
    np.testing.assert_allclose([region.x, region.y, region.size], [x, y, size], rtol=1e-9, atol=1e-9)
    assert abs(normalize(region.rotation - rotation)) < 1e-9


@pytest.mark.parametrize('seed', range(20))
def test_next_region(seed):
    points = np.random.default_rng(seed).normal(300, 80, (21, 2))
    assert_region(next_region(points, 4), reference_next_region(points.tolist()))
    assert next_region(points, 4).track_id == 4


@pytest.mark.parametrize('degrees', range(-180, 180, 30))
def test_the_region_turns_with_the_hand(degrees):
    """The hand is upright in its region, and at the same place of it, however it is turned in the image."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = 100 * template()[:, :2]
    upright, turned = next_region(points), next_region(points @ turn.T + [640, 360])
    assert turned.size == pytest.approx(upright.size)
    assert normalize(turned.rotation - upright.rotation - angle) == pytest.approx(0, abs=1e-9)

    def in_region(region, joints):
        affine = np.vstack([region.to_image(), [0, 0, 1]])
        return (np.column_stack([joints, np.ones(21)]) @ np.linalg.inv(affine).T)[:, :2]

    inside = in_region(turned, points @ turn.T + [640, 360])
    np.testing.assert_allclose(inside, in_region(upright, points), atol=1e-9)
    assert (inside > 0).all() and (inside < 1).all()
    assert inside[12, 1] < 0.35 and inside[0, 1] > 0.65  # middle fingertip above, wrist below


def test_the_box_around_a_region():
    box = HandRegion(10, 20, 2, math.pi / 4).box()
    np.testing.assert_allclose(box, [10 - math.sqrt(2), 20 - math.sqrt(2), 10 + math.sqrt(2), 20 + math.sqrt(2)])
    np.testing.assert_allclose(HandRegion(10, 20, 2, math.pi / 2).to_image() @ [0, 0, 1], [11, 19])


@pytest.mark.parametrize('seed', range(20))
def test_region_of_a_palm(seed):
    rng = np.random.default_rng(seed)
    palm = rng.normal(200, 50, (9, 2))
    palm[1] = rng.uniform(20, 90, 2)  # width, height
    rotation = rotation_of(palm[2], palm[4])
    assert_region(_region(palm), transformed(palm[0], *palm[1], rotation, 2.6, -0.5))


def brute_force_nms(palms, scores, limit):
    """Boxes as corners, one by one, as NonMaxSuppressionCalculator does in its WEIGHTED mode."""

    def corners(palm):
        (x, y), (w, h) = palm[0], palm[1]
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2

    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0 or height <= 0:
            return 0.0
        common = width * height
        return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)

    remaining = sorted(range(len(scores)), key=lambda i: -scores[i])
    merged = []
    while remaining:
        best = corners(palms[remaining[0]])
        candidates = [i for i in remaining if overlap(corners(palms[i]), best) > limit]
        total = sum(scores[i] for i in candidates)
        box = [sum(scores[i] * corners(palms[i])[k] for i in candidates) / total for k in range(4)]
        points = [sum(scores[i] * palms[i][2:] for i in candidates) / total]
        merged.append(np.array([((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (box[2] - box[0], box[3] - box[1])]))
        merged[-1] = np.concatenate([merged[-1], points[0]])
        remaining = [i for i in remaining if i not in candidates]
    return merged


@pytest.mark.parametrize('seed', range(10))
def test_merging_detections(seed):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 150, (4, 1, 2)) + rng.normal(0, 8, (4, 10, 2))
    palms = np.concatenate(
        [centres.reshape(40, 1, 2), rng.uniform(20, 40, (40, 1, 2)), rng.normal(80, 9, (40, 7, 2))], 1
    )
    scores = rng.uniform(0.5, 1, 40)
    expected = brute_force_nms(palms, scores, 0.3)
    found = weighted_nms(palms, scores, 0.3)
    assert len(found) == len(expected) and 4 <= len(found) < 40
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_detections_that_are_apart_stay_as_they_are():
    palms = np.zeros((2, 9, 2))
    palms[:, 0] = [[50, 50], [150, 50]]
    palms[:, 1] = 30
    found = weighted_nms(palms, np.array([0.6, 0.9]), 0.3)
    np.testing.assert_array_equal(found, palms[::-1])  # the more certain one first


def test_anchors():
    """24 x 24 cells of 8 pixels with 2 anchors, then 12 x 12 cells of 16 pixels with 6, row by row."""
    expected = []
    for stride, per_cell in ((8, 2), (16, 2), (16, 2), (16, 2)):
        cells = 192 // stride
        layer = [((c + 0.5) * stride, (r + 0.5) * stride) for r in range(cells) for c in range(cells)]
        expected.append((layer, per_cell))
    fine = [centre for centre in expected[0][0] for _ in range(2)]
    coarse = [centre for centre in expected[1][0] for _ in range(6)]
    np.testing.assert_array_equal(_anchors(), np.array(fine + coarse))
    assert len(_anchors()) == 2016


def test_a_region_of_a_scripted_hand_holds_it():
    """What the stand-ins of other tests rely on."""
    hand = Hand(50, 40)
    region = next_region(joints_of(hand))
    assert math.hypot(region.x - hand.x, region.y - hand.y) < region.size / 4
