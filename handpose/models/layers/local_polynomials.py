"""Smoothing by polynomials fitted around every sample of a track, at its true times.

Legend: T samples, C coordinates, W samples of a window, P = order + 1 coefficients.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def local_polynomials(
    values: NDArray[np.float64],
    times: NDArray[np.float64],
    half_width: float,
    order: int,
    weight: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    shift_at_ends: bool = False,
) -> NDArray[np.float64]:
    """Evaluates, at each sample, the polynomial fitted by weighted least squares to the samples around it.

    With regular times, a constant weight and `shift_at_ends` this is the Savitzky-Golay filter; with Gaussian weights
    and order 1, inside a track, the Gaussian filter. A window of at most order + 1 samples leaves its sample unchanged.

    Args:
        values: (T, C) samples.
        times: (T,), increasing, in the unit of `half_width`; a missing sample is simply not listed.
        half_width: a window holds the samples at most this far from its centre.
        order: degree of the polynomials.
        weight: maps distances from -1 to 1, in half widths, to the weights of the samples there.
        shift_at_ends: windows keep their width at the ends of the track, where they are no longer centred; if False,
            they are cut off.

    Returns:
        (T, C) smoothed samples.
    """
    centres = times
    if shift_at_ends:
        middle = (times[0] + times[-1]) / 2
        low, high = min(times[0] + half_width, middle), max(times[-1] - half_width, middle)
        centres = np.clip(times, low, high)
    margin = half_width * (1 + 1e-6)
    first = np.searchsorted(times, centres - margin, side='left')
    last = np.searchsorted(times, centres + margin, side='right')
    counts = last - first
    index = first[:, None] + np.arange(counts.max())
    inside = index < last[:, None]
    index = np.minimum(index, len(times) - 1)
    distance = (times[index] - times[:, None]) / half_width
    weights = np.where(inside, weight(distance), 0.0)
    powers = distance[..., None] ** np.arange(order + 1)  # (T, W, P)
    normal = np.einsum('twp,tw,twq->tpq', powers, weights, powers)
    fitted = counts > order + 1
    normal[~fitted] = np.eye(order + 1)
    first_unit_vector = np.zeros((len(times), order + 1, 1))
    first_unit_vector[:, 0] = 1
    coefficients = weights * (powers @ np.linalg.solve(normal, first_unit_vector))[..., 0]  # (T, W)
    smoothed = np.zeros_like(values)
    for column in range(coefficients.shape[1]):
        smoothed += coefficients[:, column, None] * values[index[:, column]]
    return np.where(fitted[:, None], smoothed, values)
