"""The rendered gestures: what is in the videos, their cameras and joints."""

import numpy as np
import torch

from handpose.geometry import project_points
from handpose.synthesis.gesture_videos import gesture_joints, write_gesture_videos
from handpose.video import VideoReader


def test_two_cameras(tmp_path):
    """Names, sizes and times; all joints are in the images of both cameras."""
    written = write_gesture_videos(tmp_path, ('left', 'right'), frames=8, size=(160, 120), seed=3, suffix='.webm')
    assert [path.name for path in written.videos] == ['left.webm', 'right.webm']
    assert list(written.calibration.names) == ['left', 'right']
    joints = torch.from_numpy(written.joints)
    for path, camera in zip(written.videos, written.calibration, strict=True):
        frames = list(VideoReader(path))
        assert len(frames) == 8 and frames[0].image.shape == (120, 160, 3)
        uv = project_points(joints, camera.intrinsics, camera.extrinsics)
        assert (uv > 4).all() and (uv < torch.tensor([156, 116])).all()  # all of the hand is in the image
    np.testing.assert_allclose(written.timestamps, np.arange(8) / 30)
    alone, times = gesture_joints(8, seed=3)
    np.testing.assert_array_equal(alone, written.joints)
    np.testing.assert_array_equal(times, written.timestamps)


def test_a_longer_motion_begins_as_a_shorter_one():
    short, long = gesture_joints(10, seed=1)[0], gesture_joints(60, seed=1)[0]
    np.testing.assert_allclose(long[:10], short, atol=1e-6)
    speed = np.linalg.norm(np.diff(long, axis=0), axis=-1).max() * 30
    assert np.ptp(long[:, 8, 2]) > 0.05 and speed < 2  # it moves, and nothing jumps: metres per second
    assert np.abs(gesture_joints(10, seed=2)[0] - short).max() > 0.001


def test_a_glove(tmp_path):
    """Pixels at the middle of the palm have the colour of the glove, seen through the sensor."""
    written = write_gesture_videos(tmp_path, frames=2, size=(160, 120), suffix='.webm', skin=(0.02, 0.05, 0.6))
    (camera,) = written.calibration
    palm = torch.from_numpy(written.joints[:1, [0, 5, 9, 17]].mean(1))
    ((column, row),) = project_points(palm, camera.intrinsics, camera.extrinsics).round().int().tolist()
    red, green, blue = next(iter(VideoReader(written.videos[0]))).image[row, column].astype(int)
    assert blue > 2 * max(red, green)


def test_further_away_is_smaller(tmp_path):
    sizes = []
    for distance in (0.52, 1.04):
        written = write_gesture_videos(tmp_path, frames=2, size=(160, 120), suffix='.webm', distance=distance)
        (camera,) = written.calibration
        uv = project_points(torch.from_numpy(written.joints[0]), camera.intrinsics, camera.extrinsics)
        sizes.append(float((uv.amax(0) - uv.amin(0))[1]))
    assert 1.8 < sizes[0] / sizes[1] < 2.2
