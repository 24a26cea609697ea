"""`LiveHands`: hands of a camera, smoothed and drawn while they move."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handpose.inference.refiner import Refiner
from handpose.inference.session import FrameHands, Session
from handpose.structures import Predictions
from handpose.video import VideoFrame

KEPT_LATENCIES = 10_000  # frames whose latency is remembered


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """The hands of an image of a camera.

    Attributes:
        found: all tracked hands.
        predictions: the left and the right hand of this image (T = 1, H = 2), smoothed if there is a refiner.
    """

    found: FrameHands
    predictions: Predictions


@dataclass(frozen=True)
class Latencies:
    """How long images took, from their arrival to the moment their hands were known.

    Attributes:
        frames: that were processed.
        per_second: frames per second.
        p50: median, seconds.
        p95: 95th percentile, seconds.
        p95_detecting: 95th percentile of the images on which the detector ran, seconds.
    """

    frames: int
    per_second: float
    p50: float
    p95: float
    p95_detecting: float

    def __str__(self) -> str:
        numbers = [f'{1000 * value:.0f} ms' for value in (self.p50, self.p95, self.p95_detecting)]
        return (
            f'{self.frames} images, {self.per_second:.1f} per second; latency p50 {numbers[0]}, p95 {numbers[1]} '
            f'(p95 of the images with detection: {numbers[2]})'
        )


class LiveHands:
    """Iterates over the hands of a live camera.

    Args:
        frames: the camera.
        session: default one that keeps no images.
        refiner: one without latency, such as `load_refiner(method='one_euro', latency=0)`; None smooths nothing.
        clock: seconds.

    Raises:
        ValueError: the refiner needs later images.
    """

    def __init__(
        self,
        frames: Iterable[VideoFrame],
        session: Session | None = None,
        refiner: Refiner | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if refiner is not None and refiner.latency != 0:
            raise ValueError(
                f'{refiner.name} needs later images, and a live camera has none; use one_euro, or a refiner with '
                f'latency=0'
            )
        self.frames, self.refiner, self._clock = frames, refiner, clock
        self.session = Session(keep=False) if session is None else session
        self._latencies: deque[tuple[float, bool]] = deque(maxlen=KEPT_LATENCIES)
        self._count, self._start, self._end = 0, 0.0, 0.0

    def __iter__(self) -> Iterator[LiveFrame]:
        self.session.reset()
        if self.refiner is not None:
            self.refiner.reset()
        for frame in self.frames:
            arrived = self._clock()
            self._start = self._start or arrived
            found = self.session.push(frame)
            predictions = found.to_predictions()
            if self.refiner is not None:
                predictions = self.refiner.push(predictions) or predictions
            self._end = self._clock()
            self._latencies.append((self._end - arrived, found.detected))
            self._count += 1
            yield LiveFrame(found, predictions)

    def latencies(self) -> Latencies:
        """Returns how long images took so far; zeros before the first one."""
        times = np.array([seconds for seconds, _ in self._latencies] or [0.0])
        detected = np.array([detected for _, detected in self._latencies] or [False])
        p50, p95 = np.percentile(times, [50, 95])
        detecting = float(np.percentile(_or_zero(times[detected]), 95))
        elapsed = max(self._end - self._start, 1e-9)
        return Latencies(self._count, self._count / elapsed, float(p50), float(p95), detecting)


def _or_zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values if len(values) else np.zeros(1)
