"""HTT's loss against the paper's equations, frame by frame, and what happens where labels are missing."""

import pytest
import torch
from action_clips import ACTIONS, OBJECTS, make_batch, summed

from handpose.models import HTTLoss, HTTOutput, TrainingStep
from handpose.models.estimators.action_targets import action_target
from handpose.structures import SequenceError


def make_output(clips=2, frames=8, hands=2, seed=3):
    draw = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(clips, *shape, generator=draw).requires_grad_()

    return HTTOutput(
        joints=random(frames, hands, 21, 3),
        uv=random(frames, hands, 21, 2),
        depth=random(frames, hands, 21),
        object_logits=random(frames, OBJECTS),
        action_logits=random(ACTIONS),
    )


def losses_of(output, batch, **options):
    return HTTLoss(**options)(output, action_target(batch, OBJECTS, ACTIONS), TrainingStep())


def frame_errors(output, batch, b, t, depth_weight=200.0):
    """Eq. 2 and Eq. 4 of one frame, one joint after the other; None where nothing is annotated."""
    terms = []
    for hand in range(batch.joints_3d.shape[2]):
        for joint in range(21):
            if not (batch.hand_valid[b, t, hand] and batch.joints_valid[b, t, hand, joint]):
                continue
            x, y, z = batch.joints_3d[b, t, hand, joint].tolist()
            camera = batch.intrinsics[b, t, 0]
            u, v = camera[0, 0] * x / z + camera[0, 2], camera[1, 1] * y / z + camera[1, 2]
            du, dv = (output.uv[b, t, hand, joint] - torch.stack([u, v])).abs()
            terms.append(du + dv + depth_weight * (output.depth[b, t, hand, joint] - z).abs())
    label = int(batch.object_label[b, t])
    hand_error = torch.stack(terms).mean() if terms else None
    return hand_error, (-output.object_logits[b, t].log_softmax(0)[label] if label >= 0 else None)


def expected_losses(output, batch, average):
    """Eq. 8 as nested loops."""
    per_clip = []
    for b in range(len(batch.meta)):
        frames = [t for t in range(batch.frame_valid.shape[1]) if batch.frame_valid[b, t]]
        hand, objects = zip(*(frame_errors(output, batch, b, t) for t in frames), strict=True)
        per_clip.append([[x for x in column if x is not None] for column in (hand, objects)])
    if average == 'batch':
        per_clip = [[[x for clip in per_clip for x in clip[i]] for i in range(2)]]
    hand, objects = (
        torch.stack([torch.stack(clip[i]).mean() for clip in per_clip if clip[i]]).mean() for i in range(2)
    )
    known = [b for b in range(len(batch.meta)) if batch.action_label[b] >= 0]
    action = torch.stack([-output.action_logits[b].log_softmax(0)[batch.action_label[b]] for b in known]).mean()
    return {'loss_hand': 0.5 * hand, 'loss_object': objects, 'loss_action': action}


@pytest.mark.parametrize('average', ['clip', 'batch'])
def test_everything_annotated(average):
    output, batch = make_output(), make_batch()
    losses, expected = losses_of(output, batch, average=average), expected_losses(output, batch, average)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize('average', ['clip', 'batch'])
def test_padding_absent_hands_and_unknown_labels(average):
    """Short and long clip weigh the same by Eq. 8, and by their frames in the published code."""
    output, batch = make_output(), make_batch()
    batch.frame_valid[0, 3:] = False
    batch.frame_valid[1, 5] = False
    batch.hand_valid[1, 2, 0] = False
    batch.joints_valid[1, 3, 1, 4:] = False
    batch.hand_valid[1, 6] = False
    batch.object_label[1, :2] = -1
    batch.action_label[0] = -1
    for mask in (~batch.frame_valid[..., None, None].expand_as(batch.joints_valid), ~batch.joints_valid):
        batch.joints_3d[mask] = torch.nan
    losses, expected = losses_of(output, batch, average=average), expected_losses(output, batch, average)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-4, msg=name)
    summed(losses).backward()
    assert all(x.grad is None or x.grad.isfinite().all() for x in output[:5])
    assert not output.uv.grad[0, 3:].any()
    assert not output.uv.grad[1, 2, 0].any()
    assert output.uv.grad[1, 2, 1].any()


def test_averages_differ_where_clips_do():
    output, batch = make_output(), make_batch()
    batch.frame_valid[0, 1:] = False
    per_clip, per_frame = (losses_of(output, batch, average=name)['loss_hand'] for name in ('clip', 'batch'))
    assert not torch.isclose(per_clip, per_frame, rtol=1e-3)


def test_weights():
    output, batch = make_output(), make_batch()
    base = losses_of(output, batch)
    double = losses_of(output, batch, hand_weight=1.0, object_weight=2.0, action_weight=2.0)
    for name, value in base.items():
        torch.testing.assert_close(double[name], 2 * value)
    flat = losses_of(output, batch, hand_weight=1.0, depth_weight=0.0)['loss_hand']
    pixels = (output.uv - batch.joints_2d[:, :, 0]).abs().sum(-1).mean()
    torch.testing.assert_close(flat, pixels, rtol=1e-4, atol=1e-4)


def test_nothing_annotated_leaves_every_head_in_the_graph():
    output = make_output()
    names = ('joints_3d', 'joints_valid', 'joints_2d', 'joints_2d_valid', 'object_label', 'action_label', 'hand_valid')
    batch = make_batch()
    masked = batch.replace(joints_valid=torch.zeros_like(batch.joints_valid), joints_2d=None, joints_2d_valid=None)
    for empty in (batch.replace(**dict.fromkeys(names)), masked.replace(object_label=None, action_label=None)):
        losses = losses_of(output, empty)
        assert {name: value.item() for name, value in losses.items()} == dict.fromkeys(losses, 0.0)
        summed(losses).backward()
        for name in ('uv', 'depth', 'object_logits', 'action_logits'):
            gradient = getattr(output, name).grad
            assert gradient is not None and not gradient.any(), name


def test_joints_behind_the_camera_have_a_depth_and_no_place():
    output, batch = make_output(), make_batch()
    batch.joints_3d[0, 0, 0, 3, 2] = -0.1
    losses_of(output, batch)['loss_hand'].backward()
    assert not output.uv.grad[0, 0, 0, 3].any()
    assert output.depth.grad[0, 0, 0, 3].any()


@pytest.mark.parametrize(
    ('name', 'place', 'sentence'),
    [
        (
            'action_label',
            (1,),
            rf'random clip 1 frame 0 has the action label 9, .* knows {ACTIONS} actions, 0 to 6.*num_',
        ),
        ('object_label', (1, 4), rf'random clip 1 frame 0 has the object label 9, .* knows {OBJECTS} objects, 0 to 4'),
    ],
)
def test_labels_outside_the_taxonomy(name, place, sentence):
    batch = make_batch()
    getattr(batch, name)[place] = 9
    with pytest.raises(SequenceError, match=sentence):
        losses_of(make_output(), batch)


def test_errors():
    with pytest.raises(ValueError, match=r"average must be one of .*'clip', 'batch'.*'frames'"):
        HTTLoss(average='frames')
    with pytest.raises(SequenceError, match="'camera' frame, got a batch in the 'world' frame"):
        losses_of(make_output(), make_batch().replace(frame='world'))


def test_masks_that_a_batch_may_lack():
    output, batch = make_output(), make_batch()
    bare = batch.replace(frame_valid=None, hand_valid=None)
    for name, value in losses_of(output, batch).items():
        torch.testing.assert_close(losses_of(output, bare)[name], value)
