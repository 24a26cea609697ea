"""`handpose infer` with scripted hands: folders, names, exit codes, what is printed."""

import numpy as np
import pytest
from scripted_hands import moving_right_hand, session_of, two_hands, write_video

from handpose.cli import main
from handpose.inference import video_job
from handpose.structures import load_predictions
from handpose.video import VideoReader


def use_script(monkeypatch, script):
    monkeypatch.setattr(
        video_job, 'make_session', lambda networks, estimator, licence: session_of(script, licence=licence)
    )


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    use_script(monkeypatch, two_hands)


def infer(*words):
    main('infer', [str(word) for word in words])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_video(tmp_path, capsys):
    video = write_video(tmp_path / 'a.avi', 40)
    infer(video, '-o', tmp_path / 'a.npz', '--draw', tmp_path / 'b.avi', '--licence', 'CC0')
    output = capsys.readouterr().out
    text = ' '.join(output.split())  # lines are broken at the width of the terminal
    assert '40 images; 40 processed in ' in text and '(scale: relative)' in text
    rows = [line.split() for line in output.splitlines() if line.strip().startswith(('left', 'right'))]
    assert [row[:5] for row in rows] == [['left', '40', 'of', '40', '1'], ['right', '40', 'of', '40', '1']]
    assert f'written: {tmp_path / "a.npz"}, {tmp_path / "b.avi"}' in text
    assert load_predictions(tmp_path / 'a.npz').licence == 'CC0'


def test_a_folder(tmp_path, capsys):
    """Two videos of one stem keep their suffix; videos that have their result are left out the second time."""
    folder, out, drawn = tmp_path / 'videos', tmp_path / 'hands', tmp_path / 'drawn'
    folder.mkdir()
    for name in ('a.avi', 'b.avi', 'b.webm'):
        write_video(folder / name, 12)
    (folder / 'notes.txt').write_text('')
    infer(folder, '-o', out)
    assert names(out) == ['a.npz', 'b.avi.npz', 'b.webm.npz']
    assert '3 of 3: ' in capsys.readouterr().out
    (out / 'a.npz').unlink()
    infer(folder, '-o', out)
    output = capsys.readouterr().out
    assert '1 of 1: ' in output and 'a.avi' in output and names(out)[0] == 'a.npz'
    infer(folder, '-o', out)
    assert 'every video has its result already' in capsys.readouterr().out
    pytest.importorskip('av')
    infer(folder, '-o', out, '--draw', drawn)
    assert names(drawn) == ['a.mp4', 'b.avi.mp4', 'b.webm.mp4']
    assert len(list(VideoReader(drawn / 'a.mp4'))) == 12


def test_a_name_that_another_video_would_get(tmp_path):
    folder = tmp_path / 'videos'
    folder.mkdir()
    for name in ('b.avi', 'b.webm', 'b.avi.avi'):
        write_video(folder / name, 3)
    infer(folder, '-o', tmp_path / 'hands')
    assert names(tmp_path / 'hands') == ['b.avi.avi.npz', 'b.avi.npz', 'b.webm.npz']


@pytest.mark.parametrize('processes', [1, 2])
def test_a_broken_video_among_good_ones(tmp_path, capsys, monkeypatch, processes):
    folder, out = tmp_path / 'videos', tmp_path / 'hands'
    folder.mkdir()
    for name in ('a.avi', 'c.avi'):
        write_video(folder / name, 6)
    (folder / 'b.mp4').write_bytes(b'no video at all')
    if processes > 1:  # a process of its own knows nothing of the stand-in: all fail, each with its message
        monkeypatch.setenv('HANDPOSE_CACHE', str(tmp_path / 'cache'))
        monkeypatch.setenv('HANDPOSE_OFFLINE', '1')
    with pytest.raises(SystemExit) as exit:
        infer(folder, '-o', out, '--processes', processes)
    captured = capsys.readouterr()
    if processes > 1:
        assert str(exit.value) == 'error: 3 of 3 videos failed; the results of the others are written'
        assert captured.err.count('HANDPOSE_OFFLINE forbids downloads') == 3 and not list(out.glob('*.npz'))
        return
    assert str(exit.value) == 'error: 1 of 3 videos failed; the results of the others are written'
    assert f'2 of 3: {folder / "b.mp4"} failed: {folder / "b.mp4"} cannot be read as a video' in captured.err
    assert '1 of 3: ' in captured.out and '3 of 3: ' in captured.out
    assert names(out) == ['a.npz', 'c.npz']


def test_drawing_over_the_videos_of_a_folder_is_refused(tmp_path, capsys):
    pytest.importorskip('av')
    video = write_video(tmp_path / 'a.mp4', 5)
    before = video.read_bytes()
    with pytest.raises(SystemExit, match='1 of 1 videos failed'):
        infer(tmp_path, '-o', tmp_path / 'hands', '--draw', tmp_path)
    assert 'is the video itself; give another name for the drawn one' in capsys.readouterr().err
    assert video.read_bytes() == before


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['a.avi', '-o', 'a.npz', '--seconds', '3'], '--seconds goes with a camera'),
        (['a.avi', '-o', 'a.npz', '--processes', '0'], '--processes must be at least 1, got 0'),
        (['.', '-o', 'a.npz'], 'is a folder with 1 videos: -o must be a folder too'),
        (['.', '-o', 'hands', '--draw', 'a.mp4'], 'is a folder with 1 videos: --draw must be a folder too'),
        (['a.avi'], 'the following arguments are required: -o/--out'),
        (['a.avi', '-o', 'a.npz', '--networks', 'huge'], "invalid choice: 'huge'"),
    ],
)
def test_wrong_usage(tmp_path, monkeypatch, capsys, words, message):
    write_video(tmp_path / 'a.avi', 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        infer(*words)
    assert exit.value.code == 2 and message in capsys.readouterr().err
    assert names(tmp_path) == ['a.avi']


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['b.avi', '-o', 'a.npz'], 'error: video b.avi does not exist'),
        (['a.avi', '-o', 'a.json'], 'error: a.json: a predictions file must end in .npz'),
        (['a.avi', '-o', 'a.npz', '--draw', 'b.gif'], 'error: b.gif: the name of a video must end in one of'),
        (['a.avi', '-o', 'a.avi/a.npz'], r'error: a.avi/a.npz cannot be written: '),
        (['empty', '-o', 'a.npz'], 'error: empty contains no images'),
        (['97', '-o', 'a.npz'], 'error: camera 97 cannot be opened'),
        (['a.avi', '-o', 'a.npz', '--camera', 'K.json'], 'error: K.json does not exist; a camera file is JSON'),
    ],
)
def test_errors_of_the_user(tmp_path, monkeypatch, words, message):
    write_video(tmp_path / 'a.avi', 2)
    (tmp_path / 'empty').mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        infer(*words)
    assert str(exit.value).startswith(message)
    assert names(tmp_path) == ['a.avi', 'empty']


def test_no_hand(tmp_path, monkeypatch):
    use_script(monkeypatch, lambda t: [])
    with pytest.raises(SystemExit, match=r'error: .*a\.avi: no hand was found in 5 frames, so .* was not written'):
        infer(write_video(tmp_path / 'a.avi', 5), '-o', tmp_path / 'a.npz')


def test_notes_are_printed(tmp_path, monkeypatch, capsys):
    use_script(monkeypatch, lambda t: [*two_hands(t), *moving_right_hand(t)])
    infer(write_video(tmp_path / 'a.avi', 12), '-o', tmp_path / 'a.npz')
    assert 'note: track 2 (right, 12 frames) was dropped: a second right hand' in capsys.readouterr().out


def test_ctrl_c_in_a_folder(tmp_path, monkeypatch, capsys):
    """Videos before are written, the interrupted one goes on when the same command is given again."""
    folder, out = tmp_path / 'videos', tmp_path / 'hands'
    folder.mkdir()
    for name in ('a.avi', 'b.avi'):
        write_video(folder / name, 150)
    calls = []

    def interrupting(number):
        calls.append(number)
        if len(calls) == 150 + 120:
            raise KeyboardInterrupt
        return two_hands(number)

    use_script(monkeypatch, interrupting)
    with pytest.raises(SystemExit) as exit:
        infer(folder, '-o', out)
    assert exit.value.code == 130
    assert 'the same command goes on from there' in capsys.readouterr().err
    assert names(out) == ['a.npz', 'b.npz.partial']
    use_script(monkeypatch, two_hands)
    infer(folder, '-o', out)
    assert names(out) == ['a.npz', 'b.npz']
    a, b = (load_predictions(out / name) for name in names(out))
    np.testing.assert_array_equal(a.joints, b.joints)
