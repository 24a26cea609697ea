"""Kernels over time, against least-squares fits of numpy."""

import numpy as np
import pytest
import torch

from handpose.models.layers.temporal_kernels import (
    LARGEST_CHANGE,
    local_parabola,
    neighbours,
    parabola_residuals,
    weighted_mean,
)

HALF_WIDTH, UNIT = 6, 2.0
TIME = np.arange(-HALF_WIDTH, HALF_WIDTH + 1) / UNIT


def random_weights(seed=0, shape=(2, 3, 4)):
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (*shape, len(TIME))))
    return logits.softmax(-1)


def constant(value, shape=(2, 3, 4, 1)):
    return torch.full(shape, value, dtype=torch.float64)


@pytest.mark.parametrize('slope, bend', [(0.5, 0.05), (1e-3, 2.0), (3.0, 1e-3)])
def test_the_kernel_is_that_of_a_ridge_regression(slope, bend):
    weights = random_weights()
    kernel = local_parabola(weights, constant(slope), constant(bend), UNIT)
    design = np.stack([np.ones_like(TIME), TIME, TIME**2], -1)
    for w, found in zip(weights.flatten(0, 2).numpy(), kernel.flatten(0, 2).numpy(), strict=True):
        weighted = design * np.sqrt(w)[:, None]
        penalty = np.diag(np.sqrt([0, slope, bend]))
        solution = np.linalg.lstsq(
            np.concatenate([weighted, penalty]),
            np.concatenate([np.diag(np.sqrt(w)), np.zeros((3, len(w)))]),
            rcond=None,
        )[0]
        change = solution[0] - w
        expected = w + change * min(1, LARGEST_CHANGE / np.abs(change).sum())
        np.testing.assert_allclose(found, expected, atol=1e-9)
    torch.testing.assert_close(kernel.sum(-1), torch.ones_like(kernel[..., 0]))


def test_residuals_are_those_of_a_ridge_regression():
    weights, slope, bend = random_weights(3), 0.5, 0.05
    around = torch.from_numpy(np.random.default_rng(4).normal(0, 1, (*weights.shape, 3)))
    found = parabola_residuals(around, weights, constant(slope), constant(bend), UNIT)
    design = np.stack([np.ones_like(TIME), TIME, TIME**2], -1)
    for n, t, p in np.ndindex(*weights.shape[:3]):
        w, points = weights[n, t, p].numpy(), around[n, t, p].numpy()
        normal = design.T @ (w[:, None] * design) + np.diag([0, slope, bend])
        fitted = design @ np.linalg.solve(normal, design.T @ (w[:, None] * points))
        np.testing.assert_allclose(found[n, t, p], np.linalg.norm(points - fitted, axis=-1), atol=1e-9)


def test_large_ridges_give_the_weighted_mean():
    weights = random_weights(1)
    kernel = local_parabola(weights, constant(1e12), constant(1e12), UNIT)
    torch.testing.assert_close(kernel, weights, atol=1e-9, rtol=0)


def test_without_ridges_a_parabola_stays_as_it_is():
    frames = torch.arange(20, dtype=torch.float64)
    path = torch.stack([frames, 0.1 * frames**2, 3 - frames], -1)[None, :, None]  # (1, T, 1, 3)
    around = neighbours(path, HALF_WIDTH)[:, HALF_WIDTH:-HALF_WIDTH]
    # Around the frame, not to one side of it: there the fit would be drawn towards the mean.
    weights = torch.from_numpy(np.exp(-(TIME**2) / 2)).expand(*around.shape[:3], -1) * random_weights(
        2, around.shape[:3]
    )
    weights = weights + weights.flip(-1)
    weights = weights / weights.sum(-1, keepdim=True)
    tiny = constant(1e-12, (*around.shape[:3], 1))
    smoothed = weighted_mean(around, local_parabola(weights, tiny, tiny, UNIT))
    torch.testing.assert_close(smoothed, path[:, HALF_WIDTH:-HALF_WIDTH], atol=1e-6, rtol=0)


def test_extrapolation_is_bounded():
    """Two frames far to one side: the line through them would be 13 times their difference away."""
    weights = torch.zeros(1, 1, 1, len(TIME), dtype=torch.float64)
    weights[..., -2:] = 0.5
    kernel = local_parabola(weights, constant(1e-9, (1, 1, 1, 1)), constant(1e9, (1, 1, 1, 1)), UNIT)
    torch.testing.assert_close(kernel[..., -2:].flatten(), torch.tensor([1.0, 0.0], dtype=torch.float64))


def test_one_frame_alone_is_a_copy_of_it():
    weights = torch.zeros(1, 1, 1, len(TIME), dtype=torch.float64)
    weights[..., 4] = 1
    kernel = local_parabola(weights, constant(0.02, (1, 1, 1, 1)), constant(0.02, (1, 1, 1, 1)), UNIT)
    torch.testing.assert_close(kernel, weights)
