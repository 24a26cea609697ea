"""Conversions between rotation vectors, matrices, 6D numbers and quaternions, named `from_to_to`.

Everything is batched over leading dims `...`, differentiable, and finite in value and gradient for every rotation, the
identity and half turns included: where a formula breaks down, both branches of `torch.where` see safe numbers.
Angles are radians; quaternions are (w, x, y, z); 6D is the first column, then the second.
"""

import torch
from torch import Tensor

# Below this squared half-angle tangent or sine the power series are exact in float64 and better than the quotient.
_SMALL_SQUARED = 1e-4


def small_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Multiplies matrices with a small inner dimension; leading dims broadcast.

    Written with elementwise operations, which autocast and TF32 leave in full precision: rigid transforms lose
    millimetres in a half-precision matrix product.

    Args:
        a: (..., n, k).
        b: (..., k, m).

    Returns:
        (..., n, m).
    """
    product = a[..., :1] * b[..., :1, :]
    for k in range(1, a.shape[-1]):
        product = product + a[..., k : k + 1] * b[..., k : k + 1, :]
    return product


def quat_to_rotmat(quat: Tensor) -> Tensor:
    """Converts quaternions to rotation matrices.

    Args:
        quat: (..., 4), w first, of any length but zero.

    Returns:
        (..., 3, 3).
    """
    double = 2 / quat.square().sum(-1, keepdim=True).clamp_min(torch.finfo(quat.dtype).tiny)
    w, x, y, z = quat.unbind(-1)
    _, dx, dy, dz = (quat * double).unbind(-1)
    rows = (
        (1 - y * dy - z * dz, x * dy - w * dz, x * dz + w * dy),
        (x * dy + w * dz, 1 - x * dx - z * dz, y * dz - w * dx),
        (x * dz - w * dy, y * dz + w * dx, 1 - x * dx - y * dy),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def rotmat_to_quat(rotmat: Tensor) -> Tensor:
    """Converts rotation matrices to unit quaternions.

    The symmetric matrix 4 q q^T is linear in the rotation matrix. Its row with the largest diagonal entry is q times a
    number of at least 1 in size, so normalising that row needs no square root of a vanishing number.

    Args:
        rotmat: (..., 3, 3).

    Returns:
        (..., 4), w first and never negative.
    """
    (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = (row.unbind(-1) for row in rotmat.unbind(-2))
    rows = (
        (1 + r00 + r11 + r22, r21 - r12, r02 - r20, r10 - r01),
        (r21 - r12, 1 + r00 - r11 - r22, r01 + r10, r02 + r20),
        (r02 - r20, r01 + r10, 1 - r00 + r11 - r22, r12 + r21),
        (r10 - r01, r02 + r20, r12 + r21, 1 - r00 - r11 + r22),
    )
    outer = torch.stack([torch.stack(row, -1) for row in rows], -2)
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = outer.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    return _positive_w(row / torch.linalg.vector_norm(row, dim=-1, keepdim=True))


def rotvec_to_quat(rotvec: Tensor) -> Tensor:
    """Converts rotation vectors to unit quaternions.

    Args:
        rotvec: (..., 3) axis times angle in radians.

    Returns:
        (..., 4), w first. w is the cosine of half the angle, so it is negative for angles between pi and 3 pi.
    """
    squared = rotvec.square().sum(-1, keepdim=True) / 4  # half the angle, squared
    small = squared < _SMALL_SQUARED
    half = torch.where(small, torch.ones_like(squared), squared).sqrt()
    sine_ratio = torch.where(small, 1 - squared / 6 * (1 - squared / 20), half.sin() / half)
    cosine = torch.where(small, 1 - squared / 2 * (1 - squared / 12 * (1 - squared / 30)), half.cos())
    return torch.cat([cosine, rotvec * sine_ratio / 2], -1)


def quat_to_rotvec(quat: Tensor) -> Tensor:
    """Converts quaternions to rotation vectors.

    Args:
        quat: (..., 4), w first, of any length but zero.

    Returns:
        (..., 3) with an angle from 0 to pi. At exactly pi one of the two opposite axes is taken.
    """
    quat = _positive_w(quat)
    w, xyz = quat[..., :1], quat[..., 1:]
    squared = xyz.square().sum(-1, keepdim=True)
    small = squared <= _SMALL_SQUARED * w.square()
    sine = torch.where(small, torch.ones_like(squared), squared).sqrt()
    cosine = torch.where(small & (w > 0), w, torch.ones_like(w))
    tangent = torch.where(small, squared / cosine.square(), torch.zeros_like(squared))
    series = (1 - tangent / 3 * (1 - tangent * 3 / 5 * (1 - tangent * 5 / 7))) / cosine
    return xyz * 2 * torch.where(small, series, torch.atan2(sine, w) / sine)


def rotvec_to_rotmat(rotvec: Tensor) -> Tensor:
    """Converts rotation vectors to rotation matrices (Rodrigues).

    Args:
        rotvec: (..., 3) axis times angle of any size, radians.

    Returns:
        (..., 3, 3).
    """
    return quat_to_rotmat(rotvec_to_quat(rotvec))


def rotmat_to_rotvec(rotmat: Tensor) -> Tensor:
    """Converts rotation matrices to rotation vectors.

    Args:
        rotmat: (..., 3, 3).

    Returns:
        (..., 3) with an angle from 0 to pi, radians.
    """
    return quat_to_rotvec(rotmat_to_quat(rotmat))


def rotmat_to_rot6d(rotmat: Tensor) -> Tensor:
    """Converts rotation matrices to 6D.

    Args:
        rotmat: (..., 3, 3).

    Returns:
        (..., 6): the first column, then the second (not interleaved).
    """
    return torch.cat([rotmat[..., 0], rotmat[..., 1]], -1)


def rot6d_to_rotmat(rot6d: Tensor) -> Tensor:
    """Converts 6D to rotation matrices by Gram-Schmidt.

    Any six finite numbers give a rotation. Where they fix no first or no second direction (a zero vector, two parallel
    vectors), a coordinate axis made orthogonal takes its place, without a gradient.
    Source: Zhou et al., On the Continuity of Rotation Representations in Neural Networks, CVPR 2019.

    Args:
        rot6d: (..., 6), the first column, then the second.

    Returns:
        (..., 3, 3).
    """
    first, second = rot6d[..., :3], rot6d[..., 3:]
    tiny = torch.finfo(rot6d.dtype).tiny ** 0.5
    x = _normalize_or(first, tiny, first.new_tensor([1.0, 0.0, 0.0]).expand_as(first))
    # The axis least along x is far from parallel to it.
    least = torch.nn.functional.one_hot(x.detach().abs().argmin(-1), 3).to(x.dtype)
    spare = _normalize_or(_orthogonal_part(least, x.detach()), tiny, least)
    # What rounding leaves of a parallel vector must not be blown up to a direction.
    limit = torch.finfo(rot6d.dtype).eps ** 0.5 * torch.linalg.vector_norm(second.detach(), dim=-1, keepdim=True)
    y = _normalize_or(_orthogonal_part(second, x), limit.clamp_min(tiny), spare)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], -1)


def geodesic_distance(rotmat1: Tensor, rotmat2: Tensor) -> Tensor:
    """Computes the angle between rotations.

    The gradient is zero where the two are equal (the distance has a kink there).

    Args:
        rotmat1: (..., 3, 3).
        rotmat2: (..., 3, 3).

    Returns:
        (...) radians, 0 to pi.
    """
    quat = rotmat_to_quat(small_matmul(rotmat1.transpose(-1, -2), rotmat2))
    return 2 * torch.atan2(torch.linalg.vector_norm(quat[..., 1:], dim=-1), quat[..., 0])


def _positive_w(quat: Tensor) -> Tensor:
    return torch.where(quat[..., :1] < 0, -quat, quat)


def _orthogonal_part(vector: Tensor, unit: Tensor) -> Tensor:
    """What remains of `vector` orthogonal to `unit`."""
    return vector - (vector * unit).sum(-1, keepdim=True) * unit


def _normalize_or(vector: Tensor, limit: float | Tensor, fallback: Tensor) -> Tensor:
    """Normalises `vector`, or takes `fallback` where its length is at most `limit`."""
    usable = torch.linalg.vector_norm(vector.detach(), dim=-1, keepdim=True) > limit
    safe = torch.where(usable, vector, fallback)
    return safe / torch.linalg.vector_norm(safe, dim=-1, keepdim=True)
