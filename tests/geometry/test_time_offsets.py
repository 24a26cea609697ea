import math

import pytest
import torch

from handpose.geometry import look_at, project_points
from handpose.geometry.time_offsets import estimate_time_offsets

FRAMES, POINTS = 200, 5


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(2)


def positions(times):
    """Smooth motion of a hand of five points at real-valued frames: (T, 5, 3) metres."""
    generator = torch.Generator().manual_seed(9)
    found = torch.zeros(len(times), POINTS, 3).double()
    for period in (17.0, 29.0, 43.0, 71.0):
        phases = 2 * math.pi * torch.rand(POINTS, 3, generator=generator).double()
        found += 0.04 * (2 * math.pi * times[:, None, None] / period + phases).sin()
    return found


def tracks(offsets, generator, noise=0.0):
    """Each camera's frame t + offset shows the motion at time t."""
    angles = torch.arange(len(offsets)) * 1.1
    eyes = torch.stack([angles.cos(), angles.sin(), torch.full_like(angles, 0.5)], -1).double()
    cameras = look_at(eyes, torch.zeros(3).double(), torch.tensor([0.0, 0.0, 1.0]).double())
    intrinsics = torch.tensor([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]]).double()
    found = []
    for camera, offset in zip(cameras, offsets, strict=True):
        uv = project_points(positions(torch.arange(FRAMES).double() - offset), intrinsics, camera)
        found.append(uv + noise * torch.randn(uv.shape, generator=generator))
    return found


@pytest.mark.parametrize('noise', [0.0, 1.0])
def test_offsets_of_four_cameras_to_a_third_of_a_frame(generator, noise):
    offsets = [0.0, 7.0, -11.0, 2.5]
    found = estimate_time_offsets(tracks(offsets, generator, noise), max_offset=30)
    torch.testing.assert_close(found.frames, torch.tensor(offsets).double(), atol=0.34, rtol=0)
    assert found.correlations[0] == 1 and (found.correlations > 0.5).all()


def test_tracks_of_different_length_with_gaps_and_jumps(generator):
    first, second = tracks([0.0, 9.0], generator, 0.5)
    first[20:60] = math.nan
    second[torch.rand(FRAMES, generator=generator) < 0.05] += 80.0
    second[:, 3] = math.nan
    found = estimate_time_offsets([first[:150], second], max_offset=20)
    assert abs(found.frames[1].item() - 9) < 0.5


def test_a_camera_is_aligned_through_another_one(generator):
    first, second, third = tracks([0.0, 5.0, -4.0], generator)
    first[100:], third[:90] = math.nan, math.nan  # these two share too few frames
    found = estimate_time_offsets([first, second, third], max_offset=12)
    torch.testing.assert_close(found.frames, torch.tensor([0.0, 5.0, -4.0]).double(), atol=0.34, rtol=0)


def test_unrelated_motion_has_a_low_correlation(generator):
    first, _ = tracks([0.0, 0.0], generator)
    walk = torch.randn(FRAMES, POINTS, 2, generator=generator).double().cumsum(0)
    assert estimate_time_offsets([first, walk], max_offset=20).correlations[1] < 0.5


def test_errors_say_what_is_expected(generator):
    first, second = tracks([0.0, 0.0], generator)
    with pytest.raises(ValueError, match=r'same N points, got \(200, 5, 2\), \(200, 4, 2\)'):
        estimate_time_offsets([first, second[:, :4]], max_offset=5)
    with pytest.raises(ValueError, match='camera 1 sees no point move in 30 frames'):
        estimate_time_offsets([first, first[:1].expand(FRAMES, -1, -1)], max_offset=5)
    with pytest.raises(ValueError, match='max_offset must be at least 1'):
        estimate_time_offsets([first, second], max_offset=0)
