"""`infer_missing_joints`: on procedural hands, whose missing joints are known, and on recorded ones."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from predicted_hands import make_predictions

from handpose.geometry import project_points
from handpose.hands import JOINT_ORDERS
from handpose.hands.joints import permutation_to_common
from handpose.structures import Predictions, PredictionsError, infer_missing_joints

REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', '')) / 'dexycb_motion' / 'dexycb_motion.npz'
CAMERA = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])


def pixels_of(joints):
    return project_points(torch.from_numpy(joints).double(), torch.from_numpy(CAMERA)).numpy()


def partial(order, **known):
    """Two hands that lack what an order lacks, and the same hands with all joints."""
    whole = make_predictions(12, ('left', 'right'), noise=0, missing=[(3, 1)], **known)
    present = np.array(permutation_to_common(order)) >= 0
    return replace(whole, joints_valid=whole.given_joints() & present), whole, present


@pytest.mark.parametrize('order', ['nyu', 'icvl', 'mocap_17', 'mano'])
@pytest.mark.parametrize('frame', ['camera', 'wrist'])
def test_missing_joints_are_plausible(order, frame):
    if (order, frame) == ('icvl', 'wrist'):
        pytest.skip('ICVL has no wrist')
    given, whole, present = partial(order, frame=frame)
    found = infer_missing_joints(given)
    assert found.joints_valid is None and (found.valid == given.valid).all()
    np.testing.assert_array_equal(found.joints_inferred, given.valid[..., None] & ~present)
    np.testing.assert_array_equal(found.joints[:, :, present], given.joints[:, :, present])
    off = np.linalg.norm(found.joints - whole.joints, axis=-1)[whole.valid][:, ~present]
    assert np.median(off) < 0.015 and off.max() < 0.035


def test_pixels_of_missing_joints():
    """Projected with the camera, or else with the scale that the other joints have in the image."""
    whole = make_predictions(12, noise=0)
    whole = replace(whole, joints_2d=pixels_of(whole.joints), intrinsics=CAMERA)
    mask = np.ones((12, 1, 21), bool)
    mask[:, :, 8] = False
    given = replace(whole, joints_valid=mask, confidence=np.ones((12, 1, 21)))
    found = infer_missing_joints(given)
    np.testing.assert_allclose(found.joints_2d, pixels_of(found.joints), atol=1e-2)
    assert (found.confidence[..., 8] == 0).all() and (found.confidence[..., 7] == 1).all()
    without = infer_missing_joints(replace(given, intrinsics=None))
    np.testing.assert_array_equal(without.joints_2d[:, :, :8], given.joints_2d[:, :, :8])
    assert np.abs(without.joints_2d - found.joints_2d).max() < 25  # of a hand of 200 pixels, without perspective


def test_what_there_is_to_infer():
    whole = make_predictions(9, missing=[2])
    assert infer_missing_joints(whole) is whole
    masked = replace(whole, joints_valid=np.ones((9, 1, 21), bool))
    assert infer_missing_joints(masked).joints_valid is None
    few = np.ones((9, 1, 21), bool)
    few[4, 0, 3:] = False
    with pytest.raises(PredictionsError, match='at least 4 given ones, and there are 3 in frame 4, right hand'):
        infer_missing_joints(replace(whole, joints_valid=few))
    once = infer_missing_joints(replace(whole, joints_valid=few | (np.arange(21) < 20)))
    assert once.joints_inferred[4, 0].tolist() == [False] * 20 + [True]


@pytest.mark.skipif(not REAL.is_file(), reason='needs HANDPOSE_REAL_DATA with dexycb_motion/')
@pytest.mark.parametrize('order, limit', [('mocap_17', 12), ('nyu', 13), ('icvl', 11)])
def test_recorded_hands(order, limit):
    """Mean error in mm of joints removed from DexYCB.

    docs/data/predictions_file.md states the figures of 20 sequences.
    """
    data = np.load(REAL)
    start = np.concatenate([[0], data['sequence_lengths'].cumsum()])
    errors = []
    for sequence in (100, 700):
        rows = slice(start[sequence], start[sequence + 1])
        joints = data['joints'][rows][data['frame_valid'][rows]][::4].astype(np.float64) + [0, 0, 5.0]
        missing = np.array(permutation_to_common(order)) < 0
        mask = np.broadcast_to(~missing, (len(joints), 1, 21))
        valid = np.ones((len(joints), 1), bool)
        side = data['hand_side'][sequence : sequence + 1]
        times = np.arange(len(joints)) / 7.5
        found = infer_missing_joints(Predictions(joints[:, None], valid, times, side, 'camera', joints_valid=mask))
        errors.append(np.linalg.norm(found.joints[:, 0] - joints, axis=-1)[:, missing])
    assert 1000 * np.concatenate(errors).mean() < limit


def test_orders_without_joints_are_named():
    assert {len(JOINT_ORDERS[name]) for name in ('nyu', 'icvl', 'shrec', 'mocap_17')} == {14, 16, 22, 17}
