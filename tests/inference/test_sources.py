"""What `open_source` makes of paths and numbers."""

import cv2
import numpy as np
import pytest
from scripted_hands import number_of, numbered_image, write_video

from handpose.inference.sources import is_camera, open_source, videos_in
from handpose.video import CameraReader, VideoError, VideoReader
from handpose.video.images import ImageReader


def write_images(folder, count, ending='.png'):
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f'{number:03d}{ending}'), numbered_image(number))
    return folder


@pytest.mark.parametrize('source', [0, 2, '0', '12', '/dev/video2'])
def test_cameras(source):
    assert is_camera(source)


@pytest.mark.parametrize('source', ['a.mp4', './0', 'video0', '-1', '0.mp4', '/dev/null'])
def test_no_cameras(source):
    assert not is_camera(source)


def test_a_camera_that_is_not_there():
    with pytest.raises(VideoError, match='camera 97 cannot be opened; check that it is connected'):
        open_source('97')


def test_a_camera(monkeypatch):
    opened = []
    monkeypatch.setattr(CameraReader, '__init__', lambda self, device: opened.append(device))
    for source in (1, '2', '/dev/video3'):
        assert isinstance(open_source(source), CameraReader)
    assert opened == [1, 2, '/dev/video3']


def test_a_video(tmp_path):
    reader = open_source(write_video(tmp_path / 'a.avi', 5))
    assert isinstance(reader, VideoReader)
    assert [number_of(frame.image) for frame in reader] == [0, 1, 2, 3, 4]


def test_a_folder_of_images(tmp_path):
    """In the order of their names; other files and hidden ones, as macOS leaves them, are ignored."""
    folder = write_images(tmp_path / 'images', 12)
    (folder / 'notes.txt').write_text('a')
    (folder / '._003.png').write_bytes(b'x')
    reader = open_source(folder, 10)
    assert isinstance(reader, ImageReader) and reader.duration == pytest.approx(1.2)
    assert [number_of(frame.image) for frame in reader] == list(range(12))


def test_an_image(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.JPG'), numbered_image(5))
    assert [number_of(frame.image) for frame in open_source(str(tmp_path / 'a.JPG'))] == [5]


def test_a_folder_without_images(tmp_path):
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(VideoError, match=r'contains no images \(\.bmp.*must hold videos \(\.avi.*or the images of one'):
        open_source(tmp_path)


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(VideoError, match=r'video .*nothing\.mp4 does not exist'):
        open_source(tmp_path / 'nothing.mp4')
    with pytest.raises(VideoError, match=r'nothing\.png does not exist'):
        list(open_source(tmp_path / 'nothing.png'))


def test_videos_of_a_folder(tmp_path):
    for name in ('b.MP4', 'a.avi', 'c.webm', 'd.png', '.e.mp4', '._a.avi'):
        (tmp_path / name).write_bytes(b'')
    (tmp_path / 'folder.mp4').mkdir()
    assert [path.name for path in videos_in(tmp_path)] == ['a.avi', 'b.MP4', 'c.webm']
    assert videos_in(tmp_path / 'folder.mp4') == [] and videos_in(tmp_path / 'missing') == []


def test_numbers_survive_codecs(tmp_path):
    """What the tests of the video route rely on."""
    numbers = [0, 1, 2, 1023, 4096, 9999, 2**14 - 1]
    for number in numbers:
        image = cv2.GaussianBlur(numbered_image(number), (3, 3), 0)
        assert number_of(np.clip(image.astype(int) + 30, 0, 255)) == number
