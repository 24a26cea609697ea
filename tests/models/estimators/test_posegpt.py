"""PoseGPT in its two stages: the tokenizer, and the transformer over its codes."""

import functools

import pytest
import torch
from smooth_clips import smooth_batch, smooth_clip, split, with_future

from handpose.engine.staging import initialize_submodules
from handpose.models import PoseGPT, PoseVQVAE, TrainingStep
from handpose.models.estimators.motion_decoding import anchor_hands, decode_joints
from handpose.structures import HandSequence, SequenceError

BLOCK = dict(channels=32, num_layers=2, num_heads=2, feedforward_channels=64)
TOKENIZER = dict(vqvae=dict(code_channels=16, num_codes=32, decay=0.8, **BLOCK), normalizer_batches=1)
TRANSFORMER = dict(num_codes=32, max_steps=16, dropout=0.0, **BLOCK)


def make_vqvae(**options):
    torch.manual_seed(0)
    return PoseVQVAE(tokenizer=TOKENIZER, **dict(min_frames=32, max_frames=32) | options)


def make_gpt(**options):
    torch.manual_seed(0)
    return PoseGPT(
        TOKENIZER,
        **dict(transformer=TRANSFORMER, actions=('stir', 'pour milk'), min_frames=8, action_drop=0.0) | options,
    )


def train(model, batch, iterations, key, lr=4e-3):
    """Trains, and gives the losses `key`."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, iterations)
    values = []
    for iteration in range(iterations):
        losses = model.train().loss(batch, TrainingStep(iteration))
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        optimizer.step()
        schedule.step()
        values.append(float(losses[key].detach()))
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters() if p.requires_grad)
    return values


@functools.cache
def trained_vqvae():
    """A tokenizer that knows two motions, and how its training went."""
    torch.set_num_threads(1)
    model = make_vqvae()
    return model, train(model, smooth_batch(2, 32), 80, 'loss_component', lr=8e-3)


@functools.cache
def trained_gpt():
    """A transformer that knows two motions from their beginnings."""
    model = make_gpt(min_frames=32)
    model.tokenizer.load_state_dict(trained_vqvae()[0].tokenizer.state_dict())
    values = train(model, smooth_batch(2, 32), 60, 'loss_codes')
    model.min_frames = 8
    return model.eval(), values


def test_the_tokenizer_learns_a_batch():
    model, values = trained_vqvae()
    assert values[-1] < 0.3 * values[0], (values[0], values[-1])
    batch = smooth_batch(2, 32)
    prediction = model.eval().predict(batch).validate()
    error = (prediction.joints_3d - batch.joints_3d).norm(dim=-1)
    still = (batch.joints_3d[:, :1] - batch.joints_3d).norm(dim=-1)
    assert error.mean() < 0.02 and error.mean() < 0.5 * still.mean(), (error.mean(), still.mean())
    losses = model.loss(batch, TrainingStep())
    assert losses['perplexity'] > 4 and 'loss_joints' not in losses
    model.joint_weight = 1e3
    distance = model.loss(batch, TrainingStep())['loss_joints']  # millimetres, over three coordinates
    model.joint_weight = 0.0
    assert 0.1 < distance / (1e3 * error.mean()) < 3


def test_reconstruction_knows_missing_hands_padding_and_odd_lengths():
    model = trained_vqvae()[0].eval()
    clips = [smooth_clip(14, seed=0), smooth_clip(11, seed=1)]
    late, gone = clips[0].joints_valid.clone(), clips[1].joints_valid.clone()
    late[:3, 1], gone[:, 0], gone[:, 1, 1] = False, False, False
    nan = torch.tensor(torch.nan)
    clips[0] = clips[0].replace(joints_valid=late, joints_3d=torch.where(late[..., None], clips[0].joints_3d, nan))
    clips[1] = clips[1].replace(joints_valid=gone, joints_3d=torch.where(gone[..., None], clips[1].joints_3d, nan))
    prediction = model.predict(HandSequence.stack(clips)).validate()
    assert prediction.joints_3d.isfinite().all()
    expected = torch.ones(2, 14, 2, 21, dtype=torch.bool)
    expected[1, :, 0], expected[1, :, 1, 1], expected[1, 11:] = False, False, False
    assert torch.equal(prediction.joints_valid, expected)
    # The hand that comes late begins where it is seen first.
    wrist = clips[0].joints_3d[3, 1, 0]
    assert (prediction.joints_3d[0, 3, 1, 0] - wrist).norm() < 0.03
    single = smooth_clip(9, (0,))
    assert model.predict(HandSequence.stack([single])).validate().joints_3d.shape == (1, 9, 1, 21, 3)


def test_decoding_inverts_the_features_from_the_anchors_on():
    motion = make_vqvae().tokenizer.motion
    for frame in ('world', 'local'):
        motion.motion_frame = frame
        batch = smooth_batch(2, 10)
        valid = batch.joints_valid.clone()
        valid[0, :4, 0] = False
        valid[1, 7:, 1] = False
        features = motion(batch.joints_3d, valid)
        first = decode_joints(motion, features.values, anchor_hands(features, batch.joints_3d, valid, last=False))
        kept = torch.arange(21) != 1  # the base of the thumb rests in the palm
        torch.testing.assert_close(first[0, 4:, 0][:, kept], batch.joints_3d[0, 4:, 0][:, kept], atol=1e-5, rtol=0)
        torch.testing.assert_close(first[1, :7, 1][:, kept], batch.joints_3d[1, :7, 1][:, kept], atol=1e-5, rtol=0)
        anchors = anchor_hands(features, batch.joints_3d, valid, last=True)
        assert anchors.frame.tolist() == [[9, 9], [9, 6]]
        # Joined, the anchor's frame is the observed one whatever was decoded.
        values = features.values + 0.01 * torch.randn_like(features.values)
        joined = decode_joints(motion, values, anchors, join_frames=5.0)
        torch.testing.assert_close(joined[1, 6, 1][kept], batch.joints_3d[1, 6, 1][kept], atol=1e-5, rtol=0)


def test_the_transformer_learns_a_batch_and_continues_it():
    """From the first half of either motion it goes on with the second, nearer than the last pose."""
    model, values = trained_gpt()
    assert values[-1] < 0.1 * values[0], (values[0], values[-1])
    observed, future = split(smooth_batch(2, 32), 16)
    action = observed.action_label
    predicted = model.forecast(observed, 16, action=action).validate()
    error = (predicted.joints_3d - future).norm(dim=-1).mean()
    still = (observed.joints_3d[:, -1:] - future).norm(dim=-1).mean()
    assert error < 0.6 * still, (error, still)
    assert torch.equal(predicted.joints_3d, model.forecast(observed, 16, action=action).joints_3d)
    jump = (predicted.joints_3d[:, 0] - observed.joints_3d[:, -1]).norm(dim=-1).mean()
    assert jump < 2 * (observed.joints_3d[:, -1] - observed.joints_3d[:, -2]).norm(dim=-1).mean() + 2e-3


def test_samples():
    """Seeded, different from each other, in the order of the clips; colder ones are nearer to the most likely."""
    model = make_gpt().eval()
    observed, _ = split(smooth_batch(2, 20), 10)

    def sample(seed=0, **options):
        generator = torch.Generator().manual_seed(seed)
        return model.forecast(observed, 10, num_samples=3, generator=generator, **options).validate()

    future = sample()
    assert future.joints_3d.shape == (6, 10, 2, 21, 3) and future.joints_3d.isfinite().all()
    assert [meta['sequence'] for meta in future.meta] == ['0', '0', '0', '1', '1', '1']
    torch.testing.assert_close(future.timestamps[0], (10 + torch.arange(10, dtype=torch.float64)) / 30)
    assert torch.equal(future.joints_3d, sample().joints_3d)
    assert not torch.equal(future.joints_3d, sample(seed=1).joints_3d)
    assert (future.joints_3d[0] - future.joints_3d[1]).abs().max() > 1e-3
    model.temperature = 1e-6
    likely = model.forecast(observed, 10).joints_3d.repeat_interleave(3, 0)
    torch.testing.assert_close(sample().joints_3d, likely)
    model.temperature, model.top_k = 1.0, 1
    torch.testing.assert_close(sample().joints_3d, likely)


def test_the_action_conditions_the_samples():
    model, _ = trained_gpt()
    observed, _ = split(smooth_batch(2, 32), 16)
    futures = []
    for label in (0, 1, -1):
        action = torch.full((2,), label)
        generator = torch.Generator().manual_seed(0)
        futures.append(model.forecast(observed, 16, num_samples=2, generator=generator, action=action).joints_3d)
    assert (futures[0] - futures[1]).abs().max() > 1e-3
    unknown = model.forecast(observed, 16, num_samples=2, generator=torch.Generator().manual_seed(0)).joints_3d
    assert torch.equal(unknown, futures[2])
    assert model.action_names == ['stir', 'pour milk']
    # A test gives it the true action.
    model, batch = make_gpt(test_samples=4).eval(), with_future(observed)
    future = model.predict(batch).validate().future.joints_3d
    assert future.shape == (8, 4, 2, 21, 3) and torch.equal(future, model.predict(batch).future.joints_3d)
    wrong = model.predict(batch.replace(action_label=1 - batch.action_label)).future.joints_3d
    assert (wrong - future).abs().max() > 1e-3


def test_missing_hands_single_hands_and_clips_of_different_lengths():
    model = make_gpt().eval()
    clips = [smooth_clip(13, seed=0), smooth_clip(9, seed=1)]
    gone, left = clips[0].joints_valid.clone(), clips[1].joints_valid.clone()
    gone[:, 1], left[6:, 0] = False, False
    nan = torch.tensor(torch.nan)
    clips[0] = clips[0].replace(joints_valid=gone, joints_3d=torch.where(gone[..., None], clips[0].joints_3d, nan))
    clips[1] = clips[1].replace(joints_valid=left, joints_3d=torch.where(left[..., None], clips[1].joints_3d, nan))
    future = model.forecast(HandSequence.stack(clips), 7).validate()
    assert future.joints_3d.isfinite().all()
    assert future.hand_valid.any(1).tolist() == [[True, False], [True, True]]
    # A single left hand is a right one in the mirror.
    left = smooth_clip(9, (0,))
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    right = left.replace(hand_side=torch.tensor([1]), joints_3d=left.joints_3d * mirror)
    torch.testing.assert_close(
        model.forecast(HandSequence.stack([left]), 6).joints_3d * mirror,
        model.forecast(HandSequence.stack([right]), 6).joints_3d,
    )


def test_the_second_stage_starts_from_the_first(tmp_path):
    """`init_from=[(file, 'tokenizer')]`; training leaves the tokenizer as it is."""
    first = trained_vqvae()[0]
    file = tmp_path / 'vqvae.pth'
    torch.save(first.state_dict(), file)
    model = make_gpt()
    initialize_submodules(model, [(str(file), 'tokenizer')])
    before = {name: value.clone() for name, value in first.tokenizer.state_dict().items()}
    train(model, smooth_batch(2, 32), 2, 'loss_codes')
    for name, value in model.tokenizer.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not model.tokenizer.training and model.transformer.training


def test_the_action_is_left_out_of_a_share_of_the_clips():
    batch = smooth_batch(4, 32)
    with_action, without = make_gpt(min_frames=32), make_gpt(min_frames=32, action_drop=1.0)
    loss = without.eval().loss(batch, TrainingStep())['loss_codes']
    torch.testing.assert_close(loss, without.loss(batch.replace(action_label=None), TrainingStep())['loss_codes'])
    torch.testing.assert_close(
        loss, with_action.eval().loss(batch.replace(action_label=torch.full((4,), -1)), TrainingStep())['loss_codes']
    )
    assert abs(loss - with_action.loss(batch, TrainingStep())['loss_codes']) > 1e-4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(transformer=dict(TRANSFORMER, num_codes=16)), 'num_codes=32, but the transformer knows 2 with 16'),
        (dict(min_frames=3), 'min_frames of at least 4'),
        (dict(join_time=0.0), 'join_time above 0'),
    ],
)
def test_settings_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        make_gpt(**options)


def test_requests_that_it_cannot_meet():
    model = make_gpt().eval()
    batch = smooth_batch(2, 12)
    with pytest.raises(ValueError, match='PoseGPT needs at least 8 observed frames, got 7'):
        model.forecast(split(batch, 7)[0], 4)
    with pytest.raises(ValueError, match='PoseGPT knows at most 64 frames'):
        model.forecast(batch, 61)
    assert model.forecast(batch, 60).joints_3d.shape[1] == 60
    with pytest.raises(ValueError, match='num_samples must be at least 1'):
        model.forecast(batch, 4, num_samples=0)
    with pytest.raises(SequenceError, match='action label 2, but the network knows 2 actions'):
        model.forecast(batch, 4, action=torch.tensor([0, 2]))
    with pytest.raises(SequenceError, match="'wrist' frame"):
        model.forecast(batch.replace(frame='wrist'), 4)
    with pytest.raises(ValueError, match='it takes 1 <= min_frames <= max_frames, got 33 and 32'):
        make_vqvae(min_frames=33)
