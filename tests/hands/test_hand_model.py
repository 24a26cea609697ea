import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handpose.hands import ProceduralHand, linear_blend_skinning, vertex_normals
from handpose.hands.model import MANO_PARENTS, HandModel


@pytest.fixture(scope='module')
def hand():
    return ProceduralHand()


def skinning_by_loops(rest_vertices, rest_joints, rotmats, weights, parents):
    """4x4 matrices, one joint and one vertex at a time."""
    worlds = []
    for joint, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = rotmats[joint]
        local[:3, 3] = rest_joints[joint] - (rest_joints[parent] if parent >= 0 else 0)
        worlds.append(local if parent < 0 else worlds[parent] @ local)
    back = [np.block([[np.eye(3), -joint[:, None]], [np.zeros((1, 3)), 1.0]]) for joint in rest_joints]
    vertices = np.zeros_like(rest_vertices)
    for v, point in enumerate(rest_vertices):
        for j, weight in enumerate(weights[v]):
            vertices[v] += weight * (worlds[j] @ back[j] @ [*point, 1.0])[:3]
    return vertices, np.stack([world[:3, 3] for world in worlds])


def test_skinning_equals_plain_loops():
    rng = np.random.default_rng(0)
    vertices, joints = rng.normal(size=(3, 30, 3)), rng.normal(size=(3, 16, 3))
    weights = rng.dirichlet(np.ones(16), 30)
    rotmats = Rotation.random(48, random_state=rng).as_matrix().reshape(3, 16, 3, 3)
    got = linear_blend_skinning(*map(torch.tensor, (vertices, joints, rotmats, weights)))
    for b in range(3):
        expected = skinning_by_loops(vertices[b], joints[b], rotmats[b], weights, MANO_PARENTS)
        np.testing.assert_allclose(got[0][b], expected[0], atol=1e-12)
        np.testing.assert_allclose(got[1][b], expected[1], atol=1e-12)


def test_rotvecs_rotmats_and_leading_dims_agree(hand):
    generator = torch.Generator().manual_seed(0)
    pose = 0.5 * torch.randn(2, 3, 2, 16, 3, generator=generator)  # B, T, H
    shape, transl = torch.randn(2, 1, 2, 10, generator=generator), torch.randn(2, 3, 2, 3, generator=generator)
    side = torch.tensor([0, 1])
    mesh = hand(pose, shape, transl, side)
    assert mesh.vertices.shape == (2, 3, 2, hand.num_vertices, 3) and mesh.joints.shape == (2, 3, 2, 21, 3)
    rotmats = torch.tensor(Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix()).float().reshape(2, 3, 2, 16, 3, 3)
    torch.testing.assert_close(hand(rotmats, shape, transl, side).vertices, mesh.vertices, atol=1e-6, rtol=0)
    one = hand(pose[1, 2, 0], shape[1, 0, 0], transl[1, 2, 0], side[0])
    torch.testing.assert_close(one.vertices, mesh.vertices[1, 2, 0], atol=1e-6, rtol=0)
    torch.testing.assert_close(one.joints, mesh.joints[1, 2, 0], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'hand_pose': torch.zeros(2, 15, 3)}, r'hand_pose must have shape \(..., 16, 3\) or .* got \(2, 15, 3\)'),
        ({'hand_shape': torch.zeros(2, 8)}, r'hand_shape must have shape \(..., 10\), got \(2, 8\)'),
        ({'hand_transl': torch.zeros(2, 4)}, r'hand_transl must have shape \(..., 3\)'),
        ({'hand_side': torch.tensor([0, 2])}, r'hand_side must be 0 \(left\) or 1 \(right\), got \[2\]'),
        ({'hand_side': torch.tensor([0.0, 1.0])}, 'hand_side must be integers'),
        ({'hand_shape': torch.zeros(3, 10)}, r'do not fit together: \(2,\), \(3,\)'),
    ],
)
def test_wrong_input_is_a_sentence(hand, change, sentence):
    right = {
        'hand_pose': torch.zeros(2, 16, 3),
        'hand_shape': torch.zeros(2, 10),
        'hand_transl': torch.zeros(2, 3),
        'hand_side': torch.tensor([0, 1]),
    }
    with pytest.raises(ValueError, match=sentence):
        hand(**{**right, **change})


def test_normals_of_a_known_mesh():
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [5, 5, 5]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    normals = vertex_normals(corners.expand(2, 5, 3), faces)[1]
    torch.testing.assert_close(normals[0], -torch.ones(3) / 3**0.5)
    torch.testing.assert_close(normals[4], torch.zeros(3))  # in no face


def test_the_interface_is_small():
    assert {name for name in vars(HandModel) if not name.startswith('_')} == {
        'faces_of', 'fingertip_vertices', 'forward', 'pose_basis_of', 'pose_mean_of', 'pose_template',
        'rest_joints', 'rest_wrist',
    }  # fmt: skip
