"""The action classifier on motion: what it learns, and what its features depend on."""

import pytest
import torch
from smooth_clips import smooth_batch, smooth_clip

from handpose.geometry import rotvec_to_rotmat
from handpose.models import MotionActionTransformer, TrainingStep
from handpose.models.estimators.joint_clips import JointClips, random_crops, two_hand_clips
from handpose.structures import HandSequence, SequenceError

SIZES = dict(num_actions=3, channels=16, num_layers=2, num_heads=2, feedforward_channels=32, dropout=0.0)


def make(**options):
    torch.manual_seed(0)
    return MotionActionTransformer(**SIZES | dict(min_frames=6, max_frames=20) | options)


def inputs(batch):
    return batch.joints_3d, batch.joints_valid, batch.frame_valid


def test_it_learns_a_batch_and_recognizes_it():
    model, batch = make(), smooth_batch(6, 30, actions=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    values = []
    for iteration in range(60):
        losses = model.train().loss(batch, TrainingStep(iteration))
        optimizer.zero_grad()
        losses['loss_action'].backward()
        optimizer.step()
        values.append(float(losses['loss_action'].detach()))
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    assert values[0] > 0.8 and sum(values[-10:]) / 10 < 0.3
    prediction = model.eval().predict(batch).validate()
    torch.testing.assert_close(prediction.action_scores.sum(1), torch.ones(6))
    assert torch.equal(prediction.action_scores.argmax(1), batch.action_label)
    torch.testing.assert_close(prediction.joints_3d, batch.joints_3d)


def test_features_do_not_depend_on_the_camera():
    model, batch = make().eval(), smooth_batch(2, 12)
    turned = batch.joints_3d @ rotvec_to_rotmat(torch.tensor([0.4, -1.2, 2.0])).T + torch.tensor([0.1, 0.2, 0.3])
    features = model.features(*inputs(batch))
    assert features.shape == (2, 16)
    torch.testing.assert_close(model.features(turned, *inputs(batch)[1:]), features, atol=1e-4, rtol=0)
    assert (features[0] - features[1]).abs().max() > 1e-2


def test_padding_and_missing_hands():
    """A padded clip has the features of the clip alone; what is missing may hold anything and is told from rest."""
    model = make().eval()
    alone, batch = smooth_clip(8), HandSequence.stack([smooth_clip(8), smooth_clip(12, seed=1)])
    features = model.features(*inputs(batch))
    expected = model.features(*inputs(HandSequence.stack([alone])))
    torch.testing.assert_close(features[:1], expected, atol=1e-5, rtol=1e-4)
    valid = batch.joints_valid.clone()
    valid[1, :, 0] = False
    gone = [
        model.features(batch.joints_3d.masked_fill(~valid[..., None], value), valid, batch.frame_valid)
        for value in (0.0, 3.0)
    ]
    torch.testing.assert_close(*gone)
    assert (gone[0][1] - features[1]).abs().max() > 1e-2


def test_one_hand_goes_to_the_slot_of_its_side():
    model = make().eval()
    for side in (0, 1):
        single = HandSequence.stack([smooth_clip(10, (side,))])
        clips = two_hand_clips(single)
        assert clips.joints.shape == (1, 10, 2, 21, 3)
        assert clips.joints_valid.any(3).any(1)[0].tolist() == [side == 0, side == 1]
        torch.testing.assert_close(clips.joints[:, :, side], single.joints_3d[:, :, 0])
        assert model.predict(single).validate().action_scores.shape == (1, 3)
    with pytest.raises(SequenceError, match="'wrist' frame"):
        model.predict(single.replace(frame='wrist'))


def test_long_clips_are_recognized_in_pieces():
    """40 frames at 20 a piece: pieces of equal length count the same."""
    model, batch = make().eval(), smooth_batch(2, 40)
    pieces = [model(*(x[:, start : start + 20] for x in inputs(batch))).softmax(-1) for start in (0, 10, 20)]
    torch.testing.assert_close(model.predict(batch).action_scores, torch.stack(pieces).mean(0))


def test_clips_of_unknown_action_do_not_count():
    model, batch = make().eval(), smooth_batch(4, 20)
    known = batch.replace(action_label=torch.tensor([0, -1, 1, -1]))
    rows = HandSequence.stack([batch.unstack()[b] for b in (0, 2)]).replace(action_label=torch.tensor([0, 1]))
    crops = dict(min_frames=20, max_frames=20)
    expected = make(**crops).eval().loss(rows, TrainingStep())
    found = make(**crops).eval().loss(known, TrainingStep())
    torch.testing.assert_close(found['loss_action'], expected['loss_action'])
    nothing = model.loss(batch.replace(action_label=torch.full((4,), -1)), TrainingStep())
    assert nothing['loss_action'] == 0
    with pytest.raises(SequenceError, match='action label 3, but the network knows 3 actions'):
        model.loss(batch.replace(action_label=torch.full((4,), 3)), TrainingStep())
    with pytest.raises(ValueError, match='1 <= min_frames <= max_frames'):
        make(min_frames=21)


def test_random_crops():
    """Lengths and places cover their ranges; crops are pieces of their clips; the seed decides."""
    lengths = torch.tensor([30, 8, 3])
    number = torch.arange(30.0)[None, :, None, None, None].expand(3, 30, 2, 21, 3)
    inside = torch.arange(30) < lengths[:, None]
    clips = JointClips(number, inside[..., None, None].expand(3, 30, 2, 21), inside)
    seen, starts = set(), set()
    for seed in range(300):
        crops = random_crops(clips, 5, 10, seed)
        count = crops.frame_valid.sum(1)
        assert 5 <= count[0] <= 10 and 5 <= count[1] <= 8 and count[2] == 3
        assert crops.joints.shape[1] == count.max()
        assert torch.equal(crops.joints_valid.all(3).all(2), crops.frame_valid)
        for b in range(3):
            place = crops.joints[b, :, 0, 0, 0][: count[b]]
            assert torch.equal(place.diff(), torch.ones(int(count[b]) - 1)) and place[-1] < lengths[b]
        seen.add(int(count[0]))
        starts.add(int(crops.joints[0, 0, 0, 0, 0]))
    assert seen == set(range(5, 11)) and starts == set(range(26))
    again = random_crops(clips, 5, 10, 299)
    assert all(torch.equal(a, b) for a, b in zip(crops, again, strict=True))
    with pytest.raises(SequenceError, match='no frame that is not padding'):
        random_crops(clips._replace(frame_valid=torch.zeros_like(inside)), 5, 10, 0)
