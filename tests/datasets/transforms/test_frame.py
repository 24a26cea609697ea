import numpy as np
import pytest
import torch

from handpose.datasets.transforms import ColorJitter, GaussianBlur, ResizeFrames, ShiftFrames
from handpose.geometry.camera import project_points
from handpose.structures import HandSequence, SequenceError

INTRINSICS = torch.tensor([[50.0, 0, 31], [0, 52, 17], [0, 0, 1]])


def clip(frames=3, images=True):
    """Two hands in pictures of 64 x 36, one bright pixel at (40, 20)."""
    points = torch.rand(frames, 2, 21, 3) * 0.2 + torch.tensor([-0.1, -0.1, 0.5])
    intrinsics = INTRINSICS.expand(frames, 1, 3, 3).clone()
    valid = torch.ones(frames, 2, 21, dtype=torch.bool)
    pictures = torch.full((frames, 1, 3, 36, 64), 20, dtype=torch.uint8)
    pictures[..., 20, 40] = 250
    uv = project_points(points, intrinsics)
    return HandSequence(
        meta={'sequence': 'a', 'image_size': (64, 36)},
        hand_side=torch.tensor([0, 1]),
        images=pictures if images else None,
        intrinsics=intrinsics,
        joints_3d=points,
        joints_valid=valid,
        joints_2d=uv[:, None],
        joints_2d_valid=valid[:, None].clone(),
        boxes=torch.cat([uv.amin(2), uv.amax(2)], -1)[:, None],
    ).validate()


def consistent(sample):
    """2D joints and boxes are where the new camera sees the unchanged 3D joints."""
    uv = project_points(sample.joints_3d, sample.intrinsics)
    torch.testing.assert_close(uv[:, None], sample.joints_2d, atol=1e-3, rtol=0)
    boxes = torch.cat([uv.amin(2), uv.amax(2)], -1)[:, None]
    torch.testing.assert_close(boxes, sample.boxes, atol=1e-3, rtol=0)
    if sample.images is not None:
        assert sample.meta['image_size'] == (sample.images.shape[-1], sample.images.shape[-2])


@pytest.mark.parametrize('size', [(32, 18), (128, 72), (48, 40)])
def test_resize(size):
    sample = ResizeFrames(size)(clip(), np.random.default_rng(0)).validate()
    consistent(sample)
    assert sample.images.shape == (3, 1, 3, size[1], size[0])
    bright = (sample.images[0, 0, 0] == sample.images[0, 0, 0].max()).nonzero().float().mean(0)
    expected = (torch.tensor([20.5, 40.5]) * torch.tensor([size[1] / 36, size[0] / 64])) - 0.5
    assert (bright - expected).abs().max() <= 1
    without = ResizeFrames(size)(clip(images=False), None)
    assert without.images is None and without.meta['image_size'] == size
    same = clip()
    assert ResizeFrames((64, 36))(same, None) is same


def test_shift_moves_a_whole_clip_once():
    before, moved = clip(), set()
    for seed in range(60):
        sample = ShiftFrames(0.1)(clip(), np.random.default_rng(seed)).validate()
        consistent(sample)
        dx, dy = (sample.intrinsics - INTRINSICS)[0, 0, :2, 2].tolist()
        torch.testing.assert_close(sample.intrinsics, sample.intrinsics[:1].expand(3, 1, 3, 3))
        moved.add((dx, dy))
        for t in range(3):
            assert (sample.images[t, 0, 0] == 250).nonzero().tolist() == [[20 + dy, 40 + dx]]
        black = (sample.images[0, 0, 0] == 0).sum()
        assert black == 64 * 36 - (64 - abs(dx)) * (36 - abs(dy))
    assert before.images[0, 0, 0, 20, 40] == 250
    assert max(abs(dx) for dx, _ in moved) <= 6 and max(abs(dy) for _, dy in moved) <= 6  # 10 % of the width, both
    assert max(abs(dy) for _, dy in moved) > 3.6  # more than 10 % of the height


def test_shift_out_of_the_picture():
    sample = ShiftFrames(3.0)(clip(), np.random.default_rng(1))
    assert not sample.images.any() and sample.joints_valid.all()
    consistent(sample)


def test_unknown_size_and_camera():
    bare = clip(images=False).replace(meta={})
    for transform in (ResizeFrames((8, 8)), ShiftFrames()):
        with pytest.raises(SequenceError, match='neither images nor'):
            transform(bare, np.random.default_rng(0))
        with pytest.raises(SequenceError, match="lacks 'intrinsics'"):
            transform(clip().replace(intrinsics=None), np.random.default_rng(0))


def test_what_is_the_same_in_all_frames():
    """Colours and the shift are drawn once a clip; the blur too, unless it is to be drawn for every frame."""

    def different(transform):
        images = transform(clip(12), np.random.default_rng(5)).images
        return len({image.numpy().tobytes() for image in images})

    assert different(ColorJitter()) == different(ShiftFrames()) == different(GaussianBlur(3.0)) == 1
    assert different(GaussianBlur(3.0, per_frame=True)) > 6
    blurred = GaussianBlur(0.5, per_frame=True)(clip(40), np.random.default_rng(0)).images
    untouched = (blurred == clip(40).images).flatten(1).all(1).float().mean()
    assert 0.15 < untouched < 0.65  # radii below 0.2 change no grey level
