"""MVExoNet: crops and cameras against projections, fusion of views, rounds, training, bad input."""

import math

import numpy as np
import pytest
import torch
from multi_view import HEIGHT, WIDTH, multi_view_batch, small_config

from handpose.geometry import cube_indices, project_points, scale_boxes, transform_points
from handpose.models import JointTarget, MVExoNetLoss, MVExoNetOutput, TrainingStep
from handpose.models.estimators.mvexonet_loss import HandCubes
from handpose.models.estimators.mvexonet_views import (
    ViewedFrames,
    box_centres_in_space,
    boxes_of_joints,
    boxes_to_crop,
    boxes_with_area,
    crop_hands,
    jitter_boxes,
    random_rotations,
)
from handpose.registry import MODELS
from handpose.structures import SequenceError

MCP = 9


def build(**options):
    torch.manual_seed(0)
    return MODELS.build(small_config(**options))


def frames_of(batch):
    return ViewedFrames(*(x.flatten(0, 1) for x in (batch.images, batch.intrinsics, batch.extrinsics)))


def summed(losses):
    return torch.stack(list(losses.values())).sum()


# What it sees of the views


def test_squares_stay_in_the_image():
    boxes = torch.tensor(
        [[10.0, 20, 30, 30], [-20, 5, 15, 25], [80, 70, 200, 90], [-50, -50, 200, 200], [40, 30, 40, 30]]
    )
    found = boxes_to_crop(boxes, 1.5, (WIDTH, HEIGHT))
    sides = found[:, 2:] - found[:, :2]
    assert (found[:, :2] >= -0.5).all() and (found[:, 2:] <= torch.tensor([WIDTH, HEIGHT]) - 0.5).all()
    torch.testing.assert_close(found[0], torch.tensor([5.0, 10, 35, 40]))
    # The second one is 15.5 x 20 inside the image; its square of 30 pixels is moved to the right.
    torch.testing.assert_close(found[1], torch.tensor([-0.5, 0, 29.5, 30]))
    torch.testing.assert_close(found[3], torch.tensor([-0.5, -0.5, WIDTH - 0.5, HEIGHT - 0.5]))
    assert (sides[[0, 1, 2]][:, 0] == sides[[0, 1, 2]][:, 1]).all() and (sides >= 1).all()
    assert boxes_with_area(boxes, (WIDTH, HEIGHT)).tolist() == [True, True, True, True, False]
    assert not boxes_with_area(torch.tensor([-30.0, 2, -5, 40]), (WIDTH, HEIGHT))


def test_crops_show_what_their_cameras_say():
    """An image whose red and green are the pixel's own coordinates: a joint's place in the crop has its place there."""
    batch = multi_view_batch(clips=1, cameras=3)
    u = torch.arange(WIDTH).expand(HEIGHT, WIDTH)
    v = torch.arange(HEIGHT)[:, None].expand(HEIGHT, WIDTH)
    ramp = torch.stack([u, v, v])
    batch = batch.replace(images=ramp.expand(1, 2, 3, 3, HEIGHT, WIDTH).contiguous())
    frames, hands = frames_of(batch), torch.tensor([[True, False], [True, True]])
    crops = crop_hands(frames, batch.boxes[0], hands, 1.3, 64)
    assert crops.images.shape == (3, 3, 3, 64, 64) and crops.projections.shape == (3, 3, 3, 4) and crops.seen.all()
    joints = batch.joints_3d[0][hands].double()  # (N, J, 3)
    homogeneous = torch.cat([joints, torch.ones(3, 21, 1)], -1)
    projected = torch.einsum('nkij,npj->nkpi', crops.projections.double(), homogeneous)
    uv = projected[..., :2] / projected[..., 2:]
    assert ((uv > -0.5) & (uv < 63.5)).all()  # boxes fit the joints
    grid = 2 * (uv + 0.5) / 64 - 1
    found = torch.nn.functional.grid_sample(
        crops.images.flatten(0, 1).double(), grid.flatten(0, 1)[:, None], align_corners=False
    )
    found = found[:, :2, 0].mT.unflatten(0, (3, 3))
    expected = batch.joints_2d[0].transpose(1, 2)[hands].double()
    inner = ((uv > 1) & (uv < 62)).all(-1)
    assert inner.float().mean() > 0.9
    torch.testing.assert_close(found[inner], expected[inner], atol=0.02, rtol=0)


def test_boxes_of_projected_joints():
    batch = multi_view_batch(clips=1, frames=1, cameras=3)
    frames = frames_of(batch)
    torch.testing.assert_close(boxes_of_joints(frames, batch.joints_3d[0]), batch.boxes[0])
    # A hand behind the first camera, and out of the image of the second.
    away = batch.joints_3d[0].clone()
    back = torch.linalg.inv(frames.extrinsics[0, 0])
    away[0, 0] = transform_points(torch.tensor([[0.0, 0, -0.4]]), back)
    found = boxes_of_joints(frames, away)
    assert not found[0, 0, 0].any() and torch.equal(found[0, :, 1], batch.boxes[0, 0, :, 1])
    clipped = boxes_of_joints(frames._replace(images=frames.images[..., :50, :60]), batch.joints_3d[0])
    low, high = clipped[..., :2], clipped[..., 2:]
    assert (low >= -0.5).all() and (high[..., 0] <= 59.5).all() and (high[..., 1] <= 49.5).all()


def test_centres_of_boxes_in_space():
    """Boxes around the projections of one point; a view without a box has no say; one view is not enough."""
    batch = multi_view_batch(clips=1, frames=2, cameras=4)
    frames, points = frames_of(batch), batch.joints_3d[0, :, :, MCP]  # (F, H, 3)
    uv = project_points(points[:, None], frames.intrinsics, frames.extrinsics)  # (F, K, H, 2)
    boxes = torch.cat([uv - 4, uv + 4], -1)
    boxes[0, 2, 0] = 0
    boxes[1, :3, 1] = 0
    centres, known = box_centres_in_space(frames, boxes)
    assert known.tolist() == [[True, True], [True, False]]
    torch.testing.assert_close(centres[known], points[known], atol=1e-5, rtol=0)


def test_random_changes():
    draw = torch.Generator().manual_seed(0)
    rotations = random_rotations(2000, 0.5, draw).double()
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).double().expand(2000, 3, 3), atol=1e-5, rtol=0)
    angles = ((rotations.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2).clamp(-1, 1).acos()
    assert angles.max() <= 0.501 and angles.mean() == pytest.approx(0.25, abs=0.01)
    boxes = torch.tensor([10.0, 20, 50, 100]).expand(4000, 4)
    changed = jitter_boxes(boxes, 0.1, draw)
    centre, side = (changed[:, :2] + changed[:, 2:]) / 2, changed[:, 2:] - changed[:, :2]
    np.testing.assert_allclose(centre.std(0), [4.0, 8.0], rtol=0.05)
    np.testing.assert_allclose(centre.mean(0), [30.0, 60.0], atol=0.5)
    np.testing.assert_allclose((side / torch.tensor([40.0, 80])).log().std(0), [0.1, 0.1], rtol=0.05)
    assert torch.equal(jitter_boxes(boxes, 0.0, draw), boxes)


# The network


def test_size_of_the_paper():
    """EfficientNet-B0 and the V2V network of learnable triangulation, 64 voxels along an edge."""
    config = small_config(
        backbone=dict(type='EfficientNet', variant='b0'),
        volume_network=dict(type='V2VNet'),
        crop_size=256,
        resolution=64,
    )
    with torch.device('meta'):
        model = MODELS.build(config)
    reductions = (40 + 112 + 320) * 32 + 3 * 32
    assert sum(p.numel() for p in model.parameters()) == 3_595_388 + reductions + 11_939_925 == 15_550_513
    assert model.encode(torch.empty(8, 3, 256, 256, device='meta')).shape == (8, 32, 32, 32)
    assert model.volume_network(torch.empty(1, 32, 64, 64, 64, device='meta')).shape == (1, 21, 64, 64, 64)


def test_masked_views_have_no_part():
    model, batch = build().eval(), multi_view_batch(clips=1, frames=1)
    crops = crop_hands(frames_of(batch), batch.boxes[0], torch.ones(1, 2, dtype=torch.bool), 1.3, 32)
    centres, seen = batch.joints_3d[0, 0, :, MCP], torch.tensor([[True, True, True, False], [True, False, True, True]])
    with torch.no_grad():
        expected = model(crops.images, crops.projections, centres, None, seen)
        images = torch.where(seen[..., None, None, None], crops.images, torch.nan)
        found = model(images, crops.projections, centres, None, seen)
        assert torch.equal(found.joints, expected.joints)
        order = torch.tensor([2, 0, 3, 1])
        shuffled = model(images[:, order], crops.projections[:, order], centres, None, seen[:, order])
    torch.testing.assert_close(shuffled.joints, expected.joints, atol=1e-6, rtol=1e-5)
    assert not torch.equal(model(crops.images, crops.projections, centres).joints, expected.joints)


def test_the_world_may_be_moved():
    """The same cameras and cube in another world frame, cube turned along: the joints move with it."""
    model, batch = build().eval(), multi_view_batch(clips=1, frames=1)
    crops = crop_hands(frames_of(batch), batch.boxes[0], torch.ones(1, 2, dtype=torch.bool), 1.3, 32)
    centres = batch.joints_3d[0, 0, :, MCP]
    rotation = random_rotations(1, 2.0, torch.Generator().manual_seed(4))[0]
    moved = torch.eye(4)
    moved[:3, :3], moved[:3, 3] = rotation, torch.tensor([0.3, -0.2, 0.5])
    with torch.no_grad():
        joints = model(crops.images, crops.projections, centres).joints
        projections = crops.projections @ torch.linalg.inv(moved)
        turned = rotation.expand(2, 3, 3)
        found = model(crops.images, projections, transform_points(centres, moved), turned).joints
    torch.testing.assert_close(found, transform_points(joints, moved), atol=1e-4, rtol=0)


def test_left_hands_in_a_mirror():
    """A mirrored recording of a left hand, mirrored back, is what the network sees of the left hand itself."""
    model, batch = build(mirror_left_hands=True).eval(), multi_view_batch(clips=1, frames=1)
    crops = crop_hands(frames_of(batch), batch.boxes[0], torch.ones(1, 2, dtype=torch.bool), 1.3, 32)
    centres = batch.joints_3d[0, 0, :, MCP]
    mirror = torch.diag(torch.tensor([-1.0, 1, 1, 1]))
    flip_pixels = torch.tensor([[-1.0, 0, 31], [0, 1, 0], [0, 0, 1]])
    with torch.no_grad():
        mirrored = torch.tensor([True, True])
        found = model(crops.images, crops.projections, centres, mirrored=mirrored).joints
        flipped = model(crops.images.flip(-1), flip_pixels @ crops.projections @ mirror, centres * mirror.diag()[:3])
    torch.testing.assert_close(found, flipped.joints * mirror.diag()[:3], atol=1e-5, rtol=0)
    plain = build().eval()
    sides = batch.replace(hand_side=batch.hand_side)
    assert torch.equal(
        plain.predict(sides).joints_3d[:, :, 1], model.predict(sides).joints_3d[:, :, 1]
    ) and not torch.equal(plain.predict(sides).joints_3d[:, :, 0], model.predict(sides).joints_3d[:, :, 0])


# Rounds


def known_joints(model, monkeypatch, truth, error=0.0):
    """Makes the network know the truth relative to its middle MCP, which it finds but for `error` of the offset."""
    seen = []

    def run_part(name, first, *others):
        if name == 'encode':
            return (first.new_zeros(len(first), 1, 1, 1),)
        _, centres, view_valid, _ = others
        seen.append((centres.clone(), view_valid.clone()))
        root = truth[:, MCP]
        return (truth + error * (centres - root)[:, None],)

    monkeypatch.setattr(model, 'run_part', run_part)
    return seen


def test_rounds_take_boxes_and_centres_from_the_round_before(monkeypatch):
    """Each round is nearer: centre errors of 40, 10 and 2.5 mm; a view without a detection joins in round 2."""
    model, batch = build(), multi_view_batch(clips=1, frames=2)
    offset = torch.tensor([0.0, 0.0, 0.04])
    boxes = scale_boxes(batch.boxes, 1.4)
    boxes[0, 0, 1, 0] = 0
    batch = batch.replace(input_joints_3d=batch.joints_3d + offset, boxes=boxes)
    truth = batch.joints_3d[0].flatten(0, 1)
    seen = known_joints(model, monkeypatch, truth, error=0.25)
    rounds = model.predict_rounds(batch)
    assert len(rounds) == 3 and len(seen) == 3
    for i, (centres, views) in enumerate(seen):
        torch.testing.assert_close(centres - truth[:, MCP], offset.expand(4, 3) * 0.25**i, atol=1e-6, rtol=0)
        assert views.sum(1).tolist() == ([3, 4, 4, 4] if i == 0 else [4, 4, 4, 4])
    error = [float((r.joints_3d - batch.joints_3d).norm(dim=-1).max()) for r in rounds]
    np.testing.assert_allclose(error, [0.01, 0.0025, 0.000625], atol=1e-6)
    torch.testing.assert_close(rounds[0].boxes, boxes)
    expected = boxes_of_joints(frames_of(batch), rounds[1].joints_3d[0])
    torch.testing.assert_close(rounds[2].boxes[0], expected)
    last = model.predict(batch)
    assert torch.equal(last.joints_3d, rounds[2].joints_3d)
    torch.testing.assert_close(last.joints_2d, batch.joints_2d, atol=0.3, rtol=0)


def test_a_hand_that_leaves_the_views_keeps_its_boxes(monkeypatch):
    model, batch = build(), multi_view_batch(clips=1, frames=1)
    batch = batch.replace(boxes=scale_boxes(batch.boxes, 1.4))
    far = batch.joints_3d[0].flatten(0, 1).clone()
    far[0] += 5.0  # what the network says of the left hand is out of all images
    seen = known_joints(model, monkeypatch, far)
    rounds = model.predict_rounds(batch)
    start = batch.input_joints_3d[0, 0, :, MCP]
    for centres, views in seen:
        assert torch.equal(centres[0], start[0]) and views.all()
    assert torch.equal(rounds[2].boxes[0, 0, :, 0], batch.boxes[0, 0, :, 0])
    assert not torch.equal(rounds[2].boxes[0, 0, :, 1], batch.boxes[0, 0, :, 1])
    torch.testing.assert_close(seen[1][0][1], far[1, MCP])


def test_first_centre_from_boxes_needs_no_joints():
    model, batch = build(first_centre='boxes').eval(), multi_view_batch()
    bare = batch.replace(input_joints_3d=None, input_valid=None, joints_3d=None, joints_valid=None)
    prediction = model.predict(bare).validate()
    assert prediction.hand_valid.all() and prediction.joints_3d.isfinite().all()
    assert set(model.reads.fields) == {'images', 'boxes', 'intrinsics', 'extrinsics'}
    with pytest.raises(SequenceError, match='input_joints_3d'):
        build().predict(bare)


def test_hands_that_cannot_be_estimated_are_not_valid():
    """Without a first centre, with one view, in padding; alone or all of them."""
    model, batch = build().eval(), multi_view_batch()
    batch.input_valid[0, 0, 0] = False
    batch.boxes[0, 1, 1:, 1] = 0
    batch.frame_valid[1, 1] = False
    prediction = model.predict(batch).validate()
    expected = [[[False, True], [True, False]], [[True, True], [False, False]]]
    assert prediction.hand_valid.tolist() == expected
    assert not prediction.joints_3d[~prediction.hand_valid].any()
    assert not prediction.joints_2d_valid[0, 0, :, 0].any()
    alone = model.predict(multi_view_batch()).joints_3d
    torch.testing.assert_close(prediction.joints_3d[0, 0, 1], alone[0, 0, 1], atol=1e-6, rtol=1e-5)
    nothing = model.predict(batch.replace(boxes=torch.zeros_like(batch.boxes))).validate()
    assert not nothing.hand_valid.any() and len(model.predict_rounds(batch)) == 3


def test_one_camera():
    """With min_views=1 and a centre, a single view is enough: the paper's baseline of one camera."""
    batch = multi_view_batch(cameras=1)
    assert build(min_views=1).eval().predict(batch).validate().hand_valid.all()
    with pytest.raises(SequenceError, match='needs at least 2 cameras, got 1'):
        build().predict(batch)


# Training


def test_loss_against_formulas():
    """Mean distance of coordinates in mm, times 0.1; cross entropy of the nearest voxel, times 0.01."""
    draw = torch.Generator().manual_seed(3)
    centres, rotmat = torch.randn(2, 3, generator=draw), random_rotations(2, math.pi, draw)
    joints = centres[:, None] + 0.05 * torch.randn(2, 21, 3, generator=draw)
    valid = torch.rand(2, 21, generator=draw) > 0.3
    logits = torch.randn(2, 21, 4, 4, 4, generator=draw)
    target = torch.where(valid[..., None], joints, torch.nan)
    predicted = joints + 0.01 * torch.randn(2, 21, 3, generator=draw)
    output = MVExoNetOutput(predicted, logits, HandCubes(centres, rotmat, 0.3))
    found = MVExoNetLoss()(output, JointTarget(target, valid), TrainingStep())
    distances, entropies = [], []
    for n, j in np.argwhere(valid.numpy()):
        distances.append(0.1 * 1000 * (predicted[n, j] - joints[n, j]).double().abs().mean().item())
        i = cube_indices(joints[n, j, None], centres[n], 0.3, 4, rotmat[n])[0].round().long()
        if ((i >= 0) & (i < 4)).all():
            volume = logits[n, j].double()
            entropies.append((volume.exp().sum().log() - volume[tuple(i)]).item())
    assert found['loss_joints'].item() == pytest.approx(np.mean(distances), rel=1e-5)
    assert found['loss_volume'].item() == pytest.approx(0.01 * np.mean(entropies), rel=1e-5)
    assert set(MVExoNetLoss(volume_weight=0)(output, JointTarget(target, valid), TrainingStep())) == {'loss_joints'}


@pytest.mark.parametrize(
    'options', [{}, dict(mirror_left_hands=True, box_noise=0.1, train_views=2), dict(joint_maps=True)]
)
def test_every_parameter_learns(options):
    model, batch = build(**options), multi_view_batch()
    summed(model.loss(batch, TrainingStep())).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_training_draws_depend_on_the_step(monkeypatch):
    """Centres are noisy and cubes turned, differently in each step; and not at all if told so."""
    batch, cubes = multi_view_batch(), {}
    truth = batch.joints_3d[..., MCP, :].flatten(0, 2)
    for name, options in {'noisy': {}, 'exact': dict(centre_noise=0.0, max_rotation=0.0)}.items():
        model = build(**options)
        monkeypatch.setattr(model.loss_function, 'forward', lambda output, target, step: {'loss': output.cubes})
        cubes[name] = [model.loss(batch, TrainingStep(i))['loss'] for i in (0, 0, 1)]
    first, again, other = cubes['noisy']
    assert torch.equal(first.centres, again.centres) and torch.equal(first.rotmat, again.rotmat)
    assert not torch.equal(first.centres, other.centres) and not torch.equal(first.rotmat, other.rotmat)
    assert 0.005 < (first.centres - truth).std() < 0.04
    exact = cubes['exact'][0]
    assert torch.equal(exact.centres, truth)
    torch.testing.assert_close(exact.rotmat, torch.eye(3).expand(8, 3, 3))


def test_views_of_a_training_batch(monkeypatch):
    """Drawn anew for each step: as many as said, from the least to the largest number, and no more than there are."""
    batch, counts = multi_view_batch(cameras=5), {}
    for wanted in (None, 3, (2, 4), (4, 9)):
        model, seen = build(train_views=wanted), []

        def forward(crops, projections, centres, rotmat, view_valid, mirrored, kept=seen):
            kept.append(crops.shape[1])
            joints = centres[:, None].expand(-1, 21, 3)
            return MVExoNetOutput(joints, crops.new_zeros(len(joints), 21, 1, 1, 1), HandCubes(centres, rotmat, 0.3))

        monkeypatch.setattr(model, 'forward', forward)
        for step in range(20):
            model.loss(batch, TrainingStep(step))
        counts[wanted] = set(seen)
    assert counts == {None: {5}, 3: {3}, (2, 4): {2, 3, 4}, (4, 9): {4, 5}}


def test_maps_of_single_views_against_formulas():
    """Cross entropy of the cell of each view's map that holds the projected joint, over joints inside the crop."""
    batch = multi_view_batch(clips=1, frames=1, cameras=3)
    model = build(joint_maps=True, centre_noise=0.0, max_rotation=0.0, mirror_left_hands=True)
    crops = crop_hands(frames_of(batch), batch.boxes[0], torch.ones(1, 2, dtype=torch.bool), 0.8, 32)
    seen = torch.tensor([[True, False, True], [True, True, True]])
    joints, left = batch.joints_3d[0, 0], torch.tensor([True, False])
    output = model.train()(crops.images, crops.projections, joints[:, MCP], None, seen, left)
    valid = torch.rand(2, 21, generator=torch.Generator().manual_seed(1)) > 0.2
    found = MVExoNetLoss(map_weight=0.5)(output, JointTarget(joints, valid), TrainingStep())['loss_maps'].item()
    expected = []
    for row, (n, k) in enumerate(seen.nonzero().tolist()):
        homogeneous = crops.projections[n, k].double() @ torch.cat([joints[n], torch.ones(21, 1)], -1).double().T
        uv = (homogeneous[:2] / homogeneous[2]).T
        logits = output.maps.logits[row].double()
        x, y = ((uv + 0.5) / 32 * logits.shape[-1]).floor().long().T
        for j in range(21):
            if valid[n, j] and 0 <= x[j] < logits.shape[-1] and 0 <= y[j] < logits.shape[-2]:
                expected.append((logits[j].exp().sum().log() - logits[j, y[j], x[j]]).item())
    assert 40 < len(expected) < int(valid.sum()) * 3  # some joints are outside of the tight crops
    assert found == pytest.approx(0.5 * np.mean(expected), rel=1e-4)
    assert model.eval()(crops.images, crops.projections, joints[:, MCP]).maps is None


def test_hands_without_labels_are_left_out():
    model, batch = build(centre_noise=0.0, max_rotation=0.0).eval(), multi_view_batch()
    batch.hand_valid[0, 0, 0] = False
    batch.joints_valid[0, 1, 1, MCP] = False
    batch.joints_valid[0, 0, 0] = False
    batch.joints_3d[0, 0, 0] = torch.nan
    batch.boxes[1, 0, 1:, 0] = 0
    losses = model.loss(batch, TrainingStep())
    assert all(loss.isfinite() for loss in losses.values())
    batch.joints_valid[:] = False
    model.train()
    losses = model.loss(batch, TrainingStep())
    assert set(losses) == {'loss_joints', 'loss_volume'} and all(loss == 0 for loss in losses.values())
    summed(losses).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_it_learns_where_the_joints_are():
    """A few steps on two frames, with a strong cross entropy, which learns faster, and noisy centres."""
    batch = multi_view_batch(clips=1, frames=2, cameras=3, hands=1)
    model = build(centre_noise=0.01, max_rotation=0.0, loss=dict(type='MVExoNetLoss', volume_weight=0.3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = []
    for i in range(36):
        losses = model.train().loss(batch, TrainingStep(i))
        optimizer.zero_grad()
        summed(losses).backward()
        optimizer.step()
        history.append(losses['loss_joints'].item())
    assert np.mean(history[-4:]) < 0.5 * np.mean(history[:4])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(first_centre='mcp'), "first_centre must be one of 'input_joints', 'boxes', got 'mcp'"),
        (dict(resolution=18), 'resolution must be a multiple of 4'),
        (dict(num_rounds=0), 'num_rounds and min_views must be at least 1'),
        (dict(train_views=1), 'train_views at least min_views, got 3, 2 and 1'),
        (dict(train_views=(4, 3)), r'train_views at least min_views, got 3, 2 and \(4, 3\)'),
        (dict(first_centre='boxes', min_views=1), 'triangulates, which takes two views'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_bad_batches():
    model, batch = build().eval(), multi_view_batch()
    with pytest.raises(SequenceError, match=r'dots clip 0.*MVExoNet needs boxes, extrinsics'):
        model.predict(batch.replace(boxes=None, extrinsics=None))
    with pytest.raises(SequenceError, match="'camera' or 'world' frame, got 'wrist'"):
        model.predict(batch.replace(frame='wrist'))
    with pytest.raises(ValueError, match='built without a loss'):
        build(loss=None).loss(batch, TrainingStep())
