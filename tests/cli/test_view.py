"""`handpose view`: what a user runs."""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.structures import save_predictions
from handpose.video import save_clip_video

ROOT = Path(__file__).parents[2]


def view(*arguments):
    return subprocess.Popen(
        [sys.executable, '-u', '-m', 'handpose', 'view', *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def hands(tmp_path):
    camera = [[300, 0, 160], [0, 300, 120], [0, 0, 1]]
    save_predictions(tmp_path / 'hands.npz', make_predictions(10, intrinsics=camera, image_size=(320, 240)))
    return tmp_path / 'hands.npz'


def test_the_page_is_served_until_ctrl_c(tmp_path, hands):
    pytest.importorskip('viser', reason="needs the extra 'view'")
    save_clip_video(tmp_path / 'video.webm', [np.full((240, 320, 3), 90, np.uint8)] * 10, fps=30)
    process = view(hands, '--video', tmp_path / 'video.webm', '--refined', hands, '--no-browser', '--port', 18080)
    try:
        first, mesh = process.stdout.readline(), process.stdout.readline()
        assert re.fullmatch(r'http://127\.0\.0\.1:\d+ \(Ctrl-C ends it\)\n', first), first + process.stdout.read()
        assert re.fullmatch(r'mesh: \d+\.\d mm from the joints \(median\)\n', mesh), mesh
        with urllib.request.urlopen(first.split()[0]) as answer:
            assert answer.status == 200 and b'<html' in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0 and process.stdout.read() == 'ended\n'
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['none.npz'], 'there is no predictions file'),
        (['hands.npz', '--video', 'none.mp4'], 'video none.mp4 does not exist'),
        (['hands.npz', '--refined', 'none.npz'], 'there is no predictions file'),
        (['hands.npz', '--port', '99999'], '--port must be from 1 to 65535, got 99999'),
    ],
)
def test_what_cannot_be_shown_is_an_error_message(tmp_path, hands, arguments, words):
    pytest.importorskip('viser', reason="needs the extra 'view'")
    process = view(*(hands if argument == 'hands.npz' else argument for argument in arguments), '--no-browser')
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and words in said and 'Traceback' not in said, said


def test_without_viser_the_message_names_the_extra(hands):
    code = 'import sys; sys.modules["viser"] = None; from handpose.cli import main; main(None, sys.argv[1:])'
    done = subprocess.run([sys.executable, '-c', code, 'view', hands], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'handpose[view]'" in done.stderr and 'Traceback' not in done.stderr
