import os
from pathlib import Path

import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.export import ExportError, export
from handpose.export.retargeting import retargeting_joints


def reference(keypoints, side):
    """Frame by frame and by singular value decomposition, as dex-retargeting's detector describes it."""
    keypoints = keypoints - keypoints[:1]
    points = keypoints[[0, 5, 9]]
    x = points[0] - points[2]
    normal = np.linalg.svd(points - points.mean(0))[2][2]
    x = x - x @ normal * normal
    x /= np.linalg.norm(x)
    z = np.cross(x, normal)
    if z @ (points[1] - points[2]) < 0:
        normal, z = -normal, -z
    sign = 1 if side else -1
    to_robot = np.array([[0, 0, -1], [-sign, 0, 0], [0, sign, 0]])
    return keypoints @ np.stack([x, normal, z], 1) @ to_robot


def test_the_wrist_frame_is_that_of_its_detector(tmp_path):
    predictions = make_predictions(8, ('left', 'right'), missing=[3], noise=0.004)
    report = export(predictions, tmp_path / 'x.npz', target='dex-retargeting')
    assert 'left hand: 7 of 8 frames' in report.notes[0]
    found = np.load(tmp_path / 'x.npz')
    assert found['left_valid'].tolist() == [t != 3 for t in range(8)] and found['scale'] == 'metric'
    for hand, side in enumerate(('left', 'right')):
        for t in np.flatnonzero(found[f'{side}_valid']):
            expected = reference(predictions.joints[t, hand].astype(np.float64), hand)
            np.testing.assert_allclose(found[f'{side}_joint_pos'][t], expected, atol=1e-9)
    assert np.isnan(found['left_joint_pos'][3]).all()
    np.testing.assert_array_equal(found['timestamps'], predictions.timestamps)


@pytest.mark.parametrize('side', [0, 1])
def test_axes(side):
    """An open hand: fingers along z, and the frame does not depend on how the hand is held."""
    joints = make_predictions(5, (('left', 'right')[side],), noise=0.0).joints[:, 0]
    found = retargeting_joints(joints, side)
    middle = found[:, 9]
    np.testing.assert_allclose(middle / np.linalg.norm(middle, axis=1, keepdims=True), [[0, 0, 1]] * 5, atol=1e-6)
    np.testing.assert_allclose(found[:, 5, 0], 0, atol=1e-9)  # index base in the plane of the palm
    assert (found[:, 5, 1] * (1 if side else -1) > 0.01).all()  # and on the side that y has in each hand
    assert (found[:, [8, 12, 16, 20], 0].mean(1) > 0.005).all()  # bent fingers: x points out of the palm


def test_a_name_of_another_kind(tmp_path):
    with pytest.raises(ExportError, match=r'ends in \.npz'):
        export(make_predictions(2), tmp_path / 'x.pkl', target='dex-retargeting')


REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', '')) / 'hand_video' / 'mediapipe_world_landmarks.npz'


@pytest.mark.skipif(not REAL.is_file(), reason='needs HANDPOSE_REAL_DATA with hand_video/')
def test_joints_that_its_detector_wrote_stay_as_they_are():
    """The recording holds the output of dex-retargeting's own detector, in its wrist frame already."""
    joints = np.load(REAL)['joints']
    np.testing.assert_allclose(retargeting_joints(joints, 1), joints - joints[:, :1], atol=1e-6)
