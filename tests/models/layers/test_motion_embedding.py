"""Joint sequences as tokens: any skeleton, in 2D or 3D, with missing joints and confidences."""

import pytest
import torch

from handpose.models import MotionEmbedding

N, T, C = 2, 5, 8


@pytest.mark.parametrize('num_joints', [1, 17, 21, 42])
@pytest.mark.parametrize('num_coordinates', [2, 3])
@pytest.mark.parametrize('with_confidence', [False, True])
def test_is_a_linear_layer_and_two_codes(num_joints, num_coordinates, with_confidence):
    embedding = MotionEmbedding(C, 9, num_joints, num_coordinates, with_confidence, unit=0.5).double()
    joints = torch.randn(N, T, num_joints, num_coordinates, dtype=torch.float64)
    confidence = torch.rand(N, T, num_joints, dtype=torch.float64) if with_confidence else None
    tokens = embedding(joints, None, confidence)
    assert tokens.shape == (N, T, num_joints, C)
    weight, bias = embedding.projection.weight, embedding.projection.bias
    wanted = 2 * joints @ weight[:, :num_coordinates].T + bias
    if with_confidence:
        wanted = wanted + confidence[..., None] * weight[:, -1]
    wanted = wanted + embedding.joint_code + embedding.frame_code[:T]
    torch.testing.assert_close(tokens, wanted)


def test_missing_joints_are_positions_alone_and_may_be_anything():
    embedding, joints = MotionEmbedding(C, T, 4), torch.randn(N, T, 4, 3, requires_grad=True)
    valid = torch.rand(N, T, 4) < 0.6
    broken = torch.where(valid[..., None], joints, torch.nan)
    tokens = embedding(broken, valid)
    positions = (embedding.joint_code + embedding.frame_code[:T]).expand_as(tokens)
    assert torch.equal(tokens[~valid], positions[~valid])
    torch.testing.assert_close(tokens[valid], embedding(joints)[valid])
    tokens.square().sum().backward()
    assert joints.grad[valid].isfinite().all() and all(p.grad.isfinite().all() for p in embedding.parameters())


def test_coordinates_stay_float32_under_autocast():
    """Bfloat16 would round a wrist one metre away to millimetres."""
    embedding, joints = MotionEmbedding(C, T), torch.full((1, 1, 21, 3), 1.0)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(embedding(joints + 1e-4), embedding.float()(joints + 1e-4))
        assert not torch.equal(embedding(joints + 1e-4), embedding(joints))


def test_what_does_not_fit():
    embedding, joints = MotionEmbedding(C, T, 4), torch.zeros(N, T, 4, 3)
    for wrong, message in [
        (torch.zeros(N, T, 4, 2), r'joints must have the shape \(N, T, J, D\) with D = 3, got \(2, 5, 4, 2\)'),
        (torch.zeros(T, 4, 3), 'joints must have the shape'),
        (torch.zeros(N, T, 5, 3), r'expected 4 joints \(num_joints\), got 5'),
        (torch.zeros(N, T + 1, 4, 3), 'at most 5 frames, got 6: raise max_frames'),
    ]:
        with pytest.raises(ValueError, match=message):
            embedding(wrong)
    with pytest.raises(ValueError, match=r'with_confidence=False, but confidence \(N, T, J\) is given'):
        embedding(joints, None, torch.ones(N, T, 4))
    confident = MotionEmbedding(C, T, 4, with_confidence=True)
    with pytest.raises(ValueError, match=r'with_confidence=True, but confidence \(N, T, J\) is missing'):
        confident(joints)
    with pytest.raises(ValueError, match=r'confidence must have the shape \(N, T, J\) = \(2, 5, 4\), got \(2, 5\)'):
        confident(joints, None, torch.ones(N, T))
