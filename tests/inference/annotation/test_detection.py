"""The hands of each camera: kept, continued, and detected again without following."""

import json

import numpy as np
import pytest
from scripted_hands import Hand, joints_of, moving_right_hand, session_of, two_hands, write_video
from test_recording_source import calibrate, camera

from handpose.inference.annotation.detection import detect_again, detect_hands
from handpose.inference.annotation.recording_source import open_recording
from handpose.inference.journal import JournalError
from handpose.inference.tracking.records import TrackRecords


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / 'recording'
    folder.mkdir()
    for name, count in (('left', 140), ('right', 130)):
        write_video(folder / f'{name}.avi', count)
    return open_recording(folder, calibrate(folder, camera('left'), camera('right', 0.2)))


def assert_equal(a, b):
    for name, value in vars(a).items():
        np.testing.assert_array_equal(value, vars(b)[name], err_msg=name)


def test_all_hands_are_kept(source, tmp_path):
    steps = []
    found = detect_hands(source, session_of(two_hands), 'full', tmp_path / 'kept', lambda *step: steps.append(step))
    assert [len(hands.records) for hands in found] == [140, 130]
    assert [hands.processed for hands in found] == [140, 130]
    assert found[0].records.frame.tolist() == np.repeat(np.arange(140), 2).tolist()
    names = [step[0] for step in steps]
    assert names == ['finding hands of left'] * 140 + ['finding hands of right'] * 130
    again = detect_hands(source, session_of(lambda number: []), 'full', tmp_path / 'kept')
    assert [hands.processed for hands in again] == [0, 0]
    for hands, kept in zip(found, again, strict=True):
        assert_equal(hands.records, kept.records)


def test_an_interruption(source, tmp_path):
    """Ctrl-C in the second camera: the first one is not processed again, the second one goes on."""
    whole = detect_hands(source, session_of(two_hands), 'full', tmp_path / 'whole')

    def interrupt(step, done, total):
        if step.endswith('right') and done > 3.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r'the hands of 10\d images are in .*right.avi; the same command goes'):
        detect_hands(source, session_of(two_hands), 'full', tmp_path / 'kept', interrupt)
    found = detect_hands(source, session_of(two_hands), 'full', tmp_path / 'kept')
    assert found[0].processed == 0 and found[1].processed < 30
    for hands, expected in zip(found, whole, strict=True):
        assert_equal(hands.records, expected.records)


def test_another_video_is_not_mixed_in(source, tmp_path):
    detect_hands(source, session_of(moving_right_hand), 'full', tmp_path / 'kept')
    with pytest.raises(JournalError, match='holds the beginning of another run, with other networks; delete'):
        detect_hands(source, session_of(moving_right_hand), 'lite', tmp_path / 'kept')
    end = tmp_path / 'kept' / 'left.avi' / 'finished.json'
    end.write_text(json.dumps(dict(images=3)))
    with pytest.raises(JournalError, match=r'finished.json does not fit the hands of 140 images; delete'):
        detect_hands(source, session_of(moving_right_hand), 'full', tmp_path / 'kept')


def test_a_video_that_breaks_off(tmp_path, source):
    data = source.videos[1].read_bytes()
    source.videos[1].write_bytes(data[: len(data) // 2])
    found = detect_hands(source, session_of(moving_right_hand), 'full', tmp_path / 'kept')
    assert 30 < len(found[1].records) < 120 and found[1].notes


def drifting(number):
    """A hand that is followed only: the detector sees another one from image 50 to 59."""
    followed = Hand(30 + 0.1 * number, 40, detectable=not 50 <= number < 60)
    return [followed] + [Hand(85, 40, right=0.1)] * (50 <= number < 60)


def test_detecting_again(source, tmp_path):
    (before, _) = detect_hands(source, session_of(drifting), 'full', tmp_path / 'kept')
    images = np.arange(52, 56)
    session = session_of(drifting)
    found = detect_again(source, 0, images, before.records, session, tmp_path / 'kept')
    assert session.detector.calls == 4 and found.detected[images].all()
    for image in range(140):
        old, new = ([joints for _, joints in rows(records, image)] for records in (before.records, found))
        if image in images:
            np.testing.assert_array_equal(new, [joints_of(Hand(85, 40, right=0.1))])
        else:
            np.testing.assert_array_equal(new, old)
    ids = [track for image in images for track, _ in rows(found, image)]
    assert len(set(ids)) == 4 and min(ids) > before.records.track_id.max()
    again = detect_again(source, 0, images, before.records, session, tmp_path / 'kept')
    assert session.detector.calls == 4  # they were kept
    assert_equal(found, again)


def rows(records: TrackRecords, image):
    chosen = np.flatnonzero(records.frame == image)
    return [(int(records.track_id[n]), records.joints_2d[n]) for n in chosen]
