"""Files of calibrated cameras: every format gives the same cameras, and errors name the file and the key."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handpose.structures import Calibration, CalibrationError, CameraCalibration, read_calibration, write_calibration

LENS = [-0.129, 0.1205, 4.75e-5, -1.77e-4, 7.1e-3]
FISHEYE = [0.05, -0.02, 0.01, -0.003]
ROTVECS = ([0.3, -0.5, 0.1], [-0.2, 0.8, 0.4])
TRANSLATIONS = ([0.05, -0.1, 1.2], [-0.3, 0.2, 0.9])  # metres
REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', '')) / 'assemblyhands_calib' / 'nimble_json_calib'


def matrix_of(k):
    return np.array([[812.0 + k, 0, 633.5], [0, 805.0, 350.25 - k], [0, 0, 1]])


def pose_of(k):
    return np.concatenate([cv2.Rodrigues(np.array(ROTVECS[k]))[0], np.array(TRANSLATIONS[k])[:, None]], 1)


def true_cameras(models=('radial_tangential', 'fisheye'), names=('left', 'right')):
    lenses = {'radial_tangential': LENS, 'fisheye': FISHEYE, 'pinhole': []}
    cameras = []
    for k, (name, model) in enumerate(zip(names, models, strict=True)):
        extrinsics = torch.eye(4, dtype=torch.float64)
        extrinsics[:3] = torch.from_numpy(pose_of(k))
        cameras.append(CameraCalibration(name, (1280, 720), matrix_of(k), model, lenses[model], extrinsics))
    return Calibration(cameras)


def assert_same(found, expected, atol=1e-12):
    assert found.names == expected.names
    for a, b in zip(found, expected, strict=True):
        assert (a.model, a.image_size, a.rig) == (b.model, b.image_size, b.rig)
        for key in ('intrinsics', 'distortion', 'extrinsics'):
            torch.testing.assert_close(getattr(a, key), getattr(b, key), atol=atol, rtol=0)


# Formats


def nimble_camera(k=0, model='OpenCV', **extra):
    k1, k2, p1, p2, k3 = LENS
    values = {'k1': k1, 'k2': k2, 'k3': k3, 'k4': 0.0, 'k5': 0.0, 'k6': 0.0, 'p1': p1, 'p2': p2, 'p3': 0.0, 'p4': 0.0}
    pose = np.concatenate([pose_of(k), [[0, 0, 0, 1]]])
    pose[:3, 3] *= 1000
    matrix = matrix_of(k)
    camera = dict(DistortionModel=model, ImageSizeX=1280, ImageSizeY=720, SerialNo=('left', 'right')[k])
    camera |= dict(fx=matrix[0, 0], fy=matrix[1, 1], cx=matrix[0, 2], cy=matrix[1, 2], ModelViewMatrix=pose.tolist())
    return {'Camera': {**camera, **values}, 'MountingLocation': 'Exocentric', **extra}


def test_assemblyhands(tmp_path):
    path = tmp_path / 'recording.json'
    path.write_text(json.dumps([nimble_camera(0), nimble_camera(1)]))
    assert_same(read_calibration(path), true_cameras(('radial_tangential',) * 2))


def test_assemblyhands_headset(tmp_path):
    path = tmp_path / 'recording.json'
    path.write_text(json.dumps([nimble_camera(0), nimble_camera(1, 'OVFishEye62', ParentName='headset-1')]))
    camera = read_calibration(path)['right']
    assert camera.rig == 'headset-1' and camera.model == 'fisheye'
    k1, k2, p1, p2, k3 = LENS
    assert camera.distortion.tolist() == [k1, k2, k3, 0, 0, 0, p2, p1]  # its tangential coefficients are exchanged


def anipose_text(k, fisheye=False, scale=1000.0):
    lines = [f'name = "{("left", "right")[k]}"', 'size = [ 1280, 720,]', f'matrix = {matrix_of(k).tolist()}']
    lines += [f'distortions = {FISHEYE if fisheye else LENS}', f'rotation = {ROTVECS[k]}']
    lines += [f'translation = {[scale * value for value in TRANSLATIONS[k]]}', *['fisheye = true'] * fisheye]
    return '\n'.join([f'[cam_{k}]', *lines, ''])


def test_anipose(tmp_path):
    path = tmp_path / 'calibration.toml'
    path.write_text(f'{anipose_text(0)}\n{anipose_text(1, fisheye=True)}\n[metadata]\nadjusted = false\nerror = 0.4\n')
    assert_same(read_calibration(path, unit='millimetre'), true_cameras())
    assert_same(read_calibration(path, unit=0.001), true_cameras())
    with pytest.raises(CalibrationError, match=r"calibration.toml does not say in which unit.*'metre', 'cent.*Anipose"):
        read_calibration(path)


def test_freemocap(tmp_path):
    path = tmp_path / 'camera_calibration.toml'
    extra = 'world_position = [0.0, 0.0, 0.0]\n'
    metadata = '[metadata]\ncharuco_square_size = 39.0\ncharuco_board_object = "..."\ngroundplane_calibration = false\n'
    path.write_text(f'{anipose_text(0)}{extra}\n{anipose_text(1, fisheye=True)}{extra}\n{metadata}')
    assert_same(read_calibration(path), true_cameras())
    with pytest.raises(CalibrationError, match=r"is in millimetres.*leave out the unit, which was 'metre'"):
        read_calibration(path, unit='metre')


def write_storage(path, **values):
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        storage.write(key, value)
    storage.release()


def storage_of_one(k, fisheye=False, **extra):
    pose = pose_of(k)
    values = dict(image_width=1280, image_height=720, camera_matrix=matrix_of(k), R=pose[:, :3], T=100 * pose[:, 3:])
    return {**values, 'distortion_coefficients': np.array(FISHEYE if fisheye else LENS)[None], **extra}


def test_opencv_files_of_a_folder(tmp_path):
    write_storage(tmp_path / 'left.yml', **storage_of_one(0))
    write_storage(tmp_path / 'right.yaml', **storage_of_one(1, fisheye=True, fisheye_model=1))
    assert_same(read_calibration(tmp_path, unit='centimetre'), true_cameras())


def test_opencv_one_camera_without_a_place_needs_no_unit(tmp_path):
    values = {key: value for key, value in storage_of_one(0).items() if key not in 'RT'}
    write_storage(tmp_path / 'phone.yml', **values)
    (camera,) = read_calibration(tmp_path / 'phone.yml')
    assert camera.name == 'phone' and torch.equal(camera.extrinsics, torch.eye(4, dtype=torch.float64))
    write_storage(tmp_path / 'other.yml', **values)
    with pytest.raises(CalibrationError, match=r'other.yml: expected where the camera is, as R or rvec'):
        read_calibration(tmp_path, unit='metre')


def test_opencv_fourteen_coefficients_of_a_lens_without_prism_and_tilt(tmp_path):
    lens = np.array([*LENS, *[0.0] * 9])
    write_storage(tmp_path / 'left.yml', **storage_of_one(0, distortion_coefficients=lens))
    (camera,) = read_calibration(tmp_path / 'left.yml', unit='centimetre')
    assert camera.distortion.tolist() == [*LENS, *[0.0] * 3]


def test_opencv_stereo_files(tmp_path):
    write_storage(tmp_path / 'intrinsics.yml', M1=matrix_of(0), D1=np.array(LENS), M2=matrix_of(1), D2=np.array(LENS))
    pose = pose_of(1)
    write_storage(tmp_path / 'extrinsics.yml', R=pose[:, :3], T=1000 * pose[:, 3:], Q=np.eye(4))
    with pytest.raises(CalibrationError, match=r'expected the size of the images.*give image_size'):
        read_calibration(tmp_path, unit='millimetre')
    found = read_calibration(tmp_path, unit='millimetre', image_size=(1280, 720))
    expected = true_cameras(('radial_tangential',) * 2, ('camera_1', 'camera_2'))
    assert torch.equal(found.cameras[0].extrinsics, torch.eye(4, dtype=torch.float64))
    assert_same(found.select(['camera_2']), expected.select(['camera_2']))


def test_opencv_named_cameras(tmp_path):
    """The two files of EasyMocap."""
    names, lens = ('left', 'right'), np.array(LENS)[None]
    intri = {f'K_{name}': matrix_of(k) for k, name in enumerate(names)}
    intri |= {f'dist_{name}': lens for name in names}
    intri |= {f'{key}_{name}': value for name in names for key, value in (('W', 1280), ('H', 720))}
    extri = {f'R_{name}': np.array(ROTVECS[k])[:, None] for k, name in enumerate(names)}
    extri |= {f'T_{name}': np.array(TRANSLATIONS[k])[:, None] for k, name in enumerate(names)}
    for file, values in (('intri.yml', intri), ('extri.yml', extri)):
        write_storage(tmp_path / file, **values)
        text = (tmp_path / file).read_text()
        (tmp_path / file).write_text(f'{text}names:\n   - "left"\n   - "right"\n')
    assert_same(read_calibration(tmp_path, unit='metre'), true_cameras(('radial_tangential',) * 2))


def test_ros_files(tmp_path):
    rows = matrix_of(0).reshape(-1).tolist()
    (tmp_path / 'ost.yaml').write_text(
        f'image_width: 1280\nimage_height: 720\ncamera_name: left\n'
        f'camera_matrix:\n  rows: 3\n  cols: 3\n  data: {rows}\ndistortion_model: plumb_bob\n'
        f'distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: {LENS}\n'
    )
    (camera,) = read_calibration(tmp_path / 'ost.yaml')
    assert camera.name == 'left' and camera.distortion.tolist() == LENS


def write_colmap(folder, names=('left/0001.jpg', 'right/0001.jpg'), points='1.5 2.5 -1 3.5 4.5 7'):
    k1, k2, p1, p2, _ = LENS
    a, b = matrix_of(0), matrix_of(1)
    (folder / 'cameras.txt').write_text(
        '# Camera list\n'
        f'1 OPENCV 1280 720 {a[0, 0]} {a[1, 1]} {a[0, 2] + 0.5} {a[1, 2] + 0.5} {k1} {k2} {p1} {p2}\n'
        f'7 OPENCV_FISHEYE 1280 720 {b[0, 0]} {b[1, 1]} {b[0, 2] + 0.5} {b[1, 2] + 0.5} '
        f'{" ".join(map(str, FISHEYE))}\n'
    )
    lines = ['# Image list', '#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME']
    for k, (name, camera) in enumerate(zip(names, (1, 7), strict=True)):
        x, y, z, w = Rotation.from_rotvec(ROTVECS[k]).as_quat()
        t = ' '.join(str(4 * value) for value in TRANSLATIONS[k])
        lines += [f'{k + 1} {w} {x} {y} {z} {t} {camera} {name}', points]
    (folder / 'images.txt').write_text('\n'.join(lines) + '\n')


@pytest.mark.parametrize('points', ['', '1.5 2.5 -1 3.5 4.5 7'])
@pytest.mark.parametrize('given', ['', 'cameras.txt', 'images.txt'])
def test_colmap(tmp_path, points, given):
    write_colmap(tmp_path, points=points)
    found = read_calibration(tmp_path / given, unit=0.25)
    expected = true_cameras()
    left = CameraCalibration(
        'left', (1280, 720), matrix_of(0), 'radial_tangential', LENS[:4], expected['left'].extrinsics
    )
    assert_same(found, Calibration([left, expected['right']]))
    with pytest.raises(CalibrationError, match='The scale of a COLMAP model is arbitrary'):
        read_calibration(tmp_path / given)


def test_colmap_names_of_images_in_one_folder(tmp_path):
    write_colmap(tmp_path, names=('a photo.jpg', 'b.jpg'))
    assert read_calibration(tmp_path, unit=1.0).names == ['a photo', 'b']


@pytest.mark.parametrize(
    ('line', 'focal', 'model', 'lens'),
    [
        ('SIMPLE_PINHOLE 640 480 500 320 240', (500, 500), 'pinhole', []),
        ('PINHOLE 640 480 500 510 320 240', (500, 510), 'pinhole', []),
        ('SIMPLE_RADIAL 640 480 500 320 240 0.1', (500, 500), 'radial_tangential', [0.1, 0, 0, 0]),
        ('RADIAL 640 480 500 320 240 0.1 0.2', (500, 500), 'radial_tangential', [0.1, 0.2, 0, 0]),
        ('RADIAL_FISHEYE 640 480 500 320 240 0.1 0.2', (500, 500), 'fisheye', [0.1, 0.2, 0, 0]),
        (
            'FULL_OPENCV 640 480 500 510 320 240 .1 .2 .3 .4 .5 .6 .7 .8',
            (500, 510),
            'radial_tangential',
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
        ),
    ],
)
def test_colmap_models(tmp_path, line, focal, model, lens):
    (tmp_path / 'cameras.txt').write_text(f'1 {line}\n')
    (tmp_path / 'images.txt').write_text('1 1 0 0 0 0 0 0 1 a.png\n\n')
    (camera,) = read_calibration(tmp_path, unit=1.0)
    assert camera.intrinsics.tolist() == [[focal[0], 0, 319.5], [0, focal[1], 239.5], [0, 0, 1]]
    assert (camera.model, camera.distortion.tolist()) == (model, lens)


# Writing


def test_own_format_keeps_everything(tmp_path):
    calibration = Calibration(
        [
            *true_cameras(),
            CameraCalibration('eye', (636, 480), matrix_of(0), 'fisheye', [*FISHEYE, 0.1, 0.2, 1e-3, 2e-3], rig='head'),
            CameraCalibration('ideal "é"', (636, 480), matrix_of(0)),
        ]
    )
    write_calibration(tmp_path / 'calibration.json', calibration)
    assert_same(read_calibration(tmp_path / 'calibration.json'), calibration, atol=0)


def test_anipose_format_is_written_in_metres(tmp_path):
    calibration = Calibration(
        [*true_cameras(), CameraCalibration('ideal "é" \\ #', (636, 480), matrix_of(0))],
    )
    write_calibration(tmp_path / 'calibration.toml', calibration)
    assert_same(read_calibration(tmp_path / 'calibration.toml'), calibration)


@pytest.mark.parametrize(
    ('name', 'camera', 'message'),
    [
        ('c.toml', dict(rig='headset'), "is mounted on 'headset'.*write a .json"),
        ('c.toml', dict(model='fisheye', distortion=[0.0] * 8), '8 coefficients.*write a .json'),
        ('c.yml', {}, r'must end in .json .* or .toml'),
    ],
)
def test_what_cannot_be_written(tmp_path, name, camera, message):
    with pytest.raises(CalibrationError, match=message):
        write_calibration(tmp_path / name, Calibration([CameraCalibration('a', (64, 48), matrix_of(0), **camera)]))
    assert not (tmp_path / name).exists()


# Errors


def broken_nimble(change):
    entry = nimble_camera()
    change(entry['Camera'])
    return json.dumps([entry])


BAD_FILES = {
    'empty': ('c.json', '', r"c.json: expected handpose's own JSON.*found ''"),
    'another text': ('c.txt', 'hello world', r"expected handpose's own JSON, Assembly.*found 'hello world'"),
    'another object': ('c.json', '{"fx": 3}', 'found the keys fx'),
    'no JSON': ('c.json', '[{"Camera": ', 'is not valid JSON'),
    'no TOML': ('c.toml', '[cam_0]\nname = ', r'c.toml is not valid TOML: Invalid value'),
    'no YAML': ('c.yml', '%YAML:1.0\n---\na: [1', 'is not valid YAML'),
    'object of Python': ('c.yml', 'a: !!python/object/apply:os.getcwd []\n', 'is not valid YAML'),
    'YAML of something': ('c.yml', 'a: 1\nb: 2\n', r'expected the keys of one camera .*found a, b'),
    'no camera': ('c.json', '[]', 'at least one camera'),
    'entry': ('c.json', '[{"x": 1}]', r"camera 1: expected the key 'Camera'"),
    'missing key': ('c.json', broken_nimble(lambda c: c.pop('fx')), r"camera 1 \(left\): expected the key 'fx'"),
    'text for a number': ('c.json', broken_nimble(lambda c: c.update(fx='1')), r'\(left\), fx: expected 1 numbers'),
    'lens': ('c.json', broken_nimble(lambda c: c.update(DistortionModel='X')), "'OpenCV' or 'OVFish.*found 'X'"),
    'rational lens': ('c.json', broken_nimble(lambda c: c.update(k4=0.1)), 'expected 0 for k4 to k6'),
    'shape': ('c.json', broken_nimble(lambda c: c.update(ModelViewMatrix=[[1, 2], [3]])), 'expected 4x4 numbers'),
    'scaled': (
        'c.json',
        broken_nimble(lambda c: c.update(ModelViewMatrix=(2 * np.eye(4)).tolist())),
        r'\(left\): camera .left.: the extrinsics must begin with a rotation',
    ),
    'table': ('c.toml', 'cam_0 = 3\n[metadata]\nunit = "metre"\n', r'\[cam_0\]: expected a table'),
    'only metadata': ('c.toml', '[metadata]\nunit = "metre"\n', 'expected a table for each camera'),
    'unknown unit': ('c.toml', f'{anipose_text(0)}[metadata]\nunit = "inch"\n', 'expected one of metre'),
    'newer version': ('c.json', '{"format": "handpose-calibration", "version": 2, "cameras": []}', 'update handpose'),
    'own entry': ('c.json', '{"format": "handpose-calibration", "version": 1, "cameras": [3]}', 'expected the keys'),
}


@pytest.mark.parametrize('case', BAD_FILES)
def test_bad_files(tmp_path, case):
    name, text, message = BAD_FILES[case]
    (tmp_path / name).write_text(text)
    with pytest.raises(CalibrationError, match=message) as caught:
        read_calibration(tmp_path / name)
    if case != 'no camera':
        assert str(tmp_path / name) in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(CalibrationError, match=r'nothing.json does not exist; expected'):
        read_calibration(tmp_path / 'nothing.json')
    with pytest.raises(CalibrationError, match=r'is a folder: expected cameras.txt.*found nothing'):
        read_calibration(tmp_path)
    (tmp_path / 'cameras.bin').touch()
    with pytest.raises(CalibrationError, match='colmap model_converter'):
        read_calibration(tmp_path)
    (tmp_path / 'cameras.txt').write_text('1 PINHOLE 640 480 500 510 320 240\n')
    with pytest.raises(CalibrationError, match=r'images.txt does not exist; a text model'):
        read_calibration(tmp_path, unit=1.0)


@pytest.mark.parametrize(
    ('cameras', 'images', 'message'),
    [
        ('1 FOV 640 480 1 2 3 4 5', '', 'cameras.txt, line 1: expected CAMERA_ID MODEL.*SIMPLE_PINHOLE'),
        ('1 PINHOLE 640 480 500 510 320', '', 'line 1: expected width, height and 4 parameters of PINHOLE'),
        ('1 PINHOLE 640 480 500 510 320 x', '', 'expected finite numbers'),
        ('1 PINHOLE 640 480 5 5 3 2', '1 1 0 0 0 0 0 0 2 a.png', 'images.txt, line 1: its CAMERA_ID 2 is not in'),
        ('1 PINHOLE 640 480 5 5 3 2', '1 2 0 0 0 0 0 0 1 a.png', 'expected a unit quaternion'),
        ('1 PINHOLE 640 480 5 5 3 2', '1 2 0 0 0', 'expected IMAGE_ID QW QX'),
        ('1 PINHOLE 640 480 5 5 3 2', '# nothing', 'expected two lines for each image'),
    ],
)
def test_bad_colmap_files(tmp_path, cameras, images, message):
    (tmp_path / 'cameras.txt').write_text(cameras + '\n')
    (tmp_path / 'images.txt').write_text(images + '\n')
    with pytest.raises(CalibrationError, match=message):
        read_calibration(tmp_path, unit=1.0)


@pytest.mark.parametrize('unit', ['milimetre', 0.0, -1.0, float('nan')])
def test_bad_units(tmp_path, unit):
    (tmp_path / 'c.toml').write_text(anipose_text(0))
    with pytest.raises(CalibrationError, match=r'unit must|positive length'):
        read_calibration(tmp_path / 'c.toml', unit=unit)


# Real data


@pytest.mark.skipif(not REAL.is_dir(), reason='needs HANDPOSE_REAL_DATA with assemblyhands_calib/nimble_json_calib/')
@pytest.mark.parametrize('number', range(20))
def test_the_original_files_of_assemblyhands(number):
    paths = sorted(REAL.glob('*.json'))
    assert len(paths) == 20
    calibration = read_calibration(paths[number])
    fixed = calibration.fixed()
    assert len(calibration) == 12 and len(fixed) == 8
    assert all(name.endswith('_rgb') for name in fixed.names)
    check_common_focus(fixed)
    for camera, entry in zip(calibration, json.loads(paths[number].read_text()), strict=True):
        check_projection(camera, entry['Camera'])


def check_common_focus(fixed):
    """The eight cameras look at one place from 0.5 to 1.2 m, see what is there, and undistorted views agree on it."""
    axes = torch.stack([camera.extrinsics[2, :3] for camera in fixed])
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None]
    positions = torch.stack([camera.position for camera in fixed])
    focus = torch.linalg.solve(across.sum(0), (across @ positions[..., None]).sum(0))[:, 0]
    distances = (positions - focus).norm(dim=-1)
    assert distances.min() > 0.5 and distances.max() < 1.2
    points = focus + torch.from_numpy(np.random.default_rng(0).uniform(-0.1, 0.1, (20, 3)))
    assert all(camera.sees(points).all() for camera in fixed)
    rows = []
    for camera, projection in zip(fixed, fixed.projections(), strict=True):
        x, y = camera.undistort(camera.project(points[:1]))[0]
        rows += [x * projection[2] - projection[0], y * projection[2] - projection[1]]
    null = torch.linalg.svd(torch.stack(rows))[2][-1]
    torch.testing.assert_close(null[:3] / null[3], points[0], atol=1e-7, rtol=0)


def check_projection(camera, values):
    """Points in front of the camera project as OpenCV, or the formula of the headset's lenses, says."""
    local = np.random.default_rng(0).uniform([-0.3, -0.2, 0.6], [0.3, 0.2, 1.2], (50, 3))
    pose = np.array(values['ModelViewMatrix'])  # millimetres
    points = (1000 * local - pose[:3, 3]) @ pose[:3, :3] / 1000
    found = camera.project(torch.from_numpy(points)).numpy()
    intrinsics = np.array([[values['fx'], 0, values['cx']], [0, values['fy'], values['cy']], [0, 0, 1]])
    if values['DistortionModel'] == 'OpenCV':
        lens = np.array([values[key] for key in ('k1', 'k2', 'p1', 'p2', 'k3')])
        expected = cv2.projectPoints(local, np.zeros(3), np.zeros(3), intrinsics, lens)[0][:, 0]
    else:
        radius = np.linalg.norm(local[:, :2], axis=1)
        theta = np.arctan2(radius, local[:, 2])
        radial = 1 + sum(values[f'k{i}'] * theta ** (2 * i) for i in range(1, 7))
        u, v = (local[:, :2] * (theta * radial / radius)[:, None]).T
        square, p1, p2 = u * u + v * v, values['p1'], values['p2']
        moved = np.stack(
            [u + 2 * p2 * u * v + p1 * (square + 2 * u * u), v + 2 * p1 * u * v + p2 * (square + 2 * v * v)], 1
        )
        expected = moved * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    back = camera.undistort(torch.from_numpy(expected)).numpy()
    ideal = local[:, :2] / local[:, 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    np.testing.assert_allclose(back, ideal, atol=1e-4)
