"""Volumetric soft-argmax and cross entropy against float64 sums over the voxels of the cube."""

import math

import numpy as np
import pytest
import torch

from handpose.geometry import cube_indices, cube_voxels, rotvec_to_rotmat
from handpose.models import VolumetricCrossEntropyLoss, soft_argmax_3d, volumetric_soft_argmax

SIZE, D = 0.3, 6


def cubes(dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    centres = torch.randn(2, 3, generator=draw, dtype=dtype)
    rotmat = rotvec_to_rotmat(torch.randn(2, 3, generator=draw, dtype=dtype))
    return centres, rotmat, torch.randn(2, 4, D, D, D, generator=draw, dtype=dtype)


def test_mean_position_in_the_cube():
    """Axes of different lengths: a hot cell gives its centre, a uniform volume the centre of the cube."""
    volumes = torch.zeros(2, 3, 4, 5)
    volumes[0, 2, 0, 3] = 1
    volumes[1] = 1 / 60
    expected = torch.tensor([[2.5 / 3, 0.5 / 4, 3.5 / 5], [0.5, 0.5, 0.5]])
    torch.testing.assert_close(soft_argmax_3d(volumes), expected)


def test_soft_argmax_against_a_sum_over_voxels():
    centres, rotmat, logits = cubes(torch.float64)
    voxels = cube_voxels(centres, SIZE, D, rotmat).numpy()
    weights = np.exp(logits.numpy())
    weights /= weights.sum((2, 3, 4), keepdims=True)
    expected = np.einsum('njxyz,nxyzc->njc', weights, voxels)
    found = volumetric_soft_argmax(logits, centres, SIZE, rotmat)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(
        volumetric_soft_argmax(logits, centres, SIZE).numpy(),
        np.einsum('njxyz,nxyzc->njc', weights, cube_voxels(centres, SIZE, D).numpy()),
        atol=1e-12,
    )


def test_uniform_logits_give_the_centre_and_joints_move_with_it():
    centres, rotmat, logits = cubes()
    uniform = volumetric_soft_argmax(torch.zeros_like(logits), centres, SIZE, rotmat)
    torch.testing.assert_close(uniform, centres[:, None].expand(-1, 4, -1))
    shift = torch.tensor([0.1, -0.2, 0.3])
    moved = volumetric_soft_argmax(logits, centres + shift, SIZE, rotmat)
    torch.testing.assert_close(moved, volumetric_soft_argmax(logits, centres, SIZE, rotmat) + shift)


def test_precision_far_from_the_origin_and_in_half_precision():
    _, rotmat, logits = cubes()
    offset = volumetric_soft_argmax(logits, torch.zeros(2, 3), SIZE, rotmat)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = volumetric_soft_argmax(logits.bfloat16(), torch.zeros(2, 3), SIZE, rotmat)
    assert half.dtype == torch.float32
    expected = volumetric_soft_argmax(logits.bfloat16().float(), torch.zeros(2, 3), SIZE, rotmat)
    torch.testing.assert_close(half, expected)
    far = torch.full((2, 3), 100.0)
    error = volumetric_soft_argmax(logits, far, SIZE, rotmat) - far[:, None] - offset
    assert error.abs().max() < 1e-5


def test_cross_entropy_against_formulas():
    """-log softmax of the nearest voxel, found by distances; the mean over joints that are valid and inside."""
    centres, rotmat, logits = cubes(torch.float64)
    draw = torch.Generator().manual_seed(2)
    joints = centres[:, None] + 0.1 * torch.randn(2, 4, 3, generator=draw, dtype=torch.float64)
    joints[1, 3] = centres[1] + 1.0  # outside
    valid = torch.ones(2, 4, dtype=torch.bool)
    valid[0, 2] = False
    positions = cube_indices(joints, centres, SIZE, 1, rotmat) + 0.5
    inside = ((positions >= 0) & (positions < 1)).all(-1)
    voxels = cube_voxels(centres, SIZE, D, rotmat)
    errors = []
    for n, j in np.argwhere((valid & inside).numpy()):
        nearest = (voxels[n] - joints[n, j]).square().sum(-1).flatten().argmin()
        volume = logits[n, j].flatten()
        errors.append(float(volume.exp().sum().log() - volume[nearest]))
    assert 4 <= len(errors) < 8
    positions[0, 2] = torch.nan
    found = VolumetricCrossEntropyLoss(loss_weight=0.5)(logits, positions, valid)
    assert found.item() == pytest.approx(0.5 * np.mean(errors), rel=1e-12)


def test_cross_entropy_of_uniform_volumes_and_of_nothing():
    logits = torch.zeros(1, 2, 2, 3, 4, requires_grad=True)
    loss = VolumetricCrossEntropyLoss()
    assert loss(logits, torch.full((1, 2, 3), 0.4)).item() == pytest.approx(math.log(24))
    # The largest number below 1 is in the last voxel.
    last = torch.full((1, 2, 3), float(np.nextafter(np.float32(1), np.float32(0))))
    peak = torch.full((1, 2, 24), -50.0)
    peak[..., -1] = 50
    assert loss(peak.reshape(1, 2, 2, 3, 4), last).item() == pytest.approx(0, abs=1e-6)
    nothing = loss(logits, torch.full((1, 2, 3), 1.5))
    nothing.backward()
    assert nothing.item() == 0 and not logits.grad.any()
    with pytest.raises(ValueError, match=r'expected logits \(N, J, X, Y, Z\) and positions'):
        loss(logits, torch.zeros(1, 3, 3))
    with pytest.raises(TypeError, match='must be a bool tensor'):
        loss(logits, torch.zeros(1, 2, 3), torch.ones(1, 2))
