"""SmoothNet: its published size, and that every coordinate is refined by itself by the same layers."""

import torch
from motion_clips import LOSS, clip, summed, track
from torch.nn import functional as F

from handpose.models import SmoothNet, TrainingStep
from handpose.structures import HandSequence


def test_published_size():
    size = sum(p.numel() for p in SmoothNet(frame_rate=30.0).parameters())
    assert size == (32 * 512 + 512) + 3 * (512 * 256 + 256 + 256 * 512 + 512) + (512 * 32 + 32)
    assert round(size / 1e6, 2) == 0.82


@torch.no_grad()
def test_is_the_published_network_of_each_coordinate():
    model = SmoothNet(frame_rate=30.0, num_frames=8, hidden_channels=16, block_channels=4).double().eval()
    motion = torch.randn(2, 8, 21, 3, dtype=torch.float64)
    found = model(motion).joints
    for joint, axis in ((0, 0), (7, 2), (20, 1)):
        x = F.leaky_relu(model.encoder[0](motion[1, :, joint, axis] / 0.1), 0.1)
        for block in model.blocks:
            hidden = F.leaky_relu(block.layers[0](x), 0.2)
            x = x + F.leaky_relu(block.layers[3](hidden), 0.2)
        torch.testing.assert_close(found[1, :, joint, axis], 0.1 * model.decoder(x))


@torch.no_grad()
def test_coordinates_do_not_see_each_other():
    model, motion = SmoothNet(frame_rate=30.0, num_frames=8).eval(), torch.randn(1, 8, 21, 3)
    other = motion.clone()
    other[:, :, 4, 1] += 1
    changed = (model(other).joints != model(motion).joints).any(1)[0]
    assert changed[4, 1] and changed.sum() == 1
    order = torch.randperm(21)
    torch.testing.assert_close(model(motion[:, :, order]).joints, model(motion).joints[:, :, order])


def test_dropout_is_for_training_alone():
    model, motion = SmoothNet(frame_rate=30.0, num_frames=8), torch.randn(1, 8, 21, 3)
    assert not torch.equal(model(motion).joints, model(motion).joints)
    model.eval()
    assert torch.equal(model(motion).joints, model(motion).joints)


def test_tracks_of_any_length():
    model = SmoothNet(frame_rate=30.0, num_frames=8, stride=3).double().eval()
    for length in (1, 7, 8, 30):
        out = model.refine(*track(length, 2), torch.tensor([0, 1]))
        assert out.joints.shape == (length, 2, 21, 3) and out.joints.isfinite().all() and out.pose is None


def test_trains():
    model = SmoothNet(frame_rate=30.0, num_frames=9, hidden_channels=16, block_channels=8, dropout=0.0, loss=LOSS)
    data = HandSequence.stack([clip(9, 2, (0, 1))])
    losses = model.loss(data, TrainingStep())
    summed(losses).backward()
    assert set(losses) == {'loss_joints', 'loss_acceleration'}
    assert all(p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in model.parameters())
