import cv2
import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.visualization.draw import FINGER_COLORS
from handpose.visualization.hand_overlay import (
    SIDE_COLORS,
    draw_hands,
    draw_predictions,
    hand_label,
    image_points,
    scale_pixels,
)

CAMERA = [[300, 0, 160], [0, 300, 120], [0, 0, 1]]


def gray(height=480, width=640):
    return np.full((height, width, 3), 128, np.uint8)


def spread_joints(x=100.0, y=100.0, step=40.0):
    """(21, 2) pixels: fingers as five vertical lines with a distance of `step`."""
    fingers = [[x + step * finger, y + step * (3 - k)] for finger in range(5) for k in range(4)]
    return np.array([[x + 2 * step, y + 5 * step], *fingers])


def changed(image):
    return (image != 128).any(-1)


def test_sides_have_their_colours_and_joints_those_of_their_finger():
    points = np.stack([spread_joints(), spread_joints(380)])
    image = gray()
    drawn = draw_hands(image, points, [0, 1])
    assert (image == 128).all() and drawn.shape == image.shape
    for hand, color in zip(points, SIDE_COLORS, strict=True):
        for finger in range(5):
            x, y = hand[4 + 4 * finger].astype(int)
            assert tuple(drawn[y, x]) == FINGER_COLORS[finger]
            assert tuple(drawn[y + 20, x]) == color  # the middle of a bone
    swapped = draw_hands(image, points, [1, 0])
    assert tuple(swapped[120, 100]) == SIDE_COLORS[1]


def test_joints_that_are_not_valid_are_not_drawn():
    points = spread_joints()[None]
    valid = np.ones((1, 21), bool)
    valid[0, 4] = False
    drawn = draw_hands(gray(), points, [0], joints_valid=valid)
    assert not changed(drawn)[92:132, 90:110].any()  # neither the tip of the thumb nor the bone to it
    assert changed(drawn)[140, 100]
    points[0, 4] = np.nan
    np.testing.assert_array_equal(draw_hands(gray(), points, [0]), drawn)
    assert not changed(draw_hands(gray(), points, [0], joints_valid=~np.ones((1, 21), bool), labels=['left'])).any()


def test_inferred_joints_are_rings_and_their_bones_dashed():
    points = spread_joints()[None]
    inferred = np.zeros((1, 21), bool)
    inferred[0, 4] = True
    drawn = draw_hands(gray(), points, [0], joints_inferred=inferred)
    column = changed(drawn)[108:134, 100]
    assert column.any() and not column.all()  # the bone between the two discs has gaps
    assert changed(draw_hands(gray(), points, [0]))[108:134, 100].all()
    ring = np.abs(drawn[92:109, 92:109].astype(int) - FINGER_COLORS[0]).sum(-1).min()
    assert drawn[100, 100].max() < 60 and ring < 60  # hollow


@pytest.mark.parametrize('size', [(480, 640), (2160, 3840), (1920, 1080)])
def test_lines_and_letters_scale_with_the_image(size):
    """What is drawn covers the same part of an image of any size, so it is as legible when it is displayed."""
    scale = min(size) / 480
    points = scale_pixels(spread_joints(), scale)[None]
    plain, labelled = (draw_hands(gray(*size), points, [1], labels=labels) for labels in (None, ['right #12 0.95']))
    reference = draw_hands(gray(), spread_joints()[None], [1])
    share = changed(plain).sum() / changed(reference).sum() / scale**2
    assert 0.7 < share < 1.33
    rows, columns = np.nonzero((labelled != plain).any(-1))
    assert 15 * scale <= np.ptp(rows) <= 40 * scale and np.ptp(columns) > 90 * scale
    assert rows.max() < points[0, :, 1].min()  # above the hand
    text = (np.abs(labelled.astype(int) - SIDE_COLORS[1]).sum(-1) < 30) & (labelled != plain).any(-1)
    assert columns.min() < np.nonzero(text)[1].min() and np.nonzero(text)[1].max() < columns.max()  # on its plate


def test_lines_get_thinner_on_small_hands():
    drawn = draw_hands(gray(2160, 3840), spread_joints(step=8.0)[None], [1])
    across = changed(drawn)[104, 90:104]  # the middle of a bone of the thumb
    assert 1 <= across.sum() <= 7


def test_labels_do_not_cover_each_other():
    points = np.stack([spread_joints(), spread_joints(104.0)])
    both = draw_hands(gray(), points, [0, 1], labels=['left 0.90', 'right 0.80'])

    def letters(image, color):
        return (np.abs(image[:95].astype(int) - color).sum(-1) < 90).sum()

    for k, color in enumerate(SIDE_COLORS):
        alone = [label if h == k else '' for h, label in enumerate(['left 0.90', 'right 0.80'])]
        assert letters(both, color) == letters(draw_hands(gray(), points, [0, 1], labels=alone), color) > 20


def test_boxes_and_hands_partly_outside():
    points = spread_joints(-60.0, -90.0)[None]
    drawn = draw_hands(gray(), points, [0], boxes=[[-70, -100, 110, 200]], labels=['left'])
    assert tuple(drawn[50, 110]) == SIDE_COLORS[0] and changed(drawn)[0:20, 0:30].any()
    np.testing.assert_array_equal(
        draw_hands(gray(), points, [0], boxes=[[np.nan] * 4]), draw_hands(gray(), points, [0])
    )
    assert not changed(draw_hands(gray(), np.zeros((0, 21, 2)), np.zeros(0, int))).any()


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(joints_2d=np.zeros((21, 2))), r'joints_2d must have shape \(21, 21, 2\) for 21 hands, got \(21, 2\)'),
        (dict(sides=[0, 1]), r'sides must have shape \(1,\)'),
        (dict(sides=[2]), r'sides must be 0 \(left\) or 1 \(right\), got \[2\]'),
        (dict(joints_valid=np.ones(21)), 'joints_valid must have shape'),
        (dict(labels=['a', 'b']), 'labels must have shape'),
        (dict(image=np.zeros((4, 4))), r'\(h, w, 3\) uint8 RGB'),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, words):
    arguments = dict(image=gray(), joints_2d=spread_joints()[None], sides=[0]) | changes
    with pytest.raises(ValueError, match=words):
        draw_hands(**arguments)


def test_a_frame_of_predictions_with_a_camera():
    predictions = make_predictions(5, ('left', 'right'), missing=[(2, 0)], intrinsics=CAMERA, image_size=(320, 240))
    points = image_points(predictions)
    joints = predictions.joints.astype(float)
    expected = joints[..., :2] / joints[..., 2:] * 300 + (160, 120)
    np.testing.assert_allclose(points, expected, atol=1e-3)
    drawn = draw_predictions(gray(240, 320), predictions, 2)
    alone = draw_hands(gray(240, 320), points[2, 1:], [1], labels=['right'])
    np.testing.assert_array_equal(drawn, alone)
    twice = draw_predictions(gray(), predictions, 2)  # the same video in twice the size
    np.testing.assert_array_equal(twice, draw_hands(gray(), scale_pixels(points[2, 1:], 2), [1], labels=['right']))
    reduced = draw_predictions(gray(), predictions, 2, width=320)
    assert reduced.shape == (240, 320, 3)
    with pytest.raises(ValueError, match=r'of images of 320x240 pixels, and the image to draw on has 240x320'):
        draw_predictions(gray(320, 240), predictions, 2)


def test_joints_behind_the_camera_are_not_drawn():
    predictions = make_predictions(1, intrinsics=CAMERA)
    predictions.joints[..., 2] *= -1
    assert not changed(draw_predictions(gray(240, 320), predictions, 0)).any()


def test_without_pixels_and_camera_there_is_an_error():
    with pytest.raises(ValueError, match="takes joints_2d, or frame 'camera' and intrinsics"):
        draw_predictions(gray(), make_predictions(1), 0)


def test_a_frame_of_predictions_from_its_pixels():
    """Without a camera; inferred joints, joints that are not valid, boxes and tracks as they are in the file."""
    points = np.stack([spread_joints(), spread_joints(380)])[None]
    masks = np.ones((2, 1, 2, 21), bool)
    masks[0, 0, 0, 8] = False
    masks[1] = False
    masks[1, 0, 1, [3, 4]] = True
    boxes = np.array([[[80, 60, 280, 320], [360, 60, 600, 320]]])
    predictions = make_predictions(
        1, ('left', 'right'), frame='wrist', joints_2d=points, joints_valid=masks[0], joints_inferred=masks[1],
        boxes=boxes, track_ids=[[4, 7]], confidence=np.where(masks[0], 0.5, 0),
    )  # fmt: skip
    drawn = draw_predictions(gray(), predictions, 0, boxes=True)
    labels = ['left #4 0.50', 'right #7 0.50']
    expected = draw_hands(
        gray(), points[0], [0, 1], joints_valid=masks[0, 0], joints_inferred=masks[1, 0], boxes=boxes[0], labels=labels
    )
    np.testing.assert_array_equal(drawn, expected)
    plain = draw_predictions(gray(), predictions, 0, labels=False)
    assert not changed(plain)[:90].any() and changed(drawn)[60, 80:280].all()


def test_labels():
    predictions = make_predictions(1, ('left',), confidence=np.full((1, 1, 21), 0.875))
    assert hand_label(predictions, 0, 0) == 'left 0.88'
    assert hand_label(make_predictions(1), 0, 0) == 'right'


def test_drawing_reduced_is_drawing_on_the_reduced_image():
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    reduced = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_AREA)
    points = spread_joints()[None]
    np.testing.assert_array_equal(
        draw_hands(noise, points, [0], width=320), draw_hands(reduced, scale_pixels(points, 0.5), [0])
    )
