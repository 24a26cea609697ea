"""Kernels over time: neighbouring frames of points, what moves there, and their weighted means.

Legend: N hands, T frames, P points, W frames before and after a frame, K = 2 W + 1 frames around it.
"""

import torch
from torch import Tensor

LARGEST_CHANGE = 1.0  # of a kernel of `local_parabola` against its weights, sum of absolute values


def neighbours(points: Tensor, half_width: int) -> Tensor:
    """Collects the frames around each frame; beyond the ends of the track, its first or last frame.

    Args:
        points: (N, T, P, C).
        half_width: W.

    Returns:
        (N, T, P, K, C).
    """
    first, last = points[:, :1], points[:, -1:]
    before, after = first.expand(-1, half_width, -1, -1), last.expand(-1, half_width, -1, -1)
    return torch.cat([before, points, after], 1).unfold(1, 2 * half_width + 1, 1).transpose(-1, -2)


def gaussian_mean(around: Tensor, seen: Tensor, sigma: float) -> Tensor:
    """Averages neighbouring frames with Gaussian weights.

    Args:
        around: (N, T, P, K, 3), see `neighbours`.
        seen: (N, T, P, K) bool, the frames to use.
        sigma: in frames.

    Returns:
        (N, T, P, 3); zeros where no frame is used.
    """
    weights = torch.exp(-((offsets(around) / sigma) ** 2) / 2) * seen
    return weighted_mean(around, weights / weights.sum(-1, keepdim=True).clamp_min(1e-12))


def gaussian_slope(around: Tensor, sigma: float) -> Tensor:
    """Slope of a line fitted to neighbouring frames with Gaussian weights.

    Args:
        around: (N, T, P, K, 3), see `neighbours`.
        sigma: in frames.

    Returns:
        (N, T, P, 3) per frame.
    """
    offset = offsets(around)
    weights = offset * torch.exp(-((offset / sigma) ** 2) / 2)
    return weighted_mean(around, weights / (weights * offset).sum())


def weighted_mean(around: Tensor, weights: Tensor) -> Tensor:
    """Sums neighbouring frames with weights.

    Args:
        around: (N, T, P, K, 3).
        weights: (K,) or (N, T, P, K).

    Returns:
        (N, T, P, 3).
    """
    return (around * weights[..., None]).sum(-2)


def local_parabola(weights: Tensor, slope_ridge: Tensor, bend_ridge: Tensor, unit: float) -> Tensor:
    """Turns weights of neighbouring frames into the kernel of a local fit.

    Its weighted sum of the frames is the value, at the frame in the middle, of the parabola that fits them best: it
    minimizes the weighted squared distances plus the ridges times the squared slope and bend. Infinite ridges give the
    weighted mean, ridges of zero keep any motion with constant acceleration as it is (Fan and Gijbels, Local Polynomial
    Modelling, 1996, section 3.1). Where frames on one side would be extrapolated far, the kernel is drawn towards the
    weighted mean until it differs from the weights by `LARGEST_CHANGE` in total.

    Args:
        weights: (N, T, P, K), not negative, sum 1.
        slope_ridge: (N, T, P, 1), positive.
        bend_ridge: (N, T, P, 1), positive.
        unit: frames per unit of time, in which slope and bend are measured.

    Returns:
        (N, T, P, K), sum 1, negative values at most half of `LARGEST_CHANGE` in total: the weighted sum is never
        farther from the frames than half of the largest distance between two of them.
    """
    time, square, inverse = _ridge_regression(weights, slope_ridge, bend_ridge, unit)
    m1, m2 = (weights * time).sum(-1, keepdim=True), (weights * square).sum(-1, keepdim=True)
    linear = -(inverse[0] * m1 + inverse[1] * m2)
    quadratic = -(inverse[1] * m1 + inverse[2] * m2)
    change = weights * (linear * (time - m1) + quadratic * (square - m2))
    total = change.abs().sum(-1, keepdim=True)
    return weights + change * (LARGEST_CHANGE / total.clamp_min(LARGEST_CHANGE))


def parabola_residuals(around: Tensor, weights: Tensor, slope_ridge: Tensor, bend_ridge: Tensor, unit: float) -> Tensor:
    """Distances of neighbouring frames from the parabola that fits them, see `local_parabola`.

    Args:
        around: (N, T, P, K, 3).
        weights: (N, T, P, K), not negative, sum 1.
        slope_ridge: (N, T, P, 1), positive.
        bend_ridge: (N, T, P, 1), positive.
        unit: frames per unit of time, in which slope and bend are measured.

    Returns:
        (N, T, P, K), in the unit of the points.
    """
    time, square, inverse = _ridge_regression(weights, slope_ridge, bend_ridge, unit)
    time = time - (weights * time).sum(-1, keepdim=True)
    square = square - (weights * square).sum(-1, keepdim=True)
    to_time, to_square = (weighted_mean(around, weights * x) for x in (time, square))
    slope = inverse[0] * to_time + inverse[1] * to_square
    bend = inverse[1] * to_time + inverse[2] * to_square
    fitted = slope[..., None, :] * time[..., None] + bend[..., None, :] * square[..., None]
    centred = around - weighted_mean(around, weights)[..., None, :]
    return torch.linalg.vector_norm(centred - fitted, dim=-1)


def _ridge_regression(
    weights: Tensor, slope_ridge: Tensor, bend_ridge: Tensor, unit: float
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Times and their squares (K,), and the inverse of their covariance with ridges: three entries (N, T, P, 1)."""
    half_width = weights.shape[-1] // 2
    time = torch.arange(-half_width, half_width + 1, device=weights.device, dtype=weights.dtype) / unit
    square = time**2
    m1, m2, m3, m4 = (weights @ torch.stack([time, square, time**3, time**4], -1)).split(1, -1)
    # The constant of the parabola is free, so it is eliminated.
    slope, mixed, bend = m2 - m1**2 + slope_ridge, m3 - m1 * m2, m4 - m2**2 + bend_ridge
    determinant = slope * bend - mixed**2
    return time, square, (bend / determinant, -mixed / determinant, slope / determinant)


def offsets(around: Tensor) -> Tensor:
    """Lists the positions of neighbouring frames.

    Args:
        around: (N, T, P, K, C).

    Returns:
        (K,) from -W to W.
    """
    half_width = around.shape[-2] // 2
    return torch.arange(-half_width, half_width + 1, device=around.device, dtype=around.dtype)
