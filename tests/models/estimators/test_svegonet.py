"""SVEgoNet: crops against projections, targets against geometry, predictions of known networks, training, bad input."""

import math

import numpy as np
import pytest
import torch
from egocentric import HEIGHT, SMALL_HEADS, WIDTH, egocentric_batch, small_config

from handpose.geometry import project_points
from handpose.models import Joints25D, SVEgoNet, SVEgoNetOutput, TrainingStep
from handpose.models.estimators.svegonet_crops import crop_affines, crop_target, sample_crops
from handpose.registry import MODELS
from handpose.structures import HandSequence, SequenceError

pytest.importorskip('mmcv')


def build(head='distribution', **options):
    torch.manual_seed(0)
    return MODELS.build(small_config(head, **options))


def summed(losses):
    return torch.stack(list(losses.values())).sum()


def make_views(batch, angle=0.0, mirrored=False, scale=1.75, size=64):
    """One crop of each hand of each frame, and the joints (N, 2, J, 3) of both hands of its frame."""
    boxes, images, intrinsics = batch.boxes.flatten(0, 3), batch.images[:, :, 0], batch.intrinsics[:, :, 0]
    count, each = len(boxes), batch.boxes.shape[3]
    affines = crop_affines(boxes, scale, size, torch.full((count,), angle), torch.full((count,), mirrored))
    repeat = [x.flatten(0, 1).repeat_interleave(each, 0) for x in (images, intrinsics, batch.joints_3d)]
    return sample_crops(repeat[0], repeat[1], affines, size), repeat[2]


# What it sees, and what is true of it


@pytest.mark.parametrize(('angle', 'mirrored'), [(0.0, False), (0.4, False), (-0.9, True)])
def test_crops_show_what_their_cameras_say(angle, mirrored):
    """An image whose red and green are the pixel's own coordinates: a joint's place in the crop has its place there."""
    batch = egocentric_batch()
    u = torch.arange(WIDTH).expand(HEIGHT, WIDTH)
    v = torch.arange(HEIGHT)[:, None].expand(HEIGHT, WIDTH)
    batch = batch.replace(images=torch.stack([u, v, v]).expand(2, 2, 1, 3, HEIGHT, WIDTH).contiguous())
    view, joints = make_views(batch, angle, mirrored)
    own = torch.arange(8) % 2
    joints = joints[torch.arange(8), own]  # (N, J, 3)
    uv = project_points(joints, view.intrinsics)
    grid = (2 * (uv + 0.5) / 64 - 1)[:, None]
    found = torch.nn.functional.grid_sample(view.images, grid, align_corners=False)[:, :2, 0].mT
    expected = batch.joints_2d.flatten(0, 3)
    inner = ((expected > 3) & (expected < torch.tensor([WIDTH - 4, HEIGHT - 4]))).all(-1)
    inner &= ((uv > 1) & (uv < 62)).all(-1)
    assert inner.float().mean() > 0.6
    torch.testing.assert_close(found[inner], expected[inner], atol=0.02, rtol=0)
    assert (view.images >= 0).all() and (torch.linalg.det(view.intrinsics) < 0).all() == mirrored


def test_outside_of_the_image_is_black():
    images, boxes = torch.full((1, 3, HEIGHT, WIDTH), 200.0), torch.tensor([[-10.0, 20, 10, 40]])
    affines = crop_affines(boxes, 1.0, 20, torch.zeros(1), torch.zeros(1, dtype=torch.bool))
    crop = sample_crops(images, torch.eye(3)[None], affines, 20).images[0, 0]
    assert not crop[:, :9].any() and (crop[:, 11:] == 200).all()


@pytest.mark.parametrize(('angle', 'mirrored'), [(0.0, False), (0.7, True)])
def test_targets_are_lifted_to_the_joints(angle, mirrored):
    """What a perfect network says becomes the true joints, whatever the crop."""
    model, batch = build(crop_size=64), egocentric_batch(between=0.05)
    view, joints = make_views(batch, angle, mirrored, size=64)
    own = torch.arange(8) % 2
    valid = torch.ones(joints.shape[:3], dtype=torch.bool)
    target = crop_target(joints, valid, own, view.intrinsics, 64, 0.4, other_hand=True)
    lifted = model.lift(target.positions, target.wrist_depth, view.intrinsics)
    torch.testing.assert_close(lifted, joints, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.lift(target.positions[:, 1], joints[:, 1, 0, 2], view.intrinsics), joints[:, 1])
    torch.testing.assert_close(target.positions[:, :, 0, 2], torch.full((8, 2), 0.5))
    assert torch.equal(target.valid.any(-1).any(-1), target.shown)


def test_which_hands_a_crop_shows():
    """Near hands are both in each crop, far ones are not; the crop's own hand always is."""
    for between, expected in ((0.0, True), (0.5, False)):
        batch = egocentric_batch(between=between)
        view, joints = make_views(batch, scale=3.0)
        own = torch.arange(8) % 2
        valid = torch.ones(joints.shape[:3], dtype=torch.bool)
        target = crop_target(joints, valid, own, view.intrinsics, 64, 0.4, other_hand=True)
        assert target.shown[torch.arange(8), own].all()
        assert (target.shown[torch.arange(8), 1 - own] == expected).all()
        alone = crop_target(joints, valid, own, view.intrinsics, 64, 0.4, other_hand=False)
        assert torch.equal(alone.shown, torch.nn.functional.one_hot(own, 2).bool())
        assert not alone.valid[torch.arange(8), 1 - own].any()


def test_a_share_of_the_other_hand():
    """It counts from half of the joints that are annotated."""
    batch = egocentric_batch(clips=1, frames=1, between=0.3)
    view, joints = make_views(batch)
    valid = torch.ones(joints.shape[:3], dtype=torch.bool)
    joints[0, 1, :10] = joints[0, 0, :10]  # 10 of 21 joints of the right hand are in the left one's crop
    shown = crop_target(joints, valid, torch.tensor([0, 1]), view.intrinsics, 64, 0.4, True).shown
    assert shown.tolist() == [[True, False], [False, True]]
    valid[0, 1, 20] = False  # 10 of 20
    shown = crop_target(joints, valid, torch.tensor([0, 1]), view.intrinsics, 64, 0.4, True).shown
    assert shown.tolist() == [[True, True], [False, True]]


def test_a_hand_without_its_wrist_has_places_and_no_depths():
    batch = egocentric_batch(clips=1, frames=1)
    view, joints = make_views(batch)
    valid = torch.ones(joints.shape[:3], dtype=torch.bool)
    valid[0, 0, 0] = valid[1, 1, 5] = False
    joints[0, 0, 0] = torch.nan
    joints[1, 1, 7, 2] = -0.2  # behind the camera
    target = crop_target(joints, valid, torch.tensor([0, 1]), view.intrinsics, 64, 0.4, False)
    assert target.valid[0, 0, 1:, :2].all() and not target.valid[0, 0, :, 2].any() and not target.valid[0, 0, 0].any()
    assert target.wrist_valid.tolist() == [[False, False], [False, True]]
    assert not target.valid[1, 1, [5, 7]].any() and target.valid[1, 1, :5].all()
    assert all(value.isfinite().all() for value in target)


# Predictions


def knows(model, monkeypatch, batch, wrist_error=0.0):
    """Makes the network know the truth of the crops that it is shown, by their cameras."""
    joints = batch.joints_3d.flatten(0, 1)
    seen = []

    def forward(crops, intrinsics):
        seen.append(crops)
        cases = []
        for camera in intrinsics:  # that of a crop of the frame and hand whose box it is
            for hands in joints:
                valid = torch.ones(1, 2, 21, dtype=torch.bool)
                both = torch.zeros(1, 2, 21, 3)
                both[0, 2 - len(hands) :] = hands
                target = crop_target(both, valid, torch.tensor([1]), camera[None], model.crop_size, 0.4, True)
                for hand in range(2 - len(hands), 2):
                    places = target.positions[0, hand, :, :2]
                    if torch.allclose(places.amin(0) + places.amax(0), torch.ones(2), atol=1e-3):  # in its centre
                        cases.append((target, torch.linalg.det(camera) < 0))
        assert len(cases) == len(crops)
        positions = torch.cat([t.positions.flip(1) if mirrored else t.positions for t, mirrored in cases])
        depth = torch.cat([t.wrist_depth.flip(1) if mirrored else t.wrist_depth for t, mirrored in cases])
        logits = torch.tensor([[0.0, 2.0, -1.0]]).expand(len(crops), 3)
        return SVEgoNetOutput(Joints25D(positions, ()), logits, depth + wrist_error)

    monkeypatch.setattr(model, 'forward', forward)
    return seen


@pytest.mark.parametrize('hands', [1, 2])
@pytest.mark.parametrize('mirror', [False, True])
def test_predictions_of_a_perfect_network(hands, mirror, monkeypatch):
    model, batch = build(mirror_left_hands=mirror).eval(), egocentric_batch(hands=hands)
    seen = knows(model, monkeypatch, batch)
    prediction = model.predict(batch).validate()
    torch.testing.assert_close(prediction.joints_3d, batch.joints_3d, atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.joints_2d, batch.joints_2d, atol=1e-2, rtol=0)
    assert prediction.frame == 'camera' and torch.equal(prediction.boxes, batch.boxes)
    assert prediction.hand_valid.all() and len(seen[0]) == 4 * hands
    left, right, both = torch.tensor([0.0, 2.0, -1.0]).softmax(0)
    own = [left + both, right + both]
    expected = torch.tensor([own[1] if mirror else own[0], own[1]])[2 - hands :]
    torch.testing.assert_close(prediction.hand_scores, expected.expand(2, 2, hands))


def test_depths_of_wrists_that_are_given(monkeypatch):
    """With the network's depth, an error of it moves and scales the hand; with the given one it has no effect."""
    batch = egocentric_batch()
    model = build().eval()
    knows(model, monkeypatch, batch, wrist_error=0.1)
    wrong = model.predict(batch).joints_3d - batch.joints_3d
    torch.testing.assert_close(wrong[..., 2], torch.full((2, 2, 2, 21), 0.1), atol=1e-5, rtol=0)
    model = build(wrist_depth='input_joints', output_frame='wrist', wrist_depth_head=None).eval()
    knows(model, monkeypatch, batch, wrist_error=0.1)
    batch.input_valid[0, 1, 0] = False
    prediction = model.predict(batch).validate()
    assert prediction.frame == 'wrist' == model.gives.frame
    expected = batch.joints_3d - batch.joints_3d[..., :1, :]
    known = prediction.hand_valid
    torch.testing.assert_close(prediction.joints_3d[known], expected[known], atol=1e-5, rtol=0)
    assert known.sum() == 7 and not known[0, 1, 0] and not prediction.joints_3d[~known].any()
    assert set(model.reads.fields) == {
        'images', 'boxes', 'intrinsics', 'hand_side', 'input_joints_3d', 'input_valid'
    }  # fmt: skip


def test_hands_without_a_box():
    """Null boxes, boxes out of the image and padding: no prediction; the other crop may see the hand all the same."""
    model, batch = build().eval(), egocentric_batch()
    alone = model.predict(batch)
    batch.boxes[0, 0, 0, 0] = 0
    batch.boxes[0, 1] = torch.tensor([-60.0, 5, -20, 40])
    batch.frame_valid[1, 1] = False
    prediction = model.predict(batch).validate()
    assert prediction.hand_valid.tolist() == [[[False, True], [False, False]], [[True, True], [False, False]]]
    assert not prediction.joints_3d[~prediction.hand_valid].any() and not prediction.hand_scores[0, 1].any()
    torch.testing.assert_close(prediction.joints_3d[0, 0, 1], alone.joints_3d[0, 0, 1], atol=1e-6, rtol=1e-5)
    assert 0 < prediction.hand_scores[0, 0, 0] < 1 and prediction.hand_scores[0, 0, 0] != alone.hand_scores[0, 0, 0]
    nothing = model.predict(batch.replace(boxes=torch.zeros_like(batch.boxes))).validate()
    assert not nothing.hand_valid.any() and not nothing.hand_scores.any()


def test_long_clips_are_predicted_in_parts():
    model, batch = build().eval(), egocentric_batch(clips=2, frames=20)
    whole = model.predict(batch)
    for b, clip in enumerate(batch.unstack()):
        alone = model.predict(HandSequence.stack([clip])).joints_3d[0]
        torch.testing.assert_close(whole.joints_3d[b], alone, atol=1e-5, rtol=1e-5)


def test_a_mirrored_scene_gives_mirrored_hands():
    """A network that only sees right hands says the same of a left hand as of the right hand in the mirror."""
    model, batch = build(mirror_left_hands=True).eval(), egocentric_batch()
    mirror = torch.tensor([-1.0, 1, 1])
    intrinsics = batch.intrinsics.clone()
    intrinsics[..., 0, 2] = WIDTH - 1 - intrinsics[..., 0, 2]
    boxes = batch.boxes.flip(3)
    flipped = torch.stack([WIDTH - 1 - boxes[..., 2], boxes[..., 1], WIDTH - 1 - boxes[..., 0], boxes[..., 3]], -1)
    other = batch.replace(images=batch.images.flip(-1), intrinsics=intrinsics, boxes=flipped)
    found, mirrored = model.predict(batch), model.predict(other)
    torch.testing.assert_close(mirrored.joints_3d.flip(2) * mirror, found.joints_3d, atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored.hand_scores.flip(2), found.hand_scores)
    plain = build().eval()
    assert (plain.predict(other).joints_3d.flip(2) * mirror - plain.predict(batch).joints_3d).abs().max() > 1e-3


# Training


@pytest.mark.parametrize('head', SMALL_HEADS)
@pytest.mark.parametrize('options', [{}, dict(mirror_left_hands=True, box_noise=0.1, max_rotation=0.5)])
def test_every_parameter_learns(head, options):
    model, batch = build(head, **options), egocentric_batch(between=0.03)
    losses = model.loss(batch, TrainingStep())
    assert tuple(losses) == model.loss_function.names(True)
    summed(losses).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_loss_is_that_of_the_crops():
    """The crops of both hands, with the noise and the rotation of the step, compared with their targets."""
    model, batch = build(max_rotation=1.0).eval(), egocentric_batch()
    first, again, other = (model.loss(batch, TrainingStep(i)) for i in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first['loss_joints'], other['loss_joints'])
    model = build().eval()
    view, joints = make_views(batch, size=32)
    own = torch.arange(8) % 2
    valid = torch.ones(joints.shape[:3], dtype=torch.bool)
    target = crop_target(joints, valid, own, view.intrinsics, 32, 0.4, True)
    expected = model.loss_function(model(view.images, view.intrinsics), target, TrainingStep())
    for name, value in model.loss(batch, TrainingStep()).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    ratio = model(view.images, view.intrinsics).wrist_depth / target.wrist_depth
    torch.testing.assert_close(expected['loss_wrist_depth'], ratio[target.wrist_valid].log().abs().mean())


def test_hands_without_labels_are_left_out():
    model, batch = build().eval(), egocentric_batch(between=0.4)
    expected = model.loss(batch, TrainingStep())
    batch.hand_valid[0, 0, 0] = False
    batch.joints_valid[0, 0, 0] = False
    batch.joints_3d[0, 0, 0] = torch.nan
    batch.boxes[0, 0, 0, 0] = torch.nan
    batch.joints_valid[0, 1, 1, 9:] = False  # 9 joints are too few
    batch.frame_valid[1, 1] = False
    fewer = model.loss(batch, TrainingStep())
    kept = batch.joints_valid & batch.hand_valid[..., None] & batch.frame_valid[..., None, None]
    assert all(value.isfinite() for value in fewer.values()) and kept.all(-1).sum() == 4
    assert not torch.equal(fewer['loss_joints'], expected['loss_joints'])
    for changed in ({'boxes': torch.zeros_like(batch.boxes)}, {'joints_valid': torch.zeros_like(batch.joints_valid)}):
        model.train().zero_grad()
        nothing = model.loss(batch.replace(**changed), TrainingStep())
        assert tuple(nothing) == tuple(fewer) and all(value == 0 for value in nothing.values())
        summed(nothing).backward()
        assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_one_hand_and_two_sigmoids():
    identity = dict(type='HandIdentityHead', in_channels=8, hidden_channels=6, classes='independent')
    model, batch = build(identity_head=identity, other_hand=False), egocentric_batch(hands=1)
    summed(model.loss(batch, TrainingStep())).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    left = batch.replace(hand_side=torch.zeros_like(batch.hand_side))
    model.eval()
    first, second = model.predict(batch), model.predict(left)
    assert not torch.equal(first.joints_3d, second.joints_3d)  # those of the left hand
    assert second.hand_side.tolist() == [[0], [0]]


@pytest.mark.parametrize('head', ['distribution', 'soft_argmax'])
def test_it_learns_where_the_joints_are(head):
    model, batch = build(head, box_noise=0.02), egocentric_batch(clips=2, frames=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    errors = []
    for i in range(30):
        losses = model.train().loss(batch, TrainingStep(i))
        optimizer.zero_grad()
        summed(losses).backward()
        optimizer.step()
        errors.append(summed(losses).item())
    assert np.mean(errors[-4:]) < 0.8 * np.mean(errors[:4])
    assert losses['loss_wrist_depth'] < 0.2


def test_half_precision_keeps_positions():
    model, batch = build().eval(), egocentric_batch()
    plain = model.predict(batch)
    with torch.autocast('cpu', torch.bfloat16):
        losses, rough = model.loss(batch, TrainingStep()), model.predict(batch).validate()
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    assert (rough.joints_3d - plain.joints_3d).norm(dim=-1).max() < 0.1 and rough.joints_3d.dtype == torch.float32


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(wrist_depth='truth'), "wrist_depth must be one of 'network', 'input_joints', got 'truth'"),
        (dict(output_frame='world'), "output_frame must be one of 'camera', 'wrist', got 'world'"),
        (dict(wrist_depth_head=None), "wrist_depth='network' needs a wrist_depth_head"),
        (
            dict(head='argmax', loss=dict(type='SVEgoNetLoss', joint_loss=None, position_weight=1.0)),
            "have no gradient.*decode='soft_argmax'",
        ),
        (dict(loss=dict(type='SVEgoNetLoss', joint_loss=None)), 'nothing that trains joints'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_bad_batches():
    model, batch = build().eval(), egocentric_batch()
    with pytest.raises(SequenceError, match=r'dots clip 0.*SVEgoNet needs images, boxes; the pipeline must load them'):
        model.predict(batch.replace(boxes=None, images=None))
    two = {name: getattr(batch, name).expand(-1, -1, 2, *getattr(batch, name).shape[3:]) for name in (
        'images', 'boxes', 'intrinsics')}  # fmt: skip
    with pytest.raises(SequenceError, match='SVEgoNet sees one camera, got 2; choose one'):
        model.predict(batch.replace(**two))
    with pytest.raises(SequenceError, match="learns joints in the 'camera' frame, got 'world'"):
        model.loss(batch.replace(frame='world'), TrainingStep())
    with pytest.raises(SequenceError, match='SVEgoNet needs input_joints_3d'):
        build(wrist_depth='input_joints').predict(batch.replace(input_joints_3d=None))
    with pytest.raises(ValueError, match='built without a loss'):
        build(loss=None).loss(batch, TrainingStep())
    with pytest.raises(ValueError, match='SVEgoNet is deterministic'):
        model.predict(batch, num_samples=3)


def test_it_is_registered():
    assert isinstance(MODELS.build({**small_config(), 'type': 'handpose.SVEgoNet'}), SVEgoNet)
    assert math.isclose(build().depth_range, 0.4)
