"""Two cameras of different resolution through loading, cropping and changes of colour."""

import cv2
import numpy as np
import pytest
import torch

from handpose.datasets.io.errors import BrokenFrames, DatasetError
from handpose.datasets.transforms import (
    ColorJitter,
    GaussianBlur,
    HandCrop,
    LoadImages,
    MotionBlur,
    RandomOcclusion,
    ResizeFrames,
    ShiftFrames,
)
from handpose.geometry import invert_rigid, look_at, project_points, transform_points
from handpose.hands import ProceduralHand
from handpose.structures import HandSequence, SequenceError

SIZES = [(320, 240), (500, 260)]
FRAMES, TIP = 3, 8
INTRINSICS = torch.tensor([[[300.0, 0, 160], [0, 300, 120], [0, 0, 1]], [[420.0, 0, 255], [0, 430, 128], [0, 0, 1]]])


def make_clip(folder, frame='camera', sides=(0, 1)):
    """Hands in front of two cameras, and images with a white dot at the tip of the first hand's index finger."""
    generator = torch.Generator().manual_seed(0)
    model, hands = ProceduralHand(), len(sides)
    pose = 0.3 * torch.randn(FRAMES, hands, 16, 3, generator=generator)
    shape = torch.randn(hands, 10, generator=generator)
    transl = 0.05 * torch.randn(FRAMES, hands, 3, generator=generator)
    eyes = torch.tensor([[0.0, 0.1, -0.6], [0.5, 0.2, -0.5]])
    extrinsics = look_at(eyes, torch.zeros(3), torch.tensor([0.0, 1, 0]))  # world to camera
    if frame == 'camera':
        extrinsics = extrinsics @ invert_rigid(extrinsics[0])
        transl = transl + torch.tensor([0, 0, 0.6])
    joints = model(pose, shape, transl, torch.tensor(sides)).joints
    extrinsics = extrinsics.expand(FRAMES, 2, 4, 4).clone()
    intrinsics = INTRINSICS.expand(FRAMES, 2, 3, 3).clone()
    joints_2d = project_points(joints[:, None], intrinsics[:, :, None], extrinsics[:, :, None])
    valid = torch.ones(FRAMES, hands, dtype=torch.bool)
    boxes = torch.cat([joints_2d.amin(-2), joints_2d.amax(-2)], -1)
    paths = [[str(folder / f'{k}_{t}.png') for k in range(2)] for t in range(FRAMES)]
    for t, row in enumerate(paths):
        for k, path in enumerate(row):
            image = np.zeros((*SIZES[k][::-1], 3), np.uint8)
            x, y = (joints_2d[t, k, 0, TIP] * 16).round().int().tolist()
            cv2.circle(image, (x, y), 3 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
            cv2.imwrite(path, image)
    return HandSequence(
        meta={'image_sizes': SIZES, 'paths': paths}, frame=frame, frame_valid=valid[:, 0],
        hand_side=torch.tensor(sides), hand_valid=valid, intrinsics=intrinsics, extrinsics=extrinsics, boxes=boxes,
        object_boxes=boxes[:, :, 0] + 10, joints_3d=joints, joints_valid=valid[..., None].repeat(1, 1, 21),
        joints_2d=joints_2d, joints_2d_valid=valid[:, None, :, None].repeat(1, 2, 1, 21), hand_pose=pose,
        hand_shape=shape, hand_transl=transl, hand_pose_valid=valid, occlusion=torch.zeros(FRAMES, 2, hands),
    ).validate()  # fmt: skip


def view(clip, k):
    """The clip of one camera; its 3D labels are kept."""
    names = ('intrinsics', 'extrinsics', 'boxes', 'object_boxes', 'joints_2d', 'joints_2d_valid', 'occlusion')
    fields = {name: getattr(clip, name)[:, k : k + 1] for name in names}
    meta = {'image_size': SIZES[k], 'paths': [row[k] for row in clip.meta['paths']]}
    return clip.replace(meta=meta, images=None if clip.images is None else clip.images[:, k : k + 1], **fields)


def assert_reprojects(clip, tolerance=1e-3):
    """3D joints through the extrinsics and intrinsics are the 2D joints, and, of the dot, the pixels."""
    joints, intrinsics, extrinsics = (x.double() for x in (clip.joints_3d, clip.intrinsics, clip.extrinsics))
    pixels = project_points(joints[:, None], intrinsics[:, :, None], extrinsics[:, :, None])
    assert (pixels - clip.joints_2d).abs().max() < tolerance
    height, width = clip.images.shape[-2:]
    tips = clip.joints_2d[:, :, 0, TIP]
    inside = ((tips > 25) & (tips < torch.tensor([width - 25, height - 25]))).all(-1)
    assert inside.any()
    for t, k in inside.nonzero().tolist():
        weight = clip.images[t, k, 0].double()
        rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in weight.shape), indexing='ij')
        centre = torch.stack([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
        torch.testing.assert_close(centre.float(), tips[t, k], atol=0.4, rtol=0)


@pytest.mark.parametrize('sides', [(1,), (0, 1)])
@pytest.mark.parametrize('frame', ['camera', 'world'])
@pytest.mark.parametrize('rotation', [0.0, 1.0, np.pi])
def test_load_and_crop(tmp_path, frame, rotation, sides):
    clip = LoadImages()(make_clip(tmp_path, frame, sides), None).validate()
    assert clip.images.shape == (FRAMES, 2, 3, 260, 500) and clip.meta['image_size'] == (500, 260)
    crop = HandCrop(224, scale=1.3, union_object=False, centre_jitter=0.02, scale_jitter=0.05, rotation=rotation)
    for seed in range(3):
        moved = crop(clip, np.random.default_rng(seed)).validate()
        assert moved.images.shape == (FRAMES, 2, 3, 224, 224) and moved.meta['image_size'] == (224, 224)
        assert moved.meta['image_sizes'] == SIZES
        assert_reprojects(moved)
        posed = ProceduralHand()(moved.hand_pose, moved.hand_shape, moved.hand_transl, moved.hand_side).joints
        torch.testing.assert_close(posed, moved.joints_3d, atol=1e-4, rtol=0)
        assert torch.equal(moved.joints_3d, clip.joints_3d) == (frame == 'world' or not rotation)


def test_a_rotated_crop_rotates_both_cameras(tmp_path):
    """Points of each camera rotate about its own optical axis, by the same angle."""
    clip = LoadImages()(make_clip(tmp_path), None)
    moved = HandCrop(rotation=np.pi)(clip, np.random.default_rng(0))
    old = transform_points(clip.joints_3d[:, None], clip.extrinsics[:, :, None])
    new = transform_points(moved.joints_3d[:, None], moved.extrinsics[:, :, None])
    torch.testing.assert_close(new[..., 2], old[..., 2], atol=1e-6, rtol=0)
    angle = torch.atan2(new[..., 1], new[..., 0]) - torch.atan2(old[..., 1], old[..., 0])
    angle = torch.remainder(angle - angle.flatten()[0] + np.pi, 2 * np.pi) - np.pi
    assert angle.abs().max() < 1e-4 and (new - old).abs().max() > 0.01
    torch.testing.assert_close(moved.extrinsics[:, 0], torch.eye(4).expand(FRAMES, 4, 4), atol=1e-6, rtol=0)


@pytest.mark.parametrize('rotation', [0.0, 1.0])
def test_each_view_is_that_of_its_camera_alone(tmp_path, rotation):
    """Padding changes no pixel of a crop, and every view has the random draws of the clip."""
    clip = make_clip(tmp_path, 'world')
    steps = [LoadImages(), HandCrop(160, centre_jitter=0.1, scale_jitter=0.2, rotation=rotation), GaussianBlur(2.0),
             MotionBlur(probability=1.0), RandomOcclusion(1.0), ColorJitter()]  # fmt: skip

    def apply(sample):
        rng = np.random.default_rng(4)
        for step in steps:
            sample = step(sample, rng)
        return sample.validate()

    both, alone = apply(clip), [apply(view(clip, k)) for k in range(2)]
    for name in ('images', 'intrinsics', 'boxes', 'joints_2d', 'object_boxes', 'extrinsics'):
        assert torch.equal(getattr(both, name), torch.cat([getattr(one, name) for one in alone], 1)), name
    assert [one.meta['image_sizes'] for one in alone] == [[size] for size in SIZES]


def test_contrast_is_about_the_mean_of_each_view(tmp_path):
    clip = LoadImages()(make_clip(tmp_path), None)
    clip.images[:, 0], clip.images[:, 1] = 50, 200
    changed = ColorJitter(brightness=0, contrast=0.9, saturation=0, hue=0)(clip, np.random.default_rng(0))
    assert (changed.images.int() - clip.images.int()).abs().max() <= 1


def test_views_resized_while_they_are_loaded(tmp_path):
    clip = LoadImages(size=(200, 150))(make_clip(tmp_path), None).validate()
    assert clip.images.shape == (FRAMES, 2, 3, 150, 200) and clip.meta['image_sizes'] == SIZES
    assert_reprojects(clip)
    assert clip.intrinsics[0, :, 0, 0].tolist() == pytest.approx([300 * 200 / 320, 420 * 200 / 500])
    assert ResizeFrames((200, 150))(clip, None) is clip


def test_whole_frames_of_two_views(tmp_path):
    clip = make_clip(tmp_path)
    resized = ResizeFrames((250, 130))(LoadImages()(clip, None), None).validate()
    assert_reprojects(ShiftFrames(0.05)(resized, np.random.default_rng(0)).validate())
    before = ResizeFrames((250, 130))(clip, None)  # without images, from the sizes that the reader states
    torch.testing.assert_close(before.intrinsics, resized.intrinsics)


def test_sizes_that_are_not_stated(tmp_path):
    clip = make_clip(tmp_path)
    meta = {'paths': clip.meta['paths']}
    loaded = LoadImages()(clip.replace(meta=meta), None)
    assert loaded.meta['image_sizes'] == SIZES and loaded.meta['image_size'] == (500, 260)
    cv2.imwrite(meta['paths'][1][1], np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(DatasetError, match='images of one camera must have one size in a clip, got 60x50 and 500x260'):
        LoadImages()(clip.replace(meta=meta), None)


def test_messages(tmp_path):
    clip = make_clip(tmp_path)
    with pytest.raises(DatasetError, match="'image_sizes'] states 1 sizes, but a frame has 2 images"):
        LoadImages()(clip.replace(meta={**clip.meta, 'image_sizes': SIZES[:1]}), None)
    swapped = clip.replace(meta={**clip.meta, 'image_sizes': SIZES[::-1]})
    with pytest.raises(BrokenFrames, match=r'1_0\.png is 500x260, but its camera is calibrated for 320x240') as error:
        LoadImages()(swapped, None)
    assert error.value.positions == [0, 1, 2]
    with pytest.raises(SequenceError, match="lacks 'intrinsics', which must follow its images"):
        LoadImages(size=(10, 10))(clip.replace(intrinsics=None), None)
