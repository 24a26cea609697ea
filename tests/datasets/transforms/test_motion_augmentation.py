import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handpose.datasets.base import DatasetError
from handpose.datasets.transforms.motion_augmentation import (
    MotionAugmentation,
    are_mirrored,
    flip_clip,
    move_clip,
    scale_shape,
)
from handpose.hands import ProceduralHand
from handpose.models import TrainingStep
from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence


@pytest.fixture(scope='module')
def model():
    return ProceduralHand()


def make_clip(model, sides=(1,), frames=6, parameters=True):
    generator = torch.Generator().manual_seed(1)
    hands, side = len(sides), torch.tensor(sides)
    pose = 0.3 * torch.randn(frames, hands, 16, 3, generator=generator)
    shape = torch.randn(hands, 10, generator=generator)
    transl = torch.tensor([0.05, 0.0, 0.7]) + 0.05 * torch.randn(frames, hands, 3, generator=generator)
    with torch.no_grad():
        joints = model(pose, shape, transl, side).joints
    shown = torch.ones(frames, hands, dtype=torch.bool)
    shown[2, 0] = False
    joints, pose, transl = (torch.where(shown[..., None], v.flatten(2), 0).view_as(v) for v in (joints, pose, transl))
    hand = dict(hand_pose=pose, hand_shape=shape, hand_transl=transl, hand_pose_valid=shown) if parameters else {}
    return HandSequence(
        meta=dict(sequence='a/b', cameras=['c'], fps=30.0, hand_model=model.name if parameters else None),
        frame_valid=torch.ones(frames, dtype=torch.bool),
        hand_side=side, hand_valid=shown, joints_3d=joints,
        joints_valid=shown[..., None].expand(-1, -1, 21).clone(), **hand,
    ).validate()  # fmt: skip


def joints_of(model, clip):
    """What the hand model makes of a clip's parameters, float64."""
    model = model.double()
    sides = clip.hand_side.expand(len(clip.hand_pose), -1)
    with torch.no_grad():
        found = model(clip.hand_pose.double(), clip.hand_shape.double(), clip.hand_transl.double(), sides).joints
    model.float()
    return found


def check_against_model(model, clip):
    clip.validate()
    off = (joints_of(model, clip) - clip.joints_3d).norm(dim=-1)[clip.joints_valid]
    assert off.max() < 2e-6
    assert not clip.joints_3d[~clip.joints_valid].any() and not clip.hand_pose[~clip.hand_pose_valid].any()


@pytest.mark.parametrize('sides', [(0,), (1,), (0, 1)])
def test_parameters_and_joints_stay_one_hand(model, sides):
    clip = make_clip(model, sides)
    check_against_model(model, clip)
    sizes = set()
    for seed in range(8):
        changed = MotionAugmentation(flip=0.5)(clip, np.random.default_rng(seed))
        check_against_model(model, changed)
        assert changed.joints_3d[changed.joints_valid][:, 2].min() > 0.14
        sizes.add(tuple(changed.hand_side.tolist()))
    assert sizes == ({(0, 1)} if len(sides) == 2 else {(0,), (1,)})


def test_moving_is_a_similarity_of_joints_alone(model):
    clip = make_clip(model, (0, 1), parameters=False)
    rotation, shift = Rotation.from_rotvec([0.2, -0.1, 1.0]), np.array([0.02, 0.01, 0.1])
    moved = move_clip(clip, rotation, 1.1, shift)
    valid = clip.joints_valid.numpy()
    points, centre = clip.joints_3d.double().numpy()[valid], clip.joints_3d.double().numpy()[valid].mean(0)
    wanted = 1.1 * rotation.apply(points - centre) + centre + shift
    np.testing.assert_allclose(moved.joints_3d.numpy()[valid], wanted, atol=1e-6)


class RecordTargets(torch.nn.Module):
    """A loss that keeps its targets."""

    def forward(self, output, targets, step, hand_model):
        self.joints = targets.joints
        return {'loss': output.joints.sum()}


class Recorder(MotionRefiner):
    """Keeps the input and the targets of training."""

    def __init__(self, mirror_left_hands=True):
        super().__init__(mirror_left_hands=mirror_left_hands)
        self.loss_function = RecordTargets()

    def forward(self, motion, frame_valid=None):
        self.input = motion
        return RefinedMotion(motion)


def with_input(clip, seed=5):
    """A clip with an estimator's input of known errors; the first hand has none in frame 4."""
    generator = torch.Generator().manual_seed(seed)
    valid = clip.hand_valid.clone()
    valid[4, 0] = False
    noisy = clip.joints_3d + 0.01 * torch.randn(clip.joints_3d.shape, generator=generator)
    confidence = torch.rand(clip.joints_valid.shape, generator=generator) * valid[..., None]
    noisy = torch.where(valid[..., None, None], noisy, 0)
    return clip.replace(input_joints_3d=noisy, input_valid=valid, input_confidence=confidence).validate()


def shown(clip, mirror_left_hands):
    """(N, T, 21, 3): the motion that a refiner's network is shown of a clip, and the true one."""
    refiner = Recorder(mirror_left_hands=mirror_left_hands)
    refiner.loss(HandSequence.stack([clip]), TrainingStep())
    return refiner.input, refiner.loss_function.joints


def bones_of(motion):
    """Lengths from the wrist, which is the origin of the other joints of a motion."""
    return motion[..., 1:, :].norm(dim=-1)


@pytest.mark.parametrize('parameters', [True, False])
def test_scale_reaches_the_network(model, parameters):
    clip = with_input(make_clip(model, (0, 1), parameters=parameters))
    moved = move_clip(clip, Rotation.identity(), 1.1, np.zeros(3), model if parameters else None).validate()
    before, after = shown(clip, True), shown(moved, True)
    torch.testing.assert_close(bones_of(after[0]), 1.1 * bones_of(before[0]), atol=1e-6, rtol=0)
    assert (bones_of(after[0]) - bones_of(before[0])).mean() > 5e-3
    torch.testing.assert_close(after[0], 1.1 * before[0], atol=1e-6, rtol=0)  # the wrist's path too
    there = clip.hand_valid.T[..., None, None]
    torch.testing.assert_close(after[1] * there, 1.1 * before[1] * there, atol=1e-6, rtol=0)


def test_rotation_reaches_the_network_and_shift_does_not(model):
    clip = with_input(make_clip(model))
    rotation = Rotation.from_rotvec([0.2, -0.1, 1.0])
    moved = move_clip(clip, rotation, 1.0, np.array([0.02, 0.01, 0.1]), model)
    matrix = torch.from_numpy(rotation.as_matrix()).float()
    torch.testing.assert_close(shown(moved, True)[0], shown(clip, True)[0] @ matrix.T, atol=1e-6, rtol=0)


def test_a_flip_reaches_a_network_that_sees_both_sides(model):
    clip = with_input(make_clip(model))
    flipped = flip_clip(clip, model).validate()
    before, after = shown(clip, False)[0], shown(flipped, False)[0]
    torch.testing.assert_close(after, before * torch.tensor([-1.0, 1.0, 1.0]), atol=1e-6, rtol=0)
    assert flipped.hand_side.tolist() == [0] and (after - before).abs().max() > 0.02


def test_mirrored_left_hands_and_flips_are_refused_together(model):
    clip = MotionAugmentation(flip=0.5)(make_clip(model), np.random.default_rng(0))
    clip = with_input(clip)
    with pytest.raises(ValueError, match=r'flip=0\.5, but Recorder has mirror_left_hands=True'):
        shown(clip, True)
    shown(clip, False)
    shown(with_input(MotionAugmentation()(make_clip(model), np.random.default_rng(0))), True)


@pytest.mark.parametrize('sides', [(0,), (0, 1)])
def test_real_input_goes_through_the_transform_of_the_truth(model, sides):
    clip = with_input(make_clip(model, sides))
    for seed in range(4):
        changed = MotionAugmentation(scale=(1.2, 1.2), flip=1.0)(clip, np.random.default_rng(seed))
        check_against_model(model, changed)
        assert not changed.input_joints_3d[~changed.input_valid].any()
        order = [1, 0] if len(sides) == 2 else [0]
        assert torch.equal(changed.input_valid, clip.input_valid[:, order])
        assert torch.equal(changed.input_confidence, clip.input_confidence[:, order])
        before, after = (
            (c.input_joints_3d - c.joints_3d)[:, rows][c.input_valid[:, rows]].norm(dim=-1)
            for c, rows in ((clip, order), (changed, slice(None)))
        )
        torch.testing.assert_close(after, 1.2 * before, atol=1e-6, rtol=0)


def test_shape_follows_the_scale(model):
    clip = make_clip(model, (0, 1))
    for factor in (0.8, 1.25):
        shape, error = scale_shape(model, clip.hand_shape, clip.hand_side, factor)
        assert error.max() < 1e-6
        sizes = []
        for numbers in (clip.hand_shape, shape.float()):
            hand = model(torch.zeros(2, 16, 3), numbers, torch.zeros(2, 3), clip.hand_side)
            sizes.append(hand.vertices - hand.joints[:, :1])
        torch.testing.assert_close(sizes[1], factor * sizes[0], atol=2e-6, rtol=0)


def test_parameters_without_a_shape_of_that_size_are_unknown(model):
    clip = make_clip(model)
    moved = move_clip(clip, Rotation.identity(), 1.1, np.zeros(3), model, shape_tolerance=0.0).validate()
    kept = move_clip(clip, Rotation.identity(), 1.1, np.zeros(3), model)
    assert not moved.hand_pose_valid.any() and not moved.hand_pose.any() and not moved.hand_transl.any()
    assert torch.equal(moved.joints_3d, kept.joints_3d) and torch.equal(kept.hand_pose_valid, clip.hand_pose_valid)


def test_two_hands_change_places_in_a_flip_and_back(model):
    clip = make_clip(model, (0, 1))
    flipped = flip_clip(clip, model)
    check_against_model(model, flipped)
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(flipped.joints_3d[:, 0], clip.joints_3d[:, 1] * mirror)
    assert torch.equal(flipped.hand_valid, clip.hand_valid.flip(1)) and flipped.hand_side.tolist() == [0, 1]
    assert torch.equal(flipped.hand_shape, clip.hand_shape.flip(0))
    back = flip_clip(flipped, model)
    for name, value in clip.present().items():
        torch.testing.assert_close(getattr(back, name), value, atol=1e-6, rtol=0)


def test_one_hand_becomes_one_of_the_other_side(model):
    clip = make_clip(model, (1,), parameters=False)
    flipped = flip_clip(clip)
    assert flipped.hand_side.tolist() == [0]
    torch.testing.assert_close(flipped.joints_3d, clip.joints_3d * torch.tensor([-1.0, 1.0, 1.0]))


def test_sides_that_are_no_mirror_images_are_not_flipped(model, monkeypatch):
    assert are_mirrored(model)
    monkeypatch.setattr('handpose.datasets.transforms.motion_augmentation.are_mirrored', lambda model: False)
    always = MotionAugmentation(rotation=0, tilt=0, scale=(1, 1), shift=(0, 0), flip=1)
    clip = make_clip(model)
    torch.testing.assert_close(always(clip, np.random.default_rng(0)).joints_3d, clip.joints_3d, atol=1e-6, rtol=0)
    alone = make_clip(model, parameters=False)
    assert always(alone, np.random.default_rng(0)).hand_side.tolist() == [0]


def test_no_change_asked_for_is_no_change(model):
    still = TRANSFORMS.build(dict(type='MotionAugmentation', rotation=0, tilt=0, scale=(1, 1), shift=(0, 0), flip=0))
    clip = make_clip(model, (0, 1))
    same = still(clip, np.random.default_rng(0))
    for name, value in clip.present().items():
        torch.testing.assert_close(getattr(same, name), value, atol=1e-6, rtol=0)


def test_the_same_draw_gives_the_same_clip(model):
    clip, change = make_clip(model), MotionAugmentation()
    first, again, other = (change(clip, np.random.default_rng(seed)).joints_3d for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_sentences(model):
    clip, rng = make_clip(model), np.random.default_rng(0)
    with pytest.raises(DatasetError, match='no negative rotation'):
        MotionAugmentation(scale=(1.1, 0.9))
    with pytest.raises(DatasetError, match='needs input_valid with input_joints_3d'):
        MotionAugmentation()(clip.replace(input_joints_3d=clip.joints_3d), rng)
    with pytest.raises(DatasetError, match="got a clip in frame 'world' with joints_3d"):
        MotionAugmentation()(clip.replace(frame='world'), rng)
    with pytest.raises(DatasetError, match="made with the hand model 'mano'"):
        MotionAugmentation()(clip.replace(meta={**clip.meta, 'hand_model': 'mano'}), rng)
