"""The report on an annotated recording: its numbers, its page, and what it says of what is missing."""

import base64
import html.parser
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from annotated_recordings import make_recording
from browser import open_page
from rendered_recordings import save_camera_videos, triangulated_recording

from handpose.structures.recording_marks import RecordingMark, RecordingMarks
from handpose.visualization.recording_images import RecordingImages, crop_recording_image, reprojected_joints
from handpose.visualization.recording_report import recording_report, write_recording_report
from handpose.visualization.recording_statistics import (
    describe_quality,
    frames_without_hand,
    quantiles,
    recording_statistics,
    true_runs,
    worst_frames,
)

EVIL = '<img src=x onerror=alert(1)> & "cam"'


class PageText(html.parser.HTMLParser):
    """Checks that tags are closed and collects text, tags and images."""

    def __init__(self, page):
        super().__init__()
        self.open, self.words, self.tags, self.images = [], [], set(), []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == 'img':
            self.images.append(dict(attrs)['src'])
        if tag not in ('img', 'meta'):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def page_of(recording, **options):
    return PageText(recording_report(recording, RecordingImages(recording), **options))


@pytest.mark.parametrize('axes', [(0,), (1, 3), (0, 1, 2, 3)])
def test_quantiles_are_those_of_numpy(axes):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(7, 3, 2, 5))
    values[draw.uniform(size=values.shape) < 0.3] = np.nan
    expected = np.nanquantile(values, (0.1, 0.5, 0.95), axis=axes)
    np.testing.assert_allclose(quantiles(values, (0.1, 0.5, 0.95), axes), expected, atol=1e-12)
    assert np.isnan(quantiles(np.full(values.shape, np.nan), (0.5,), axes)).all()


def test_runs_of_a_mask():
    assert true_runs(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]
    assert true_runs(np.zeros(3, bool)) == [] and true_runs(np.ones(3, bool)) == [(0, 3)]


def test_the_numbers_are_those_of_the_recording():
    recording = make_recording(frames=20, cameras=3)  # detections are exact
    shifted = recording.joints_2d.copy()
    shifted[:, 1, 0, 4] += (3, 4)
    shifted[7, :, 1] += (0, 9)
    used = recording.views_used.copy()
    used[:10, 2] = False
    statistics = recording_statistics(replace(recording, joints_2d=shifted, views_used=used))
    np.testing.assert_allclose(statistics.joint_errors[:, 4], [0, 5, 0], atol=1e-2)
    assert statistics.frame_errors[7, 1] == pytest.approx(9, abs=1e-2) and statistics.median_error < 1e-2
    assert worst_frames(statistics, 2)[0] == 7
    np.testing.assert_allclose(statistics.kept, [1, 1, 0.5])
    assert (statistics.views[:10] == 2).all() and (statistics.views[10:] == 3).all()
    np.testing.assert_allclose(statistics.bone_lengths, np.median(recording.bone_lengths(), 0), rtol=1e-6)
    assert statistics.has_hand.all() and (statistics.detected == 1).all()


def test_worst_frames_are_apart():
    recording = make_recording(frames=200, cameras=2)
    shifted = recording.joints_2d.copy()
    for t, error in ((50, 9), (51, 8), (52, 7), (120, 6)):
        shifted[t] += (error, 0)
    assert worst_frames(recording_statistics(replace(recording, joints_2d=shifted)), 2) == [50, 120]


def test_what_is_unusual_is_said():
    recording = triangulated_recording(40, 4, missing=[(25, 40, 3, None), *[(10, 14, k, 0) for k in range(3)]])
    moved = recording.joints_2d.copy()
    moved[:, 1] += 12
    recording = replace(recording, joints_2d=moved)
    statistics = recording_statistics(recording)
    words = ' '.join(describe_quality(recording, statistics))
    assert 'Camera cam1 does not fit the others: its median error is' in words and words.count('does not fit') == 1
    assert 'Camera cam3 has no images from frame 25 to the end.' in words
    assert 'The left hand was found by one camera only in 4 frames (10 %)' in words
    assert frames_without_hand(recording, statistics, 3) == [(11, 0)]
    assert describe_quality(*(lambda r: (r, recording_statistics(r)))(make_recording())) == []


@pytest.fixture(scope='module')
def rendered(tmp_path_factory):
    """A recording with videos, in which one camera sees a hand at a wrong place for a while."""
    folder = tmp_path_factory.mktemp('rendered')
    recording = triangulated_recording(16, 3, missing=[(10, 16, 2, None), (4, 6, 0, 1), (4, 6, 1, 1)])
    wrong = recording.joints_2d.copy()
    wrong[12, 1, 0] += 15
    videos = [path.name for path in save_camera_videos(folder, recording)]
    return folder, replace(recording, joints_2d=wrong, videos=videos)


def test_the_page_has_everything(rendered, tmp_path):
    folder, recording = rendered
    recording = replace(recording, notes=['the videos differ in length'])
    marks = RecordingMarks([RecordingMark(3, 5, ('cam1',))])
    notes = write_recording_report(
        tmp_path / 'r.html', recording, title='kitchen.npz', folder=folder, marks=marks, worst=3
    )
    text = (tmp_path / 'r.html').read_text()
    page = PageText(text)
    words = ' '.join(page.words)
    assert notes == [] and len(text) < 250_000
    for expected in ('kitchen.npz', 'Method: triangulation', 'cam2: no image', 'frames 3 to 5, cam1: exclude'):
        assert expected in words
    assert 'the videos differ in length' in words and 'Frame 12, 0.40 s: left hand, error' in words
    assert 'Frame 4, 0.13 s: right hand, not in 3D, detected in 1 of 3 views' in words
    jpegs = [image for image in page.images if image.startswith('data:image/jpeg')]
    assert len(jpegs) == sum((recording.frame_indices[t] >= 0).sum() for t in (*worst_of(recording, 3), 4))
    image = cv2.imdecode(np.frombuffer(base64.b64decode(jpegs[0].partition(',')[2]), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (240, 240, 3) and image.std() > 10


def worst_of(recording, count):
    return worst_frames(recording_statistics(recording), count)


def test_nothing_is_loaded_and_names_are_only_text(rendered):
    _, recording = rendered
    cameras = [replace(camera, name=f'{EVIL}{k}') for k, camera in enumerate(recording.calibration)]
    recording = replace(
        recording, calibration=type(recording.calibration)(cameras), method=EVIL, notes=[EVIL], videos=[EVIL] * 3
    )
    page = page_of(recording, title=EVIL, worst=2, marks=RecordingMarks([RecordingMark(0, 1, (f'{EVIL}0',))]))
    assert not page.tags & {'script', 'link', 'iframe', 'object', 'a', 'form'}
    assert all(image.startswith('data:image/') for image in page.images)
    assert ' '.join(page.words).count(EVIL) > 10


def test_missing_videos_are_said(rendered, tmp_path):
    folder, recording = rendered
    recording = replace(recording, videos=['view0.avi', 'gone.mp4', 'view2.avi'])
    notes = write_recording_report(tmp_path / 'r.html', recording, folder=folder, worst=1)
    assert len(notes) == 1 and 'no images of camera cam1 in the report' in notes[0] and 'gone.mp4' in notes[0]
    page = PageText((tmp_path / 'r.html').read_text())
    assert 'No images of camera cam1' in ' '.join(page.words)
    with pytest.raises(ValueError, match=r'must end in \.html'):
        write_recording_report(tmp_path / 'r.pdf', recording)


def test_videos_are_found_next_to_the_file_and_in_a_folder(rendered, tmp_path):
    folder, recording = rendered
    away = replace(recording, videos=[f'/nowhere/{name}' for name in recording.videos])
    for images in (
        RecordingImages(away, folder),
        RecordingImages(away, tmp_path, folder),
        RecordingImages(recording, folder),
    ):
        assert images.read(3, 1) is not None and images.problems == {}
        assert images.read(12, 2) is None and images.problems == {}  # a gap
    images = RecordingImages(away, tmp_path)
    assert images.read(3, 1) is None and list(images.problems) == ['cam1']
    smaller = [camera.resized((160, 120)) for camera in recording.calibration]
    images = RecordingImages(replace(recording, calibration=type(recording.calibration)(smaller)), folder)
    assert images.read(3, 0) is None and '320x240 pixels, and the camera was calibrated with 160x120' in str(
        images.problems
    )


def test_crops_show_the_hand(rendered):
    folder, recording = rendered
    image = RecordingImages(recording, folder).read(3, 1)
    crop = crop_recording_image(image, recording, 3, 1, 0, 200)
    assert crop.shape == (200, 200, 3)
    blue = (np.abs(crop.astype(int) - (86, 180, 233)).sum(-1) < 60).sum()
    assert blue > 300 and (crop > 250).all(-1).sum() > 50  # detections, and the thin result
    gone = replace(recording, joints_valid=np.zeros_like(recording.joints_valid))
    assert np.isnan(reprojected_joints(gone, 3, 1)).all()
    np.testing.assert_allclose(
        reprojected_joints(recording, 3, 1), recording.project(recording.joints_3d)[3, 1], atol=1e-6
    )


def test_a_recording_without_any_hand_has_a_report():
    empty = np.zeros((5, 2, 1), bool)
    recording = make_recording(
        5,
        2,
        sides=(1,),
        joints_2d_valid=empty,
        joints_valid=np.zeros((5, 1, 21), bool),
        views_used=empty[..., None] & np.ones(21, bool),
    )
    words = ' '.join(page_of(recording, worst=4).words)
    assert '0.0 %' in words and re.search(r'\bnan\b', words) is None


def test_the_report_in_a_browser(rendered, tmp_path):
    """Every image is decoded, and the page is not wider than the window."""
    pytest.importorskip('websockets', reason='the browser is driven through websockets')
    folder, recording = rendered
    write_recording_report(tmp_path / 'r.html', recording, folder=folder, worst=2)
    with open_page((tmp_path / 'r.html').as_uri(), (900, 700)) as page:
        assert page.evaluate('[...document.images].every(image => image.complete && image.naturalWidth > 0)')
        assert page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')
        assert page.evaluate("getComputedStyle(document.querySelector('.tiles')).display") == 'grid'
