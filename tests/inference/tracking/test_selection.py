"""Which tracks of a video become predictions, and what is said of the others."""

import numpy as np
import pytest
from scripted_hands import Hand, estimate_of, joints_of, moving_right_hand, numbered_image, session_of, two_hands

from handpose.hands.sides import Side
from handpose.inference.tracking.interfaces import HandEstimate
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.tracking.selection import MAX_LISTED, MIN_TRACK_TIME, select_hands
from handpose.inference.tracking.tracker import TrackedHand
from handpose.video import VideoFrame

SIZE = (112, 64)


def run(script, count, fps=30.0):
    """Predictions and notes of numbered images."""
    session = session_of(script)
    for i in range(count):
        session.push(VideoFrame(i, i / fps, numbered_image(i)))
    return session.finish('a test', 'CC0'), session.notes


def test_one_hand():
    predictions, notes = run(moving_right_hand, 40)
    assert notes == []
    assert predictions.hand_side.tolist() == [Side.RIGHT] and predictions.valid.all()
    assert (predictions.frame, predictions.scale) == ('wrist', 'relative')
    assert (predictions.source, predictions.licence) == ('a test', 'CC0')
    assert predictions.image_size.tolist() == list(SIZE)
    np.testing.assert_allclose(predictions.timestamps, np.arange(40) / 30)
    for t in (0, 17, 39):
        points = joints_of(moving_right_hand(t)[0])
        np.testing.assert_array_equal(predictions.joints_2d[t, 0], points)
        margin = 0.1 * np.ptp(points, axis=0)
        box = np.concatenate([points.min(0) - margin, points.max(0) + margin])
        np.testing.assert_allclose(predictions.boxes[t, 0], box, atol=1e-4)
    np.testing.assert_allclose(predictions.confidence, 0.98, rtol=1e-6)
    assert (predictions.track_ids == 0).all()
    assert (predictions.joints[:, :, 0] == 0).all()


def test_left_comes_before_right():
    predictions, notes = run(two_hands, 20)
    assert notes == [] and predictions.hand_side.tolist() == [Side.LEFT, Side.RIGHT] and predictions.valid.all()
    assert (predictions.joints_2d[:, 0, :, 0].mean(-1) > 70).all()
    assert (predictions.joints_2d[:, 1, :, 0].mean(-1) < 50).all()


def test_spurious_tracks_are_dropped_and_reported():
    """One that is shorter than 0.2 s, and one that is uncertain all the time."""

    def script(t):
        return [Hand(25, 40)] + [Hand(60, 40, right=0.1)] * (18 <= t < 22) + [Hand(95, 40, right=0.1, presence=0.55)]

    predictions, notes = run(script, 60)
    assert predictions.hand_side.tolist() == [Side.RIGHT] and predictions.valid.all()
    assert notes == [
        '2 tracks were dropped as spurious, too short or too uncertain (track 1 (left, 60 frames): 2.00 s, mean '
        'presence 0.55; track 2 (left, 4 frames): 0.13 s, mean presence 0.98)'
    ]
    assert MIN_TRACK_TIME > 4 / 30


def test_many_spurious_tracks_make_one_note():
    """Something uncertain appears for a third of a second, once in two seconds."""

    def script(t):
        return [Hand(25, 40)] + [Hand(90, 40, right=0.1, presence=0.55)] * (t % 60 < 10)

    _, notes = run(script, 8 * 60)
    assert len(notes) == 1
    assert notes[0].startswith('8 tracks were dropped') and notes[0].endswith('; and 3 more)')
    assert notes[0].count('mean presence') == MAX_LISTED == 5


def test_a_third_hand_is_dropped_and_reported():
    def script(t):
        return [Hand(25, 40), Hand(60, 40, right=0.1), Hand(95, 40, right=0.1, presence=0.9)]

    predictions, notes = run(script, 30)
    assert predictions.valid.all() and predictions.valid.shape == (30, 2)
    assert notes == ['track 2 (left, 30 frames) was dropped: a second left hand; predictions hold one of each']
    assert np.unique(predictions.track_ids[:, 0]).tolist() == [1]


def test_of_two_right_hands_the_one_with_more_evidence_is_kept():
    def script(t):
        return [Hand(25, 40)] * (t >= 20) + [Hand(80, 40)]

    predictions, notes = run(script, 60)
    assert predictions.hand_side.tolist() == [Side.RIGHT] and predictions.valid.all()
    assert (predictions.joints_2d[:, 0, :, 0].mean(-1) > 60).all()
    assert notes == ['track 1 (right, 36 frames) was dropped: a second right hand; predictions hold one of each']


def test_a_hand_that_leaves_and_comes_back_is_one_hand_of_two_tracks():
    predictions, notes = run(lambda t: [] if 20 <= t < 50 else [Hand(50, 40)], 80)
    assert notes == [] and predictions.valid.shape == (80, 1)
    assert np.flatnonzero(~predictions.valid[:, 0]).tolist() == list(range(20, 50))
    assert predictions.track_ids[:20].tolist() == [[0]] * 20 and predictions.track_ids[50:].tolist() == [[1]] * 30
    assert (predictions.track_ids[20:50] == -1).all() and np.isnan(predictions.joints[20:50]).all()


def test_a_short_overlap_of_two_tracks_of_one_hand():
    """The images in which both are there belong to the one with more evidence."""

    def script(t):
        return [Hand(30, 40)] * (t < 62) + [Hand(85, 40)] * (t >= 60)

    predictions, notes = run(script, 100)
    assert notes == [] and predictions.valid.all()
    assert predictions.track_ids[:, 0].tolist() == [0] * 62 + [1] * 38


def test_one_image():
    predictions, notes = run(two_hands, 1)
    assert notes == [] and predictions.valid.tolist() == [[True, True]]


def test_a_video_shorter_than_the_shortest_track():
    predictions, notes = run(moving_right_hand, 3)
    assert notes == [] and predictions.valid.all()


def test_no_hand():
    predictions, notes = run(lambda t: [], 7)
    assert notes == ['no hand was found in 7 frames']
    assert predictions.valid.shape == (7, 1) and not predictions.valid.any()


def test_times_decide_and_not_the_number_of_frames():
    """Four images are too short at 30 frames per second, and long enough at 10."""

    def script(t):
        return [Hand(25, 40)] + [Hand(90, 40, right=0.1)] * (12 <= t < 16)

    assert run(script, 40, fps=30)[0].hand_side.tolist() == [Side.RIGHT]
    predictions, notes = run(script, 40, fps=10)
    assert predictions.hand_side.tolist() == [Side.LEFT, Side.RIGHT] and notes == []
    assert predictions.valid[:, 0].sum() == 4


def test_one_certain_image_does_not_decide_the_side():
    """The sum of bounded evidence does; the mean of probabilities would say right."""
    predictions, _ = run(lambda t: [Hand(50, 40, right=0.4 if t % 5 else 0.99999)], 30)
    assert predictions.hand_side.tolist() == [Side.RIGHT]  # 24 * log(0.4 / 0.6) = -9.7, 6 * 4 = 24
    predictions, _ = run(lambda t: [Hand(50, 40, right=0.4 if t else 1.0)], 30)
    assert predictions.hand_side.tolist() == [Side.LEFT]


@pytest.mark.parametrize('lacking', [4, 20])
def test_joints_that_were_not_estimated(lacking):
    """They are not valid; boxes are those of the joints by which the hand is followed."""
    valid = np.arange(21) != lacking
    points = joints_of(Hand(50, 40))
    given = np.where(valid[:, None], points, np.nan)
    joints = np.where(valid[:, None], estimate_of(Hand(50, 40)).joints_3d, np.nan)
    hand = HandEstimate(given, joints, 0.9, 0.9, valid)
    hands = [[TrackedHand(0, Side.RIGHT, hand, points)]] * 3
    records = TrackRecords.of_frames([0, 0.1, 0.2], [True] * 3, hands)
    predictions, _ = select_hands(records, SIZE)
    assert predictions.joints_valid.tolist() == [[valid.tolist()]] * 3
    margin = 0.1 * np.ptp(points, axis=0)
    np.testing.assert_allclose(predictions.boxes[0, 0, :2], points.min(0) - margin, atol=1e-4)
    np.testing.assert_allclose(predictions.boxes[0, 0, 2:], points.max(0) + margin, atol=1e-4)
