import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from motions import hand_joints, make_motion
from scipy.spatial.transform import Rotation

from handpose.datasets import ClipSampling, MotionClips, Tracks
from handpose.datasets.base import DatasetError
from handpose.datasets.motion.motion_file import write_motion
from handpose.datasets.transforms import EstimatorNoise, estimator_noise
from handpose.datasets.transforms.estimator_noise import draw_camera, fill_gaps, noise_options
from handpose.datasets.transforms.noise_model import FINGER_WEIGHT, relaxed_hand, simulate_estimate
from handpose.datasets.transforms.noise_options import PRESETS
from handpose.evaluation.input_motion import InputTrack, input_errors
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence
from handpose.synthesis.recordings.dexycb import motion_from_packed

FPS = 30.0
HANDS = {side: hand_joints(12, side, 3).astype(np.float64) + (0.05, -0.1, 0.7) for side in (0, 1)}


def only(**changes):
    """No errors but these."""
    return noise_options('silent', changes)


def draws(options, count, side=1, joints=None, occlusion=None):
    joints = HANDS[side] if joints is None else joints
    return joints, [
        simulate_estimate(joints, side, FPS, options, np.random.default_rng(i), occlusion) for i in range(count)
    ]


def relative(joints):
    return joints - joints[..., :1, :]


def ray_of(joints):
    centre = joints.mean(-2, keepdims=True)
    return centre / np.linalg.norm(centre, axis=-1, keepdims=True)


def make_clip(sides=(1,), frames=12, absent=()):
    joints = np.stack([HANDS[side][:frames] for side in sides], 1)
    valid = torch.ones(frames, len(sides), dtype=torch.bool)
    valid[list(absent)] = False
    joints = torch.from_numpy(joints).float() * valid[..., None, None]
    return HandSequence(
        meta=dict(sequence='a/b', cameras=['c'], fps=FPS), frame_valid=torch.ones(frames, dtype=torch.bool),
        hand_side=torch.tensor(sides), hand_valid=valid, joints_3d=joints,
        joints_valid=valid[..., None].expand(-1, -1, 21).clone(),
    ).validate()  # fmt: skip


@pytest.mark.parametrize('sides', [(0,), (1,), (0, 1)])
def test_no_errors_give_the_truth(sides):
    clip = make_clip(sides, absent=(3, 4))
    found = EstimatorNoise('silent')(clip, np.random.default_rng(0)).validate()
    torch.testing.assert_close(found.input_joints_3d, clip.joints_3d, atol=1e-6, rtol=0)
    assert torch.equal(found.input_valid, clip.hand_valid)
    assert not found.input_confidence[3].any() and found.input_confidence[0].min() > 0.6


def test_frames_without_a_hand_and_padding_have_no_estimate():
    clip = make_clip((0, 1), absent=(0, 11))
    clip.joints_valid[5, 0] = False
    clip = clip.replace(frame_valid=torch.arange(12) < 9)
    found = TRANSFORMS.build(dict(type='EstimatorNoise'))(clip, np.random.default_rng(0)).validate()
    assert not found.input_valid[[0, 9, 10, 11]].any() and not found.input_valid[5, 0]
    assert not found.input_joints_3d[~found.input_valid].any() and found.input_joints_3d.isfinite().all()
    empty = make_clip(absent=range(12))
    assert not EstimatorNoise()(empty, np.random.default_rng(0)).validate().input_valid.any()
    one = make_clip(frames=1)
    assert EstimatorNoise()(one, np.random.default_rng(0)).validate().input_joints_3d.shape == (1, 1, 21, 3)


def test_seed_epoch_and_index_decide_everything(tmp_path):
    write_motion(tmp_path / 'm.npz', make_motion(sequences=(0, 1, 2, 3), frames=20))
    options = dict(
        data_root=tmp_path / 'm.npz', setup='all', labels='joints_only', pipeline=[dict(type='EstimatorNoise')]
    )

    clips, tracks = ClipSampling(8, clip_step=8), Tracks()

    def inputs(sampling, seed=0, epoch=0):
        dataset = MotionClips(**options, sampling=sampling, seed=seed)
        dataset.set_epoch(epoch)
        return dataset[1].input_joints_3d

    assert torch.equal(inputs(clips), inputs(clips))
    assert not torch.equal(inputs(clips), inputs(clips, epoch=1))
    assert torch.equal(inputs(tracks), inputs(tracks))
    assert not torch.equal(inputs(tracks), inputs(tracks, epoch=1))
    assert not torch.equal(inputs(tracks), inputs(tracks, seed=1))


def test_the_scale_can_be_recovered_and_goes_with_the_depth():
    joints, found = draws(only(scale=0.05), 400)
    truth, logs = relative(joints), []
    for hand in found:
        factor = np.linalg.norm(relative(hand.joints)[0, 9]) / np.linalg.norm(truth[0, 9])
        np.testing.assert_allclose(relative(hand.joints), factor * truth, atol=1e-9)
        farther = np.linalg.norm(hand.joints[:, 0] - joints[:, 0], axis=-1) / np.linalg.norm(joints[:, 0], axis=-1)
        np.testing.assert_allclose(farther, abs(factor - 1), rtol=1e-6)
        logs.append(np.log(factor))
    assert np.std(logs) == pytest.approx(0.05, rel=0.1) and abs(np.mean(logs)) < 0.01


def test_jitter_is_larger_in_depth_and_towards_the_tips():
    joints, found = draws(only(joint_jitter=0.002, jitter_freedom=np.inf), 300)
    error = np.stack([hand.joints - joints for hand in found])
    depth = (error * ray_of(joints)).sum(-1)
    across = np.linalg.norm(error - depth[..., None] * ray_of(joints), axis=-1)
    wanted = 0.002 * (0.3 + 0.7 * FINGER_WEIGHT[1:])
    np.testing.assert_allclose(depth.std((0, 1))[1:], 2 * wanted, rtol=0.08)
    np.testing.assert_allclose(np.sqrt((across**2).mean((0, 1)))[1:], np.sqrt(2) * wanted, rtol=0.08)
    assert not error[:, :, 0].any()  # errors of the pose are about the wrist


@pytest.mark.parametrize('name', ['finger', 'finger_jitter', 'jump'])
def test_errors_of_a_finger_grow_along_it(name):
    joints, found = draws(only(**{name: 0.004}), 40)
    error = np.stack([hand.joints - joints for hand in found])
    assert np.abs(error).max() > 0.001
    for finger in range(5):
        rows = slice(1 + 4 * finger, 5 + 4 * finger)
        tip = error[:, :, 4 + 4 * finger, None]
        np.testing.assert_allclose(error[:, :, rows], FINGER_WEIGHT[rows, None] * tip, atol=1e-12)


def test_a_wrong_turn_keeps_bones_to_first_order():
    joints, found = draws(only(rotation=0.05), 50)
    for hand in found:
        error = relative(hand.joints) - relative(joints)
        assert np.abs((error * relative(joints)).sum(-1)).max() < 1e-12
    size = np.sqrt(np.mean([(relative(h.joints) - relative(joints))[:, 12] ** 2 for h in found]))
    assert 0.002 < size < 0.01


def test_the_bias_follows_the_pose():
    """The same pose twice in a clip has the same error; another pose another one."""
    still = np.concatenate([HANDS[1][:1], HANDS[1][:1], HANDS[1][-1:]])
    _, (found,) = draws(only(finger_bias=0.01, rotation_bias=0.05), 1, joints=still)
    error = relative(found.joints) - relative(still)
    np.testing.assert_allclose(error[0], error[1], atol=1e-12)
    assert np.linalg.norm(error[0] - error[2], axis=-1).max() > 1e-3


def test_dropouts_come_as_often_as_said():
    _, found = draws(only(dropout_rate=0.4, dropout_duration=0.2), 3000)
    share = 1 - np.mean([hand.valid for hand in found])
    assert share == pytest.approx(1 - np.exp(-0.4 * 0.2), abs=0.012)


def test_swaps_flip_one_hand_in_depth_and_exchange_two():
    always = dict(swap_rate=1000.0, swap_duration=10.0)
    joints, (found,) = draws(only(**always), 1)
    ray, before, after = ray_of(joints), relative(joints), relative(found.joints)
    np.testing.assert_allclose((after * ray).sum(-1), -(before * ray).sum(-1), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(after, axis=-1), np.linalg.norm(before, axis=-1), atol=1e-12)
    clip = make_clip((0, 1))
    both = EstimatorNoise('silent', always)(clip, np.random.default_rng(0)).input_joints_3d
    alone = [EstimatorNoise('silent', always)(make_clip((s,)), np.random.default_rng(0)) for s in (0, 1)]
    torch.testing.assert_close(both[:, 0], alone[1].input_joints_3d[:, 0])
    torch.testing.assert_close(both[:, 1], alone[0].input_joints_3d[:, 0])


def test_known_occlusion_raises_errors_and_lowers_confidence():
    occlusion = np.where(np.arange(12) < 6, 0.0, 1.0)
    options = only(joint_jitter=0.002, jitter_freedom=np.inf, occlusion_gain=2.0)
    joints, found = draws(options, 200, occlusion=occlusion)
    error = np.stack([np.linalg.norm(hand.joints - joints, axis=-1) for hand in found]).mean((0, 2))
    assert error[6:].mean() / error[:6].mean() == pytest.approx(3, rel=0.1)
    confidence = np.stack([hand.confidence[:, 1:] for hand in found]).mean((0, 2))
    assert confidence[:6].min() > 0.9 and confidence[6:].max() < 0.4
    half = np.full(12, 0.5)
    _, found = draws(options, 400, occlusion=half)
    hidden = np.mean([hand.confidence[:, [4, 8, 12, 16, 20]] < 0.6 for hand in found])
    assert hidden == pytest.approx(0.5, abs=0.05)  # on average that share of the fingers


@pytest.mark.parametrize('side', [0, 1])
def test_hidden_fingers_are_drawn_to_a_relaxed_hand(side):
    joints, (found,) = draws(only(occlusion_pull=1.0), 1, side, occlusion=np.ones(12))
    after = relative(found.joints)
    length = np.linalg.norm(relative(joints)[:, 9], axis=-1)
    wanted = np.linalg.norm(relaxed_hand()[:, None] - relaxed_hand(), axis=-1)
    distances = np.linalg.norm(after[:, :, None] - after[:, None], axis=-1)
    np.testing.assert_allclose(distances, length[:, None, None] * wanted, atol=1e-9)
    half = simulate_estimate(joints, side, FPS, only(occlusion_pull=0.5), np.random.default_rng(0), np.ones(12))
    np.testing.assert_allclose(half.joints, (joints + found.joints) / 2, atol=1e-9)


def test_unknown_occlusion_is_made_up():
    options = only(joint_jitter=0.001, occlusion_rate=1.0, occlusion_duration=0.5, occlusion_fingers=0.5)
    _, found = draws(options, 400, occlusion=np.full(12, np.nan))
    hidden = np.mean([hand.confidence[:, 8] < 0.6 for hand in found])
    assert hidden == pytest.approx(1 - np.exp(-1.0 * 0.5 * 0.5), abs=0.07)


def test_fast_joints_are_seen_worse():
    moving = HANDS[1] + np.linspace(0, 0.4, 12)[:, None, None] * (1, 0, 0)
    options = only(joint_jitter=0.001, jitter_freedom=np.inf, motion_gain=1.0)
    speed = np.linalg.norm(np.gradient(moving, axis=0), axis=-1)[:, 9].mean() * FPS
    sizes = []
    for joints in (np.repeat(HANDS[1][:1], 12, 0), moving):
        _, found = draws(options, 300, joints=joints)
        sizes.append(np.sqrt(np.mean([(hand.joints - joints)[:, 9] ** 2 for hand in found])))
    assert sizes[1] / sizes[0] == pytest.approx(1 + speed, rel=0.1)


def test_gaps_are_filled_before_the_draw():
    joints, valid = np.arange(5.0)[:, None, None] * np.ones((5, 21, 3)), np.ones((5, 21), bool)
    valid[[1, 2]], valid[4, 3], valid[:, 7] = False, False, False
    spoilt = np.where(valid[..., None], joints, np.nan)
    filled = fill_gaps(spoilt, valid)
    np.testing.assert_allclose(filled[:, 0, 0], np.arange(5))
    assert filled[4, 3, 0] == 3 and (filled[:, 7] == filled[:, 0]).all()


def test_sentences():
    with pytest.raises(DatasetError, match=r"no option 'jiter'.*it has: rotation"):
        EstimatorNoise(changes={'jiter': 1})
    with pytest.raises(DatasetError, match="Did you mean 'joint_jitter'"):
        EstimatorNoise(changes={'joint_jiter': 1})
    with pytest.raises(DatasetError, match=r"preset must be one of.*Did you mean 'silent'"):
        EstimatorNoise('silen')
    with pytest.raises(DatasetError, match='strength must be a number from 0, got -1'):
        EstimatorNoise(strength=-1)
    with pytest.raises(DatasetError, match='expected a fraction in time_fractions for each of time_constants'):
        EstimatorNoise(changes={'time_fractions': (1.0,)})
    with pytest.raises(DatasetError, match="got frame 'wrist'"):
        EstimatorNoise()(make_clip().replace(frame='wrist'), np.random.default_rng(0))
    with pytest.raises(DatasetError, match='needs joints_3d'):
        EstimatorNoise()(HandSequence(), np.random.default_rng(0))


def test_strength_multiplies_errors():
    """Jitter alone is linear in it, and so is the logarithm of the size; nothing else is drawn differently."""
    clip = make_clip()
    inputs = []
    for strength in (0.0, 1.0, 3.0):
        noise = EstimatorNoise('silent', dict(joint_jitter=0.002, dropout_rate=4.0), strength=strength)
        inputs.append(noise(clip, np.random.default_rng(3)))
    none, once, thrice = (noisy.input_joints_3d[noisy.input_valid].double() for noisy in inputs)
    assert torch.equal(inputs[0].input_valid, inputs[2].input_valid) and not inputs[0].input_valid.all()
    assert (once - none).norm(dim=-1).mean() > 0.001
    torch.testing.assert_close(thrice - none, 3 * (once - none), atol=1e-6, rtol=0)
    larger = EstimatorNoise('silent', dict(scale=0.05), strength=2)(clip, np.random.default_rng(3))
    small = EstimatorNoise('silent', dict(scale=0.05))(clip, np.random.default_rng(3))
    sizes = [relative(noisy.input_joints_3d[0, 0]).norm() for noisy in (larger, small, inputs[0])]
    torch.testing.assert_close(torch.log(sizes[0] / sizes[2]), 2 * torch.log(sizes[1] / sizes[2]), atol=1e-4, rtol=1e-3)


def test_silent_has_no_errors_left():
    """Only what says when and how, not how much, is left of the usual options."""
    silent, usual = asdict(PRESETS['silent']), asdict(PRESETS['hamer_dexycb'])
    how = (
        '_duration',
        '_time',
        '_freedom',
        '_length',
        '_ratio',
        '_fingers',
        '_seed',
        '_constants',
        '_times',
        '_fractions',
        '_shares',
    )
    same = {name for name in usual if silent[name] == usual[name] != 0 and not name.endswith(how)}
    assert same <= {'jump_rate'}  # of jumps of no size


@pytest.mark.parametrize('split', ['test', 'train'])
def test_calibration_on_dexycb(tmp_path, split):
    """docs/data/noise_model.md: what the noise was set to before anything was trained on it."""
    root = os.environ.get('HANDPOSE_REAL_DATA')
    if not root:
        pytest.skip('HANDPOSE_REAL_DATA is not set: the calibration needs the motion of DexYCB')
    motion = motion_from_packed(
        Path(root) / 'dexycb_motion' / 'dexycb_motion.npz', Path(root) / 'dexycb_cameras' / 'cameras.json'
    )
    held_out = [s for s in range(len(motion.sequence_names)) if motion.position_of(s)[1] % 5 == 4]
    motion = motion.select(held_out if split == 'test' else range(0, len(motion.sequence_names), 9))
    write_motion(tmp_path / 'm.npz', motion)
    noise = [dict(type='EstimatorNoise')]
    dataset = MotionClips(tmp_path / 'm.npz', split=split, labels='joints_only', pipeline=noise)
    tracks = []
    for index in range(0, len(dataset), 3):
        clip = dataset[index]
        fields = (clip.input_joints_3d, clip.input_valid, clip.joints_3d, clip.joints_valid)
        tracks.append(InputTrack(*(field[:, 0].numpy() for field in fields)))
    found = input_errors(tracks)
    about = 0.3 if split == 'train' else 0  # a part of it, and nothing was set by it
    assert 9 - about <= found.mpjpe <= 11 + about
    assert 11 - about <= found.acceleration <= 15 + about
    assert max(found.improvement(31), found.improvement(found.best_window)) <= 0.06 + about / 50


def world_clip(frames=40):
    """Both hands of a recording that lies anywhere in the world, one of them lost in some frames."""
    clip = make_clip((0, 1), frames=12)
    repeat = np.arange(frames) % 12
    clip = clip.select_frames(repeat.tolist())
    joints = clip.joints_3d.double().numpy() + (3, -2, 5) + 0.004 * np.arange(frames)[:, None, None, None]
    valid = clip.joints_valid.clone()
    valid[5:9, 1] = False
    return clip.replace(
        frame='world', joints_3d=torch.from_numpy(joints).float(), joints_valid=valid, hand_valid=valid.any(-1)
    ).validate()


def test_no_errors_in_the_world_give_the_truth():
    clip = world_clip()
    with pytest.raises(DatasetError, match=r"got frame 'world'.*camera_distance=\(0.4, 0.8\)"):
        EstimatorNoise()(clip, np.random.default_rng(0))
    noisy = EstimatorNoise('silent', camera_distance=(0.4, 0.8))(clip, np.random.default_rng(0)).validate()
    assert torch.equal(noisy.input_valid, clip.hand_valid)
    difference = (noisy.input_joints_3d - clip.joints_3d)[clip.hand_valid]
    assert difference.abs().max() < 1e-5 and (noisy.input_joints_3d[~clip.hand_valid] == 0).all()


def test_errors_in_the_world_are_those_of_the_camera(monkeypatch):
    """The same clip moved to the camera beforehand gets the same errors, all of them switched on."""
    rotmat = Rotation.from_rotvec([0.3, -1.2, 0.8]).as_matrix()
    offset = np.array([0, 0, 0.6]) - rotmat @ (3.1, -2, 5.8)
    monkeypatch.setattr(estimator_noise, 'draw_camera', lambda rng, points, distance: (rotmat, offset))
    clip = world_clip()
    moved = torch.from_numpy(clip.joints_3d.double().numpy() @ rotmat.T + offset).float()
    seen = EstimatorNoise()(clip.replace(frame='camera', joints_3d=moved), np.random.default_rng(7))
    noisy = EstimatorNoise(camera_distance=(0.4, 0.8))(clip, np.random.default_rng(7)).validate()
    assert torch.equal(noisy.input_valid, seen.input_valid) and 0 < noisy.input_valid.sum() < 80
    expected = (seen.input_joints_3d.double().numpy() - offset) @ rotmat
    difference = (noisy.input_joints_3d.double().numpy() - expected)[seen.input_valid]
    assert np.abs(difference).max() < 1e-5
    assert torch.allclose(noisy.input_confidence, seen.input_confidence, atol=1e-5)
    assert (noisy.input_joints_3d - clip.joints_3d)[noisy.input_valid].norm(dim=-1).mean() > 0.005


def test_cameras_of_the_world_are_anywhere_around_the_hands():
    rng = np.random.default_rng(0)
    points = np.random.default_rng(1).normal(3, 0.1, (50, 3))
    cameras, distances = [], []
    for _ in range(500):
        rotmat, offset = draw_camera(rng, points, (0.5, 0.7))
        np.testing.assert_allclose(rotmat @ rotmat.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotmat) > 0
        middle = rotmat @ points.mean(0) + offset
        np.testing.assert_allclose(middle[:2], 0, atol=1e-12)
        distances.append(middle[2])
        cameras.append(rotmat[2])
    assert 0.5 <= min(distances) < 0.52 and 0.68 < max(distances) <= 0.7
    assert (
        np.abs(np.mean(cameras, 0)).max() < 0.1 and np.abs(np.cov(np.transpose(cameras)) - np.eye(3) / 3).max() < 0.06
    )
    for wrong in ((0, 1), (0.8, 0.4), (0.4, float('nan'))):
        with pytest.raises(DatasetError, match='camera_distance must be the shortest and the longest'):
            EstimatorNoise(camera_distance=wrong)
