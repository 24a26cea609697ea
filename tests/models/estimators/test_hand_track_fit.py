"""HandModelTrackFit on motion of the hand model itself: exact without noise, nearer to the truth with it."""

import pytest
import torch

from handpose.geometry import rot6d_to_rotmat, rotmat_to_rotvec
from handpose.hands import ProceduralHand
from handpose.hands.joints import BONES
from handpose.models import GaussianFilter, HandModelTrackFit

INNER, OUTER = (list(ends) for ends in zip(*BONES, strict=True))
TIMES = torch.arange(45).double() / 30
SIDES = torch.tensor([0, 1])


@pytest.fixture(scope='module')
def motion():
    """Joints (T, 2, 21, 3) of a left and a right hand that bend their fingers and turn; the model's parameters."""
    phase = TIMES[:, None, None].float()
    pose = torch.zeros(45, 2, 16, 3)
    pose[:, :, 1:13, 2] = 0.3 - 0.3 * torch.cos(3 * phase) * torch.tensor([-1.0, 1.0])[:, None]
    pose[:, :, 1:13, 2] *= torch.tensor([-1.0, 1.0])[:, None]
    pose[:, :, 0, 0] = 0.4 * torch.sin(2 * phase[..., 0])
    shape = torch.tensor([1.0, -0.5, *[0.0] * 8]).expand(45, 2, 10)
    transl = torch.stack([0.1 * torch.sin(TIMES), 0 * TIMES, 0.5 + 0 * TIMES], 1)[:, None].expand(45, 2, 3).float()
    return ProceduralHand()(pose, shape, transl, SIDES.expand(45, 2)).joints.double()


def lengths(joints):
    return (joints[..., OUTER, :] - joints[..., INNER, :]).norm(dim=-1)


def noisy(joints, noise=0.004):
    return joints + noise * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0), dtype=joints.dtype)


def test_motion_of_the_hand_model_stays(motion):
    given = torch.ones(45, 2, dtype=torch.bool)
    found = HandModelTrackFit(smoothness=0.0).refine(motion, given, SIDES, times=TIMES)
    assert (found.joints - motion).norm(dim=-1).mean() < 1.5e-3
    assert lengths(found.joints).std(0).max() < 1e-6


def test_noise_falls_more_than_with_the_filter_alone(motion):
    given = torch.ones(45, 2, dtype=torch.bool)
    given[20:22, 0] = False
    inputs = torch.where(given[..., None, None], noisy(motion), 7.0)
    found = HandModelTrackFit().refine(inputs, given, SIDES, times=TIMES).joints
    smooth = GaussianFilter().refine(inputs, given, SIDES, times=TIMES).joints
    errors = [float((one - motion).norm(dim=-1).mean()) for one in (noisy(motion), smooth, found)]
    assert errors[2] < errors[1] < 0.6 * errors[0], errors
    assert lengths(found).std(0).max() < 1e-6 < 1e-3 < lengths(smooth).std(0).max()


def test_parameters_are_those_of_the_joints(motion):
    given = torch.ones(45, 2, dtype=torch.bool)
    model = HandModelTrackFit(meshes=True)
    found = model.refine(motion, given, SIDES, times=TIMES)
    pose, shape = rotmat_to_rotvec(rot6d_to_rotmat(found.pose)), found.shape.expand(45, 2, 10)
    transl = found.joints[:, :, 0] - model.hand_model.rest_wrist(shape.float(), SIDES.expand(45, 2))
    joints = model.hand_model(pose.float(), shape.float(), transl.float(), SIDES.expand(45, 2)).joints
    torch.testing.assert_close(joints.double(), found.joints, atol=1e-5, rtol=0)


def test_joints_that_are_missing_stay_missing(motion):
    given = torch.ones(45, 2, 21, dtype=torch.bool)
    given[:, :, [4, 7]], given[5:8, 1, 12] = False, False
    found = HandModelTrackFit().refine(noisy(motion), given, SIDES, times=TIMES).joints
    assert (found[:, :, [4, 7]] == 0).all()
    assert (found - motion)[:, :, [5, 6, 12]].norm(dim=-1).mean() < 0.004
    given[:, :, 3:] = False
    with pytest.raises(ValueError, match='needs 4 joints of a hand'):
        HandModelTrackFit(0.0).refine(motion, given, SIDES, times=TIMES)


def test_settings_that_make_no_refiner():
    with pytest.raises(ValueError, match=r'smoothness must be at least 0 seconds, got -1\.0'):
        HandModelTrackFit(-1.0)
    with pytest.raises(NotImplementedError, match='nothing to train'):
        HandModelTrackFit()._refuse_training()
