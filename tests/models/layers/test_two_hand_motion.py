"""Joints of two hands as 147 numbers a frame, and back."""

import pytest
import torch

from handpose.geometry import make_rigid, rotvec_to_rotmat, transform_points
from handpose.models import FeatureNormalizer, TwoHandMotion
from handpose.models.layers.two_hand_motion import KEPT_JOINTS, NUM_FEATURES, PALM_JOINTS


def hands(B=2, T=32, seed=0, dtype=torch.float64):
    """Moving hands whose joints move on their own too: (B, T, 2, 21, 3)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    shape = 0.05 * draw(B, 1, 2, 21, 3) + 0.002 * draw(B, T, 2, 21, 3)
    path = (0.01 * draw(B, T, 2, 1, 3)).cumsum(1)
    turn = rotvec_to_rotmat((0.1 * draw(B, T, 2, 3)).cumsum(1))
    return shape @ turn.mT + path + torch.tensor([0.1, -0.2, 0.7], dtype=dtype)


def everywhere(joints):
    return torch.ones(joints.shape[:-1], dtype=torch.bool)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize('frame', ['world', 'local'])
def test_round_trip_from_the_palms_of_the_first_frame(frame, dtype, tolerance):
    joints, motion = hands(dtype=dtype), TwoHandMotion(frame).to(dtype)
    seen = motion(joints, everywhere(joints))
    palms = motion.move_palms(seen.values[:, 1:], seen.palms[:, 0], seen.origin)
    back = motion.to_joints(seen.values[:, 1:], palms)
    assert (back - joints[:, 1:])[..., KEPT_JOINTS, :].abs().max() < tolerance
    between = motion.between_palms(seen.palms[:, 1:], seen.palms[:, 0], seen.origin)
    torch.testing.assert_close(motion.accumulate(seen.values[:, 1:]), between, atol=10 * tolerance, rtol=0)


def test_a_frame_has_147_numbers_of_twenty_joints_two_motions_and_the_palms_between_each_other():
    joints = hands()
    seen = TwoHandMotion().double()(joints, everywhere(joints))
    assert seen.values.shape[-1] == NUM_FEATURES == 2 * 3 * 20 + 3 * 9
    relative = seen.values[..., 138:]
    right, left = seen.palms[:, :, 1], seen.palms[:, :, 0]
    torch.testing.assert_close(relative[..., 6:], ((left - right)[..., None, :3, 3] @ right[..., :3, :3]).squeeze(-2))


def test_local_features_are_those_of_any_camera_and_world_motions_only_of_a_shifted_one():
    joints = hands()
    turn = make_rigid(rotvec_to_rotmat(torch.tensor([0.3, -1.0, 2.0]).double()), torch.tensor([1.0, 2, 3]).double())
    moved = transform_points(joints.flatten(1, 3), turn).reshape(joints.shape)
    for frame, same in (('local', True), ('world', False)):
        motion = TwoHandMotion(frame).double()
        first, second = (motion(j, everywhere(j)).values for j in (joints, moved))
        assert torch.allclose(first, second, atol=1e-9) == same
        shifted = motion(joints + 5, everywhere(joints)).values
        torch.testing.assert_close(shifted, first, atol=1e-9, rtol=0)


def test_left_and_mirrored_right_hands_have_mirrored_features():
    joints = hands()
    mirrored = joints.flip(2) * torch.tensor([-1.0, 1, 1]).double()
    motion = TwoHandMotion().double()
    left = motion.local_joints(motion(joints, everywhere(joints)).values)[:, :, 0]
    right = motion.local_joints(motion(mirrored, everywhere(joints)).values)[:, :, 1]
    torch.testing.assert_close(left, right * torch.tensor([-1.0, 1, 1]).double())


def test_missing_hands_and_joints_are_masked_and_hold_no_data():
    joints = hands()
    valid = everywhere(joints)
    valid[0, 5:8, 0] = False  # a hand is lost in three frames
    valid[1, :, 1, 8] = False  # a fingertip is never there
    valid[1, 3, 1, list(PALM_JOINTS[2:])] = False  # too few joints for a palm
    hidden = torch.where(valid[..., None], joints, torch.nan)
    motion = TwoHandMotion().double()
    seen = motion(hidden, valid)
    assert seen.values.isfinite().all()
    assert seen.palm_valid[0, :, 0].logical_not().nonzero()[:, 0].tolist() == [5, 6, 7]
    assert not seen.palm_valid[1, 3, 1]
    steps = seen.valid[0, :, 120]
    assert steps.logical_not().nonzero()[:, 0].tolist() == [0, 5, 6, 7, 8]  # a motion needs the frame before too
    assert seen.valid[0, :, 138].logical_not().nonzero()[:, 0].tolist() == [5, 6, 7]
    kept = KEPT_JOINTS.index(8)
    assert not seen.valid[1, :, 60 + 3 * kept].any()
    assert (seen.values[~seen.valid] == 0).all()
    whole = motion(joints, everywhere(joints))
    torch.testing.assert_close(seen.values[seen.valid], whole.values[seen.valid])


def test_the_thumb_base_comes_back_where_it_is_given():
    joints = hands()
    motion = TwoHandMotion().double()
    seen = motion(joints, everywhere(joints))
    base = torch.rand(2, 2, 3, dtype=torch.float64)
    back = motion.to_joints(seen.values, seen.palms, base)[..., 1, :]
    expected = (seen.palms[..., :3, :3] @ base[:, None, ..., None])[..., 0] + seen.palms[..., :3, 3]
    torch.testing.assert_close(back, expected)


def test_an_unknown_frame_is_refused():
    with pytest.raises(ValueError, match="motion_frame must be one of 'world', 'local', got 'worl'"):
        TwoHandMotion('worl')


def test_normalizer_has_the_statistics_of_the_first_batches():
    normalizer = FeatureNormalizer(3, num_batches=4)
    generator = torch.Generator().manual_seed(0)
    batches = [5 + 2 * torch.randn(50, 7, 3, generator=generator) for _ in range(6)]
    masks = [torch.rand(batch.shape, generator=generator) > 0.3 for batch in batches]
    torch.testing.assert_close(normalizer(batches[0]), batches[0])
    for batch, mask in zip(batches, masks, strict=True):
        normalizer.update(torch.where(mask, batch, torch.nan), mask)
    seen = [torch.cat([b[..., i][m[..., i]] for b, m in zip(batches[:4], masks, strict=False)]) for i in range(3)]
    torch.testing.assert_close(normalizer.mean, torch.stack([x.mean() for x in seen]))
    torch.testing.assert_close(normalizer.std, torch.stack([x.std(correction=0) for x in seen]))
    torch.testing.assert_close(normalizer.denormalize(normalizer(batches[0])), batches[0])
    copy = FeatureNormalizer(3, num_batches=4)
    copy.load_state_dict(normalizer.state_dict())
    torch.testing.assert_close(copy(batches[0]), normalizer(batches[0]))


def test_normalizer_leaves_features_that_are_never_valid_as_they_are():
    normalizer = FeatureNormalizer(2)
    mask = torch.tensor([True, False]).expand(10, 2)
    normalizer.update(torch.full((10, 2), 4.0), mask)
    torch.testing.assert_close(normalizer.mean, torch.tensor([4.0, 0.0]))
    torch.testing.assert_close(normalizer.std, torch.tensor([1e-3, 1.0]))
