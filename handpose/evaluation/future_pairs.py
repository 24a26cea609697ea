"""The sampled futures of a clip beside its ground-truth future: what counts, and when each frame is.

Legend: S samples, T future frames, H hands, J = 21 joints.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.evaluation.alignment import BoolArray, FloatArray
from handpose.structures import HandSequence, SequenceError, sample_name

TIME_TOLERANCE = 1e-6  # seconds: rounding of timestamps


class FuturePair(NamedTuple):
    """Sampled and true futures of one clip, from its first frame to the last true one.

    Attributes:
        name: names the clip in messages.
        sequence: of the clip.
        camera: its cameras, joined by '+'.
        frame: number of the last observed frame.
        absolute: whether positions are in the frame of the camera or the world, not relative to the wrists.
        hand_side: (H,), 0 left and 1 right.
        seconds: (T,) since the last observed frame.
        period: seconds from one frame to the next.
        present: (T,) bool, False for padding between the frames.
        sampled: (S, T, H, J, 3) millimetres.
        sampled_valid: (S, T, H, J).
        truth: (T, H, J, 3) millimetres.
        truth_valid: (T, H, J).
    """

    name: str
    sequence: str
    camera: str
    frame: int
    absolute: bool
    hand_side: NDArray[np.int64]
    seconds: FloatArray
    period: float
    present: BoolArray
    sampled: FloatArray
    sampled_valid: BoolArray
    truth: FloatArray
    truth_valid: BoolArray

    @property
    def duration(self) -> float:
        """Seconds from the last observed to the last future frame."""
        return float(self.seconds[-1])

    def lasts(self, seconds: float) -> bool:
        """Whether the true future reaches a time, in seconds since the last observed frame."""
        return self.duration >= seconds - TIME_TOLERANCE


def future_pair(prediction: HandSequence, target: HandSequence) -> FuturePair:
    """Extracts the futures of a clip.

    Args:
        prediction: a clip with `future`, S clips of at least the T frames of the true future.
        target: the same clip with its true `future`, one clip with joints_3d and timestamps (see `SplitFuture`).

    Returns:
        The pair, in which nothing is valid in frames that are padding.

    Raises:
        SequenceError: a future is missing, or the two differ in frames, hands, times or coordinate frame, or a valid
            joint is NaN or infinite.
    """
    where = sample_name(target.meta)
    sampled, truth = _futures(prediction, target, where)
    present = _present(truth, where)
    count = int(np.flatnonzero(present)[-1]) + 1
    joints, valid = _joints(sampled, f'{where}: a predicted future')
    true_joints, true_valid = _joints(truth, f'{where}: the true future')
    if joints.shape[1] < count or joints.shape[2] != true_joints.shape[2]:
        raise SequenceError(
            f'{where}: the true future has {count} frames of {true_joints.shape[2]} hands, but the prediction has '
            f'{joints.shape[1]} frames of {joints.shape[2]}; predict as many frames as the true future has'
        )
    present = present[:count]
    last, start = _last_observed(target)
    seconds = truth.require('timestamps')[0, :count].cpu().numpy() - start
    positive = np.diff(np.concatenate([[0.0], seconds[present]]))
    if not (positive > 0).all():
        raise SequenceError(f'{where}: the timestamps of the true future must increase from the last observed frame on')
    period = float(positive.min())
    _check_times(sampled, seconds + start, present, period, where)
    mask = present[:, None, None]
    return FuturePair(
        name=where,
        sequence=str(target.meta['sequence']),
        camera='+'.join(map(str, target.meta.get('cameras', ()))),
        frame=last,
        absolute=sampled.frame == truth.frame != 'wrist',
        hand_side=truth.require('hand_side')[0].cpu().numpy(),
        seconds=seconds,
        period=period,
        present=present,
        sampled=1000 * joints[:, :count],
        sampled_valid=valid[:, :count] & mask,
        truth=1000 * true_joints[0, :count],
        truth_valid=true_valid[0, :count] & mask,
    )


def _futures(prediction: HandSequence, target: HandSequence, where: str) -> tuple[HandSequence, HandSequence]:
    if target.batched or prediction.batched:
        raise SequenceError(f'{where}: metrics compare clips, but got a batch; call unstack() first')
    if target.future is None or len(target.future.meta) != 1:
        raise SequenceError(
            f'{where}: the target needs a future of one clip, the true one; sample with '
            f"dict(type='ForecastSegments') and add dict(type='SplitFuture') to the pipeline"
        )
    if prediction.future is None:
        raise SequenceError(f'{where}: the prediction has no future; this metric is for models that forecast')
    missing = [f'meta[{key!r}]' for key in ('sequence', 'frame_indices') if key not in target.meta]
    if missing:
        raise SequenceError(f'{where}: the target lacks {", ".join(missing)}, which identify each sample')
    if prediction.future.frame not in ('wrist', target.future.frame):
        raise SequenceError(
            f"{where}: the predicted future is in frame {prediction.future.frame!r}; it must be in 'wrist' or, as the "
            f'true one, in {target.future.frame!r}'
        )
    return prediction.future, target.future


def _present(truth: HandSequence, where: str) -> BoolArray:
    """(T,): which frames of the true future are no padding."""
    frames = truth.require('joints_3d').shape[1]
    valid = np.ones(frames, bool) if truth.frame_valid is None else truth.frame_valid[0].cpu().numpy().copy()
    if 'frame_indices' in truth.meta[0]:
        valid[len(truth.meta[0]['frame_indices']) :] = False  # padding that a batch added
    if not valid.any():
        raise SequenceError(f'{where}: every frame of the true future is padding; leave such samples out (min_future)')
    return np.asarray(valid, bool)


def _joints(future: HandSequence, what: str) -> tuple[FloatArray, BoolArray]:
    """Positions (S, T, H, J, 3) float64, 0 where not valid, and which are valid (S, T, H, J)."""
    joints = future.require('joints_3d').detach().cpu().double().numpy()
    valid = future.require('joints_valid').cpu().numpy()
    if future.hand_valid is not None:
        valid = valid & future.hand_valid.cpu().numpy()[..., None]
    if not np.isfinite(joints[valid]).all():
        raise SequenceError(
            f'{what} has joints_3d that are NaN or infinite where marked valid; correct the values or mark them as '
            f'not valid'
        )
    return np.where(valid[..., None], joints, 0.0), valid


def _last_observed(target: HandSequence) -> tuple[int, float]:
    """Number and time of the last observed frame that is no padding."""
    numbers, times = target.meta['frame_indices'], target.require('timestamps').cpu().numpy()
    last = len(numbers) - 1
    if target.frame_valid is not None and target.frame_valid[: len(numbers)].any():
        last = int(target.frame_valid[: len(numbers)].nonzero().max())
    return int(numbers[last]), float(times[last])


def _check_times(sampled: HandSequence, times: FloatArray, present: BoolArray, period: float, where: str) -> None:
    if sampled.timestamps is None:
        return
    predicted = sampled.timestamps[0, : len(times)].cpu().numpy()
    apart = np.abs(predicted - times)[present].max()
    if apart > period / 2:
        raise SequenceError(
            f'{where}: the times of predicted and true future frames differ by up to {apart:.4f} s, expected at most '
            f'half a frame, {period / 2:.4f} s: forecast at the frame rate of the dataset'
        )
