"""Statistics of simulated and of real errors, so that a family of noise can be compared with real estimators."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.base import DatasetError, VideoDataset
from handpose.datasets.transforms.estimator_noise import EstimatorNoise
from handpose.datasets.transforms.noise_family import NoiseFamily
from handpose.evaluation.error_statistics import ErrorStatistics, error_statistics, has_segment
from handpose.evaluation.input_motion import InputTrack
from handpose.files.npz import read_npz
from handpose.structures import HandSequence, Predictions

_KEYS = ('truth', 'predictions', 'joint_names', 'estimators', 'fps')
_TRACKS = 10


class StatisticsRange(NamedTuple):
    """Each of the statistics over the estimators of a family.

    Attributes:
        low: 5th percentiles.
        median: medians.
        high: 95th percentiles.
    """

    low: ErrorStatistics
    median: ErrorStatistics
    high: ErrorStatistics

    @classmethod
    def of(cls, found: Sequence[ErrorStatistics]) -> 'StatisticsRange':
        """Computes the percentiles.

        Args:
            found: statistics of at least one estimator.
        """
        return cls(*(ErrorStatistics(*column) for column in np.nanpercentile(found, [5, 50, 95], axis=0)))

    def outside(self, found: ErrorStatistics) -> list[str]:
        """Names the statistics of an estimator that are not between the percentiles.

        Args:
            found: of the estimator; NaN is left out.
        """
        bounds = zip(ErrorStatistics._fields, self.low, found, self.high, strict=True)
        return [name for name, low, value, high in bounds if value < low or value > high]


def family_statistics(dataset: VideoDataset, family: NoiseFamily, rng: np.random.Generator) -> ErrorStatistics | None:
    """Draws an estimator from a family, and computes the statistics of its errors on ten tracks of a dataset.

    Args:
        dataset: of whole tracks with joints in the camera's frame, without transforms.
        family: where the estimator comes from.
        rng: source of all draws.

    Returns:
        The statistics; None if the estimator gives the hand in no two seconds of these tracks.
    """
    noise = EstimatorNoise('silent', vars(family.draw(rng)))
    clips = [noise(dataset[int(number)], rng) for number in rng.integers(0, len(dataset), _TRACKS)]
    tracks = [track for clip in clips for track in tracks_of(clip)]
    fps = float(clips[0].meta.get('fps') or 30.0)
    return error_statistics(tracks, fps) if has_segment(tracks, fps) else None


def tracks_of(clip: HandSequence) -> list[InputTrack]:
    """Takes the input and the truth of each hand of a clip.

    Args:
        clip: with input and joints.
    """
    names = ('input_joints_3d', 'input_valid', 'joints_3d', 'joints_valid')
    fields = [clip.require(name).numpy() for name in names]
    return [InputTrack(*(field[:, hand] for field in fields)) for hand in range(fields[0].shape[1])]


def pair_statistics(predictions: Predictions, truth: Predictions) -> ErrorStatistics:
    """Computes the statistics of an estimator's errors on one video.

    Predictions that are known only up to a factor (`scale='relative'`) are multiplied by the factor, one for each hand,
    that brings them closest to the truth about the wrist. Frames are matched by time, hands by side, and only the
    joints that both have are compared.

    Args:
        predictions: of the estimator.
        truth: of the same video in the same coordinate frame, or relative to the wrists in parallel axes.

    Raises:
        DatasetError: no hand of the same side, or no time in common.
        ValueError: no two seconds in which both have the hand.
    """
    period = float(np.median(np.diff(truth.timestamps))) if len(truth) > 1 else 0.0
    nearest = np.abs(truth.timestamps[:, None] - predictions.timestamps).argmin(1)
    in_time = np.abs(truth.timestamps - predictions.timestamps[nearest]) < period / 2
    sides = [side for side in truth.hand_side.tolist() if side in predictions.hand_side.tolist()]
    if not sides or not in_time.any():
        raise DatasetError(
            f'predictions have hands {predictions.hand_side.tolist()} (0 left, 1 right) from '
            f'{predictions.timestamps[0]:.2f} to {predictions.timestamps[-1]:.2f} s, and the truth has hands '
            f'{truth.hand_side.tolist()} from {truth.timestamps[0]:.2f} to {truth.timestamps[-1]:.2f} s: nothing can '
            f'be compared'
        )
    tracks = []
    for side in sides:
        here, there = predictions.hand_side.tolist().index(side), truth.hand_side.tolist().index(side)
        given = predictions.given_joints()[nearest, here] & in_time[:, None]
        joints = predictions.joints[nearest, here].astype(np.float64)
        target, known = truth.joints[:, there].astype(np.float64), truth.given_joints()[:, there]
        both = given & known & given[:, :1] & known[:, :1]
        if predictions.scale == 'relative':
            joints = joints * _best_factor(joints, target, both)
        tracks.append(InputTrack(np.where(both[..., None], joints, 0), both[:, 0], target, both))
    return error_statistics(tracks, 1 / period)


def _best_factor(joints: NDArray, target: NDArray, both: NDArray) -> float:
    """The factor of joints (T, 21, 3) about the wrist with the smallest squared error."""
    found, wanted = ((points - points[:, :1])[both] for points in (joints, target))
    return float((found * wanted).sum() / max((found**2).sum(), 1e-30))


def read_estimator_outputs(path: str | Path) -> dict[str, tuple[Predictions, Predictions]]:
    """Reads outputs of several estimators on the video of NYU's 14 evaluated joints.

    Args:
        path: .npz with `truth` (T, 14, 3) and `predictions` (E, T, 14, 3) of one right hand, metres, camera frame, in
            the order 'nyu' of `JOINT_ORDERS`; `estimators` (E,) names; `fps`.

    Returns:
        {name of the estimator: (its predictions, the truth)}.

    Raises:
        DatasetError: a key is missing, or shapes do not fit.
    """
    found = read_npz(path, _KEYS, error=DatasetError)
    missing = [key for key in _KEYS if key not in found]
    if missing:
        raise DatasetError(f'{path} must have {", ".join(_KEYS)}, and lacks {", ".join(missing)}')
    truth, outputs = found['truth'], found['predictions']
    if truth.ndim != 3 or truth.shape[1:] != (14, 3) or outputs.shape != (len(found['estimators']), *truth.shape):
        raise DatasetError(
            f'{path}: expected truth (T, 14, 3) and predictions (E, T, 14, 3) with E names in estimators, got '
            f'{truth.shape}, {outputs.shape} and {len(found["estimators"])} names'
        )
    times = np.arange(len(truth)) / float(found['fps'])
    clips = [_one_hand(joints, times) for joints in (truth, *outputs)]
    return {str(name): (clip, clips[0]) for name, clip in zip(found['estimators'], clips[1:], strict=True)}


def _one_hand(joints: NDArray, times: NDArray) -> Predictions:
    return Predictions.from_arrays(
        joints=joints[:, None],
        valid=np.ones((len(joints), 1), bool),
        timestamps=times,
        hand_side=['right'],
        joint_order='nyu',
        unit='metre',
        frame='camera',
    )
