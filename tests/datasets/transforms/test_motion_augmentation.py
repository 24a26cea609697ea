import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handpose.datasets.base import DatasetError
from handpose.datasets.transforms.motion_augmentation import MotionAugmentation, are_mirrored, flip_clip, move_clip
from handpose.hands import ProceduralHand
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
        changed = MotionAugmentation()(clip, np.random.default_rng(seed))
        check_against_model(model, changed)
        assert changed.joints_3d[changed.joints_valid][:, 2].min() > 0.14
        sizes.add(tuple(changed.hand_side.tolist()))
        bones = [(c.joints_3d[0, :, 9] - c.joints_3d[0, :, 0]).norm(dim=-1).sort().values for c in (clip, changed)]
        torch.testing.assert_close(*bones)  # a hand with parameters keeps its size
    assert sizes == ({(0, 1)} if len(sides) == 2 else {(0,), (1,)})


def test_moving_is_a_similarity_of_joints_alone(model):
    clip = make_clip(model, (0, 1), parameters=False)
    rotation, shift = Rotation.from_rotvec([0.2, -0.1, 1.0]), np.array([0.02, 0.01, 0.1])
    moved = move_clip(clip, rotation, 1.1, shift)
    valid = clip.joints_valid.numpy()
    points, centre = clip.joints_3d.double().numpy()[valid], clip.joints_3d.double().numpy()[valid].mean(0)
    wanted = 1.1 * rotation.apply(points - centre) + centre + shift
    np.testing.assert_allclose(moved.joints_3d.numpy()[valid], wanted, atol=1e-6)


def test_hands_with_parameters_have_only_their_path_scaled(model):
    clip = make_clip(model)
    moved = move_clip(clip, Rotation.identity(), 1.2, np.zeros(3), model)
    centre = clip.joints_3d[clip.joints_valid].mean(0)
    wrist = 1.2 * (clip.joints_3d[:, 0, 0] - centre) + centre
    there = clip.hand_valid[:, 0]
    torch.testing.assert_close(moved.joints_3d[there, 0, 0], wrist[there], atol=1e-6, rtol=0)
    relative = [c.joints_3d[there, 0, 1:] - c.joints_3d[there, 0, :1] for c in (clip, moved)]
    torch.testing.assert_close(*relative, atol=1e-6, rtol=0)


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
    always = MotionAugmentation(turn=0, tilt=0, scale=(1, 1), shift=(0, 0), flip=1)
    clip = make_clip(model)
    torch.testing.assert_close(always(clip, np.random.default_rng(0)).joints_3d, clip.joints_3d, atol=1e-6, rtol=0)
    alone = make_clip(model, parameters=False)
    assert always(alone, np.random.default_rng(0)).hand_side.tolist() == [0]


def test_no_change_asked_for_is_no_change(model):
    still = TRANSFORMS.build(dict(type='MotionAugmentation', turn=0, tilt=0, scale=(1, 1), shift=(0, 0), flip=0))
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
    with pytest.raises(DatasetError, match='no negative turn'):
        MotionAugmentation(scale=(1.1, 0.9))
    with pytest.raises(DatasetError, match='this clip has input_joints_3d'):
        MotionAugmentation()(clip.replace(input_joints_3d=clip.joints_3d), rng)
    with pytest.raises(DatasetError, match="got a clip in frame 'world' with joints_3d"):
        MotionAugmentation()(clip.replace(frame='world'), rng)
    with pytest.raises(DatasetError, match="made with the hand model 'mano'"):
        MotionAugmentation()(clip.replace(meta={**clip.meta, 'hand_model': 'mano'}), rng)
