"""`ImageReader`: image files of every kind become RGB with 8 bits; what does not fit is refused."""

import cv2
import numpy as np
import pytest

from handpose.video import VideoError
from handpose.video.images import ImageReader, read_image

GRADIENT = np.arange(48, dtype=np.uint8)[:, None] * 5 + np.zeros((1, 64), np.uint8)


def coloured():
    """(48, 64, 3) BGR: blue rises downwards, green to the right, red is 40."""
    image = np.full((48, 64, 3), 40, np.uint8)
    image[..., 0], image[..., 1] = GRADIENT, np.arange(64)[None] * 3
    return image


def write(path, image):
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize('ending', ['.png', '.bmp', '.tif', '.tiff', '.webp'])
def test_colours(tmp_path, ending):
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if ending == '.webp' else []
    path = tmp_path / f'a{ending}'
    cv2.imwrite(str(path), coloured(), options)
    found = read_image(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, coloured()[..., ::-1])


@pytest.mark.parametrize('bits', [8, 16])
def test_grey_images(tmp_path, bits):
    image = GRADIENT if bits == 8 else GRADIENT.astype(np.uint16) * 256
    found = read_image(write(tmp_path / 'a.png', image))
    np.testing.assert_array_equal(found, np.stack([GRADIENT] * 3, -1))


def test_16_bits(tmp_path):
    image = coloured().astype(np.uint16) * 256 + 100
    found = read_image(write(tmp_path / 'a.png', image))
    np.testing.assert_array_equal(found, coloured()[..., ::-1])


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_alpha_is_dropped(tmp_path, dtype):
    """The colours of transparent pixels stay what they are."""
    scale = 256 if dtype is np.uint16 else 1
    alpha = np.zeros((48, 64, 1), dtype)
    image = np.concatenate([coloured().astype(dtype) * scale, alpha], -1)
    found = read_image(write(tmp_path / 'a.png', image))
    np.testing.assert_array_equal(found, coloured()[..., ::-1])


@pytest.mark.parametrize(('orientation', 'quarters'), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_orientation_of_a_camera(tmp_path, orientation, quarters):
    """A JPEG with the EXIF tag 0x0112, as phones write."""
    data = cv2.imencode('.jpg', coloured(), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    tag = b'MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01' + bytes([0, orientation, 0, 0, 0, 0, 0, 0])
    exif = b'Exif\x00\x00' + tag
    (tmp_path / 'a.jpg').write_bytes(data[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + data[2:])
    found = read_image(tmp_path / 'a.jpg')
    expected = np.rot90(coloured()[..., ::-1], quarters)  # counter-clockwise
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 4


@pytest.mark.parametrize('data', [b'', b'no image', None], ids=['empty', 'text', 'cut'])
def test_damaged_images(tmp_path, data):
    path = write(tmp_path / 'a.png', coloured())
    path.write_bytes(path.read_bytes()[:40] if data is None else data)
    with pytest.raises(VideoError, match=r'a\.png cannot be read as an image: .* give an image file \(\.bmp'):
        read_image(path)


def test_missing_images(tmp_path):
    with pytest.raises(VideoError, match=r'b\.png does not exist; give an image file'):
        read_image(tmp_path / 'b.png')


def test_images_have_times(tmp_path):
    paths = [write(tmp_path / f'{i}.png', np.full((4, 6, 3), i, np.uint8)) for i in range(3)]
    reader = ImageReader(paths, 4)
    assert (reader.fps, reader.duration, reader.notes) == (4, 0.75, [])
    for _ in range(2):  # it can be iterated again
        frames = list(reader)
        assert [(frame.index, frame.time, int(frame.image[0, 0, 0])) for frame in frames] == [
            (0, 0.0, 0),
            (1, 0.25, 1),
            (2, 0.5, 2),
        ]


def test_one_image_needs_no_rate(tmp_path):
    reader = ImageReader([write(tmp_path / 'a.png', coloured())])
    assert reader.duration is None and [(frame.index, frame.time) for frame in reader] == [(0, 0.0)]


@pytest.mark.parametrize('fps', [None, 0, -3])
def test_several_images_need_a_rate(tmp_path, fps):
    with pytest.raises(VideoError, match=r'2 images have no times; give the images per second \(--fps\)'):
        ImageReader([tmp_path / 'a.png', tmp_path / 'b.png'], fps)


def test_no_image():
    with pytest.raises(VideoError, match='there is no image to read'):
        ImageReader([], 30)


def test_images_of_another_size(tmp_path):
    paths = [write(tmp_path / f'{i}.png', np.zeros((8, 6 + 2 * (i > 1), 3), np.uint8)) for i in range(4)]
    seen = []
    with pytest.raises(VideoError, match=r'2\.png is 8x8 pixels and the images before it are 6x8'):
        for frame in ImageReader(paths, 10):
            seen.append(frame.index)
    assert seen == [0, 1]
