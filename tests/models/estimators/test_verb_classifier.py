"""The classifier of joint sequences: its input, step by step, what it learns, and how classes are weighted."""

import pytest
import torch
from smooth_clips import smooth_batch, smooth_clip
from torch import nn

from handpose.hands import COMMON_JOINTS
from handpose.hands.joints import joint_order
from handpose.models import TrainingStep, VerbClassifier
from handpose.models.estimators.joint_sequences import fill_missing_joints, frame_positions, relative_joints
from handpose.registry import MODELS
from handpose.structures import HandSequence, SequenceError

SMALL = dict(type='MSG3D', channels=(12, 24), gcn_scales=3, g3d_scales=2, windows=(3,))


@MODELS.register_module(force=True)
class SeenPoints(nn.Module):
    """A network that keeps what it is given, and whose feature is the mean of the points."""

    def __init__(self, joint_order='common'):
        super().__init__()
        self.joint_order, self.out_channels = joint_order, 3

    def forward(self, points, frame_valid=None):
        self.points, self.frame_valid = points, frame_valid
        return points.mean((1, 2, 3))


def make(network=None, **options):
    torch.manual_seed(0)
    return VerbClassifier(network or dict(type='SeenPoints'), **dict(num_actions=3, num_frames=8) | options)


def seen(model, batch):
    """The points (B, N, 2, J, 3) that the network sees, and which frames are no padding."""
    model.eval().predict(batch)
    return model.network.points, model.network.frame_valid


def test_it_learns_a_batch_and_recognizes_it():
    batch = smooth_batch(4, 8, actions=2)
    model = make(SMALL, num_actions=2, num_frames=8, coordinates='start')
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for iteration in range(12):
        losses = model.train().loss(batch, TrainingStep(iteration))
        optimizer.zero_grad()
        losses['loss_action'].backward()
        optimizer.step()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    assert losses['loss_action'] < 0.2 and losses['accuracy'] == 1
    prediction = model.predict(batch).validate()
    torch.testing.assert_close(prediction.action_scores.sum(1), torch.ones(4))
    torch.testing.assert_close(prediction.joints_3d, batch.joints_3d)


def test_lengths():
    """Short sequences are followed by zeros or by themselves, long ones are cut, or thinned out evenly."""
    batch = HandSequence.stack([smooth_clip(5), smooth_clip(16, seed=1)])
    short, long = batch.joints_3d[0, :5], batch.joints_3d[1]
    points, valid = seen(make(), batch)
    torch.testing.assert_close(points[0], torch.cat([short, torch.zeros(3, 2, 21, 3)]))
    torch.testing.assert_close(points[1], long[:8])
    assert valid.tolist() == [[True] * 5 + [False] * 3, [True] * 8]
    points, valid = seen(make(padding='tile', frames='uniform'), batch)
    torch.testing.assert_close(points[0], torch.cat([short, short[:3]]))
    torch.testing.assert_close(points[1], long[1::2])  # the middle of two frames, rounded up
    assert valid.all()


def test_random_frames_cover_their_parts():
    model = make(frames='uniform').train()
    batch = HandSequence.stack([smooth_clip(20, action=1)])
    batch = batch.replace(joints_3d=torch.arange(20.0)[None, :, None, None, None].expand(1, 20, 2, 21, 3).contiguous())
    found = []
    for iteration in range(40):
        model.loss(batch, TrainingStep(iteration))
        found.append(model.network.points[0, :, 0, 0, 0])
    found = torch.stack(found).long()
    start = torch.arange(8) * 20 / 8
    assert (found >= start.floor()).all() and (found < (start + 2.5).ceil()).all()
    assert len(found.unique()) == 20
    model.loss(batch, TrainingStep(39))
    assert torch.equal(model.network.points[0, :, 0, 0, 0].long(), found[-1])


def test_scores_are_the_mean_of_several_draws():
    model, batch = make(frames='uniform', test_clips=3).eval(), smooth_batch(2, 30)
    scores = model.predict(batch).action_scores
    offsets = [torch.rand(2, 8, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    inputs = batch.joints_3d, batch.joints_valid, batch.frame_valid
    torch.testing.assert_close(scores, sum(model(*inputs, offset).softmax(-1) for offset in offsets) / 3)
    with pytest.raises(ValueError, match="give 'uniform'"):
        make(test_clips=3)


def test_coordinates():
    batch = smooth_batch(2, 8)
    points, _ = seen(make(coordinates='wrist'), batch)
    torch.testing.assert_close(points, batch.joints_3d - batch.joints_3d[:, :, :, :1])
    points, _ = seen(make(coordinates='start'), batch)
    origin = batch.joints_3d[:, 0, :, 0].mean(1)
    torch.testing.assert_close(points, batch.joints_3d - origin[:, None, None, None])
    wrist = batch.replace(frame='wrist')
    seen(make(coordinates='wrist'), wrist)
    for coordinates in ('absolute', 'start'):
        with pytest.raises(SequenceError, match="needs joints in the 'camera' or 'world' frame"):
            make(coordinates=coordinates).predict(wrist)


def test_the_start_of_a_hand_that_comes_later():
    joints, valid = torch.randn(1, 4, 2, 21, 3), torch.ones(1, 4, 2, 21, dtype=torch.bool)
    valid[0, :2], valid[0, :3, 1] = False, False
    found, found_valid = relative_joints(joints, valid, 'start')
    torch.testing.assert_close(found, joints - joints[0, 2, 0, 0])
    assert torch.equal(found_valid, valid)
    valid[..., 0] = False
    assert not relative_joints(joints, valid, 'start')[1].any()
    assert not relative_joints(joints, valid, 'wrist')[1].any()


def test_missing_joints():
    joints = torch.arange(1.0, 7.0)[None, :, None, None, None].repeat(1, 1, 2, 21, 3)
    valid = torch.ones(1, 6, 2, 21, dtype=torch.bool)
    valid[0, [0, 3, 4], 1] = False
    valid[0, :, 0, 5] = False
    joints[~valid] = 99
    zeros, last = (fill_missing_joints(joints, valid, missing)[0] for missing in ('zeros', 'last'))
    assert zeros[:, 1, 2, 0].tolist() == [0, 2, 3, 0, 0, 6] and last[:, 1, 2, 0].tolist() == [2, 2, 3, 3, 3, 6]
    assert zeros[:, 0, 2, 0].tolist() == last[:, 0, 2, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert not zeros[:, 0, 5].any() and not last[:, 0, 5].any()


def test_one_hand_and_other_joint_orders():
    for side in (0, 1):
        batch = HandSequence.stack([smooth_clip(8, (side,))])
        points, _ = seen(make(dict(type='SeenPoints', joint_order='assembly101')), batch)
        for j, name in enumerate(joint_order('assembly101')):
            expected = (
                torch.zeros(8, 3) if name == 'palm_center' else batch.joints_3d[0, :, 0, COMMON_JOINTS.index(name)]
            )
            torch.testing.assert_close(points[0, :, side, j], expected)
        assert not points[0, :, 1 - side].any()


def test_the_joints_of_an_estimator_come_first():
    batch = smooth_batch(2, 8)
    present = torch.ones(2, 8, 2, dtype=torch.bool)
    present[0, 3, 1] = False
    batch = batch.replace(input_joints_3d=batch.joints_3d + 1, input_valid=present)
    points, _ = seen(make(), batch)
    torch.testing.assert_close(points, (batch.joints_3d + 1) * present[..., None, None])
    prediction = make().predict(batch).validate()
    torch.testing.assert_close(prediction.joints_3d, batch.joints_3d + 1)
    assert torch.equal(prediction.hand_valid, present)


def test_balanced_classes_have_equal_weights():
    """Class 0 has three clips and class 1 one: each is half of the loss with an exponent of 1."""
    batch = smooth_batch(5, 8).replace(action_label=torch.tensor([0, 0, 0, 1, -1]))
    model = make(class_balance=1.0).train()
    loss = model.loss(batch, TrainingStep())
    assert model.class_counts.tolist() == [3, 1, 0]
    inputs = batch.joints_3d, batch.joints_valid, batch.frame_valid
    entropy = -model(*inputs).log_softmax(-1)
    torch.testing.assert_close(loss['loss_action'], (entropy[:3, 0].mean() + entropy[3, 1]) / 2)
    model.eval().loss(batch, TrainingStep())
    assert model.class_counts.tolist() == [3, 1, 0]  # tests do not count
    plain = make().train().loss(batch, TrainingStep())
    torch.testing.assert_close(plain['loss_action'], (entropy[:3, 0].sum() + entropy[3, 1]) / 4)


def test_unknown_labels_and_options():
    batch = smooth_batch(2, 8)
    assert make().loss(batch.replace(action_label=torch.full((2,), -1)), TrainingStep())['loss_action'] == 0
    with pytest.raises(SequenceError, match='action label 5, but the network knows 3 actions'):
        make().loss(batch.replace(action_label=torch.full((2,), 5)), TrainingStep())
    for options in (dict(missing='none'), dict(padding='repeat'), dict(frames='last'), dict(coordinates='world')):
        with pytest.raises(ValueError, match='must be one of'):
            make(**options)
    for options in (dict(num_actions=1), dict(num_frames=0), dict(class_balance=2.0), dict(label_smoothing=1.0)):
        with pytest.raises(ValueError, match='must be'):
            make(**options)


def test_a_clip_without_any_hand():
    batch = smooth_batch(2, 6)
    batch = batch.replace(joints_valid=torch.zeros_like(batch.joints_valid))
    for coordinates in ('absolute', 'wrist', 'start'):
        for missing in ('zeros', 'last'):
            points, _ = seen(make(coordinates=coordinates, missing=missing), batch)
            assert not points.any()
    assert frame_positions(torch.tensor([1]), 4, 'uniform', 'tile')[0].tolist() == [[0, 0, 0, 0]]
