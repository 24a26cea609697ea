import math

import cv2
import numpy as np
import pytest
import torch

from handpose.datasets.transforms import ColorJitter, GaussianBlur, HandCrop, MotionBlur, RandomOcclusion
from handpose.geometry.camera import project_points
from handpose.hands import ProceduralHand
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence, SequenceError

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope='module')
def model():
    return ProceduralHand()


def make_clip(model, sides=(1,), frame='camera', num_frames=3):
    """Posed hands about 0.6 m before a camera whose pixels are not square and whose axes are a little skewed."""
    random = torch.Generator().manual_seed(0)
    hands = len(sides)
    side = torch.tensor(sides)
    pose = 0.4 * torch.randn(num_frames, hands, 16, 3, generator=random)
    shape = torch.randn(hands, 10, generator=random)
    transl = torch.tensor([0.02, -0.03, 0.6]) + 0.03 * torch.randn(num_frames, hands, 3, generator=random)
    joints = model(pose, shape, transl, side).joints
    intrinsics = torch.tensor([[300.0, 1.5, 155.0], [0, 320, 118], [0, 0, 1]]).expand(num_frames, 1, 3, 3).clone()
    extrinsics = torch.eye(4).expand(num_frames, 1, 4, 4).clone()
    if frame == 'world':
        extrinsics[..., :3, 3] = torch.tensor([0.01, 0.02, 0.03])
    joints_2d = project_points(joints[:, None], intrinsics[:, :, None], extrinsics[:, :, None])
    shown = torch.ones(num_frames, hands, dtype=torch.bool)
    images = torch.zeros(num_frames, 1, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    boxes = torch.cat([joints_2d.amin(-2), joints_2d.amax(-2)], -1)
    return HandSequence(
        meta={'image_size': (WIDTH, HEIGHT)}, frame=frame, frame_valid=shown[:, 0], hand_side=side, hand_valid=shown,
        images=images, intrinsics=intrinsics, extrinsics=extrinsics, boxes=boxes,
        object_boxes=boxes[:, :, 0] + 10, joints_3d=joints, joints_valid=shown[..., None].repeat(1, 1, 21),
        joints_2d=joints_2d, joints_2d_valid=shown[:, None, :, None].repeat(1, 1, 1, 21),
        hand_pose=pose, hand_shape=shape, hand_transl=transl, hand_pose_valid=shown,
        occlusion=torch.zeros(num_frames, 1, hands), input_joints_3d=joints + 0.01, input_valid=shown,
    ).validate()  # fmt: skip


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize('sides', [(1,), (0,), (0, 1)])
@pytest.mark.parametrize('seed', range(4))
def test_turned_crop_moves_all_labels_together(model, sides, seed):
    clip = make_clip(model, sides)
    crop = HandCrop(size=224, centre_jitter=0.1, scale_jitter=0.2, rotation=math.pi)
    moved = crop(clip, generator(seed)).validate()
    assert (moved.joints_2d - clip.joints_2d).abs().max() > 10
    seen = project_points(moved.joints_3d[:, None], moved.intrinsics[:, :, None])
    torch.testing.assert_close(seen, moved.joints_2d, atol=1e-2, rtol=0)
    posed = model(moved.hand_pose, moved.hand_shape, moved.hand_transl, moved.hand_side).joints
    torch.testing.assert_close(posed, moved.joints_3d, atol=1e-4, rtol=0)
    offset = torch.linalg.vector_norm(moved.input_joints_3d - moved.joints_3d, dim=-1)
    torch.testing.assert_close(offset, torch.full_like(offset, 0.01 * 3**0.5), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.intrinsics[..., 2, :], clip.intrinsics[..., 2, :])
    torch.testing.assert_close(moved.joints_3d[..., 2], clip.joints_3d[..., 2], atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.extrinsics, clip.extrinsics)
    tight = torch.cat([moved.joints_2d.amin(-2), moved.joints_2d.amax(-2)], -1)
    torch.testing.assert_close(moved.boxes, tight)
    assert moved.images.shape == (3, 1, 3, 224, 224) and moved.meta['image_size'] == (224, 224)


def test_turned_crop_in_the_world_turns_the_camera(model):
    clip = make_clip(model, frame='world')
    moved = HandCrop(rotation=math.pi)(clip, generator()).validate()
    assert torch.equal(moved.joints_3d, clip.joints_3d) and torch.equal(moved.hand_pose, clip.hand_pose)
    seen = project_points(moved.joints_3d[:, None], moved.intrinsics[:, :, None], moved.extrinsics[:, :, None])
    torch.testing.assert_close(seen, moved.joints_2d, atol=1e-2, rtol=0)


def test_pixels_go_where_the_labels_go(model):
    clip = make_clip(model)
    for t, (x, y) in enumerate(clip.joints_2d[:, 0, 0, 8].tolist()):
        canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        cv2.circle(canvas, (round(x * 16), round(y * 16)), 4 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
        clip.images[t, 0] = torch.from_numpy(canvas).permute(2, 0, 1)
    crop = HandCrop(size=256, union_object=False, centre_jitter=0.1, scale_jitter=0.2, rotation=math.pi)
    for seed in range(3):
        moved = crop(clip, generator(seed))
        for t in range(3):
            weight = moved.images[t, 0, 0].double()
            rows, columns = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing='ij')
            centre = torch.stack([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
            torch.testing.assert_close(centre.float(), moved.joints_2d[t, 0, 0, 8], atol=0.3, rtol=0)


def test_crop_without_randomness_is_the_enlarged_square(model):
    clip = make_clip(model, num_frames=1)
    clip.boxes[:] = torch.tensor([100.0, 80, 140, 100])  # 40 x 20, centre (120, 90)
    cases = {  # object box -> side and centre of the square
        (300.0, 200.0, 310.0, 210.0): (60.0, (120.0, 90.0)),  # apart: the hand alone, 60 x 30
        (140.0, 90.0, 190.0, 100.0): (100.0, (140.0, 90.0)),  # joined: x from 90 to 190, y from 75 to 105
        (0.0, 0.0, 0.0, 0.0): (60.0, (120.0, 90.0)),  # not visible
    }
    for object_box, (side, centre) in cases.items():
        clip.object_boxes[:] = torch.tensor(object_box)
        moved = HandCrop(size=240)(clip, generator())
        scale = 240 / side
        expected = [(v - centre[i % 2]) * scale + 119.5 for i, v in enumerate((100, 80, 140, 100))]
        assert moved.boxes[0, 0, 0].tolist() == pytest.approx(expected, abs=1e-3)
    apart = HandCrop(size=240, union_object=False)(clip, generator()).intrinsics
    assert apart[0, 0, 0, 0].item() == pytest.approx(300 * 4)


def test_two_hands_one_of_them_absent(model):
    clip = make_clip(model, sides=(0, 1), num_frames=2)
    clip.boxes[:, 0, 0], clip.boxes[:, 0, 1] = torch.tensor([10.0, 10, 50, 50]), torch.tensor([90.0, 10, 130, 50])
    clip.hand_valid[1, 0] = False
    moved = HandCrop(size=100, scale=1.0, union_object=False)(clip, generator())
    assert moved.boxes[0, 0, :, 0].tolist() == pytest.approx([-0.5, 66.1667], abs=1e-3)
    assert moved.boxes[1, 0, 1].tolist() == pytest.approx([-0.5, -0.5, 99.5, 99.5])


@pytest.mark.parametrize('number', [math.nan, math.inf])
def test_frames_without_a_hand_may_hold_any_numbers(model, number):
    clip = make_clip(model)
    missing = torch.tensor([[True], [False], [True]])
    clip = clip.replace(
        hand_valid=missing,
        joints_valid=clip.joints_valid & missing[..., None],
        joints_2d_valid=clip.joints_2d_valid & missing[:, None, :, None],
        hand_pose_valid=missing,
        input_valid=missing,
    )
    crop, broken = HandCrop(size=224, centre_jitter=0.1, rotation=math.pi), {}
    for name in ('boxes', 'joints_3d', 'joints_2d', 'hand_pose', 'hand_transl', 'input_joints_3d'):
        broken[name] = getattr(clip, name).clone()
        broken[name][1] = number
    expected, found = crop(clip, generator()), crop(clip.replace(**broken), generator()).validate()
    for name, value in found.present().items():
        if value.is_floating_point():
            assert value.isfinite().all(), name
        if value.shape[0] == 3:
            assert torch.equal(value[::2], getattr(expected, name)[::2]), name
    broken['boxes'][2] = number
    with pytest.raises(SequenceError, match=r"'boxes' is NaN or infinite in frame 2"):
        crop(clip.replace(**broken), generator())


def test_crop_names_what_it_lacks(model):
    with pytest.raises(SequenceError, match="HandCrop needs 'boxes'"):
        HandCrop()(make_clip(model).replace(boxes=None), generator())


APPEARANCE = [
    dict(type='ColorJitter'),
    dict(type='GaussianBlur', max_radius=2.0),
    dict(type='MotionBlur', probability=1.0),
    dict(type='RandomOcclusion', probability=1.0),
]


@pytest.mark.parametrize('config', APPEARANCE, ids=lambda c: c['type'])
def test_appearance_changes_pixels_alone_and_keeps_its_input(model, config):
    clip = make_clip(model)
    noise = torch.randint(
        0, 256, (1, 1, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    clip = clip.replace(images=noise.repeat(3, 1, 1, 1, 1))
    transform = TRANSFORMS.build(config)
    changed, again = transform(clip, generator(5)).validate(), transform(clip, generator(5))
    assert torch.equal(changed.images, again.images) and torch.equal(clip.images[0], noise[0])
    assert not torch.equal(changed.images, clip.images) and changed.images.shape == clip.images.shape
    for name, value in clip.present().items():
        if name not in ('images', 'occlusion'):
            assert torch.equal(getattr(changed, name), value), name
    if config['type'] != 'RandomOcclusion':
        assert torch.equal(changed.images[0], changed.images[2])  # one draw for the clip
    assert transform(clip.replace(images=None), generator(5)).images is None


def test_colour_jitter_of_zero_keeps_colours(model):
    clip = make_clip(model)
    clip.images[:] = torch.arange(WIDTH).clamp_max(255).to(torch.uint8)
    same = ColorJitter(0, 0, 0, 0)(clip, generator())
    assert (same.images.int() - clip.images.int()).abs().max() <= 1
    brighter = ColorJitter(0.5, 0, 0, 0)(clip, generator(0))
    factor = 1 + generator(0).uniform(-0.5, 0.5)
    expected = (clip.images.float() * factor).clamp(0, 255)
    assert (brighter.images.float() - expected).abs().max() <= 1.01


def test_blurs_keep_the_mean_and_spread_as_far_as_they_say(model):
    clip = make_clip(model)
    clip.images[:, :, :, 100, 100] = 255
    for transform, reach in ((GaussianBlur(max_radius=1.0), 5), (MotionBlur(length=9, probability=1.0), 6)):
        blurred = transform(clip, generator(1)).images[0, 0, 0]
        assert blurred.sum().item() == pytest.approx(255, abs=25)
        rows, columns = (blurred > 0).nonzero().T
        assert max(abs(rows - 100).max(), abs(columns - 100).max()) <= reach and len(rows) > 1


def test_nothing_is_painted_over_a_hand_that_is_absent(model):
    clip = make_clip(model)
    clip.boxes[1], clip.hand_valid[1] = torch.nan, False
    painted = [RandomOcclusion(probability=1.0)(clip, generator(seed)).images for seed in range(8)]
    assert torch.stack(painted)[:, ::2].any() and not torch.stack(painted)[:, 1].any()


def test_occlusion_is_unknown_where_something_was_painted(model):
    clip = make_clip(model)
    covered = RandomOcclusion(probability=1.0)(clip, generator(0))
    painted = (covered.images != clip.images).flatten(1).any(1)
    assert torch.equal(covered.occlusion[:, 0, 0].isnan(), painted) and painted.any()
    assert RandomOcclusion(probability=0.0)(clip, generator(0)) is clip
