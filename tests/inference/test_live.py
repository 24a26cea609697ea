"""Live hands: a camera, played by a file, and by scripted images."""

import sys

import numpy as np
import pytest
from scripted_hands import moving_right_hand, numbered_image, session_of, write_video

from handpose.cli import live as live_command
from handpose.cli import main
from handpose.inference.live import LiveHands
from handpose.inference.refiner import load_refiner
from handpose.video import CameraReader, VideoFrame


class Clock:
    """Time that passes by 10 ms whenever someone looks."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        self.time += 0.01
        return self.time


def scripted_session():
    return session_of(moving_right_hand, keep=False)


def frames(count):
    return [VideoFrame(index, index / 30, numbered_image(index)) for index in range(count)]


def test_each_image_gives_both_hands_at_once():
    shown = list(LiveHands(frames(12), scripted_session()))
    assert [s.found.frame.index for s in shown] == list(range(12))
    assert all(s.predictions.valid.tolist() == [[False, True]] for s in shown)  # left, right
    expected = [s.found.hands[0].estimate.joints_2d for s in shown]
    np.testing.assert_allclose([s.predictions.joints_2d[0, 1] for s in shown], expected, atol=1e-4)


def test_smoothing_without_delay_is_that_of_the_whole_track():
    session, refiner = scripted_session(), load_refiner(method='one_euro', latency=0)
    shown = list(LiveHands(frames(30), session, refiner))
    whole = session_of(moving_right_hand)
    for frame in frames(30):
        whole.push(frame)
    expected = load_refiner(method='one_euro').refine(whole.finish())
    live = np.stack([s.predictions.joints[0, 1] for s in shown])
    np.testing.assert_allclose(live, expected.joints[:, 0], atol=1e-6)


def test_latencies_are_those_of_the_clock():
    live = LiveHands(frames(20), scripted_session(), clock=Clock())
    assert live.latencies().frames == 0
    list(live)
    found = live.latencies()
    assert found.frames == 20
    assert found.p50 == pytest.approx(0.01) and found.p95 == pytest.approx(0.01)
    assert found.per_second == pytest.approx(20 / 0.39)  # two looks at the clock for each image
    assert '20 images' in str(found) and 'p50 10 ms' in str(found)


def test_refiners_that_look_ahead_are_refused():
    with pytest.raises(ValueError, match=r'GaussianFilter needs later images.*one_euro'):
        LiveHands([], scripted_session(), load_refiner(method='gaussian', fps=30))


@pytest.fixture
def scripted_command(monkeypatch):
    """`handpose live` without networks."""
    monkeypatch.setattr(live_command, 'make_session', lambda networks, keep: scripted_session())


def test_the_command_with_a_file_as_camera(scripted_command, tmp_path, capsys):
    path = write_video(tmp_path / 'camera.avi', 25)
    main('live', ['--camera', str(path), '--no-window'])
    out = ' '.join(capsys.readouterr().out.split())
    assert '25 images' in out and 'p50' in out and 'p95' in out
    assert 'delivers no more frames after 25' in out  # the file ends, as if the camera was unplugged


def test_the_command_stops_after_a_time(scripted_command, tmp_path, capsys):
    path = write_video(tmp_path / 'camera.avi', 25)
    main('live', ['--camera', str(path), '--no-window', '--seconds', '0'])
    assert '1 images' in ' '.join(capsys.readouterr().out.split())


def test_without_a_display_and_without_a_camera(scripted_command, monkeypatch, tmp_path):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    if sys.platform == 'linux':
        with pytest.raises(SystemExit, match='there is no display; use --no-window'):
            main('live', ['--camera', 'x.avi'])
    with pytest.raises(SystemExit, match=r'camera .*missing\.avi.* cannot be opened'):
        main('live', ['--camera', str(tmp_path / 'missing.avi'), '--no-window'])


def test_a_file_posing_as_the_camera_is_read_by_the_reader(tmp_path):
    path = write_video(tmp_path / 'camera.avi', 6)
    with CameraReader(str(path)) as camera:
        live = LiveHands(camera, scripted_session())
        shown = []
        for item in live:
            shown.append(item)
            if len(shown) == 6:
                break
    assert all(s.predictions.valid[0, 1] for s in shown)
    assert all(np.diff([s.found.frame.time for s in shown]) > 0)  # times of arrival
