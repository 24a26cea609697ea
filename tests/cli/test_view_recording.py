"""`handpose view` with an annotated recording: marks without a page, and what does not go together."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from annotated_recordings import make_recording
from predicted_hands import make_predictions

from handpose.cli import main
from handpose.structures import save_annotated_recording, save_predictions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recording(tmp_path):
    save_annotated_recording(tmp_path / 'kitchen.npz', make_recording(20, 3))
    return tmp_path / 'kitchen.npz'


def refused(capsys, *words):
    """The message of a command that ends with an error."""
    with pytest.raises(SystemExit) as caught:
        main('view', list(map(str, words)))
    assert caught.value.code != 0
    return f'{caught.value.code} {capsys.readouterr().err}'


def test_frames_are_marked_without_a_page(recording, capsys):
    main('view', [str(recording), '--mark', '12-18', '--cameras', 'cam0', 'cam2'])
    main('view', [str(recording), '--mark', '3', '--action', 'redo'])
    said = capsys.readouterr().out
    assert said.splitlines()[-3:-1] == ['1. frames 12 to 18, cam0, cam2: exclude', '2. frame 3, all cameras: redo']
    marks = json.loads((recording.parent / 'kitchen_marks.json').read_text())['marks']
    assert marks[1] == {'first': 3, 'last': 3, 'cameras': None, 'action': 'redo'} and len(marks) == 2
    main('view', [str(recording), '--delete-mark', '1'])
    assert capsys.readouterr().out.startswith('1. frame 3, all cameras: redo\n')
    assert 'there is no mark 4: the recording has 1' in refused(capsys, recording, '--delete-mark', 5)


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--mark', '12-30'], 'the recording has only the frames 0 to 19'),
        (['--mark', '8-4'], 'must be FIRST-LAST, counted from 0, got 8-4'),
        (['--mark', 'x'], "--mark must be FIRST-LAST, such as 120-180, got 'x'"),
        (['--mark', '3', '--cameras', 'cam'], "has no camera 'cam', it has cam0, cam1, cam2. Did you mean"),
        (['--cameras', 'cam0'], '--cameras and --action say what --mark FIRST-LAST marks'),
        (['--mark', '3', '--delete-mark', '1'], 'give either --mark or --delete-mark'),
    ],
)
def test_what_cannot_be_marked_is_an_error_message(recording, capsys, arguments, words):
    assert words in refused(capsys, recording, *arguments)
    assert not (recording.parent / 'kitchen_marks.json').exists()


def test_arguments_of_the_other_kind_of_file_are_refused(recording, tmp_path, capsys):
    pytest.importorskip('viser', reason="needs the extra 'view'")
    assert '--video is for predictions' in refused(capsys, recording, '--video', 'a.mp4', '--no-browser')
    save_predictions(tmp_path / 'hands.npz', make_predictions(10))
    for words in (['--mark', '3'], ['--videos', '.']):
        assert f'{words[0]} is for annotated recordings' in refused(capsys, tmp_path / 'hands.npz', *words)


def test_the_page_is_served_until_ctrl_c(recording):
    pytest.importorskip('viser', reason="needs the extra 'view'")
    process = subprocess.Popen(
        [sys.executable, '-u', '-m', 'handpose', 'view', str(recording), '--no-browser', '--port', '18090'],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        first = process.stdout.readline()
        assert re.fullmatch(r'http://127\.0\.0\.1:\d+ \(Ctrl-C ends it\)\n', first), first + process.stdout.read()
        with urllib.request.urlopen(first.split()[0]) as answer:
            assert answer.status == 200 and b'<html' in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0 and process.stdout.read() == 'ended\n'
    finally:
        process.kill()
        process.stdout.close()
