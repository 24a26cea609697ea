"""AssemblyHands' calib.txt: the cameras are those written, their image size is asked for, and errors name the line."""

import cv2
import numpy as np
import pytest
import torch

from handpose.structures import CalibrationError, read_calibration, write_calibration

SIZE = (1920, 1080)
FOCAL, CENTRES = (1488.2, 1474.3), ((975.4, 525.7), (940.9, 527.3))
ROTVECS = ([0.3, -0.5, 0.1], [-0.2, 0.8, 0.4])
TRANSLATIONS = ([-13.85, 61.6, 813.4], [-2.94, -1.13, 878.1])  # millimetres
POINTS = np.array([[0.0, 0, 0], [0.1, -0.05, 0.02], [-0.08, 0.03, 0.1]])  # metres


def matrix_of(k):
    return np.array([[FOCAL[k], 0, CENTRES[k][0]], [0, FOCAL[k], CENTRES[k][1]], [0, 0, 1]])


def lines_of(k, name, unused='0 0 0 0 0'):
    pose = np.concatenate([cv2.Rodrigues(np.array(ROTVECS[k]))[0], np.array(TRANSLATIONS[k])[:, None]], 1)
    rows = [' '.join(map(repr, row)) for row in [*matrix_of(k).tolist(), *pose.tolist()]]
    return [name, *rows[:3], unused, *rows[3:]]


def written(unused='0 0 0 0 0', names=('C10095_rgb', 'C10115_rgb')):
    return '\n'.join([*lines_of(0, names[0], unused), '', *lines_of(1, names[1], unused), ''])


def read(tmp_path, text, size=SIZE, **options):
    path = tmp_path / 'calib.txt'
    path.write_text(text, encoding='utf-8', newline='')
    return read_calibration(path, image_size=size, **options)


# No line of lens coefficients is used, whatever is in it: the videos are rectified.
@pytest.mark.parametrize('unused', ['0 0 0 0 0', '0 0', '---', '0.1 -0.2 0 0 0'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\n\n'])
def test_cameras(tmp_path, unused, end):
    found = read(tmp_path, written(unused).replace('\n', end))
    assert found.names == ['C10095_rgb', 'C10115_rgb']
    for k, camera in enumerate(found):
        assert (camera.image_size, camera.model, camera.rig) == (SIZE, 'pinhole', None)
        expected = cv2.projectPoints(
            1000 * POINTS, np.array(ROTVECS[k]), np.array(TRANSLATIONS[k]), matrix_of(k), np.zeros(5)
        )[0]
        np.testing.assert_allclose(camera.project(torch.from_numpy(POINTS)), expected[:, 0], rtol=0, atol=1e-8)


def test_image_size(tmp_path):
    with pytest.raises(CalibrationError, match=r'calib\.txt does not say the size of the images.*give image_size'):
        read(tmp_path, written(), size=None)
    for size in ((960, 540), (1280, 720), (3840, 2160), (1080, 1920)):
        with pytest.raises(CalibrationError, match=rf'line 1, camera C10095_rgb: .*the middle of images of {size[0]}x'):
            read(tmp_path, written(), size=size)
    # What the message advises leads to cameras that can be scaled to any resolution.
    write_calibration(tmp_path / 'calibration.json', read(tmp_path, written()))
    camera = read_calibration(tmp_path / 'calibration.json')['C10115_rgb'].resized((960, 540))
    assert camera.intrinsics[0, 0] == FOCAL[1] / 2


def change(line, text):
    lines = written().split('\n')
    lines[line - 1] = text
    return '\n'.join(lines)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('\n'.join(written().split('\n')[:-2]), r'calib\.txt must have 8 lines .* for each camera .*, found 15$'),
        (change(2, 'wide 0 975.4'), r"calib\.txt, line 2: expected 3 numbers, found 'wide 0 975\.4'"),
        (change(6, '1 0 0'), r"calib\.txt, line 6: expected 4 numbers, found '1 0 0'"),
        (change(6, '1 0 0 nan'), r'calib\.txt, line 6: expected finite numbers'),
        (change(6, '1 0 0 0'), r"calib\.txt, line 1: camera 'C10095_rgb': the extrinsics must begin with a rotation"),
        (change(10, '0 1 2'), r"calib\.txt, line 10: expected the name of another camera, found '0 1 2'"),
        (written(names=('a', 'a')), r"calib\.txt, line 10: expected the name of another camera, found 'a'"),
        (change(2, '-900 0 975.4'), r"calib\.txt, line 1: camera 'C10095_rgb': intrinsics must be"),
        ('camera\none two three\n', r"expected handpose's own JSON, AssemblyHands' JSON or calib\.txt.*found 'camera'"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    with pytest.raises(CalibrationError, match=message):
        read(tmp_path, text)


def test_unit(tmp_path):
    with pytest.raises(CalibrationError, match=r"is in millimetres.*leave out the unit, which was 'metre'"):
        read(tmp_path, written(), unit='metre')
