"""The flattened baseline of G-HTT: size, training, recognition and sampling."""

import functools

import pytest
import torch
from smooth_clips import smooth_batch, smooth_clip, split, with_future

from handpose.models import GHTT, FlatMotionVAE, TrainingStep
from handpose.models.estimators.flat_motion_block import FlatMotionBlock
from handpose.structures import HandSequence, SequenceError

BLOCK = dict(channels=32, num_layers=2, num_heads=2, feedforward_channels=64, dropout=0.0, normalizer_batches=1)
NAMES = dict(actions=('stir', 'pour milk'), objects=('cup', 'milk'))


def make(block=None, **options):
    torch.manual_seed(0)
    settings = dict(min_observed=8, max_observed=24, max_future=16, object_drop=0.0, random_start=0.0)
    return FlatMotionVAE(block={**BLOCK, **(block or {})}, **NAMES, **settings | options)


def with_objects(batch):
    labels = torch.arange(len(batch.meta)) % 2
    return batch.replace(object_label=labels[:, None].expand(batch.frame_valid.shape).contiguous())


@functools.cache
def trained():
    torch.set_num_threads(1)
    model, batch = make(), with_objects(smooth_batch(2, 32))
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, 80)
    values = []
    for iteration in range(80):
        losses = model.train().loss(batch, TrainingStep(iteration))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        if iteration == 0:
            missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
            assert missing == []
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        values.append({name: float(value.detach()) for name, value in losses.items()})
    return model.eval(), values


def test_it_learns_a_batch():
    model, values = trained()
    first, last = values[0]['loss_component'], sum(row['loss_component'] for row in values[-10:]) / 10
    assert last < 0.35 * first, (first, last)
    observed, future = split(with_objects(smooth_batch(2, 32)), 16)
    predicted = model.forecast(observed, 16).validate()
    error = (predicted.joints_3d - future).norm(dim=-1).mean()
    still = (observed.joints_3d[:, -1:] - future).norm(dim=-1).mean()
    assert error < 0.6 * still, (error, still)
    assert torch.equal(predicted.joints_3d, model.forecast(observed, 16).joints_3d)
    model.joint_weight = 1e3
    distance = model.loss(with_objects(smooth_batch(2, 32)), TrainingStep())['loss_joints']
    model.joint_weight = 0.0
    assert 0.3 < distance / (1e3 * error) < 3  # the first half is observed here too
    prediction = model.predict(observed).validate()
    assert prediction.action_scores.argmax(1).tolist() == [0, 1]
    torch.testing.assert_close(prediction.action_scores.sum(1), torch.ones(2))
    torch.testing.assert_close(prediction.joints_3d, observed.joints_3d)


def test_samples():
    """Seeded, in the order of the clips, and the further apart the larger k."""
    model, _ = trained()
    observed, _ = split(with_objects(smooth_batch(2, 32)), 16)

    def sample(seed=0, scale=5.0):
        model.std_scale = scale
        generator = torch.Generator().manual_seed(seed)
        return model.forecast(observed, 12, num_samples=4, generator=generator).validate()

    future = sample()
    assert future.joints_3d.shape == (8, 12, 2, 21, 3) and future.joints_3d.isfinite().all()
    assert [meta['sequence'] for meta in future.meta] == ['0'] * 4 + ['1'] * 4
    assert torch.equal(future.joints_3d, sample().joints_3d)
    assert not torch.equal(future.joints_3d, sample(seed=1).joints_3d)
    spread = [sample(scale=k).joints_3d.unflatten(0, (2, 4)).std(1).mean() for k in (0.0, 5.0, 10.0)]
    assert spread[0] < 1e-6 < spread[1] < spread[2]
    torch.testing.assert_close(sample(scale=0.0).joints_3d[::4], model.forecast(observed, 12).joints_3d)


def test_action_and_object_condition_the_future():
    model, _ = trained()
    observed, _ = split(with_objects(smooth_batch(2, 32)), 16)
    futures = [model.forecast(observed, 8, action=torch.tensor([label] * 2)).joints_3d for label in (0, 1, -1)]
    assert (futures[0] - futures[1]).abs().max() > 1e-4
    torch.testing.assert_close(futures[2], model.forecast(observed, 8).joints_3d)
    # A test tells it the object, not the action.
    batch = with_future(observed)
    expected = model.forecast(observed, 4).joints_3d
    assert torch.equal(model.predict(batch).validate().future.joints_3d, expected)
    model = make().eval()  # untrained: of two clips it knows by heart the object is no news
    scores = model.predict(observed).action_scores
    for other in (observed.replace(object_label=1 - observed.object_label), observed.replace(object_label=None)):
        assert (model.predict(other).action_scores - scores).abs().max() > 1e-5
    features = model.object_text[observed.object_label]  # as an estimator of images would give them
    found = model.predict(observed.replace(object_label=None, object_features=features)).action_scores
    torch.testing.assert_close(found, scores)


def test_where_the_action_stands_counts():
    """A clip that is said to begin later in its action is another input; the paper's phase."""
    model, _ = trained()
    observed, _ = split(smooth_batch(2, 32), 16)
    later = observed.replace(meta=[{**meta, 'phase': 1} for meta in observed.meta])
    assert (model.forecast(observed, 8).joints_3d - model.forecast(later, 8).joints_3d).abs().max() > 1e-5


@pytest.mark.parametrize('layers', [1, 3])
def test_it_is_as_large_as_both_blocks(layers):
    """Twice the layers, and 3 C / (8 layers) more hidden channels in place of the linear layers that it lacks."""
    sizes = dict(channels=128, num_heads=4, num_layers=layers, feedforward_channels=512)
    whole = GHTT(pose_block=sizes, action_block=sizes, **NAMES)
    flat = make(block=sizes | dict(num_layers=2 * layers, feedforward_channels=512 + 3 * 128 // (8 * layers)))
    counts = [sum(p.numel() for p in model.parameters()) for model in (whole, flat)]
    assert abs(counts[1] / counts[0] - 1) < 0.02, counts


def test_the_paper_size_without_memory():
    """9 + 9 layers of 512 channels a block against 18 + 18, on the meta device."""
    with torch.device('meta'):
        whole = GHTT(pose_block={}, action_block={}, **NAMES)
        flat = FlatMotionBlock()
    count = sum(p.numel() for p in whole.parameters())
    assert abs(sum(p.numel() for p in flat.parameters()) / count - 1) < 0.02


def test_division_into_observed_and_future():
    model = make(random_start=0.5, max_observed=12, max_future=6).train()
    length = torch.tensor([30, 9, 2])
    ends, starts = set(), set()
    for seed in range(300):
        parts = model._divide(length, torch.Generator().manual_seed(seed))
        for b, (low, high) in enumerate(((8, 29), (8, 8), (1, 1))):
            observed, future = parts.observed[b][parts.observed_valid[b]], parts.future[b][parts.future_valid[b]]
            assert 1 <= len(observed) <= 12 and 1 <= len(future) <= 6
            assert torch.equal(torch.cat([observed, future]).diff(), torch.ones(len(observed) + len(future) - 1).long())
            assert parts.observed_valid[b, -1] and low <= future[0] <= high and future[-1] < length[b]
        ends.add(int(parts.future[0, 0]))
        starts.add(int(parts.observed[0][parts.observed_valid[0]][0]))
    assert ends == set(range(8, 30)) and {0, 1, 10, 20} <= starts
    parts = model.eval()._divide(length, torch.Generator())
    assert parts.future[:, 0].tolist() == [19, 8, 1]


def test_missing_hands_single_hands_and_clips_of_different_lengths():
    model = make().eval()
    clips = [smooth_clip(13, seed=0), smooth_clip(9, seed=1)]
    gone, left = clips[0].joints_valid.clone(), clips[1].joints_valid.clone()
    gone[:, 1], left[6:, 0] = False, False
    nan = torch.tensor(torch.nan)
    clips[0] = clips[0].replace(joints_valid=gone, joints_3d=torch.where(gone[..., None], clips[0].joints_3d, nan))
    clips[1] = clips[1].replace(joints_valid=left, joints_3d=torch.where(left[..., None], clips[1].joints_3d, nan))
    future = model.forecast(HandSequence.stack(clips), 7).validate()
    assert future.joints_3d.isfinite().all()
    assert future.hand_valid.any(1).tolist() == [[True, False], [True, True]]
    alone = model.forecast(HandSequence.stack(clips[1:]), 7)
    torch.testing.assert_close(future.joints_3d[1:], alone.joints_3d, atol=1e-5, rtol=1e-4)
    losses = make().train().loss(HandSequence.stack(clips), TrainingStep())
    assert all(value.isfinite() for value in losses.values())
    assert model.forecast(HandSequence.stack([smooth_clip(9, (0,))]), 6).validate().joints_3d.shape == (1, 6, 1, 21, 3)


def test_options_of_the_block():
    batch = with_objects(smooth_batch(2, 32))
    for options in (
        dict(context='pose', residual=True),
        dict(motion_frame='local'),
        dict(skip=False),
        dict(channels=512),
    ):
        losses = make(options).train().loss(batch, TrainingStep())
        sum(losses.values()).backward()
        assert all(value.isfinite() for value in losses.values())


def test_what_is_refused():
    model, batch = make().eval(), smooth_batch(2, 12)
    with pytest.raises(ValueError, match='predicts at most 16 frames, got 17'):
        model.forecast(batch, 17)
    with pytest.raises(ValueError, match='needs at least 8 observed frames, got 7'):
        model.forecast(split(batch, 7)[0], 4)
    with pytest.raises(ValueError, match='num_samples must be at least 1'):
        model.forecast(batch, 4, num_samples=0)
    with pytest.raises(SequenceError, match='action label 2, but the network knows 2 actions'):
        model.forecast(batch, 4, action=torch.tensor([0, 2]))
    with pytest.raises(SequenceError, match='object label 5, but the network knows 2 objects'):
        model.predict(batch.replace(object_label=torch.full((2, 12), 5)))
    with pytest.raises(SequenceError, match="'wrist' frame"):
        model.predict(batch.replace(frame='wrist'))
    with pytest.raises(ValueError, match='1 <= min_observed <= max_observed'):
        make(min_observed=25)
