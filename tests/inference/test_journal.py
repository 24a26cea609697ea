"""Interrupted jobs go on where they were, and give the same hands bit by bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import run_scripted_job
from scripted_hands import Hand, moving_right_hand, session_of, two_hands, write_video

import handpose
from handpose.inference import video_hands
from handpose.inference.journal import Journal, JournalError
from handpose.inference.session import Session
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.video_hands import JOURNAL_IMAGES, find_hands
from handpose.inference.video_job import VideoJob, run_job
from handpose.structures import load_predictions

HELPERS = Path(run_scripted_job.__file__).parent
SETTINGS = dict(video='a.mp4', fps=None, bytes=1234, modified=1.25)


def changing_hands(number):
    """Hands that come, go, jump, and are doubtful: everything that a tracker remembers."""
    hands = [Hand(30 + 5 * np.sin(0.1 * number), 40, right=0.4 + 0.3 * np.sin(number))] * (number % 45 < 38)
    uncertain = [Hand(100, 12, 10, presence=0.55)] * (200 <= number < 220)
    return (
        hands
        + uncertain
        + [Hand(70 + number % 30, 38, right=0.1, presence=0.4 + 0.3 * (number % 3))] * (number % 90 > 20)
    )


def assert_equal(a, b):
    assert vars(a).keys() == vars(b).keys()
    for name, value in vars(a).items():
        np.testing.assert_array_equal(value, vars(b)[name], err_msg=name)


class StopError(Exception):
    """Stands for whatever ends a process."""


def stop_at(index):
    def stop(found):
        if found.frame.index == index:
            raise StopError

    return stop


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp('video') / 'a.avi', 330)


@pytest.mark.parametrize('stops', [[99], [100], [101, 250], [40, 230, 329]])
def test_resumed_runs_are_equal(tmp_path, video, stops):
    expected = find_hands(video, session_of(changing_hands))
    for index in stops:
        with pytest.raises(StopError):
            find_hands(
                video, session_of(changing_hands), journal=Journal(tmp_path / 'j', SETTINGS), on_frame=stop_at(index)
            )
    pushed = []
    resumed = find_hands(
        video,
        session_of(changing_hands),
        journal=Journal(tmp_path / 'j', SETTINGS),
        on_frame=lambda found: pushed.append(found.frame.index),
    )
    assert_equal(resumed.predictions, expected.predictions)
    assert resumed.notes == expected.notes and len(expected.notes) > 0
    assert resumed.resumed == max(stops) // JOURNAL_IMAGES * JOURNAL_IMAGES
    assert pushed == list(range(resumed.resumed, 330))


def test_a_finished_journal_needs_no_image_again(tmp_path, video):
    """As when the refiner or the disk failed after the last image."""
    first = find_hands(video, session_of(changing_hands), journal=Journal(tmp_path / 'j', SETTINGS))
    session = session_of(changing_hands)
    again = find_hands(video, session, journal=Journal(tmp_path / 'j', SETTINGS))
    assert again.resumed == 330 and session.detector.calls == 0
    assert_equal(again.predictions, first.predictions)


def start(video, out):
    environment = {**os.environ, 'PYTHONPATH': str(Path(handpose.__file__).parents[1])}
    command = [sys.executable, str(HELPERS / 'run_scripted_job.py'), str(video), str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize('kind', [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_ended(tmp_path, video, kind):
    out, journal = tmp_path / 'a.npz', tmp_path / 'a.npz.partial'
    process = start(video, out)
    wait_for(journal / 'images_00000100.npz', process)
    process.send_signal(kind)
    message = process.communicate(timeout=60)[1]
    assert not out.exists()
    parts = sorted(journal.glob('images_*.npz'))
    counts = [len(TrackRecords.load(path)) for path in parts]
    if kind is signal.SIGINT:  # the images since the last part are written too
        assert process.returncode == 1 and message.startswith('interrupted; the hands of ')
        assert f'of {sum(counts)} images are in {journal}; the same command goes on from there' in message
        assert sum(counts) < 330
    else:
        assert process.returncode == -signal.SIGKILL and counts == [100] * len(counts)
    report = run_job(VideoJob(str(video), out), session=session_of(two_hands))
    assert report.processed == 330 - sum(counts)
    run_job(VideoJob(str(video), tmp_path / 'b.npz'), session=session_of(two_hands))
    assert_equal(load_predictions(out), load_predictions(tmp_path / 'b.npz'))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.npz', 'b.npz']


def write_journal(folder, session=None, counts=(100, 100)):
    journal = Journal(folder, SETTINGS)
    journal.load()
    for count in counts:
        journal.append(TrackRecords.of_frames([i / 30 for i in range(count)], [True] * count, [[]] * count))
    return journal


def test_a_journal_is_read_back(tmp_path):
    write_journal(tmp_path / 'j', counts=(100, 37, 1))
    (tmp_path / 'j' / '.writing-images_00000138.npz.0a1b2c3d').write_bytes(b'what a killed process left')
    journal = Journal(tmp_path / 'j', SETTINGS)
    assert len(journal.load()) == journal.count == 138
    assert sorted(path.name for path in (tmp_path / 'j').iterdir()) == [
        'images_00000000.npz',
        'images_00000100.npz',
        'images_00000137.npz',
        'settings.json',
    ]
    journal.remove()
    assert not (tmp_path / 'j').exists()
    journal.remove()


@pytest.mark.parametrize(
    ('changes', 'names'),
    [
        (dict(video='b.mp4'), 'video'),
        (dict(bytes=99, modified=2.0), 'bytes, modified'),
        (dict(fps=10.0), 'fps'),
        (dict(other='a'), 'other'),
    ],
)
def test_a_journal_of_another_run_is_refused(tmp_path, changes, names):
    write_journal(tmp_path / 'j')
    with pytest.raises(
        JournalError, match=f'j holds the beginning of another run, with other {names}; delete the folde'
    ):
        Journal(tmp_path / 'j', {**SETTINGS, **changes})
    assert Journal(tmp_path / 'j', SETTINGS).load()  # nothing was changed


def test_another_video_of_the_same_output_is_refused(tmp_path):
    out = tmp_path / 'a.npz'
    for name, count in (('a.avi', 120), ('b.avi', 130)):
        write_video(tmp_path / name, count)
    with pytest.raises(StopError):
        job = VideoJob(str(tmp_path / 'a.avi'), out)
        run_job(job, lambda step, done, total: stop_at_time(done, 3.9), session_of(moving_right_hand))
    with pytest.raises(
        JournalError, match=r'a\.npz\.partial holds the beginning of another run, with other bytes, modi'
    ):
        run_job(VideoJob(str(tmp_path / 'b.avi'), out), session=session_of(moving_right_hand))
    assert (tmp_path / 'a.npz.partial' / 'images_00000000.npz').exists() and not out.exists()


def stop_at_time(done, seconds):
    if done >= seconds:
        raise StopError


def test_a_journal_without_settings_is_refused(tmp_path):
    write_journal(tmp_path / 'j')
    (tmp_path / 'j' / 'settings.json').unlink()
    with pytest.raises(JournalError, match=r'j lacks settings\.json, so its run is unknown; delete the folder'):
        Journal(tmp_path / 'j', SETTINGS)


@pytest.mark.parametrize('content', ['', '{"video": ', '[1]', '\xff'])
def test_damaged_settings(tmp_path, content):
    write_journal(tmp_path / 'j')
    (tmp_path / 'j' / 'settings.json').write_text(content, 'latin-1')
    with pytest.raises(JournalError, match=r'settings\.json .*; delete the folder .*j to begin again'):
        Journal(tmp_path / 'j', SETTINGS)


def test_a_damaged_part(tmp_path):
    write_journal(tmp_path / 'j')
    part = tmp_path / 'j' / 'images_00000100.npz'
    part.write_bytes(part.read_bytes()[:300])
    with pytest.raises(ValueError, match=r'images_00000100\.npz .*damaged.*; delete it; the images are then processed'):
        Journal(tmp_path / 'j', SETTINGS).load()
    part.unlink()
    assert len(Journal(tmp_path / 'j', SETTINGS).load()) == 100


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(JournalError, match=r'file.j cannot be written: .*; choose another output'):
        Journal(tmp_path / 'file' / 'j', SETTINGS).load()


def test_settings_are_plain_json(tmp_path, video):
    with pytest.raises(StopError):
        run_job(
            VideoJob(str(video), tmp_path / 'a.npz', networks='lite'),
            lambda step, done, total: stop_at_time(done, 4),
            session_of(two_hands),
        )
    found = json.loads((tmp_path / 'a.npz.partial' / 'settings.json').read_text())
    assert found['video'] == str(video) and found['networks'] == 'lite' and found['bytes'] == video.stat().st_size


def test_a_restored_session_needs_no_earlier_images(video):
    """`restore` and `push` give what pushing everything gives, whichever image they meet at."""
    frames = list(video_hands.open_source(video))[:120]
    whole = session_of(changing_hands)
    for frame in frames:
        whole.push(frame)
    records = whole.records()
    for count in range(1, 120, 7):
        session: Session = session_of(changing_hands)
        session.restore(TrackRecords.concatenate([first_images(records, count)]), whole.image_size)
        for frame in frames[count:]:
            session.push(frame)
        found = session.records()
        for name, value in vars(records).items():
            np.testing.assert_array_equal(vars(found)[name], value, err_msg=f'{name} {count}')


def first_images(records, count):
    kept = records.frame < count
    columns = {
        name: value[:count] if name in ('times', 'detected') else value[kept] for name, value in vars(records).items()
    }
    return TrackRecords(**columns)
