import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from motions import hand_joints

from handpose.datasets.base import DatasetError
from handpose.datasets.transforms import EstimatorNoise
from handpose.datasets.transforms.noise_family import FAMILY, HELD_OUT_FAMILY, NoiseFamily, draw_joint_set, log_uniform
from handpose.datasets.transforms.noise_options import NoiseOptions
from handpose.structures import HandSequence

JOINTS = {side: hand_joints(12, side, 3).astype(np.float64) + (0.05, -0.1, 0.7) for side in (0, 1)}


def make_clip(sides=(1,), fps=30.0):
    joints = torch.from_numpy(np.stack([JOINTS[side] for side in sides], 1)).float()
    valid = torch.ones(12, len(sides), 21, dtype=torch.bool)
    return HandSequence(
        meta=dict(sequence='a/b', cameras=['c'], fps=fps), hand_side=torch.tensor(sides), hand_valid=valid.any(-1),
        joints_3d=joints, joints_valid=valid,
    ).validate()  # fmt: skip


def draws(family, count=400):
    rng = np.random.default_rng(0)
    return [family.draw(rng) for _ in range(count)]


def noisy(clip, seed=0, **options):
    return EstimatorNoise('family', **options)(clip, np.random.default_rng(seed)).validate()


def mean_error(found, truth):
    return (found.input_joints_3d - truth.joints_3d)[found.input_valid].norm(dim=-1).mean()


def test_every_clip_has_another_estimator_and_the_seed_decides_it():
    clip = make_clip((0, 1))
    first, again, other = noisy(clip), noisy(clip), noisy(clip, 1)
    assert torch.equal(first.input_joints_3d, again.input_joints_3d)
    assert not torch.equal(first.input_joints_3d, other.input_joints_3d)
    noise, rng = EstimatorNoise('family'), np.random.default_rng(0)
    assert noise.draw_options(rng) != noise.draw_options(rng)
    fixed = EstimatorNoise()
    assert fixed.draw_options(rng) == fixed.draw_options(rng) == NoiseOptions()


def test_kinds_and_events_are_as_frequent_as_stated():
    found = draws(FAMILY, 1500)
    joints, hand = (np.array([getattr(options, name) > 0 for options in found]) for name in ('joint_drift', 'rotation'))
    shares = (joints & ~hand).mean(), (hand & ~joints).mean(), (hand & joints).mean()
    np.testing.assert_allclose(shares, FAMILY.kinds, atol=0.04)
    for name, share in (('frozen_rate', FAMILY.frozen), ('dropout_rate', FAMILY.dropouts)):
        assert np.mean([getattr(options, name) > 0 for options in found]) == pytest.approx(share, abs=0.04)
    assert np.mean([o.lag > 0 for o in found]) == pytest.approx(FAMILY.lags * (1 - FAMILY.clean), abs=0.03)
    assert np.mean([o.joint_jump > 0 for o in found]) == pytest.approx(FAMILY.joint_jumps * 0.85, abs=0.04)


def test_numbers_stay_in_their_ranges():
    alone = replace(FAMILY, kinds=(1.0, 0.0, 0.0), clean=0.0, smooth=0.0, strength=(1.0, 1.0))
    for options in draws(alone):
        slow, medium = options.joint_drift * np.sqrt(options.joint_drift_fractions)
        assert FAMILY.joint_slow[0] <= slow <= FAMILY.joint_slow[1]
        assert FAMILY.joint_medium[0] <= medium <= FAMILY.joint_medium[1]
        assert FAMILY.joint_floor[0] <= options.joint_noise <= FAMILY.joint_floor[1]
        assert FAMILY.slow_time[0] <= options.joint_drift_times[0] <= FAMILY.slow_time[1]
        assert options.rotation == options.scale == options.swap_rate == 0
    for options in draws(replace(alone, kinds=(0.0, 1.0, 0.0))):
        for name in ('rotation', 'finger_jitter', 'jump', 'wrist_across', 'occlusion_pull', 'bias_length'):
            low, high = getattr(FAMILY, name)
            assert low <= getattr(options, name) <= high
        assert options.joint_drift == options.joint_noise == options.joint_jump == 0
    logs = np.log([log_uniform(np.random.default_rng(i), (0.1, 10.0)) for i in range(2000)])
    assert logs.mean() == pytest.approx(0, abs=0.1)
    assert logs.std() == pytest.approx(np.log(100) / math.sqrt(12), rel=0.05)


def test_clean_and_smooth_estimators():
    clean = replace(FAMILY, kinds=(1.0, 0.0, 0.0), clean=1.0, smooth=0.0)
    for options in draws(clean, 100):
        assert options.joint_noise <= FAMILY.clean_strength[1] * FAMILY.joint_floor[1] and options.lag == 0
    smooth = replace(FAMILY, kinds=(1.0, 0.0, 0.0), clean=0.0, smooth=1.0)
    for options in draws(smooth, 100):
        assert options.joint_noise <= FAMILY.smooth_factor[1] * FAMILY.joint_floor[1]
    clip = make_clip()
    errors = [mean_error(noisy(clip, seed), clip) for seed in range(300)]
    low, median, high = np.percentile(errors, [3, 50, 97])
    assert low < 0.003 and 0.006 < median < 0.03 and high > 0.03


def test_estimators_for_testing_are_none_of_those_for_training():
    for name in ('estimator_seeds', 'slow_time', 'medium_time', 'freedom'):
        (a, b), (c, d) = getattr(FAMILY, name), getattr(HELD_OUT_FAMILY, name)
        assert b <= c or d <= a
    train, test = draws(FAMILY), draws(HELD_OUT_FAMILY)
    assert {o.estimator_seed for o in train}.isdisjoint(o.estimator_seed for o in test)
    assert max(o.jitter_freedom for o in test) < min(o.jitter_freedom for o in train)
    slow = [[o.joint_drift_times[0] for o in found if o.joint_drift] for found in (train, test)]
    assert max(slow[0]) < min(slow[1])
    held_out = EstimatorNoise('family', held_out=True)
    assert held_out.draw_options(np.random.default_rng(3)) == HELD_OUT_FAMILY.draw(np.random.default_rng(3))
    with pytest.raises(DatasetError, match="held_out needs preset='family', got preset='silent'"):
        EstimatorNoise('silent', held_out=True)


def test_changes_and_strength_hold_for_every_clip():
    noise = EstimatorNoise('family', dict(dropout_rate=0.0, frozen_rate=0.0, swap_rate=0.0), strength=0.0)
    clip = make_clip()
    for seed in range(10):
        found = noise(clip, np.random.default_rng(seed))
        assert found.input_valid.all() and mean_error(found, clip) < 0.05  # jumps of joints of no size, no lag
        options = noise.draw_options(np.random.default_rng(seed))
        assert options.joint_drift == options.joint_noise == options.lag == options.rotation == 0
    with pytest.raises(DatasetError, match=r'joint_drift_fractions for each of joint_drift_times'):
        EstimatorNoise('family', dict(joint_drift_times=(1.0,)))


def test_errors_last_for_seconds_not_frames():
    """The same estimator at 10 frames per second: errors of consecutive frames are less alike."""
    changes = dict(joint_drift=0.004, joint_drift_times=(0.3,), joint_drift_fractions=(1.0,))
    found = {}
    for fps in (30.0, 10.0):
        clip = make_clip(fps=fps)
        runs = [EstimatorNoise('silent', changes)(clip, np.random.default_rng(i)).input_joints_3d for i in range(120)]
        error = torch.stack(runs) - clip.joints_3d
        found[fps] = float((error[:, 1:] * error[:, :-1]).mean() / (error**2).mean())
    for fps, value in found.items():
        assert value == pytest.approx(math.exp(-1 / (0.3 * fps)), abs=0.03)


def test_joint_sets():
    rng = np.random.default_rng(0)
    sets = np.stack([draw_joint_set(rng) for _ in range(600)])
    assert sets[:, 0].all() and not sets.all(1).any() and sets.sum(1).min() >= 5
    assert (sets[:, 1:].mean(0) > 0.4).all() and (sets[:, 1:].mean(0) < 0.8).all()
    fingers = sets[:, 1:].reshape(-1, 5, 4)
    assert (~fingers).all(2).any() and (fingers == fingers[:, :1]).all((1, 2)).mean() > 0.2
    clip = make_clip((0, 1))
    found = noisy(clip, joint_sets=1.0)
    given = found.input_joints_valid
    assert torch.equal(given.any(-1), found.input_valid)
    assert (given == given[found.input_valid][0])[found.input_valid].all()  # the same in all frames and hands
    assert not found.input_joints_3d[~given].any() and not found.input_confidence[~given].any()
    whole = noisy(clip)
    assert whole.input_joints_valid is None
    assert torch.equal(found.input_joints_3d[given], whole.input_joints_3d[given])
    share = np.mean(
        [bool(noisy(clip, seed, joint_sets=0.5).input_joints_valid.any((0, 1)).all()) for seed in range(80)]
    )
    assert share == pytest.approx(0.5, abs=0.15)
    with pytest.raises(DatasetError, match='joint_sets must be from 0 to 1, got 2'):
        EstimatorNoise('family', joint_sets=2)


@pytest.mark.parametrize(
    ('changes', 'reached'),
    [
        (dict(scale=0.1), True),
        (dict(wrist_depth=0.05), True),
        (dict(joint_offset=0.004), True),
        (dict(lag=0.05), True),
        (dict(rotation_bias=0.1, finger_bias=0.01, difficulty=0.5), True),
        (dict(rotation=0.1, finger=0.01, time_constants=(3.0,), time_fractions=(1.0,)), True),
        (dict(joint_drift=0.01, joint_drift_times=(3.0,), joint_drift_fractions=(1.0,)), True),
        (dict(rotation=0.1, finger=0.01, time_constants=(0.1,), time_fractions=(1.0,)), False),
        (dict(joint_drift=0.01, joint_drift_times=(0.1,), joint_drift_fractions=(1.0,)), False),
        (dict(joint_noise=0.003, joint_jitter=0.004, wrist_jitter=0.003), False),
        (dict(joint_jump=0.02, joint_jump_rate=2.0, jump=0.02, jump_rate=2.0), False),
    ],
)
def test_an_attainable_target_keeps_constant_and_slow_errors_and_no_others(changes, reached):
    clip = make_clip((0, 1))
    for seed in range(3):
        noise = EstimatorNoise('silent', changes, target='attainable')
        found = noise(clip, np.random.default_rng(seed)).validate()
        truth = EstimatorNoise('silent', changes)(clip, np.random.default_rng(seed))
        assert torch.equal(truth.joints_3d, clip.joints_3d)
        assert torch.equal(truth.input_joints_3d, found.input_joints_3d)
        goal = found.input_joints_3d if reached else clip.joints_3d
        torch.testing.assert_close(found.joints_3d, goal, atol=1e-6, rtol=0)
        assert mean_error(truth, clip) > 5e-4


def test_an_attainable_target_in_the_world_and_its_refusals():
    clip = make_clip((0, 1)).replace(frame='world')
    noise = EstimatorNoise('silent', dict(scale=0.1), camera_distance=(0.4, 0.8), target='attainable')
    found = noise(clip, np.random.default_rng(0))
    torch.testing.assert_close(found.joints_3d, found.input_joints_3d, atol=1e-6, rtol=0)
    assert (found.joints_3d - clip.joints_3d).norm(dim=-1).mean() > 0.001
    clip.joints_valid[3, 0, 4] = False
    assert not noise(clip, np.random.default_rng(0)).joints_3d[3, 0, 4].any()
    posed = make_clip().replace(hand_pose=torch.zeros(12, 1, 16, 3))
    with pytest.raises(DatasetError, match=r'changes joints_3d, but this clip also has hand_pose.*joints_only'):
        EstimatorNoise('family', target='attainable')(posed, np.random.default_rng(0))
    with pytest.raises(DatasetError, match='target must be one of'):
        EstimatorNoise('family', target='best')


def test_every_option_of_a_family_is_documented():
    text = NoiseFamily.__doc__ or ''
    assert all(f'        {field.name}: ' in text for field in fields(NoiseFamily))
