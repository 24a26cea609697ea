import numpy as np
import pytest
import torch
from mano_files import write_plain
from predicted_hands import hand_motion, make_predictions

from handpose.hands import MANO, ProceduralHand
from handpose.hands.fit_model import fit_hand_model
from handpose.structures import Predictions, PredictionsError
from handpose.structures import fitted_hands as module
from handpose.structures.fitted_hands import continuous_rotvecs, fit_predictions


@pytest.mark.parametrize('frame', ['camera', 'wrist'])
def test_two_hands_with_gaps(frame):
    predictions = make_predictions(20, ('left', 'right'), noise=0.0, missing=[4, 5, (9, 1)], frame=frame)
    fitted = fit_predictions(predictions)
    np.testing.assert_array_equal(fitted.valid, predictions.valid)
    joints = fitted.joints()
    assert np.isnan(joints[~predictions.valid]).all() and not fitted.pose[~predictions.valid].any()
    assert np.abs(joints - predictions.joints)[predictions.valid].mean() < 0.7e-3
    distance = np.linalg.norm(joints - predictions.joints, axis=-1)
    np.testing.assert_allclose(fitted.residual, distance, atol=1e-6)
    assert fitted.typical_residual() == pytest.approx(np.nanmedian(distance), abs=1e-6)
    assert fitted.shape.shape == (2, 10) and len(fitted) == 20
    vertices, _ = fitted.mesh(1, slice(2, 4))
    assert vertices.shape == (2, ProceduralHand().num_vertices, 3) and np.isfinite(vertices).all()


def test_one_thread_and_no_more(monkeypatch):
    seen, threads = [], torch.get_num_threads()
    real = module.fit_hand
    monkeypatch.setattr(module, 'fit_hand', lambda *a, **k: seen.append(torch.get_num_threads()) or real(*a, **k))
    torch.set_num_threads(2)
    try:
        fit_predictions(make_predictions(3))
        assert seen == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_long_track_is_fitted_in_pieces(monkeypatch):
    monkeypatch.setattr(module, 'CHUNK', 20)
    predictions = make_predictions(50, noise=0.0)
    calls = []
    fitted = fit_predictions(predictions, progress=lambda *numbers: calls.append(numbers))
    assert calls == [(20, 50), (40, 50), (50, 50)]
    assert np.abs(fitted.joints() - predictions.joints).mean() < 1e-3


def test_unknown_joints():
    predictions = make_predictions(12, noise=0.0)
    known = np.ones((12, 1, 21), bool)
    known[:, :, [3, 7, 19]] = False
    known[3, 0] = False
    known[3, 0, :3] = True
    joints = np.where(known[..., None], predictions.joints, np.nan)
    partial = Predictions(
        joints, predictions.valid, predictions.timestamps, predictions.hand_side, 'camera', joints_valid=known
    )
    fitted = fit_predictions(partial)
    assert not fitted.valid[3] and fitted.valid.sum() == 11
    assert np.isnan(fitted.residual[:, 0, 3]).all() and np.nanmean(fitted.residual) < 1.5e-3
    there = fitted.valid[:, 0]
    # What no joint tells comes from the model: the bones of the hand and straight rather than bent joints.
    assert np.abs(fitted.joints() - predictions.joints)[there].max() < 0.03


def test_no_hand_with_four_joints():
    known = np.zeros((4, 1, 21), bool)
    known[..., :3] = True
    whole = make_predictions(4)
    joints = np.where(known[..., None], whole.joints, np.nan)
    partial = Predictions(joints, whole.valid, whole.timestamps, whole.hand_side, 'camera', joints_valid=known)
    with pytest.raises(PredictionsError, match='at least 4 known joints'):
        fit_predictions(partial)


def test_rotation_vectors_do_not_jump():
    angles = np.linspace(0, 5 * np.pi, 100)
    axis = np.array([0.6, 0, 0.8])
    wrapped = ((angles + np.pi) % (2 * np.pi) - np.pi)[:, None] * axis
    np.testing.assert_allclose(continuous_rotvecs(wrapped), angles[:, None] * axis, atol=1e-9)


@pytest.mark.parametrize('side', [0, 1])
def test_mano_is_fitted(tmp_path, side):
    write_plain(tmp_path)
    model = MANO(tmp_path)
    generator = torch.Generator().manual_seed(side)
    pose = model.pose_mean_of(side).view(15, 3) + 0.2 * torch.randn(4, 15, 3, generator=generator)
    pose = torch.cat([0.3 * torch.randn(4, 1, 3, generator=generator), pose], 1)
    transl = torch.tensor([0.0, 0.1, 0.6]).expand(4, 3)
    joints = model(pose, 0.5 * torch.ones(10), transl, torch.tensor(side)).joints.detach()
    fit = fit_hand_model(model, joints, torch.tensor([True, True, False, True]), side)
    assert fit.error[[0, 1, 3]].mean() < 2e-3 and fit.error[2].isnan().all() and not fit.hand_pose[2].any()
    again = model(fit.hand_pose.float(), fit.hand_shape.float(), fit.hand_transl.float(), torch.tensor(side)).joints
    assert (again - fit.joints)[[0, 1, 3]].abs().max() < 1e-5


def test_the_fit_of_any_model_comes_close_where_the_hand_is_a_real_one():
    joints = torch.from_numpy(hand_motion(6, 'left'))
    everywhere = torch.ones(6, dtype=torch.bool)
    fit = fit_hand_model(ProceduralHand(), joints, everywhere, 0)
    assert fit.error.mean() < 1e-3 and fit.error.max() < 5e-3
    known = torch.ones(6, 21, dtype=torch.bool)
    known[:, [3, 7]] = False
    again = fit_hand_model(ProceduralHand(), joints, known, 0, hand_shape=fit.hand_shape)
    assert torch.equal(again.hand_shape, fit.hand_shape) and again.error[:, [3, 7]].isnan().all()


def test_another_model_than_the_default(tmp_path):
    write_plain(tmp_path)
    predictions = make_predictions(2, noise=0.0)
    fitted = fit_predictions(predictions, MANO(tmp_path))
    assert fitted.hand_model.name == 'mano' and fitted.residual.shape == (2, 1, 21)


def test_a_frame_that_falls_into_another_minimum_is_fitted_again(monkeypatch):
    """The pose of one frame is spoilt after the first fit: PIP and DIP of the index finger exchange their bends."""
    real = module.fit_hand

    def spoil(*arguments, **options):
        fit = real(*arguments, **options)
        if options.get('start_pose') is None:
            fit.hand_pose[10, [2, 3]] = fit.hand_pose[10, [3, 2]] + torch.tensor([0.0, 0.0, 0.8]).double()
            fit.error[10] += 0.002
        return fit

    predictions = make_predictions(20, noise=0.0)
    expected = fit_predictions(predictions)
    monkeypatch.setattr(module, 'fit_hand', spoil)
    found = fit_predictions(predictions)
    np.testing.assert_allclose(found.pose[10], expected.pose[10], atol=0.02)
    np.testing.assert_array_equal(found.pose[:10], expected.pose[:10])
    np.testing.assert_allclose(found.residual, expected.residual, atol=3e-4)
