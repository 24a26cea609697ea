import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handpose.geometry import compose_rigid, invert_rigid, make_rigid, transform_points


def random_rigid(count, seed):
    matrix = np.tile(np.eye(4), (count, 1, 1))
    matrix[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    matrix[:, :3, 3] = np.random.default_rng(seed).normal(size=(count, 3))
    return torch.tensor(matrix)


def test_make_rigid_puts_the_parts_in_place_and_broadcasts():
    rigid = random_rigid(5, 0)
    assert make_rigid(rigid[:, :3, :3], rigid[:, :3, 3]).equal(rigid)
    assert make_rigid(rigid[0, :3, :3], rigid[:, :3, 3]).shape == (5, 4, 4)
    assert make_rigid(rigid[:, :3, :3], rigid[0, :3, 3]).shape == (5, 4, 4)


def test_inverse_and_composition_equal_numpy():
    a, b = random_rigid(5, 0), random_rigid(5, 1)
    np.testing.assert_allclose(invert_rigid(a), np.linalg.inv(a), atol=1e-14)
    np.testing.assert_allclose(compose_rigid(a, b), a.numpy() @ b.numpy(), atol=1e-14)


def test_transform_points_equals_a_loop_and_broadcasts():
    rigid = random_rigid(4, 2)
    points = torch.randn(3, 1, 6, 3, dtype=torch.float64)
    moved = transform_points(points, rigid)
    assert moved.shape == (3, 4, 6, 3)
    for i in range(3):
        for j in range(4):
            for n in range(6):
                expected = rigid[j].numpy() @ np.append(points[i, 0, n].numpy(), 1)
                np.testing.assert_allclose(moved[i, j, n], expected[:3], atol=1e-14)


def test_composition_applies_the_first_motion_first():
    second, first = random_rigid(1, 3)[0], random_rigid(1, 4)[0]
    points = torch.randn(7, 3, dtype=torch.float64)
    in_turn = transform_points(transform_points(points, first), second)
    torch.testing.assert_close(transform_points(points, compose_rigid(second, first)), in_turn)
