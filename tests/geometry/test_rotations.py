import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handpose.geometry import (
    geodesic_distance,
    quat_to_rotmat,
    quat_to_rotvec,
    rot6d_to_rotmat,
    rotmat_to_quat,
    rotmat_to_rot6d,
    rotmat_to_rotvec,
    rotvec_to_quat,
    rotvec_to_rotmat,
    small_matmul,
)

ANGLES = [0.0, 1e-12, 1e-8, 1e-5, 1e-3, 0.019, 0.021, 0.5, 2.0, 3.0]
ANGLES += [np.pi - gap for gap in (1e-3, 1e-6, 1e-9, 1e-12, 0.0)]
AXES = np.concatenate([np.eye(3), -np.eye(3), np.random.default_rng(0).normal(size=(50, 3))])


def rotvecs(angle):
    return AXES / np.linalg.norm(AXES, axis=1, keepdims=True) * angle


def angle_between(rotmat1, rotmat2):
    return Rotation.from_matrix(np.swapaxes(rotmat1, -1, -2) @ rotmat2).magnitude()


def orthogonality_error(rotmat):
    return (rotmat @ rotmat.mT - torch.eye(3, dtype=rotmat.dtype)).abs().max()


@pytest.mark.parametrize('angle', [*ANGLES, 4.0, 7.0])
def test_from_rotvec_equals_scipy(angle):
    rotvec = rotvecs(angle)
    expected = Rotation.from_rotvec(rotvec)
    rotmat = rotvec_to_rotmat(torch.tensor(rotvec)).numpy()
    np.testing.assert_allclose(rotmat, expected.as_matrix(), atol=1e-14)
    quat = rotvec_to_quat(torch.tensor(rotvec)).numpy()
    np.testing.assert_allclose(np.abs((quat * np.roll(expected.as_quat(), 1, -1)).sum(-1)), 1, atol=1e-14)


@pytest.mark.parametrize('angle', ANGLES)
def test_from_rotmat_equals_scipy(angle):
    rotvec = rotvecs(angle)
    rotmat = torch.tensor(Rotation.from_rotvec(rotvec).as_matrix())
    quat = rotmat_to_quat(rotmat)
    np.testing.assert_allclose(np.linalg.norm(quat, axis=-1), 1, atol=1e-14)
    assert (quat[:, 0] >= 0).all()
    np.testing.assert_allclose(quat_to_rotmat(quat), rotmat, atol=2e-15)
    found = rotmat_to_rotvec(rotmat).numpy()
    assert angle_between(Rotation.from_rotvec(found).as_matrix(), rotmat.numpy()).max() < 1e-14
    if angle < 3.1:  # nearer to pi the sign of the axis is a matter of rounding
        np.testing.assert_allclose(found, rotvec, rtol=1e-9, atol=1e-15)


def test_small_angles_keep_their_relative_precision():
    rotvec = torch.tensor(rotvecs(1e-12))
    np.testing.assert_allclose(quat_to_rotvec(rotvec_to_quat(rotvec)), rotvec, rtol=1e-13)
    np.testing.assert_allclose(rotmat_to_rotvec(rotvec_to_rotmat(rotvec)), rotvec, rtol=1e-13)


def test_quaternions_of_any_sign_and_length_mean_the_same_rotation():
    quat = np.random.default_rng(1).normal(size=(100, 4))
    expected = Rotation.from_quat(np.roll(quat, -1, -1))
    for factor in (1.0, -1.0, 1e-3, 100.0):
        scaled = torch.tensor(quat) * factor
        np.testing.assert_allclose(quat_to_rotmat(scaled), expected.as_matrix(), atol=1e-14)
        np.testing.assert_allclose(quat_to_rotvec(scaled), expected.as_rotvec(), atol=1e-13)


@pytest.mark.parametrize('angle', ANGLES)
def test_geodesic_distance_equals_scipy_at_every_angle(angle):
    base = Rotation.random(len(AXES), random_state=2)
    turned = base * Rotation.from_rotvec(rotvecs(angle))
    distance = geodesic_distance(torch.tensor(base.as_matrix()), torch.tensor(turned.as_matrix()))
    np.testing.assert_allclose(distance, angle, atol=2e-15)


def test_rot6d_is_two_columns_and_undoes_itself():
    rotmat = torch.tensor(Rotation.random(50, random_state=3).as_matrix())
    rot6d = rotmat_to_rot6d(rotmat)
    np.testing.assert_array_equal(rot6d[:, :3], rotmat[:, :, 0])
    np.testing.assert_array_equal(rot6d[:, 3:], rotmat[:, :, 1])
    np.testing.assert_allclose(rot6d_to_rotmat(rot6d), rotmat, atol=1e-14)


def test_rot6d_is_gram_schmidt():
    rot6d = np.random.default_rng(4).normal(size=(50, 6))
    # QR with positive diagonal is Gram-Schmidt; the third column follows from the determinant.
    q, r = np.linalg.qr(rot6d.reshape(-1, 2, 3).transpose(0, 2, 1))
    q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[:, None, :]
    expected = np.concatenate([q, np.cross(q[..., 0], q[..., 1])[..., None]], -1)
    np.testing.assert_allclose(rot6d_to_rotmat(torch.tensor(rot6d)), expected, atol=1e-12)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize(
    'rot6d',
    [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 2, 3],
        [1, 2, 3, 0, 0, 0],
        [0.3, -0.2, 0.7, 0.3, -0.2, 0.7],
        [0.3, -0.2, 0.7, -0.6, 0.4, -1.4],
        [1, 0, 0, 1, 1e-12, 0],
        [1e-12, 0, 0, 0, 1e-12, 0],
    ],
)
def test_degenerate_rot6d_still_gives_a_rotation_and_finite_gradients(rot6d, dtype):
    rot6d = torch.tensor(rot6d, dtype=dtype, requires_grad=True)
    rotmat = rot6d_to_rotmat(rot6d)
    assert orthogonality_error(rotmat.detach()) < 1e-3
    assert torch.linalg.det(rotmat.detach()) > 0.99
    rotmat.sum().backward()
    assert rot6d.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('rotvec', [[0, 0, 0], [np.pi, 0, 0], [0, -np.pi, 0], [1e-20, 0, 0], [1.0, 2.0, -2.0]])
def test_gradients_are_finite_everywhere(rotvec, dtype):
    rotvec = torch.tensor(rotvec, dtype=dtype, requires_grad=True)
    for chain in (
        rotvec_to_rotmat,
        lambda v: rotmat_to_rotvec(rotvec_to_rotmat(v)),
        lambda v: quat_to_rotvec(rotvec_to_quat(v)),
        lambda v: geodesic_distance(rotvec_to_rotmat(v), torch.eye(3, dtype=dtype)),
    ):
        (grad,) = torch.autograd.grad(chain(rotvec).sum(), rotvec)
        assert grad.isfinite().all()


@pytest.mark.parametrize('matrix', [np.eye(3), np.diag([1, -1, -1]), np.diag([-1, 1, -1]), np.diag([-1, -1, 1])])
def test_gradients_of_matrix_functions_at_identity_and_exact_half_turns(matrix):
    rotmat = torch.tensor(matrix, dtype=torch.float64, requires_grad=True)
    for function in (rotmat_to_quat, rotmat_to_rotvec, lambda r: geodesic_distance(r, torch.eye(3).double())):
        (grad,) = torch.autograd.grad(function(rotmat).sum(), rotmat)
        assert grad.isfinite().all()


@pytest.mark.parametrize('angle', [0.0, 1e-5, 0.019, 0.5, 2.0, 3.1, np.pi])
def test_gradients_equal_finite_differences(angle):
    rotvec = torch.tensor(rotvecs(angle)[-3:], requires_grad=True)
    assert torch.autograd.gradcheck(rotvec_to_rotmat, rotvec)
    assert torch.autograd.gradcheck(rotvec_to_quat, rotvec)
    if angle < np.pi:  # at pi the rotation vector jumps to the opposite axis
        rotmat = rotvec_to_rotmat(rotvec).detach().requires_grad_()
        assert torch.autograd.gradcheck(rotmat_to_rotvec, rotmat)
        assert torch.autograd.gradcheck(quat_to_rotvec, rotvec_to_quat(rotvec).detach().requires_grad_())
    if 0.01 < angle < np.pi:  # the steps of the check are too long for the kink at 0
        assert torch.autograd.gradcheck(lambda v: geodesic_distance(rotvec_to_rotmat(v), torch.eye(3).double()), rotvec)


def test_rot6d_gradient_equals_finite_differences():
    rot6d = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(rot6d_to_rotmat, rot6d)


def test_leading_dims_may_be_absent_or_empty():
    assert rotvec_to_rotmat(torch.zeros(3)).equal(torch.eye(3))
    assert rotmat_to_rotvec(torch.zeros(0, 2, 3, 3)).shape == (0, 2, 3)
    assert rot6d_to_rotmat(torch.zeros(0, 6)).shape == (0, 3, 3)


def test_small_matmul_is_a_product_and_keeps_its_precision_under_autocast():
    a, b = torch.randn(5, 1, 4, 3), torch.randn(2, 3, 6)
    torch.testing.assert_close(small_matmul(a, b), a @ b)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.testing.assert_close(small_matmul(a, b), (a.double() @ b.double()).float(), atol=1e-6, rtol=1e-5)
