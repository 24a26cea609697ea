"""Ids, sides and ends of tracks, with estimates that a script gives."""

import itertools

import numpy as np
import pytest
from scripted_hands import Hand, estimate_of, joints_of, numbered_image, session_of

from handpose.hands.sides import Side
from handpose.inference.tracking.tracker import (
    DETECTION_PERIOD,
    MAX_LOST_TIME,
    HandTracker,
    next_region,
)
from handpose.video import VideoFrame

PERIOD = 1 / 30


def follow(script, count):
    """Pushes numbered images of a script through a session: the hands of each image."""
    session = session_of(script)
    return [session.push(VideoFrame(i, i * PERIOD, numbered_image(i))).hands for i in range(count)]


def ids(frames):
    return [[hand.track_id for hand in hands] for hands in frames]


def found(*hands):
    return [estimate_of(hand) for hand in hands]


def test_one_hand_keeps_its_id():
    frames = follow(lambda t: [Hand(30 + t, 40)], 40)
    assert ids(frames) == [[0]] * 40
    assert all(hand.side is Side.RIGHT for hands in frames for hand in hands)
    np.testing.assert_array_equal(frames[20][0].estimate.joints_2d, joints_of(Hand(50, 40)))


def test_ids_are_counted_in_the_order_of_appearance():
    def script(t):
        return [Hand(20, 40)] + [Hand(60, 40, right=0.1)] * (t >= 10) + [Hand(95, 40)] * (t >= 20)

    frames = follow(script, 30)
    # A new hand is found when the detector runs next: every DETECTION_PERIOD = 6 images.
    assert ids(frames) == [[0]] * 12 + [[0, 1]] * 12 + [[0, 1, 2]] * 6
    assert round(DETECTION_PERIOD / PERIOD) == 6


def test_a_hand_that_is_lost_for_a_moment_keeps_its_id():
    gap = range(10, 10 + int(MAX_LOST_TIME / PERIOD) - 1)
    frames = follow(lambda t: [] if t in gap else [Hand(30 + 0.5 * t, 40)], 40)
    assert ids(frames) == [[] if t in gap else [0] for t in range(40)]


def test_a_hand_that_comes_back_late_gets_a_new_id():
    gap = range(10, 10 + int(MAX_LOST_TIME / PERIOD) + 2)
    frames = follow(lambda t: [] if t in gap else [Hand(50, 40)], 50)
    assert ids(frames) == [[] if t in gap else [int(t > 10)] for t in range(50)]


def test_a_hand_that_comes_back_far_away_gets_a_new_id():
    frames = follow(lambda t: [] if 10 <= t < 15 else [Hand(25 if t < 10 else 90, 40)], 30)
    assert ids(frames) == [[] if 10 <= t < 15 else [int(t > 10)] for t in range(30)]


def test_lost_hands_are_continued_by_the_nearest_ones():
    """Both hands are lost; the better pairing in sum decides, not the order of the detections."""
    for order in itertools.permutations([0, 1]):
        tracker = HandTracker()
        tracker.update(0.0, [], found(Hand(20, 40), Hand(60, 40)), True)
        tracker.update(PERIOD, found(Hand(20, 40, presence=0), Hand(60, 40, presence=0)), [], True)
        back = [Hand(26, 40), Hand(66, 40)]
        hands = tracker.update(2 * PERIOD, [], [estimate_of(back[k]) for k in order], True)
        assert {hand.track_id: round(float(hand.estimate.joints_2d[0, 0])) for hand in hands} == {0: 26, 1: 66}


def test_crossing_hands_keep_ids_and_sides():
    """A right and a left hand pass each other at a distance at which their regions overlap."""

    def script(t):
        return [Hand(20 + 1.5 * t, 32, 20, 0.97), Hand(92 - 1.5 * t, 46, 20, 0.03)]

    frames = follow(script, 48)
    assert ids(frames) == [[0, 1]] * 48
    for t, hands in enumerate(frames):
        assert [hand.side for hand in hands] == [Side.RIGHT, Side.LEFT]
        assert hands[0].estimate.joints_2d[:, 0].mean() == pytest.approx(joints_of(script(t)[0])[:, 0].mean())


@pytest.mark.parametrize('right_first', [True, False])
def test_two_tracks_on_one_hand(right_first):
    """The left hand vanishes and its track runs onto the right one: the track of the wrong side ends."""
    right, left = Hand(40, 40, 20, 0.97), Hand(60, 40, 20, 0.03)
    pair = [right, left] if right_first else [left, right]
    tracker = HandTracker()
    for k in range(5):
        new = found(*pair) if k == 0 else []
        tracker.update(k * PERIOD, found(*pair) if k else [], new, k == 0)
    hands = tracker.update(5 * PERIOD, found(right, right), [], False)
    assert [(hand.track_id, hand.side) for hand in hands] == [(0 if right_first else 1, Side.RIGHT)]


def test_of_two_tracks_of_one_side_on_one_hand_the_older_one_stays():
    tracker = HandTracker()
    tracker.update(0.0, [], found(Hand(30, 40), Hand(60, 40)), True)
    hands = tracker.update(PERIOD, found(Hand(45, 40), Hand(45.2, 40)), [], False)
    assert [hand.track_id for hand in hands] == [0]


def test_one_hand_detected_twice_is_one_track():
    tracker = HandTracker()
    hands = tracker.update(0.0, [], found(Hand(50, 40), Hand(50.5, 40.5)), True)
    assert [hand.track_id for hand in hands] == [0]
    hands = tracker.update(PERIOD, found(Hand(50, 40)), found(Hand(50.5, 40.5)), True)
    assert [hand.track_id for hand in hands] == [0]


def test_the_side_of_a_track_is_that_of_its_evidence():
    """Single images of the other side, however certain, do not change it."""
    doubtful = {3, 9, 10, 17}
    frames = follow(lambda t: [Hand(40 + t, 40, 20, 0.0001 if t in doubtful else 0.9)], 30)
    assert ids(frames) == [[0]] * 30
    assert {hand.side for hands in frames for hand in hands} == {Side.RIGHT}


def test_the_order_of_hands_does_not_matter():
    """The same tracks, but for their numbers, in whichever order detections come."""

    def script(t):
        return [Hand(20 + 0.4 * t, 40), Hand(55, 30 + 0.3 * t, right=0.1), Hand(95 - 0.3 * t, 40)]

    def paths(frames):
        tracks = {}
        for t, hands in enumerate(frames):
            for hand in hands:
                tracks.setdefault(hand.track_id, []).append((t, hand.side, hand.estimate.joints_2d.tobytes()))
        return sorted(tracks.values(), key=lambda rows: rows[0][2])

    expected = paths(follow(script, 25))
    for order in itertools.permutations(range(3)):
        assert paths(follow(lambda t, order=order: [script(t)[k] for k in order], 25)) == expected


def test_the_detector_runs_when_a_hand_is_missing_or_now_and_then():
    gap = range(20, 24)
    session = session_of(lambda t: [] if t in gap else [Hand(50, 40)])
    ran = [t for t in range(40) if session.push(VideoFrame(t, t * PERIOD, numbered_image(t))).detected]
    # Every sixth image; in each image without a hand, and when it comes back; then every sixth from there.
    assert ran == [0, 6, 12, 18, 20, 21, 22, 23, 24, 30, 36]


def test_detections_of_hands_that_are_followed_are_left_out():
    tracker = HandTracker()
    followed = found(Hand(30, 40), Hand(80, 40))
    near, far = next_region(joints_of(Hand(32, 41))), next_region(joints_of(Hand(55, 20, 12)))
    assert tracker.new_regions(followed, [far, near]) == [far]
    assert tracker.new_regions([], [far, near]) == [far, near]
    assert tracker.new_regions(followed, []) == []


def test_restoring_gives_the_state_of_updating():
    rng = np.random.default_rng(3)
    one, other = HandTracker(), HandTracker()
    for k in range(60):
        regions = one.regions()
        assert other.regions() == regions
        followed = [estimate_of(Hand(r.x, r.y, 20, rng.random(), 1.0 if rng.random() < 0.9 else 0.0)) for r in regions]
        new = found(*(Hand(*rng.uniform(10, 200, 2), right=rng.random()) for _ in range(rng.integers(0, 2))))
        hands = one.update(k * PERIOD, followed, new, bool(k % 3))
        seen = [(hand.track_id, hand.estimate) for hand in hands]
        other.restore(k * PERIOD, seen, bool(k % 3))
    assert [vars(t) for t in one._lost.values()] == [vars(t) for t in other._lost.values()]
    assert (one._next_id, one._last_detection) == (other._next_id, other._last_detection)
    assert one._next_id > 5
