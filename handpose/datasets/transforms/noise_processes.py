"""Random processes of the noise model, in seconds, so that they are independent of the frame rate.

Legend: T frames, N bursts. Nothing here depends on hands.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]

SLOW = 0.7  # seconds: no temporal method can remove an error that persists longer, as it varies like the motion itself
_RAMP = 0.05  # seconds in which a burst rises and falls
_HISTORY = 4.0  # a burst may have begun this many mean durations before the first frame


def correlated_noise(rng: Generator, num_frames: int, channels: int, time_constant: float, fps: float) -> Array:
    """Samples a stationary Ornstein-Uhlenbeck process of unit variance once per frame: an AR(1) process.

    Args:
        rng: source of the random draws.
        num_frames: T.
        channels: number of independent processes.
        time_constant: seconds; the autocorrelation after s seconds is exp(-s / time_constant). 0 gives white noise,
            infinity a constant.
        fps: frames per second.

    Returns:
        (T, channels).
    """
    from scipy.signal import lfilter  # here, as half a second of importing is for those alone who draw noise

    samples = rng.standard_normal((num_frames, channels))
    if time_constant <= 0:
        return samples
    decay = np.exp(-1 / (fps * time_constant))
    samples[1:] *= np.sqrt(1 - decay**2)
    return lfilter([1.0], [1.0, -decay], samples, axis=0)


class MixedNoise(NamedTuple):
    """Sum of processes with several time constants.

    Attributes:
        total: (T, channels) of unit variance.
        slow: (T, channels) the processes with time constants of at least `SLOW`.
    """

    total: Array
    slow: Array


def mixed_noise(
    rng: Generator,
    num_frames: int,
    channels: int,
    time_constants: Sequence[float],
    fractions: Sequence[float],
    fps: float,
) -> MixedNoise:
    """Samples the sum of independent processes with several time constants.

    Args:
        rng: source of the random draws.
        num_frames: T.
        channels: number of independent sums.
        time_constants: seconds, of each process, see `correlated_noise`.
        fractions: of the variance, of each process.
        fps: frames per second.
    """
    total, slow = np.zeros((2, num_frames, channels))
    for constant, fraction in zip(time_constants, fractions, strict=True):
        if fraction:
            process = np.sqrt(fraction) * correlated_noise(rng, num_frames, channels, constant, fps)
            total = total + process
            slow = slow + process if constant >= SLOW else slow
    return MixedNoise(total / np.sqrt(sum(fractions)), slow / np.sqrt(sum(fractions)))


def heavy_tailed(rng: Generator, shape: tuple[int, ...], freedom: float, largest: float) -> Array:
    """Samples vectors of the multivariate Student's t distribution, which is the same in all directions.

    It is scaled so that half of a coordinate's values are within 0.674 of zero, as for the standard normal
    distribution; the tails are heavier.

    Args:
        rng: source of the random draws.
        shape: of the result; the last dim is the vector's.
        freedom: degrees of freedom, above 0; infinity gives the normal distribution.
        largest: coordinates are clipped to it.

    Returns:
        An array of this shape.
    """
    samples = rng.standard_normal(shape)
    if np.isfinite(freedom):
        spread = np.sqrt(2 * rng.standard_gamma(freedom / 2, (*shape[:-1], 1)) / freedom)
        samples *= _quartile(np.inf) / _quartile(freedom) / spread
    return samples.clip(-largest, largest)


@lru_cache
def _quartile(freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(stdtrit(freedom, 0.75)) if np.isfinite(freedom) else float(ndtri(0.75))


def sample_bursts(rng: Generator, num_frames: int, fps: float, rate: float, duration: float) -> tuple[Array, Array]:
    """Samples intervals that begin at random times.

    Args:
        rng: source of the random draws.
        num_frames: T.
        fps: frames per second.
        rate: bursts that begin per second, on average (Poisson).
        duration: seconds that they last, on average (exponential).

    Returns:
        Begin and end (N,), seconds from the first frame, of those that may overlap the clip.
    """
    lead = _HISTORY * duration
    seconds = lead + num_frames / fps
    count = rng.poisson(rate * seconds)
    begin = rng.uniform(-lead, num_frames / fps, count)
    return begin, begin + rng.exponential(duration, count)


def burst_mask(begin: Array, end: Array, num_frames: int, fps: float) -> NDArray[np.bool_]:
    """Marks the frames in each burst.

    Args:
        begin: (N,) seconds.
        end: (N,) seconds.
        num_frames: T.
        fps: frames per second.

    Returns:
        (N, T).
    """
    time = np.arange(num_frames) / fps
    return (time >= begin[:, None]) & (time < end[:, None])


def burst_envelope(begin: Array, end: Array, num_frames: int, fps: float) -> Array:
    """Computes a smooth `burst_mask`, which rises and falls within 0.05 s.

    Args:
        begin: (N,) seconds.
        end: (N,) seconds.
        num_frames: T.
        fps: frames per second.

    Returns:
        (N, T) from 0 to 1.
    """
    time = np.arange(num_frames) / fps
    rising, falling = (time - begin[:, None]) / _RAMP, (end[:, None] - time) / _RAMP
    return np.minimum(rising, falling).clip(0, 1)


def smooth_function(rng: Generator, inputs: Array, outputs: int, length_scale: float, features: int = 24) -> Array:
    """Evaluates a random smooth function, determined by the generator, of each row of `inputs`.

    Random Fourier features: it is close to a Gaussian process of unit variance with a squared-exponential kernel, and
    its values at two inputs with distance d correlate by exp(-d^2 / 2 length_scale^2).

    Args:
        rng: source of the function.
        inputs: (T, D).
        outputs: number of such functions.
        length_scale: in the unit of the inputs.
        features: number of random Fourier features.

    Returns:
        (T, outputs).
    """
    directions = rng.standard_normal((inputs.shape[1], features)) / length_scale
    phases = rng.uniform(0, 2 * np.pi, features)
    weights = rng.standard_normal((features, outputs)) * np.sqrt(2 / features)
    return np.cos(inputs @ directions + phases) @ weights
