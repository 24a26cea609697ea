"""HTT's heads: 2.5D joints and their way to metres, object, tokens, action."""

import pytest
import torch
from torch.nn import functional as F

from handpose.geometry import project_points
from handpose.models import ActionHead, ActionTokenizer, ObjectHead, Pose25DHead


def cameras(*leading, skew=0.0):
    """Cameras whose two focal lengths differ, the centre aside of the middle: (..., 3, 3)."""
    camera = torch.tensor([[240.0, skew, 250.0], [0.0, 236.0, 130.0], [0.0, 0.0, 1.0]])
    return camera.expand(*leading, 3, 3).contiguous()


def size(model):
    return sum(p.numel() for p in model.parameters()) / 1e6


def test_published_sizes():
    assert size(Pose25DHead()) + size(ObjectHead()) == pytest.approx(0.86, abs=5e-3)
    assert size(ActionTokenizer()) == pytest.approx(0.84, abs=5e-3)
    assert size(ActionHead()) == pytest.approx(6.31, abs=0.02)


@pytest.mark.parametrize('num_hands', [1, 2])
def test_raw_numbers_to_pixels_and_metres(num_hands):
    head = Pose25DHead(8, num_hands)
    features = torch.randn(2, 3, 8)
    pose = head(features, cameras(2, 3))
    raw = head.mlp(features)
    for hand in range(num_hands):
        for joint in range(21):
            a, b, c = raw[..., 63 * hand + 3 * joint :][..., :3].unbind(-1)
            torch.testing.assert_close(pose.uv[..., hand, joint, 0], 100 * a + 240)
            torch.testing.assert_close(pose.uv[..., hand, joint, 1], 100 * b + 135)
            torch.testing.assert_close(pose.depth[..., hand, joint], 240 * 1e-4 * c + 0.4)
    assert pose.raw.shape == (2, 3, num_hands, 21, 3)


@pytest.mark.parametrize('skew', [0.0, 3.0])
def test_lifting_undoes_the_projection(skew):
    joints = torch.randn(2, 3, 2, 21, 3) * 0.1 + torch.tensor([0, 0, 0.5])
    camera = cameras(2, 3, skew=skew)
    camera[1] *= torch.tensor([1.2, 1.2, 1.0])[:, None]
    uv = project_points(joints, camera[:, :, None])
    head = Pose25DHead(8)
    torch.testing.assert_close(head.lift(uv, joints[..., 2], camera), joints, atol=1e-6, rtol=1e-5)


def test_lifting_as_published_takes_one_focal_length_for_both_directions():
    uv, depth, camera = torch.rand(4, 1, 21, 2) * 200, torch.rand(4, 1, 21) + 0.2, cameras(4, skew=3.0)
    joints = Pose25DHead(8, 1, shared_focal=True).lift(uv, depth, camera)
    x, y = (uv[..., 0] - 250) * depth / 240, (uv[..., 1] - 130) * depth / 240
    torch.testing.assert_close(joints, torch.stack([x, y, depth], -1))
    assert camera[0, 1, 1] == 236  # the caller's camera is as it was


def test_positions_stay_float32_under_autocast():
    head = Pose25DHead(8)
    features, camera = torch.randn(5, 8), cameras(5)
    expected = head(features, camera)
    with torch.autocast('cpu', torch.bfloat16):
        pose = head(features.bfloat16(), camera)
        joints = head.lift(pose.uv, pose.depth, camera)
        precise = head(features, camera)
    assert {x.dtype for x in (*pose, joints)} == {torch.float32}
    torch.testing.assert_close(precise.uv, expected.uv, rtol=0, atol=0)


def test_object_head_has_an_activation_if_asked():
    features = torch.randn(4, 8)
    plain = ObjectHead(8, 5)
    (w1, b1), (w2, b2) = ((x.weight, x.bias) for x in (plain.layers[0], plain.layers[2]))
    torch.testing.assert_close(plain(features), features @ (w2 @ w1).T + w2 @ b1 + b2)
    bent = ObjectHead(8, 5, 'leaky_relu')
    bent.load_state_dict(plain.state_dict())
    torch.testing.assert_close(bent(features), F.leaky_relu(features @ w1.T + b1, 0.01) @ w2.T + b2)
    with pytest.raises(ValueError, match='leaky_relu'):
        ObjectHead(8, 5, 'gelu')


CHOICES = [('image',), ('pose',), ('object',), ('image', 'pose'), ('pose', 'object'), ('object', 'image', 'pose')]


@pytest.mark.parametrize('detach', [False, True])
@pytest.mark.parametrize('inputs', CHOICES)
def test_tokens_depend_on_their_inputs_alone(inputs, detach):
    tokenizer = ActionTokenizer(8, 2, 5, inputs, detach)
    values = {
        'image': torch.randn(2, 3, 8, requires_grad=True),
        'pose': torch.randn(2, 3, 2, 21, 2, requires_grad=True),
        'object': torch.randn(2, 3, 5, requires_grad=True),
    }
    tokens = tokenizer(*values.values())
    assert tokens.shape == (2, 3, 8)
    parts = {'image': values['image']}
    if 'pose' in inputs:
        parts['pose'] = values['pose'].flatten(-3) @ tokenizer.pose.weight.T + tokenizer.pose.bias
    if 'object' in inputs:
        parts['object'] = values['object'] @ tokenizer.object.weight.T + tokenizer.object.bias
    mixed = torch.cat([parts[name] for name in ('image', 'pose', 'object') if name in inputs], -1)
    torch.testing.assert_close(tokens, mixed @ tokenizer.mix.weight.T + tokenizer.mix.bias)
    if detach and inputs in (('pose',), ('object',), ('pose', 'object')):
        tokens = tokens + 0 * values['image'].sum()
    tokens.sum().backward()
    for name, value in values.items():
        learns = value.grad is not None and bool(value.grad.any())
        assert learns == (name in inputs and not (detach and name != 'image')), name
    assert all(p.grad is not None and p.grad.any() for p in tokenizer.parameters())


@pytest.mark.parametrize('inputs', [(), ('image', 'image'), ('image', 'depth')])
def test_unknown_inputs_of_a_token(inputs):
    with pytest.raises(ValueError, match=r"some of .*'image', 'pose', 'object'.*each once"):
        ActionTokenizer(8, 2, 5, inputs)


def action_head(**options):
    torch.manual_seed(0)
    return ActionHead(16, 6, 2, 4, 24, **options).double().eval()


def test_action_is_read_from_the_learned_token_alone():
    head, tokens = action_head(), torch.randn(3, 5, 16, dtype=torch.float64)
    rows = torch.cat([head.token.expand(3, 1, 16), tokens], 1)
    attended, attention = head.encoder(rows, None, True)
    out = head(tokens, return_attention=True)
    torch.testing.assert_close(out.logits, head.classifier(attended[:, 0]))
    torch.testing.assert_close(out.attention, attention[:, :, 0, 1:])
    assert (out.attention.sum(-1) < 1).all()  # the rest is the token's own
    assert head(tokens).attention is None


def test_action_sees_neither_padding_nor_missing_frames():
    head, tokens = action_head(), torch.randn(2, 6, 16, dtype=torch.float64)
    valid = torch.tensor([[True] * 4 + [False] * 2] * 2)
    out = head(tokens, valid, return_attention=True)
    torch.testing.assert_close(out.logits, head(tokens[:, :4]).logits)
    assert not out.attention[..., 4:].any()
    changed = tokens.clone()
    changed[:, 2] = 1e3
    valid[:, 2] = False
    torch.testing.assert_close(head(changed, valid).logits, head(tokens, valid).logits)
    nothing = head(tokens, torch.zeros_like(valid), return_attention=True)
    assert nothing.logits.isfinite().all()
    assert not nothing.attention.any()


def test_action_depends_on_the_order_of_the_frames():
    head, tokens = action_head(), torch.randn(2, 6, 16, dtype=torch.float64)
    assert not torch.allclose(head(tokens).logits, head(tokens.flip(1)).logits, atol=1e-4)


def test_one_or_two_hands():
    with pytest.raises(ValueError, match='num_hands must be 1 or 2, got 3'):
        Pose25DHead(8, 3)
