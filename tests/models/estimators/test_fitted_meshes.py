"""Meshes of refiners that give joints alone: the hand model fitted to their joints."""

import pytest
import torch

from handpose.hands import ProceduralHand
from handpose.models import SavitzkyGolayFilter, StillHand
from handpose.registry import MODELS
from handpose.structures import HandSequence


def hands_of_the_model(frames=8):
    """Two tracks of hands of the model itself, so that a fit can be exact: a batch, and its true vertices."""
    draw = torch.Generator().manual_seed(0)
    bend = torch.zeros(2, frames, 1, 16, 3)
    bend[:, :, :, 0] = torch.randn(2, 1, 1, 3, generator=draw)
    shape = 0.3 * torch.randn(2, 1, 10, generator=draw)
    side = torch.tensor([[0], [1]])
    transl = torch.tensor([0.0, 0.0, 0.5]).expand(2, frames, 1, 3)
    mesh = ProceduralHand()(
        bend, shape[:, None].expand(-1, frames, -1, -1), transl, side[:, None].expand(-1, frames, -1)
    )
    valid = torch.ones(2, frames, 1, dtype=torch.bool)
    batch = HandSequence(
        meta=[{}, {}],
        batched=True,
        frame_valid=valid[..., 0],
        hand_side=side,
        hand_valid=valid,
        joints_3d=mesh.joints,
        joints_valid=valid[..., None].expand(-1, -1, -1, 21),
        input_joints_3d=mesh.joints,
        input_valid=valid,
    )
    return batch, mesh.vertices


def test_the_fit_finds_the_hands_that_the_joints_were_made_from():
    batch, vertices = hands_of_the_model()
    refiner = MODELS.build(dict(type='StillHand', fitted_hand=dict(type='ProceduralHand')))
    answer = refiner.predict(batch).validate()
    torch.testing.assert_close(
        answer.joints_3d, batch.joints_3d, atol=1e-5, rtol=0
    )  # nothing moved, and the fit left it
    assert (answer.vertices - vertices).norm(dim=-1).mean() < 1.5e-3
    assert answer.hand_pose_valid.all()


@pytest.mark.parametrize('refiner', [StillHand(), SavitzkyGolayFilter(31, 2, 'frames')])
def test_without_a_hand_model_there_is_no_mesh(refiner):
    assert refiner.predict(hands_of_the_model()[0]).vertices is None
