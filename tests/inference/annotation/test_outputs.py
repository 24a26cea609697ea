"""Files made of an annotated recording, read back by their own readers."""

import json

import numpy as np
import pytest
from annotated_recordings import make_recording

from handpose.datasets.assemblyhands.reader import AssemblyHandsPoses
from handpose.datasets.motion.motion_file import read_motion
from handpose.datasets.sampling import Tracks
from handpose.inference.annotation.outputs import OUTPUTS, OutputNames, regular_frames
from handpose.structures import load_predictions

DISTORTION = (-0.2, 0.05, 0.001, -0.001)


@pytest.fixture
def names(tmp_path):
    return OutputNames(tmp_path / 'r.npz', 'anna', 'wave', 'CC0')


def gappy(**changes):
    """A right hand that lacks a joint in frame 3, and a left one that is missing in frames 5 and 6."""
    valid = np.ones((12, 2, 21), bool)
    valid[3, 1, 4] = False
    valid[5:7, 0] = False
    return make_recording(12, joints_valid=valid, distortion=DISTORTION, **changes)


def test_motion(names):
    recording = gappy(timestamps=np.r_[0:8, 10:14] / 30)
    files, notes = OUTPUTS['motion'](recording, names)
    assert notes == ['the motion file has 2 frames more: those missing in time, without a hand']
    motion = read_motion(files[0])
    assert motion.sequence_names == ['anna/wave_left', 'anna/wave_right'] and motion.fps == pytest.approx(30)
    assert motion.hand_side.tolist() == [0, 1] and motion.licence == 'CC0'
    valid = motion.frame_valid.reshape(2, 14)
    assert np.flatnonzero(~valid[0]).tolist() == [5, 6, 8, 9] and np.flatnonzero(~valid[1]).tolist() == [3, 8, 9]
    joints = motion.joints.reshape(2, 14, 21, 3)
    np.testing.assert_array_equal(joints[0, 10:], recording.joints_3d[8:, 0])
    np.testing.assert_array_equal(joints[1, 2], recording.joints_3d[2, 1])
    assert motion.camera_serials == ['cam0', 'cam1', 'cam2'] and motion.camera_sizes.tolist() == [[640, 480]] * 3
    camera = recording.calibration.cameras[1]
    np.testing.assert_array_equal(motion.camera_extrinsics[1, 1], camera.extrinsics)
    np.testing.assert_array_equal(motion.camera_intrinsics[1], camera.intrinsics)


def test_a_hand_that_is_never_whole_is_no_sequence(names):
    valid = np.ones((12, 2, 21), bool)
    valid[:, 0, 7] = False
    motion = read_motion(OUTPUTS['motion'](make_recording(12, joints_valid=valid), names)[0][0])
    assert motion.sequence_names == ['anna/wave_right']
    valid[:, 1, 7] = False
    assert OUTPUTS['motion'](make_recording(12, joints_valid=valid), names) == (
        [],
        ['the motion file was left out: no frame has all 21 joints of a hand'],
    )


def test_predictions(names):
    recording = gappy()
    found = load_predictions(OUTPUTS['predictions'](recording, names)[0][0])
    assert found.frame == 'camera' and found.valid[5].tolist() == [False, True]
    assert not found.given_joints()[3, 1, 4]
    camera = recording.calibration.cameras[0].extrinsics.numpy()
    expected = recording.joints_3d[0, 0] @ camera[:3, :3].T + camera[:3, 3]
    np.testing.assert_allclose(found.joints[0, 0], expected, atol=1e-6)


def test_coco(names):
    indices = np.tile(np.arange(12)[:, None] + [0, 5, 0], 1)
    indices[9:, 2] = -1
    seen = np.ones((12, 3, 2), bool)
    seen[9:, 2], seen[4, 0, 1] = False, False
    recording = gappy(frame_indices=indices, joints_2d_valid=seen)
    (path,), (note,) = OUTPUTS['coco'](recording, names)
    document = json.loads(path.read_text())
    assert len(document['images']) == 33 and document['licenses'][0]['name'] == 'CC0'
    image = next(row for row in document['images'] if row['camera'] == 'cam1' and row['frame_index'] == 9)
    assert image['file_name'] == 'cam1/000009.jpg' and (image['width'], image['height']) == (640, 480)
    assert image['timestamp'] == pytest.approx(4 / 30)
    rows = [row for row in document['annotations'] if row['image_id'] == image['id']]
    assert [row['category_id'] for row in rows] == [1, 2]
    points = np.array(rows[1]['keypoints']).reshape(21, 3)
    np.testing.assert_allclose(points[:, :2], recording.project(recording.joints_3d)[4, 1, 1], atol=1e-3)
    assert (points[:, 2] == 2).all()
    first = next(row for row in document['images'] if row['camera'] == 'cam0' and row['frame_index'] == 4)
    (unseen,) = [r for r in document['annotations'] if r['image_id'] == first['id'] and r['category_id'] == 2]
    assert set(unseen['keypoints'][2::3]) == {1} and 'ffmpeg' in note
    assert len({row['id'] for row in document['annotations']}) == len(document['annotations'])


def test_joints_outside_of_the_image_are_unknown(names):
    recording = make_recording(4)
    far = recording.joints_3d.copy()
    far[0, 0, :5, 0] += 3.0
    recording = make_recording(4, joints_3d=far)
    document = json.loads(OUTPUTS['coco'](recording, names)[0][0].read_text())
    points = np.array(document['annotations'][0]['keypoints']).reshape(21, 3)
    assert (points[:5] == 0).all() and (points[5:, 2] == 2).all()
    assert document['annotations'][0]['num_keypoints'] == 16


def test_assemblyhands(names):
    """Joints come back through the reader of the dataset; boxes and calibration are those of undistorted images."""
    recording = gappy(sides=(0, 1))
    files, notes = OUTPUTS['assemblyhands'](recording, names)
    assert 'without lens distortion' in notes[0] and len(files) == 3
    root = names.beside('_assemblyhands')
    (clip,) = AssemblyHandsPoses(data_root=root, split='train', sampling=Tracks(), min_frames=4)
    assert clip.frame == 'world' and clip.joints_3d.shape == (12, 2, 21, 3)
    valid = clip.joints_valid.numpy()
    np.testing.assert_array_equal(valid, recording.joints_valid)
    np.testing.assert_allclose(clip.joints_3d.numpy()[valid], recording.joints_3d[valid], atol=1e-6)
    data = json.loads(next(path for path in files if 'ego_data' in path.name).read_text())
    calibration = json.loads(next(path for path in files if 'ego_calib' in path.name).read_text())['calibration']
    image = data['images'][4]
    assert image['file_name'] == 'ego_images_rectified/train/anna_wave/cam1_mono10bit/000002.jpg'
    assert (image['camera'], image['frame_idx'], image['seq_name']) == ('cam1', 2, 'anna_wave')
    (row,) = [row for row in data['annotations'] if row['image_id'] == image['id']]
    matrix = np.array(calibration['anna_wave']['intrinsics']['cam1_mono10bit'])
    pose = np.array(calibration['anna_wave']['extrinsics']['000002']['cam1_mono10bit'])
    points = 1000 * recording.joints_3d[1, 1] @ pose[:, :3].T + pose[:, 3]
    pixels = points @ matrix.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    low, high = np.array(row['bbox']['right']).reshape(2, 2)
    np.testing.assert_allclose(
        [low, high], [pixels.min(0) * 1.1 - pixels.max(0) * 0.1, pixels.max(0) * 1.1 - pixels.min(0) * 0.1], atol=0.05
    )
    assert row['joint_valid'] == [1] * 42
    lacking = next(a for a in data['annotations'] if data['images'][a['image_id']]['frame_idx'] == 10)
    assert lacking['bbox']['left'] is None and lacking['joint_valid'] == [1] * 21 + [0] * 21


def test_assemblyhands_at_other_rates(names):
    recording = make_recording(12, timestamps=np.arange(12) / 60)
    OUTPUTS['assemblyhands'](recording, names)
    (clip,) = AssemblyHandsPoses(
        data_root=names.beside('_assemblyhands'), split='train', sampling=Tracks(), min_frames=4
    )
    np.testing.assert_allclose(clip.joints_3d, recording.joints_3d[::2], atol=1e-6)
    files, notes = OUTPUTS['assemblyhands'](make_recording(12, timestamps=np.arange(12) / 25), names)
    assert files == [] and 'this recording has 25' in notes[0]


def test_frames_at_a_constant_rate():
    generator = np.random.default_rng(0)
    kept = np.r_[0:10, 12:30]
    times = kept / 30 + generator.uniform(-0.004, 0.004, len(kept))
    numbers, period = regular_frames(times)
    np.testing.assert_array_equal(numbers, kept)
    assert period == pytest.approx(1 / 30, rel=0.01)
    assert regular_frames(np.zeros(1))[0].tolist() == [0]
