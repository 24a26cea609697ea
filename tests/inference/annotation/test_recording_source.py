"""Which video is of which camera, and what is refused before hands are looked for."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scripted_hands import numbered_image, write_video

from handpose.inference.annotation.recording_source import (
    AnnotationError,
    match_cameras,
    open_recording,
    recordings_in,
)
from handpose.structures import Calibration, CalibrationError, CameraCalibration, write_calibration
from handpose.video import VideoError

SIZE = (112, 64)


def camera(name, x=0.0, size=SIZE, rig=None):
    extrinsics = torch.eye(4, dtype=torch.float64)
    extrinsics[0, 3] = -x
    matrix = torch.tensor([[100.0, 0, size[0] / 2], [0, 100.0, size[1] / 2], [0, 0, 1]])
    return CameraCalibration(name, size, matrix, extrinsics=extrinsics, rig=rig)


def calibrate(folder, *cameras):
    path = folder / 'calibration.json'
    write_calibration(path, Calibration(cameras))
    return path


def images(folder, count, size=SIZE):
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f'{number:03}.png'), numbered_image(number, size))


@pytest.fixture
def recording(tmp_path):
    folder = tmp_path / 'recording'
    folder.mkdir()
    for name in ('left', 'right'):
        write_video(folder / f'{name}.avi', 3)
    return folder


def test_assemblyhands_text(recording):
    """calib.txt lies beside the videos, is named as there, and gets the size of the videos."""
    lines = ['100 0 55', '0 100 33', '0 0 1', '0 0 0 0 0', '1 0 0 {x}', '0 1 0 0', '0 0 1 700']
    text = '\n'.join('\n'.join([name, *lines, '']).format(x=x) for name, x in (('left', 0), ('right', -60)))
    (recording / 'calib.txt').write_text(text)
    assert recordings_in(recording) == [recording]
    found = open_recording(recording, 'calib.txt')
    assert found.names == ['left', 'right'] and [path.name for path in found.videos] == ['left.avi', 'right.avi']
    assert [camera.image_size for camera in found.calibration] == [SIZE, SIZE] and not found.notes
    assert found.calibration['right'].extrinsics[:3, 3].tolist() == pytest.approx([-0.06, 0, 0.7])
    (recording / 'calib.txt').write_text(text.replace('55', '110'))  # of larger images
    with pytest.raises(CalibrationError, match='not near the middle of images of 112x64 pixels'):
        open_recording(recording, 'calib.txt')


@pytest.mark.parametrize(
    ('videos', 'names', 'expected'),
    [
        (['a.mp4', 'b.mp4'], ['b', 'a'], {'a': 'a.mp4', 'b': 'b.mp4'}),
        (['C10095_rgb.mp4', 'x.mp4'], ['C10095', 'C10115'], {'C10095': 'C10095_rgb.mp4'}),
        (['take_cam10.mp4', 'take_cam1.mp4'], ['cam1', 'cam10'], {'cam10': 'take_cam10.mp4', 'cam1': 'take_cam1.mp4'}),
        (['Left.MP4'], ['left'], {'left': 'Left.MP4'}),
        (
            ['left.mp4', 'leftmost_right.mp4'],
            ['left', 'leftmost_right'],
            {'left': 'left.mp4', 'leftmost_right': 'leftmost_right.mp4'},
        ),
    ],
)
def test_names(videos, names, expected):
    found = match_cameras([Path(video) for video in videos], names)
    assert {name: path.name for name, path in found.items()} == expected


@pytest.mark.parametrize(
    ('videos', 'message'),
    [
        (['left_right.mp4'], r'left_right.mp4 has the names of several cameras, left, right: rename it'),
        (['left_1.mp4', 'left_2.mp4'], r'left_1.mp4 and left_2.mp4 in . are both of camera left'),
    ],
)
def test_names_that_do_not_decide(videos, message):
    with pytest.raises(AnnotationError, match=message):
        match_cameras([Path(video) for video in videos], ['left', 'right'])


def test_cameras_keep_the_order_of_the_calibration(recording):
    images(recording / 'top', 2)
    file = calibrate(recording, camera('top', 1), camera('right', 2), camera('left'), camera('spare'))
    write_video(recording / 'phone.avi', 2)
    found = open_recording(recording, 'calibration.json', fps=30)  # the name of a file in the folder
    assert found.names == ['top', 'right', 'left']
    assert [path.name for path in found.videos] == ['top', 'right.avi', 'left.avi']
    assert found.notes == [
        'cameras of the calibration without a video: spare',
        'videos without a camera in the calibration: phone.avi',
    ]
    assert open_recording(recording, file, fps=30).names == found.names


def test_another_resolution(recording):
    file = calibrate(recording, camera('left', size=(224, 128)), camera('right', 1))
    found = open_recording(recording, file)
    assert found.calibration['left'].image_size == SIZE
    assert found.calibration['left'].intrinsics[0, 0] == 50
    assert 'left was calibrated at 224x128 pixels and its images have 112x64: the calibration was scaled' in found.notes


def test_another_aspect_ratio(recording):
    file = calibrate(recording, camera('left', size=(64, 112)), camera('right', 1))
    with pytest.raises(CalibrationError, match=r"camera 'left' was calibrated with images of 64x112 .* another aspect"):
        open_recording(recording, file)


def test_cameras_of_a_moving_rig(recording):
    write_video(recording / 'headset.avi', 3)
    file = calibrate(recording, camera('left'), camera('right', 1), camera('headset', rig='helmet'))
    found = open_recording(recording, file)
    assert found.names == ['left', 'right']
    assert 'cameras on a moving rig, whose place in the world is not known: headset' in found.notes[0]
    file = calibrate(recording, camera('left'), camera('right', 1, rig='helmet'))
    with pytest.raises(AnnotationError, match='at least 2 cameras that are fixed in the world, found 1'):
        open_recording(recording, file)


def test_a_calibration_of_one_camera(recording):
    with pytest.raises(AnnotationError, match='has one camera, left; positions are triangulated from 2 or more'):
        open_recording(recording, calibrate(recording, camera('left')))


def test_a_calibration_of_other_cameras(recording):
    file = calibrate(recording, camera('c1'), camera('c2', 1))
    with pytest.raises(
        AnnotationError, match=r'found 0: .* has the cameras c1, c2, and the folder has left.avi, right'
    ):
        open_recording(recording, file)


def test_a_video_that_cannot_be_read(recording):
    (recording / 'right.avi').write_bytes(b'no video')
    with pytest.raises(VideoError, match=r'right.avi cannot be read as a video'):
        open_recording(recording, calibrate(recording, camera('left'), camera('right', 1)))


def test_folders_of_images_need_a_rate(tmp_path):
    for name in ('left', 'right'):
        images(tmp_path / name, 2)
    with pytest.raises(VideoError, match='give the images per second'):
        open_recording(tmp_path, calibrate(tmp_path, camera('left'), camera('right', 1)))


def test_several_recordings(tmp_path, recording):
    other = tmp_path / 'b'
    images(other / 'left', 1)
    (tmp_path / 'notes').mkdir()
    assert recordings_in(tmp_path) == [other, recording]
    assert recordings_in(recording) == [recording]
    for path, message in (
        (tmp_path / 'notes', 'holds no videos and no folders of images'),
        (tmp_path / 'none', 'does not exist'),
        (recording / 'left.avi', 'is a file'),
    ):
        with pytest.raises(AnnotationError, match=message):
            recordings_in(path)


def test_opencv_yaml_without_the_size_of_images(recording):
    for name, x in (('left', 0.0), ('right', 20.0)):
        storage = cv2.FileStorage(str(recording / f'{name}.yml'), cv2.FILE_STORAGE_WRITE)
        storage.write('camera_matrix', np.array([[90.0, 0, 56], [0, 90, 32], [0, 0, 1]]))
        storage.write('distortion_coefficients', np.zeros((1, 5)))
        storage.write('R', np.eye(3))
        storage.write('T', np.array([[-x], [0], [0]]))
        storage.release()
    found = open_recording(recording, recording, unit='centimetre')
    np.testing.assert_allclose(found.calibration['right'].position, [0.2, 0, 0])
    assert found.calibration['left'].image_size == SIZE
