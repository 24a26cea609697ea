"""Kernels over time: neighbouring frames of points, what moves there, and their weighted means.

Legend: N hands, T frames, P points, W frames before and after a frame, K = 2 W + 1 frames around it.
"""

import torch
from torch import Tensor


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
    Modelling, 1996, section 3.1).

    Args:
        weights: (N, T, P, K), not negative, sum 1.
        slope_ridge: (N, T, P, 1), positive.
        bend_ridge: (N, T, P, 1), positive.
        unit: frames per unit of time, in which slope and bend are measured.

    Returns:
        (N, T, P, K), sum 1; negative values are possible.
    """
    half_width = weights.shape[-1] // 2
    time = torch.arange(-half_width, half_width + 1, device=weights.device, dtype=weights.dtype) / unit
    powers = torch.stack([time, time**2, time**3, time**4], -1)  # (K, 4)
    m1, m2, m3, m4 = (weights @ powers).split(1, -1)
    # The constant is free, so it is eliminated; what remains are covariances of time and its square.
    slope, mixed, bend = m2 - m1**2 + slope_ridge, m3 - m1 * m2, m4 - m2**2 + bend_ridge
    determinant = slope * bend - mixed**2
    linear = (mixed * m2 - bend * m1) / determinant
    quadratic = (mixed * m1 - slope * m2) / determinant
    constant = 1 - linear * m1 - quadratic * m2
    return weights * (constant + linear * time + quadratic * time**2)


def offsets(around: Tensor) -> Tensor:
    """Lists the positions of neighbouring frames.

    Args:
        around: (N, T, P, K, C).

    Returns:
        (K,) from -W to W.
    """
    half_width = around.shape[-2] // 2
    return torch.arange(-half_width, half_width + 1, device=around.device, dtype=around.dtype)
