"""BVH files, read back by pybvh, and by a reader of our own that computes with angles of several turns."""

import numpy as np
import pytest
import torch
from predicted_hands import make_predictions
from scipy.spatial.transform import Rotation

from handpose.export import ExportError, export
from handpose.export.bvh import euler_angles
from handpose.export.motion import Y_UP, TimeLine, regular_motions
from handpose.hands import MANO_JOINTS, HandModel
from handpose.structures import Predictions
from handpose.structures.fitted_hands import fit_predictions

pybvh = pytest.importorskip('pybvh', reason='the independent reader of BVH files')


def positions(path):
    """(T, 21, 3) of the file in the common order, and its pybvh object."""
    bvh = pybvh.read_bvh_file(str(path))
    return np.asarray(bvh.node_positions()), bvh


@pytest.mark.parametrize('unit, metres', [('metre', 1.0), ('centimetre', 0.01)])
def test_joints_are_those_of_the_model(tmp_path, unit, metres):
    predictions = make_predictions(30, ('left', 'right'), missing=[4, 5, (9, 1)], noise=0.001)
    report = export(predictions, tmp_path / 'x.bvh', unit=unit)
    assert [file.name for file in report.files] == ['x_left.bvh', 'x_right.bvh']
    said = ' '.join(report.notes)
    assert f'lengths are in {unit}s' in said and 'left hand: 2 of 30 frames have no hand and hold' in said
    fitted = fit_predictions(predictions)
    joints = fitted.joints()
    for hand, file in enumerate(report.files):
        found, bvh = positions(file)
        assert found.shape == (30, 21, 3) and bvh.frame_time == pytest.approx(1 / 30)
        valid = predictions.valid[:, hand]
        assert np.abs(found * metres - joints[:, hand] @ Y_UP.T)[valid].max() < 1e-5
        for held in np.flatnonzero(~valid):
            np.testing.assert_allclose(found[held], found[held - 1], atol=1e-9)


def test_the_rest_pose_is_that_of_a_t_pose(tmp_path):
    report = export(make_predictions(2, ('left', 'right')), tmp_path / 'x.bvh')
    for file, outward in zip(report.files, (1, -1), strict=True):
        bvh = pybvh.read_bvh_file(str(file))
        rest = np.asarray(bvh.rest_pose_positions())
        rest = rest.reshape(-1, 3)
        middle, thumb = rest[12] - rest[0], rest[4] - rest[0]
        assert middle[0] * outward > 0.9 * np.linalg.norm(middle) and thumb[2] > 0.04
        assert list(bvh.joint_names)[:2] == [f'{n}_{"LR"[outward < 0]}' for n in ('wrist', 'thumb_cmc')]


def test_gaps_at_the_ends_and_a_single_hand(tmp_path):
    report = export(make_predictions(6, missing=[0, 1, 5]), tmp_path / 'x.bvh')
    assert [file.name for file in report.files] == ['x.bvh']
    found, _ = positions(report.files[0])
    np.testing.assert_allclose(found[:2], found[2:3].repeat(2, 0), atol=1e-9)
    np.testing.assert_allclose(found[5], found[4], atol=1e-9)


def test_one_frame(tmp_path):
    found, bvh = positions(export(make_predictions(1), tmp_path / 'x.bvh').files[0])
    assert len(found) == 1 and bvh.frame_time == pytest.approx(1 / 30)


def test_angles_do_not_jump_and_are_the_same_rotations():
    turns = Rotation.random(3, random_state=0)
    steps = Rotation.from_rotvec(np.linspace(0, 1, 400)[:, None] * (9.0, 4.0, -7.0))
    rotmats = np.stack([(turn * steps).as_matrix() for turn in turns], 1)
    angles = euler_angles(rotmats)
    again = Rotation.from_euler('ZXY', angles.reshape(-1, 3), degrees=True).as_matrix()
    np.testing.assert_allclose(again.reshape(rotmats.shape), rotmats, atol=1e-9)
    assert np.abs(np.diff(angles, axis=0)).max() < 60  # a jump would be about 180 or 360


def test_timestamps_of_a_variable_rate_are_resampled(tmp_path):
    whole = make_predictions(60, noise=0.0)
    kept = np.array([0, 1, 2, 3, 5, 6, 8, 9, 10, 11, 13, 14, 15, 17, 18, 19])
    jitter = 0.4 / 30 * np.sin(np.arange(60.0))
    regular = make_predictions(60, noise=0.0)
    predictions = Predictions(
        regular.joints[kept], regular.valid[kept], (whole.timestamps + jitter)[kept], regular.hand_side, 'camera'
    )
    report = export(predictions, tmp_path / 'x.bvh')
    assert any('frame rate varies' in note for note in report.notes)
    motions, _ = regular_motions(fit_predictions(predictions))
    line = TimeLine.over(predictions.timestamps)
    times, period = line.times, line.period
    assert (
        len(motions[0]) == len(times)
        and motions[0].valid.all()
        and period == pytest.approx(np.median(np.diff(predictions.timestamps)), rel=0.05)
    )
    expected = np.stack([np.interp(times, predictions.timestamps, predictions.joints[:, 0, 0, c]) for c in range(3)], 1)
    assert np.abs(motions[0].wrist @ Y_UP - expected).max() < 1e-3


def test_rounded_timestamps_and_dropped_frames_keep_their_poses():
    numbers = np.array([0, 1, 2, 4, 5, 6, 7, 8])
    whole = make_predictions(9, noise=0.0)
    rounded = np.round(numbers / 30, 3)
    predictions = Predictions(whole.joints[numbers], whole.valid[numbers], rounded, whole.hand_side, 'camera')
    fitted = fit_predictions(predictions)
    motions, notes = regular_motions(fitted)
    assert notes == [] and len(motions[0]) == 9 and motions[0].valid.all()
    wrist = motions[0].wrist @ Y_UP
    np.testing.assert_allclose(wrist[numbers], fitted.joints()[:, 0, 0], atol=1e-6)
    between = (fitted.joints()[2, 0, 0] + fitted.joints()[3, 0, 0]) / 2
    np.testing.assert_allclose(wrist[3], between, atol=1e-4)
    assert motions[0].rotmats.shape == (9, len(MANO_JOINTS), 3, 3)


def test_a_hand_that_is_never_there_is_left_out(tmp_path):
    predictions = make_predictions(4, ('left', 'right'), missing=[0, 1, 2, 3])
    report = export(predictions, tmp_path / 'x.bvh')
    assert [file.name for file in report.files] == ['x.bvh']
    assert any('left hand is in no frame' in note for note in report.notes)


def test_another_hand_model_is_refused(tmp_path):
    class Other(HandModel):
        pass

    other = Other('other', torch.zeros(1, 3), torch.zeros(45), torch.eye(45), torch.zeros(2, 5), 1)
    with pytest.raises(ExportError, match='bones of ProceduralHand'):
        export(make_predictions(2), tmp_path / 'x.bvh', hand_model=other)
