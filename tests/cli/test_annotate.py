"""`handpose annotate` with scripted hands: one recording, many, what is printed, exit codes."""

import shutil

import pytest
from scripted_cameras import scripted_recording

from handpose.cli import main
from handpose.inference.annotation import job
from handpose.structures.recording_file import load_annotated_recording


@pytest.fixture
def scene(tmp_path, monkeypatch):
    found = scripted_recording(tmp_path / 'recs' / 'a', frames=16, cameras=2, sides=(1,))
    monkeypatch.setattr(job, 'make_session', lambda networks: found.session())
    return found


def annotate(*words):
    main('annotate', [str(word) for word in words])


def test_a_recording(tmp_path, scene, capsys):
    folder = tmp_path / 'recs' / 'a'
    annotate(folder, '--calibration', folder / 'calibration.json', '-o', tmp_path / 'r.npz', '--outputs', 'motion')
    text = ' '.join(capsys.readouterr().out.split())
    assert '16 frames' in text and 'cam1 16 16 0.00' in text
    assert 'right hand: all joints in 16 of 16 frames; reprojection error 0.00 px (median)' in text
    assert f'written: {tmp_path / "r.npz"}, {tmp_path / "r_motion.npz"}' in text
    assert load_annotated_recording(tmp_path / 'r.npz').videos[0].endswith('cam0.avi')


def test_many_recordings(tmp_path, scene, capsys, monkeypatch):
    """A calibration in each folder; one recording is broken; the second process of two has the second one only."""
    recordings, out = tmp_path / 'recs', tmp_path / 'out'
    for name in 'bc':
        shutil.copytree(recordings / 'a', recordings / name)
    (recordings / 'b' / 'cam1.avi').write_bytes(b'no video')
    words = [recordings, '--calibration', 'calibration.json', '-o', out, '--outputs']
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '3')
    with pytest.raises(SystemExit, match='1 of 1 recordings failed'):
        annotate(*words)
    assert 'cam1.avi cannot be read as a video' in capsys.readouterr().err and not list(out.glob('*.npz'))
    monkeypatch.setenv('RANK', '2')
    annotate(*words)
    assert [path.name for path in out.glob('*.npz')] == ['c.npz']
    monkeypatch.delenv('RANK')
    monkeypatch.delenv('WORLD_SIZE')
    with pytest.raises(SystemExit, match='1 of 2 recordings failed; the results of the others are written'):
        annotate(*words)
    assert sorted(path.name for path in out.glob('*.npz')) == ['a.npz', 'c.npz']
    assert '1 recordings have their result already' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--rounds', '2'], '--rounds goes with --model'),
        (['--offsets', 'cam1'], "--offsets must be like right=0.35, got 'cam1'"),
    ],
)
def test_wrong_usage(tmp_path, scene, capsys, words, message):
    folder = tmp_path / 'recs' / 'a'
    with pytest.raises(SystemExit) as exit_info:
        annotate(folder, '--calibration', 'calibration.json', '-o', tmp_path / 'r.npz', *words)
    assert exit_info.value.code == 2 and message in capsys.readouterr().err


def test_several_recordings_need_a_folder(tmp_path, scene, capsys):
    shutil.copytree(tmp_path / 'recs' / 'a', tmp_path / 'recs' / 'b')
    with pytest.raises(SystemExit):
        annotate(tmp_path / 'recs', '--calibration', 'calibration.json', '-o', tmp_path / 'r.npz')
    assert 'holds 2 recordings: -o must be a folder' in capsys.readouterr().err
