import pytest
import torch
from scipy.spatial.transform import Rotation

from handpose.models import (
    ROTATION_SPACES,
    apply_motion,
    deform_poses,
    fuse_deformed_poses,
    fusion_weights,
    pose_to_rotmat,
    rotmat_to_pose,
)

B, T, J = 2, 6, 16


def true_clip(space, seed=0):
    """Poses of smooth turns and the motions that follow from Eq. 1, by scipy, in float64."""
    generator = torch.Generator().manual_seed(seed)
    rotvec = torch.randn(B, T, J, 3, generator=generator, dtype=torch.float64) * 0.4
    rotmat = torch.from_numpy(Rotation.from_rotvec(rotvec.reshape(-1, 3).numpy()).as_matrix()).view(B, T, J, 3, 3)
    if space == 'so3_compose':
        columns = rotmat.transpose(-1, -2)[..., :2, :]  # first two columns, one after the other
        pose = columns.reshape(B, T, -1)
        relative = rotmat.transpose(-1, -2)[:, :-1] @ rotmat[:, 1:]
        forward = relative.transpose(-1, -2)[..., :2, :].reshape(B, T - 1, -1)
        backward = relative[..., :2, :].reshape(B, T - 1, -1)
    else:
        pose = rotvec.flatten(2)
        if space == 'rot6d_add':
            pose = rotmat.transpose(-1, -2)[..., :2, :].reshape(B, T, -1)
        forward, backward = pose[:, 1:] - pose[:, :-1], pose[:, :-1] - pose[:, 1:]
    # What leaves the clip must not matter.
    junk = torch.randn(pose[:, :1].shape, generator=generator, dtype=torch.float64)
    return pose, torch.cat([forward, junk], 1), torch.cat([junk, backward], 1), rotmat


@pytest.mark.parametrize('space', ROTATION_SPACES)
def test_true_motions_reproduce_every_frame(space):
    pose, forward, backward, rotmat = true_clip(space)
    deformed = deform_poses(pose, forward, backward, space)
    torch.testing.assert_close(deformed, pose[:, None].expand_as(deformed), atol=1e-12, rtol=0)
    fused = fuse_deformed_poses(pose, forward, backward, torch.randn(B, T, dtype=torch.float64), None, space)
    torch.testing.assert_close(fused, pose, atol=1e-12, rtol=0)
    torch.testing.assert_close(pose_to_rotmat(fused, space), rotmat, atol=1e-12, rtol=0)


def test_sums_equal_the_corrected_equation_and_not_the_printed_one():
    pose, forward, backward = torch.randn(3, 1, T, 5, dtype=torch.float64)
    deformed = deform_poses(pose, forward, backward)[0]
    differs = 0
    for i in range(T):
        for j in range(T):
            expected = pose[0, i] + forward[0, i:j].sum(0) + backward[0, j + 1 : i + 1].sum(0)
            printed = pose[0, i] + forward[0, i:j].sum(0) + backward[0, j:i].sum(0)
            torch.testing.assert_close(deformed[i, j], expected)
            differs += not torch.allclose(deformed[i, j], printed)
    assert differs == T * (T - 1) // 2


def test_composition_equals_scipy_products():
    pose, forward, backward = torch.randn(3, 1, 5, 6, dtype=torch.float64)

    def turns(x):
        return [Rotation.from_matrix(m) for m in pose_to_rotmat(x[0], 'so3_compose').squeeze(1).numpy()]

    rotation, ahead, behind = turns(pose), turns(forward), turns(backward)
    deformed = pose_to_rotmat(deform_poses(pose, forward, backward, 'so3_compose')[0], 'so3_compose').squeeze(2)
    for i in range(5):
        for j in range(5):
            expected = rotation[i]
            for k in range(i, j):
                expected = expected * ahead[k]
            for k in range(i, j, -1):
                expected = expected * behind[k]
            torch.testing.assert_close(deformed[i, j], torch.from_numpy(expected.as_matrix()), atol=1e-12, rtol=0)


@pytest.mark.parametrize('space', ROTATION_SPACES)
def test_fusion_equals_a_loop(space):
    numbers = 3 * J if space == 'rotvec_add' else 6 * J
    pose, forward, backward = torch.randn(3, B, T, numbers, dtype=torch.float64)
    confidence = torch.randn(B, T, dtype=torch.float64)
    valid = torch.tensor([[True] * T, [False, True, True, True, False, False]])
    fused = fuse_deformed_poses(pose, forward, backward, confidence, valid, space, distance_discount=0.3)
    deformed = deform_poses(pose, forward, backward, space)
    for b in range(B):
        for j in range(T):
            vote = [float(valid[b, i]) * (confidence[b, i] - 0.3 * abs(i - j)).exp() for i in range(T)]
            expected = sum(v * deformed[b, i, j] for i, v in enumerate(vote)) / sum(vote)
            if space == 'so3_compose':
                expected = rotmat_to_pose(pose_to_rotmat(expected))
            torch.testing.assert_close(fused[b, j], expected)


def test_padding_has_no_vote():
    pose, forward, backward = torch.randn(3, B, T, 96)
    confidence = torch.randn(B, T)
    valid = torch.arange(T).expand(B, T) < 4
    fused = fuse_deformed_poses(pose, forward, backward, confidence, valid)
    short = fuse_deformed_poses(pose[:, :4], forward[:, :4], backward[:, :4], confidence[:, :4])
    torch.testing.assert_close(fused[:, :4], short)
    weights = fusion_weights(confidence, valid)
    assert weights[:, 4:].eq(0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(B, T))
    assert fusion_weights(confidence, torch.zeros_like(valid)).isfinite().all()


def test_clips_of_a_batch_do_not_mix():
    pose, forward, backward = torch.randn(3, 3, T, 96)
    confidence = torch.randn(3, T)
    order = torch.tensor([2, 0, 1])
    fused = fuse_deformed_poses(pose, forward, backward, confidence)
    permuted = fuse_deformed_poses(pose[order], forward[order], backward[order], confidence[order])
    torch.testing.assert_close(permuted, fused[order])


def test_reversing_time_exchanges_the_directions():
    pose, forward, backward = torch.randn(3, B, T, 96)
    confidence = torch.randn(B, T)
    fused = fuse_deformed_poses(pose, forward, backward, confidence)
    reverse = fuse_deformed_poses(pose.flip(1), backward.flip(1), forward.flip(1), confidence.flip(1))
    torch.testing.assert_close(reverse.flip(1), fused, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('space', ROTATION_SPACES)
def test_half_inputs_under_autocast_run_in_float32(space):
    pose, forward, backward, _ = true_clip(space)
    half = [x.bfloat16() for x in (pose, forward, backward)]
    confidence = torch.randn(B, T).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        fused = fuse_deformed_poses(*half, confidence, None, space)
        step = apply_motion(half[0], half[1], space)
    exact = fuse_deformed_poses(*(x.double() for x in half), confidence.double(), None, space)
    assert fused.dtype == step.dtype == torch.float32
    torch.testing.assert_close(fused.double(), exact, atol=2e-6, rtol=1e-6)
    torch.testing.assert_close(
        step[:, :-1], deform_poses(*half, space).diagonal(1, 1, 2).movedim(-1, 1), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize('space', ROTATION_SPACES)
def test_gradients_are_finite_when_all_frames_agree(space):
    rest = rotmat_to_pose(torch.eye(3).expand(B, T, J, 3, 3), space).requires_grad_()
    still = rest.detach() * (space == 'so3_compose')
    inputs = [rest, still.clone().requires_grad_(), still.clone().requires_grad_()]
    target = torch.randn(B, T, J, 3, 3)
    (pose_to_rotmat(fuse_deformed_poses(*inputs, torch.zeros(B, T), None, space), space) * target).sum().backward()
    for x in inputs:
        assert x.grad.isfinite().all()
        assert x.grad.ne(0).any()


def test_composed_mean_agrees_with_the_chordal_mean_to_first_order():
    generator = torch.Generator().manual_seed(0)
    votes = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(7, generator=generator, dtype=torch.float64)
    base = Rotation.from_rotvec([0.3, -0.8, 1.1])
    gaps = []
    for spread in (0.1, 0.05):
        rotations = base * Rotation.from_rotvec(spread * votes.numpy())
        # Only one target looks at seven sources whose motions are nil, so each keeps its rotation.
        pose = rotmat_to_pose(torch.from_numpy(rotations.as_matrix())[None, :, None], 'so3_compose')
        still = rotmat_to_pose(torch.eye(3, dtype=torch.float64).expand(1, 7, 1, 3, 3), 'so3_compose')
        fused = fuse_deformed_poses(pose, still, still, weights.log()[None], None, 'so3_compose')
        found = Rotation.from_matrix(pose_to_rotmat(fused, 'so3_compose')[0, 3, 0].numpy())
        gaps.append((found.inv() * rotations.mean(weights.numpy())).magnitude())
    assert gaps[0] < 0.1**2
    assert gaps[1] == pytest.approx(gaps[0] / 4, rel=0.2)


@pytest.mark.parametrize('space', ROTATION_SPACES)
def test_votes_that_cancel_leave_finite_gradients(space):
    turn = torch.tensor([0.0, 0, torch.pi])
    rotvec = torch.stack([torch.zeros(3), turn])[None, :, None].expand(1, 2, J, 3)
    rotmat = torch.from_numpy(Rotation.from_rotvec(rotvec.reshape(-1, 3).numpy()).as_matrix()).view(1, 2, J, 3, 3)
    pose = rotmat_to_pose(rotmat.float(), space).requires_grad_()
    still = torch.zeros_like(pose) if space != 'so3_compose' else pose.detach()[:, :1].expand_as(pose)
    rotmat = pose_to_rotmat(fuse_deformed_poses(pose, still, still, torch.zeros(1, 2), None, space), space)
    rotmat.sum().backward()
    assert rotmat.isfinite().all()
    assert pose.grad.isfinite().all()


def test_errors():
    pose = torch.zeros(1, 3, 96)
    with pytest.raises(ValueError, match=r'\(1, 2, 96\)'):
        deform_poses(pose, pose[:, :2], pose)
    with pytest.raises(ValueError, match='so3_compose'):
        deform_poses(pose, pose, pose, 'quaternion')
