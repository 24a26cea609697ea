import numpy as np
import pytest
import torch
from motions import hand_joints
from scipy.spatial.transform import Rotation

from handpose.datasets.base import DatasetError
from handpose.datasets.transforms import EstimatorNoise, SkeletonVariation
from handpose.datasets.transforms.skeleton_variation import SkeletonChange, bone_frame
from handpose.hands.joints import BONES
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence

JOINTS = {side: hand_joints(8, side, 3).astype(np.float64) + (0.05, -0.1, 0.7) for side in (0, 1)}
PARENTS, CHILDREN = np.array(BONES).T


def make_clip(sides=(1,)):
    joints = torch.from_numpy(np.stack([JOINTS[side] for side in sides], 1)).float()
    valid = torch.ones(8, len(sides), 21, dtype=torch.bool)
    return HandSequence(
        meta=dict(sequence='a/b', cameras=['c'], fps=30.0), hand_side=torch.tensor(sides), hand_valid=valid.any(-1),
        joints_3d=joints, joints_valid=valid,
    ).validate()  # fmt: skip


def bones(joints):
    return joints[..., CHILDREN, :] - joints[..., PARENTS, :]


def vary(clip, seed=0, **options):
    return SkeletonVariation(**options)(clip, np.random.default_rng(seed)).validate()


@pytest.mark.parametrize('side', [0, 1])
def test_lengths_change_by_the_factors_and_directions_stay(side):
    factors = np.random.default_rng(0).uniform(0.7, 1.3, 21)
    changed = SkeletonChange(factors, np.zeros((21, 3)))(JOINTS[side], side)
    expected = bones(JOINTS[side]) * factors[CHILDREN, None]
    np.testing.assert_allclose(bones(changed), expected, atol=1e-12)
    np.testing.assert_array_equal(changed[:, 0], JOINTS[side][:, 0])


def test_offsets_turn_with_the_hand_and_mirror_with_its_side():
    offsets = np.random.default_rng(1).normal(0, 0.004, (21, 3))
    change = SkeletonChange(np.ones(21), offsets)
    shift = change(JOINTS[1], 1) - JOINTS[1]
    np.testing.assert_allclose(np.linalg.norm(shift, axis=-1), np.linalg.norm(offsets, axis=-1) * np.ones((8, 1)))
    matrix = Rotation.from_rotvec([0.4, -1.0, 0.7]).as_matrix()
    np.testing.assert_allclose(change(JOINTS[1] @ matrix.T, 1) - JOINTS[1] @ matrix.T, shift @ matrix.T, atol=1e-12)
    mirror = np.array([-1.0, 1, 1])
    np.testing.assert_allclose(change(JOINTS[1] * mirror, 0) - JOINTS[1] * mirror, shift * mirror, atol=1e-12)
    along = bones(JOINTS[1]) / np.linalg.norm(bones(JOINTS[1]), axis=-1, keepdims=True)
    np.testing.assert_allclose((shift[:, CHILDREN] * along).sum(-1), offsets[CHILDREN, 0] * np.ones((8, 1)), atol=1e-12)


@pytest.mark.parametrize('side', [0, 1])
def test_frames_of_bones_are_orthonormal(side):
    rng = np.random.default_rng(2)
    palm = Rotation.from_rotvec(rng.normal(size=(9, 3))).as_matrix() * [1, 1, 1 if side else -1]
    axes = bone_frame(rng.normal(size=(9, 3)), palm, side)
    np.testing.assert_allclose(axes.transpose(0, 2, 1) @ axes, np.broadcast_to(np.eye(3), (9, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1 if side else -1)


def test_proportions_vary_within_the_options_from_clip_to_clip():
    clip = make_clip((0, 1))
    before = bones(clip.joints_3d).norm(dim=-1)
    fingers = torch.tensor([child % 4 != 1 for child in CHILDREN])
    found = torch.stack([bones(vary(clip, seed, joints=0.0).joints_3d).norm(dim=-1) / before for seed in range(200)])
    assert found.std((1, 2)).max() < 2e-3  # the same in all frames, and for both hands
    ratio = found[:, 0, 0]
    palm, finger = ratio[:, ~fingers], ratio[:, fingers].view(200, 5, 3)
    assert 0.9 <= palm.min() < 0.91 and 1.09 < palm.max() <= 1.1001
    assert finger.min() > 0.8 * 0.9 - 1e-4 and finger.max() < 1.2 * 1.1 + 1e-4
    # Variances of products of uniform factors: (1 + a^2 / 3) (1 + b^2 / 3) - 1.
    assert finger.std() == pytest.approx(((1 + 0.04 / 3) * (1 + 0.01 / 3) - 1) ** 0.5, rel=0.06)
    together = torch.cov(finger.reshape(-1, 3).T)[0, 1]
    assert together == pytest.approx(0.04 / 3, rel=0.2)
    assert torch.equal(vary(clip, 5).joints_3d, vary(clip, 5).joints_3d)


def test_the_input_moves_as_the_target_does():
    clip = EstimatorNoise(changes=dict(dropout_rate=3.0))(make_clip((0, 1)), np.random.default_rng(0))
    given = clip.input_valid[..., None].expand(-1, -1, 21).clone()
    given[..., 6] = False
    clip = clip.replace(
        input_joints_valid=given, input_joints_3d=torch.where(given[..., None], clip.input_joints_3d, 0)
    )
    found = vary(clip, 1)
    shift = found.joints_3d - clip.joints_3d
    assert shift.norm(dim=-1).mean() > 0.002
    torch.testing.assert_close((found.input_joints_3d - clip.input_joints_3d)[given], shift[given], atol=1e-6, rtol=0)
    assert not found.input_joints_3d[~given].any()


def test_missing_labels_stay_missing():
    clip = make_clip()
    clip.joints_valid[2] = False
    clip.joints_valid[:, 0, 9] = False
    clip = clip.replace(joints_3d=torch.where(clip.joints_valid[..., None], clip.joints_3d, 0))
    found = vary(clip)
    assert not found.joints_3d[~clip.joints_valid].any() and found.joints_3d.isfinite().all()
    assert found.meta['motion_augmentation'] == dict(flip=0.0)  # predictions of the recorded motion no longer fit


def test_refusals():
    transform = TRANSFORMS.build(dict(type='SkeletonVariation'))
    rng = np.random.default_rng(0)
    with pytest.raises(DatasetError, match=r'clips with joints only.*and hand_pose'):
        transform(make_clip().replace(hand_pose=torch.zeros(8, 1, 16, 3)), rng)
    with pytest.raises(DatasetError, match="got frame 'wrist'"):
        transform(make_clip().replace(frame='wrist'), rng)
    with pytest.raises(DatasetError, match='no joints_3d'):
        transform(HandSequence(), rng)
    for wrong in (dict(fingers=0.95), dict(bones=-0.1), dict(joints=float('nan'))):
        with pytest.raises(DatasetError, match=r'from 0 to below 0\.9'):
            SkeletonVariation(**wrong)
