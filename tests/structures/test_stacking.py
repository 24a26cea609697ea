import pytest
import torch

from handpose.structures import SPECS, HandSequence, SequenceError


def clip(num_frames=4, sides=(0, 1), name='A', **changes):
    """A clip of joints, 2D joints and boxes, whose numbers are never zero; `changes` replaces or drops fields."""
    hands = len(sides)
    values = {
        'frame_valid': torch.ones(num_frames, dtype=torch.bool),
        'hand_side': torch.tensor(sides),
        'hand_valid': torch.ones(num_frames, hands, dtype=torch.bool),
        'intrinsics': torch.eye(3).expand(num_frames, 1, 3, 3) + 1,
        'boxes': torch.rand(num_frames, 1, hands, 4) + 1,
        'joints_3d': torch.rand(num_frames, hands, 21, 3) + 1,
        'joints_valid': torch.ones(num_frames, hands, 21, dtype=torch.bool),
    }
    return HandSequence(**{'meta': {'dataset': name}, **values, **changes}).validate()


def pose_fields(num_frames, hands):
    return {
        'hand_pose': torch.rand(num_frames, hands, 16, 3) + 1,
        'hand_shape': torch.rand(hands, 10) + 1,
        'hand_transl': torch.rand(num_frames, hands, 3) + 1,
        'hand_pose_valid': torch.ones(num_frames, hands, dtype=torch.bool),
    }


def assert_same(found, expected):
    assert set(found.present()) == set(expected.present())
    for name, value in expected.present().items():
        torch.testing.assert_close(getattr(found, name), value, rtol=0, atol=0, equal_nan=True)
    assert (found.meta, found.frame, found.batched) == (expected.meta, expected.frame, expected.batched)


def test_unstack_undoes_stack():
    clips = [clip(name=name, frame='world', **pose_fields(4, 2)) for name in 'ABC']
    batch = HandSequence.stack(clips).validate()
    assert batch.batched
    assert batch.joints_3d.shape == (3, 4, 2, 21, 3)
    for found, expected in zip(batch.unstack(), clips, strict=True):
        assert_same(found, expected)
    assert_same(HandSequence.stack(batch.unstack()), batch)


@pytest.mark.parametrize('given', ['frame_valid', 'no frame_valid'])
def test_short_clips_are_padded_with_their_last_frame_and_masked(given):
    absent = {'frame_valid': None} if given == 'no frame_valid' else {}
    long, short = clip(5, **absent), clip(3, **absent)
    batch = HandSequence.stack([long, short]).validate()
    assert batch.frame_valid.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert not batch.joints_valid[1, 3:].any()
    assert not batch.hand_valid[1, 3:].any()
    assert batch.joints_valid[1, :3].all()
    assert batch.intrinsics[1, 4].equal(short.intrinsics[2])  # a camera of zeros could not be inverted
    assert_same(batch.unstack()[1].select_frames(range(3)), short.replace(frame_valid=torch.ones(3, dtype=torch.bool)))


@pytest.mark.parametrize('side', [0, 1])
def test_one_hand_takes_the_place_of_its_side_beside_two(side):
    one = clip(sides=(side,), **pose_fields(4, 1))
    batch = HandSequence.stack([clip(**pose_fields(4, 2)), one]).validate()
    assert batch.hand_side.tolist() == [[0, 1], [0, 1]]
    for name in ('joints_3d', 'joints_valid', 'hand_valid', 'hand_pose', 'hand_shape', 'hand_pose_valid', 'boxes'):
        axis = SPECS[name].shape.index('H')
        stacked = getattr(batch, name)[1]
        assert stacked.select(axis, side).equal(getattr(one, name).select(axis, 0)), name
        assert not stacked.select(axis, 1 - side).any(), name


def test_left_and_right_single_hands_stay_single():
    batch = HandSequence.stack([clip(sides=(0,)), clip(sides=(1,))]).validate()
    assert batch.hand_side.tolist() == [[0], [1]]


def test_absent_fields_with_a_mask_are_filled_and_masked_out():
    rich = clip(4, (0, 1), **pose_fields(4, 2))
    batch = HandSequence.stack([rich, clip(3, (1,))]).validate()
    for name in ('hand_pose', 'hand_shape', 'hand_transl', 'hand_pose_valid'):
        assert getattr(batch, name)[0].equal(getattr(rich, name))
        assert not getattr(batch, name)[1].any()


def test_absent_fields_with_an_unknown_value_get_it():
    labelled = clip(
        action_label=torch.tensor(7),
        object_label=torch.zeros(4, dtype=torch.int64),
        occlusion=torch.zeros(4, 1, 2),
    )
    batch = HandSequence.stack([clip(2, (0,)), labelled]).validate()
    assert batch.action_label.tolist() == [-1, 7]
    assert batch.object_label.tolist() == [[-1] * 4, [0] * 4]
    assert batch.occlusion[0].isnan().all()
    assert not batch.occlusion[1].isnan().any()


@pytest.mark.parametrize(
    ('clips', 'sentence'),
    [
        (lambda: [], 'at least one sample'),
        (lambda: [clip(), clip(frame='wrist')], r"different coordinate frames .*\['camera', 'wrist'\]"),
        (lambda: [clip(), clip(name='FPHA', boxes=None)], "FPHA has no 'boxes', which other samples of the batch have"),
        (
            lambda: [clip(hand_side=None), clip(sides=(0,), name='HO3D', hand_side=None)],
            'HO3D has one hand but no hand_side: it cannot join two-hand data',
        ),
        (
            lambda: [clip(hand_valid=None), clip(sides=(0,), hand_valid=None)],
            'only if hand_valid says which hands are there',
        ),
        (
            lambda: [clip(), clip(name='H2O', intrinsics=torch.ones(4, 3, 3, 3), boxes=torch.ones(4, 3, 2, 4))],
            r"'intrinsics' is \(4, 3, 3, 3\) in H2O but \(4, 1, 3, 3\) in A.*number of cameras",
        ),
        (
            lambda: [clip(**pose_fields(4, 2)), clip(name='H2O', **{**pose_fields(4, 2), 'hand_shape': None})],
            "H2O has no 'hand_shape', yet its 'hand_pose_valid' is True",
        ),
    ],
)
def test_what_cannot_be_stacked_says_which_sample_lacks_what(clips, sentence):
    with pytest.raises(SequenceError, match=sentence):
        HandSequence.stack(clips())
