"""`handpose calibrate`: from rendered boards to a calibration file."""

import cv2
import numpy as np
import pytest
from rendered_boards import board_poses, render_board

from handpose.cli import main
from handpose.geometry.boards import CalibrationBoard
from handpose.structures import read_calibration

SIZE = (480, 360)
INTRINSICS = np.array([[420.0, 0, 241], [0, 418, 177], [0, 0, 1]])
DISTORTION = np.array([-0.1, 0.03, 0, 0])
SECOND = np.eye(4)
SECOND[:3, :3], SECOND[:3, 3] = cv2.Rodrigues(np.array([0.0, 0.3, 0.0]))[0], [-0.18, 0, 0.03]
BOARD = ['--squares', '8x5', '--square-size', '30']


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp('recording')
    board = CalibrationBoard('charuco', 8, 5, 0.03)
    for name, camera in (('left', np.eye(4)), ('right', SECOND)):
        (folder / name).mkdir()
        for k, pose in enumerate(board_poses(12)):
            image = render_board(board, INTRINSICS, DISTORTION, camera @ pose, SIZE)
            cv2.imwrite(str(folder / name / f'{k:03}.png'), image)
    return folder


def test_cameras_are_found(recording, tmp_path, capsys):
    out = tmp_path / 'calibration.json'
    main('calibrate', [str(recording), '-o', str(out), *BOARD, '--every', '1'])
    calibration = read_calibration(out)
    assert calibration.names == ['left', 'right']
    assert calibration['left'].image_size == SIZE
    np.testing.assert_allclose(calibration['left'].intrinsics, INTRINSICS, atol=8)
    expected = -SECOND[:3, :3].T @ SECOND[:3, 3]
    np.testing.assert_allclose(calibration['right'].position, expected, atol=0.01)
    text = capsys.readouterr().out
    assert '2 cameras, 12 frames searched' in text and 'right: board in' in text
    assert 'out of step' not in text


def test_a_video_that_is_late_is_noted(recording, tmp_path, capsys):
    late = tmp_path / 'late'
    late.mkdir()
    for k in range(11):
        (late / f'{k}.png').write_bytes((recording / 'right' / f'{k + 1:03}.png').read_bytes())
    words = [str(recording / 'left'), str(late), '-o', str(tmp_path / 'c.toml'), *BOARD, '--every', '1']
    main('calibrate', words)
    text = capsys.readouterr().out
    assert 'different numbers of frames (left 12, late 11)' in text and 'may be out of step' in text


def test_the_board_is_drawn(tmp_path, capsys):
    main('calibrate', ['--draw', str(tmp_path / 'board.png'), *BOARD])
    assert 'print it 270 x 180 mm large' in capsys.readouterr().out
    image = cv2.imread(str(tmp_path / 'board.png'), cv2.IMREAD_GRAYSCALE)
    found = CalibrationBoard('charuco', 8, 5, 0.03).detect(image)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], [299.5, 299.5], atol=0.3)  # half a square of margin, and one square


def test_errors(recording, tmp_path, capsys):
    out = ['-o', str(tmp_path / 'c.json')]
    for words, message in (
        ([*out, *BOARD], 'give the videos'),
        ([str(recording), *BOARD], 'give the videos'),
        ([str(recording), *out, '--squares', '8', '--square-size', '30'], '--squares must be like 8x5'),
        ([str(recording), '-o', 'c.yml', *BOARD], 'must end in .json or .toml'),
    ):
        with pytest.raises(SystemExit) as caught:
            main('calibrate', words)
        assert caught.value.code == 2 and message in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r'expected videos or folders of images of two or more cameras.*found left'):
        main('calibrate', [str(recording / 'left'), str(recording / 'left'), *out, *BOARD])
    with pytest.raises(SystemExit, match="camera 'left': the board was found in 0 images"):
        main('calibrate', [str(recording), *out, '--squares', '8x5', '--square-size', '30', '--dictionary', '6X6_250'])
    assert not (tmp_path / 'c.json').exists()
