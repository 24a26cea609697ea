"""Offsets from the motion of hands in scripted views."""

import numpy as np
import pytest

from handpose.hands.sides import Side
from handpose.inference.annotation.offsets import estimate_offsets, given_offsets
from handpose.inference.annotation.recording_source import AnnotationError
from handpose.inference.tracking.interfaces import HandEstimate
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.tracking.tracker import TrackedHand


def records_of(count, rate, delay, scale, moving=True):
    """One right hand on a path of many frequencies, seen `delay` seconds later."""
    times = np.arange(count) / rate
    moments = times - delay
    path = np.stack([np.sin(3 * moments) + np.sin(7.3 * moments), np.cos(4.1 * moments) + np.sin(9 * moments)], -1)
    joints = 300 + scale * 40 * path[:, None] * moving + 10 * np.random.default_rng(0).normal(size=(21, 2))
    hands = [
        [TrackedHand(0, Side.RIGHT, HandEstimate(p.astype(np.float32), np.zeros((21, 3), np.float32), 0.9, 0.9), p)]
        for p in joints
    ]
    return TrackRecords.of_frames(times, [False] * count, hands)


def test_offsets_are_found():
    hands = [records_of(200, 30, 0, 1), records_of(180, 30, 0.4, -0.7), records_of(120, 20, -0.5, 1.2)]
    offsets, notes = estimate_offsets(list('abc'), hands)
    np.testing.assert_allclose(offsets, [0, 0.4, -0.5], atol=0.02)
    assert notes[0].startswith('b shows 0.4') and 'later what a shows' in notes[0]
    assert 'earlier what a shows' in notes[1]


def test_hands_that_do_not_move():
    with pytest.raises(AnnotationError, match=r'the cameras a, b \(camera 0 is a\) cannot be estimated: .* --offsets'):
        estimate_offsets(list('ab'), [records_of(100, 30, 0, 1), records_of(100, 30, 0, 1, moving=False)])


def test_other_motion_is_not_used():
    generator = np.random.default_rng(1)
    hands = [records_of(100, 30, 0, 1), records_of(100, 30, 0, 1)]
    hands[1].joints_2d[:] = np.cumsum(generator.normal(size=(100, 1, 2)), 0) + np.zeros((21, 1))[None]
    offsets, notes = estimate_offsets(list('ab'), hands, max_offset=0.2)
    if 'could not be estimated' in notes[0]:
        assert offsets.tolist() == [0, 0]


def test_given_offsets():
    assert given_offsets(list('abc'), {'c': 0.5}).tolist() == [0, 0, 0.5]
    with pytest.raises(AnnotationError, match="offsets name the camera 'd', and the recording has a, b, c"):
        given_offsets(list('abc'), {'d': 0.5})
    with pytest.raises(AnnotationError, match='must be a number of seconds'):
        given_offsets(list('abc'), {'b': float('nan')})
