"""The viewer of annotated recordings: what it shows when, marks, and the page in a real browser."""

import importlib
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest
from annotated_recordings import make_recording
from browser import find_browser, open_page
from rendered_recordings import save_camera_videos, triangulated_recording

from handpose.hands import ProceduralHand
from handpose.structures import PredictionsError
from handpose.structures.fitted_hands import recording_hands
from handpose.structures.recording_marks import MarksError, RecordingMark, load_recording_marks
from handpose.visualization.recording_images import RecordingImages

pytest.importorskip('viser', reason="needs the extra 'view'")
viewer_module = importlib.import_module('handpose.visualization.recording_viewer')
scene_module = importlib.import_module('handpose.visualization.recording_scene')


@pytest.fixture
def open_viewer(tmp_path):
    """Makes viewers on free ports, which end with the test."""
    opened = []

    def make(recording, folder='.', fitted=None):
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        images = RecordingImages(recording, folder)
        marks = tmp_path / 'r_marks.json'
        opened.append(viewer_module.RecordingViewer(recording, images, marks, fitted=fitted, title='test', port=port))
        return opened[-1]

    yield make
    for viewer in opened:
        viewer.stop()


@pytest.fixture(scope='module')
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp('rendered')
    recording = triangulated_recording(8, 3, missing=[(5, 8, 2, None)])
    return folder, replace(recording, videos=[path.name for path in save_camera_videos(folder, recording)])


def test_the_scene_has_cameras_and_hands(open_viewer):
    recording = make_recording(6, 3, distortion=(0.1, -0.05, 0.001, 0.002))
    viewer = open_viewer(recording)
    viewer._show(4)
    for h, line in enumerate(viewer._skeletons['hands']._lines):
        assert line.visible
        np.testing.assert_allclose(np.array(line.points)[0], recording.joints_3d[4, h, [0, 1]], atol=1e-6)
    assert not any(line.visible for line in viewer._skeletons['triangulated']._lines)
    for frustum, camera in zip(viewer._cameras._frusta, recording.calibration, strict=True):
        np.testing.assert_allclose(frustum.position, camera.position, atol=1e-6)
        w, x, y, z = frustum.wxyz
        forward = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
        np.testing.assert_allclose(forward, camera.extrinsics[2, :3], atol=1e-6)  # the optical axis in the world
        assert frustum.aspect == pytest.approx(640 / 480) and frustum.fov == pytest.approx(2 * np.arctan(240 / 500))
    viewer._camera.value = viewer._choices[2]
    viewer._boxes['triangulated'].value, viewer._cameras_box.value = True, False
    viewer._show(0)
    assert [tuple(f.color) == scene_module.CHOSEN_COLOR for f in viewer._cameras._frusta] == [False, True, False]
    assert not any(f.visible for f in viewer._cameras._frusta)
    assert all(line.visible for line in viewer._skeletons['triangulated']._lines)


def test_up_is_what_the_cameras_agree_on():
    calibration = make_recording(2, 4).calibration  # the ring's axis is y, which points down
    np.testing.assert_allclose(scene_module.upward(calibration), (0, -1, 0), atol=1e-6)
    for direction in ((0, 1, 0), (0, -1, 0), (0.6, 0, 0.8), (0.48, -0.6, 0.64)):
        w, x, y, z = scene_module._turn_y_to(np.array(direction, float))
        turned = [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)]
        np.testing.assert_allclose(turned, direction, atol=1e-9)


def test_images_of_all_cameras_or_of_one(open_viewer, rendered):
    folder, recording = rendered
    viewer = open_viewer(recording, folder)
    assert viewer._image.image.shape[1] == 2 * (480 // 2) + 6  # two columns
    viewer._camera.value = viewer._choices[1]
    viewer._show(2)
    drawn = viewer._image.image
    assert drawn.shape == (360, 480, 3)
    viewer._overlay_box.value = False
    viewer._show(2)
    assert (viewer._image.image != drawn).any()
    assert (np.abs(drawn.astype(int) - (86, 180, 233)).sum(-1) < 60).sum() > 200  # a left hand
    viewer._camera.value = viewer._choices[3]
    viewer._show(6)  # the third camera has no images any more
    assert np.median(viewer._image.image) == 40 and 'left hand: 2 of 3 views, error' in viewer._text.content
    lost = open_viewer(replace(recording, videos=['a <b>.mp4'] * 3), folder)
    assert 'cam0: ' in lost._text.content and 'a &lt;b&gt;.mp4' in lost._text.content


def test_marks_are_saved_listed_and_deleted(open_viewer, tmp_path):
    viewer = open_viewer(make_recording(10, 3))
    file = tmp_path / 'r_marks.json'
    viewer._show(4)
    viewer._take_frame('is the first')
    assert (viewer._first.value, viewer._last.value) == (4, 4)
    viewer._show(7)
    viewer._take_frame('is the last')
    viewer._marked_camera.value, viewer._action.value = viewer._choices[2], 'redo'
    viewer._on_mark()
    assert load_recording_marks(file).marks == (RecordingMark(4, 7, ('cam1',), 'redo'),)
    viewer._show(2)
    viewer._take_frame('is the last')  # before the first, which follows
    viewer._marked_camera.value = viewer._choices[0]
    viewer._on_mark()
    assert load_recording_marks(file).marks[1] == RecordingMark(2, 2, None, 'redo')
    assert 'frames 4 to 7, cam1: redo' in viewer._list.content and viewer._chosen_mark.options == ('1', '2')
    viewer._show(5)
    assert 'marked: frames 4 to 7, cam1: redo' in viewer._text.content
    viewer._chosen_mark.value = '1'
    viewer._on_delete()
    assert load_recording_marks(file).marks == (RecordingMark(2, 2, None, 'redo'),)
    viewer._first.value, viewer._last.value = 5, 3
    viewer._on_mark()
    assert 'not marked: the frames of a mark must be FIRST-LAST' in viewer._list.content and len(viewer.marks) == 1
    again = open_viewer(make_recording(10, 3))
    assert again.marks == viewer.marks
    with pytest.raises(MarksError, match='has only the frames 0 to 1'):
        open_viewer(make_recording(2, 3))


def test_the_mesh_of_a_fitted_hand(open_viewer):
    model = ProceduralHand()
    pose = np.random.default_rng(0).normal(0, 0.2, (6, 2, 16, 3))
    valid = np.ones((6, 2), bool)
    valid[3, 0] = False
    known = dict(hand_pose=pose, hand_shape=np.zeros((2, 10)), hand_transl=np.full((6, 2, 3), 0.1))
    recording = make_recording(6, 2, **known, hand_pose_valid=valid, hand_model=model.name)
    viewer = open_viewer(recording, fitted=recording_hands(recording, model))
    viewer._show(3)
    assert [node.visible for node in viewer._meshes._nodes] == [False, True]
    with pytest.raises(PredictionsError, match="it has those of 'MANO'"):
        recording_hands(replace(recording, hand_model='MANO'), model)
    with pytest.raises(PredictionsError, match='it has none'):
        recording_hands(make_recording(6, 2), model)


def test_the_page_in_a_browser(open_viewer, rendered, tmp_path):
    find_browser()
    folder, recording = rendered
    viewer = open_viewer(recording, folder)
    thread = threading.Thread(target=viewer.run)
    thread.start()
    try:
        with open_page(viewer.url, (1280, 1250)) as page:
            page.wait_for("document.body.innerText.includes('frame 0 of 8')")
            page.evaluate("document.querySelector('[role=slider]').focus()")
            for _ in range(3):
                page.press('ArrowRight', 39)
            page.wait_for("document.body.innerText.includes('frame 3 of 8')")
            for words in ('is the last', 'mark'):
                page.wait_for(f"[...document.querySelectorAll('button')].some(b => b.innerText == '{words}')")
                page.evaluate(f"[...document.querySelectorAll('button')].find(b => b.innerText == '{words}').click()")
                if words == 'is the last':
                    page.wait_for("[...document.querySelectorAll('input')].some(i => i.value == '3')")
            page.wait_for("document.body.innerText.includes('frames 0 to 3, all cameras: exclude')")
    finally:
        viewer.stop()
        thread.join(20)
    assert load_recording_marks(tmp_path / 'r_marks.json').marks == (RecordingMark(0, 3, None, 'exclude'),)
