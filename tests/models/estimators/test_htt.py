"""HTT as a whole: the paper's size, every row of its ablations, videos of any length."""

import pytest
import torch
from action_clips import ACTIONS, OBJECTS, build, inputs_of, make_batch, model_config, summed

from handpose.engine.training import checkpoint_activations
from handpose.models import HTT, TrainingStep
from handpose.registry import MODELS
from handpose.structures import SequenceError, interleaved_clips

pytest.importorskip('mmcv')


def test_published_size():
    types = dict(
        backbone='PooledResNet',
        pose_block='WindowedTransformer',
        pose_head='Pose25DHead',
        object_head='ObjectHead',
        tokenizer='ActionTokenizer',
        action_head='ActionHead',
    )
    model = HTT(**{name: dict(type=kind) for name, kind in types.items()})
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(25.5, abs=0.05)


ROWS = [
    *(dict(window=t) for t in (1, 2, 4, 8, None)),  # Table 4
    *(dict(num_frames=t) for t in (4, 16)),  # Table 5, from here
    dict(cascaded=False),
    dict(cascaded=False, tokenizer=None, window=1),
    dict(inputs=('pose', 'object')),
    dict(inputs=('image', 'object')),
    dict(inputs=('image', 'pose')),
    dict(pose_block=None),
    dict(detach=True),
    dict(position='input'),
    dict(vote='majority'),
    dict(hands=1),
    dict(loss=dict(type='HTTLoss', average='batch')),
]


@pytest.mark.parametrize('options', ROWS, ids=str)
def test_every_row_of_the_ablations(options):
    """Trains, with a finite gradient that is not zero everywhere, and predicts."""
    model = build(**options)
    batch = make_batch(frames=model.num_frames, hands=options.get('hands', 2))
    summed(model.loss(batch, TrainingStep())).backward()
    broken = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    unused = [n for n, p in model.named_parameters() if n not in broken and not p.grad.any()]
    assert (broken, unused) == ([], [])
    prediction = model.eval().predict(batch).validate()
    assert prediction.joints_3d.shape == batch.joints_3d.shape
    torch.testing.assert_close(prediction.action_scores.sum(1), torch.ones(2))
    assert (model.pose_block is None) == (options.get('window') == 1 or 'pose_block' in options)
    assert (model.tokenizer is None) == ('cascaded' in options)


def test_what_a_clip_gives():
    model, batch = build().eval(), make_batch()
    inputs = inputs_of(batch)
    with torch.no_grad():
        out = model(*inputs)
        seen = model(*inputs, return_attention=True)
    assert out.joints.shape == (2, 8, 2, 21, 3)
    assert out.object_logits.shape == (2, 8, OBJECTS)
    assert out.action_logits.shape == (2, ACTIONS)
    assert out.pose_attention is out.action_attention is None
    assert seen.pose_attention.shape == (2, 2, 4, 4, 4)
    assert seen.action_attention.shape == (2, 4, 8)
    torch.testing.assert_close(out.action_logits, seen.action_logits)
    camera = batch.intrinsics[:, :, 0]
    u = out.joints[..., 0] / out.joints[..., 2] * camera[..., 0, 0, None, None] + camera[..., 0, 2, None, None]
    torch.testing.assert_close(u, out.uv[..., 0], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(out.depth, out.joints[..., 2])


def test_each_image_is_normalised_as_published():
    model, images = build().eval(), make_batch().images[:, :, 0]
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.encode(images)
    torch.testing.assert_close(seen[0], (images.flatten(0, 1) / 255 - 0.5) / 1)


def test_padding_is_not_encoded():
    model, batch = build().eval(), make_batch()
    batch.frame_valid[1, 3:] = False
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    images, _, valid = inputs_of(batch)
    features = model.encode(images, valid)
    assert seen == [8 + 3]
    assert not features[~valid].any()
    torch.testing.assert_close(features[valid], model.encode(images)[valid])


def test_features_for_images():
    """What stands on the backbone, alone, does with its features what the whole does with images."""
    whole, batch = build().eval(), make_batch(frames=11)
    batch.frame_valid[1, 9:] = False
    alone = build(backbone=None).eval()
    parts = {name: value for name, value in whole.state_dict().items() if not name.startswith('backbone.')}
    alone.load_state_dict(parts)
    alone.init_weights()
    with torch.no_grad():
        features = batch.replace(images=None, features=whole.encode(batch.images[:, :, 0])[:, :, None]).validate()
        for name, loss in whole.loss(batch, TrainingStep()).items():
            torch.testing.assert_close(alone.loss(features, TrainingStep())[name], loss)
    expected, got = whole.predict(batch), alone.predict(features)
    torch.testing.assert_close(got.joints_3d, expected.joints_3d)
    torch.testing.assert_close(got.action_scores, expected.action_scores)
    with pytest.raises(SequenceError, match='HTT needs features and intrinsics; the pipeline must load the features'):
        alone.predict(batch)
    with pytest.raises(ValueError, match='without a backbone and sees no images: give its features to decode'):
        alone(*inputs_of(batch))


@pytest.mark.parametrize('options', [{}, dict(window=None), dict(window=1), dict(cascaded=False)], ids=str)
def test_padding_changes_no_valid_frame(options):
    """Noise after the end of a clip, in one window and in windows of its own, and a frame missing in the middle."""
    model, batch = build(**options).eval(), make_batch(frames=15)
    images, camera, valid = inputs_of(batch)
    valid = valid & (torch.arange(15) < 6)
    with torch.no_grad():
        whole, cut = model(images, camera, valid), model(images[:, :6], camera[:, :6])
        missing = valid.clone()
        missing[:, 2] = False
        other = images.clone()
        other[:, 2] = 0
        without, changed = model(images, camera, missing), model(other, camera, missing)
    for padded, real, frames in ((whole, cut, range(6)), (changed, without, (0, 1, 3, 4, 5))):
        frames = list(frames)
        torch.testing.assert_close(padded.joints[:, frames], real.joints[:, frames])
        torch.testing.assert_close(padded.object_logits[:, frames], real.object_logits[:, frames])
        torch.testing.assert_close(padded.action_logits, real.action_logits)
        assert all(x.isfinite().all() for x in padded if x is not None)
    assert not torch.allclose(without.action_logits, whole.action_logits, atol=1e-5)


def test_short_term_for_the_pose_long_term_for_the_action():
    """Windows in another order: their poses go along unchanged, and the action changes."""
    model, batch = build().eval(), make_batch(frames=12)
    images, camera, _ = inputs_of(batch)
    order = torch.arange(12).unflatten(0, (3, 4)).flip(0).flatten()
    with torch.no_grad():
        straight, exchanged = model(images, camera), model(images[:, order], camera[:, order])
        shuffled = torch.tensor([3, 0, 2, 1, *range(4, 12)])
        mixed = model(images[:, shuffled], camera[:, shuffled])
    torch.testing.assert_close(exchanged.joints, straight.joints[:, order])
    assert not torch.allclose(exchanged.action_logits, straight.action_logits, atol=1e-4)
    torch.testing.assert_close(mixed.joints[:, 4:], straight.joints[:, 4:])
    assert not torch.allclose(mixed.joints[:, :4], straight.joints[:, shuffled[:4]], atol=1e-5)


def by_hand(model, batch, b, num_frames):
    """The clips of one video one after the other: joints, objects and probabilities of the action, by hand."""
    images, camera = batch.images[b, :num_frames, 0], batch.intrinsics[b, :num_frames, 0]
    joints, objects, actions = {}, {}, []
    for start in range(num_frames):
        if start % 16 >= 2:  # 8 frames, 2 apart: a clip starts at each of the first 2 frames of 16
            continue
        frames = [start + 2 * k for k in range(8) if start + 2 * k < num_frames]
        with torch.no_grad():
            out = model(images[None, frames], camera[None, frames])
        actions.append(out.action_logits[0].softmax(-1))
        for place, frame in enumerate(frames):
            assert frame not in joints
            joints[frame], objects[frame] = out.joints[0, place], out.object_logits[0, place].softmax(-1)
    order = range(num_frames)
    return torch.stack([joints[i] for i in order]), torch.stack([objects[i] for i in order]), torch.stack(actions)


@pytest.mark.parametrize('num_frames', [1, 2, 3, 15, 16, 17, 32, 41])
def test_videos_of_any_length(num_frames):
    """Longer than a clip, shorter than a window, beside a longer one in its batch: as the clips by hand."""
    model, batch = build().eval(), make_batch(frames=41)
    batch.frame_valid[1, num_frames:] = False
    encoded = []
    encode = model.encode
    model.encode = lambda images: encoded.append(images.shape[1]) or encode(images)
    prediction = model.predict(batch).validate()
    assert sum(encoded) == 41 + num_frames
    model.encode = encode
    for b, length in ((0, 41), (1, num_frames)):
        joints, objects, actions = by_hand(model, batch, b, length)
        torch.testing.assert_close(prediction.joints_3d[b, :length], joints, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(prediction.object_scores[b, :length], objects, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(prediction.action_scores[b], actions.mean(0), atol=1e-5, rtol=1e-4)
        assert prediction.joints_valid[b].all(-1).all(-1).tolist() == [True] * length + [False] * (41 - length)


def test_long_videos_are_encoded_in_portions():
    model, batch = build(num_frames=16).eval(), make_batch(clips=1, frames=70)
    portions = []
    encode = model.encode
    model.encode = lambda images: portions.append(images.shape[1]) or encode(images)
    whole = model.predict(batch)
    assert portions == [32, 32, 6]
    model.encode = lambda images: torch.cat([encode(images[:, [i]]) for i in range(images.shape[1])], 1)
    torch.testing.assert_close(model.predict(batch).joints_3d, whole.joints_3d, atol=1e-5, rtol=1e-4)


def test_a_frame_missing_in_the_middle_of_a_video():
    model, batch = build().eval(), make_batch(clips=1, frames=20)
    batch.frame_valid[:, 7] = False
    first = model.predict(batch)
    batch.images[:, 7] = 0
    second = model.predict(batch)
    assert first.hand_valid[0].all(-1).logical_not().nonzero().tolist() == [[7]]
    kept = batch.frame_valid
    torch.testing.assert_close(first.joints_3d[kept], second.joints_3d[kept])
    torch.testing.assert_close(first.action_scores, second.action_scores)


def test_clips_without_a_valid_frame_have_no_say():
    model, batch = build().eval(), make_batch(clips=1, frames=48)
    batch.frame_valid[:, 16:32] = False
    assert len(model._clips(batch.frame_valid[0])[0]) == 4
    assert len(interleaved_clips(48, 8, 2)[0]) == 6
    batch.frame_valid[:] = False
    with pytest.raises(SequenceError, match='without a valid frame'):
        model.predict(batch)


def test_votes(monkeypatch):
    """The sum of probabilities and the majority may disagree; the probabilities break a tie."""
    logits = torch.tensor([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.0, 0.9, 0.1]]).log()
    summing, majority = build(), build(vote='majority')

    def answer(model, rows):
        decoded = model.decode(torch.zeros(len(rows), 8, 32), torch.eye(3).expand(len(rows), 8, 3, 3))
        monkeypatch.setattr(model, 'decode', lambda *_: decoded._replace(action_logits=logits[rows]))
        clips = torch.arange(8).expand(len(rows), 8), torch.ones(len(rows), 8, dtype=torch.bool)
        monkeypatch.setattr(model, '_clips', lambda _: clips)
        return model.predict(make_batch(clips=1)).action_scores[0]

    torch.testing.assert_close(answer(summing, [0, 1, 2]), torch.tensor([1.0, 1.7, 0.3]) / 3)
    scores = answer(majority, [0, 1, 2])
    torch.testing.assert_close(scores, torch.tensor([2, 1, 0]) / 3, atol=1e-3, rtol=0)
    torch.testing.assert_close(scores.sum(), torch.tensor(1.0))
    monkeypatch.undo()
    assert answer(majority, [0, 2]).argmax() == 1


def test_predictions_need_no_labels():
    model, batch = build().eval(), make_batch()
    labels = ('hand_side', 'hand_valid', 'joints_3d', 'joints_valid', 'joints_2d', 'joints_2d_valid')
    labels = (*labels, 'object_label', 'action_label', 'frame_valid', 'extrinsics')
    bare = batch.replace(**dict.fromkeys(labels)).validate()
    prediction, known = model.predict(bare).validate(), model.predict(batch)
    assert prediction.hand_side.tolist() == [[0, 1]] * 2
    assert torch.equal(prediction.joints_3d, known.joints_3d)
    assert prediction.hand_valid.all()
    assert build(hands=1).eval().predict(bare).hand_side.tolist() == [[1]] * 2


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda b: b.replace(images=None), 'random clip 0.*HTT needs images and intrinsics'),
        (lambda b: b.replace(intrinsics=None), 'HTT needs images and intrinsics'),
        (lambda b: b.replace(images=b.images[..., :32]), 'built for images of 64 x 48, got 32 x 48; resize'),
        (lambda b: b.replace(images=b.images.expand(-1, -1, 2, -1, -1, -1)), 'sees one camera, got 2'),
        (lambda b: b.replace(hand_side=b.hand_side[:, 1:]), "built for 2 hands, got 1 in 'hand_side'"),
        (lambda b: b.replace(joints_3d=b.joints_3d[:, :, 1:]), "built for 2 hands, got 1 in 'joints_3d'"),
    ],
)
def test_batches_that_do_not_fit(change, sentence):
    model, batch = build(), change(make_batch())
    for use in (lambda: model.loss(batch, TrainingStep()), lambda: model.predict(batch)):
        with pytest.raises(SequenceError, match=sentence):
            use()


def test_impossible_options():
    for options, sentence in [
        (dict(vote='mean'), "vote must be one of .*'sum', 'majority'.*'mean'"),
        (dict(frame_step=0), 'at least 1, got 8 and 0'),
        (dict(tokenizer=None), 'needs a tokenizer'),
    ]:
        with pytest.raises(ValueError, match=sentence):
            build(**options)
    with pytest.raises(ValueError, match='without a loss'):
        build(loss=None).loss(make_batch(), TrainingStep())


def test_half_precision_keeps_positions_and_probabilities():
    model, batch = build().eval(), make_batch()
    plain = model.predict(batch)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(batch, TrainingStep())
        rough = model.predict(batch).validate()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    assert (rough.joints_3d - plain.joints_3d).norm(dim=-1).max() < 0.02
    torch.testing.assert_close(rough.action_scores.sum(1), torch.ones(2))


def test_recomputing_activations_changes_nothing():
    """Neither gradients nor the statistics of batch norm; most of what is kept for the backward pass is not."""
    found = []
    for recompute in (False, True):
        model, count = build(), []
        if recompute:
            checkpoint_activations(model)
        with torch.autograd.graph.saved_tensors_hooks(lambda x, c=count: c.append(x.nbytes) or x, lambda x: x):
            loss = summed(model.train().loss(make_batch(), TrainingStep()))
        loss.backward()
        found.append((sum(count), {n: p.grad for n, p in model.named_parameters()} | dict(model.named_buffers())))
    (plain_bytes, plain), (bytes_left, recomputed) = found
    assert all(torch.equal(recomputed[name], value) for name, value in plain.items())
    assert bytes_left < 0.35 * plain_bytes


def test_backbone_with_pretrained_weights_keeps_its_statistics(tmp_path):
    path = tmp_path / 'resnet.pth'
    torch.save(build().backbone.resnet.state_dict(), path)
    backbone = dict(type='PooledResNet', depth=18, base_channels=4, norm_eval=True, pretrained=str(path))
    model = build(backbone=backbone)
    model.init_weights()
    model.train()
    before = {name: value.clone() for name, value in model.backbone.named_buffers()}
    summed(model.loss(make_batch(), TrainingStep())).backward()
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.named_buffers())
    assert model.backbone.resnet.bn1.weight.grad.any()  # its factors learn, as published
    with pytest.raises(ValueError, match='random weights'):
        build(backbone={**backbone, 'pretrained': None})


def test_it_learns_what_only_the_order_in_time_decides():
    """The same frames forwards and backwards are two actions."""
    batch = make_batch(clips=2, frames=8)
    for name in ('images', 'joints_3d', 'object_label'):
        value = getattr(batch, name)
        value[1] = value[0].flip(0)
    batch = batch.replace(action_label=torch.tensor([2, 5]))
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    first = None
    for _ in range(25):
        losses = model.train().loss(batch, TrainingStep())
        first = first or {name: value.item() for name, value in losses.items()}
        optimizer.zero_grad()
        summed(losses).backward()
        optimizer.step()
    assert losses['loss_action'] < 0.2
    assert losses['loss_object'] < 0.5 * first['loss_object']
    assert losses['loss_hand'] < 0.7 * first['loss_hand']


def test_it_is_registered():
    assert isinstance(MODELS.build({**model_config(), 'type': 'handpose.HTT'}), HTT)
