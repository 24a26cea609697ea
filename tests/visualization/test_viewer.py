"""The viewer: what it shows when, without a browser; and the page in a real one, if there is one."""

import importlib
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest
from browser import find_browser, open_page
from predicted_hands import make_predictions

from handpose.inference import load_refiner
from handpose.structures import PredictionsError
from handpose.structures.fitted_hands import fit_predictions
from handpose.video import SeekableVideo, VideoError, VideoWriter

pytest.importorskip('viser', reason="needs the extra 'view'")
viewer_module = importlib.import_module('handpose.visualization.viewer')
page_module = importlib.import_module('handpose.visualization.viewer_page')
CAMERA = [[400, 0, 160], [0, 400, 120], [0, 0, 1]]
TIMES = np.cumsum([0, 0.1, 0.1, 0.5, 0.1, 0.1, 0.1, 0.1])


@pytest.fixture
def open_viewer():
    """Makes viewers on free ports, which end with the test."""
    opened = []

    def make(predictions, refined=None, video=None):
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        opened.append(viewer_module.HandViewer(predictions, refined, video, title='test', port=port))
        return opened[-1]

    yield make
    for viewer in opened:
        viewer.stop()


def track(**options):
    """Eight frames of irregular times."""
    return replace(make_predictions(8, **options), timestamps=TIMES)


def save_video(path):
    with VideoWriter(path, 10) as writer:
        for t, time in enumerate(TIMES):
            writer.write(np.full((240, 320, 3), 30 * t, np.uint8), time)
    return path


def nodes(viewer, version='before'):
    """Of each hand: whether its bones are visible, and their ends (20, 2, 3)."""
    return [(line.visible, np.array(line.points)) for line in viewer._skeletons[version]._lines]


@pytest.mark.parametrize('frame', ['camera', 'wrist'])
@pytest.mark.parametrize('sides', [('right',), ('left', 'right')])
def test_the_scene_has_the_joints_of_the_frame(open_viewer, frame, sides):
    predictions = track(sides=sides, frame=frame, missing=[(2, 0), *[(5, h) for h in range(len(sides))]])
    viewer = open_viewer(predictions)
    for t in (0, 2, 5):
        viewer._show(t)
        for h, (visible, ends) in enumerate(nodes(viewer)):
            assert visible == predictions.valid[t, h]
            if visible:
                expected = predictions.joints[t, h, [0, 1]]
                np.testing.assert_allclose(ends[0, 1] - ends[0, 0], expected[1] - expected[0], atol=1e-6)
                if frame == 'camera':
                    np.testing.assert_allclose(ends[0], expected, atol=1e-6)
    words = viewer._text.content
    assert words.startswith('**frame 5** of 8, 0.900 s') and all(f'no {side} hand' in words for side in sides)
    if frame == 'wrist' and len(sides) == 2:  # moved apart
        viewer._show(0)
        assert nodes(viewer)[1][1][0, 0, 0] - nodes(viewer)[0][1][0, 0, 0] > 0.2


def test_joints_that_are_not_valid_have_no_bones(open_viewer):
    valid = np.ones((8, 1, 21), bool)
    valid[:, :, 4] = False
    viewer = open_viewer(replace(track(), joints_valid=valid))
    visible, ends = nodes(viewer)[0]
    assert visible and (ends[3] > 100).all() and (ends[2] < 1).all()


def test_before_after_and_mesh(open_viewer):
    before = track(missing=[3], noise=0.003)
    after = load_refiner(method='gaussian').refine(before)
    viewer = open_viewer(before, after)
    fitted = fit_predictions(after)
    viewer.add_meshes(fitted)
    viewer._show(3)
    (mesh,) = viewer._meshes._nodes
    assert [nodes(viewer, version)[0][0] for version in ('before', 'after')] == [False, True] and mesh.visible
    np.testing.assert_allclose(mesh.vertices, fitted.mesh(0, slice(3, 4))[0][0], atol=1e-6)
    assert 'right hand filled in' in viewer._text.content
    viewer._boxes['after'].value = viewer._mesh_box.value = False
    viewer._show(4)
    assert [nodes(viewer, version)[0][0] for version in ('before', 'after')] == [True, False] and not mesh.visible
    with pytest.raises(PredictionsError, match='must be of the same frames and hands: expected 8 frames'):
        open_viewer(before, after.select(slice(0, 5)))


def test_the_frame_of_the_video_with_and_without_hands(tmp_path, open_viewer):
    video = SeekableVideo(save_video(tmp_path / 'a.webm'))
    viewer = open_viewer(track(intrinsics=CAMERA, image_size=(320, 240)), video=video)
    for t in (6, 1, 3):
        viewer._show(t)
        assert abs(int(np.median(viewer._image.image)) - 30 * t) < 6
        assert np.ptp(viewer._image.image) > 80  # a hand
    viewer._overlay_box.value = False
    viewer._show(3)
    assert np.ptp(viewer._image.image) < 20
    beside = open_viewer(track(frame='wrist'), video=video)  # nothing can be drawn on it
    assert beside._overlay_box.disabled and np.ptp(beside._image.image) < 20
    with pytest.raises(ValueError, match='of images of 240x320 pixels'):
        open_viewer(track(intrinsics=CAMERA, image_size=(240, 320)), video=video)
    with pytest.raises(VideoError, match=r'last timestamp is 11\.10 s'):
        open_viewer(replace(track(), timestamps=TIMES + 10), video=video)


def test_playing_keeps_the_times_of_the_frames(open_viewer, monkeypatch):
    viewer = open_viewer(track())
    now = [100.0]
    monkeypatch.setattr(page_module.time, 'perf_counter', lambda: now[0])
    viewer._on_play()
    shown = []
    for step in range(26):  # every 50 ms
        now[0] = 100.0 + 0.05 * step + 1e-6
        viewer._step_playback()
        shown.append(viewer.frame)
    expected = np.searchsorted(TIMES, 0.05 * np.arange(26) + 1e-6, side='right') - 1
    assert shown == expected.tolist() and shown[-1] == 7 and viewer._slider.value == 7
    assert viewer._play.label == 'play' and viewer._playing_since is None  # it stops at the end
    viewer._on_play()  # and begins again
    viewer._speed.value = 0.5
    viewer._restart_clock()
    now[0] += 0.39
    viewer._step_playback()
    assert viewer.frame == 1


@pytest.fixture
def shown_page(tmp_path, open_viewer):
    """The page of two hands, before and after, with video and mesh, in a browser."""
    find_browser()
    before = track(sides=('left', 'right'), noise=0.002, intrinsics=CAMERA, image_size=(320, 240))
    before.joints[:, 0, :, 0] -= 0.1
    before.joints[:, 1, :, 0] += 0.1
    after = load_refiner(method='gaussian').refine(before)
    viewer = open_viewer(before, after, SeekableVideo(save_video(tmp_path / 'a.webm')))
    viewer.add_meshes(fit_predictions(after))
    thread = threading.Thread(target=viewer.run)
    thread.start()
    try:
        with open_page(viewer.url) as page:
            yield viewer, page
    finally:
        viewer.stop()
        thread.join(20)


def coloured(image):
    """The share of pixels that are clearly coloured, as hands are and the background and the grid are not."""
    return float((np.ptp(image.astype(int), axis=-1) > 40).mean())


def until(page, found, what):
    """The first screenshot for which `found` holds, the same twice in a row."""
    last = page.screenshot()
    for _ in range(60):
        image = page.screenshot()
        if found(image) and (image == last).all():
            return image
        last = image
    raise AssertionError(f'never seen: {what}')


def test_the_page_in_a_browser(shown_page):
    viewer, page = shown_page
    page.wait_for("document.body.innerText.includes('frame 0 of 8')")
    width = int(page.evaluate("document.querySelector('canvas').getBoundingClientRect().width"))
    scene = np.s_[200:, : width - 400]  # the panel and a notice of software rendering are outside
    first = until(page, lambda image: coloured(image[scene]) > 0.02, 'hands in the scene')
    assert first[scene].std() > 10
    page.evaluate("document.querySelector('[role=slider]').focus()")
    for _ in range(6):
        page.press('ArrowRight', 39)
    page.wait_for("document.body.innerText.includes('frame 6 of 8, 1.000 s')")
    moved = until(
        page,
        lambda image: (image[scene] != first[scene]).any(-1).mean() > 0.01 and coloured(image[scene]) > 0.02,
        'other hands in the scene',
    )
    panel = np.s_[60:300, width - 380 :] if width > 1000 else np.s_[60:300, width:]
    assert abs(np.median(moved[panel]) - np.median(first[panel])) > 60  # the frame of the video
    assert viewer.frame == 6 and int(viewer._slider.value) == 6
    page.evaluate("[...document.querySelectorAll('button')].find(b => b.innerText.includes('play')).click()")
    page.wait_for("document.body.innerText.includes('frame 7 of 8')")  # it played to the end


def test_an_mp4_of_ours_plays_in_a_browser(tmp_path):
    """H.264 needs a Chromium with that codec, as Debian's is."""
    pytest.importorskip('av')
    find_browser()
    with VideoWriter(tmp_path / 'a.mp4', 10) as writer:
        for t, time in enumerate(TIMES):
            writer.write(np.full((97, 161, 3), (200, 60, 20) if t < 3 else (20, 60, 200), np.uint8), time)
    (tmp_path / 'a.html').write_text('<body style="margin:0"><video src="a.mp4" muted></video>')
    with open_page((tmp_path / 'a.html').as_uri(), (640, 480)) as page:
        page.evaluate("window.video = document.querySelector('video'); 0")
        page.wait_for('video.readyState == 4 || video.error !== null')
        if page.evaluate("video.canPlayType('video/mp4; codecs=avc1.64000a')") == '':
            pytest.skip('this Chromium was built without H.264')
        assert page.evaluate('video.error === null') and page.evaluate('video.videoWidth') == 162
        assert page.evaluate('video.duration') == pytest.approx(1.2, abs=0.02)
        seek = 'new Promise(done => {{ video.onseeked = () => done(video.currentTime); video.currentTime = {} }})'
        for time, color in ((0.15, (200, 60, 20)), (0.65, (200, 60, 20)), (0.75, (20, 60, 200))):  # blue from 0.7 s on
            page.evaluate(seek.format(time))
            page.screenshot()  # the browser draws the new frame
            assert np.abs(page.screenshot()[20:80, 20:140].reshape(-1, 3).mean(0) - color).max() < 8
        assert page.evaluate('new Promise(done => { video.onended = () => done(true); video.play() })')
