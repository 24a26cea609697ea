"""The image estimator F: its loss against formulas, its rows of features, tables of text features, bad input."""

import numpy as np
import pytest
import torch
from action_clips import OBJECTS, frame_config, make_batch, summed

from handpose.models import FrameHandObject, FrameHandObjectLoss, TrainingStep
from handpose.models.estimators.action_targets import action_target
from handpose.registry import MODELS
from handpose.structures import SequenceError
from handpose.structures.text_features import TextFeatures, TextFeaturesError

pytest.importorskip('mmcv')
NAMES = frame_config()['object_names']


def build(**options):
    torch.manual_seed(0)
    return MODELS.build(frame_config(**options))


def random_output(model, batch, seed=3):
    """An output (B, T, ...) of random rows of features."""
    draw = torch.Generator().manual_seed(seed)
    size = 32 + 63 * model.pose_head.num_hands + 512
    rows = torch.randn(*batch.frame_valid.shape, size, generator=draw)
    return model.decode(rows, batch.intrinsics[:, :, 0])


def losses_of(output, batch, **options):
    table = torch.from_numpy(TextFeatures.compositional(NAMES).features)
    return FrameHandObjectLoss(**options)(output, action_target(batch, OBJECTS, None), table, TrainingStep())


def test_size_of_the_paper():
    """ResNet-18 without its classifier, and the heads."""
    sizes = dict(pose_head=dict(type='Pose25DHead'), object_head=dict(type='MLP', in_channels=512, channels=(512, 512)))
    model = build(backbone=dict(type='PooledResNet', depth=18), **sizes)
    assert sum(p.numel() for p in model.backbone.parameters()) == 11_176_512
    assert sum(p.numel() for p in model.object_head.parameters()) == 2 * (512 * 512 + 512)
    assert sum(p.numel() for p in model.pose_head.parameters()) == 2 * (512 * 512 + 512) + 512 * 126 + 126


def test_loss_against_formulas():
    """Joints as HTT's Eq. 2, the object as G-HTT's Eq. 4 and 5: each frame by itself, in float64 with numpy."""
    batch, model = make_batch(), build()
    batch.hand_valid[0, 2, 1] = False
    batch.joints_valid[1, 3, 0, 7] = False
    batch.frame_valid[1, 6:] = False
    batch.object_label[0, 1] = -1
    output = random_output(model, batch)
    found = losses_of(output, batch, hand_weight=0.3, depth_weight=50.0, contrast_weight=2.0, feature_weight=0.1)
    table = TextFeatures.compositional(NAMES).features.astype(float)
    hands, contrasts, distances = [], [], []
    for b, t in np.argwhere(batch.frame_valid.numpy()):
        errors = []
        for hand, joint in np.argwhere((batch.joints_valid[b, t] & batch.hand_valid[b, t, :, None]).numpy()):
            x, y, z = batch.joints_3d[b, t, hand, joint].double().tolist()
            k = batch.intrinsics[b, t, 0].double()
            u, v = output.uv[b, t, hand, joint].double().tolist()
            pixels = abs(u - float(k[0, 0] * x / z + k[0, 2])) + abs(v - float(k[1, 1] * y / z + k[1, 2]))
            errors.append(pixels + 50 * abs(float(output.depth[b, t, hand, joint]) - z))
        hands.append(np.mean(errors))
        label = int(batch.object_label[b, t])
        if label < 0:
            continue
        feature = output.object_features[b, t].double().numpy()
        cosines = table @ feature / np.linalg.norm(feature) / np.linalg.norm(table, axis=1)
        contrasts.append(np.log(np.exp(cosines / 0.07).sum()) - cosines[label] / 0.07)
        distances.append(np.abs(feature - table[label]).sum())
    expected = dict(
        loss_hand=0.3 * np.mean(hands),
        loss_object=2 * np.mean(contrasts),
        loss_object_feature=0.1 * np.mean(distances),
    )
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-4)


def test_without_labels_the_loss_is_zero_and_in_the_graph():
    batch, model = make_batch(), build()
    labels = ('joints_3d', 'joints_valid', 'joints_2d', 'joints_2d_valid', 'object_label', 'action_label')
    losses = model.loss(batch.replace(**dict.fromkeys(labels)), TrainingStep())
    assert all(loss.item() == 0 for loss in losses.values())
    summed(losses).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize('hands', [1, 2])
def test_every_parameter_learns(hands):
    model, batch = build(hands=hands), make_batch(hands=hands)
    summed(model.loss(batch, TrainingStep())).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
    assert model.text_features.grad is None  # a fixed table


def test_it_learns_joints_and_objects():
    model, batch = build(), make_batch(clips=2, frames=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    first = None
    for _ in range(40):
        losses = model.train().loss(batch, TrainingStep())
        first = first or {name: value.item() for name, value in losses.items()}
        optimizer.zero_grad()
        summed(losses).backward()
        optimizer.step()
    assert losses['loss_object'] < 0.2 * first['loss_object'] and losses['loss_hand'] < 0.8 * first['loss_hand']
    output = model.decode(model.encode(batch.images.flatten(0, 2)), batch.intrinsics.flatten(0, 2))
    assert torch.equal(output.object_logits.argmax(-1), batch.object_label.flatten())


def test_padding_changes_no_frame_and_has_no_object():
    model, batch = build(), make_batch(frames=6)
    batch.frame_valid[1, 4:] = False
    changed = batch.replace(images=batch.images.clone())
    changed.images[1, 4:] = 0
    for mode in (True, False):  # also in the statistics of batch norm
        first, second = (model.train(mode).loss(clips, TrainingStep()) for clips in (batch, changed))
        assert all(torch.equal(first[name], second[name]) for name in first)
    prediction = model.predict(batch).validate()
    assert prediction.object_features.shape == (2, 6, 512) and not prediction.object_features[1, 4:].any()
    assert prediction.hand_valid[1].all(-1).tolist() == [True] * 4 + [False] * 2
    torch.testing.assert_close(prediction.object_scores.sum(-1), torch.ones(2, 6))


def test_rows_of_features_are_all_that_it_says():
    """The image feature, the hands without the camera, the object's feature: another camera needs no image."""
    model, batch = build().eval(), make_batch(clips=1)
    images, camera = batch.images[0, :, 0], batch.intrinsics[0, :, 0]
    rows = model.encode_frames(images).features
    assert rows.shape == (8, 32 + 126 + 512)
    with torch.no_grad():
        features = model.backbone(model.normalizer(images))
        torch.testing.assert_close(rows[:, :32], features)
        torch.testing.assert_close(rows[:, 32:158], model.pose_head(features, camera).raw.flatten(1))
        torch.testing.assert_close(rows[:, 158:], model.object_head(features))
        wider = camera.clone()
        wider[:, 0, 0] *= 2
        torch.testing.assert_close(model.decode(rows, wider).joints, model(images, wider).joints)


def test_objects_are_named_by_the_nearest_text_feature():
    """A feature that points where a text feature points, whatever its length."""
    model, batch = build(), make_batch()
    table = torch.from_numpy(TextFeatures.compositional(NAMES).features)
    rows = torch.cat([torch.zeros(5, 32 + 126), 3 * table], -1)
    logits = model.decode(rows, batch.intrinsics[0, :5, 0]).object_logits
    assert logits.argmax(-1).tolist() == [0, 1, 2, 3, 4]
    torch.testing.assert_close(logits.diagonal(), torch.full((5,), 1 / 0.07))


def test_a_table_of_text_features(tmp_path):
    """Training reads it; weights contain it, so that they need no file."""
    names = ['book', 'cup', *reversed(NAMES)]
    values = np.random.default_rng(0).standard_normal((len(names) - 1, 512))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    names.remove('book')
    TextFeatures(tuple(names), values.astype(np.float32), 'a test', 'clip').save(tmp_path / 'table.npz')
    model = build(text_features=str(tmp_path / 'table.npz'))
    with pytest.raises(ValueError, match=r'the text features of .*table\.npz are not read yet: call init_weights'):
        model.loss(make_batch(), TrainingStep())
    model.init_weights()
    np.testing.assert_array_equal(model.text_features, values[[names.index(n) for n in NAMES]].astype(np.float32))
    (tmp_path / 'table.npz').unlink()
    other = build(text_features=str(tmp_path / 'table.npz'))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.text_features, model.text_features)
    assert other.loss(make_batch(), TrainingStep())
    with pytest.raises(TextFeaturesError, match='there is no table of text features'):
        other.init_weights()


def test_a_table_without_an_object(tmp_path):
    TextFeatures.compositional(['milk', 'cook book']).save(tmp_path / 'table.npz')
    with pytest.raises(TextFeaturesError, match="has no 'book'"):
        build(text_features=tmp_path / 'table.npz').init_weights()


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda b: b.replace(images=None), 'random clip 0.*FrameHandObject needs images and intrinsics'),
        (lambda b: b.replace(images=b.images[..., :32]), 'built for images of 64 x 48, got 32 x 48; resize'),
        (lambda b: b.replace(images=b.images.expand(-1, -1, 2, -1, -1, -1)), 'FrameHandObject sees one camera, got 2'),
        (lambda b: b.replace(joints_3d=b.joints_3d[:, :, 1:]), "built for 2 hands, got 1 in 'joints_3d'"),
    ],
)
def test_batches_that_do_not_fit(change, sentence):
    model, batch = build(), change(make_batch())
    for use in (lambda: model.loss(batch, TrainingStep()), lambda: model.predict(batch)):
        with pytest.raises(SequenceError, match=sentence):
            use()


def test_labels_and_options_that_do_not_fit():
    batch = make_batch()
    batch.object_label[1, 0] = 5
    with pytest.raises(SequenceError, match=r'clip 1.*has the object label 5, but the network knows 5 objects, 0 to 4'):
        build().loss(batch, TrainingStep())
    with pytest.raises(ValueError, match='without a loss'):
        build(loss=None).loss(make_batch(), TrainingStep())
    with pytest.raises(ValueError, match='tau must be above 0'):
        build(tau=0.0)
    with pytest.raises(SequenceError, match="joints are learned in the 'camera' frame"):
        build().loss(make_batch().replace(frame='world'), TrainingStep())


def test_half_precision_keeps_positions():
    model, batch = build().eval(), make_batch()
    plain = model.predict(batch)
    with torch.autocast('cpu', torch.bfloat16):
        losses, rough = model.loss(batch, TrainingStep()), model.predict(batch).validate()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    assert (rough.joints_3d - plain.joints_3d).norm(dim=-1).max() < 0.02
    assert rough.object_features.dtype == torch.float32


def test_it_is_registered():
    assert isinstance(MODELS.build({**frame_config(), 'type': 'handpose.FrameHandObject'}), FrameHandObject)
