"""Where a refiner helps: the change of the error by properties of the input, and its best and worst second.

Legend: T frames, H hands, J = 21 joints.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handpose.evaluation.bootstrap import paired_bootstrap
from handpose.experiments.refiner_comparison import BLOCK_SECONDS, INPUT, RefinerComparison
from handpose.experiments.refiner_tracks import TrackErrors, TrueTrack
from handpose.hands.joints import COMMON_JOINTS
from handpose.hands.sides import SIDE_LABELS
from handpose.visualization.refiner_figures import BinnedChange, JointTrace

NUM_BINS, RESAMPLES = 8, 500
WINDOW_SECONDS = 1.0
PROPERTIES = {
    'persistence': 'persistence of the input error within 1 s',
    'speed': 'true speed relative to the wrist (m/s)',
    'error': 'error of the input (mm)',
    'confidence': 'confidence of the input',
}


def changes_by_property(
    found: RefinerComparison, refiners: Sequence[str], num_bins: int = NUM_BINS
) -> dict[str, dict[str, BinnedChange]]:
    """Mean change of the error in bins of a property, over the joints of all files together.

    Each bin has as many joints as the others. Persistence is the autocorrelation of the error over one frame, about
    zero, in a window of 1 s around the frame: 1 is an error that stays, which no smoothing removes, 0 one that is
    new in every frame.

    Args:
        found: the comparison.
        refiners: names of those to take.
        num_bins: bins of a property; fewer where values repeat.

    Returns:
        {what the property is: {refiner: changes}}, without properties that the files lack.
    """
    names = [name for name in refiners if all((name, file) in found.errors for file in found.tracks)]
    values = {file: _properties(track, found.errors[INPUT, file]) for file, track in found.tracks.items()}
    blocks = np.concatenate([track.blocks(BLOCK_SECONDS).ravel() for track in found.tracks.values()])
    before = _all_errors(found, INPUT)
    result: dict[str, dict[str, BinnedChange]] = {}
    for key, label in PROPERTIES.items():
        if not all(key in properties for properties in values.values()):
            continue
        x = np.concatenate([properties[key].ravel() for properties in values.values()])
        known = ~np.isnan(x) & ~np.isnan(before)
        edges = np.unique(np.quantile(x[known], np.linspace(0, 1, num_bins + 1))) if known.any() else np.zeros(0)
        if len(edges) < 3:  # all values are equal
            continue
        bins = np.digitize(x, edges[1:-1])
        kept = [known & (bins == number) for number in range(len(edges) - 1)]
        result[label] = {
            name: _binned(x, before, _all_errors(found, name), blocks, [k for k in kept if k.any()]) for name in names
        }
    return result


def extreme_second(found: RefinerComparison, refiner: str, kind: Literal['best', 'worst']) -> JointTrace | None:
    """Finds the second in which a refiner lowers, or raises, the mean error of a hand most.

    Args:
        found: the comparison.
        refiner: its name.
        kind: 'best' or 'worst'.

    Returns:
        The joint that changes most in that second, half a second before and after it too; None if no track has a
        second.
    """
    sign = -1 if kind == 'best' else 1
    chosen: tuple[float, str, int, int, int] | None = None  # change, file, hand, first frame, frames
    for file, track in found.tracks.items():
        if (refiner, file) not in found.errors or track.predictions.period is None:
            continue
        change = found.errors[refiner, file].errors['mpjpe'] - found.errors[INPUT, file].errors['mpjpe']
        length = max(round(WINDOW_SECONDS / track.predictions.period), 1)
        for hand in range(change.shape[1]):
            means = _window_means(change[:, hand], length)
            if len(means) and not np.isnan(means).all():
                start = int(np.nanargmax(sign * means))
                if chosen is None or sign * means[start] > sign * chosen[0]:
                    chosen = float(means[start]), file, hand, start, length
    return None if chosen is None else _trace(found, refiner, *chosen[1:], kind)


def _properties(track: TrueTrack, before: TrackErrors) -> dict[str, NDArray[np.float64]]:
    """{property: (T, H, 21)}, NaN where it is not known."""
    period = track.predictions.period or 1 / 30
    error = np.where(track.counted[..., None], before.joints - track.joints, np.nan)
    found = {
        'persistence': _persistence(error, max(round(WINDOW_SECONDS / period), 2)),
        'speed': _speed(track, period),
        'error': before.errors['mpjpe'],
    }
    if track.predictions.confidence is not None:
        found['confidence'] = np.where(track.counted, track.predictions.confidence, np.nan).astype(np.float64)
    return found


def _persistence(error: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """(T, H, 21) autocorrelation over one frame of errors (T, H, 21, 3), about zero, in a centred window."""
    products = (error[1:] * error[:-1]).sum(-1)
    known = ~np.isnan(products)
    powers = [np.where(known, (part**2).sum(-1), 0) for part in (error[1:], error[:-1])]
    sums = [_window_sums(part, length) for part in (np.where(known, products, 0), *powers)]
    scale = np.sqrt(sums[1] * sums[2])
    result = np.full(error.shape[:-1], np.nan)
    np.divide(sums[0], scale, out=result[: len(scale)], where=scale > 0)
    result[len(scale) :] = result[len(scale) - 1 : len(scale)] if len(scale) else np.nan
    return result


def _window_sums(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Sums over a centred window along the first axis, shorter at the ends."""
    total = np.concatenate([np.zeros((1, *values.shape[1:])), values.cumsum(0)])
    centre = np.arange(len(values))
    first, last = np.maximum(centre - length // 2, 0), np.minimum(centre + length // 2 + 1, len(values))
    return np.asarray(total[last] - total[first])


def _speed(track: TrueTrack, period: float) -> NDArray[np.float64]:
    """(T, H, 21) m/s by central differences of consecutive frames."""
    result, times = np.full(track.counted.shape, np.nan), track.predictions.timestamps
    if len(times) < 3:
        return result
    span = (times[2:] - times[:-2])[:, None, None]
    usable = track.counted[2:] & track.counted[:-2] & (span < 3 * period)
    metres = np.linalg.norm(track.joints[2:] - track.joints[:-2], axis=-1) / 1000
    result[1:-1] = np.where(usable, metres / span, np.nan)
    return result


def _all_errors(found: RefinerComparison, refiner: str) -> NDArray[np.float64]:
    return np.concatenate([found.errors[refiner, file].errors['mpjpe'].ravel() for file in found.tracks])


def _binned(
    x: NDArray[np.float64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    blocks: NDArray[np.int64],
    kept: Sequence[NDArray[np.bool_]],
) -> BinnedChange:
    changes = [paired_bootstrap(after[mask], before[mask], blocks[mask], RESAMPLES) for mask in kept]
    places = np.array([x[mask].mean() for mask in kept])
    values = np.array([(one.difference, one.low, one.high) for one in changes])
    return BinnedChange(places, values[:, 0], values[:, 1], values[:, 2])


def _window_means(change: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """(T - length + 1,) the mean over joints and a window; NaN where less than half of its frames count."""
    known = ~np.isnan(change)
    count = known.sum(-1)
    mean = np.where(known, change, 0).sum(-1) / np.maximum(count, 1)
    totals = [np.concatenate([[0.0], part.cumsum()]) for part in (mean, (count > 0).astype(np.float64))]
    if len(change) < length:
        return np.zeros(0)
    sums, frames = (part[length:] - part[:-length] for part in totals)
    return np.where(frames >= length / 2, sums / np.maximum(frames, 1), np.nan)


def _trace(
    found: RefinerComparison, refiner: str, file: str, hand: int, start: int, length: int, kind: str
) -> JointTrace:
    track = found.tracks[file]
    versions = [found.errors[name, file] for name in (INPUT, refiner)]
    second = slice(start, start + length)
    before, after = (version.errors['mpjpe'][second, hand] for version in versions)
    change = np.where(np.isnan(before).all(0), np.nan, np.nansum(after - before, axis=0))
    joint = int(np.nanargmin(change) if kind == 'best' else np.nanargmax(change))
    shown = slice(max(start - length // 2, 0), start + length + length // 2)
    times = track.predictions.timestamps
    known = track.counted[shown, hand, joint, None]
    truth, given, refined = (
        np.where(known, values[shown, hand, joint], np.nan)
        for values in (track.joints, *(version.joints for version in versions))
    )
    values = [float(np.nanmean(part[:, joint])) for part in (before, after)]
    side = f', {SIDE_LABELS[track.predictions.hand_side[hand]]} hand' if track.counted.shape[1] > 1 else ''
    title = (
        f'{kind} second: {file}{side}, {COMMON_JOINTS[joint].replace("_", " ")}: error {values[0]:.1f} mm, '
        f'refined {values[1]:.1f} mm'
    )
    return JointTrace(title, times[shown], truth, given, refined, times[second][0], times[second][-1])
