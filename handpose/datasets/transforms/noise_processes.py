"""Random processes that the noise model is made of, in seconds, so that they mean the same at any frame rate.

Legend: T frames. Every function takes a numpy Generator; nothing here knows about hands.
"""

from functools import lru_cache

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtri, stdtrit

_RAMP = 0.05  # seconds in which a burst comes and goes
_HISTORY = 4.0  # a burst may have begun this many mean durations before the first frame


def correlated(rng, num_frames, channels, time_constant, fps):
    """A stationary Ornstein-Uhlenbeck process of unit variance, sampled once a frame: an AR(1) process.

    Its autocorrelation after s seconds is exp(-s / time_constant); 0 gives white noise, infinity a constant.

    Returns:
        (T, channels) float64.
    """
    drawn = rng.standard_normal((num_frames, channels))
    if time_constant <= 0:
        return drawn
    decay = np.exp(-1 / (fps * time_constant))
    drawn[1:] *= np.sqrt(1 - decay**2)
    return lfilter([1.0], [1.0, -decay], drawn, axis=0)


def mixture(rng, num_frames, channels, time_constants, shares, fps):
    """The sum of independent processes of several time constants; `shares` are their parts of the variance.

    Returns:
        (T, channels) float64 of unit variance.
    """
    parts = zip(time_constants, shares, strict=True)
    return sum(
        np.sqrt(share) * correlated(rng, num_frames, channels, constant, fps) for constant, share in parts if share
    ) / np.sqrt(sum(shares))


def heavy_tailed(rng, shape, freedom, largest):
    """Vectors of Student's t distribution (the multivariate one, whose every direction is the same), scaled.

    The scale is such that half of a coordinate's values are within 0.674 of zero, as for a standard normal one; the
    tails are heavier.

    Args:
        shape: of the result; the last dim is the vector's. freedom: degrees of freedom, above 0; infinity gives the
            normal distribution. largest: coordinates beyond it are cut off.
    """
    drawn = rng.standard_normal(shape)
    if np.isfinite(freedom):
        spread = np.sqrt(2 * rng.standard_gamma(freedom / 2, (*shape[:-1], 1)) / freedom)
        drawn *= _quartile(np.inf) / _quartile(freedom) / spread
    return drawn.clip(-largest, largest)


@lru_cache
def _quartile(freedom):
    return float(stdtrit(freedom, 0.75)) if np.isfinite(freedom) else float(ndtri(0.75))


def bursts(rng, num_frames, fps, rate, duration):
    """Intervals that begin by chance.

    Args:
        rate: how many begin in a second, on average (Poisson). duration: seconds that they last, on average
            (exponential).

    Returns:
        begin and end (N,) seconds from the first frame, of those that may touch the clip.
    """
    lead = _HISTORY * duration
    seconds = lead + num_frames / fps
    count = rng.poisson(rate * seconds)
    begin = rng.uniform(-lead, num_frames / fps, count)
    return begin, begin + rng.exponential(duration, count)


def inside(begin, end, num_frames, fps):
    """(N, T) bool: which frames lie in which interval."""
    time = np.arange(num_frames) / fps
    return (time >= begin[:, None]) & (time < end[:, None])


def envelope(begin, end, num_frames, fps):
    """(N, T) from 0 to 1: like `inside`, but it takes 0.05 s to come and to go."""
    time = np.arange(num_frames) / fps
    rising, falling = (time - begin[:, None]) / _RAMP, (end[:, None] - time) / _RAMP
    return np.minimum(rising, falling).clip(0, 1)


def smooth_function(rng, inputs, outputs, length_scale, features=24):
    """A random smooth function, decided by the generator, of each row of `inputs`: random Fourier features.

    It is close to a Gaussian process of unit variance with a squared-exponential kernel: its values at two inputs that
    lie d apart correlate by exp(-d^2 / 2 length_scale^2).

    Args:
        inputs: (T, D). outputs: how many such functions.

    Returns:
        (T, outputs) float64.
    """
    directions = rng.standard_normal((inputs.shape[1], features)) / length_scale
    phases = rng.uniform(0, 2 * np.pi, features)
    weights = rng.standard_normal((features, outputs)) * np.sqrt(2 / features)
    return np.cos(inputs @ directions + phases) @ weights
