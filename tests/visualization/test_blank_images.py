"""Pictures of clips that have none: hands in the middle, at one scale."""

import numpy as np
import pytest
import torch

from handpose.geometry import project_points
from handpose.structures import HandSequence
from handpose.visualization.blank_images import MARGIN, SIZE, with_blank_images
from handpose.visualization.overlays import draw_clip


def moving_clip(frames=6, **changes):
    """A hand that crosses the view; one frame has no hand."""
    joints = 0.08 * torch.rand(frames, 1, 21, 3) + torch.tensor([0.0, 0.0, 0.6])
    joints[..., 0] += torch.linspace(-0.4, 0.4, frames)[:, None, None]
    valid = torch.ones(frames, 1, 21, dtype=torch.bool)
    valid[2] = False
    fields = dict(
        frame_valid=torch.ones(frames, dtype=torch.bool),
        hand_side=torch.tensor([1]),
        hand_valid=valid[..., 0],
        joints_3d=joints,
        joints_valid=valid,
        input_joints_3d=joints + 0.01,
        input_valid=valid[..., 0],
    )
    return HandSequence(meta={'fps': 30.0}, **{**fields, **changes})


def test_the_hand_stays_in_the_middle_at_one_scale():
    clip = with_blank_images(moving_clip()).validate()
    assert clip.images.shape == (6, 1, 3, SIZE, SIZE)
    pixels = torch.stack([project_points(clip.joints_3d[t, 0], clip.intrinsics[t, 0]) for t in range(6) if t != 2])
    low, high = pixels.amin(1), pixels.amax(1)
    torch.testing.assert_close((low + high) / 2, torch.full((5, 2), SIZE / 2), atol=1e-2, rtol=0)
    assert (high - low).max() == pytest.approx(SIZE / MARGIN, rel=1e-3)
    assert len(clip.intrinsics[[0, 1, 3, 4, 5], 0, 0, 0].unique()) == 1


@pytest.mark.parametrize(
    'changes',
    [dict(images=torch.zeros(6, 1, 3, 8, 8, dtype=torch.uint8)), dict(frame='wrist')],
    ids=['images', 'wrist'],
)
def test_other_clips_stay_as_they_are(changes):
    clip = moving_clip().replace(**changes)
    assert with_blank_images(clip) is clip


def test_input_prediction_and_truth_are_drawn_side_by_side():
    target = moving_clip()
    frames = draw_clip(target.replace(input_joints_3d=None, input_valid=None), target)
    panels = np.array_split(frames[0], 3, axis=1)
    assert len(frames) == 6
    assert all(len(np.unique(panel.reshape(-1, 3), axis=0)) > 10 for panel in panels)  # something is drawn in each
    assert not np.array_equal(panels[0][:, :300], panels[2][:, :300])  # the input is not the truth


def test_hands_in_the_world_are_seen_by_a_virtual_camera():
    """Wherever the world's origin and axes are; a prediction is drawn through the same camera."""
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    joints = (moving_clip().joints_3d - torch.tensor([0.0, 0.0, 0.6])) @ turn - 3
    world = moving_clip(joints_3d=joints, frame='world', input_joints_3d=joints + 0.01)
    clip = with_blank_images(world).validate()
    assert clip.images.shape == (6, 1, 3, SIZE, SIZE) and (clip.extrinsics == clip.extrinsics[0]).all()
    rotation = clip.extrinsics[0, 0, :3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotation) == pytest.approx(1, abs=1e-5)
    seen = joints @ rotation.T + clip.extrinsics[0, 0, :3, 3]
    assert seen[..., 2].min() >= 1 - 1e-4 and seen[..., 0].std() > seen[..., 2].std()
    frames = draw_clip(world, world)
    assert len(frames) == 6 and len({frame.shape for frame in frames}) == 1
