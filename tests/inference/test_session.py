"""`Session`: what it refuses, live use, another estimator's joints, and memory."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scripted_hands import (
    Hand,
    ScriptedEstimator,
    estimate_of,
    joints_of,
    moving_right_hand,
    numbered_image,
    session_of,
    two_hands,
)

from handpose.hands.sides import Side
from handpose.inference.session import Session
from handpose.inference.tracking.interfaces import EstimatorInfo
from handpose.inference.tracking.tracker import next_region
from handpose.video import VideoFrame


def frame(index, image=None, fps=30.0):
    return VideoFrame(index, index / fps, numbered_image(index) if image is None else image)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((64, 112), np.uint8), r'got uint8 of shape \(64, 112\)'),
        (np.zeros((64, 112, 4), np.uint8), r'got uint8 of shape \(64, 112, 4\)'),
        (np.zeros((64, 112, 3), np.uint16), 'got uint16'),
        (np.zeros((64, 112, 3), np.float32), 'got float32'),
    ],
)
def test_images_that_are_refused(image, message):
    with pytest.raises(ValueError, match=r'expected an RGB image \(h, w, 3\) of uint8, ' + message):
        session_of(moving_right_hand).push(frame(0, image))


def test_what_changes_within_a_video_is_refused():
    session = session_of(moving_right_hand)
    session.push(frame(3))
    with pytest.raises(ValueError, match='the images changed from 112x64 to 64x112 pixels; call finish'):
        session.push(frame(4, numbered_image(4).transpose(1, 0, 2)))
    for index in (3, 1):
        with pytest.raises(ValueError, match=r'must be later than that of the one before, got .* s after 0\.1 s'):
            session.push(frame(index))
    session.push(frame(4))
    assert len(session.finish()) == 2  # what was refused left no trace
    session.push(frame(0, numbered_image(0, (56, 32))))  # the next video may be of another size


def test_finishing_without_images():
    with pytest.raises(ValueError, match='no image was pushed'):
        session_of(moving_right_hand).finish()
    session = session_of(moving_right_hand, keep=False)
    session.push(frame(0))
    with pytest.raises(ValueError, match='keep=False'):
        session.finish()


def test_the_second_video_is_as_the_first():
    session = session_of(two_hands)
    runs = []
    for _ in range(2):
        for i in range(20):
            session.push(frame(i))
        runs.append(session.finish())
    for name, value in vars(runs[0]).items():
        np.testing.assert_array_equal(value, vars(runs[1])[name], err_msg=name)
    assert session.tracking_estimator.resets == 3  # when it was made, and after each video


def test_the_hands_of_one_image():
    session = session_of(two_hands)
    found = [session.push(frame(i)) for i in range(3)][-1]
    assert len(found) == 2 and [hand.side for hand in found] == [Side.RIGHT, Side.LEFT]
    box = found.hands[0].box()
    points = joints_of(two_hands(2)[0])
    np.testing.assert_array_equal(box, [*points.min(0), *points.max(0)])
    predictions = found.to_predictions()
    assert predictions.joints_valid is None  # whole hands, which refiners smooth faster
    assert predictions.valid.tolist() == [[True, True]] and predictions.hand_side.tolist() == [0, 1]
    np.testing.assert_array_equal(predictions.joints_2d[0, 1], points)


@pytest.mark.parametrize('count', [0, 1])
def test_an_image_with_fewer_hands(count):
    session = session_of(lambda t: two_hands(t)[:count])
    predictions = session.push(frame(0)).to_predictions()
    assert predictions.valid.tolist() == [[False, count == 1]]


def test_of_two_right_hands_the_older_track_is_shown():
    session = session_of(lambda t: [Hand(30, 40)] * (t > 5) + [Hand(80, 40)])
    found = [session.push(frame(i)) for i in range(13)][-1]
    assert len(found) == 2
    np.testing.assert_array_equal(found.to_predictions().joints_2d[0, 1], joints_of(Hand(80, 40)))


class ShiftedEstimator(ScriptedEstimator):
    """Gives other joints than those by which hands are followed, and remembers the ids that it was asked for."""

    def estimate(self, frame, regions):
        self.asked = [region.track_id for region in regions]
        return [estimate_of(Hand(region.x + 3, region.y, 15, presence=0.2, right=0.5)) for region in regions]


def test_joints_of_another_estimator():
    """Hands are followed by the first; ids, sides and presence are the tracker's."""
    shifted = ShiftedEstimator(None)
    session, plain = session_of(two_hands, estimator=shifted), session_of(two_hands)
    for i in range(15):
        found, expected = session.push(frame(i)), plain.push(frame(i))
        assert shifted.asked == [hand.track_id for hand in expected]
        for hand, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(hand.tracked_2d, other.estimate.joints_2d)
            assert (hand.estimate.presence, hand.estimate.right) == (other.estimate.presence, other.estimate.right)
            assert hand.side is other.side
            assert np.abs(hand.estimate.joints_2d - other.estimate.joints_2d).max() > 1
    assert session.finish().valid.all()
    assert shifted.resets == 2


class OneHand:
    """Finds the same hand in every image, quickly."""

    info = EstimatorInfo('one hand')

    def __init__(self):
        self.estimate_ = estimate_of(Hand(50, 40))
        self.regions = [next_region(self.estimate_.joints_2d)]

    def detect(self, image):
        return self.regions

    def estimate(self, frame, regions):
        return [replace(self.estimate_, joints_2d=self.estimate_.joints_2d.copy()) for _ in regions]

    def reset(self, intrinsics=None):
        pass


def memory_after(counts, **options):
    """Bytes that a session has allocated after so many images."""
    session, image, used = Session(OneHand(), OneHand(), **options), numbered_image(0), []
    tracemalloc.start()
    try:
        for i in range(max(counts)):
            session.push(VideoFrame(i, i / 30, image))
            if i + 1 in counts:
                used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return used, session


def test_memory_of_ten_thousand_images():
    """It grows by the hands alone, less than 0.7 kB for each, and by nothing else."""
    (before, after), session = memory_after((2_000, 10_000))
    assert 500 < (after - before) / 8_000 < 700
    assert len(session.finish()) == 10_000


def test_memory_of_a_camera_that_runs_for_hours():
    (before, after), _ = memory_after((300, 2_000), keep=False)
    assert after - before < 20_000
