"""Marks of bad frames: what they select, and their file, which anybody may have written."""

import json

import numpy as np
import pytest

from handpose.structures.recording_marks import (
    MarksError,
    RecordingMark,
    RecordingMarks,
    load_recording_marks,
    marks_path,
    save_recording_marks,
)

NAMES = ['left', 'right', 'top "ä"']


def some_marks():
    return RecordingMarks(
        [RecordingMark(2, 4, ('right',), 'exclude'), RecordingMark(4, 5, None, 'redo'), RecordingMark(0, 0, NAMES[::2])]
    )


def test_masks_have_the_frames_and_cameras():
    exclude, redo = (some_marks().mask(action, 7, NAMES) for action in ('exclude', 'redo'))
    expected = np.zeros((7, 3), bool)
    expected[2:5, 1] = expected[0, 0] = expected[0, 2] = True
    np.testing.assert_array_equal(exclude, expected)
    np.testing.assert_array_equal(np.argwhere(redo), [[t, k] for t in (4, 5) for k in range(3)])
    assert not RecordingMarks().mask('redo', 7, NAMES).any()
    with pytest.raises(MarksError, match="action must be 'redo' or 'exclude', got 'delete'"):
        some_marks().mask('delete', 7, NAMES)


def test_marks_are_added_and_deleted():
    marks = some_marks()
    assert marks.with_mark(RecordingMark(4, 5, None, 'redo')) == marks
    more = marks.with_mark(RecordingMark(6, 6))
    assert len(more) == 4 and more.without(3) == marks and len(marks.without(0)) == 2
    assert [str(mark) for mark in more.marks[:2]] == [
        'frames 2 to 4, right: exclude',
        'frames 4 to 5, all cameras: redo',
    ]
    assert str(more.marks[3]) == 'frame 6, all cameras: exclude'
    for index in (-1, 3):
        with pytest.raises(MarksError, match=f'there is no mark {index}: the recording has 3'):
            marks.without(index)


def test_marks_of_another_recording_are_refused():
    assert some_marks().check(6, NAMES) == some_marks()
    with pytest.raises(MarksError, match=r'frames 4 to 5.*has only the frames 0 to 4'):
        some_marks().check(5, NAMES)
    with pytest.raises(MarksError, match=r"no camera 'right', it has left, rigth\. Did you mean 'rigth'\?"):
        some_marks().check(6, ['left', 'rigth'])


def test_the_file_keeps_everything(tmp_path):
    path = marks_path(tmp_path / 'kitchen.npz')
    assert path == tmp_path / 'kitchen_marks.json' and load_recording_marks(path) == RecordingMarks()
    save_recording_marks(path, some_marks())
    assert load_recording_marks(path) == some_marks()
    entry = json.loads(path.read_text())['marks'][0]
    assert entry == {'first': 2, 'last': 4, 'cameras': ['right'], 'action': 'exclude'}
    save_recording_marks(path, RecordingMarks())
    assert load_recording_marks(path) == RecordingMarks()
    assert [p.name for p in tmp_path.iterdir()] == ['kitchen_marks.json']


GOOD = {'first': 1, 'last': 2, 'cameras': None, 'action': 'redo'}


@pytest.mark.parametrize(
    'entry, words',
    [
        (GOOD | {'first': 3}, r'mark 0: the frames of a mark must be FIRST-LAST, counted from 0, got 3-2'),
        (GOOD | {'first': -1}, 'got -1-2'),
        (GOOD | {'last': 2**40}, 'counted from 0'),
        (GOOD | {'first': True}, 'whole numbers, got True and 2'),
        (GOOD | {'first': 1.0}, 'whole numbers, got 1.0 and 2'),
        (GOOD | {'action': 'rm'}, "action must be 'redo' or 'exclude', got 'rm'"),
        (GOOD | {'action': ['redo']}, 'action must be'),
        (GOOD | {'cameras': 'left'}, 'cameras: expected null or a list of names, found'),
        (GOOD | {'cameras': []}, 'the names of one or more'),
        (GOOD | {'cameras': [['left']]}, 'the names of one or more'),
        (GOOD | {'cameras': ['a\x1b[2J']}, 'the names of one or more'),
        (GOOD | {'cameras': ['a', 'a']}, 'must be different, got a, a'),
        (
            GOOD | {'note': 1},
            'expected the keys first, last, cameras, action, found first, last, cameras, action, note',
        ),
        ({'first': 1}, 'found first'),
        ([1, 2], 'expected the keys first, last, cameras, action, found a list'),
    ],
)
def test_what_is_no_mark_is_an_error_message(tmp_path, entry, words):
    path = tmp_path / 'a_marks.json'
    path.write_text(json.dumps({'format': 'handpose-recording-marks', 'version': 1, 'marks': [entry]}))
    with pytest.raises(MarksError, match=words) as caught:
        load_recording_marks(path)
    assert str(path) in str(caught.value) and 'delete it' in str(caught.value)


@pytest.mark.parametrize(
    'found, words',
    [
        ([], 'must hold'),
        ({}, "format must be 'handpose-recording-marks', found 'None'"),
        ({'format': 'handpose-recording-marks', 'version': 2, 'marks': []}, "version is '2'"),
        ({'format': 'handpose-recording-marks', 'version': True, 'marks': []}, "version is 'True'"),
        ({'format': 'handpose-recording-marks', 'version': 1}, 'marks must be a list, found nothing'),
        ({'format': 'handpose-recording-marks', 'version': 1, 'marks': [], 'x': 1}, "found 'x' too"),
        (
            {'format': 'handpose-recording-marks', 'version': 1, 'marks': [GOOD] * 10_001},
            'at most 10,000, found 10,001',
        ),
    ],
)
def test_what_is_no_file_of_marks_is_an_error_message(tmp_path, found, words):
    (tmp_path / 'a_marks.json').write_text(json.dumps(found))
    with pytest.raises(MarksError, match=words):
        load_recording_marks(tmp_path / 'a_marks.json')
