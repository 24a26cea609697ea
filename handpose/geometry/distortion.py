"""Lens distortion: between the pixels of a real camera and those of the pinhole camera with the same intrinsics.

The models and the order of their coefficients are OpenCV's. `x`, `y` are pinhole coordinates at depth 1, r their
length.

- `'pinhole'`: no coefficients, no distortion.
- `'radial_tangential'`: k1, k2, p1, p2, then k3, then k4, k5, k6 (4, 5 or 8 coefficients):
  x (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2), and y likewise.
- `'fisheye'`: k1 to k4; with theta = atan(r), the point moves to the distance
  theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) from the principal point (Kannala and Brandt, PAMI
  2006).
  With 8 coefficients, k1 to k6, p1, p2: two more powers of theta^2, and then the tangential terms of the model above,
  as the headset cameras of AssemblyHands have them; OpenCV does not have this one.

Far outside the image the polynomials turn back, so a point that the camera cannot see may get pixels inside the image.
"""

import torch
from torch import Tensor

from handpose.geometry.camera import apply_affine, unproject_points
from handpose.geometry.rotations import small_matmul

NUM_COEFFICIENTS = {'pinhole': (0,), 'radial_tangential': (4, 5, 8), 'fisheye': (4, 8)}

_ITERATIONS = 20  # Newton's method; a few are enough except next to the radius where the polynomial turns back
_TOLERANCE = 1e-9  # at depth 1, a millionth of a pixel at a focal length of 1000
_SMALL_RADIUS = 1e-12


def check_distortion(model: str, num_coefficients: int) -> None:
    """Checks the name of a distortion model and its number of coefficients.

    Args:
        model: `'pinhole'`, `'radial_tangential'` or `'fisheye'`.
        num_coefficients: how many coefficients there are.

    Raises:
        ValueError: an unknown model, or a number of coefficients that it does not have.
    """
    if model not in NUM_COEFFICIENTS:
        raise ValueError(f'unknown distortion model {model!r}; known are {", ".join(NUM_COEFFICIENTS)}')
    if num_coefficients not in NUM_COEFFICIENTS[model]:
        expected = ' or '.join(map(str, NUM_COEFFICIENTS[model]))
        raise ValueError(f'the distortion model {model!r} has {expected} coefficients, got {num_coefficients}')


def distort_points(points_2d: Tensor, intrinsics: Tensor, model: str, coefficients: Tensor) -> Tensor:
    """Moves pixels of the pinhole image to where the real camera sees them.

    Equal to `cv2.projectPoints` and `cv2.fisheye.projectPoints` after `project_points`.

    Args:
        points_2d: (..., N, 2) pixels of the pinhole image.
        intrinsics: (..., 3, 3).
        model: `'pinhole'`, `'radial_tangential'` or `'fisheye'`.
        coefficients: (..., n) in OpenCV's order; n = 0 for a pinhole camera.

    Returns:
        (..., N, 2) pixels of the distorted image, in the dtype of `points_2d`; differentiable. Computed in float64.

    Raises:
        ValueError: an unknown model, or a number of coefficients that it does not have.
    """
    check_distortion(model, coefficients.shape[-1])
    if model == 'pinhole':
        return points_2d
    xy = _normalized(points_2d, intrinsics)
    distorted = _radial_tangential(xy, coefficients)[0] if model != 'fisheye' else _fisheye(xy, coefficients)
    return apply_affine(distorted, intrinsics.double()[..., :2, :]).to(points_2d.dtype)


def undistort_points(points_2d: Tensor, intrinsics: Tensor, model: str, coefficients: Tensor) -> Tensor:
    """Moves pixels of the real camera to where a pinhole camera with the same intrinsics would see them.

    The inverse of `distort_points`, by Newton's method.

    Args:
        points_2d: (..., N, 2) pixels of the distorted image.
        intrinsics: (..., 3, 3).
        model: `'pinhole'`, `'radial_tangential'` or `'fisheye'`.
        coefficients: (..., n) in OpenCV's order; n = 0 for a pinhole camera.

    Returns:
        (..., N, 2) pixels of the pinhole image, in the dtype of `points_2d`; differentiable. Computed in float64. NaN
        where the model moves no point to the pixel (beyond the radius where its polynomial turns back, or 90 degrees
        and more from the optical axis), which `triangulate` takes for a missing observation.

    Raises:
        ValueError: an unknown model, or a number of coefficients that it does not have.
    """
    check_distortion(model, coefficients.shape[-1])
    if model == 'pinhole':
        return points_2d
    distorted = _normalized(points_2d, intrinsics)
    inverse = _inverse_fisheye if model == 'fisheye' else _inverse_radial_tangential
    xy = inverse(distorted, coefficients)
    return apply_affine(xy, intrinsics.double()[..., :2, :]).to(points_2d.dtype)


def _normalized(points_2d: Tensor, intrinsics: Tensor) -> Tensor:
    ones = torch.ones_like(points_2d[..., 0], dtype=torch.float64)
    return unproject_points(points_2d.double(), ones, intrinsics.double())[..., :2]


def _radial_tangential(xy: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Distorted points (..., N, 2) and the derivative (..., N, 2, 2)."""
    padded = torch.nn.functional.pad(coefficients.double(), (0, 8 - coefficients.shape[-1]))
    k1, k2, p1, p2, k3, k4, k5, k6 = padded.unsqueeze(-2).unbind(-1)
    x, y = xy.unbind(-1)
    square = x * x + y * y
    above = 1 + square * (k1 + square * (k2 + square * k3))
    below = 1 + square * (k4 + square * (k5 + square * k6))
    slope_above = k1 + square * (2 * k2 + square * 3 * k3)  # by r^2
    slope_below = k4 + square * (2 * k5 + square * 3 * k6)
    scale = above / below
    slope = 2 * (slope_above - scale * slope_below) / below
    distorted = (
        x * scale + 2 * p1 * x * y + p2 * (square + 2 * x * x),
        y * scale + 2 * p2 * x * y + p1 * (square + 2 * y * y),
    )
    mixed = x * y * slope + 2 * p1 * x + 2 * p2 * y
    rows = (
        (scale + x * x * slope + 2 * p1 * y + 6 * p2 * x, mixed),
        (mixed, scale + y * y * slope + 2 * p2 * x + 6 * p1 * y),
    )
    return torch.stack(distorted, -1), torch.stack([torch.stack(row, -1) for row in rows], -2)


def _newton_step(xy: Tensor, distorted: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """The next estimate, and where this one is good: it reaches the pixel and distortion does not fold there."""
    found, derivative = _radial_tangential(xy, coefficients)
    (a, b), (c, d) = (row.unbind(-1) for row in derivative.unbind(-2))
    determinant = a * d - b * c
    error = found - distorted
    # The derivative is symmetric; where it is not positive definite the image is folded or mirrored.
    good = (error.detach().abs().amax(-1) < _TOLERANCE) & (determinant > 0) & (a + d > 0)
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    divisor = torch.where(determinant.abs() < _SMALL_RADIUS, 1.0, determinant)[..., None]
    return xy - small_matmul(adjugate, error.unsqueeze(-1)).squeeze(-1) / divisor, good


def _inverse_radial_tangential(distorted: Tensor, coefficients: Tensor) -> Tensor:
    xy = distorted.detach()
    with torch.no_grad():
        for _ in range(_ITERATIONS):
            xy, _ = _newton_step(xy, distorted, coefficients)
    # The last step has the gradient of the inverse function: the derivative of the step's own slope meets an error of 0
    xy, good = _newton_step(xy, distorted, coefficients)
    return torch.where(good.unsqueeze(-1), xy, torch.nan)


def _fisheye_radius(theta: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Distance from the principal point at depth 1, and its derivative, at angles (..., N) from the optical axis."""
    radial = (coefficients if coefficients.shape[-1] == 4 else coefficients[..., :6]).double().unsqueeze(-2).unbind(-1)
    square = theta * theta
    radius, slope = torch.zeros_like(theta), torch.zeros_like(theta)
    for power, k in reversed(list(enumerate(radial, 1))):
        radius = square * (k + radius)
        slope = square * ((2 * power + 1) * k + slope)
    return theta * (1 + radius), 1 + slope


def _tangential(coefficients: Tensor) -> Tensor:
    """The tangential terms of a fisheye's 8 coefficients, as coefficients (..., 4) of 'radial_tangential'."""
    return torch.nn.functional.pad(coefficients[..., 6:], (2, 0))


def _lengths(xy: Tensor) -> Tensor:
    """Distances from the origin (..., N), with a finite gradient at the origin."""
    return xy.square().sum(-1).clamp_min(_SMALL_RADIUS**2).sqrt()


def _fisheye(xy: Tensor, coefficients: Tensor) -> Tensor:
    length = _lengths(xy)
    radius, _ = _fisheye_radius(length.atan(), coefficients)
    moved = xy * (radius / length).unsqueeze(-1)
    return moved if coefficients.shape[-1] == 4 else _radial_tangential(moved, _tangential(coefficients))[0]


def _inverse_fisheye(distorted: Tensor, coefficients: Tensor) -> Tensor:
    if coefficients.shape[-1] == 8:
        distorted = _inverse_radial_tangential(distorted, _tangential(coefficients))
    target = _lengths(distorted)

    def step(theta: Tensor) -> tuple[Tensor, Tensor]:
        radius, slope = _fisheye_radius(theta, coefficients)
        error = radius - target
        good = (error.detach().abs() < _TOLERANCE) & (slope > 0) & (theta < torch.pi / 2) & (theta > 0)
        return theta - error / torch.where(slope.abs() < _SMALL_RADIUS, 1.0, slope), good

    with torch.no_grad():
        theta = target.clamp_max(torch.pi / 2)
        for _ in range(_ITERATIONS):
            theta, _ = step(theta)
    theta, good = step(theta)
    theta = torch.where(good, theta, 0.0)
    return torch.where(good.unsqueeze(-1), distorted * (theta.tan() / target).unsqueeze(-1), torch.nan)
