"""Estimated tracks next to the truth: matching in time and by hand, refining at lower frame rates, errors.

Legend: T frames, H hands, J = 21 joints.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.evaluation.functional import acceleration_errors
from handpose.hands.sides import SIDE_LABELS
from handpose.inference import Refiner
from handpose.structures import Predictions
from handpose.structures.predictions import PER_HAND

TIME_TOLERANCE = 0.25  # frame periods of the truth, from a frame of the predictions to its true frame
RATE_TOLERANCE = 0.05  # by which the rate of every Nth frame may differ from the one that is asked for
MILLIMETRES = 1000.0
METRICS = ('mpjpe', 'scaled_mpjpe', 'acceleration')


class ComparisonError(ValueError):
    """Predictions and truth that cannot be compared; the message says why and what to do."""


@dataclass(frozen=True)
class TrueTrack:
    """Predictions with the truth at their frames.

    Attributes:
        name: of the predictions.
        predictions: of T frames; hands without truth are dropped.
        joints: (T, H, 21, 3) true joints relative to the true wrist, millimetres; zeros where nothing is counted.
        counted: (T, H, 21) bool, the joints that are compared: those that the predictions and the truth give, where
            both give the wrist. The wrist, whose relative error is zero, is not among them.
        notes: what could not be compared.
    """

    name: str
    predictions: Predictions
    joints: NDArray[np.float64]
    counted: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    def blocks(self, seconds: float) -> NDArray[np.int64]:
        """Numbers the blocks of time, of which equal ones of different tracks are the same seconds of the truth.

        Args:
            seconds: length of a block.

        Returns:
            (T, H, 21) int64.
        """
        number = np.floor(self.predictions.timestamps / seconds + 1e-9).astype(np.int64)
        return np.broadcast_to(number[:, None, None], self.counted.shape)


@dataclass(frozen=True)
class TrackErrors:
    """Errors of one version of a track.

    Attributes:
        joints: (T, H, 21, 3) joints relative to the wrist, millimetres; zeros where nothing is counted.
        errors: {metric: (T, H, 21)}; NaN where a joint is not counted. 'mpjpe', mm, distance to the truth relative to
            the wrist; 'scaled_mpjpe', the same after scaling the whole track of a hand by one factor, which minimizes
            the squared errors; 'acceleration', mm/frame^2, the length of the difference of second differences.
        seconds: that refining took.
    """

    joints: NDArray[np.float64]
    errors: dict[str, NDArray[np.float64]]
    seconds: float = 0.0

    def mean(self, metric: str) -> float:
        """The mean of a metric over all joints of all frames.

        Args:
            metric: a key of `errors`.

        Returns:
            The mean; NaN where nothing is counted.
        """
        values = self.errors[metric]
        return float(np.nanmean(values)) if not np.isnan(values).all() else float('nan')


def match_truth(name: str, predictions: Predictions, truth: Predictions) -> TrueTrack:
    """Finds the truth of each frame and hand.

    Args:
        name: of the predictions.
        predictions: of one or two hands.
        truth: true joints, any of the 21, at any frame rate.

    Returns:
        The track with its truth.

    Raises:
        ComparisonError: no common hand, no common time, or no joint to compare.
    """
    predictions, notes = _common_hands(name, predictions, truth)
    frames, found = _true_frames(predictions.timestamps, truth)
    if not found.any():
        spans = [f'{p.timestamps[0]:.3f} to {p.timestamps[-1]:.3f} s' for p in (predictions, truth)]
        raise ComparisonError(
            f'{name}: no frame has the time of a true frame: the predictions are from {spans[0]}, the truth from '
            f'{spans[1]}; the timestamps of both must count from the same moment'
        )
    if not found.all():
        notes.append(f'{name}: {(~found).sum()} of {len(found)} frames have no true frame at their time')
    hands = [truth.hand_side.tolist().index(side) for side in predictions.hand_side]
    joints = truth.joints[frames][:, hands].astype(np.float64)
    true = truth.given_joints()[frames][:, hands] & found[:, None, None]
    given = predictions.given_joints()
    for source, mask in ((name, given), ('the truth', true)):
        if not mask[..., 0].any():
            raise ComparisonError(
                f'{source} gives no wrist in any frame that is compared, and errors are relative to the wrist; give '
                f'the wrist too (of a skeleton with other points there, the mean of the points around it)'
            )
    counted = given & true & (given & true)[..., :1]
    counted[..., 0] = False
    if not counted.any():
        raise ComparisonError(f'{name} and the truth have no joint besides the wrist in common in any frame')
    return TrueTrack(name, predictions, _relative(joints, counted), counted, tuple(notes))


def every_nth(fps: float | None, predictions: Predictions, name: str) -> int:
    """Finds which frames of a track come at a frame rate.

    Args:
        fps: frames per second; None means all frames.
        predictions: the track.
        name: of the track, for the error message.

    Returns:
        N: every Nth frame is used.

    Raises:
        ComparisonError: the rate of the track is no multiple of the wanted one.
    """
    if fps is None or predictions.period is None:
        return 1
    rate = 1 / predictions.period
    step = max(round(rate / fps), 1)
    if abs(rate / step / fps - 1) > RATE_TOLERANCE:
        rates = ', '.join(f'{rate / n:.4g}' for n in range(1, 5))
        raise ComparisonError(f'{name} has {rate:.4g} frames per second, so --fps can be {rates}, ...; got {fps:g}')
    return step


def refined_joints(refiner: Refiner, predictions: Predictions, step: int) -> NDArray[np.float32]:
    """Refines every Nth frame, beginning with each of the first N in turn, so that every frame is refined once.

    Args:
        refiner: of whole tracks.
        predictions: the track.
        step: N.

    Returns:
        (T, H, 21, 3) metres.

    Raises:
        PredictionsError: the refiner refuses the track.
    """
    result = np.full_like(predictions.joints, np.nan)
    phase = predictions.frame_numbers() % step
    for start in range(step):
        frames = np.flatnonzero(phase == start)
        if predictions.valid[frames].any():
            with torch.inference_mode():
                result[frames] = refiner.refine(predictions.select(frames)).joints
    return result


def measure(track: TrueTrack, joints: NDArray[np.floating], step: int = 1, seconds: float = 0.0) -> TrackErrors:
    """Compares a version of a track with the truth, on the joints that the predictions gave.

    Args:
        track: with the truth.
        joints: (T, H, 21, 3) metres, the predictions themselves or refined.
        step: every Nth frame was refined together; accelerations are those of such frames.
        seconds: that refining took.

    Returns:
        The errors.

    Raises:
        ComparisonError: a joint that is counted is NaN.
    """
    wrong = track.counted & ~(np.isfinite(joints).all(-1) & np.isfinite(joints[:, :, :1]).all(-1))
    if wrong.any():
        t, h, _ = np.argwhere(wrong)[0]
        raise ComparisonError(
            f'{track.name}: {wrong.sum()} joints that the predictions give are missing after refining, first in frame '
            f'{t}, {SIDE_LABELS[track.predictions.hand_side[h]]} hand'
        )
    relative = _relative(np.asarray(joints, np.float64), track.counted)
    distance = np.linalg.norm(relative - track.joints, axis=-1)
    scaled = np.linalg.norm(_scales(relative, track.joints) * relative - track.joints, axis=-1)
    errors = {'mpjpe': distance, 'scaled_mpjpe': scaled}
    errors = {name: np.where(track.counted, values, np.nan) for name, values in errors.items()}
    errors['acceleration'] = _accelerations(track, relative, step)
    return TrackErrors(relative, errors, seconds)


def _common_hands(name: str, predictions: Predictions, truth: Predictions) -> tuple[Predictions, list[str]]:
    """The predictions of hands that have a truth, and a note of others."""
    kept = [h for h, side in enumerate(predictions.hand_side) if side in truth.hand_side]
    if not kept:
        sides = [[SIDE_LABELS[side] for side in p.hand_side] for p in (predictions, truth)]
        raise ComparisonError(f'{name} has hands {sides[0]}, the truth {sides[1]}: no hand is in both')
    if len(kept) == len(predictions.hand_side):
        return predictions, []
    dropped = next(side for side in predictions.hand_side if side not in truth.hand_side)
    fields = {key: getattr(predictions, key) for key in PER_HAND}
    selected = {key: value[:, kept] for key, value in fields.items() if value is not None}
    predictions = replace(predictions, hand_side=predictions.hand_side[kept], **selected)
    return predictions, [f'{name}: the {SIDE_LABELS[dropped]} hand has no truth and does not count']


def _true_frames(times: NDArray[np.float64], truth: Predictions) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(T,) the true frame nearest to each time, and whether it is near enough."""
    after = np.clip(np.searchsorted(truth.timestamps, times), 1, max(len(truth) - 1, 1))
    pair = np.stack([after - 1, np.minimum(after, len(truth) - 1)])
    distance = np.abs(truth.timestamps[pair] - times)
    nearest = distance.argmin(0)
    index = np.arange(len(times))
    return pair[nearest, index], distance[nearest, index] <= TIME_TOLERANCE * (truth.period or 1 / 30)


def _relative(joints: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    return MILLIMETRES * np.where(counted[..., None], joints - joints[:, :, :1], 0)


def _scales(estimate: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1, H, 1, 1) the least-squares factor of each hand's whole track."""
    axes = (0, 2, 3)
    length = np.maximum((estimate**2).sum(axes, keepdims=True), np.finfo(np.float64).tiny)
    return np.asarray((estimate * truth).sum(axes, keepdims=True) / length)


def _accelerations(track: TrueTrack, relative: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """(T, H, 21) mm/frame^2 of frames that were refined together."""
    numbers = track.predictions.frame_numbers()
    flat = (
        np.moveaxis(part, 1, 0).reshape(-1, *part.shape[2:])  # hand by hand
        for part in (relative, track.joints, track.counted)
    )
    estimate, truth, counted = flat
    hands = relative.shape[1]
    tracks = np.concatenate([hand * step + numbers % step for hand in range(hands)])
    found = acceleration_errors(estimate, truth, np.tile(numbers // step, hands), tracks, counted)
    return np.moveaxis(found.reshape(hands, len(numbers), -1), 0, 1)
