"""`Timeline`: which images of several cameras show the same moment.

Legend: K cameras, T frames of the recording, F images of one camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handpose.inference.annotation.recording_source import AnnotationError
from handpose.video import frame_period

SAME_RATE = 0.005  # relative difference of frame rates that clocks and rounding explain
_UNKNOWN_PERIOD = 1 / 30  # seconds, of cameras with one image
_ROUNDING = 1e-6  # seconds


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of a recording.

    Args:
        timestamps: (T,) seconds after the first image of the first camera, increasing; negative where other cameras
            began earlier.
        frame_indices: (T, K) the image of each camera, -1 where it has none.
        notes: what is missing or assumed, one message each.
    """

    timestamps: NDArray[np.float64]
    frame_indices: NDArray[np.int64]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.timestamps)


def make_timeline(
    names: Sequence[str], times: Sequence[NDArray[np.float64]], offsets: Sequence[float] | NDArray | None = None
) -> Timeline:
    """Finds out which images show the same moment.

    Cameras of one rate whose images come regularly are joined by the numbers of their images, because times in files
    are rounded. Otherwise each frame of the slowest camera (of equally slow ones the first) takes the image of every
    other camera that is nearest in time, within half a frame. The recording lasts from the second camera that begins to
    the second-last one that ends: a single camera gives no positions.

    Args:
        names: of the K cameras.
        times: of each camera the times (F,) of its images, seconds after its first one.
        offsets: (K,) seconds: what the first camera shows at time t, camera k shows at t + offsets[k]. None means that
            all began at the same moment.

    Returns:
        The time line.

    Raises:
        AnnotationError: there is no moment at which two cameras have images.
    """
    shift = np.zeros(len(names)) if offsets is None else np.asarray(offsets, np.float64) - offsets[0]
    known = [frame_period(t) for t in times]
    fallback = next((period for period in known if period is not None), _UNKNOWN_PERIOD)
    periods = np.array([period or fallback for period in known])
    notes: list[str] = []
    if periods.max() / periods.min() - 1 <= SAME_RATE and all(map(_is_regular, times)):
        timestamps, indices = _by_number(times, shift, float(periods[0]), names, notes)
    else:
        timestamps, indices = _by_time(times, shift, periods, names, notes)
    shown = np.flatnonzero((indices >= 0).sum(1) >= 2)
    if not len(shown):
        ranges = [f'{name} {t[0] - s:.2f} to {t[-1] - s:.2f} s' for name, t, s in zip(names, times, shift, strict=True)]
        raise AnnotationError(
            f'there is no moment at which two cameras have images: {", ".join(ranges)}; give other time offsets'
        )
    kept = slice(int(shown[0]), int(shown[-1]) + 1)
    timestamps, indices = timestamps[kept], indices[kept]
    return Timeline(timestamps, indices, notes + _missing_notes(names, indices))


def _is_regular(times: NDArray[np.float64]) -> bool:
    """Whether every image follows the one before after a frame period, up to rounded times."""
    period = frame_period(times)
    return period is None or bool((np.abs(np.diff(times) - period) <= period / 2).all())


def _by_number(
    times: Sequence[NDArray], shift: NDArray, period: float, names: Sequence[str], notes: list[str]
) -> tuple[NDArray, NDArray]:
    steps = np.rint(shift / period).astype(np.int64)
    numbers = np.arange(min(-steps), max(len(t) - step for t, step in zip(times, steps, strict=True)))
    indices = numbers[:, None] + steps
    indices = np.where((indices >= 0) & (indices < [len(t) for t in times]), indices, -1)
    first = times[0]
    inside = np.clip(numbers, 0, len(first) - 1)
    timestamps = first[inside] + (numbers - inside) * period
    rest = np.abs(shift / period - steps)
    for k in np.flatnonzero(rest > 0.1).tolist():
        notes.append(
            f'{names[k]} is off by {rest[k]:.1f} of a frame period after its offset of {steps[k]} frames: fast hands '
            f'have moved by then'
        )
    return timestamps, indices


def _by_time(
    times: Sequence[NDArray], shift: NDArray, periods: NDArray, names: Sequence[str], notes: list[str]
) -> tuple[NDArray, NDArray]:
    slowest = int(np.flatnonzero(periods >= periods.max() / (1 + SAME_RATE))[0])
    period = float(periods[slowest])
    clocks = [t - s for t, s in zip(times, shift, strict=True)]  # of the first camera
    grid = clocks[slowest]
    before = np.arange(np.ceil((grid[0] - min(c[0] for c in clocks)) / period), 0, -1)
    after = np.arange(1, np.ceil((max(c[-1] for c in clocks) - grid[-1]) / period) + 1)
    grid = np.concatenate([grid[0] - before * period, grid, grid[-1] + after * period])
    indices = np.stack([_nearest(clock, grid, period / 2, p / 2) for clock, p in zip(clocks, periods, strict=True)], 1)
    rates = ', '.join(f'{name} {1 / period:.4g}' for name, period in zip(names, periods, strict=True))
    notes.append(
        f'the cameras have different or irregular frame rates ({rates} per second): the frames are those of '
        f'{names[slowest]}, with the image of every other camera that is nearest in time, up to half a frame away'
    )
    return grid, indices


def _nearest(clock: NDArray, grid: NDArray, tolerance: float, end_tolerance: float) -> NDArray:
    """(T,) index of the image nearest to each time of the grid, -1 where none is within the tolerance.

    Before the first and after the last image it is `end_tolerance`.
    """
    after = np.clip(np.searchsorted(clock, grid), 1, max(len(clock) - 1, 1))
    after = np.minimum(after, len(clock) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(grid - clock[before] <= clock[after] - grid, before, after)
    outside = (grid < clock[0]) | (grid > clock[-1])
    allowed = np.where(outside, end_tolerance, tolerance) + _ROUNDING
    return np.where(np.abs(clock[nearest] - grid) <= allowed, nearest, -1)


def _missing_notes(names: Sequence[str], indices: NDArray) -> list[str]:
    notes = []
    for k, name in enumerate(names):
        there = np.flatnonzero(indices[:, k] >= 0)
        if not len(there):
            notes.append(f'{name} has no image at the time of the other cameras')
            continue
        first, last, lacking = int(there[0]), int(there[-1]), int((indices[there[0] : there[-1], k] < 0).sum())
        where = [f'before frame {first}'] * (first > 0) + [f'after frame {last}'] * (last < len(indices) - 1)
        where += [f'in {lacking} frames between'] * (lacking > 0)
        if where:
            notes.append(f'{name} has no image {" and ".join(where)} of {len(indices)}')
    return notes
