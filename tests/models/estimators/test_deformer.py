"""Deformer as a whole: the paper's size, whole tracks, masks."""

import pytest
import torch

from handpose.engine import load_config
from handpose.models import ConstantHand, TrainingStep, fit_constant_hands
from handpose.models.estimators.deformer_components import DeformerOutput
from handpose.registry import MODELS
from handpose.structures import HandSequence

SMALL = 'configs/deformer/synthetic_paper.py'
PROCEDURAL = {'hand_model': dict(type='ProceduralHand', _delete_=True)}


def make_batch(clips=2, frames=7, size=64, seed=0):
    """Random images and hands: (B, T, 1, 1, ...)."""
    draw = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(clips, *shape, generator=draw)

    ones = torch.ones(clips, frames, 1, dtype=torch.bool)
    return HandSequence(
        meta=[{'frame_indices': list(range(frames))}] * clips,
        batched=True,
        frame_valid=ones[..., 0].clone(),
        hand_side=torch.arange(clips)[:, None] % 2,
        hand_valid=ones.clone(),
        images=(random(frames, 1, 3, size, size).clamp(-2, 2) * 60 + 127).to(torch.uint8),
        boxes=torch.tensor([0.2, 0.2, 0.8, 0.8]).expand(clips, frames, 1, 1, 4) * size,
        joints_3d=random(frames, 1, 21, 3) * 0.05,
        joints_valid=ones[..., None].expand(-1, -1, -1, 21).clone(),
        joints_2d=(random(frames, 1, 1, 21, 2) * 0.1 + 0.5) * size,
        joints_2d_valid=ones[..., None, None].expand(-1, -1, 1, 1, 21).clone(),
        hand_pose=random(frames, 1, 16, 3) * 0.3,
        hand_shape=random(1, 10),
        hand_transl=random(frames, 1, 3) * 0.1,
        hand_pose_valid=ones.clone(),
        occlusion=ones[:, :, None].float() * 0.5,
    ).validate()


def build(options=None, config=SMALL):
    torch.manual_seed(0)
    return MODELS.build(load_config(config, options).model)


def summed(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


@pytest.mark.timeout(900)
def test_paper_size_takes_two_steps():
    """T = 7 at the configured image size: every parameter gets a finite gradient that is not zero."""
    config = load_config('configs/deformer/dexycb.py', PROCEDURAL)
    model = MODELS.build(config.model)
    millions = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    millions -= sum(p.numel() for p in model.loss_function.parameters()) / 1e6
    print(f'Deformer at paper size: {millions:.2f} M parameters without the discriminator')
    assert 31 <= millions <= 33
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for step in range(2):
        batch = make_batch(clips=1, frames=config.num_frames, size=config.image_size, seed=step)
        optimizer.zero_grad()
        summed(model.loss(batch, TrainingStep())).backward()
        broken = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        unused = [n for n, p in model.named_parameters() if n not in broken and not p.grad.any()]
        assert (broken, unused) == ([], [])
        optimizer.step()


@pytest.mark.parametrize(
    'options',
    [
        {'model.head.mode': 'centre'},
        {'model.head.mode': 'average'},
        {'model.head.mode': 'occlusion'},
        {'model.loss.point_loss.type': 'PointMSELoss'},
        {'model.loss.discriminator': None},
        {'rotation_space': 'so3_compose'},
        {'rotation_space': 'rotvec_add'},
        {
            'model.spatial_transformer.heatmap_to_decoder': False,
            'model.joints_to_head': False,
            'model.head.in_channels': 64,
        },
    ],
)
def test_every_row_of_the_ablations_trains(options):
    model = build(options)
    loss = summed(model.loss(make_batch(), TrainingStep()))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_bfloat16_keeps_positions_exact():
    model, batch = build(), make_batch()
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(batch, TrainingStep())
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())


def test_joints_alone_train_without_hand_parameters():
    batch = make_batch().replace(hand_pose=None, hand_shape=None, hand_transl=None, hand_pose_valid=None)
    losses = build().loss(batch, TrainingStep())
    assert losses['loss_fused_joints'] > 0 and losses['loss_fused_vertices'] == 0
    summed(losses).backward()


def test_padding_changes_no_valid_frame():
    """Two frames of noise, marked as padding, leave the poses and the shape of the real frames as they were."""
    model = build().eval()
    with torch.no_grad():
        model.head.pose.weight.normal_()
    images, boxes, *_ = model._inputs(make_batch(clips=2, frames=5))
    side, valid = torch.tensor([0, 1]), torch.tensor([[True] * 3 + [False] * 2] * 2)
    with torch.no_grad():
        real = model(images[:, :3], boxes[:, :3], side, valid[:, :3])
        padded = model(images, boxes, side, valid)
        unmasked = model(images, boxes, side)
    torch.testing.assert_close(padded.pose[:, :3], real.pose, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(padded.shape, real.shape, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(unmasked.pose[:, :3], real.pose, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('mode', ['all', 'centre', 'overlap'])
def test_tracks_of_any_length(mode):
    """Each frame is encoded once, and each annotated frame predicted, in both test modes."""
    model = build({'model.test_mode': mode}).eval()
    batch = make_batch(clips=1, frames=17)
    batch.hand_valid[:, 4] = False
    encoded = []
    encode = model.encode
    model.encode = lambda images, boxes: encoded.append(images.shape[1]) or encode(images, boxes)
    prediction = model.predict(batch).validate()
    assert sum(encoded) == 17
    assert prediction.joints_valid.all(-1)[..., 0].tolist() == batch.hand_valid[..., 0].tolist()
    wrist = prediction.joints_3d[..., 0, :]
    assert wrist.norm(dim=-1).max() < 1e-6
    # What is written as parameters is the hand whose joints are written.
    again = model.hand_model(
        prediction.hand_pose,
        prediction.hand_shape[:, None].expand(-1, 17, -1, -1),
        prediction.hand_transl,
        prediction.hand_side[:, None].expand(-1, 17, -1),
    )
    valid = prediction.hand_valid
    torch.testing.assert_close(again.joints[valid], prediction.joints_3d[valid], atol=1e-4, rtol=0)


def place_in_window(features, joints_2d, frame_valid, visibility):
    """Stands for the decoder: frame n of a window is turned by n hundredths of a radian about x, and votes n."""
    windows, frames = features.shape[:2]
    place = torch.arange(frames).float()
    zero, one = torch.zeros(frames), torch.ones(frames)
    turned = torch.stack([one, zero, zero, zero, (place / 100).cos(), (place / 100).sin()], -1).repeat(1, 16)
    turned = turned.expand(windows, -1, -1)
    votes = torch.diag_embed(place.expand(windows, -1))
    return DeformerOutput(turned, turned, turned, turned, votes, torch.zeros(windows, 10), joints_2d, turned, None)


@pytest.mark.parametrize(
    ('mode', 'expected'),
    [
        ('all', [0, 1, 2, 3, 1, 2, 3, 4]),  # windows start at frames 0 and 3
        ('centre', [2] * 8),
        # Windows start at frames 0 to 3; the mean is weighted 1 2 3 2 1 by the place in the window.
        ('overlap', [0, 2 / 3, 8 / 6, 14 / 8, 18 / 8, 16 / 6, 10 / 3, 4]),
    ],
)
def test_predictions_kept_in_each_test_mode(mode, expected):
    model = build({'model.test_mode': mode, 'frame_step': 1, 'model.mirror_left_hands': False}).eval()
    model.decode = place_in_window
    prediction = model.predict(make_batch(clips=1, frames=8))
    angle = prediction.hand_pose[0, :, 0, 0, 0]
    torch.testing.assert_close(angle, torch.tensor(expected) / 100, atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.frame_confidence[0, :, 0], torch.tensor(expected).float(), atol=1e-5, rtol=0)


def test_a_track_without_hands_gives_finite_numbers():
    batch = make_batch(clips=1, frames=6)
    prediction = build().eval().predict(batch.replace(hand_valid=torch.zeros(1, 6, 1, dtype=torch.bool)))
    assert prediction.hand_shape.isfinite().all() and prediction.joints_3d.isfinite().all()


def test_two_hands_are_refused():
    batch = make_batch()
    with pytest.raises(ValueError, match='one hand with one camera, got 2 hands'):
        build().predict(batch.replace(hand_side=torch.zeros(2, 2, dtype=torch.long)))


def test_constant_hands():
    """The Procrustes mean of rotated copies of one hand is that hand; the mean of identical hands is the hand."""
    torch.manual_seed(0)
    hand = torch.randn(21, 3) * 0.05
    turn, _ = torch.linalg.qr(torch.randn(30, 3, 3))
    turn = turn * turn.det().sign()[:, None, None]
    clip = HandSequence(
        frame_valid=torch.ones(30, dtype=torch.bool),
        hand_side=torch.tensor([1]),
        joints_3d=(hand @ turn)[:, None],
        joints_valid=torch.ones(30, 1, 21, dtype=torch.bool),
    )
    hands = fit_constant_hands([clip])
    shape = hands['procrustes_mean_hand'].joints[1]
    torch.testing.assert_close(torch.cdist(shape, shape), torch.cdist(hand, hand), atol=1e-4, rtol=0)
    still = clip.replace(joints_3d=hand.expand(30, 1, 21, 3))
    torch.testing.assert_close(fit_constant_hands([still])['mean_hand'].joints[1], hand - hand[0])
    with pytest.raises(ValueError, match='no complete hand'):
        fit_constant_hands([])
    assert ConstantHand(torch.ones(2, 21, 3))(torch.tensor([[1]])).shape == (1, 1, 21, 3)


def test_mirrored_left_hands():
    """A left hand is what the same network makes of the mirrored picture as a right hand, in the mirror."""
    model = build({'model.mirror_left_hands': True}).eval()
    with torch.no_grad():
        model.head.pose.weight.normal_()
    right = make_batch(clips=1, frames=5)
    right.hand_side[:] = 1
    left = right.replace(
        hand_side=torch.zeros(1, 1, dtype=torch.long),
        images=right.images.flip(-1),
        boxes=63 - right.boxes[..., [2, 1, 0, 3]] * torch.tensor([1, -1, 1, -1]) - torch.tensor([0, 63, 0, 63]),
    )
    expected, found = model.predict(right), model.predict(left)
    flip = torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(found.joints_3d, expected.joints_3d * flip, atol=1e-5, rtol=0)
    mirrored_2d = torch.stack([63 - expected.joints_2d[..., 0], expected.joints_2d[..., 1]], -1)
    torch.testing.assert_close(found.joints_2d, mirrored_2d, atol=1e-3, rtol=0)


def test_no_tensor_is_left_behind():
    """On the meta device a tensor that was made on the CPU shows, without a GPU."""
    model = build({'+model.roi_sampling': 2}).to('meta')
    batch = make_batch().to('meta')
    assert all(value.is_meta for value in batch.present().values())
    losses = model.loss(batch, TrainingStep())
    assert all(value.is_meta for value in losses.values())


def test_fusion_by_unknown_occlusion_is_refused():
    """Votes by a share that nobody knows would silently be the mean of all frames."""
    model = build({'model.head.mode': 'occlusion', 'frame_step': 1}).eval()
    batch = make_batch(clips=1, frames=5)
    batch = batch.replace(meta=[{'dataset': 'ho3d', 'frame_indices': list(range(5))}])
    unknown = batch.replace(occlusion=torch.full_like(batch.occlusion, torch.nan))
    for call in (lambda: model.loss(unknown, TrainingStep()), lambda: model.predict(unknown)):
        with pytest.raises(ValueError, match=r"but 'occlusion' is unknown \(NaN\) in every annotated frame .* of ho3d"):
            call()
    partly = batch.occlusion.clone()
    partly[:, :, 0, 0] = torch.tensor([0.2, torch.nan, 0.4, 0.9, torch.nan])
    valid = torch.tensor([[True, True, True, False, True]])
    filled = partly.clone()
    filled[:, [1, 4], 0, 0] = 0.3  # the mean of the known frames, without the one that is not valid
    votes = [
        model.predict(batch.replace(occlusion=o, hand_valid=valid[..., None])).frame_confidence
        for o in (partly, filled)
    ]
    torch.testing.assert_close(votes[0], votes[1])
