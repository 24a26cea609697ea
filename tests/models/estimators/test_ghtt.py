"""G-HTT: block P alone, block A on it, both paths of forecasting, recognition, and what is masked."""

import pytest
import torch

from handpose.models import GHTT, GHTTPose, TrainingStep
from handpose.models.estimators.forecaster import input_joints, last_frames, two_hands
from handpose.models.estimators.mid_levels import encode_clips, encode_input_clips, split_actions
from handpose.models.layers.two_hand_motion import KEPT_JOINTS
from handpose.structures import HandSequence, SequenceError

SIZES = dict(channels=32, num_layers=1, num_heads=2, feedforward_channels=32, dropout=0.0)
ACTIONS, OBJECTS = ['open milk', 'close milk', 'read book'], ['milk', 'book']
KEPT = list(KEPT_JOINTS)


def clips(B=3, T=32, H=2, seed=0, **fields):
    """A batch of hands that move along smooth paths."""
    generator = torch.Generator().manual_seed(seed)
    shape = 0.05 * torch.randn(B, 1, H, 21, 3, generator=generator)
    velocity = 0.005 * torch.randn(B, 1, H, 1, 3, generator=generator)
    joints = shape + velocity * torch.arange(T)[None, :, None, None, None] + torch.tensor([0.0, 0.1, 0.6])
    valid = torch.ones(joints.shape[:-1], dtype=torch.bool)
    side = torch.tensor([[0, 1]] * B) if H == 2 else (torch.arange(B) % 2)[:, None]
    return HandSequence(
        meta=[dict(dataset='test', sequence=str(b), fps=30.0, frame_indices=list(range(T))) for b in range(B)],
        frame='world',
        batched=True,
        frame_valid=torch.ones(B, T, dtype=torch.bool),
        timestamps=(torch.arange(T).double() / 30).expand(B, T).clone(),
        hand_side=side,
        hand_valid=valid.any(-1),
        joints_3d=joints,
        joints_valid=valid,
        **fields,
    )


def pose_block(**options):
    torch.manual_seed(0)
    block = {
        name: options.pop(name)
        for name in ('motion_frame', 'context', 'difference_gain', 'residual', 'linear_shortcut')
        if name in options
    }
    return GHTTPose({**SIZES, **block}, **options)


def whole_system(**options):
    torch.manual_seed(0)
    return GHTT(dict(SIZES), dict(SIZES), ACTIONS, OBJECTS, **options)


def actions(T=70, **changes):
    labels = dict(action_label=torch.tensor([0, 2, -1]), object_label=torch.tensor([0, 1, -1])[:, None].expand(3, T))
    return clips(T=T, **labels).replace(**changes)


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(
            motion_frame='local',
            context='pose',
            difference_gain=10.0,
            residual=True,
            linear_shortcut=True,
            joint_weight=1.0,
        ),
    ],
)
def test_every_parameter_of_p_learns(options):
    model = pose_block(**options)
    losses = model.loss(clips(), TrainingStep(3))
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize('skip_drop', [0.0, 1.0])
def test_p_learns_to_continue_a_batch_with_and_without_skip(skip_drop):
    model = pose_block(motion_frame='local', residual=True, joint_weight=100.0, skip_drop=skip_drop, std_scale=0.5)
    batch, optimizer = clips(), torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(150):
        optimizer.zero_grad()
        sum(model.loss(batch, TrainingStep(step)).values()).backward()
        optimizer.step()
    model.eval()
    model.skip = skip_drop == 0
    seen, future = batch.joints_3d[:, :16], batch.joints_3d[:, 16:]
    observed = batch.replace(**{name: value[:, :16] for name, value in batch.present().items() if name != 'hand_side'})
    still = (seen[:, -1:] - future).norm(dim=-1).mean()
    error = (model.forecast(observed, 16).joints_3d - future)[..., KEPT, :].norm(dim=-1).mean()
    assert error < 0.4 * still
    refined = (model.predict(observed).joints_3d - seen)[..., KEPT, :].norm(dim=-1).mean()
    assert refined < 0.01


def test_training_draws_come_from_the_iteration():
    model, batch = pose_block(), clips()
    model.eval()  # the normalizer stays as it is
    model.training = True
    first, again, other = (model.loss(batch, TrainingStep(i))['loss_component'] for i in (1, 1, 2))
    assert first == again != other


def test_futures_go_on_in_time_and_in_place_and_are_reproducible():
    model = pose_block(residual=True, motion_frame='local').eval()
    batch = clips(T=20)
    future = model.forecast(batch, 40, num_samples=3, generator=torch.Generator().manual_seed(1)).validate()
    assert future.joints_3d.shape == (9, 40, 2, 21, 3)
    torch.testing.assert_close(future.timestamps[0], (torch.arange(20, 60) / 30).double())
    again = model.forecast(batch, 40, num_samples=3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again.joints_3d, future.joints_3d)
    assert not torch.allclose(future.joints_3d[0], future.joints_3d[1])
    mean = model.forecast(batch, 40)
    torch.testing.assert_close(mean.joints_3d, model.forecast(batch, 40).joints_3d)
    with pytest.raises(ValueError, match='num_samples must be at least 1'):
        model.forecast(batch, 40, num_samples=0)
    with pytest.raises(ValueError, match='needs at least 16 observed frames, got 12'):
        model.forecast(clips(T=12), 40)


def test_predict_forecasts_as_many_frames_as_the_truth_has():
    model = pose_block(test_samples=2).eval()
    truth = clips(T=24)
    prediction = model.predict(clips(T=16).replace(future=truth)).validate()
    assert prediction.future.joints_3d.shape == (6, 24, 2, 21, 3)
    assert prediction.joints_3d.shape == (3, 16, 2, 21, 3)
    with pytest.raises(ValueError, match=r'call forecast\(batch, num_frames, num_samples=5\)'):
        model.predict(clips(), num_samples=5)


@pytest.mark.parametrize('residual', [False, True])
def test_a_missing_hand_stays_missing_and_its_numbers_do_not_matter(residual):
    model = pose_block(residual=residual).eval()
    batch = clips(T=16)
    batch.joints_valid[:, :, 0] = False
    batch.hand_valid[:, :, 0] = False
    other = batch.replace(joints_3d=torch.where(batch.joints_valid[..., None], batch.joints_3d, 7.0))
    for predict in (model.predict, lambda b: model.forecast(b, 20)):
        first, second = predict(batch), predict(other)
        assert not first.joints_valid[:, :, 0].any()
        assert first.joints_valid[:, :, 1].all()
        torch.testing.assert_close(first.joints_3d, second.joints_3d)


def test_a_single_left_hand_is_predicted_as_the_mirrored_right_one():
    model = pose_block().eval()
    right = clips(B=2, H=1, T=16)
    right = right.replace(hand_side=torch.ones(2, 1, dtype=torch.int64))
    signs = torch.tensor([-1.0, 1.0, 1.0])
    left = right.replace(hand_side=torch.zeros(2, 1, dtype=torch.int64), joints_3d=right.joints_3d * signs)
    for predict in (model.predict, lambda b: model.forecast(b, 20)):
        torch.testing.assert_close(predict(left).joints_3d, predict(right).joints_3d * signs)


def test_two_slots_and_back():
    joints, valid = torch.randn(2, 3, 1, 21, 3), torch.ones(2, 3, 1, 21, dtype=torch.bool)
    hands = two_hands(joints, valid, torch.tensor([[0], [1]]), mirror_single=False)
    assert hands.valid.any(-1).any(1).tolist() == [[True, False], [False, True]]
    torch.testing.assert_close(hands.restore(hands.joints), joints)


def test_last_frames_end_before_padding():
    joints, valid = torch.arange(6.0).expand(2, 6)[..., None], torch.ones(2, 6, 1, dtype=torch.bool)
    frame_valid = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    taken, mask = last_frames(joints, valid, frame_valid, 3)
    assert taken[..., 0].tolist() == [[3, 4, 5], [0, 0, 1]]
    assert mask[..., 0].tolist() == [[True] * 3, [False, True, True]]


def test_another_clip_length_is_refused_in_training():
    with pytest.raises(ValueError, match='clips of 32 frames, 16 observed and 16 predicted; got 30'):
        pose_block().loss(clips(T=30), TrainingStep())


def test_every_parameter_of_a_learns_on_a_frozen_p():
    model = whole_system(aggregator=dict(num_layers=1, feedforward_channels=32))
    model.pose_block.requires_grad_(False)
    batch = actions(object_features=torch.randn(3, 70, 512))
    losses = model.loss(batch, TrainingStep(1))
    sum(losses.values()).backward()
    assert set(losses) == {'loss_mid', 'loss_action', 'loss_kl', 'loss_object'}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


def test_a_learns_the_actions_and_the_clips_that_follow():
    model = whole_system(mid_noise=0.0, object_drop=0.0)
    model.pose_block.requires_grad_(False)
    batch = actions()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    first = None
    for step in range(150):
        optimizer.zero_grad()
        losses = model.loss(batch, TrainingStep(step))
        first = first or losses['loss_mid'].item()
        sum(losses.values()).backward()
        optimizer.step()
    assert losses['loss_mid'] < 0.5 * first
    assert model.eval().predict(batch).action_scores.argmax(-1)[:2].tolist() == [0, 2]


def test_mid_level_features_are_kept_for_the_next_epoch():
    model, batch = whole_system(), actions()
    calls = []
    encode = model.pose_block.encode
    model.pose_block.encode = lambda features: calls.append(len(features.values)) or encode(features)
    first = model.loss(batch, TrainingStep(1))
    assert sum(calls) == 3 * 4  # 70 frames: four clips, and six frames more, which are too few
    again = model.loss(batch, TrainingStep(1))
    assert sum(calls) == 3 * 4
    assert again['loss_mid'].item() == pytest.approx(first['loss_mid'].item(), rel=0.2)
    model.eval()
    model.train()
    model.loss(batch, TrainingStep(1))
    assert sum(calls) == 2 * 3 * 4


def test_observed_and_future_clips_never_overlap():
    valid = torch.tensor([[True] * 6, [True] * 2 + [False] * 4, [True] + [False] * 5])
    for seed in range(50):
        seen, later = split_actions(valid, 0.5, 0.0, torch.Generator().manual_seed(seed))
        assert not (seen & later).any()
        assert seen.any(1).all()
        assert later[:2].any(1).all()
        assert not later[2].any()
        assert not ((seen | later) & ~valid).any()
        seen, later = split_actions(valid, 0.0, 1.0, torch.Generator().manual_seed(seed))
        assert torch.equal(seen, valid) and not later.any()


def test_the_input_is_observed_and_the_truth_predicted():
    model, batch = whole_system(mid_noise=0.0).train(), actions()
    truth = batch.require('joints_3d')
    given = truth.clone()
    given[1] += 0.02 * torch.randn(given[1].shape, generator=torch.Generator().manual_seed(0))
    valid = batch.require('joints_valid').any(-1)
    noisy = batch.replace(input_joints_3d=given, input_valid=valid)
    levels = encode_clips(model.pose_block, truth, batch.require('joints_valid'), valid.any(-1), 0.5)
    hands = two_hands(truth, batch.require('joints_valid'), batch.require('hand_side'), True)
    seen = encode_input_clips(
        model.pose_block, two_hands(*input_joints(noisy), batch.require('hand_side'), True), hands, valid.any(-1),
        levels, 0.5,
    )  # fmt: skip
    alone = encode_clips(model.pose_block, given, batch.require('joints_valid'), valid.any(-1), 0.5)
    assert torch.equal(seen[0][0], levels[0][0]) and torch.equal(seen[1], levels[1])
    assert torch.allclose(seen[0][1], alone[0][1], atol=1e-5) and not torch.allclose(
        seen[0][1], levels[0][1], atol=1e-2
    )

    # Predictions of zero: the loss is that of the truth, whatever the input.
    model.action_block.decode = lambda alpha, phase, later, code: torch.zeros(*phase.shape, alpha.shape[1])
    expected = model.loss(batch, TrainingStep(1))['loss_mid'].item()
    assert model.loss(noisy, TrainingStep(1))['loss_mid'].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('path', ['P.a', 'P.b'])
def test_both_paths_forecast_any_number_of_frames(path):
    model = whole_system(path=path).eval()
    future = model.forecast(actions(), 50, num_samples=2, generator=torch.Generator().manual_seed(0)).validate()
    assert future.joints_3d.shape == (6, 50, 2, 21, 3)
    assert future.joints_3d.isfinite().all()


def test_the_first_clip_is_the_same_along_both_paths_and_an_action_changes_the_later_ones():
    model, batch = whole_system().eval(), actions()
    by_b = model.forecast(batch, 48).joints_3d
    given = model.forecast(batch, 48, action=torch.tensor([1, 1, -1])).joints_3d
    torch.testing.assert_close(given[:, :16], by_b[:, :16])
    assert not torch.allclose(given[:2, 16:], by_b[:2, 16:])
    torch.testing.assert_close(given[2], by_b[2])
    model.path = 'P.a'
    torch.testing.assert_close(model.forecast(batch, 48).joints_3d[:, :16], by_b[:, :16])


def test_scores_add_up_and_padding_has_no_influence():
    for recognition in ('cosine', 'l1'):
        model = whole_system(recognition=recognition).eval()
        short = actions(T=40)
        padded = actions(T=64)
        shorter = {
            name: value[:, :40] for name, value in short.present().items() if value.ndim > 1 and value.shape[1] == 40
        }
        padded = padded.replace(**{
            name: torch.cat([value, getattr(padded, name)[:, 40:]], 1) for name, value in shorter.items()
        })  # fmt: skip
        padded.frame_valid[:, 40:] = False
        scores = model.recognize(short)
        torch.testing.assert_close(scores.sum(-1), torch.ones(3))
        torch.testing.assert_close(model.recognize(padded), scores)


def test_longer_recordings_than_a_covers_are_recognized_in_parts():
    model = whole_system(max_observed=2).eval()
    assert model.recognize(actions(T=100)).sum(-1).tolist() == pytest.approx([1.0] * 3)


def test_bad_labels_and_sizes_are_refused():
    with pytest.raises(SequenceError, match='object label 2, but the network knows 2 objects'):
        whole_system().loss(actions(object_label=torch.full((3, 70), 2)), TrainingStep())
    with pytest.raises(SequenceError, match='action label 3, but the table of text features has 3 actions'):
        whole_system().loss(actions(action_label=torch.tensor([0, 3, 1])), TrainingStep())
    with pytest.raises(
        ValueError, match='action_block has 16 channels, but the mid-level features of pose_block have 32'
    ):
        GHTT(dict(SIZES), dict(SIZES, channels=16), ACTIONS, OBJECTS)


def plainly_decoded(model, first, second):
    """The clip after `first` by block P's own parts: from the mean mid-level feature of the end of `second` alone."""
    block = model.pose_block

    def end(clip):
        return block.motion(clip.joints_3d[None, -16:], clip.joints_valid[None, -16:])

    code, features = block.encode(end(first)), end(first)
    _, seen = model.refine_clips(first.joints_3d[None, -16:], first.joints_valid[None, -16:], features, code)
    values = block.normalizer.denormalize(block.decode(block.encode(end(second)).latent.mean, code.refined[:, -1]))
    palms = block.motion.move_palms(values, seen.end.palms, features.origin)
    return block.motion.to_joints(values, palms, seen.end.thumb_base)[0]


@pytest.mark.parametrize('options', [{}, dict(motion_frame='local', residual=True)])
def test_blends_of_mid_level_features_reach_from_one_clip_to_the_other(options):
    model = pose_block(**options).eval()
    first, second = clips(B=2, T=20).unstack()
    motions = model.blend(first, second, (0, 0.5, 1)).validate()
    assert motions.joints_3d.shape == (3, 16, 2, 21, 3) and motions.joints_valid.all()
    torch.testing.assert_close(motions.timestamps[0], (torch.arange(20, 36) / 30).double())
    with torch.no_grad():
        for row, other in ((0, first), (2, second)):
            torch.testing.assert_close(motions.joints_3d[row], plainly_decoded(model, first, other))
    model.skip = False
    alone = model.forecast(HandSequence.stack([first]), 16)
    torch.testing.assert_close(motions.joints_3d[:1], alone.joints_3d)
    assert not torch.allclose(motions.joints_3d[0], motions.joints_3d[2], atol=1e-4)
    torch.testing.assert_close(model.blend(first, second, [0.5]).joints_3d, motions.joints_3d[1:2])


def test_a_hand_that_one_of_two_blended_clips_lacks_is_not_predicted():
    model = whole_system().eval()
    first, second = clips(B=2, T=16).unstack()
    hidden = second.joints_valid.clone()
    hidden[:, 0] = False  # the left hand
    motions = model.blend(first, second.replace(joints_valid=hidden, hand_valid=hidden.any(-1)), (0.0, 1.0))
    assert not motions.joints_valid[:, :, 0].any() and motions.joints_valid[:, :, 1].all()
    assert motions.joints_3d.isfinite().all()
    left, right = clips(B=2, T=16, H=1).unstack()
    for arguments, words in (
        ((left, right, (0, 1)), r'the same hands, got the sides \[0\] and \[1\]'),
        ((first, clips(), (0, 1)), 'takes two clips, got a batch'),
        ((first, second, ()), 'numbers from 0 to 1, at least one'),
        ((first, second, (0, 1.5)), r'numbers from 0 to 1, at least one, got \[0, 1.5\]'),
        ((first, second.select_frames(range(9)), (0, 1)), 'needs at least 16 observed frames, got 9'),
    ):
        with pytest.raises(ValueError, match=words):
            model.blend(*arguments)


def test_the_thumb_base_comes_from_the_frames_that_show_it():
    model, batch = pose_block().eval(), clips(T=16)
    batch.joints_valid[:, :10, :, 1] = False
    hidden = batch.replace(joints_3d=torch.where(batch.joints_valid[..., None], batch.joints_3d, 9.0))
    torch.testing.assert_close(model.predict(hidden).joints_3d, model.predict(batch).joints_3d)


def test_joints_relative_to_the_wrist_are_refused():
    with pytest.raises(SequenceError, match='joints in a frame that stands still'):
        pose_block().eval().predict(clips(T=16).replace(frame='wrist'))
