import numpy as np
import pytest
import torch
from motions import hand_joints

from handpose.datasets import DatasetError
from handpose.datasets.transforms import GaussianJointNoise
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence


def make_clip(frames=200):
    joints = torch.stack([torch.from_numpy(hand_joints(frames, side, 1)).float() for side in (0, 1)], 1)
    valid = torch.ones(frames, 2, 21, dtype=torch.bool)
    valid[:, :, 1] = False  # as in Assembly101, which has no base of the thumb
    valid[10:20, 0], valid[30, 1, 8] = False, False
    present = torch.ones(frames, dtype=torch.bool)
    present[-5:] = False
    return HandSequence(
        meta={}, frame='world', frame_valid=present, hand_side=torch.tensor([0, 1]), hand_valid=valid.any(-1),
        joints_3d=torch.where(valid[..., None], joints, 0), joints_valid=valid & present[:, None, None],
    ).validate()  # fmt: skip


def test_noise_has_the_stated_deviation():
    clip = make_clip()
    noisy = GaussianJointNoise(0.008)(clip, np.random.default_rng(0)).validate()
    error = (noisy.input_joints_3d - clip.joints_3d)[clip.joints_valid].double()
    assert abs(error.std() / 0.008 - 1) < 0.02 and error.mean().abs() < 2e-4
    assert (torch.corrcoef(error.T) - torch.eye(3)).abs().max() < 0.05
    steps = (noisy.input_joints_3d - clip.joints_3d)[40:190, 1, 8].double()
    assert abs(torch.corrcoef(torch.stack([steps[1:, 0], steps[:-1, 0]]))[0, 1]) < 0.25  # frames are independent
    assert torch.equal(clip.joints_3d, make_clip().joints_3d)  # the truth is as it was


def test_absent_hands_have_no_input():
    clip = make_clip()
    noisy = GaussianJointNoise()(clip, np.random.default_rng(0))
    assert torch.equal(noisy.input_valid, clip.joints_valid.any(-1))
    assert not noisy.input_valid[10:20, 0].any() and not noisy.input_valid[-5:].any()
    assert (noisy.input_joints_3d[~noisy.input_valid] == 0).all()
    assert torch.equal(noisy.input_confidence, clip.joints_valid.float())
    # A joint that is not annotated lies between its neighbours in time, or at the wrist.
    filled = GaussianJointNoise(0.0)(clip, np.random.default_rng(0)).input_joints_3d
    torch.testing.assert_close(filled[30, 1, 8], clip.joints_3d[[29, 31], 1, 8].mean(0))
    torch.testing.assert_close(filled[:190, 1, 1], clip.joints_3d[:190, 1, 0])
    torch.testing.assert_close(filled[clip.joints_valid], clip.joints_3d[clip.joints_valid])


def test_seeds_and_options():
    clip, noise = make_clip(40), TRANSFORMS.build(dict(type='GaussianJointNoise', std=0.01))
    one, same, other = (noise(clip, np.random.default_rng(seed)).input_joints_3d for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    for wrong in (-0.1, float('inf')):
        with pytest.raises(DatasetError, match='std must be a number of metres from 0'):
            GaussianJointNoise(wrong)
    with pytest.raises(DatasetError, match='needs joints_3d and joints_valid'):
        noise(HandSequence(meta={}), np.random.default_rng(0))
