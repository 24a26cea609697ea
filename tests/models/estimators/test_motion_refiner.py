"""What all refiners share: windows and their average, missing frames and hands, mirrors, frames of reference."""

import numpy as np
import pytest
import torch
from motion_clips import build, clip, summed, track, with_random_weights

from handpose.geometry import rot6d_to_rotmat
from handpose.models import TrainingStep
from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.models.layers.hand_motion import frame_positions, joints_to_motion, motion_to_joints
from handpose.structures import HandSequence

RIGHT, LEFT = torch.tensor([1]), torch.tensor([0])
FLIP = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
EXACT = dict(rtol=1e-9, atol=1e-10)
LENGTHS = [1, 2, 26, 27, 28, 100]


class Marking(MotionRefiner):
    """Answers the input and something that depends on the place in the window and on the whole window."""

    def __init__(self, num_frames=None, stride=1, mirror_left_hands=True):
        super().__init__(num_frames, stride, mirror_left_hands, frame_rate=30.0)

    def forward(self, motion, frame_valid=None):
        mask = torch.ones(motion.shape[:2], dtype=torch.bool) if frame_valid is None else frame_valid
        place = torch.arange(motion.shape[1], dtype=motion.dtype)[:, None, None] / 100
        mean = (motion * mask[..., None, None]).sum(1, keepdim=True) / mask.sum(1)[:, None, None, None]
        return RefinedMotion(motion * (1 + place) + mean + place)


def by_loop(joints, window, stride):
    """The average of `Marking` over windows, one after the other: (T, 21, 3) -> (T, 21, 3), as numpy says it."""
    num_frames, joints = len(joints), joints.numpy()
    starts = list(range(0, max(num_frames - window, 0) + 1, stride))
    if starts[-1] + window < num_frames:
        starts.append(num_frames - window)
    total, count = np.zeros_like(joints), np.zeros(num_frames)
    for start in starts:
        piece = joints[start : start + window]
        origin = piece[:, 0].mean(0)
        motion = piece - piece[:, :1]
        motion[:, 0] = piece[:, 0] - origin
        place = np.arange(len(piece))[:, None, None] / 100
        answer = motion * (1 + place) + motion.mean(0) + place
        wrist = answer[:, :1] + origin
        answer = np.concatenate([wrist, answer[:, 1:] + wrist], 1)
        total[start : start + window] += answer
        count[start : start + window] += 1
    return total / count[:, None, None]


@pytest.mark.parametrize('num_frames', LENGTHS)
@pytest.mark.parametrize('stride', [1, 9, 27])
def test_windows_are_averaged(num_frames, stride):
    joints, valid = track(num_frames)
    found = Marking(27, stride).refine(joints, valid, RIGHT).joints[:, 0]
    np.testing.assert_allclose(found.numpy(), by_loop(joints[:, 0], 27, stride), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize('num_frames', [1, 50])
def test_whole_track_at_once(num_frames):
    joints, valid = track(num_frames)
    found = Marking().refine(joints, valid, RIGHT).joints[:, 0]
    np.testing.assert_allclose(found.numpy(), by_loop(joints[:, 0], num_frames, 1), rtol=1e-12, atol=1e-13)


def test_many_windows_are_refined_in_portions():
    joints, valid = track(200, hands=2)
    found = Marking(9, 1).refine(joints, valid, torch.tensor([1, 1])).joints
    for hand in range(2):
        np.testing.assert_allclose(found[:, hand].numpy(), by_loop(joints[:, hand], 9, 1), rtol=1e-12, atol=1e-13)


def test_motion_and_back():
    joints, _ = track(6)
    joints, valid = joints.transpose(0, 1), torch.tensor([[True] * 4 + [False] * 2])
    motion, origin = joints_to_motion(joints, valid)
    torch.testing.assert_close(origin[0, 0], joints[0, :4, 0].mean(0))
    torch.testing.assert_close(motion[0, :4, 0].mean(0), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(motion[0, :, 5], joints[0, :, 5] - joints[0, :, 0])
    torch.testing.assert_close(motion_to_joints(motion, origin), joints)


@pytest.mark.parametrize('name', ['PDTM', 'DSTformer'])
@pytest.mark.parametrize('num_frames', LENGTHS)
def test_any_length(name, num_frames):
    model = with_random_weights(build(name))
    out = model.refine(*track(num_frames, hands=2), torch.tensor([0, 1]))
    assert out.joints.shape == (num_frames, 2, 21, 3) and out.pose.shape == (num_frames, 2, 16, 6)
    assert out.shape.shape == (2, 10) and all(part.isfinite().all() for part in out[:3])


def test_one_frame_more_than_a_window_sees_both_windows():
    """27 frames are one window and 28 two, whose answers in between are averaged."""
    model, (joints, valid) = with_random_weights(build()), track(10)
    first, last = (model.refine(part, valid[:9], RIGHT) for part in (joints[:9], joints[1:]))
    both = model.refine(joints, valid, RIGHT)
    torch.testing.assert_close(both.joints[0], first.joints[0], **EXACT)
    torch.testing.assert_close(both.joints[1:9], (first.joints[1:] + last.joints[:-1]) / 2, **EXACT)
    torch.testing.assert_close(both.pose[9], last.pose[8], **EXACT)
    torch.testing.assert_close(both.shape, (first.shape + last.shape) / 2, **EXACT)


def test_missing_frames_are_interpolated_first():
    model, (joints, valid) = with_random_weights(build()), track(14)
    line = joints[4] + (joints[8] - joints[4]) * torch.arange(5)[:, None, None, None] / 4
    filled = joints.clone()
    filled[4:9], filled[12:] = line, joints[11]
    valid[5:8], valid[12:] = False, False
    shown = joints.masked_fill(~valid[..., None, None], torch.nan)
    found, wanted = model.refine(shown, valid, RIGHT), model.refine(filled, torch.ones_like(valid), RIGHT)
    for a, b in zip(found[:3], wanted[:3], strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize('name', ['PDTM', 'DSTformer', 'InputMotion'])
def test_hands_that_are_never_there_are_zero(name):
    model = with_random_weights(build(name)) if name != 'InputMotion' else Marking(9, 4)
    joints, valid = track(12, hands=2)
    alone = model.refine(joints[:, :1], valid[:, :1], LEFT)
    valid[:, 1], joints[:, 1] = False, torch.nan
    found = model.refine(joints, valid, torch.tensor([0, 1]))
    nobody = model.refine(joints, torch.zeros_like(valid), torch.tensor([0, 1]))
    torch.testing.assert_close(found.joints[:, :1], alone.joints, **EXACT)
    assert (found.joints[:, 1] == 0).all() and (nobody.joints == 0).all() and nobody.joints.shape == joints.shape
    if name != 'InputMotion':
        assert (found.pose[:, 1] == 0).all() and (found.shape[1] == 0).all()
        torch.testing.assert_close(found.shape[:1], alone.shape, **EXACT)
        assert nobody.pose.shape == (12, 2, 16, 6) and nobody.shape.shape == (2, 10)


@pytest.mark.parametrize('name', ['PDTM', 'DSTformer'])
def test_left_hands_are_seen_in_a_mirror(name):
    """refine(mirror(x)) == mirror(refine(x)): joints, rotations and mesh."""
    model, (joints, valid) = with_random_weights(build(name)), track(14)
    right, left = model.refine(joints, valid, RIGHT), model.refine(joints * FLIP, valid, LEFT)
    torch.testing.assert_close(left.joints, right.joints * FLIP, **EXACT)
    torch.testing.assert_close(left.shape, right.shape, **EXACT)
    mirror = torch.diag(FLIP)
    wanted = mirror @ rot6d_to_rotmat(right.pose) @ mirror
    torch.testing.assert_close(rot6d_to_rotmat(left.pose), wanted, **EXACT)
    unmirrored = with_random_weights(build(name, mirror_left_hands=False))
    unmirrored.load_state_dict(model.state_dict())
    torch.testing.assert_close(unmirrored.refine(joints, valid, LEFT).joints, right.joints, **EXACT)


def mirrored(one):
    """A clip as a mirror shows it: x negated, the other hand."""
    flip = FLIP.float()
    turned = one.hand_pose * torch.tensor([1.0, -1.0, -1.0])
    return one.replace(
        hand_side=1 - one.hand_side,
        joints_3d=one.joints_3d * flip,
        input_joints_3d=one.input_joints_3d * flip,
        hand_pose=turned,
    )


def test_mirrored_clips_have_mirrored_meshes_and_the_same_losses():
    model = with_random_weights(build()).float()
    one = clip(14)
    right, left = (model.predict(HandSequence.stack([c])) for c in (one, mirrored(one)))
    flip = FLIP.float()
    for field in ('joints_3d', 'vertices'):
        torch.testing.assert_close(getattr(left, field), getattr(right, field) * flip, rtol=1e-4, atol=1e-5)
    right.validate()
    one = clip(9)
    losses = [model.loss(HandSequence.stack([c]), TrainingStep()) for c in (one, mirrored(one))]
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name], value, rtol=1e-4, atol=1e-5)


def test_mesh_hangs_on_the_refined_wrist():
    model = with_random_weights(build()).float()
    found = model.predict(HandSequence.stack([clip(12, 2, (0, 1))]))
    side, shape = found.hand_side[:, None].expand(-1, 12, -1), found.hand_shape[:, None].expand(-1, 12, -1, -1)
    mesh = model.hand_model(found.hand_pose, shape, found.hand_transl, side)
    torch.testing.assert_close(mesh.vertices, found.vertices, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mesh.joints[..., 0, :], found.joints_3d[..., 0, :], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['PDTM', 'DSTformer'])
def test_the_whole_track_moved_is_moved(name):
    model, (joints, valid) = with_random_weights(build(name)), track(20)
    shift = torch.tensor([0.3, -0.2, 1.5], dtype=torch.float64)
    here, there = model.refine(joints, valid, RIGHT), model.refine(joints + shift, valid, RIGHT)
    torch.testing.assert_close(there.joints, here.joints + shift, **EXACT)
    torch.testing.assert_close(there.pose, here.pose, **EXACT)


def test_wrist_frame_stays_at_the_wrist():
    model = with_random_weights(build()).float()
    found = model.predict(HandSequence.stack([clip(12, frame='wrist')]))
    assert found.frame == 'wrist' and (found.joints_3d[..., 0, :] == 0).all() and found.joints_3d.abs().max() > 0


@pytest.mark.parametrize('name', ['PDTM', 'DSTformer'])
def test_batch_of_different_lengths(name):
    """Padding to the longest clip and hands that others have change nothing."""
    model = with_random_weights(build(name)).float()
    clips = [clip(n, len(sides), sides, seed=n) for n, sides in ((5, (0, 1)), (9, (1,)), (23, (0, 1)))]
    batch = HandSequence.stack(clips)
    found = model.predict(batch)
    for b, one in enumerate(clips):
        alone = model.predict(HandSequence.stack([one]))
        frames, hands = alone.joints_3d.shape[1:3]
        for field in ('joints_3d', 'hand_pose', 'vertices'):
            rows = getattr(found, field)[b, :frames]
            where = [batch.hand_side[b].tolist().index(side) for side in one.hand_side.tolist()]
            torch.testing.assert_close(rows[:, where], getattr(alone, field)[0], rtol=1e-4, atol=1e-5)
        assert not found.hand_valid[b, frames:].any() and found.hand_valid[b].sum() == frames * hands
        assert (found.joints_3d[b, frames:] == 0).all()


def test_padding_is_not_learned_from():
    model = with_random_weights(build()).float()
    short, long = clip(6, seed=1), clip(9, seed=2)
    batch = HandSequence.stack([short, long])
    torch.manual_seed(0)
    before = model.loss(batch, TrainingStep())
    for field in ('joints_3d', 'input_joints_3d', 'hand_pose'):
        getattr(batch, field)[0, 6:] = torch.nan
    torch.manual_seed(0)
    after = model.loss(batch, TrainingStep())
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-5, atol=1e-6)
    gradients = torch.autograd.grad(summed(after), list(model.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_batch_without_any_input_hand_gives_zero_and_stays_in_the_graph():
    model = build()
    batch = HandSequence.stack([clip(9)])
    batch.input_valid[:] = False
    loss = summed(model.loss(batch, TrainingStep()))
    loss.backward()
    assert loss == 0


def test_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match='stride must be from 1 to num_frames = 9, got 10'):
        Marking(9, 10)
    with pytest.raises(ValueError, match=r"a refiner needs the field 'input_joints_3d'"):
        Marking(9).predict(HandSequence.stack([clip(9).replace(input_joints_3d=None)]))
    with pytest.raises(NotImplementedError, match='Marking has nothing to train'):
        Marking(9).loss(HandSequence.stack([clip(9)]), TrainingStep())
    with pytest.raises(ValueError, match='at most 9 frames, got 10'):
        build()(torch.zeros(1, 10, 21, 3))


def linear_track(times):
    """(T, 1, 21, 3) joints that move straight on at constant speeds."""
    start, speed = torch.rand(2, 1, 21, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return start + speed * times.double()[:, None, None, None]


class Unchanged(MotionRefiner):
    """A model that answers its input, and notes how many frames it saw."""

    def __init__(self):
        super().__init__(9, 4, frame_rate=30.0)
        self.windows = []

    def forward(self, motion, frame_valid=None):
        self.windows.append(motion)
        return RefinedMotion(motion)


@pytest.mark.parametrize('fps', [10, 15, 24, 25, 29.97, 30, 50, 60, 120])
def test_other_frame_rates_are_resampled_and_linear_motion_stays(fps):
    times = 3.7 + torch.arange(50).double() / fps
    joints, valid = linear_track(times), torch.ones(50, 1, dtype=torch.bool)
    valid[[4, 20]] = False
    model = Unchanged()
    found = model.refine(joints.nan_to_num(), valid, RIGHT, times=times).joints
    torch.testing.assert_close(found, joints, atol=1e-9, rtol=0)
    # What the model saw moves at its own rate: a straight path in equal steps of a thirtieth of a second.
    steps = model.windows[0].diff(dim=1)[0, :, 5]
    speed = (joints[1] - joints[0])[0] * fps
    if fps not in (29.97,):
        torch.testing.assert_close(steps, ((speed[5] - speed[0]) / 30).expand_as(steps), atol=1e-9, rtol=0)


def test_frame_positions():
    whole = frame_positions(torch.tensor([0.0, 0.033, 0.067, 0.2, 0.2334]), 30.0)
    assert whole.tolist() == [0, 1, 2, 6, 7]  # milliseconds, and frames left out
    halves = frame_positions(torch.arange(5).double() / 60, 30.0)
    torch.testing.assert_close(halves, torch.arange(5).double() / 2)


def test_training_refuses_another_frame_rate():
    batch = HandSequence.stack([clip(9)])
    model = build(frame_rate=60.0)
    with pytest.raises(ValueError, match='comes at 30 frames per second, and PDTM is configured for 60'):
        model.loss(batch, TrainingStep())
    with pytest.raises(ValueError, match='PDTM needs frame_rate, the frames per second'):
        build(frame_rate=None)
