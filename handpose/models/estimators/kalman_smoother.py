"""`KalmanSmoother`: the best estimate of a motion whose acceleration is white noise, from positions with white noise.

Without prior knowledge of the first position and velocity, the Rauch-Tung-Striebel smoother of this model is the cubic
smoothing spline (Wahba, 1978), which is computed here in one banded system (Reinsch, 1967) instead of two passes.
Legend: T frames, C coordinates, G groups of coordinates that share their weights.
"""

import numpy as np
from numpy.typing import NDArray

from handpose.models.estimators.motion_filters import MotionFilter
from handpose.registry import MODELS

DEGREES = 4.0  # of freedom of Student's distribution
REWEIGHTINGS = 5
SLOWEST = 0.1  # seconds per frame, for which the look-ahead is stated
NEGLIGIBLE = 1e-4  # share of a frame's value in the output of frames beyond the look-ahead


@MODELS.register_module()
class KalmanSmoother(MotionFilter):
    """Kalman filter and Rauch-Tung-Striebel smoother of a point of nearly constant velocity, at true times.

    The acceleration of each coordinate is white noise, and so is the error of its measurements. Without `robust`, only
    the ratio of `noise` and `acceleration` matters. As the last output of a smoother is that of the filter, a smoother
    that is run online with a latency of k frames is the fixed-lag smoother of k frames.

    Args:
        acceleration: square root of the spectral density of the acceleration, m/s^1.5: within t seconds a velocity
            changes by acceleration * sqrt(t) m/s (standard deviation). With `unit='frames'` metres per frame^1.5.
        noise: standard deviation of each measured coordinate, metres.
        robust: measurement errors have Student's distribution with four degrees of freedom instead, so that outliers
            count less. Each joint is weighted as a whole, in five iterations (online: once, by its innovation).
        causal: only filter: each frame is estimated from the frames up to it.
        unit: 'seconds' or 'frames'.
        fitted_hand: config of a hand model that `predict` fits to the joints, see `fit_meshes`; None means joints
            alone.

    Raises:
        ValueError: settings that are not positive.
    """

    def __init__(
        self,
        acceleration: float = 0.3,
        noise: float = 0.003,
        robust: bool = False,
        causal: bool = False,
        unit: str = 'seconds',
        fitted_hand: dict | None = None,
    ) -> None:
        super().__init__(unit, fitted_hand)
        if not (0 < acceleration < np.inf and 0 < noise < np.inf):
            raise ValueError(f'acceleration and noise must be positive, got {acceleration} and {noise}')
        self.acceleration, self.noise, self.robust, self.causal = acceleration, noise, robust, causal
        # The influence of a frame falls by exp(-frequency t / sqrt(2)) in t seconds.
        period = SLOWEST if unit == 'seconds' else 1.0
        frequency = ((acceleration / noise) ** 2 / period) ** 0.25
        reach = float(np.sqrt(2) * np.log(1 / NEGLIGIBLE) / frequency)
        self.look_ahead, self.look_around = 0.0 if causal else reach, 2 * reach

    def _smooth(self, track: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.robust and track.shape[1] % 3:
            raise ValueError(f'robust=True weights points of three coordinates, got {track.shape[1]} coordinates')
        if len(track) < 3:  # a line goes through both
            return track
        groups = track.reshape(len(track), -1, 3) if self.robust else track[:, None]  # (T, G, D)
        if self.causal:
            return self._filter(groups, times).reshape(track.shape)
        stiffness = (self.noise / self.acceleration) ** 2
        smooth = [self._smooth_robustly(group, times, stiffness) for group in groups.transpose(1, 0, 2)]
        return np.stack(smooth, 1).reshape(track.shape)

    def _smooth_robustly(
        self, track: NDArray[np.float64], times: NDArray[np.float64], stiffness: float
    ) -> NDArray[np.float64]:
        """(T, D) -> (T, D); one pass, or several in which outliers count less."""
        smooth = smoothing_spline(track, times, stiffness)
        for _ in range(REWEIGHTINGS if self.robust else 0):
            distance = ((track - smooth) ** 2).sum(1) / self.noise**2
            smooth = smoothing_spline(track, times, stiffness, _student_weight(distance))
        return smooth

    def _filter(self, track: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        """The Kalman filter of (T, G, D); the coordinates of a group share their covariance."""
        variance, density = self.noise**2, self.acceleration**2
        step = times[1] - times[0]
        # What two frames say of the state in the second of them.
        position, velocity = track[1], (track[1] - track[0]) / step
        ones = np.ones((track.shape[1], 1))
        p_xx, p_xv = variance * ones, variance / step * ones
        p_vv = (2 * variance / step**2 + density * step / 3) * ones
        result = [track[0], track[1]]
        for measured, step in zip(track[2:], np.diff(times)[1:], strict=True):
            position = position + step * velocity
            p_xx = p_xx + step * (2 * p_xv + step * p_vv) + density * step**3 / 3
            p_xv = p_xv + step * p_vv + density * step**2 / 2
            p_vv = p_vv + density * step
            innovation = measured - position
            total = p_xx + variance
            if self.robust:
                distance = (innovation**2).sum(1, keepdims=True) / total
                total = p_xx + variance / _student_weight(distance)
            gain_x, gain_v = p_xx / total, p_xv / total
            position, velocity = position + gain_x * innovation, velocity + gain_v * innovation
            p_xx, p_xv, p_vv = (1 - gain_x) * p_xx, (1 - gain_x) * p_xv, p_vv - gain_v * p_xv
            result.append(position)
        return np.stack(result)


def smoothing_spline(
    values: NDArray[np.float64],
    times: NDArray[np.float64],
    stiffness: float,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Evaluates the cubic smoothing spline at its own times.

    It minimizes the weighted sum of squared distances from the values, plus stiffness times the integral of the squared
    second derivative.

    Args:
        values: (T, D), at least three.
        times: (T,), increasing.
        stiffness: in the cube of the unit of the times.
        weights: (T,), positive; None means 1.

    Returns:
        (T, D).
    """
    from scipy.linalg import solveh_banded

    steps = np.diff(times)
    first, last = 1 / steps[:-1], 1 / steps[1:]  # second differences are first, middle, last times the values
    middle = -(first + last)
    inverse = np.ones(len(values)) if weights is None else 1 / weights
    bands = np.zeros((3, len(first)))  # of a symmetric matrix: its diagonal and those below it
    bands[0] = first**2 * inverse[:-2] + middle**2 * inverse[1:-1] + last**2 * inverse[2:]
    bands[1, :-1] = middle[:-1] * first[1:] * inverse[1:-2] + last[:-1] * middle[1:] * inverse[2:-1]
    bands[2, :-2] = last[:-2] * first[2:] * inverse[2:-2]
    bands *= stiffness
    bands[0] += (steps[:-1] + steps[1:]) / 3
    bands[1, :-1] += steps[1:-1] / 6
    differences = first[:, None] * values[:-2] + middle[:, None] * values[1:-1] + last[:, None] * values[2:]
    bends = solveh_banded(bands[: len(first)], differences, lower=True)  # second derivatives
    correction = np.zeros_like(values)
    correction[:-2] += first[:, None] * bends
    correction[1:-1] += middle[:, None] * bends
    correction[2:] += last[:, None] * bends
    return values - stiffness * inverse[:, None] * correction


def _student_weight(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of points by the squared distance from where they should be, in variances of a coordinate."""
    return (DEGREES + 3) / (DEGREES + distance)
