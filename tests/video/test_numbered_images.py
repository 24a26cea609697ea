"""Images by their number, in any order, of videos and of folders."""

import cv2
import numpy as np
import pytest

from handpose.video import VideoError, VideoReader, VideoWriter
from handpose.video import numbered_images as module
from handpose.video.numbered_images import NumberedImages

TIMES = np.cumsum([0, 0.1, 0.1, 0.7, 0.1, 0.03, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])


def level(image):
    return int(np.median(image))


def save_video(path):
    with VideoWriter(path, 10) as writer:
        for t, time in enumerate(TIMES):
            writer.write(np.full((64, 96, 3), 20 * t, np.uint8), time)
    return path


@pytest.mark.parametrize('with_pyav', [True, False])
@pytest.mark.parametrize('suffix', ['.webm', '.mp4', '.avi'])
def test_the_images_are_those_of_the_reader(tmp_path, monkeypatch, suffix, with_pyav):
    pytest.importorskip('av', reason="needs the extra 'video'")
    path = save_video(tmp_path / f'a{suffix}')
    expected = [level(frame.image) for frame in VideoReader(path)]
    if not with_pyav:
        monkeypatch.setattr(module, 'import_pyav', lambda: None)
    images = NumberedImages(path)
    for number in (3, 4, 0, len(expected) - 1, 5, 5, 2):
        assert level(images.read(number)) == expected[number]
    last = len(expected)
    for number in (last, -1):
        with pytest.raises(VideoError, match=f'{number}'):
            images.read(number)


def test_a_folder_has_its_images_in_the_order_of_their_names(tmp_path):
    for name, value in (('10.png', 50), ('02.png', 30), ('.hidden.png', 90)):
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), value, np.uint8))
    (tmp_path / 'notes.txt').write_text('no image')
    images = NumberedImages(tmp_path)
    assert [level(images.read(number)) for number in (1, 0)] == [50, 30]
    with pytest.raises(VideoError, match=r'has 2 images, and number 2 \(from 0\) was asked for'):
        images.read(2)


def test_what_has_no_images_is_an_error_message(tmp_path):
    with pytest.raises(VideoError, match='contains no images'):
        NumberedImages(tmp_path)
    with pytest.raises(VideoError, match='does not exist'):
        NumberedImages(tmp_path / 'none.mp4')
    (tmp_path / 'a.mp4').write_text('words')
    with pytest.raises(VideoError):
        NumberedImages(tmp_path / 'a.mp4')
