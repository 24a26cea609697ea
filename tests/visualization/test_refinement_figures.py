"""Traces and videos of a track before and after refining."""

import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.inference import load_refiner
from handpose.visualization.draw import FINGER_COLORS
from handpose.visualization.hand_overlay import draw_hands
from handpose.visualization.skeleton_video import ComparisonVideo
from handpose.visualization.traces import busiest, joint_traces

CAMERA = [[300, 0, 160], [0, 300, 120], [0, 0, 1]]


def refined(**options):
    before = make_predictions(40, missing=[10, 11], **options)
    return before, load_refiner(method='gaussian', longest_gap=5).refine(before)


@pytest.mark.parametrize('frame, sides', [('camera', ('left', 'right')), ('wrist', ('right',))])
def test_traces(frame, sides):
    before, after = refined(sides=sides, frame=frame)
    picture = joint_traces(before, after, title='a filter')
    assert picture.dtype == np.uint8 and picture.shape[1] > 1000 and picture.shape[0] > 500 * len(sides)
    assert (picture != joint_traces(before, before, title='a filter')).any()
    with pytest.raises(ValueError, match='of the same frames and hands'):
        joint_traces(before, after.select(slice(0, 20)))


def test_traces_of_one_frame():
    one = make_predictions(1)
    assert joint_traces(one, one).shape[2] == 3


def test_the_detail_is_where_it_trembles():
    values = np.ones(50)
    values[20:30] = 5
    values[24] = np.nan
    assert busiest(values, 10) == slice(20, 30)
    assert busiest(values[:5], 10) == slice(0, 5)


@pytest.mark.parametrize('frame', ['camera', 'wrist'])
def test_video_frames_have_one_size_and_show_the_difference(frame):
    before, after = refined(sides=('left', 'right'), frame=frame)
    video = ComparisonVideo(before, after, panel=160)
    frames = [video.draw(t) for t in (0, 10, 39)]
    assert len({f.shape for f in frames}) == 1
    half = frames[0].shape[1] // 2
    assert (frames[0][:, 8:half] != frames[0][:, half : 2 * half - 8]).any()
    assert (frames[0] != frames[2]).any()


def test_hands_are_drawn_where_they_are_in_the_picture():
    before, after = refined(intrinsics=CAMERA, noise=0.0)
    video = ComparisonVideo(before, after, panel=200)  # pictures become 320 wide, as they are
    plain = np.full((240, 320, 3), 90, np.uint8)
    drawn = video.draw(0, plain)
    caption = drawn.shape[0] - 240 - 200
    picture = drawn[caption : caption + 240, :320]
    there = np.argwhere((np.abs(picture.astype(int) - 90) > 40).any(-1))[:, ::-1]
    joints = before.joints[0, 0]
    pixels = joints[:, :2] / joints[:, 2:] * 300 + (160, 120)
    nearest = np.linalg.norm(there[:, None] - pixels, axis=-1).min(0)
    assert nearest.max() < 3
    assert there.min(0) == pytest.approx(pixels.min(0), abs=8) and there.max(0) == pytest.approx(pixels.max(0), abs=8)


def test_hands_are_drawn_at_their_pixels_without_a_camera():
    pixels = np.random.default_rng(0).uniform((40, 40), (280, 200), (10, 1, 21, 2))
    before, after = (make_predictions(10, frame='wrist', joints_2d=pixels + shift) for shift in (0, 8))
    video = ComparisonVideo(before, after, panel=200)  # images become 320 wide, as they are
    plain = np.full((240, 320, 3), 90, np.uint8)
    drawn = video.draw(3, plain)
    assert video.over_video and drawn.shape[1] == 640
    caption = drawn.shape[0] - 240 - 200
    for left, version in ((0, before), (320, after)):
        image = drawn[caption : caption + 240, left : left + 320]
        np.testing.assert_array_equal(image, draw_hands(plain, version.joints_2d[3], [1]))


def test_missing_joints_do_not_hide_the_others():
    valid = np.ones((10, 1, 21), bool)
    valid[:, :, 4] = False
    some, whole = make_predictions(10, joints_valid=valid), make_predictions(10)
    drawn, reference = ComparisonVideo(some, some).draw(3), ComparisonVideo(whole, whole).draw(3)
    assert 0.8 < (drawn != 24).any(-1).sum() / (reference != 24).any(-1).sum() <= 1.2
    thumb_tip = (np.array(FINGER_COLORS[0]) == drawn).all(-1).sum() / (FINGER_COLORS[0] == reference).all(-1).sum()
    assert 0.3 < thumb_tip < 0.95


def test_without_a_camera_the_picture_is_shown_beside():
    before, after = refined()
    video = ComparisonVideo(before, after, panel=160)
    beside, without = video.draw(0, np.full((240, 320, 3), 90, np.uint8)), video.draw(0)
    assert beside.shape[0] == without.shape[0] and beside.shape[1] > without.shape[1] + 200
    np.testing.assert_array_equal(beside[:, -without.shape[1] :], without)
