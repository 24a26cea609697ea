"""What an annotated recording says about its own quality, without true positions: errors, views, bones, gaps.

Legend: T frames, K cameras, H hands, J = 21 joints, B = 20 bones. NaN where there is nothing to measure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handpose.hands.sides import SIDE_LABELS
from handpose.structures import AnnotatedRecording

Array = NDArray[np.float64]
_OUT_OF_LINE = 3.0  # times the errors of the other cameras
_LEAST_ERROR = 3.0  # pixels; smaller errors are no reason to suspect a camera
_LARGE_ERROR = 6.0  # pixels; a usual detector and calibration stay below
_LARGE_SPREAD = 0.04  # of a bone's length
_WORTH_MENTIONING = 0.02  # share of the frames


@dataclass(frozen=True, eq=False)
class RecordingStatistics:
    """The numbers of a report.

    Attributes:
        errors: (T, K, H, J) pixels from each detection to the reprojected joint.
        frame_errors: (T, H) pixels, median over cameras and joints.
        camera_frame_errors: (T, K) pixels, median over hands and joints.
        joint_errors: (K, J) pixels, median over frames and hands.
        camera_errors: (K, 2) pixels, median and 95th percentile.
        median_error: pixels, of all detections.
        percentile_error: pixels, the 95th percentile of all detections.
        detected: (K,) share of a camera's images with at least one matched hand.
        kept: (K,) share of a camera's detected joints that the triangulation used.
        views: (T, H, J) number of views that a joint was triangulated from; -1 where there is no joint.
        has_hand: (T, H) whether the frame has the hand in 3D.
        bone_lengths: (H, B) metres, median.
        bone_spreads: (H, B) standard deviation over mean.
        bone_deviation: (T, H) how far the bones are from their median lengths: the median over bones, as a share.
    """

    errors: Array
    frame_errors: Array
    camera_frame_errors: Array
    joint_errors: Array
    camera_errors: Array
    median_error: float
    percentile_error: float
    detected: Array
    kept: Array
    views: NDArray[np.int64]
    has_hand: NDArray[np.bool_]
    bone_lengths: Array
    bone_spreads: Array
    bone_deviation: Array


def recording_statistics(recording: AnnotatedRecording) -> RecordingStatistics:
    """Computes the numbers of a report.

    Args:
        recording: the recording.

    Returns:
        Its numbers.
    """
    errors, detections, used = recording.reprojection_errors(), recording.joints_2d_valid, recording.views_used
    images = recording.frame_indices >= 0
    lengths = recording.bone_lengths()
    typical = quantiles(lengths, (0.5,), (0,))[0]  # (H, B)
    deviation = quantiles(np.abs(lengths / typical - 1), (0.5,), (2,))[0]  # (T, H)
    everything = quantiles(errors, (0.5, 0.95), (0, 1, 2, 3))
    return RecordingStatistics(
        errors=errors,
        frame_errors=quantiles(errors, (0.5,), (1, 3))[0],
        camera_frame_errors=quantiles(errors, (0.5,), (2, 3))[0],
        joint_errors=quantiles(errors, (0.5,), (0, 2))[0],
        camera_errors=quantiles(errors, (0.5, 0.95), (0, 2, 3)).T,
        median_error=float(everything[0]),
        percentile_error=float(everything[1]),
        detected=_share((detections.any(2) & images).sum(0), images.sum(0)),
        kept=_share((used & detections[..., None]).sum((0, 2, 3)), 21 * detections.sum((0, 2))),
        views=np.where(recording.joints_valid, used.sum(1), -1),
        has_hand=np.asarray(recording.joints_valid.any(-1)),
        bone_lengths=typical,
        bone_spreads=recording.bone_length_spread(),
        bone_deviation=deviation,
    )


def worst_frames(statistics: RecordingStatistics, count: int) -> list[int]:
    """Chooses the frames with the largest error, the largest first, at moments that differ.

    Args:
        statistics: of the recording.
        count: how many frames at most.

    Returns:
        Indices of frames; neighbours of a frame, up to a fiftieth of the recording, are left out.
    """
    largest = np.where(np.isnan(statistics.frame_errors), -1.0, statistics.frame_errors).max(1)
    return _spread_out(largest, count)


def frames_without_hand(
    recording: AnnotatedRecording, statistics: RecordingStatistics, count: int
) -> list[tuple[int, int]]:
    """Chooses frames in which a camera detected a hand that has no joints in 3D, from the longest gaps.

    Args:
        recording: the recording.
        statistics: of the recording.
        count: how many frames at most.

    Returns:
        (frame, hand) indices, the middle of the longest gap first.
    """
    lost = recording.joints_2d_valid.any(1) & ~statistics.has_hand  # (T, H)
    runs = [(*run, h) for h in range(lost.shape[1]) for run in true_runs(lost[:, h])]
    runs.sort(key=lambda run: run[0] - run[1])
    return [((first + end - 1) // 2, h) for first, end, h in runs[:count]]


def describe_quality(recording: AnnotatedRecording, statistics: RecordingStatistics) -> list[str]:
    """Says what the numbers mean: cameras that do not fit the others, images and hands that are missing.

    Args:
        recording: the recording.
        statistics: of the recording.

    Returns:
        Sentences; none if nothing is unusual.
    """
    names = recording.calibration.names
    found = [*_errors_in_words(statistics, names)]
    found += [sentence for k, name in enumerate(names) for sentence in _gaps_in_words(recording, k, name)]
    detections = recording.num_views
    for h, side in enumerate(recording.hand_side.tolist()):
        lonely = (detections[:, h] == 1) & ~statistics.has_hand[:, h]
        if lonely.mean() > _WORTH_MENTIONING:
            found.append(
                f'The {SIDE_LABELS[side]} hand was found by one camera only in {lonely.sum():,} frames '
                f'({100 * lonely.mean():.0f} %): two are needed for 3D.'
            )
        spread = float(quantiles(statistics.bone_spreads[h], (0.5,), (0,))[0])
        if spread > _LARGE_SPREAD:
            found.append(
                f'The bones of the {SIDE_LABELS[side]} hand change their length by {100 * spread:.1f} % (median): a '
                f'fit of a hand model keeps them constant.'
            )
    return found


def true_runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Finds where a mask is True without a break.

    Args:
        mask: (T,) bool.

    Returns:
        (first index, index after the last) of each run.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def quantiles(values: Array, shares: Sequence[float], axes: tuple[int, ...]) -> Array:
    """Computes quantiles over several axes, NaN left out; NaN where nothing is left.

    Args:
        values: any shape.
        shares: Q shares from 0 to 1.
        axes: over which.

    Returns:
        (Q, ...) the remaining axes; linear between the sorted values, as `numpy.quantile`.
    """
    moved = np.moveaxis(values, axes, range(-len(axes), 0))
    moved = np.sort(moved.reshape(*moved.shape[: moved.ndim - len(axes)], -1), -1)  # NaN come last
    number = np.isfinite(moved).sum(-1)
    found = np.full((len(shares), *number.shape), np.nan)
    if moved.shape[-1] == 0:
        return found
    for i, share in enumerate(shares):
        place = share * np.maximum(number - 1, 0)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, np.maximum(number - 1, 0))
        below, above = (np.take_along_axis(moved, at[..., None], -1)[..., 0] for at in (low, high))
        found[i] = np.where(number > 0, below + (place - low) * (above - below), np.nan)
    return found


def _errors_in_words(statistics: RecordingStatistics, names: Sequence[str]) -> list[str]:
    medians = statistics.camera_errors[:, 0]
    found = []
    for k, name in enumerate(names):
        others = np.delete(medians, k)
        typical = float(quantiles(others, (0.5,), (0,))[0])
        if len(names) > 2 and medians[k] > max(_OUT_OF_LINE * typical, _LEAST_ERROR):
            found.append(
                f'Camera {name} does not fit the others: its median error is {medians[k]:.1f} px, theirs '
                f'{typical:.1f} px. Its calibration may be of another recording, it was moved, or its video is out of '
                f'step.'
            )
    if not found and statistics.median_error > _LARGE_ERROR:
        found.append(
            f'The median reprojection error of {statistics.median_error:.1f} px is large: the calibration may be of '
            f'another recording, or the videos are out of step.'
        )
    return found


def _gaps_in_words(recording: AnnotatedRecording, camera: int, name: str) -> list[str]:
    frames = len(recording)
    found = []
    runs = sorted(true_runs(recording.frame_indices[:, camera] < 0), key=lambda run: run[0] - run[1])
    for first, end in runs[:1]:
        more = f', and {len(runs) - 1} shorter gaps' if len(runs) > 1 else ''
        if end - first > _WORTH_MENTIONING * frames:
            until = 'to the end' if end == frames else f'to {end - 1}'
            found.append(f'Camera {name} has no images from frame {first} {until}{more}.')
    return found


def _share(part: NDArray, whole: NDArray) -> Array:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def _spread_out(values: Array, count: int) -> list[int]:
    """Indices of the largest values that are at least 0, each with its neighbourhood left out."""
    found: list[int] = []
    near, values = max(1, len(values) // 50), values.copy()
    while len(found) < count and len(values) and values.max() >= 0:
        best = int(values.argmax())
        found.append(best)
        values[max(0, best - near) : best + near + 1] = -1
    return found
