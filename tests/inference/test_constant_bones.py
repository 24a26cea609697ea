"""`constant_bones`: lengths are medians over the track, directions stay, and what is constant stays as it is."""

from dataclasses import replace

import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.evaluation.motion_summary import motion_summary
from handpose.hands.joints import BONES
from handpose.inference import Refiner, constant_bones, load_refiner
from handpose.models import HandModelTrackFit
from handpose.structures import PredictionsError

INNER, OUTER = (list(ends) for ends in zip(*BONES, strict=True))


def bones(joints):
    """Directions (T, H, 20, 3) and lengths (T, H, 20) of bones."""
    vectors = (joints[..., OUTER, :] - joints[..., INNER, :]).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=-1)
    return vectors / lengths[..., None], lengths


def lacking(predictions, *joints):
    mask = predictions.given_joints()
    mask[..., list(joints)] = False
    return replace(predictions, joints_valid=mask)


def test_lengths_are_medians_and_directions_stay():
    given = make_predictions(40, ('left', 'right'), noise=0.004)
    found = constant_bones(given)
    before, after = bones(given.joints), bones(found.joints)
    np.testing.assert_allclose(after[0], before[0], atol=1e-4)
    np.testing.assert_allclose(after[1], np.broadcast_to(np.median(before[1], 0), after[1].shape), atol=1e-6)
    np.testing.assert_array_equal(found.joints[:, :, 0], given.joints[:, :, 0])
    assert motion_summary(found)['bone_spread'] < 1e-3 < 1 < motion_summary(given)['bone_spread']
    again = constant_bones(found)
    np.testing.assert_allclose(again.joints, found.joints, atol=1e-6)


def test_partial_skeletons():
    """Without the index PIP, the two bones beside it are as they were, and the tip hangs on the DIP."""
    given = make_predictions(30, noise=0.004)
    found, whole = constant_bones(lacking(given, 6)), constant_bones(given)
    np.testing.assert_array_equal(found.joints[:, :, 7], given.joints[:, :, 7])
    np.testing.assert_array_equal(found.joints[:, :, 9:], whole.joints[:, :, 9:])
    length = np.linalg.norm(found.joints[:, 0, 8] - found.joints[:, 0, 7], axis=-1)
    assert np.ptp(length) < 1e-6
    no_wrist = constant_bones(lacking(given, 0)).joints
    np.testing.assert_array_equal(no_wrist[:, :, 1::4], given.joints[:, :, 1::4])


def test_a_joint_that_is_missing_for_a_while():
    given = make_predictions(30, noise=0.004)
    mask = given.given_joints()
    mask[10:12, 0, 6] = False
    found = constant_bones(replace(given, joints_valid=mask))
    lengths = np.linalg.norm(found.joints[:, 0, 7] - found.joints[:, 0, 6], axis=-1)[mask[:, 0, 6]]
    assert np.ptp(lengths) < 1e-6
    np.testing.assert_array_equal(found.joints[10:12, 0, 7], given.joints[10:12, 0, 7])


def test_another_track_has_lengths_of_its_own():
    given = make_predictions(40, noise=0.004)
    ids = np.where(np.arange(40) < 20, 1, 2)[:, None]
    found = constant_bones(replace(given, track_ids=ids))
    parts = [constant_bones(given.select(part)).joints for part in (slice(0, 20), slice(20, 40))]
    np.testing.assert_array_equal(found.joints, np.concatenate(parts))


@pytest.mark.parametrize('frame', ['camera', 'wrist'])
def test_a_refiner_with_constant_bones(frame):
    given = make_predictions(50, ('left', 'right'), missing=[4, (9, 1)], frame=frame, noise=0.004)
    found = load_refiner(method='gaussian', bones='constant').refine(given)
    assert found.valid.all() and motion_summary(found)['bone_spread'] < 1e-3
    np.testing.assert_array_equal(found.joints, constant_bones(load_refiner(method='gaussian').refine(given)).joints)
    if frame == 'wrist':
        assert (found.joints[:, :, 0] == 0).all()


def test_online_and_unknown_lengths_are_refused():
    with pytest.raises(PredictionsError, match=r"bones='constant' needs .* a whole track: use refine\(\)"):
        load_refiner(method='gaussian', bones='constant').push(make_predictions(1))
    with pytest.raises(ValueError, match="bones must be one of as_given, constant, got 'median'"):
        load_refiner(method='gaussian', bones='median')


def test_hand_model_fit_of_a_predictions_file():
    """Joints that are missing stay missing; bones are constant; online refinement is refused."""
    given = lacking(make_predictions(30, ('left', 'right'), missing=[(9, 1)], noise=0.004), 4, 8)
    refiner = Refiner(HandModelTrackFit())
    found = refiner.refine(given).check()
    assert found.valid.all() and not found.joints_valid[..., [4, 8]].any() and found.joints_valid[..., 5].all()
    assert motion_summary(found)['bone_spread'] < 1e-3 < 1 < motion_summary(given)['bone_spread']
    with pytest.raises(ValueError, match='HandModelTrackFit fits one hand shape to a whole track: use refine'):
        Refiner(HandModelTrackFit(), fps=30.0)
