"""The fisheye model with six radial and two tangential coefficients, against its formula written out."""

import numpy as np
import torch

from handpose.geometry.distortion import distort_points, undistort_points

INTRINSICS = np.array([[192.0, 0, 318.5], [0, 191.0, 237.25], [0, 0, 1]])
# About the values of a headset camera of AssemblyHands.
LENS = [0.248, 0.190, -0.481, 0.381, -0.146, 0.0226, -8.5e-4, 2.7e-4]


def test_distortion_follows_the_formula_and_undistortion_inverts_it():
    xy = np.random.default_rng(0).uniform(-1.2, 1.2, (100, 2))
    k, (p1, p2) = LENS[:6], LENS[6:]
    expected = []
    for x, y in xy:
        r = np.hypot(x, y)
        theta = np.arctan(r)
        scale = theta * (1 + sum(c * theta ** (2 * i) for i, c in enumerate(k, 1))) / r
        u, v = x * scale, y * scale
        rr = u * u + v * v
        expected.append((u + 2 * p1 * u * v + p2 * (rr + 2 * u * u), v + p1 * (rr + 2 * v * v) + 2 * p2 * u * v))
    focal, centre = INTRINSICS[[0, 1], [0, 1]], INTRINSICS[:2, 2]
    points = torch.from_numpy(xy * focal + centre)
    lens, intrinsics = torch.tensor(LENS, dtype=torch.float64), torch.from_numpy(INTRINSICS)
    distorted = distort_points(points, intrinsics, 'fisheye', lens)
    np.testing.assert_allclose(distorted.numpy(), np.array(expected) * focal + centre, atol=1e-9)
    back = undistort_points(distorted, intrinsics, 'fisheye', lens)
    torch.testing.assert_close(back, points, atol=1e-6, rtol=0)


def test_without_the_added_terms_it_is_the_model_of_four_coefficients():
    points = torch.rand(20, 2, dtype=torch.float64) * 400
    intrinsics = torch.from_numpy(INTRINSICS)
    short = torch.tensor([0.05, -0.02, 0.01, -0.003], dtype=torch.float64)
    long = torch.nn.functional.pad(short, (0, 4))
    for function in (distort_points, undistort_points):
        torch.testing.assert_close(
            function(points, intrinsics, 'fisheye', long), function(points, intrinsics, 'fisheye', short)
        )
