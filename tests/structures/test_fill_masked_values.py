"""What stands in for numbers that are no data."""

import pytest
import torch

from handpose.structures import HandSequence, SequenceError, fill_masked_values

NAN, INF = torch.nan, torch.inf


def make_clip(frames=3, cameras=2, hands=2):
    ones = torch.ones(frames, hands, dtype=torch.bool)
    return HandSequence(
        meta={'dataset': 'HO3D', 'sequence': 'ABF1', 'frame_indices': [5, 6, 7]},
        frame_valid=ones[:, 0].clone(),
        timestamps=torch.arange(frames, dtype=torch.float64),
        hand_valid=ones.clone(),
        features=torch.ones(frames, cameras, 4),
        intrinsics=2 * torch.eye(3).repeat(frames, cameras, 1, 1),
        extrinsics=torch.eye(4).repeat(frames, cameras, 1, 1),
        boxes=torch.ones(frames, cameras, hands, 4),
        joints_3d=torch.ones(frames, hands, 21, 3),
        joints_valid=ones[..., None].repeat(1, 1, 21),
        joints_2d=torch.ones(frames, cameras, hands, 21, 2),
        joints_2d_valid=ones[:, None, :, None].repeat(1, cameras, 1, 21),
        hand_pose=torch.ones(frames, hands, 16, 3),
        hand_shape=torch.ones(hands, 10),
        hand_transl=torch.ones(frames, hands, 3),
        hand_pose_valid=ones.clone(),
        occlusion=torch.full((frames, cameras, hands), NAN),
        object_features=torch.ones(frames, 512),
    ).validate()


def test_numbers_that_can_be_used_stay():
    clip = make_clip()
    assert fill_masked_values(clip) is clip
    clip.frame_valid[:] = False
    assert fill_masked_values(clip) is clip


@pytest.mark.parametrize('number', [NAN, INF])
@pytest.mark.parametrize('batched', [False, True])
def test_padding_is_filled(number, batched):
    clip = make_clip()
    clip.frame_valid[2] = False
    for name, value in clip.present().items():
        if value.is_floating_point() and name not in ('hand_shape', 'occlusion'):
            value[2] = number
    found = fill_masked_values(HandSequence.stack([make_clip(), clip]) if batched else clip)
    found = found.unstack()[1] if batched else found
    assert torch.equal(found.intrinsics[2], torch.eye(3).expand(2, 3, 3))
    assert torch.equal(found.extrinsics[2], torch.eye(4).expand(2, 4, 4))
    for name in (
        'timestamps',
        'features',
        'boxes',
        'joints_3d',
        'joints_2d',
        'hand_pose',
        'hand_transl',
        'object_features',
    ):
        assert not getattr(found, name)[2].any(), name
        assert torch.equal(getattr(found, name)[:2], getattr(make_clip(), name)[:2]), name
    assert torch.equal(found.intrinsics[:2], clip.intrinsics[:2])
    assert clip.joints_3d[2].isfinite().sum() == 0  # the given clip is as it was


def test_an_object_feature_of_nan_is_not_unknown():
    clip = make_clip()
    clip.object_features[1, 7] = NAN
    with pytest.raises(SequenceError, match="field 'object_features' is NaN or infinite in frame 1"):
        fill_masked_values(clip)


def test_each_hand_and_joint_has_its_own_mask():
    clip = make_clip()
    clip.hand_valid[1, 0] = False
    clip.boxes[1, :, 0] = NAN
    clip.occlusion[1, :, 0] = INF
    clip.joints_valid[0, 1, 4] = False
    clip.joints_3d[0, 1, 4, 2] = NAN
    clip.hand_pose_valid[:, 1] = False
    clip.hand_shape[1] = NAN
    found = fill_masked_values(clip)
    assert found.boxes.sum() == make_clip().boxes.sum() - 2 * 4 and not found.boxes[1, :, 0].any()
    assert found.occlusion.isnan().all()
    assert found.joints_3d[0, 1, 4].tolist() == [1, 1, 0]
    assert found.hand_shape.tolist() == [[1] * 10, [0] * 10]
    found.validate()


def test_a_camera_of_zeros_is_the_identity_in_padding():
    clip = make_clip()
    clip.intrinsics[2] = 0
    with pytest.raises(SequenceError, match=r"^HO3D ABF1 .*'intrinsics'.*in frame 2 of the clip.*'frame_valid'"):
        fill_masked_values(clip)
    clip.frame_valid[2] = False
    assert torch.equal(fill_masked_values(clip).intrinsics[2], torch.eye(3).expand(2, 3, 3))


@pytest.mark.parametrize(
    ('name', 'place', 'mask'),
    [
        ('boxes', (1, 0, 0, 3), 'hand_valid'),
        ('features', (1, 1, 2), 'frame_valid'),
        ('joints_2d', (1, 1, 0, 20, 1), 'joints_2d_valid'),
        ('hand_pose', (1, 0, 15, 0), 'hand_pose_valid'),
        ('extrinsics', (1, 1, 0, 3), 'frame_valid'),
        ('hand_shape', (1, 9), 'hand_pose_valid'),
        ('timestamps', (1,), 'frame_valid'),
    ],
)
def test_data_must_be_finite(name, place, mask):
    clip = make_clip()
    getattr(clip, name)[place] = INF
    with pytest.raises(SequenceError, match=rf'^HO3D ABF1 .*{name!r} is NaN or infinite.* 1 of the clip.*{mask!r}'):
        fill_masked_values(clip)
